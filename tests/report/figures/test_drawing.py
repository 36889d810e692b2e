"""What figures look like, and the bytes of their files."""

import io
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.report.figures import VIEWS, plot, shows_language, style

from .test_numbers import EXPERTS, Q, some

FITS = {
    "alpha": [2.0, 3.0, 4.0],
    "alpha_reliable": [True, False, True],
    "block_type": ["q_proj", "q_proj", "k$x_y$"],
}


def drawn(made):
    """The figure as matplotlib has it."""
    with style.styled():
        view = VIEWS[made.view]
        figure = Figure(figsize=(made.width, view.height(made.content, made.width)))
        view.draw(figure, made.content)
    return figure


def texts(figure):
    """All texts of a figure, those of legends last."""
    axes = [t for a in figure.axes for t in (a.title, a.xaxis.label, a.yaxis.label)]
    ticks = [t for a in figure.axes for t in (*a.get_xticklabels(), *a.get_yticklabels())]
    legends = [t for legend in figure.legends for t in legend.get_texts()]
    return [text.get_text() for text in (*axes, *ticks, *legends)]


@pytest.mark.parametrize("view", ["lines", "map", "distribution"])
@pytest.mark.parametrize("width", [1.5, 3.25, 6.75])
def test_unreliable_fits_are_marked_and_the_legend_says_so(view, width):
    figure = drawn(plot(some(**FITS), "alpha", view=view, width=width))
    assert texts(figure)[-1] == "fit not reliable (1 of 3)"
    assert r"k\$x_y\$" in texts(figure)
    if view == "map":
        assert [bool(patch.get_hatch()) for patch in figure.axes[0].patches] == [True]
    else:
        marked = [
            (line.get_markerfacecolor() == style.HOLLOW, len(line.get_xdata()))
            for axes in figure.axes
            for line in axes.lines
            if line.get_marker() not in ("None", None, "")
        ]
        assert sum(count for hollow, count in marked if hollow) == 1
        assert sum(count for hollow, count in marked if not hollow) == 2


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 16])
@pytest.mark.parametrize("width", [2.0, 3.25, 6.75])
def test_a_legend_lies_inside_the_figure(count, width):
    data = some(std=[1.0] * count, block_type=[f"kind_{'x' * (n % 9)}{n}" for n in range(count)])
    figure = drawn(plot(data, "std", width=width))
    with style.styled():
        figure.draw_without_rendering()
        for legend in figure.legends:
            box = legend.get_window_extent().transformed(figure.transFigure.inverted())
            assert box.x0 > 0
            assert box.x1 < 1


@pytest.mark.parametrize("view", ["lines", "map", "distribution"])
def test_nothing_is_said_of_fits_where_there_are_none(view):
    said = texts(drawn(plot(some(std=[1.0, 2.0, 3.0]), "std", view=view)))
    assert not any("reliable" in text for text in said)
    assert "std (weight)" in said


def test_a_spectrum_says_whether_its_tail_is_reliable(whole):
    said = texts(drawn(plot(whole, tensor=Q)))
    assert {"singular values", "noise", "edge of noise"} <= set(said)
    assert any(text.startswith("tail, alpha ") and text.endswith("not reliable") for text in said)


@pytest.mark.parametrize("view", ["lines", "map", "distribution"])
@pytest.mark.parametrize(
    "values",
    [[1.0, 1.0, 1.0], [1e-300, 1e300, 1.0], [-1e300, 1e300, 0.0], [5e-324, 1.0, 2.0], [0.0] * 3],
    ids=str,
)
def test_extreme_numbers_can_be_drawn(view, values):
    assert plot(some(std=values), "std", view=view).image("png", 40).startswith(b"\x89PNG")


@pytest.mark.parametrize("view", ["lines", "map", "distribution"])
def test_several_runs_and_experts(whole, view):
    figure = drawn(plot([whole, some(stable_rank=[1.0, 2.0])], "stable_rank", view=view))
    said = texts(figure)
    assert any("some" in text for text in said)
    if view == "lines":
        assert "relative depth" in said


