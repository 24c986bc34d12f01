"""Alignments in files of other programs: IMOD's residuals, AreTomo's transforms beside peers, round trips."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.cases import Target, Targets
from tomo3d import Alignment, TiltSeries, geometry, io

_DATA = Path(__file__).parents[2] / "shared" / "data"
_BEADS = _DATA / "beads_BBa"
_ALN = _DATA / "sidecars" / "alnfile" / "global_and_local.aln"
_CORNER = np.array([2048.0, -2048.0])
_PEERS = {  # each in a process of its own; both print [[A22, A21, DY], [A12, A11, DX]] of the views that are not dark
    "alnfile": "import alnfile; rows = alnfile.df_to_xf(alnfile.read(sys.argv[1]), yx=True).tolist()",
    "cryoet_alignment": (
        "from cryoet_alignment.io.aretomo3 import AreTomo3ALN\n"
        "from cryoet_alignment.io.cryoet_data_portal import Alignment\n"
        "found = Alignment.from_aretomo3(AreTomo3ALN.from_file(sys.argv[1])).to_imod(ts_size=(4096, 4096, 51))\n"
        "rows = [[[r.myy, r.myx, r.sy], [r.mxy, r.mxx, r.sx]] for r in found.xf.alignments][14:]"
    ),
}


class ImodResiduals:
    """23 gold beads on 61 views: IMOD's own solution, read from its files, against the residuals that IMOD states."""

    targets: ClassVar[Targets] = {"track_error_of_the_mean_px": Target(at_most=0.002)}

    def setup(self) -> None:
        if not _BEADS.exists():
            raise NotImplementedError("the beads are not here")
        self.residuals = _residuals_px()
        self.theirs = io.read_track_residuals(_BEADS / "BBa.resid", pixel_size_nm=1.0)

    def track_mean_residual_px(self) -> float:
        return float(np.hypot(*self.residuals.T).mean())

    def track_error_of_the_mean_px(self) -> float:
        """Against IMOD's mean, 0.3130 px."""
        return abs(self.track_mean_residual_px() - float(np.hypot(*self.theirs.T).mean()))

    def track_largest_error_px(self) -> float:
        """Of a coordinate of a residual; positions are printed to 0.01 px."""
        return float(np.abs(self.residuals - self.theirs).max())


def _residuals_px() -> np.ndarray:
    tracks = io.read_tracks(_BEADS / "BBa.resid", pixel_size_nm=1.0)
    alignment = io.read_alignment(_BEADS / "BBa.tltxf", pixel_size_nm=1.0)
    points = io.read_point_positions(_BEADS / "BBafid.xyz", pixel_size_nm=1.0).loc[tracks["track"]]
    view, centre = tracks["view"].to_numpy(), np.array([255.5, 255.5])
    landed = geometry.aligned_nm(alignment, tracks[["y_nm", "x_nm"]].to_numpy(), view, centre)
    z, y, x = points[["z_nm", "y_nm", "x_nm"]].to_numpy().T - np.array([[0.0], *centre[:, None]])
    u = geometry.detector_position(x, z, alignment.tilt_angles_deg[view])
    shear = 0.0 if alignment.z_shear is None else alignment.z_shear[view]
    to_raw, _ = geometry.alignment_matrices(alignment, 1.0, (1, 1), (1, 1))
    return np.einsum("nij,nj->ni", to_raw[view], landed - np.stack((y + shear * z, u), axis=1))


class AretomoBesidePeers:
    """Transforms of a real .aln, with dark views, beside two converters, at the corner of a view of 4096 pixels."""

    params, param_names = (list(_PEERS),), ("program",)
    targets: ClassVar[Targets] = {"track_largest_error_px": Target(at_most=1e-4)}

    def setup(self, program: str) -> None:
        if not _ALN.exists() or importlib.util.find_spec(program) is None:
            raise NotImplementedError(f"the file or {program} is not here")
        code = f"import json, sys\n{_PEERS[program]}\nprint(json.dumps(rows))"
        done = subprocess.run(
            [sys.executable, "-c", code, str(_ALN)], capture_output=True, text=True, check=True
        )
        self.theirs = np.array(json.loads(done.stdout))

    def track_largest_error_px(self, program: str) -> float:
        alignment = io.read_alignment(_ALN, pixel_size_nm=1.0)
        kept = alignment.reliable
        to_raw, _ = geometry.alignment_matrices(alignment, 1.0, (1, 1), (1, 1))
        ours = np.linalg.inv(to_raw)[kept] @ _CORNER + alignment.shifts_nm[kept]
        return float(np.abs(ours - (self.theirs[:, :, :2] @ _CORNER + self.theirs[:, :, 2])).max())


class RoundTrip:
    """61 random views of 63 x 48 pixels, shifts of up to 200 px, written and read again."""

    params, param_names = ([".xf", ".aln", ".star", ".xml"],), ("format",)
    # a turn of the last printed digit moves the end of a shift of 283 px by 0.00002 (.xf) to 0.0003 px (.aln)
    targets: ClassVar[Targets] = {
        "track_shift_error_px": {
            (".xf",): Target(at_most=0.00053),
            (".aln",): Target(at_most=0.00095),
            (".star",): Target(at_most=1e-5),
            (".xml",): Target(at_most=1e-5),
        },
        "track_tilt_error_deg": Target(at_most=5.1e-5),
        "track_axis_error_deg": Target(at_most=5.1e-5),
    }

    def setup(self, format: str) -> None:
        rng = np.random.default_rng(0)
        tilts = np.linspace(-60.0, 60.0, 61)
        series = TiltSeries(np.zeros((61, 63, 48), np.float32), tilts, 0.5)
        self.written = Alignment(
            shifts_nm=rng.uniform(-100.0, 100.0, (61, 2)),
            tilt_axis_deg=85.0 + rng.uniform(-1.0, 1.0, 61),
            tilt_angles_deg=tilts + rng.uniform(-0.02, 0.02, 61),
            magnification=np.ones(61),
            residual_nm=math.nan,
            reliable=np.ones(61, dtype=bool),
        )
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"a{format}"
            io.write_alignment(self.written, file, series=series)
            self.read = io.read_alignment(file, series=series)

    def track_shift_error_px(self, format: str) -> float:
        return float(np.abs(self.read.shifts_nm - self.written.shifts_nm).max()) / 0.5

    def track_axis_error_deg(self, format: str) -> float:
        return float(np.abs(self.read.tilt_axis_deg - self.written.tilt_axis_deg).max())

    def track_tilt_error_deg(self, format: str) -> float:
        return float(np.abs(self.read.tilt_angles_deg - self.written.tilt_angles_deg).max())
