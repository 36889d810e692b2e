"""What the page saves: its own numbers as CSV, its plots as SVG and PNG, in a real browser."""

import csv
import io
import re
import time
import xml.etree.ElementTree as ET

import browser
import numpy as np
import pytest

from mlx_probe.report.html.spectra import plotted_ranks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="no Chromium on the PATH"),
]

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def save(opened, page, tmp_path):
    """Clicks a button, and gives the name and the bytes of each file that it saves."""
    opened.downloads(tmp_path)

    def save(section, text, count=1):
        for old in tmp_path.iterdir():
            old.unlink()
        opened.value(
            f"[...document.querySelectorAll('{section} .save button')]"
            f".find((button) => button.textContent === '{text}').click()"
        )
        deadline = time.monotonic() + browser.TIMEOUT
        while True:
            found = [p for p in tmp_path.iterdir() if p.suffix == f".{text.lower()}"]
            if len(found) == count and all(path.stat().st_size for path in found):
                return {path.name: path.read_bytes() for path in sorted(found)}
            assert time.monotonic() < deadline, list(tmp_path.iterdir())
            time.sleep(0.05)

    return save


def table_of(files):
    ((name, data),) = files.items()
    return name, list(csv.DictReader(io.StringIO(data.decode("utf-8"))))


def numbers_of(lines, name):
    return [float(line[name]) if line[name] else np.nan for line in lines]


def test_rows_are_saved_in_full(opened, page, save, hostile_run):
    opened.open(
        page, address="#table.columns=param_name,std,rank,alpha_reliable,shape&table.sort=-std"
    )
    name, lines = table_of(save("#table", "CSV"))
    assert name == "tiny_rows.csv"
    wanted = hostile_run.frame.sort_values("std", ascending=False, kind="stable")
    assert [line["param_name"] for line in lines] == wanted["param_name"].tolist()
    for column in ("std", "rank"):
        np.testing.assert_array_equal(
            numbers_of(lines, column), wanted[column].astype(float).to_numpy(float, na_value=np.nan)
        )
    flags = wanted["alpha_reliable"].map({True: "true", False: "false"}, na_action="ignore")
    assert [line["alpha_reliable"] for line in lines] == flags.fillna("").tolist()
    # Only the rows that the filters keep.
    opened.value("location.hash = '#table.filter.param_name=q_proj&table.columns=param_name'")
    opened.wait("document.querySelectorAll('#table tbody tr').length < 10")
    _, lines = table_of(save("#table", "CSV"))
    assert lines == [{"param_name": "model.layers.0.self_attn.q_proj.weight"}]


def test_a_map_and_its_lines_are_saved(opened, page, save, hostile_run):
    opened.open(page, address="#maps.metric=alpha&maps.view=lines")
    name, lines = table_of(save("#maps", "CSV"))
    assert name == "tiny_alpha_lines.csv"
    frame = hostile_run.frame
    for line in lines:
        layer = (
            frame["layer_index"].isna()
            if not line["layer_index"]
            else (frame["layer_index"] == int(line["layer_index"]))
        )
        rows = frame[layer.fillna(False) & (frame["block_type"] == line["kind"])]
        values = rows["alpha"].dropna()
        assert float(line["alpha"]) == np.median(values)
        assert (float(line["lowest"]), float(line["highest"])) == (values.min(), values.max())
        assert int(line["values"]) == len(values)
        unreliable = rows.loc[values.index, "alpha_reliable"].eq(False)
        assert int(line["unreliable_fits"]) == unreliable.sum()
    assert sum(int(line["values"]) for line in lines) == frame["alpha"].notna().sum()


def test_a_spectrum_is_saved_as_csv_and_svg(opened, page, save, hostile_run):
    row = hostile_run.spectra.iloc[1]
    sigma = np.asarray(row["singular_values"])
    opened.open(page, address=f"#tensor={row['param_name']}", dark=True)
    _, lines = table_of(save("#spectra", "CSV"))
    ranks = plotted_ranks(len(sigma))
    assert [int(line["rank"]) for line in lines] == ranks.tolist()
    np.testing.assert_array_equal(numbers_of(lines, "singular_value"), sigma[ranks - 1])
    ((name, data),) = save("#spectra", "SVG").items()
    assert name == f"tiny_{row['param_name']}_spectrum.svg"
    points = [
        [float(number) for number in re.findall(r"-?[\d.]+", point.get("transform"))]
        for point in ET.fromstring(data).iter(f"{SVG}path")
        if point.get("class") == "point"
    ]
    # Each point lies where its logarithms say.
    x, y = np.array(points).T
    for pixels, values in ((x, ranks), (y, sigma)):
        slope, level = np.polyfit(np.log10(values), pixels, 1)
        assert abs(slope) > 10
        np.testing.assert_allclose(slope * np.log10(values) + level, pixels, atol=0.05)
    text = "".join(ET.fromstring(data).itertext())
    assert "tiny" in text
    assert row["param_name"] in text


def test_a_map_is_saved_as_an_image(opened, page, save):
    opened.open(page, address="#maps.metric=alpha")
    ((name, data),) = save("#maps", "SVG").items()
    assert name == "tiny_alpha_map.svg"
    root = ET.fromstring(data)
    text = "".join(root.itertext())
    assert "hatched: the fit is not reliable" in text
    assert list(root.iter(f"{SVG}image"))
    ((name, data),) = save("#maps", "PNG").items()
    assert name == "tiny_alpha_map.png"
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20], "big") >= 1520


def test_every_other_table_is_saved(opened, page, save, hostile_run):
    opened.open(page)
    _, lines = table_of(save("#outliers", "CSV"))
    assert len(lines) >= opened.value("document.querySelectorAll('#outlier-list tbody tr').length")
    _, lines = table_of(save("#quantization", "CSV"))
    assert sum(int(line["values"]) for line in lines) == len(hostile_run.frame)
    _, lines = table_of(save("#run", "CSV"))
    stages = hostile_run.meta["stages"]
    assert [line["stage"] for line in lines] == list(stages)
    assert [float(line["worker s"] or 0) for line in lines] == [
        pytest.approx(cost["seconds"]) for cost in stages.values()
    ]


def test_fits_that_are_not_reliable_are_marked(opened, page, hostile_run):
    opened.open(page, address="#maps.metric=alpha")
    plot = "document.querySelector('#maps .plot')"
    frame = hostile_run.frame
    known = frame[frame["alpha"].notna()]
    share = (
        known["alpha_reliable"]
        .eq(False)
        .groupby([known["layer_index"].fillna(-1), known["block_type"]])
        .mean()
    )
    doubtful = int((share > 0.5).sum())
    assert 0 < doubtful < len(share)
    strokes = opened.value(f"{plot}.layout.shapes[0].path.split('M').length - 1")
    assert strokes in (doubtful, 3 * doubtful)
    opened.value("location.hash = '#maps.metric=std'")
    opened.wait(f"!{plot}.layout.shapes")
    opened.value("location.hash = '#maps.metric=alpha&maps.view=lines'")
    opened.wait(f"{plot}.data[0].type === 'scatter'")
    inside = share[share.index.get_level_values(0) >= 0]
    open_points = opened.value(
        f"{plot}.data.flatMap((trace) => trace.marker.symbol)"
        ".filter((symbol) => symbol === 'circle-open').length"
    )
    assert open_points == int((inside > 0.5).sum())