def test_spectra_of_several_tensors(whole):
    said = texts(drawn(plot(whole, tensor=[Q, f"{EXPERTS}[2]"])))
    assert {Q, f"{EXPERTS}[2]"} <= set(said)
    assert "noise" not in said


def test_the_same_run_gives_the_same_bytes(whole, tmp_path):
    code = (
        "import sys, mlx_probe\n"
        "made = mlx_probe.plot(sys.argv[1], 'alpha', view='map')\n"
        "[made.save(f'{sys.argv[2]}/a.{form}', dpi=60) for form in ('svg', 'pdf', 'png', 'csv')]"
    )
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        subprocess.run(
            [sys.executable, "-c", code, whole.folder, tmp_path / seed],
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "", "MLX_PROBE_LANG": "en", "HOME": str(tmp_path)},
        )
    for form in ("svg", "pdf", "png", "csv"):
        first, second = ((tmp_path / seed / f"a.{form}").read_bytes() for seed in ("1", "2"))
        assert first == second
        assert b"matplotlib.org" not in first or form == "svg"
        assert b"2026" not in first


def test_fonts(whole):
    made = plot(whole, "alpha")
    assert b"/Type3" not in made.image("pdf")
    assert b"<text" not in made.image("svg")


def test_settings_of_the_user_are_neither_used_nor_changed(whole):
    made = plot(whole, "std")
    before = made.image("svg")
    with mpl.rc_context({"lines.linewidth": 9.0, "font.size": 20.0, "svg.fonttype": "none"}):
        assert made.image("svg") == before
        assert mpl.rcParams["font.size"] == 20.0


def test_labels_are_chinese_where_a_font_is_there(whole, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_LANG", "zh")
    monkeypatch.setattr(style, "_chinese_font", lambda: style._LATIN)
    assert shows_language()
    said = texts(drawn(plot(some(**FITS), "alpha")))
    assert "层" in said
    assert "拟合不可靠（3 个中有 1 个）" in said


def test_labels_are_english_where_no_font_is_there(monkeypatch):
    made = plot(some(**FITS), "alpha")
    english = made.image("svg")
    monkeypatch.setenv("MLX_PROBE_LANG", "zh")
    monkeypatch.setattr(style, "_chinese_font", lambda: None)
    assert not shows_language()
    assert made.image("svg") == english


def test_without_matplotlib_the_numbers_are_there(whole, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    made = plot(whole, "std")
    assert made.save(tmp_path / "a.csv").exists()
    with pytest.raises(ConfigError, match=r"mlx-probe\[plot\]"):
        made.save(tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()


def test_a_notebook_shows_a_small_image(whole):
    shown = plot(whole, "stable_rank")._repr_png_()
    assert len(shown) < 30_000
    height, width = imread(io.BytesIO(shown)).shape[:2]
    assert width > height > 100
    assert repr(plot(whole, "std")).startswith("<Plot: lines of std, ")


def test_the_size_is_that_which_was_asked_for(whole, tmp_path):
    path = plot(whole, "std", width=3, height=2, title="").save(tmp_path / "a.png", dpi=100)
    assert imread(path).shape[:2] == (200, 300)


def test_a_file_that_cannot_be_written(whole, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="cannot write"):
        plot(whole, "std").save(tmp_path / "file" / "a.csv")
    with pytest.raises(ConfigError, match=r"\.svg, \.pdf, \.png, \.csv"):
        plot(whole, "std").save(tmp_path / "a.jpg")


def test_a_map_of_thousands_of_cells_is_an_image_inside_the_svg():
    count = 5000
    data = some(
        std=np.arange(count, dtype=float),
        layer_index=np.arange(count) // 50,
        block_type=[f"kind{n % 50:02}" for n in range(count)],
    )
    made = plot(data, "std", view="map")
    assert len(made.image("svg", 100)) < 200_000
