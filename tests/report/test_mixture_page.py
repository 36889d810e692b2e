"""The page of a mixture's statistics, against the files of the run."""

import base64
import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from html_pages import Page, numbers, texts
from mixture_runs import COPY, DEAD, TYPES, make_stats
from models import invoke, refuses
from pyarrow import parquet
from safetensors.numpy import load_file, save_file

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.report.html import mixture_encoding
from mlx_probe.report.html.mixture_encoding import encode_matrix, rooms
from mlx_probe.report.html.mixture_page import mixture_html
from mlx_probe.report.html.mixture_payload import mixture_payload
from mlx_probe.report.html.write import write_report
from mlx_probe.report.mixture_data import load_mixture, measured_columns
from mlx_probe.report.mixture_summary import mixture_sentences


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    return make_stats(tmp_path_factory.mktemp("mixture") / "stats")


@pytest.fixture(scope="module")
def payload(stats):
    return mixture_payload(load_mixture(stats))


@pytest.fixture(scope="module")
def weights_alone(tmp_path_factory):
    return make_stats(tmp_path_factory.mktemp("mixture") / "weights", run=False)


def columns_of(payload, table):
    return {one["name"]: one for one in payload["runs"][0]["tables"][table]["columns"]}


def unpacked(described, experts):
    """The matrices that the page's script sees."""
    if "u2" in described:
        codes = np.frombuffer(base64.b64decode(described["u2"]), "<u2").astype(float)
        flat = np.where(codes == 65535, np.nan, described["low"] + codes * described["step"])
    else:
        flat = numbers(described)
    layers = len(described["layers"])
    if not described["packed"]:
        return flat.reshape(layers, experts, -1)
    whole = np.empty((layers, experts, experts))
    rows, columns = np.triu_indices(experts)
    whole[:, rows, columns] = whole[:, columns, rows] = flat.reshape(layers, -1)
    return whole


def test_every_number_of_the_tables_is_in_the_page(payload, stats):
    for table, file in (("experts", "experts.parquet"), ("layers", "experts.layers.parquet")):
        written = parquet.read_table(stats / file)
        columns = columns_of(payload, table)
        assert list(columns) == written.column_names
        compared = 0
        for name in written.column_names:
            kind = written[name].type
            if kind in (pa.int64(), pa.float64(), pa.bool_()):
                expected = pd.to_numeric(written[name].to_pandas()).to_numpy(float, na_value=np.nan)
                np.testing.assert_array_equal(numbers(columns[name]), expected)
                compared += not np.isnan(expected).all()
        assert compared > 5


def test_filled_columns_are_offered_and_empty_ones_are_not(payload, weights_alone):
    offered = payload["runs"][0]["tables"]["experts"]["map"]["metrics"]
    assert offered[0] == "load"
    assert {"assignments", "saliency", "copy_of", "norm", "dead"} <= set(offered)
    assert not {"layer_index", "expert_index", "merged_first", "status"} & set(offered)
    alone = mixture_payload(load_mixture(weights_alone))
    rest = alone["runs"][0]["tables"]["experts"]["map"]["metrics"]
    assert "norm" in rest
    assert not {"load", "assignments", "saliency"} & set(rest)
    assert alone["mixture"]["routing"] is None
    assert list(alone["mixture"]["matrices"]) == ["similarity"]


def test_titles_and_explanations_are_those_of_the_columns(payload):
    columns = columns_of(payload, "experts")
    assert columns["saliency"]["title"] == "REAP saliency"
    assert "pruning starts" in columns["saliency"]["plain"]
    liked = texts(columns["liked_tokens"])
    assert liked[0] == " to | <b>0"
    assert liked[DEAD[1]] is None


def test_matrices_are_those_of_the_file(payload, stats):
    arrays = load_file(stats / "maps.safetensors")
    matrices = payload["mixture"]["matrices"]
    assert matrices.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(unpacked(matrices[name], array.shape[1]), array)
    assert matrices["similarity"]["packed"]
    assert matrices["coactivation"]["names"] is None
    assert matrices["load_by_type"]["names"] == TYPES
    assert matrices["load_by_position"]["names"] == ["0", "1", "2", "3"]


