"""Specimens: solids of several phases, disjoint or nested, whose projections and densities add."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tomo3d import geometry, tables
from tomo3d.phantoms import _sampling
from tomo3d.phantoms._round_solids import Ball, Ellipsoid
from tomo3d.phantoms._solid import Solid, Vector, length
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.progress import track
from tomo3d.types import Labels, TiltSeries, Volume


@dataclass(frozen=True)
class Body:
    """One solid of a specimen.

    Parameters
    ----------
    solid : Solid
        Its density is that of the material, whatever lies around it.
    phase : str
        Name of the material, as "film".
    inside : int, optional
        Number of the earlier body that this one lies wholly inside, and replaces there. Default: it stands free.
    """

    solid: Solid
    phase: str
    inside: int | None = None


@dataclass(frozen=True)
class SpecimenSketch(Sketch):
    """Size (z, y, x) of the field of a specimen that does not exist yet."""

    size_nm: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Specimen:
    """Bodies that are disjoint or nested, with what is known of them in closed form.

    A body inside another replaces it: it adds the excess of its density over the other's, so
    that line integrals and densities are exact sums. A coat is a body with its core inside.

    Parameters
    ----------
    bodies : sequence of Body
        A body comes after the one that it lies inside.
    size_nm : tuple of float
        Edges (z, y, x) of the field, centred at (0, 0, 0) nm.
    known : pandas.DataFrame, optional
        Summary rows beyond those that follow from the bodies, as a film's thickness.

    Raises
    ------
    ValueError
        If there is no body, a body is inside one that does not come before it, or a size is not positive.
    """

    bodies: Sequence[Body]
    size_nm: Vector
    known: pd.DataFrame = field(default_factory=lambda: tables.summary([]))

    def __post_init__(self) -> None:
        object.__setattr__(self, "bodies", tuple(self.bodies))
        if not self.bodies:
            raise ValueError("Specimen.bodies must hold at least one body, got none.")
        for i, body in enumerate(self.bodies):
            if body.inside is not None and not 0 <= body.inside < i:
                raise ValueError(
                    f"Specimen.bodies[{i}].inside must be the number of an earlier body (0 to {i - 1}), "
                    f"got {body.inside}."
                )
        sizes = tuple(length("Specimen.size_nm", value) for value in self.size_nm)
        if len(sizes) != 3:
            raise ValueError(f"Specimen.size_nm must be three lengths (z, y, x) in nm, got {self.size_nm}.")
        object.__setattr__(self, "size_nm", sizes)
        tables.check(self.known, tables.SUMMARY)

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases, in the order of their first bodies; their labels count from 1."""
        return tuple(dict.fromkeys(body.phase for body in self.bodies))

    @property
    def excess_densities(self) -> np.ndarray:
        """What each body adds to the density around it, shape (n_bodies,)."""
        own = np.array([body.solid.density for body in self.bodies])
        around = [0.0 if body.inside is None else own[body.inside] for body in self.bodies]
        return own - np.array(around)

    @property
    def net_volumes_nm3(self) -> np.ndarray:
        """Volume of each body without the bodies inside it, shape (n_bodies,)."""
        volumes = np.array([body.solid.volume_nm3 for body in self.bodies])
        net = volumes.copy()
        for i, body in enumerate(self.bodies):
            if body.inside is not None:
                net[body.inside] -= volumes[i]
        return net

    @property
    def truth(self) -> pd.DataFrame:
        """Summary table of what is known.

        For each PHASE of finite volume: `volume_PHASE` (nm3), `field_fraction_PHASE` (of `size_nm`) and
        `density_PHASE` (mean); `number_PHASE` and `diameter_PHASE_mean` where all its bodies are balls
        with nothing inside; then the rows of `known`.
        """
        rows = [row for phase in self.phases for row in self._known_of(phase)]
        generic = tables.summary(rows)
        if self.known.empty or generic.empty:
            return generic if self.known.empty else self.known.copy()
        return pd.concat([generic, self.known], ignore_index=True)

    def _known_of(self, phase: str) -> list[dict[str, object]]:
        members = [i for i, body in enumerate(self.bodies) if body.phase == phase]
        n = len(members)
        volumes = self.net_volumes_nm3[members]
        volume = float(volumes.sum())
        if not math.isfinite(volume):
            return []
        solids = [self.bodies[i].solid for i in members]
        mass = sum(solid.density * v for solid, v in zip(solids, volumes, strict=True))
        fraction = volume / math.prod(self.size_nm)
        rows = [
            {"quantity": f"volume_{phase}", "value": volume, "unit": "nm^3", "n": n},
            {"quantity": f"field_fraction_{phase}", "value": fraction, "unit": "", "n": n},
            {"quantity": f"density_{phase}", "value": mass / volume, "unit": "1/nm", "n": n},
        ]
        balls = [solid for solid in solids if isinstance(solid, Ball)]
        hollow = {body.inside for body in self.bodies}
        if len(balls) == n and not hollow & set(members):
            diameter = float(np.mean([ball.thickness_nm for ball in balls]))
            rows += [
                {"quantity": f"number_{phase}", "value": float(n), "unit": "", "n": n},
                {"quantity": f"diameter_{phase}_mean", "value": diameter, "unit": "nm", "n": n},
            ]
        return rows

    def project(
        self,
        tilt_angles_deg: Sequence[float] | np.ndarray,
        image_shape: tuple[int, int],
        pixel_size_nm: float,
        *,
        samples_per_pixel: int = 1,
    ) -> TiltSeries:
        """Closed-form aligned views, without noise or blur; see `acquire` for a microscope.

        Parameters
        ----------
        tilt_angles_deg : sequence of float
        image_shape : tuple of int
            (n_y, n_x).
        pixel_size_nm : float
        samples_per_pixel : int
            As in `Solid.project`.

        Returns
        -------
        TiltSeries, float64
            Line integrals: density x path in nm.
        """
        angles = _sampling.tilt_angles(tilt_angles_deg)
        _sampling.check_image(image_shape, pixel_size_nm)
        images = np.zeros((len(angles), *image_shape))
        for i in track(range(len(angles)), "project the specimen", len(angles)):
            frame = _sampling.ViewFrame.aligned(float(angles[i]), image_shape, pixel_size_nm)
            self.add_view(images[i], frame, samples_per_pixel)
        return TiltSeries(images, angles, pixel_size_nm)

    def add_view(self, image: np.ndarray, frame: _sampling.ViewFrame, samples_per_pixel: int) -> None:
        """Add the line integrals of all bodies to one image, whose pixels lie where `frame` says."""
        for body, excess in zip(self.bodies, self.excess_densities, strict=True):
            _sampling.add_projection(image, body.solid, float(excess), frame, samples_per_pixel)

    def density_volume(
        self, shape: tuple[int, int, int], voxel_size_nm: float | Vector, *, samples_per_voxel: int = 2
    ) -> Volume:
        """Mean density of each voxel, on a grid centred at (0, 0, 0) nm.

        Parameters
        ----------
        shape : tuple of int
            (n_z, n_y, n_x).
        voxel_size_nm : float or tuple of float
            One edge, or (z, y, x).
        samples_per_voxel : int
            As in `Solid.fraction`.

        Returns
        -------
        Volume, float64
        """
        z, y, x = _sampling.voxel_edges(voxel_size_nm)
        edges = np.array([z, y, x])
        data = np.zeros(shape)
        bodies = zip(self.bodies, self.excess_densities, strict=True)
        for body, excess in track(bodies, "fill the voxels", len(self.bodies)):
            _sampling.add_fraction(data, body.solid, float(excess), edges, samples_per_voxel)
        return Volume(data, (z, y, x), geometry.centred_origin_nm(shape, (z, y, x)))

    def labels(self, shape: tuple[int, int, int], voxel_size_nm: float | Vector) -> Labels:
        """Phase at the centre of each voxel, on a grid centred at (0, 0, 0) nm.

        Parameters
        ----------
        shape : tuple of int
            (n_z, n_y, n_x).
        voxel_size_nm : float or tuple of float
            One edge, or (z, y, x).

        Returns
        -------
        Labels, uint8 (uint16 from 256 phases up)
            0 outside every body, else the place of the phase in `phases`, from 1.
        """
        z, y, x = _sampling.voxel_edges(voxel_size_nm)
        edges = np.array([z, y, x])
        data = np.zeros(shape, dtype=np.uint8 if len(self.phases) < 256 else np.uint16)
        numbers = {phase: i for i, phase in enumerate(self.phases, start=1)}
        for body in track(self.bodies, "label the voxels", len(self.bodies)):
            _sampling.paint(data, body.solid, numbers[body.phase], edges)
        names = {0: "background", **{number: phase for phase, number in numbers.items()}}
        return Labels(data, (z, y, x), geometry.centred_origin_nm(shape, (z, y, x)), names=names)


