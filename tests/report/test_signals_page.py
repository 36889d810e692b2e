"""The page of a mixture's signals, against the files of the run."""

import base64
import json

import numpy as np
import pytest
from html_pages import Page, numbers
from mixture_runs import make_signals
from pyarrow import parquet
from safetensors.numpy import load_file, save_file

from mlx_probe.core.errors import ResultError
from mlx_probe.report.html import signals_payload as payload_module
from mlx_probe.report.html.signals_page import signals_html
from mlx_probe.report.html.signals_payload import signals_payload
from mlx_probe.report.html.write import write_report
from mlx_probe.report.signals_data import load_signals
from mlx_probe.report.signals_summary import signals_sentences


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_signals(tmp_path_factory.mktemp("signals") / "run")


def test_the_page_has_the_numbers_of_the_files(folder):
    page = Page(signals_html(load_signals(folder)))
    arrays = load_file(folder / "sps.safetensors")
    sps = page.data["sps"]
    assert (sps["layers"], sps["blocks"], sps["block"]) == ([0, 1, 2], 6, 8)
    np.testing.assert_array_equal(numbers(sps["sum"]), arrays["sps"].ravel())
    np.testing.assert_array_equal(numbers(sps["each"]), arrays["sps_tokens"].ravel())
    assert sps["texts"] == parquet.read_table(folder / "signal_tokens.parquet")["text"].to_pylist()
    tables = page.run["tables"]
    for name, file in (("windows", "signals"), ("experts", "expert_signals")):
        written = parquet.read_table(folder / f"{file}.parquet")
        columns = {one["name"]: one for one in tables[name]["columns"]}
        for column in written.column_names:
            expected = written[column].to_pandas().to_numpy(float, na_value=np.nan)
            np.testing.assert_array_equal(numbers(columns[column]), expected)
    assert tables["windows"]["map"]["metrics"][:2] == ["loss", "entropy"]
    assert not {"layer", "expert"} & set(tables["experts"]["map"]["metrics"])
    assert "<script>alert" not in "".join(page.text)


def test_a_large_map_is_rounded_and_then_cut(folder, monkeypatch):
    data = load_signals(folder)
    monkeypatch.setattr(payload_module, "EXACT", 100)
    rounded = signals_payload(data)["sps"]
    codes = np.frombuffer(base64.b64decode(rounded["each"]["u2"]), "<u2")
    found = rounded["each"]["low"] + codes * rounded["each"]["step"]
    np.testing.assert_allclose(found, data.each.ravel(), atol=0.51 * rounded["each"]["step"])
    monkeypatch.setattr(payload_module, "ROUNDED", 18 * 10)
    cut = signals_payload(data)["sps"]
    assert cut["cut"]
    assert len(cut["texts"]) == 10


def test_sentences_agree_with_the_tables(folder):
    said = "\n".join(signals_sentences(load_signals(folder)))
    windows = parquet.read_table(folder / "signals.parquet")
    loss = windows["loss"].to_numpy()
    assert f"Over 12 windows of the text the loss is {loss.mean():.3f}" in said
    assert f"(from {loss.min():.3f} to {loss.max():.3f})" in said
    assert "for 100% of the tokens" in said
    assert "at its input for 40%, and by chance for 50%" in said
    sps = load_file(folder / "sps.safetensors")["sps"]
    layer, block = np.unravel_index(np.abs(sps).argmax(), sps.shape)
    assert f"at block {block} of layer {layer}: {sps[layer, block]:+.1f}" in said


def test_few_windows_and_a_dense_model(tmp_path):
    folder = make_signals(tmp_path / "run", windows=4)
    for name in ("expert_signals", "signal_tokens"):
        (folder / f"{name}.parquet").unlink()
    meta = folder / "run_meta.json"
    save_file({"sps": np.ones((3, 6), "f4")}, folder / "sps.safetensors")
    size = (folder / "sps.safetensors").stat().st_size
    described = json.loads(meta.read_text())
    outputs = described["outputs"]
    outputs["sps.safetensors"]["bytes"] = size
    del outputs["expert_signals.parquet"], outputs["signal_tokens.parquet"]
    meta.write_text(json.dumps(described))
    page = write_report(folder).read_text("utf-8")
    assert "4 windows are too few to say which signals agree" in page
    assert 'id="maps"' not in page
    assert 'id="sps"' in page


def test_maps_of_other_shapes_are_refused(tmp_path):
    folder = make_signals(tmp_path / "run")
    data = load_file(folder / "sps.safetensors")
    before = (folder / "sps.safetensors").stat().st_size
    save_file(
        {**data, "sps_tokens": data["sps_tokens"].reshape(40, 6, 3)}, folder / "sps.safetensors"
    )
    assert (folder / "sps.safetensors").stat().st_size == before
    with pytest.raises(ResultError, match=r"sps\.safetensors does not have the shapes"):
        load_signals(folder)