def test_large_matrices_are_rounded_and_then_thinned(monkeypatch):
    rng = np.random.default_rng(0)
    array = rng.standard_normal((7, 6, 6)).astype(np.float32)
    array[2, 1, 1] = np.nan
    monkeypatch.setattr(mixture_encoding, "EXACT", 251)
    assert rooms({"a": array}) == (False, 7)
    found = unpacked(encode_matrix(array, False, 7), 6)
    step = (np.nanmax(array) - np.nanmin(array)) / 65534
    np.testing.assert_allclose(found, array, atol=0.51 * step)
    assert np.nanmax(np.abs(found - array)) > 0
    monkeypatch.setattr(mixture_encoding, "ROUNDED", 36 * 3)
    assert rooms({"a": array}) == (False, 3)
    thinned = encode_matrix(array, False, 3)
    assert thinned["layers"] == [0, 3, 6]
    np.testing.assert_allclose(unpacked(thinned, 6), array[[0, 3, 6]], atol=0.51 * step)


def test_the_routed_text_is_that_of_the_file(payload, stats):
    routing = payload["mixture"]["routing"]
    rows = parquet.read_table(stats / "routing.parquet").to_pylist()
    width, layers = routing["width"], 3
    experts = np.frombuffer(base64.b64decode(routing["experts"]), "<u2")
    experts = experts.reshape(-1, layers, width)
    weights = numbers(routing["weights"]).reshape(experts.shape)
    assert len(routing["texts"]) == len(experts) == 60
    for row in rows:
        at = (row["token"], row["layer"])
        assert experts[at].tolist() == row["experts"]
        assert weights[at].tolist() == row["weights"]
        assert routing["texts"][row["token"]] == row["text"]
    assert not routing["cut"]


def test_a_long_text_is_cut_and_an_uneven_one_has_gaps(monkeypatch):
    frame = pd.DataFrame(
        {
            "token": [0, 1, 2],
            "layer": [4, 4, 4],
            "text": ["a", "b", "c"],
            # The lighter one first, and a token without experts.
            "experts": [[1, 2], [3], []],
            "weights": [[0.25, 0.75], [1.0], []],
        }
    )
    found = mixture_encoding.encode_routing(frame, [4])
    experts = np.frombuffer(base64.b64decode(found["experts"]), "<u2")
    assert experts.tolist() == [2, 1, 3, 65535, 65535, 65535]
    monkeypatch.setattr(mixture_encoding, "_ROUTED", 4)
    found = mixture_encoding.encode_routing(frame, [4])
    assert found["texts"] == ["a", "b"]
    assert found["cut"]


def test_texts_of_files_are_inert(stats):
    page = mixture_html(load_mixture(stats))
    parsed = Page(page)
    assert len(parsed.scripts) == 3
    assert "<script>alert" not in page
    assert "<b>0" not in page
    assert "default-src 'none'" in page
    assert " <script>alert(1)</script>" in parsed.data["mixture"]["routing"]["texts"]


def test_a_page_of_64_layers_of_128_experts_stays_small(tmp_path):
    folder = make_stats(tmp_path / "big", layers=64, experts=128, active=8, tokens=64)
    page = write_report(folder)
    assert page == folder / "report.html"
    # As many tokens as there is room for, and as many arrays, are 5 MB and 13 MB.
    arrays = load_file(folder / "maps.safetensors")
    assert (
        rooms({**arrays, **{f"similarity_{at}": arrays["similarity"] for at in range(5)}})[1] == 64
    )
    assert page.stat().st_size < 20e6


def test_sentences_agree_with_the_tables(stats):
    data = load_mixture(stats)
    said = "\n".join(mixture_sentences(data))
    gini = parquet.read_table(stats / "experts.layers.parquet")["load_gini"].to_numpy()
    assert f"coefficient is {np.median(gini):.2f} in the median layer" in said
    assert f"from {gini.min():.2f} (layer {gini.argmin()})" in said
    assert f"went to: 1 (layer {DEAD[0]} expert {DEAD[1]})." in said
    assert f"of their layer: 1 (layer {COPY[0]} expert {COPY[1]}: as expert 0)." in said
    share = parquet.read_table(stats / "experts.parquet")["assignments"].to_numpy() / 60
    assert f"more than half of the tokens: {(share > 0.5).sum()} " in said
    assert f"layer 0 expert 0: {share[0]:.0%}" in said
    assert "“ to” “<b>3”" in said


def test_sentences_are_bounded(stats):
    data = load_mixture(stats)
    data.experts.loc[:, "assignments"] = 0
    data.experts.loc[:, "dead"] = True
    said = mixture_sentences(data)
    assert len(said) <= 12
    assert max(map(len, said)) < 400
    assert any("went to: 24 (" in one and "and 19 more" in one for one in said)


