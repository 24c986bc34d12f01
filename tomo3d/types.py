"""What flows between the stages: frozen dataclasses that check themselves and hold no algorithms.

Arrays may be NumPy or CuPy arrays, memory maps or Zarr arrays: whatever has
`shape`, `ndim` and `dtype`. Axes are (z, y, x); lengths are nm, angles degrees.
The signs are in `tomo3d.geometry`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import networkx
    import pandas as pd

Array: TypeAlias = Any


class ArraySink(Protocol):
    """What a volume can be written to, a slab at a time: an array, a memory map, a Zarr store, a file being written."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_z, n_y, n_x)."""
        ...

    def __setitem__(self, key: Any, value: Any) -> None:
        """sink[:, first:last] = slab."""
        ...


@dataclass(frozen=True, eq=False)
class TiltSeries:
    """A tilt series: every acquired view, in any order.

    Parameters
    ----------
    images : array, shape (n_tilts, n_y, n_x)
        Every acquired view; row 0 is the bottom row of the picture.
    tilt_angles_deg : ndarray, shape (n_tilts,)
    pixel_size_nm : float
    tilt_axis_deg : float
        Nominal direction of the tilt axis, from +y, counter-clockwise.
    use : ndarray of bool, shape (n_tilts,), optional
        False for an excluded view, which keeps its row. Default: all are used.
    views : pandas.DataFrame, optional
        One row per view, for what has no field: dose, order, stage, time, file.
    sources : mapping
        Where each fact came from, as {"pixel_size_nm": "extended header", ...}.

    Raises
    ------
    ValueError
        If shapes disagree, an angle is not finite, or the pixel size is not a positive length.
    TypeError
        If `images` is not an array of real numbers.
    """

    images: Array
    tilt_angles_deg: np.ndarray
    pixel_size_nm: float
    tilt_axis_deg: float = 0.0
    use: np.ndarray | None = None
    views: pd.DataFrame | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_array("TiltSeries.images", self.images, 3, "(n_tilts, n_y, n_x)")
        n_tilts = int(self.images.shape[0])
        _set(
            self, "tilt_angles_deg", _per_view("TiltSeries.tilt_angles_deg", self.tilt_angles_deg, (n_tilts,))
        )
        _set(self, "pixel_size_nm", _length("TiltSeries.pixel_size_nm", self.pixel_size_nm))
        if not math.isfinite(self.tilt_axis_deg):
            raise ValueError(
                f"TiltSeries.tilt_axis_deg must be a finite angle in degrees, got {self.tilt_axis_deg}."
            )
        if self.use is not None:
            _set(self, "use", _flags("TiltSeries.use", self.use, n_tilts))
        if self.views is not None and len(self.views) != n_tilts:
            raise ValueError(
                f"TiltSeries.views must have one row per view ({n_tilts}), got {len(self.views)} rows."
            )

    @property
    def n_tilts(self) -> int:
        """Number of acquired views, excluded ones too."""
        return int(self.images.shape[0])

    @property
    def used(self) -> np.ndarray:
        """Flags of the views in use, shape (n_tilts,): `use`, or all."""
        return np.ones(self.n_tilts, dtype=bool) if self.use is None else self.use


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the views of a tilt series fit together: geometry only.

    A point p of a raw view lands at T R(-axis) (p - c) / magnification + shift + c,
    c being the centre of the image (see `tomo3d.geometry`); T takes (y, x) to
    (y + x tan(skew), stretch x), and is 1 where neither was solved. Where there are local shifts, p is first
    moved by what they are at p.

    Parameters
    ----------
    shifts_nm : ndarray, shape (n_tilts, 2)
        (y, x), applied after the rotation: how far the content must move.
    tilt_axis_deg : ndarray, shape (n_tilts,)
        From +y, counter-clockwise, in the raw view.
    tilt_angles_deg : ndarray, shape (n_tilts,)
        Refined tilt angles.
    magnification : ndarray, shape (n_tilts,)
    residual_nm : float
        Root mean square; nan where the method has none.
    reliable : ndarray of bool, shape (n_tilts,)
        False where the method distrusts its own result.
    evidence : mapping of str to pandas.DataFrame
        Tables that support the alignment.
    x_axis_tilt_deg : float, optional
        Tilt of the specimen about x, before the tilts of the series. None where it was not solved.
    stretch : ndarray, shape (n_tilts,), optional
        Scale across the tilt axis that brings a view onto the others, beyond the magnification. None: 1.
    skew_deg : ndarray, shape (n_tilts,), optional
        How far the direction across the tilt axis turns towards it, counter-clockwise. None: 0.
    z_shear : ndarray, shape (n_tilts,), optional
        A point at height z in the specimen lands `z_shear` z further along the tilt axis. None: 0.
    local_shifts_nm : ndarray, shape (n_tilts, n_nodes_y, n_nodes_x, 2), optional
        (y, x) in the raw view: how far the content near each node must move, before all else. Nodes are the middles of
        n_nodes_y x n_nodes_x equal parts of the raw view; between them `geometry.local_shifts` says what holds.
        None: 0.

    Raises
    ------
    ValueError
        If shapes disagree, a value is not finite, a magnification or stretch is not positive, or a skew is
        not within 90 deg.
    """

    shifts_nm: np.ndarray
    tilt_axis_deg: np.ndarray
    tilt_angles_deg: np.ndarray
    magnification: np.ndarray
    residual_nm: float
    reliable: np.ndarray
    evidence: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    x_axis_tilt_deg: float | None = None
    stretch: np.ndarray | None = None
    skew_deg: np.ndarray | None = None
    z_shear: np.ndarray | None = None
    local_shifts_nm: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.x_axis_tilt_deg is not None and not abs(self.x_axis_tilt_deg) < 90.0:
            raise ValueError(
                "Alignment.x_axis_tilt_deg must lie between -90 and 90 deg (exclusive), got "
                f"{self.x_axis_tilt_deg:g} deg."
            )
        n_tilts = int(np.shape(self.tilt_angles_deg)[0]) if np.ndim(self.tilt_angles_deg) == 1 else -1
        if n_tilts < 0:
            raise ValueError(
                f"Alignment.tilt_angles_deg must have shape (n_tilts,), got {np.shape(self.tilt_angles_deg)}."
            )
        _set(self, "shifts_nm", _per_view("Alignment.shifts_nm", self.shifts_nm, (n_tilts, 2)))
        for name in ("tilt_axis_deg", "tilt_angles_deg", "magnification"):
            _set(self, name, _per_view(f"Alignment.{name}", getattr(self, name), (n_tilts,)))
        for name in ("stretch", "skew_deg", "z_shear"):
            if getattr(self, name) is not None:
                _set(self, name, _per_view(f"Alignment.{name}", getattr(self, name), (n_tilts,)))
        for name in ("magnification", "stretch"):
            values = getattr(self, name)
            if values is not None and not (values > 0).all():
                raise ValueError(f"Alignment.{name} must be positive, got {float(values.min()):g}.")
        if self.skew_deg is not None and not (np.abs(self.skew_deg) < 90.0).all():
            worst = float(self.skew_deg[np.abs(self.skew_deg).argmax()])
            raise ValueError(
                f"Alignment.skew_deg must lie between -90 and 90 deg (exclusive), got {worst:g} deg."
            )
        if self.local_shifts_nm is not None:
            shape = np.shape(self.local_shifts_nm)
            if len(shape) != 4 or 0 in shape or (shape[0], shape[3]) != (n_tilts, 2):
                raise ValueError(
                    "Alignment.local_shifts_nm must have the shape (n_tilts, n_nodes_y, n_nodes_x, 2) with "
                    f"{n_tilts} views, got {shape}."
                )
            _set(self, "local_shifts_nm", _per_view("Alignment.local_shifts_nm", self.local_shifts_nm, shape))
        _set(self, "reliable", _flags("Alignment.reliable", self.reliable, n_tilts))

    @property
    def n_tilts(self) -> int:
        """Number of views, excluded ones too."""
        return len(self.tilt_angles_deg)


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D image of grey values.

    Parameters
    ----------
    data : array, shape (n_z, n_y, n_x)
    voxel_size_nm : tuple of float
        (z, y, x).
    origin_nm : tuple of float
        (z, y, x) of the centre of voxel [0, 0, 0].
    record : mapping
        What made it: method, parameters, tilt range, residual per iteration.

    Raises
    ------
    ValueError
        If the data are not three-dimensional or the voxel size is not three positive lengths.
    TypeError
        If the data are not an array of real numbers.
    """

    data: Array
    voxel_size_nm: tuple[float, float, float]
    origin_nm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_grid(self)


