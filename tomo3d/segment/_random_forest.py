"""Classes by a random forest that learns from painted voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from scipy import ndimage

from tomo3d.compute import backend, pixel_features
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.progress import report, track
from tomo3d.segment._classifier import PixelClassifier, ensemble
from tomo3d.segment.histogram import grey_range
from tomo3d.segment.markers import check_grids, marked_classes
from tomo3d.types import Labels, Volume

_TRUNCATE = 3.0  # standard deviations of the smoothing
_EDGE = 64  # voxels of a tile
_SCALES = (0.7, 1.5, 3.0, 6.0)  # in smallest voxel edges
_MAX_FEATURES = 0.4  # of all, for each branch: a third or so is usual, and many of ours tell little
_LEAST_TREES = 50  # from which on every voxel was left out by some of them
_TILE_BYTES = 1 << 28  # of one tile: features, and temporaries with the halo of the default scales


def train_classifier(
    volume: Volume,
    painted: Labels,
    *,
    scales_nm: Sequence[float] | None = None,
    elongation: tuple[float, float, float] = (1.0, 1.0, 1.0),
    background: int = 0,
    n_trees: int = 100,
    seed: int = 0,
) -> PixelClassifier:
    """Train a random forest on painted voxels.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values.
    painted : Labels, same grid
        A few voxels of each class, numbered from 1; 0 where nothing is painted.
    scales_nm : sequence of float, optional
        Standard deviations of the Gaussians that features are taken at. Default: 0.7, 1.5, 3 and 6 times the
        smallest voxel edge.
    elongation : tuple of float
        Factor of every scale along (z, y, x), as (1.5, 1, 1) for the elongation by a missing wedge.
    background : int
        The painted class that turns into 0 in the result; 0 for none.
    n_trees : int
        Trees of the forest; the time of `classify` grows with it.
    seed : int
        Of the choice of voxels and features for each tree.

    Returns
    -------
    PixelClassifier

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    ValueError
        If no voxel is painted, all have one class, the grids differ, a grey value is not finite, `background` is not
        a painted class, or a scale, factor or number of trees is not positive.

    Notes
    -----
    Breiman's forest [1]_ on 1 + 11 features a scale: the grey value; and, with Gaussians that are as wide in nm along
    each axis (times `elongation`), the blurred value, the length of the gradient, the eigenvalues of the second
    derivatives and of the structure tensor, the local standard deviation, as in trainable Weka segmentation [2]_,
    and both derivatives along the beam, where a missing wedge blurs.

    Classes that are painted more are found more. Voxels on the edges of structures tell it most, and those most of
    all that a first forest gets wrong: paint half, look, and paint there.

    References
    ----------
    .. [1] Mach. Learn. 45 (2001) 5-32, doi:10.1023/A:1010933404324
    .. [2] Arganda-Carreras et al., Bioinformatics 33 (2017) 2424-2426, doi:10.1093/bioinformatics/btx180
    """
    forests = ensemble()
    check_grids(volume, painted, "painted")
    numbers = marked_classes(painted)
    if background != 0 and background not in numbers:
        raise ValueError(f"background must be one of the painted classes {numbers} or 0, got {background}.")
    if scales_nm is None:
        scales_nm = [factor * min(volume.voxel_size_nm) for factor in _SCALES]
    scales_nm = tuple(float(scale) for scale in scales_nm)
    for name, values in (("scales_nm", scales_nm), ("elongation", elongation), ("n_trees", (n_trees,))):
        if len(values) == 0 or not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError(f"{name} must be positive, got {', '.join(map(str, values)) or 'none'}.")
    grey_range(volume)
    scales = _scales(volume, scales_nm, elongation)
    vectors, classes = _painted_features(volume, painted, scales)
    forest = forests.RandomForestClassifier(
        n_trees,
        max_features=_MAX_FEATURES,
        oob_score=n_trees >= _LEAST_TREES,
        random_state=seed,
        n_jobs=backend.n_threads(),
    )
    report("train the forest", 0, 1)
    forest.fit(vectors, classes)
    report("train the forest", 1, 1)
    names = {0 if c == background else c: painted.names.get(c, f"class {c}") for c in numbers}
    if background:
        names[0] = painted.names.get(background, "background")
    weights = zip(pixel_features.feature_names(scales_nm), forest.feature_importances_, strict=True)
    return PixelClassifier(
        forest,
        tuple(0 if number == background else number for number in numbers),
        names,
        scales_nm,
        elongation,
        volume.voxel_size_nm,
        float(getattr(forest, "oob_score_", math.nan)),
        {name: float(weight) for name, weight in weights},
    )


def _classify_plan(
    volume: Sketch, *_: Any, with_probabilities: bool = True, smoothing_nm: float = 0.0, **__: Any
) -> Plan:
    result = Sketch("Labels", volume.shape, "uint8", volume.pixel_size_nm)
    probabilities = (
        4 * 4 * math.prod(volume.shape) if with_probabilities or smoothing_nm > 0 else 0
    )  # of four classes, say
    return Plan(result, result.n_bytes + probabilities + backend.n_threads() * _TILE_BYTES)


@planned(_classify_plan)
def classify(
    volume: Volume,
    classifier: PixelClassifier,
    *,
    smoothing_nm: float = 0.0,
    with_probabilities: bool = True,
) -> Labels:
    """Classes of a volume by a trained classifier.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values; read tile by tile.
    classifier : PixelClassifier
        From `train_classifier` or `load_classifier`.
    smoothing_nm : float
        Standard deviation of a Gaussian over the probabilities, against single wrong voxels where little was painted;
        small particles shrink under it.
    with_probabilities : bool
        Whether the result holds the probability of every class in every voxel, 4 bytes each.

    Returns
    -------
    Labels, same grid, uint8 (uint16 where a class has a number above 255)
        The most probable class, as painted; `probabilities` as float32, in the order of `PixelClassifier.classes`,
        which the record names.

    Raises
    ------
    ValueError
        If a grey value is not finite, `smoothing_nm` is negative, or a voxel is more than twice as large or small as
        in training.

    Notes
    -----
    Tile by tile in as many threads as there are cores, with the halo that the largest scale needs: the result is, bit
    by bit, that of the volume as a whole. Scales are in nm, so it holds for another voxel size.
    """
    if not (math.isfinite(smoothing_nm) and smoothing_nm >= 0):
        raise ValueError(f"smoothing_nm must be zero or more, got {smoothing_nm:g} nm.")
    ratios = np.divide(volume.voxel_size_nm, classifier.voxel_size_nm)
    if ratios.max() > 2 or ratios.min() < 0.5:
        raise ValueError(
            f"voxels must be within a factor of 2 of those of the training {classifier.voxel_size_nm} nm, "
            f"got {volume.voxel_size_nm} nm. Bin the volume, or train again."
        )
    grey_range(volume)
    numbers = np.array(classifier.classes, dtype=np.uint8 if max(classifier.classes) < 256 else np.uint16)
    data = np.empty(volume.data.shape, dtype=numbers.dtype)
    shape = (len(numbers), *data.shape)
    is_kept = with_probabilities or smoothing_nm > 0
    probabilities = np.empty(shape, dtype=np.float32) if is_kept else None
    scales = _scales(volume, classifier.scales_nm, classifier.elongation)
    forest = classifier.forest.set_params(n_jobs=1)

    def one(tile: pixel_features.Tile) -> None:
        found = pixel_features.features(volume.data, tile, scales)
        shares = forest.predict_proba(np.ascontiguousarray(found.reshape(len(found), -1).T))
        data[tile] = numbers[shares.argmax(axis=1)].reshape(found.shape[1:])
        if probabilities is not None:
            probabilities[(slice(None), *tile)] = shares.T.reshape(len(numbers), *found.shape[1:])

    tiles = pixel_features.tiles(data.shape, _EDGE)
    with ThreadPoolExecutor(backend.n_threads()) as pool:
        for _ in track(pool.map(one, tiles), "classify", len(tiles)):
            pass
    if probabilities is not None and smoothing_nm > 0:
        sigmas = [smoothing_nm / edge for edge in volume.voxel_size_nm]
        for shares_of_class in probabilities:
            ndimage.gaussian_filter(shares_of_class, sigmas, output=shares_of_class, truncate=_TRUNCATE)
        data = numbers[probabilities.argmax(axis=0)]
    record = {
        "method": "random_forest",
        "classes": list(classifier.classes),
        "scales_nm": list(classifier.scales_nm),
        "elongation": list(classifier.elongation),
        "n_trees": int(forest.n_estimators),
        "smoothing_nm": smoothing_nm,
        "accuracy_out_of_bag": classifier.accuracy,
    }
    names = dict(classifier.names)
    kept = probabilities if with_probabilities else None
    return Labels(data, volume.voxel_size_nm, volume.origin_nm, record, names, kept)


@planned(_classify_plan)
def random_forest(
    volume: Volume,
    painted: Labels,
    *,
    scales_nm: Sequence[float] | None = None,
    elongation: tuple[float, float, float] = (1.0, 1.0, 1.0),
    background: int = 0,
    n_trees: int = 100,
    smoothing_nm: float = 0.0,
    seed: int = 0,
) -> Labels:
    """Classes learned from a few painted voxels of the same volume: `train_classifier`, then `classify`.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values.
    painted : Labels, same grid
        A few voxels of each class, numbered from 1; 0 where nothing is painted.
    scales_nm, elongation, background, n_trees, seed
        As in `train_classifier`.
    smoothing_nm : float
        As in `classify`.

    Returns
    -------
    Labels
        As from `classify`, with the probabilities.

    Raises
    ------
    ImportError, ValueError
        As the two.
    """
    classifier = train_classifier(
        volume,
        painted,
        scales_nm=scales_nm,
        elongation=elongation,
        background=background,
        n_trees=n_trees,
        seed=seed,
    )
    return classify(volume, classifier, smoothing_nm=smoothing_nm)


def _scales(
    volume: Volume, scales_nm: Sequence[float], elongation: tuple[float, float, float]
) -> list[pixel_features.Scale]:
    """Standard deviations in voxels."""
    z, y, x = (factor / edge for factor, edge in zip(elongation, volume.voxel_size_nm, strict=True))
    return [(scale * z, scale * y, scale * x) for scale in scales_nm]


def _painted_features(
    volume: Volume, painted: Labels, scales: list[pixel_features.Scale]
) -> tuple[np.ndarray, np.ndarray]:
    """Features (n_painted, n_features) and classes of the painted voxels in the order of the volume.

    Only tiles that have some are computed.
    """
    numbers = np.asarray(painted.data)
    tiles = [tile for tile in pixel_features.tiles(numbers.shape, _EDGE) if (numbers[tile] != 0).any()]
    vectors, classes, places = [], [], []
    for tile in track(tiles, "features of the painted voxels", len(tiles)):
        part = numbers[tile]
        vectors.append(pixel_features.features(volume.data, tile, scales)[:, part != 0].T)
        classes.append(part[part != 0])
        start = np.array([[side.start] for side in tile])
        places.append(np.ravel_multi_index(tuple(np.nonzero(part) + start), numbers.shape))
    order = np.argsort(np.concatenate(places))  # so that the forest does not depend on the tiles
    return np.concatenate(vectors)[order], np.concatenate(classes)[order]
