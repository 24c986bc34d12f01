"""Slabs with gold beads as a microscope records them, and where each bead truly is in each view."""

from dataclasses import replace

import numpy as np

from tomo3d import geometry
from tomo3d.phantoms import Microscope, acquire, bead_slab

DIAMETER = 10.0  # pixels, of 2 nm
PIXEL = 2.0


def taken(*, noise=0.0, texture=0.1, size=240, n_beads=14, step=5.0, seed=0, diameter=DIAMETER, **microscope):
    """(series, truth): the truth has `shape` (n_views, n_beads, 2), (y, x) in pixels, and the true alignment."""
    specimen = bead_slab(
        size_nm=size * PIXEL, thickness_nm=40 * PIXEL, diameter_nm=diameter * PIXEL, n_beads=n_beads,
        texture=texture, seed=seed,
    )  # fmt: skip
    settings = {"shift_nm": 20.0 * PIXEL, "tilt_axis_deg": 4.0, "blur_fwhm_nm": PIXEL} | microscope
    acquired = acquire(
        specimen, pixel_size_nm=PIXEL, image_shape=(size, size - 7), seed=seed,
        microscope=Microscope(tilt_step_deg=step, noise_fraction=noise, **settings),
    )  # fmt: skip
    acquired.series.images.flags.writeable = False
    return acquired.series, Truth(acquired, specimen, diameter)


class Truth:
    """Where beads are, and which can be seen: inside the image, and a diameter from the next."""

    def __init__(self, acquired, specimen, diameter):
        self.alignment = alignment = acquired.alignment
        shape = acquired.series.images.shape[1:]
        matrices, offsets = geometry.alignment_matrices(alignment, PIXEL, shape, shape)
        centres = np.array([b.solid.centre_nm for b in specimen.bodies if b.phase == "bead"])
        u = [geometry.detector_position(centres[:, 2], centres[:, 0], t) for t in alignment.tilt_angles_deg]
        aligned = np.stack([np.column_stack((centres[:, 1], each)) for each in u]) / PIXEL
        aligned += [geometry.centre(n) for n in shape]
        self.positions = np.einsum("vij,vbj->vbi", matrices, aligned) + offsets[:, None]
        edge = 0.5 * diameter + 1.5
        inside = ((self.positions > edge) & (self.positions < np.array(shape) - 1 - edge)).all(axis=2)
        apart = np.linalg.norm(self.positions[:, :, None] - self.positions[:, None], axis=3)
        apart += 1e9 * np.eye(len(centres))
        self.visible = inside & (apart.min(axis=2) > diameter)

    def named(self, table):
        """For each row of a table: the nearest bead and its distance in pixels."""
        found = table[["y_nm", "x_nm"]].to_numpy() / PIXEL
        off = np.linalg.norm(self.positions[table["view"]] - found[:, None], axis=2)
        return off.argmin(axis=1), off.min(axis=1)

    def shift_errors(self, alignment, views):
        """(along, across, rotation): r.m.s. shifts in pixels, less what is free, and the largest axis error in deg."""
        error = (alignment.shifts_nm - self.alignment.shifts_nm)[views] / PIXEL
        tilt = np.deg2rad(self.alignment.tilt_angles_deg[views])
        orbit = np.column_stack((np.ones_like(tilt), np.cos(tilt), np.sin(tilt)))
        across = error[:, 1] - orbit @ np.linalg.lstsq(orbit, error[:, 1], rcond=None)[0]
        turn = geometry.axis_difference_deg(alignment.tilt_axis_deg, self.alignment.tilt_axis_deg)[views]
        return error[:, 0].std(), np.sqrt(np.mean(across**2)), np.abs(turn).max()


def inverted(series):
    """The same series with dark beads."""
    return replace(series, images=-series.images)
