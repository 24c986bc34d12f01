"""The list of functions that a recipe and the command line may run, as strings: it imports no stage.

One name here is the whole command and the whole recipe step; nothing else can be run from either.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable
from typing import Any

DESCRIPTIONS: dict[str, str] = {
    "io": "Read tilt series, volumes, labels, alignments and tables.",
    "phantoms": "Specimens with a known answer, and a microscope that records them.",
    "preprocess": "Prepare the views of a tilt series.",
    "align": "Find how the views of a tilt series fit together.",
    "reconstruct": "Make a volume from a tilt series.",
    "quality": "Resolution of a volume, and how it predicts views.",
    "segment": "Divide a volume into classes.",
    "measure": "Measure structures in nm.",
    "graph": "Networks: skeletons, contacts, rigidity, stiffness and flow.",
    "render": "Draw volumes, labels, tilt series and tables.",
}

FUNCTIONS: dict[str, tuple[str, ...]] = {
    "io": (
        "read_tilt_series",
        "read_volume",
        "read_movie",
        "read_labels",
        "read_alignment",
        "read_surface",
        "read_graph",
        "read_table",
        "read_tracks",
        "read_point_positions",
    ),
    "phantoms": (
        "asymmetric",
        "bead_slab",
        "catalyst_layer",
        "capsule",
        "helix",
        "ring",
        "cubic_network",
        "diamond_network",
        "random_network",
        "crumpled_membrane",
        "acquire",
        "compare",
        "compare_networks",
        "film_on_ball",
        "bridge_in_slot",
        "oblique_film",
    ),
    "preprocess": (
        "correct_gain",
        "remove_outliers",
        "align_frames",
        "align_frames_locally",
        "flag_views",
        "subtract_background",
        "normalize_intensity",
        "bin_views",
    ),
    "align": (
        "marker_free",
        "with_fiducials",
        "with_particles",
        "with_patches",
        "detect_beads",
        "track_beads",
        "track_patches",
        "erase_beads",
        "center_of_mass",
        "common_lines",
        "cross_correlation",
        "tilt_axis",
        "level_slab",
        "projection_matching",
        "bundle_adjust",
        "local_alignment",
        "apply",
    ),
    "reconstruct": (
        "wbp",
        "sirt",
        "sart",
        "cgls",
        "total_variation",
        "mlem",
        "dart",
        "dual_axis",
        "multi_channel",
        "project",
    ),
    "quality": (
        "fourier_shell_correlation",
        "directional_resolution",
        "half_volumes",
        "leave_one_out",
        "repeated_views",
    ),
    "segment": (
        "otsu",
        "multi_otsu",
        "threshold",
        "hysteresis",
        "local_threshold",
        "sauvola",
        "gaussian_mixture",
        "watershed",
        "marker_watershed",
        "random_walker",
        "random_forest",
        "load_classifier",
        "train_classifier",
        "classify",
        "clean",
        "select",
        "agreement",
    ),
    "measure": (
        "local_thickness",
        "local_thickness_voxel",
        "distance_thickness",
        "slice_thickness",
        "chord_thickness",
        "profile_thickness",
        "edge_widths",
        "film_coverage",
        "thickness_report",
        "thickness_by_angle",
        "thickness_summary",
        "volume_fractions",
        "pool_summaries",
        "correct_bias",
        "porosity",
        "percolation",
        "porosimetry",
        "size_distribution",
        "object_sizes",
        "two_point_correlation",
        "chord_lengths",
        "tortuosity",
        "effective_diffusivity",
        "geodesic_tortuosity",
        "split_particles",
        "particles",
        "particle_sizes",
        "particle_summary",
        "dispersion",
        "detection_limit",
        "surface_mesh",
        "interface_mesh",
        "surface_area",
        "interface_areas",
        "curvature",
        "curvature_summary",
        "euler_number",
        "minkowski_functionals",
    ),
    "graph": (
        "skeletonize",
        "medial_surface",
        "skeleton_graph",
        "contact_graph",
        "node_table",
        "branch_table",
        "descriptors",
        "descriptors_in_windows",
        "centralities",
        "rigidity",
        "floppy_modes",
        "stiffness",
        "transport",
        "rank_correlation",
    ),
    "render": (
        "slices",
        "thickness_map",
        "tilt_series",
        "alignment",
        "alignment_movie",
        "thickness_histogram",
        "thickness_distributions",
        "thickness_by_angle",
        "film_profile",
        "grey_histogram",
        "comparison",
        "curves",
        "fourier_shell_correlation",
        "iso_surface",
        "particle_sizes",
        "dispersion",
        "particles",
        "detection_limit",
        "surface",
        "network",
        "branch_histograms",
    ),
}

RECIPE_ONLY: frozenset[str] = frozenset(
    f"{stage}.{name}" for stage in ("io", "phantoms") for name in FUNCTIONS[stage]
) | {"segment.load_classifier"}
"""Functions that make no command: readers are part of every command, and a specimen has no file."""


def resolve(run: str) -> Callable[..., Any]:
    """The function that `run`, as "stage.function", names.

    Raises
    ------
    ValueError
        If it is not in the list; the sentence gives the nearest name.
    """
    stage, _, name = run.partition(".")
    if stage not in FUNCTIONS:
        raise ValueError(f"there is no stage {stage!r}{did_you_mean(stage, FUNCTIONS)}")
    if name not in FUNCTIONS[stage]:
        raise ValueError(f"{stage} has no function {name!r}{did_you_mean(name, FUNCTIONS[stage])}")
    function: Callable[..., Any] = getattr(importlib.import_module(f"tomo3d.{stage}"), name)
    return function


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """End of a sentence about an unknown name: the nearest known one, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there {'are' if len(known) > 1 else 'is'} {', '.join(known)}." if known else "; there is none."
