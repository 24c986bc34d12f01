"""IMOD's own local solution of the real beads: how far it lies from what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomo3d import io


def residuals_px(folder: Path) -> tuple[float, float]:
    """Mean residual (px) of the beads by IMOD's global solution, and by its local one; each bead's own place is fitted.

    For each of 2 x 2 areas and each view there are a change of the tilt, z factors that replace those of the view,
    and a transform about the centre of the view whose inverse follows the global one, all linear between the middles of
    the areas and constant beyond: read any other way, the residual is larger than that of the global solution.
    """
    tracks = io.read_tracks(folder / "BBa.resid", pixel_size_nm=1.0)
    beads = io.read_point_positions(folder / "BBafid.xyz", pixel_size_nm=1.0).set_index("track")
    view, track = tracks["view"].to_numpy(), tracks["track"].to_numpy()
    tilts = np.loadtxt(folder / "BBa.tlt")[view]
    factors, transforms = np.loadtxt(folder / "BBa.zfac")[view], np.loadtxt(folder / "BBa.tltxf")[view]
    aligned = _moved(tracks[["x_nm", "y_nm"]].to_numpy() - 255.5, transforms)
    table = io.read_local_transforms(folder / "BBalocal.xf", int(view.max()) + 1, pixel_size_nm=1.0)
    middles = table.groupby("patch")[["x_nm", "y_nm"]].first().to_numpy()  # 2 x 2, x fastest
    columns = [
        "tilt_change_deg",
        "z_factor_x",
        "z_factor_y",
        "a_xx",
        "a_xy",
        "a_yx",
        "a_yy",
        "shift_x_nm",
        "shift_y_nm",
    ]
    areas = table[columns].to_numpy().reshape(4, -1, 9)
    at = (beads.loc[track, ["x_nm", "y_nm"]].to_numpy() + 0.5 - middles[0]) / (middles[3] - middles[0])
    x, y = np.clip(at, 0.0, 1.0).T
    shares = np.stack(((1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y), axis=1)
    local = np.einsum("na,avk->nvk", shares, areas)[np.arange(len(view)), view]
    straight = _moved(aligned, _inverse(local[:, 3:]))
    return (
        _mean_residual(aligned, tilts, factors, track),
        _mean_residual(straight, tilts + local[:, 0], local[:, 1:3], track),
    )


def _moved(places: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """A p + d of places (n, 2) by transforms (n, 6), (x, y)."""
    return np.asarray(
        np.einsum("nij,nj->ni", transforms[:, :4].reshape(-1, 2, 2), places) + transforms[:, 4:]
    )


def _inverse(transforms: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(transforms[:, :4].reshape(-1, 2, 2))
    moves = -np.einsum("nij,nj->ni", inverse, transforms[:, 4:])
    return np.concatenate((inverse.reshape(-1, 4), moves), axis=1)


def _mean_residual(
    places: np.ndarray, tilts_deg: np.ndarray, factors: np.ndarray, track: np.ndarray
) -> float:
    lengths = []
    for one in np.unique(track):
        of = track == one
        tilt, (along_x, along_y) = np.deg2rad(tilts_deg[of]), factors[of].T
        zero = np.zeros_like(tilt)
        x = np.stack((np.cos(tilt), zero, np.sin(tilt) + along_x), axis=1)
        design = np.concatenate((x, np.stack((zero, zero + 1.0, along_y), axis=1)))
        seen = places[of].T.ravel()
        rest = seen - design @ np.linalg.lstsq(design, seen, rcond=None)[0]
        lengths.append(np.hypot(*rest.reshape(2, -1)))
    return float(np.concatenate(lengths).mean())
