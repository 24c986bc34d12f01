"""The file of a trained classifier: data that skops reads without running anything, and that are looked at."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tomo3d.compute import pixel_features
from tomo3d.errors import FormatError
from tomo3d.segment._classifier import PixelClassifier, ensemble

_FORMAT = "tomo3d pixel classifier 1"
_TREES = ["sklearn.tree._tree.Tree"]  # what skops leaves to us to trust: `_check_forest` looks at each
_MOST_BYTES = 1 << 32  # of an unpacked file


def save_classifier(
    classifier: PixelClassifier, path: str | os.PathLike[str], *, overwrite: bool = False
) -> None:
    """Write a classifier into a .skops file: data only, no code that runs when it is read.

    Parameters
    ----------
    classifier : PixelClassifier
    path : str or path
        File to write.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    ImportError
        If skops is not installed.
    FileExistsError
        If the file exists and `overwrite` is false.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists. Pass overwrite to replace it.")
    content = {
        "format": _FORMAT,
        "forest": classifier.forest,
        "classes": list(classifier.classes),
        "names": {str(number): name for number, name in classifier.names.items()},
        "scales_nm": list(classifier.scales_nm),
        "elongation": list(classifier.elongation),
        "voxel_size_nm": list(classifier.voxel_size_nm),
        "accuracy": classifier.accuracy,
        "importances": dict(classifier.importances),
    }
    beside = path.with_name(path.name + ".partial")
    beside.write_bytes(_skops().dumps(content))
    os.replace(beside, path)


def load_classifier(path: str | os.PathLike[str]) -> PixelClassifier:
    """Read a classifier that `save_classifier` wrote. A file that names any type beyond those of a forest is refused.

    Parameters
    ----------
    path : str or path
        A .skops file.

    Returns
    -------
    PixelClassifier

    Raises
    ------
    ImportError
        If skops or scikit-learn is not installed.
    FileNotFoundError
        If there is no such file.
    FormatError
        If it is not a classifier, or holds anything that could run code.
    """
    ensemble()
    skops, path = _skops(), Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        with zipfile.ZipFile(path) as packed:
            n_bytes = sum(entry.file_size for entry in packed.infolist())
        if n_bytes > _MOST_BYTES:
            raise FormatError(
                f"{path} must unpack to at most {_MOST_BYTES >> 30} GiB, got {n_bytes >> 30} GiB."
            )
        unknown = sorted(set(skops.get_untrusted_types(file=path)) - set(_TREES))
        if unknown:
            raise FormatError(f"{path} must hold a forest and plain values only, got {', '.join(unknown)}.")
        content = skops.load(path, trusted=_TREES)
    except (zipfile.BadZipFile, KeyError, TypeError) as error:
        raise FormatError(
            f"{path} must be a classifier that tomo3d saved, got something else ({error})."
        ) from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise FormatError(f"{path} must be a classifier that tomo3d saved, got {type(content).__name__}.")
    scales_nm = tuple(float(scale) for scale in content["scales_nm"])
    _check_forest(
        path, content["forest"], len(content["classes"]), len(pixel_features.feature_names(scales_nm))
    )
    return PixelClassifier(
        content["forest"],
        tuple(content["classes"]),
        {int(number): name for number, name in content["names"].items()},
        scales_nm,
        tuple(content["elongation"]),
        tuple(content["voxel_size_nm"]),
        content["accuracy"],
        content["importances"],
    )


def _check_forest(path: Path, forest: Any, n_classes: int, n_features: int) -> None:
    """Refuse a forest whose trees would read beyond their arrays, or never end: scikit-learn does not look."""
    fits = (
        isinstance(forest, ensemble().RandomForestClassifier)
        and forest.n_features_in_ == n_features
        and len(forest.classes_) == n_classes
        and len(forest.estimators_) == forest.n_estimators
        and all(_is_sound(estimator.tree_, n_classes, n_features) for estimator in forest.estimators_)
    )
    if not fits:
        raise FormatError(
            f"{path} must hold a forest of {n_classes} classes and {n_features} features, got another."
        )


def _is_sound(tree: Any, n_classes: int, n_features: int) -> bool:
    """Whether every branch of a tree leads to later nodes, by a feature that exists."""
    left, right = np.asarray(tree.children_left), np.asarray(tree.children_right)
    here, n_nodes = np.arange(len(left)), len(left)
    is_leaf = left == -1
    leads_on = [(child > here) & (child < n_nodes) for child in (left, right)]
    feature = np.asarray(tree.feature)
    is_known = (feature >= 0) & (feature < n_features)
    return bool(
        n_nodes > 0
        and tree.value.shape == (n_nodes, 1, n_classes)
        and (is_leaf | (leads_on[0] & leads_on[1] & is_known)).all()
    )


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise ImportError("the file of a classifier needs skops: pip install 'tomo3d[ml]'.") from error
    return skops.io
