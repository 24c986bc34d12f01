"""A movie of the views before and after alignment, and movies as files."""

from __future__ import annotations

import io
import math
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from tomo3d import geometry
from tomo3d.compute.bending import Bends, bends
from tomo3d.compute.checks import require_finite
from tomo3d.compute.resampling import affine_images, bin_images
from tomo3d.progress import track
from tomo3d.render import _style
from tomo3d.types import Alignment, Movie, TiltSeries

_MAX_PIXELS = 512
_USUAL_PIXELS = 384  # a smaller picture is enlarged by a whole factor: its letters keep their size
_MARGIN = 12  # pixels around and between the panels
_HEADER = 58  # two lines of text
_LEAST_WIDTH = 190  # of a panel, for the words above it
_OUTSIDE = "#808080"  # beside a recorded view, where nothing is known: neither black nor white
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_GREYS = 64  # of a GIF: what the eye tells apart; with all 256 it would be a third larger


@_style.styled
def alignment_movie(
    series: TiltSeries,
    alignment: Alignment,
    *,
    max_pixels: int = _USUAL_PIXELS,
    frames_per_second: float = 8.0,
) -> Movie:
    """The views before and after alignment, side by side, from the lowest to the highest tilt.

    Parameters
    ----------
    series : TiltSeries
    alignment : Alignment
        One row per view of the series.
    max_pixels : int
        Longest side of a view in the movie, 16 to 512: larger views are averaged over squares of pixels,
        smaller ones enlarged by a whole factor. With 384 a frame of a GIF takes at most 0.4 MB, with 512 0.7 MB.
    frames_per_second : float

    Returns
    -------
    Movie
        One frame for each view in use, with its refined tilt angle and a scale bar. Before: turned by the mean
        direction of the tilt axis and not moved. After: as `align.apply` makes it. The dashed line is the
        tilt axis. Black and white are the percentiles 0.5 and 99.5 of all these views; what was not recorded
        is an even grey.

    Raises
    ------
    ValueError
        If the alignment has another number of views, no view is in use, a pixel of a view in use is not finite,
        or a parameter is outside its range.
    """
    geometry.check_fits(series, alignment)
    used = np.flatnonzero(series.used)
    if used.size == 0:
        raise ValueError("at least one view must be in use to be drawn, got none: see TiltSeries.use.")
    if not 16 <= max_pixels <= _MAX_PIXELS:
        raise ValueError(f"max_pixels must be 16 to {_MAX_PIXELS} pixels, got {max_pixels}.")
    order = used[np.argsort(alignment.tilt_angles_deg[used], kind="stable")]
    require_finite(series.images, order)
    factor = math.ceil(max(series.images.shape[1:]) / max_pixels)
    images = bin_images(series.images, factor, views=order)
    pixel_nm = factor * series.pixel_size_nm
    after = geometry.rows(alignment, order)
    stage = _Stage(images, _turned_only(after), after, pixel_nm)
    frames = [stage.frame(k) for k in track(range(len(order)), "drawing the movie", len(order))]
    return Movie(np.stack(frames), frames_per_second)


def encode_movie(movie: Movie, *, format: str = "gif") -> bytes:
    """A movie as the bytes of a GIF or MP4 file.

    Parameters
    ----------
    movie : Movie
    format : str
        "gif", in 64 greys, repeated for ever, at most 1.1 bytes per pixel and frame; or "mp4" (H.264), for
        which the program ffmpeg must be installed.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        If the format is neither, or is "mp4" and there is no ffmpeg.
    RuntimeError
        If ffmpeg fails.
    """
    if format == "gif":
        return _gif(movie)
    if format == "mp4":
        return _mp4(movie)
    raise ValueError(f"format must be one of gif, mp4, got {format!r}.")


@dataclass(frozen=True)
class _Panel:
    axes: Axes
    images: np.ndarray
    matrices: np.ndarray
    offsets: np.ndarray
    bends: Bends | None

    def show(self, k: int) -> None:
        """Draw view k, masked where it was not recorded."""
        shape = self.axes.images[0].get_array().shape  # type: ignore[union-attr]
        one = slice(k, k + 1)
        bent = None if self.bends is None else self.bends.views(np.array([k]))
        view = affine_images(self.images[one], self.matrices[one], self.offsets[one], shape, bent)[0]
        place = np.tensordot(self.matrices[k], np.indices(shape), axes=1) + self.offsets[k][:, None, None]
        outside = np.zeros(shape, dtype=bool)
        for at, n in zip(place, self.images.shape[1:], strict=True):
            outside |= (at < -0.5) | (at > n - 0.5)
        self.axes.images[0].set_data(np.ma.array(view, mask=outside))


