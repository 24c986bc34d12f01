"""A trained classifier of voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False)
class PixelClassifier:
    """A trained forest, and what it was trained on.

    Parameters
    ----------
    forest : sklearn.ensemble.RandomForestClassifier
    classes : tuple of int
        Numbers of the classes in the result, in the order of the probabilities.
    names : mapping of int to str
        Their names.
    scales_nm : tuple of float
        Standard deviations of the Gaussians.
    elongation : tuple of float
        Factor of every scale along (z, y, x).
    voxel_size_nm : tuple of float
        (z, y, x) of the volume that it was trained on.
    accuracy : float
        Share of the painted voxels that the trees which did not see them classify right; nan for fewer than 50 trees.
        It flatters: neighbours of those voxels were seen.
    importances : mapping of str to float
        How much each feature tells, by name; they add up to 1.
    """

    forest: Any
    classes: tuple[int, ...]
    names: Mapping[int, str]
    scales_nm: tuple[float, ...]
    elongation: tuple[float, float, float]
    voxel_size_nm: tuple[float, float, float]
    accuracy: float
    importances: Mapping[str, float] = field(default_factory=dict)


def ensemble() -> Any:
    """scikit-learn's module of forests.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        from sklearn import ensemble as found
    except ImportError as error:
        raise ImportError("a random forest needs scikit-learn: pip install 'tomo3d[ml]'.") from error
    return found
