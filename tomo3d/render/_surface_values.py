"""Pictures of surfaces that were measured, coloured by what is on their vertices."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tomo3d.progress import report
from tomo3d.render import _style
from tomo3d.render._opengl import require_opengl
from tomo3d.render._surface import _compose, _limits, _render, _View
from tomo3d.types import Surface


@_style.styled
def surface(surface: Surface, *, colour_by: str | None = None, label: str | None = None) -> Figure:
    """Shaded picture of a surface, coloured by values on its vertices, with its size and a scale bar.

    Parameters
    ----------
    surface : Surface
        As of `tomo3d.measure.surface_mesh` or `curvature`.
    colour_by : str, optional
        Name of the values on the vertices to colour it by, as `mean_curvature_per_nm`; of several columns
        there is no picture. Where they are nan it is grey. Values of both signs get two colours that meet at zero.
    label : str, optional
        Title of the colour bar, with its unit. Default: from the name.

    Returns
    -------
    matplotlib.figure.Figure
        Parallel projection, z up, in the box around the surface.

    Raises
    ------
    OpenGLError
        If this machine cannot draw off screen; the message says what is missing.
    ValueError
        If the surface has no triangles, or no values of that name, one a vertex.
    """
    if not len(surface.faces):
        raise ValueError("a surface must have triangles to be drawn, got none.")
    colours = None
    if colour_by is not None:
        known = [name for name, values in surface.point_data.items() if np.ndim(values) == 1]
        if colour_by not in known:
            raise ValueError(
                f"colour_by must be one of the values on the vertices, {', '.join(known) or 'but there are none'}, got "
                f"{colour_by!r}."
            )
        colours = np.asarray(surface.point_data[colour_by], dtype=np.float64)
    require_opengl()
    report("drawing the surface", 0, 2)
    used = surface.vertices_nm[np.unique(surface.faces)]
    view = _View.around(used.min(axis=0)[::-1], used.max(axis=0)[::-1])
    limits = _limits(colours)
    picture = _render(surface, colours, limits, view)
    report("drawing the surface", 1, 2)
    title = label if label is not None else _title(colour_by or "")
    figure = _compose(picture, view, limits if colours is not None else None, title)
    report("drawing the surface", 2, 2)
    return figure


def _title(name: str) -> str:
    """A name with its unit, as a title: "mean_curvature_per_nm" is "Mean curvature (1/nm)"."""
    units = {"_per_nm2": "1/nm²", "_per_nm": "1/nm", "_nm2": "nm²", "_nm": "nm", "_deg": "degrees"}
    for ending, unit in units.items():
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ').capitalize()} ({unit})"
    return name.replace("_", " ").capitalize()
