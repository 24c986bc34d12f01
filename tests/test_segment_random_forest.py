"""A random forest from painted voxels: what it learns, its tiles, its file."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tomo3d import io, pipeline
from tomo3d.errors import FormatError
from tomo3d.segment import (
    _random_forest,
    agreement,
    classify,
    load_classifier,
    random_forest,
    save_classifier,
    train_classifier,
)
from tomo3d.types import Labels, Volume

pytest.importorskip("sklearn")
skops_io = pytest.importorskip("skops.io")

VOXEL = (2.0, 1.0, 1.0)
SHAPE = (14, 26, 31)
FAST = {"n_trees": 15, "scales_nm": (1.0, 2.0)}


@pytest.fixture(scope="module")
def specimen():
    """A smooth ball, and striped ground of the same mean grey value; painted sparsely."""
    rng = np.random.default_rng(0)
    z, y, x = np.indices(SHAPE)
    is_ball = (2.0 * (z - 7)) ** 2 + (y - 13) ** 2 + (x - 15) ** 2 < 100
    grey = np.where(is_ball, 0.0, np.sin(2 * np.pi * x / 4)) + 0.1 * rng.standard_normal(SHAPE)
    truth = is_ball.astype(np.uint8) + 1
    painted = np.where(rng.random(SHAPE) < 0.02, truth, 0).astype(np.uint8)
    for array in (grey, painted):
        array.flags.writeable = False
    names = {1: "striped", 2: "smooth"}
    return Volume(grey, VOXEL), Labels(painted, VOXEL, names=names), Labels(truth, VOXEL)


@pytest.fixture(scope="module")
def classifier(specimen):
    return train_classifier(specimen[0], specimen[1], background=1, **FAST)


def test_textures_of_one_grey_value_are_told_apart(specimen, classifier):
    found = classify(specimen[0], classifier)
    truth = Labels((specimen[2].data == 2).astype(np.uint8), VOXEL)
    # the largest scale of 2 nm blurs the boundary of a ball of 10 nm; grey values alone cannot part the two at all
    row = agreement(Labels((found.data == 2).astype(np.uint8), VOXEL), truth).iloc[0]
    assert row["dice"] > 0.9
    assert found.names == {0: "striped", 2: "smooth"}
    assert set(np.unique(found.data)) == {0, 2}


def test_probabilities_are_of_the_painted_classes_and_their_largest_is_the_class(specimen, classifier):
    found = classify(specimen[0], classifier)
    assert found.record["classes"] == [0, 2]
    assert found.probabilities.shape == (2, *SHAPE)
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1.0, atol=1e-6)
    np.testing.assert_array_equal(found.data, np.array([0, 2])[found.probabilities.argmax(axis=0)])
    assert classify(specimen[0], classifier, with_probabilities=False).probabilities is None


def test_tile_by_tile_is_the_whole_bit_by_bit(specimen, classifier, monkeypatch):
    whole = classify(specimen[0], classifier)
    monkeypatch.setattr(_random_forest, "_EDGE", 11)
    tiles = classify(specimen[0], classifier)
    np.testing.assert_array_equal(tiles.probabilities, whole.probabilities)
    again = train_classifier(specimen[0], specimen[1], background=1, **FAST)
    np.testing.assert_array_equal(classify(specimen[0], again).probabilities, whole.probabilities)


def test_smoothing_is_that_of_the_probabilities(specimen, classifier):
    raw, smooth = classify(specimen[0], classifier), classify(specimen[0], classifier, smoothing_nm=1.5)
    expected = ndimage.gaussian_filter(raw.probabilities[1], (0.75, 1.5, 1.5), truncate=3.0)
    np.testing.assert_allclose(smooth.probabilities[1], expected, atol=1e-6)
    np.testing.assert_array_equal(smooth.data, np.array([0, 2])[smooth.probabilities.argmax(axis=0)])
    less = classify(specimen[0], classifier, smoothing_nm=1.5, with_probabilities=False)
    np.testing.assert_array_equal(less.data, smooth.data)


def test_one_seed_gives_one_result(specimen):
    first, second, other = (random_forest(*specimen[:2], seed=seed, **FAST) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert (first.probabilities != other.probabilities).any()


def test_scales_are_in_nm_whatever_the_voxels(specimen, classifier):
    # what was learned on voxels of 2 nm along z holds where they are 1 nm: each slice twice
    fine = Volume(np.repeat(specimen[0].data, 2, axis=0), (1.0, 1.0, 1.0))
    found = np.asarray(classify(fine, classifier).data)
    assert np.mean(found[::2] == classify(specimen[0], classifier).data) > 0.98


def test_gaussians_are_as_wide_in_nm_along_each_axis_times_the_elongation(specimen):
    assert _random_forest._scales(specimen[0], (3.0, 1.0), (1.5, 1.0, 0.5)) == [
        (2.25, 3.0, 1.5),
        (0.75, 1.0, 0.5),
    ]


def test_brightness_and_contrast_of_both_do_not_matter(specimen):
    moved = Volume(4.0 * np.asarray(specimen[0].data) + 64.0, VOXEL)
    first, second = (random_forest(volume, specimen[1], **FAST).data for volume in (specimen[0], moved))
    assert np.mean(first == second) > 0.99


def test_a_classifier_comes_back_from_its_file(specimen, classifier, tmp_path):
    path = tmp_path / "forest.skops"
    save_classifier(classifier, path)
    read = load_classifier(path)
    assert (read.classes, read.names, read.scales_nm) == ((0, 2), {0: "striped", 2: "smooth"}, (1.0, 2.0))
    assert read.voxel_size_nm == VOXEL
    found = classify(specimen[0], read)
    np.testing.assert_array_equal(found.probabilities, classify(specimen[0], classifier).probabilities)
    with pytest.raises(FileExistsError, match="forest"):
        save_classifier(classifier, path)
    save_classifier(classifier, path, overwrite=True)
    assert [item.name for item in tmp_path.iterdir()] == ["forest.skops"]
    with zipfile.ZipFile(path) as packed:
        assert "schema.json" in packed.namelist()  # of skops: no pickle


def test_it_is_trained_and_used_by_commands_and_by_steps_of_a_recipe(specimen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    io.write_volume(Volume(specimen[0].data.astype(np.float32), VOXEL), "v.mrc")
    io.write_labels(Labels(specimen[1].data, VOXEL), "p.mrc")
    volume, painted = io.read_volume("v.mrc"), io.read_labels("p.mrc")
    options = {"n_trees": 5, "scales_nm": [1.0, 2.0], "background": 1}
    expected = classify(volume, train_classifier(volume, painted, **options)).data
    files = {"volume": Path("v.mrc"), "painted": Path("p.mrc")}
    pipeline.call("segment.train_classifier", files | options, Path("forest.skops"))
    pipeline.call(
        "segment.classify", {"volume": Path("v.mrc"), "classifier": Path("forest.skops")}, Path("c.mrc")
    )
    np.testing.assert_array_equal(io.read_labels("c.mrc").data, expected)
    Path("recipe.toml").write_text(
        '[[step]]\nid = "volume"\nrun = "io.read_volume"\npath = "v.mrc"\n'
        '[[step]]\nid = "painted"\nrun = "io.read_labels"\npath = "p.mrc"\n'
        '[[step]]\nid = "forest"\nrun = "segment.train_classifier"\nvolume = "volume"\npainted = "painted"\n'
        "n_trees = 5\nscales_nm = [1.0, 2.0]\nbackground = 1\n"
        '[[step]]\nid = "kept"\nrun = "segment.load_classifier"\npath = "forest.skops"\n'
        '[[step]]\nid = "classes"\nrun = "segment.classify"\nvolume = "volume"\nclassifier = "forest"\n'
        '[[step]]\nid = "again"\nrun = "segment.classify"\nvolume = "volume"\nclassifier = "kept"\n'
    )
    steps = pipeline.plan(pipeline.load("recipe.toml")).steps
    assert [step.outputs for step in steps if "forest" in step.id or "kept" in step.id] == [
        {"": "forest.skops"},
        {},
    ]
    assert [reference.step for step in steps[-2:] for reference in step.references] == [
        "volume",
        "forest",
        "volume",
        "kept",
    ]


def test_a_file_with_any_other_type_is_refused(tmp_path):
    path = tmp_path / "evil.skops"
    path.write_bytes(skops_io.dumps({"format": "tomo3d pixel classifier 1", "forest": np.random.Philox(0)}))
    with pytest.raises(FormatError, match=r"plain values only, got .*Philox"):
        load_classifier(path)


def test_a_forest_whose_trees_lead_nowhere_is_refused(specimen, tmp_path):
    forest = train_classifier(*specimen[:2], n_trees=10, scales_nm=(1.0,))
    path = tmp_path / "loop.skops"
    tree = forest.forest.estimators_[0].tree_
    tree.children_left[0] = 0  # a branch that leads to itself
    save_classifier(forest, path)
    with pytest.raises(FormatError, match="must hold a forest of 2 classes and 12 features"):
        load_classifier(path)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"not a file of ours"])
def test_a_file_that_is_no_classifier_is_refused(content, tmp_path):
    path = tmp_path / "other.skops"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="must be a classifier that tomo3d saved"):
        load_classifier(path)


def test_plain_values_are_no_classifier(tmp_path):
    path = tmp_path / "list.skops"
    path.write_bytes(skops_io.dumps([1, 2]))
    with pytest.raises(FormatError, match="got list"):
        load_classifier(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_classifier(tmp_path / "none.skops")


def test_without_scikit_learn_it_says_what_to_install(specimen, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'tomo3d\[ml\]'"):
        train_classifier(*specimen[:2])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"background": 3}, r"one of the painted classes \[1, 2\] or 0, got 3"),
        ({"scales_nm": ()}, "scales_nm must be positive, got none"),
        ({"scales_nm": (1.0, -1.0)}, "scales_nm must be positive, got 1.0, -1.0"),
        ({"elongation": (0.0, 1.0, 1.0)}, "elongation must be positive"),
        ({"n_trees": 0}, "n_trees must be positive"),
    ],
)
def test_options_that_make_no_sense_are_refused(specimen, options, match):
    with pytest.raises(ValueError, match=match):
        train_classifier(*specimen[:2], **options)


def test_data_that_make_no_sense_are_refused(specimen, classifier):
    volume, painted, _ = specimen
    with pytest.raises(ValueError, match="no marked voxel"):
        train_classifier(volume, Labels(np.zeros(SHAPE, np.uint8), VOXEL))
    with pytest.raises(ValueError, match="painted must be on the grid"):
        train_classifier(volume, Labels(painted.data, (1.0, 1.0, 1.0)))
    grey = np.array(volume.data)
    grey[3, 3, 3] = np.nan
    for call in (lambda v: train_classifier(v, painted), lambda v: classify(v, classifier)):
        with pytest.raises(ValueError, match="must be finite"):
            call(Volume(grey, VOXEL))
    with pytest.raises(ValueError, match="smoothing_nm must be zero or more"):
        classify(volume, classifier, smoothing_nm=-1.0)
    with pytest.raises(ValueError, match="within a factor of 2"):
        classify(Volume(volume.data, (5.0, 1.0, 1.0)), classifier)
