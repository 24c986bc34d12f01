"""Coverage: which parts of a support carry a film, told by the profile along the normal."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.compute.wedge import checked_tilt_range, normal_elevation_deg, wedge_depth_deg
from tomo3d.measure.bootstrap import Blocks, blocks_of, resample
from tomo3d.types import Surface

_FALSE_SKIN = 0.58  # widths of the point-spread function: what an edge without film reads by its grey levels
_BLOCK = 4.0  # widths of the point-spread function: farther apart, profiles share no noise
_NEEDED = ("thickness_nm", "mass_per_area", "is_plain", "fwhm_nm", "false_thickness_nm", "normal", "area_nm2")
BARE, COVERED, UNKNOWN = 0, 1, 2


@dataclass(frozen=True, eq=False)
class FilmCoverage:
    """What of a support is covered.

    Parameters
    ----------
    surface : Surface
        The films, with `kind` (0 bare, 1 covered, 2 unknown), `is_covered`, `normal_elevation_deg` (90 where the
        surface lies across the beam) and, where the tilts are known, `wedge_depth_deg` and `normal_in_wedge`.
    summary : DataFrame
        Rows of `tomo3d.tables.SUMMARY`.
    """

    surface: Surface
    summary: pd.DataFrame


def film_coverage(
    films: Surface,
    *,
    min_thickness_nm: float | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
    seed: int = 0,
) -> FilmCoverage:
    """Which parts of a support are covered by a film and which are bare; the covered share of its area.

    Parameters
    ----------
    films : Surface
        From `profile_thickness`.
    min_thickness_nm : float, optional
        Thinner films count as bare. Default: 0.58 widths of the point-spread function at each point, the thickness of
        the false skin that grey levels show on every bare edge.
    tilt_range_deg : tuple of float, optional
        Least and largest tilt angle about y: results are also given for normals outside the missing wedge alone.
        Default: what the record of the volume said, if it did.
    seed : int
        Of the resampling.

    Returns
    -------
    FilmCoverage
        The surface with its kinds, and a summary: `coverage`, covered over covered and bare area; `film_thickness_mean`
        and `film_thickness_median` of what is covered; `mass_per_area_mean` of covered and bare, in grey value x nm;
        `unknown_share` of the area, where other surfaces are too near; each also as NAME_sampled for normals that were
        seen. n is the number of points.

    Raises
    ------
    ValueError
        If the films have no profiles, none of them is known, `min_thickness_nm` is not positive, or
        `tilt_range_deg` no ascending pair from -90 to 90.

    Notes
    -----
    Covered is where the fitted film is thicker than both `min_thickness_nm` and what a bare edge of the control in that
    direction may read (`false_thickness_nm`, where `profile_thickness` was given `edge_widths`): under a missing
    wedge edges are the wider the steeper their normal, and only a control tells how wide. Labels of neighbours do
    not tell: an intermediate phase appears on every blurred edge between a bright and a dark one.

    Intervals: 95 %, block bootstrap over the specimen as in `thickness_summary`, blocks at least four widths wide.
    """
    missing = [name for name in _NEEDED if name not in films.point_data]
    if missing:
        raise ValueError(
            f"films must come from profile_thickness, with {', '.join(_NEEDED)}, missing {missing}."
        )
    if min_thickness_nm is not None and not min_thickness_nm > 0:
        raise ValueError(f"min_thickness_nm must be a positive length in nm, got {min_thickness_nm:g} nm.")
    data = {name: np.asarray(films.point_data[name]) for name in films.point_data}
    least_nm = _FALSE_SKIN * data["fwhm_nm"] if min_thickness_nm is None else min_thickness_nm
    known = data["is_plain"] & np.isfinite(data["thickness_nm"]) & np.isfinite(data["false_thickness_nm"])
    if not known.any():
        raise ValueError("films must be known somewhere, got nan at every point.")
    with np.errstate(invalid="ignore"):
        covered = known & (data["thickness_nm"] > np.maximum(least_nm, data["false_thickness_nm"]))
    data["kind"] = np.where(known, np.where(covered, COVERED, BARE), UNKNOWN).astype(np.uint8)
    data["is_covered"] = covered
    data["normal_elevation_deg"] = normal_elevation_deg(data["normal"])
    places = {"": np.ones(len(known), dtype=bool)}
    if tilt_range_deg is not None:
        data["wedge_depth_deg"] = wedge_depth_deg(data["normal"], checked_tilt_range(tilt_range_deg))
        data["normal_in_wedge"] = data["wedge_depth_deg"] > 0
    if "normal_in_wedge" in data:
        places["_sampled"] = ~data["normal_in_wedge"].astype(bool)
    surface = Surface(films.vertices_nm, films.faces, data)
    rows = [row for name, place in places.items() for row in _rows(surface, place, name, seed)]
    return FilmCoverage(surface, tables.summary(rows))


def _rows(surface: Surface, place: np.ndarray, ending: str, seed: int) -> list[dict[str, object]]:
    data = {name: np.asarray(values)[place] for name, values in surface.point_data.items()}
    area, kind, thickness_nm = data["area_nm2"], data["kind"], data["thickness_nm"]
    blocks, block = blocks_at(
        np.asarray(surface.vertices_nm)[place], _BLOCK * float(np.median(data["fwhm_nm"]))
    )
    covered = kind == COVERED

    def per_block(weights: np.ndarray) -> np.ndarray:
        return np.bincount(block, weights=weights, minlength=blocks.n_blocks)

    areas = [per_block(area * (kind == number)) for number in (BARE, COVERED, UNKNOWN)]
    moment = per_block(np.where(covered, area * thickness_nm, 0.0))
    has_mass = (kind != UNKNOWN) & np.isfinite(data["mass_per_area"])
    mass_area, mass = (
        per_block(np.where(has_mass, value, 0.0)) for value in (area, area * data["mass_per_area"])
    )
    order = np.argsort(thickness_nm[covered])
    sorted_nm, sorted_area = thickness_nm[covered][order], area[covered][order]
    sorted_block = block[covered][order]

    def statistics(weights: np.ndarray) -> np.ndarray:
        bare, film, unknown = (float(weights @ part) for part in areas)
        cumulative = np.cumsum(weights[sorted_block] * sorted_area)
        median = math.nan
        if film > 0:
            median = sorted_nm[np.searchsorted(cumulative, 0.5 * cumulative[-1])]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.array(
                [
                    np.divide(film, bare + film),
                    np.divide(weights @ moment, film),
                    median,
                    np.divide(weights @ mass, weights @ mass_area),
                    np.divide(unknown, bare + film + unknown),
                ]
            )

    values = statistics(np.ones(blocks.n_blocks))
    (low, high), interval = resample(statistics, blocks, (1.0, 1.0, 1.0), seed)
    units = {
        "coverage": "",
        "film_thickness_mean": "nm",
        "film_thickness_median": "nm",
        "mass_per_area_mean": "grey value x nm",
        "unknown_share": "",
    }
    return [
        {
            "quantity": name + ending,
            "value": values[i],
            "low": low[i],
            "high": high[i],
            "unit": unit,
            "n": int(covered.sum() if "thickness" in name else len(kind)),
            "interval": interval,
        }
        for i, (name, unit) in enumerate(units.items())
    ]


def blocks_at(points_nm: np.ndarray, edge_nm: float) -> tuple[Blocks, np.ndarray]:
    """Blocks of at least `edge_nm` along y and x around points (n, 3), on a grid of 1 nm; and the block of each."""
    index = np.floor(points_nm[:, 1:] - points_nm[:, 1:].min(axis=0)).astype(np.int64)
    blocks = blocks_of((1, *(index.max(axis=0) + 1).tolist()), (edge_nm, edge_nm))
    return blocks, blocks.of_column[index[:, 0], index[:, 1]]
