import numpy as np
import pytest
from skimage.filters import threshold_multiotsu, threshold_otsu

from tomo3d.segment import histogram, multi_otsu, otsu, threshold
from tomo3d.types import Volume

VOXEL, ORIGIN = (2.0, 1.5, 1.0), (-3.0, 0.0, 7.0)


def volume(values, shape=(9, 20, 31)):
    data = np.resize(values, shape)
    data.flags.writeable = False
    return Volume(data, VOXEL, ORIGIN)


def mixture(means, sigma, shares, shape=(20, 41, 50), seed=0):
    rng = np.random.default_rng(seed)
    classes = rng.choice(len(means), size=shape, p=shares)
    return classes, (np.take(means, classes) + sigma * rng.standard_normal(shape)).astype(np.float32)


def test_otsu_splits_two_equal_gaussians_half_way():
    # n = 41,000 voxels. Near its best the criterion is flat: the level that the sample picks scatters by about
    # sigma n^(-1/3) = 0.03 sigma (cube-root law of an argmax), taken three times, sigma being 1.
    _, data = mixture([10.0, 16.0], 1.0, [0.5, 0.5])
    level = otsu(volume(data, data.shape)).record["levels"][0]
    assert level == pytest.approx(13.0, abs=0.09)


def test_otsu_finds_the_classes_of_well_separated_gaussians():
    # 10 sigma apart: no voxel in 40,000 is nearer to the other class.
    classes, data = mixture([0.0, 10.0], 1.0, [0.8, 0.2])
    mask = otsu(volume(data, data.shape))
    np.testing.assert_array_equal(mask.data, classes)
    for c in (0, 1):
        assert mask.record["class_means"][c] == pytest.approx(data[classes == c].mean(dtype=float), rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8])
def test_otsu_agrees_with_scikit_image(dtype):
    _, data = mixture([60.0, 120.0], 15.0, [0.7, 0.3])
    data = data.astype(dtype)
    level = otsu(volume(data, data.shape)).record["levels"][0]
    # Theirs is the centre of the last bin below, ours its upper edge. On noise the best bin may differ by
    # as many as the criterion is flat for; in bins of one grey value the mask is the same.
    bins = 256 if dtype is np.float32 else 1
    theirs = threshold_otsu(data, nbins=256)
    if dtype is np.float32:
        assert level == pytest.approx(theirs, abs=2 * float(np.ptp(data)) / bins)
    else:
        assert level == theirs + 0.5


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_multi_otsu_agrees_with_scikit_image_and_orders_by_brightness(n_classes):
    means = [20.0, 80.0, 140.0, 200.0][:n_classes]
    classes, data = mixture(means, 4.0, np.full(n_classes, 1 / n_classes))
    labels = multi_otsu(volume(data, data.shape), n_classes=n_classes)
    bin_width = float(np.ptp(data)) / 256
    theirs = threshold_multiotsu(data, classes=n_classes, nbins=256)
    np.testing.assert_allclose(labels.record["levels"], theirs + 0.5 * bin_width, atol=1e-3 * bin_width)
    np.testing.assert_array_equal(labels.data, classes)  # 15 sigma apart
    assert sorted(labels.record["class_means"]) == labels.record["class_means"]
    assert labels.names[0] == "background"


def test_multi_otsu_takes_names_darkest_first():
    labels = multi_otsu(volume(np.uint8([3, 90, 200])), names=["pore", "carbon", "platinum"])
    assert labels.names == {0: "pore", 1: "carbon", 2: "platinum"}
    np.testing.assert_array_equal(labels.data.ravel()[:3], [0, 1, 2])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_threshold_includes_its_level_and_excludes_its_upper_end(dtype):
    grey = volume(np.array([1, 2, 3, 4, 5], dtype))
    np.testing.assert_array_equal(threshold(grey, level=3).data.ravel()[:5], [0, 0, 1, 1, 1])
    band = threshold(grey, level=2, upper=4)
    np.testing.assert_array_equal(band.data.ravel()[:5], [0, 1, 1, 0, 0])
    assert band.record["levels"] == [2, 4]


@pytest.mark.parametrize(
    "segment",
    [otsu, multi_otsu, lambda v: threshold(v, level=100.0)],
    ids=["otsu", "multi_otsu", "threshold"],
)
def test_segmentation_keeps_the_grid_and_is_uint8(segment):
    labels = segment(volume(np.arange(256, dtype=np.float32)))
    assert labels.data.dtype == np.uint8
    assert (labels.voxel_size_nm, labels.origin_nm) == (VOXEL, ORIGIN)
    assert labels.record["method"] in ("otsu", "multi_otsu", "threshold")


@pytest.mark.parametrize("segment", [otsu, multi_otsu])
def test_slabs_and_memory_maps_give_the_same_as_the_whole(segment, monkeypatch, tmp_path):
    _, data = mixture([0.0, 5.0, 9.0], 1.0, [0.5, 0.3, 0.2])
    whole = segment(volume(data, data.shape))
    np.save(tmp_path / "grey.npy", data)
    monkeypatch.setattr(histogram, "_SLAB_VOXELS", 3 * 41 * 50)
    mapped = segment(Volume(np.load(tmp_path / "grey.npy", mmap_mode="r"), VOXEL))
    np.testing.assert_array_equal(mapped.data, whole.data)
    assert mapped.record["levels"] == whole.record["levels"]


def test_brightness_and_contrast_do_not_change_the_classes():
    _, data = mixture([0.0, 4.0], 1.0, [0.6, 0.4])
    # A power of two and an integer offset of multiples of 2^-16: no rounding, so the bins hold the same voxels.
    data = np.round(data * 2**16) / 2**16
    first, second = otsu(volume(data, data.shape)), otsu(volume(8.0 * data - 64.0, data.shape))
    np.testing.assert_array_equal(first.data, second.data)


@pytest.mark.parametrize("segment", [otsu, multi_otsu])
def test_constant_volume_is_refused(segment):
    with pytest.raises(ValueError, match="a constant volume has no threshold"):
        segment(volume(np.float32([7.0])))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("segment", [otsu, multi_otsu, lambda v: threshold(v, level=0.5)])
def test_values_that_are_not_finite_are_refused_with_their_place(segment, bad):
    data = np.random.default_rng(0).random((5, 6, 7))
    data[3, 2, 1] = bad
    with pytest.raises(ValueError, match="must be finite, got nan or inf in slices 0 to 4"):
        segment(volume(data, data.shape))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda v: multi_otsu(v, n_classes=1), "2 to 5"),
        (lambda v: multi_otsu(v, n_classes=3), "different grey values"),
        (lambda v: multi_otsu(v, n_classes=2, names=["a"]), "one for each"),
        (lambda v: threshold(v, level=np.nan), "finite"),
        (lambda v: threshold(v, level=2.0, upper=2.0), "exceed"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call(volume(np.uint8([1, 2])))