@dataclass(frozen=True, eq=False)
class Labels:
    """A 3-D image of classes; 0 is the background (pore, in a catalyst layer).

    A mask is a Labels with one class; boolean data are allowed for it.

    Parameters
    ----------
    data : array of integers or booleans, shape (n_z, n_y, n_x)
    voxel_size_nm, origin_nm, record
        As in `Volume`.
    names : mapping of int to str
        Names of the classes.
    probabilities : array, shape (n_classes, n_z, n_y, n_x), optional

    Raises
    ------
    ValueError
        As `Volume`, or if `probabilities` is on another grid.
    TypeError
        If the data are neither integers nor booleans.
    """

    data: Array
    voxel_size_nm: tuple[float, float, float]
    origin_nm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    record: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    probabilities: Array | None = None

    def __post_init__(self) -> None:
        _check_grid(self)
        kind = np.dtype(self.data.dtype).kind
        if kind not in "iub":
            raise TypeError(f"Labels.data must hold integers or booleans, got {self.data.dtype}.")
        if self.probabilities is not None and tuple(self.probabilities.shape[1:]) != tuple(self.data.shape):
            raise ValueError(
                "Labels.probabilities must have shape (n_classes, n_z, n_y, n_x) on the grid of the data "
                f"{tuple(self.data.shape)}, got {tuple(self.probabilities.shape)}."
            )


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangle mesh.

    Parameters
    ----------
    vertices_nm : ndarray, shape (n_vertices, 3)
        (z, y, x), including the origin of the volume it came from.
    faces : ndarray of int, shape (n_faces, 3)
        Indices into the vertices.
    point_data : mapping of str to ndarray, shape (n_vertices, ...)
        Values on the vertices, as "thickness_nm".

    Raises
    ------
    ValueError
        If a shape is wrong or a face names a vertex that does not exist.
    """

    vertices_nm: np.ndarray
    faces: np.ndarray
    point_data: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_vertices = len(self.vertices_nm)
        for name, array in (("vertices_nm", self.vertices_nm), ("faces", self.faces)):
            if array.ndim != 2 or array.shape[1] != 3:
                raise ValueError(f"Surface.{name} must have shape (n, 3), got {array.shape}.")
        if self.faces.dtype.kind not in "iu":
            raise TypeError(f"Surface.faces must hold integers, got {self.faces.dtype}.")
        if self.faces.size and not (self.faces.min() >= 0 and self.faces.max() < n_vertices):
            raise ValueError(
                f"Surface.faces must index the {n_vertices} vertices, got {self.faces.min()} to {self.faces.max()}."
            )
        for name, values in self.point_data.items():
            if len(values) != n_vertices:
                raise ValueError(
                    f"Surface.point_data[{name!r}] must have one value per vertex ({n_vertices}), got {len(values)}."
                )


@dataclass(frozen=True, eq=False)
class SpatialGraph:
    """A network in space: nodes, branches, and the centre line of each branch.

    Parameters
    ----------
    nodes : pandas.DataFrame
        Columns node, z_nm, y_nm, x_nm and any others; `node` is unique.
    branches : pandas.DataFrame
        Columns branch, node_a, node_b, length_nm and any others.
    lines_nm : sequence of ndarray, shape (n_points, 3)
        Centre line of each branch, (z, y, x), in the order of `branches`, from node_a to node_b.
    widths_nm : sequence of ndarray, shape (n_points,)
        Width of each branch at the points of its line; nan where it is not known.
    record : mapping
        What made it: parameters, the field that it was seen in (`field_nm`: low and high corner).

    Raises
    ------
    ValueError
        If a column is missing, a node is named twice, a branch ends at an unknown
        node, lines and branches differ in number, or a line is no list of positions.
    """

    nodes: pd.DataFrame
    branches: pd.DataFrame
    lines_nm: Sequence[np.ndarray] = ()
    widths_nm: Sequence[np.ndarray] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, table, columns in (
            ("nodes", self.nodes, ("node", "z_nm", "y_nm", "x_nm")),
            ("branches", self.branches, ("branch", "node_a", "node_b", "length_nm")),
        ):
            missing = [column for column in columns if column not in table.columns]
            if missing:
                raise ValueError(f"SpatialGraph.{name} must have the columns {columns}, missing {missing}.")
        if not self.nodes["node"].is_unique:
            raise ValueError("SpatialGraph.nodes must name every node once, got repeated values in 'node'.")
        known = set(self.nodes["node"])
        ends = set(self.branches["node_a"]) | set(self.branches["node_b"])
        if not ends <= known:
            raise ValueError(
                f"SpatialGraph.branches must end at nodes of the table, got unknown {sorted(ends - known)[:5]}."
            )
        if len(self.lines_nm) not in (0, len(self.branches)):
            raise ValueError(
                f"SpatialGraph.lines_nm must have one line per branch ({len(self.branches)}), got {len(self.lines_nm)}."
            )
        for line in self.lines_nm:
            if np.ndim(line) != 2 or np.shape(line)[1] != 3 or len(line) < 2:
                raise ValueError(
                    "SpatialGraph.lines_nm must hold lines of shape (n_points, 3) with two points or more, got "
                    f"shape {np.shape(line)}."
                )
        if len(self.widths_nm) and [np.shape(w) for w in self.widths_nm] != [
            (len(n),) for n in self.lines_nm
        ]:
            raise ValueError("SpatialGraph.widths_nm must have one width for every point of every line.")

    def to_networkx(self) -> networkx.MultiGraph:
        """The same network as a networkx multigraph; columns become attributes."""
        import networkx

        graph = networkx.MultiGraph()
        for row in self.nodes.to_dict("records"):
            graph.add_node(row["node"], **{str(key): value for key, value in row.items() if key != "node"})
        for row in self.branches.to_dict("records"):
            rest = {str(k): v for k, v in row.items() if k not in ("branch", "node_a", "node_b")}
            graph.add_edge(row["node_a"], row["node_b"], key=row["branch"], **rest)
        return graph


@dataclass(frozen=True, eq=False)
class Movie:
    """Pictures that follow each other in time.

    Parameters
    ----------
    frames : ndarray of uint8, shape (n_frames, height, width)
        Greys, 0 is black; row 0 is the top row, as in files of pictures.
    frames_per_second : float

    Raises
    ------
    ValueError
        If the shape is wrong, or the rate is not within 0.1 to 50 per second.
    TypeError
        If the frames are not uint8.
    """

    frames: np.ndarray
    frames_per_second: float

    def __post_init__(self) -> None:
        _check_array("Movie.frames", self.frames, 3, "(n_frames, height, width)")
        if self.frames.dtype != np.uint8:
            raise TypeError(f"Movie.frames must be uint8, got {self.frames.dtype}.")
        if not 0.1 <= self.frames_per_second <= 50.0:  # a GIF counts time in 1/100 s
            raise ValueError(
                f"Movie.frames_per_second must be 0.1 to 50 per second, got {self.frames_per_second:g}."
            )


def _set(instance: object, name: str, value: Any) -> None:
    object.__setattr__(instance, name, value)


def _check_array(name: str, array: Any, n_dimensions: int, axes: str) -> None:
    if not all(hasattr(array, attribute) for attribute in ("shape", "ndim", "dtype")):
        raise TypeError(f"{name} must be an array {axes}, got {type(array).__name__}.")
    if array.ndim != n_dimensions or 0 in array.shape:
        raise ValueError(f"{name} must have shape {axes}, none of them 0, got {tuple(array.shape)}.")
    if np.dtype(array.dtype).kind not in "iufb":
        raise TypeError(f"{name} must hold real numbers, got {array.dtype}.")


def _check_grid(volume: Volume | Labels) -> None:
    name = type(volume).__name__
    _check_array(f"{name}.data", volume.data, 3, "(n_z, n_y, n_x)")
    voxel = np.asarray(volume.voxel_size_nm, dtype=float)
    if voxel.shape != (3,) or not (np.isfinite(voxel).all() and (voxel > 0).all()):
        raise ValueError(
            f"{name}.voxel_size_nm must be three positive lengths (z, y, x) in nm, got {volume.voxel_size_nm}. "
            "If the file header has no pixel size, pass voxel_size_nm to the reader."
        )
    origin = np.asarray(volume.origin_nm, dtype=float)
    if origin.shape != (3,) or not np.isfinite(origin).all():
        raise ValueError(
            f"{name}.origin_nm must be three finite positions (z, y, x) in nm, got {volume.origin_nm}."
        )
    _set(volume, "voxel_size_nm", tuple(float(v) for v in voxel))
    _set(volume, "origin_nm", tuple(float(v) for v in origin))


def _per_view(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        what = f"one value per view, shape {shape}" if len(shape) == 1 else f"shape {shape}"
        raise ValueError(f"{name} must have {what}, got shape {array.shape}.")
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array).reshape(shape[0], -1).all(axis=1))
        raise ValueError(f"{name} must be finite, got a value that is not in view {int(bad[0])} (0-based).")
    array.flags.writeable = False
    return array


def _flags(name: str, values: Any, n_tilts: int) -> np.ndarray:
    array = np.array(values)
    if array.shape != (n_tilts,):
        raise ValueError(f"{name} must have one flag per view ({n_tilts}), got shape {array.shape}.")
    if array.dtype != bool:
        raise TypeError(f"{name} must hold booleans, got {array.dtype}.")
    array.flags.writeable = False
    return array


def _length(name: str, value: Any) -> float:
    if not (isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value) and value > 0):
        raise ValueError(
            f"{name} must be a positive length in nm, got {value}. Pass pixel_size_nm to the reader."
        )
    return float(value)