@planned(lambda *, size_nm=64.0, **_: Plan(SpecimenSketch("Specimen", size_nm=(size_nm,) * 3), 0))
def asymmetric(*, size_nm: float = 64.0) -> Specimen:
    """Balls and ellipsoids that no mirror, quarter turn or half turn of the axes maps onto themselves.

    For tests of orientation: a mirrored, swapped or turned result cannot be taken for the right one.

    Parameters
    ----------
    size_nm : float
        Edge of the cubic field. Everything scales with it, and no tilt angle takes anything out of it.

    Returns
    -------
    Specimen
        Three ellipsoids ("grain", density 1) and three balls ("bead", density 3).

    Raises
    ------
    ValueError
        If `size_nm` is not a positive length.
    """
    s = length("size_nm", size_nm) / 64.0
    grains = (
        ((6.0, 4.0, 12.0), (-9.0, -14.0, 7.0), (20.0, 30.0, -10.0)),
        ((9.0, 5.0, 4.0), (8.0, 9.0, -11.0), (0.0, 50.0, 25.0)),
        ((4.0, 8.0, 3.0), (12.0, -6.0, 9.0), (35.0, 0.0, 0.0)),
    )
    beads = ((3.0, (-12.0, 8.0, 14.0)), (2.0, (3.0, -21.0, -14.0)), (4.0, (-7.0, 22.0, -8.0)))
    bodies = [
        Body(
            Ellipsoid(semi_axes_nm=_scaled(axes, s), centre_nm=_scaled(centre, s), rotation_deg=turn), "grain"
        )
        for axes, centre, turn in grains
    ]
    bodies += [
        Body(Ball(radius_nm=radius * s, centre_nm=_scaled(centre, s), density=3.0), "bead")
        for radius, centre in beads
    ]
    return Specimen(bodies, (size_nm, size_nm, size_nm))


def _scaled(values: Vector, factor: float) -> Vector:
    z, y, x = values
    return (z * factor, y * factor, x * factor)
