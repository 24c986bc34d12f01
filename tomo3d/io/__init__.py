"""Reading and writing files: foreign conventions are translated here and nowhere else.

Files are recognised by their content. Readers check a header against the size
of its file before they use it, and say what is missing or suspicious instead of
guessing. Outputs are whole or absent: allocated first, written beside
themselves, renamed when complete; nothing is overwritten unasked.
"""

from tomo3d.io._alignment import read_alignment, write_alignment
from tomo3d.io._angles import read_angle_file, read_tilt_list
from tomo3d.io._beside import files_beside
from tomo3d.io._command_file import read_command_file
from tomo3d.io._convert import convert
from tomo3d.io._file_info import FileInfo
from tomo3d.io._graph_read import read_graph
from tomo3d.io._graph_write import write_graph
from tomo3d.io._imod_alignment import compose_transforms, read_transforms, read_x_axis_tilts, read_z_factors
from tomo3d.io._imod_local import read_local_transforms
from tomo3d.io._imod_log import AlignmentLog, read_alignment_log
from tomo3d.io._imod_model import read_contours
from tomo3d.io._inspect import inspect
from tomo3d.io._labels import read_labels
from tomo3d.io._mdoc import read_mdoc
from tomo3d.io._mesh_read import read_surface
from tomo3d.io._mesh_write import write_surface
from tomo3d.io._mrc import read_transform
from tomo3d.io._series import read_movie, read_tilt_series, read_volume
from tomo3d.io._tables import read_table, write_table
from tomo3d.io._tracks import read_point_positions, read_track_residuals, read_tracks
from tomo3d.io._view_record import ViewRecord
from tomo3d.io._views import read_views
from tomo3d.io._write import check_output, write_bytes
from tomo3d.io._write_images import write_labels, write_tilt_series, write_volume
from tomo3d.io._zarr_write import new_zarr_volume

__all__ = [
    "AlignmentLog",
    "FileInfo",
    "ViewRecord",
    "check_output",
    "compose_transforms",
    "convert",
    "files_beside",
    "inspect",
    "new_zarr_volume",
    "read_alignment",
    "read_alignment_log",
    "read_angle_file",
    "read_command_file",
    "read_contours",
    "read_graph",
    "read_labels",
    "read_local_transforms",
    "read_mdoc",
    "read_movie",
    "read_point_positions",
    "read_surface",
    "read_table",
    "read_tilt_list",
    "read_tilt_series",
    "read_track_residuals",
    "read_tracks",
    "read_transform",
    "read_transforms",
    "read_views",
    "read_volume",
    "read_x_axis_tilts",
    "read_z_factors",
    "write_alignment",
    "write_bytes",
    "write_graph",
    "write_labels",
    "write_surface",
    "write_table",
    "write_tilt_series",
    "write_volume",
]