def test_loads_that_are_the_same_everywhere(stats):
    data = load_mixture(stats)
    data.layers.loc[:, "load_gini"] = [0.0, 0.001, 0.002]
    said = "\n".join(mixture_sentences(data))
    assert "The loads are even: their Gini coefficient is 0.00 in every layer." in said


def test_of_weights_alone_it_says_so(weights_alone):
    said = mixture_sentences(load_mixture(weights_alone))
    assert any("was not run: give --data" in one for one in said)
    assert not any("Gini" in one for one in said)
    assert 'id="routing"' not in mixture_html(load_mixture(weights_alone))


def test_layers_of_several_stacks_have_names_of_their_own(stats):
    data = load_mixture(stats)
    data.experts.loc[:, "stack"] = np.where(data.experts["layer_index"] == 2, "mtp", "layers")
    data.layers.loc[:, "stack"] = np.where(data.layers["layer_index"] == 2, "mtp", "layers")
    for frame in (data.experts, data.layers):
        frame.loc[frame["layer_index"] == 2, "layer_index"] = 0
    assert data.labels == ["layers 0", "layers 1", "mtp 0"]
    assert data.places == [0] * 8 + [1] * 8 + [2] * 8
    assert mixture_payload(data)["runs"][0]["tables"]["experts"]["map"]["split"] == "stack"


def test_measured_columns_lead_with_the_load():
    frame = pd.DataFrame({"same": [1, 1], "norm": [1.0, 2.0], "empty": [None, None]})
    frame = frame.assign(saliency=[3.0, 4.0], load=[0.4, 0.6], text="x", layer_index=[0, 1])
    frame = frame.astype({"empty": float})
    assert measured_columns(frame) == ["load", "saliency", "norm", "same"]
    # Where all loads are the same there is nothing to see in them.
    assert measured_columns(frame.assign(load=0.5))[0] == "saliency"


def test_the_terminal_says_the_sentences(stats):
    said = mixture_sentences(load_mixture(stats))
    printed = invoke("report", stats, "--terminal")
    assert " ".join(said[0].split()) in " ".join(printed.stdout.split())
    document = json.loads(invoke("report", stats, "--terminal", "--json").stdout)
    assert document == {"kind": "moe-stats", "run": str(stats), "sentences": said}


def damaged(stats, tmp_path, work):
    folder = tmp_path / "run"
    shutil.copytree(stats, folder)
    work(folder)
    meta = folder / "experts.run_meta.json"
    described = json.loads(meta.read_text())
    for name in described["outputs"]:
        described["outputs"][name]["bytes"] = (folder / name).stat().st_size
    meta.write_text(json.dumps(described))
    return folder


def test_files_that_do_not_fit_are_refused_by_name(stats, tmp_path):
    def other_shape(folder):
        save_file({"similarity": np.zeros((3, 7, 7), "f4")}, folder / "maps.safetensors")

    def no_weights(folder):
        table = parquet.read_table(folder / "routing.parquet").drop_columns("weights")
        parquet.write_table(table, folder / "routing.parquet")

    for work, message in ((other_shape, "similarity has the shape"), (no_weights, "no column wei")):
        with pytest.raises(ResultError, match=message):
            load_mixture(damaged(stats, tmp_path / work.__name__, work))
    cut = damaged(stats, tmp_path / "cut", lambda folder: None)
    (cut / "maps.safetensors").write_bytes(b"x")
    with pytest.raises(ResultError, match=r"maps\.safetensors: 1 bytes instead of"):
        load_mixture(cut)


def test_what_is_no_such_run_is_refused_by_name(stats, tmp_path):
    with pytest.raises(ConfigError, match="has a page of its own, and 2 runs are named"):
        write_report(stats, other=stats)
    refuses(invoke("report", stats, "--terminal", "--metric", "load"), "says in words", code=2)
    refuses(invoke("compare-runs", stats, stats), "describes the experts of a mixture")
    (tmp_path / "run_meta.json").write_text('{"kind": "moe-dance", "outputs": {}}')
    refuses(invoke("report", tmp_path), "run_meta.json is of the kind 'moe-dance'")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "experts.0123456789ab.partial.jsonl").write_text("")
    refuses(invoke("report", unfinished), "is not finished")


def test_a_query_leaves_such_runs_out(stats, whole, tmp_path):
    """They lie below the folder of all results, where nobody names them."""
    shutil.copytree(stats, tmp_path / "stats")
    shutil.copytree(whole.folder, tmp_path / "analysis")
    asked = invoke("query", "SELECT count(*) AS runs FROM runs", "--runs", tmp_path, "--json")
    assert json.loads(asked.stdout)["rows"] == [{"runs": 1}]