class _Stage:
    """The figure whose panels and words change from frame to frame."""

    def __init__(self, images: np.ndarray, before: Alignment, after: Alignment, pixel_nm: float) -> None:
        raw = (int(images.shape[1]), int(images.shape[2]))
        shape = geometry.aligned_shape(raw, geometry.mean_axis_deg(after.tilt_axis_deg))
        scale = max(1, _USUAL_PIXELS // max(shape))
        height, width = scale * shape[0], scale * shape[1]
        room = max(width, _LEAST_WIDTH)
        self._alignment = after
        size = (2 * room + 3 * _MARGIN, height + _HEADER + _MARGIN)
        self._figure = _style.new_figure(size[0] / 150, size[1] / 150)
        limits = _style.grey_range(images, (0.5, 99.5))
        panels = []
        for i, alignment in enumerate((before, after)):
            left = _MARGIN + i * (room + _MARGIN) + (room - width) // 2
            axes = self._figure.add_axes(
                (left / size[0], _MARGIN / size[1], width / size[0], height / size[1])
            )
            _prepare(axes, shape, pixel_nm, limits)
            maps = geometry.alignment_matrices(alignment, pixel_nm, raw, shape)
            panels.append(_Panel(axes, images, *maps, bends(alignment.local_shifts_nm, pixel_nm, raw)))
        self._panels = panels
        _style.add_scale_bar(panels[0].axes, fraction=0.45)
        self._angle = _words(self._figure, size, _MARGIN, 8, fontsize=9)
        self._number = _words(self._figure, size, size[0] - _MARGIN, 8, ha="right", color=_style.QUIET)
        _words(self._figure, size, _MARGIN, 33).set_text("Before")
        self._after = _words(self._figure, size, 2 * _MARGIN + room, 33)

    def frame(self, k: int) -> np.ndarray:
        """The picture of view k, (height, width) uint8."""
        for panel in self._panels:
            panel.show(k)
        self._angle.set_text(f"Tilt {_style.signed(float(self._alignment.tilt_angles_deg[k]))}°")
        self._number.set_text(f"{k + 1} of {self._alignment.n_tilts}")
        self._after.set_text("After" if self._alignment.reliable[k] else "After (distrusted)")
        canvas = self._figure.canvas
        assert isinstance(canvas, FigureCanvasAgg)
        canvas.draw()
        colours = np.asarray(canvas.buffer_rgba())[..., :3].astype(np.float32)
        return np.asarray(np.rint(colours @ _LUMINANCE), dtype=np.uint8)


def _turned_only(alignment: Alignment) -> Alignment:
    """The same tilts about the mean axis, with nothing moved, scaled or distorted."""
    axis_deg = geometry.mean_axis_deg(alignment.tilt_axis_deg)
    return replace(
        alignment,
        shifts_nm=np.zeros_like(alignment.shifts_nm),
        tilt_axis_deg=np.full(alignment.n_tilts, axis_deg),
        magnification=np.ones(alignment.n_tilts),
        stretch=None,
        skew_deg=None,
        z_shear=None,
        local_shifts_nm=None,
    )


def _prepare(axes: Axes, shape: tuple[int, int], pixel_nm: float, limits: tuple[float, float]) -> None:
    half_y, half_x = (0.5 * n * pixel_nm for n in shape)
    axes.imshow(
        np.zeros(shape, dtype=np.float32),
        cmap=_style.colour_map("gray"),
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        extent=(-half_x, half_x, -half_y, half_y),
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_facecolor(_OUTSIDE)
    _style.picture_axes(axes)
    axes.axvline(0, color="black", lw=1.2, alpha=0.5)
    axes.axvline(0, color="white", lw=0.7, ls=(0, (5, 4)), gid="tilt axis")


def _words(figure: Figure, size: tuple[int, int], x: float, y: float, **style: Any) -> Text:
    """Text whose top is `y` pixels below the upper edge."""
    return figure.text(x / size[0], 1 - y / size[1], "", **{"va": "top", "fontsize": 8, **style})


def _gif(movie: Movie) -> bytes:
    from PIL import Image

    step = 255 / (_GREYS - 1)
    palette = np.repeat(np.rint(np.arange(_GREYS) * step).astype(np.uint8), 3).tobytes()
    pictures = []
    for frame in movie.frames:
        picture = Image.fromarray(np.rint(frame / step).astype(np.uint8), mode="P")
        picture.putpalette(palette)
        pictures.append(picture)
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / movie.frames_per_second),
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()


def _mp4(movie: Movie) -> bytes:
    program = shutil.which("ffmpeg")
    if program is None:
        raise ValueError("the program ffmpeg must be installed to write MP4, and was not found: write a GIF.")
    _, height, width = movie.frames.shape
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie.mp4"
        command = [
            program, "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}",
            "-r", f"{movie.frames_per_second:g}", "-i", "-", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white",
            "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", str(path),
        ]  # fmt: skip
        done = subprocess.run(
            command, input=np.ascontiguousarray(movie.frames).tobytes(), capture_output=True
        )
        if done.returncode:
            raise RuntimeError(f"ffmpeg failed: {done.stderr.decode(errors='replace').strip()[:300]}")
        return path.read_bytes()
