"""The report is one page that stands alone, holds every number and parameter, and says what it leaves out."""

import base64
import math
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tomo3d import render, report, tables
from tomo3d.report import RunRecord, StepRecord, StoredPicture, _figures, _limits, _words
from tomo3d.types import Alignment, Labels, Surface, TiltSeries, Volume

HOSTILE = "<script>alert(\"x\")</script> & 'quote'.mrc"
SHAPE = (10, 16, 22)
VOXEL = (2.0, 2.0, 2.0)
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Checks that every tag is closed in order, and collects what a browser would show or fetch."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.addresses, self.tags, self.ids = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "data", "srcset")]
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            assert "url(" not in data
            assert "@import" not in data
        else:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(autouse=True, scope="module")
def no_surface():
    """Surfaces have tests of their own, and take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOMO3D_OPENGL", "off")
        yield


def series(axis_source=None, angles=None):
    angles = np.linspace(-60, 60, 13) if angles is None else angles
    images = np.random.default_rng(1).random((len(angles), 16, 22)).astype(np.float32)
    images.flags.writeable = False
    sources = {"images": HOSTILE, "pixel_size_nm": "extended header"}
    if axis_source is not None:
        sources["tilt_axis_deg"] = axis_source
    return TiltSeries(images, angles, 2.0, -3.0, sources=sources)


def volume(**record):
    z, y, x = np.indices(SHAPE)
    data = (np.hypot(np.hypot(z - 5, y - 8), x - 11) < 4.5).astype(np.float32) * (7.25 if record else 1)
    data.flags.writeable = False
    return Volume(data, VOXEL, (-9.0, -15.0, -21.0), record)


def mask():
    return Labels(volume().data > 0, VOXEL, (-9.0, -15.0, -21.0))


def thickness():
    return volume(method="local_thickness_voxel", quantity="local thickness", unit="nm")


def alignment(residual_nm):
    return Alignment(
        np.zeros((13, 2)), np.zeros(13), np.linspace(-60, 60, 13), np.ones(13), residual_nm, np.arange(13) > 1
    )


def summary():
    return tables.summary(
        [
            {
                "quantity": "mean local thickness",
                "value": 12.34567,
                "low": 11.9,
                "high": 12.8,
                "unit": "nm",
                "n": 92389,
                "interval": "95 %, bootstrap",
            },
            {"quantity": "missing quantity", "value": math.nan, "unit": "nm", "n": 0},
        ]
    )


def comparison():
    return pd.DataFrame(
        [
            ("thickness", 9.5, 10.0, -0.5, -5.0, "nm"),
            ("no truth", 1.0, 0.0, 1.0, math.nan, ""),
        ],
        columns=tables.names(tables.COMPARISON),
    )


def step(identifier, run, result, parameters=None, inputs=None, **rest):
    rest = {"seconds": 1.5, "peak_bytes": 3 * 2**20, **rest}
    return StepRecord(identifier, run, parameters or {}, inputs or {}, result, **rest)


def run_of(*steps, **rest):
    started = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    fields = {"title": "A run", "command": "tomo3d run r.toml", "recipe_text": "[[step]]", **rest}
    return RunRecord(
        steps=steps, versions={"numpy": "2.1.0"}, machine={"cores": "2"}, started=started, **fields
    )


@pytest.fixture(scope="module")
def full():
    return run_of(
        step("read", "io.read_tilt_series", series(), {"path": HOSTILE, "pixel_size_nm": None}),
        step("aligned", "align.marker_free", alignment(0.4321), {"n_iterations": 5}, {"series": "read"}),
        step("grey", "reconstruct.wbp", volume(), {"window": "ramp"}, {"series": "read"}, reused=True),
        step("mask", "segment.otsu", mask(), {}, {"volume": "grey"}, outputs=("mask.mrc",)),
        step("thick", "measure.local_thickness_voxel", thickness(), {}, {"mask": "mask"}),
        step("numbers", "measure.thickness_summary", summary(), {}, {"thickness": "thick"}, seconds=math.nan),
        step(
            "errors",
            "phantoms.compare",
            {"table": comparison()},
            {},
            {"measured": "numbers"},
            peak_bytes=None,
        ),
        title=f"Report of {HOSTILE}",
        recipe_text=f"path = '{HOSTILE}'",
        notes=("Views 3 and 4 were excluded.",),
    )


@pytest.fixture(scope="module")
def written(full, tmp_path_factory):
    return report.write(full, tmp_path_factory.mktemp("report") / "report.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_refers_to_nothing_outside_itself(written):
    page = Page(written)
    assert {"html", "head", "title", "body", "table", "figure"} <= set(page.tags)
    assert "script" not in page.tags
    for address in page.addresses:
        assert address.startswith(("data:image/", "#"))
        if address.startswith("#"):
            assert address[1:] in page.ids


def test_hostile_names_are_shown_and_not_obeyed(written):
    assert "<script" not in written
    assert Page(written).words.count(HOSTILE) >= 4  # title, data, parameters, recipe


def test_the_size_of_the_page_is_bounded(written):
    assert len(written) < 3_000_000


def test_pictures_are_whole(written):
    addresses = [a for a in Page(written).addresses if a.startswith("data:")]
    # series, alignment, grey slices, outlined mask, thickness map and its histogram, errors
    assert len(addresses) == 7
    for address in addresses:
        kind, data = address.split(";base64,")
        content = base64.b64decode(data, validate=True)
        if kind == "data:image/png":
            assert content.startswith(b"\x89PNG")
            assert content.endswith(b"IEND\xaeB`\x82")
        else:
            assert kind == "data:image/svg+xml"
            assert content.rstrip().endswith(b"</svg>")


def test_every_step_shows_parameters_time_memory_inputs_and_files(written):
    words = Page(written).words
    for part in (
        "io.read_tilt_series", "pixel_size_nm none", "n_iterations 5", "window ramp", "series from read", "mask.mrc",
        "1.5 s", "3 MiB", "reused from an earlier run", "computed in this run", "7 steps, 1 reused",
    ):  # fmt: skip
        assert part in words


def test_numbers_stand_with_units_and_intervals_and_beside_the_truth(written):
    words = Page(written).words
    assert "mean local thickness 12.35 nm 11.9 to 12.8 nm 95 %, bootstrap 92,389" in words
    assert "thickness 9.5 nm 10 nm −0.5 nm −5 %" in words
    assert "no truth 1 0 1 not available" in words


def test_what_was_read_stands_with_its_sources(written):
    words = Page(written).words
    assert "Pixel size 2 nm (source: extended header)" in words
    assert "Tilt angles −60 to 60°, 10° apart in the mean" in words
    assert "22 × 16 pixels" in words


def test_no_number_is_a_bare_nan(written):
    words = f" {Page(written).words.lower()} "
    assert " nan" not in words
    assert "missing quantity not available" in words
    assert "Time not available" in Page(written).words
    assert "Peak memory not available" in Page(written).words


def test_a_surface_that_cannot_be_drawn_is_left_out_with_the_reason(written):
    words = Page(written).words
    assert "This figure is left out: a surface needs OpenGL" in words
    assert "TOMO3D_OPENGL" in words


def test_a_histogram_of_nothing_is_left_out_with_the_reason():
    empty = Volume(np.zeros(SHAPE), VOXEL, record={"quantity": "local thickness", "unit": "nm"})
    map_, histogram = _figures.pictures(empty, [])
    assert map_.address
    assert "the structure is empty" in histogram.reason
    assert not histogram.address


@pytest.mark.parametrize(
    ("record", "is_thickness"),
    [
        ({"method": "local_thickness_voxel"}, True),
        ({"quantity": "separation thickness", "unit": "nm"}, True),
        ({"quantity": "thickness", "unit": "voxels"}, False),
        ({"method": "wbp", "quantity": "density", "input": {"method": "local_thickness_voxel"}}, False),
        ({}, False),
    ],
)
def test_a_thickness_is_known_by_its_record(record, is_thickness):
    assert _figures.is_thickness(Volume(np.ones((2, 2, 2)), VOXEL, record=record)) is is_thickness


def test_volumes_are_in_cubic_nanometres():
    assert _words.quantity(1234.5, "nm^3") == "1,234 nm³"  # half to even


def test_versions_machine_command_and_recipe_are_kept(written):
    words = Page(written).words
    for part in (
        "numpy 2.1.0",
        "cores 2",
        "tomo3d run r.toml",
        "path = '",
        "Views 3 and 4",
        "2026-01-02 03:04:05",
    ):
        assert part in words


def test_a_report_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        report.write(run_of(), path)
    assert path.read_text() == "mine"
    assert report.write(run_of(), path, overwrite=True) == path
    assert path.read_text().startswith("<!DOCTYPE html>")


def test_an_empty_run_is_a_report_too(tmp_path):
    page = Page(report.write(run_of(command="", recipe_text=""), tmp_path / "r.html").read_text())
    assert "0 steps" in page.words


def test_the_mask_is_outlined_over_the_latest_grey_volume_on_its_grid(monkeypatch):
    drawn = []
    real = _figures.render.slices
    monkeypatch.setattr(
        _figures.render, "slices", lambda v, **kwargs: drawn.append((v, kwargs["mask"])) or real(v, **kwargs)
    )
    first, second, labels = volume(), volume(), mask()
    other = Volume(np.zeros((3, 4, 5)), VOXEL)
    steps = [
        step("a", "x.a", first),
        step("b", "x.b", {"one": second, "two": other}),
        step("c", "x.c", thickness()),
    ]
    _figures.pictures(labels, steps)
    assert drawn[0][0] is second
    assert drawn[0][1] is labels
    _figures.pictures(labels, [])
    assert drawn[1][0].data is labels.data  # no grey at hand: the labels themselves


def test_the_surface_is_of_the_last_mask_coloured_by_the_thickness_on_its_grid(monkeypatch):
    asked = []
    monkeypatch.setattr(_figures.render, "iso_surface", lambda *a, **k: asked.append((a, k)) or _stop())

    def _stop():
        raise ValueError("seen")

    last, colour = mask(), thickness()
    elsewhere = Volume(np.ones((3, 4, 5)), VOXEL, record=colour.record)
    steps = [
        step("a", "x.a", mask()),
        step("b", "x.b", last),
        step("c", "x.c", colour),
        step("d", "x.d", elsewhere),
    ]
    assert "coloured by local thickness" in _figures.surface(steps).caption
    assert asked[0][0][0] is last
    assert asked[0][1]["colour_by"] is colour
    assert _figures.surface([step("a", "x.a", volume())]) is None


def test_a_surface_is_drawn_by_what_says_most_of_it(monkeypatch):
    asked = []
    monkeypatch.setattr(_figures.render, "surface", lambda s, colour_by: asked.append(colour_by) or _stop())

    def _stop():
        raise ValueError("seen")

    values = {"normal": np.ones((3, 3)), "is_in": np.ones(3, dtype=bool), "normal_tilt_deg": np.ones(3)}
    corner = Surface(np.eye(3), np.array([[0, 1, 2]]), values)
    (drawn,) = _figures.pictures(corner, [])
    assert "coloured by normal tilt deg." in drawn.caption
    bent = Surface(corner.vertices_nm, corner.faces, {**values, "mean_curvature_per_nm": np.ones(3)})
    assert "coloured by mean curvature." in _figures.pictures(bent, [])[0].caption
    plain = Surface(corner.vertices_nm, corner.faces, {"is_in": np.ones(3, dtype=bool)})
    assert _figures.pictures(plain, [])[0].caption.startswith("The surface. ")
    assert asked == ["normal_tilt_deg", "mean_curvature_per_nm", None]


@pytest.mark.parametrize(("half_deg", "expected"), [(60, 1.55), (70, 1.31), (90, 1.0)])
def test_the_elongation_of_the_point_spread_function(half_deg, expected):
    # 1.55 at 60 deg and 1.31 at 70 deg are the published values; without a wedge there is none
    assert _limits.elongation(half_deg) == pytest.approx(expected, abs=0.005)


def limits_of(*results):
    return dict(_limits.limits([step(str(i), "x.y", result) for i, result in enumerate(results)]))


def test_limits_follow_from_the_data():
    found = limits_of(series(), alignment(math.nan), volume(), thickness())
    assert "13 tilts from −60 to 60° leave a wedge of 60°" in found["Missing wedge"]
    assert "1.55 times as long along the beam" in found["Missing wedge"]
    assert "Normals in the wedge" in found
    # 10 voxels of 2 nm seen every 10 deg: 20 nm x 10 pi / 180
    assert "20 nm thick (the depth of the reconstruction) to 3.49 nm" in found["Resolution"]
    assert "two voxels (4 nm)" in found["Resolution"]
    assert "under about 6 nm (3 voxels of 2 nm)" in found["Thin features"]
    assert "gives no residual" in found["Alignment"]
    assert "distrusts 2 of 13 views" in found["Alignment"]
    assert "biased by up to one voxel (2 nm)" in found["Local thickness"]


def test_a_full_tilt_range_has_no_wedge():
    found = limits_of(series(angles=np.arange(-90, 90, 10.0)))
    assert "no missing wedge" in found["Tilt range"]
    assert "Missing wedge" not in found


def test_excluded_views_do_not_count_in_the_tilt_range():
    whole = series()
    use = np.abs(whole.tilt_angles_deg) < 45
    part = TiltSeries(whole.images, whole.tilt_angles_deg, 2.0, use=use)
    assert "from −40 to 40°" in limits_of(part)["Missing wedge"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (None, "is not stated in the file"),
        ("unknown: the file does not say", "is not stated in the file"),
        ("given", "was given by the user"),
        ("title of the header", "was taken from: title of the header"),
    ],
)
def test_the_hand_is_as_sure_as_the_source_of_the_axis(source, text):
    sentence = limits_of(series(source))["Hand"]
    assert text in sentence
    assert ("unverified" in sentence) == (source != "title of the header")


def test_a_run_without_alignment_says_so_and_one_with_shows_its_residual():
    assert "No step of this run aligned the views" in limits_of(series())["Alignment"]
    assert "residual is 0.432 nm" in limits_of(series(), alignment(0.4321))["Alignment"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.34567, "12.35"), (0.1 + 0.2, "0.3"), (1234567.0, "1,235,000"), (1920000, "1,920,000"),
        (0.000123456, "0.0001235"),
        (1.5e-7, "1.5e−7"), (-3.0, "−3"), (0.0, "0"), (math.nan, "not available"), (None, "not available"),
        (math.inf, "infinite"), (np.float32(2.5), "2.5"), (np.int64(12345), "12,345"), (True, "yes"),
        (6.02e23, "6.02e23"),
        (999.96, "1,000"), (100.0, "100"),
    ],
)  # fmt: skip
def test_numbers_have_significant_digits_and_thousands_apart(value, text):
    assert _words.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.1234, "0.123 s"),
        (45.3, "45 s"),
        (62.1, "1 min 2 s"),
        (7384, "2 h 3 min"),
        (math.nan, "not available"),
    ],
)
def test_times_are_in_the_units_of_people(seconds, text):
    assert _words.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"), (True, "true"), (0.35, "0.35"), (1 / 3, "0.3333333333333333"), ("ramp", "ramp"),
        ((1, 2.5), "(1, 2.5)"),
        ({"a": 1}, "a = 1"), (np.arange(100.0), "array of 100 values, 0 to 99"),
        (list(range(20)), "(0, 1, 2, 3, 4, 5, 6, 7, ... 20 in all)"),
    ],
)  # fmt: skip
def test_parameters_read_as_in_a_recipe(value, text):
    assert _words.parameter(value) == text


def test_long_tables_are_cut_and_say_so(tmp_path):
    frame = pd.DataFrame({"label": np.arange(500), "volume_nm3": np.linspace(1, 1e6, 500)})
    words = Page(
        report.write(run_of(step("t", "measure.objects", frame)), tmp_path / "r.html").read_text()
    ).words
    assert "The first 12 of 500 rows; the file holds all." in words
    assert "volume (nm³)" in words


def test_a_picture_that_a_step_drew_is_shown_as_it_is_at_its_own_width(tmp_path):
    figure = Figure(figsize=(3.55, 2.0))
    figure.subplots().plot([0, 1])
    data = render.encode(figure, format="png", dpi=100)
    steps = [
        StepRecord(
            "half",
            "render.curves",
            {},
            {},
            StoredPicture(data, ".png", "A line."),
            0.1,
            outputs=("half.png",),
        ),
        StepRecord("other", "render.curves", {}, {}, StoredPicture(b"%PDF", ".pdf", "A page."), 0.1),
    ]
    text = report.write(
        RunRecord("t", "c", "", steps, {}, {}, datetime.now(UTC)), tmp_path / "r.html"
    ).read_text()
    page = Page(text)
    assert f"data:image/png;base64,{base64.b64encode(data).decode()}" in page.addresses
    assert 'style="width: 50%"' in text  # of the 7.1 inches of a page
    assert "A line." in page.words
    assert "A page." in page.words
    assert "a page does not show .pdf" in page.words
    assert "StoredPicture" not in page.words
