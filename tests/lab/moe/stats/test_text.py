"""The statistics of a mixture that also reads a text."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pyarrow.parquet as pq
import pytest
from lab import transformers

from mlx_probe.analysis.validate import validate
from mlx_probe.core.errors import ConfigError, Interrupted
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.moe.graft import GraftConfig, graft_model
from mlx_probe.lab.moe.routing import measure_routing
from mlx_probe.lab.moe.routing.token_types import token_texts
from mlx_probe.lab.moe.stats.config import StatsConfig
from mlx_probe.lab.moe.stats.stats import moe_stats
from mlx_probe.lab.moe.text import text_rows
from mlx_probe.report.html.mixture_payload import mixture_payload
from mlx_probe.report.mixture_data import load_mixture
from mlx_probe.report.mixture_summary import mixture_sentences
from mlx_probe.runs.load_side import load_side_table
from mlx_probe.runs.mixture.folder import LAYERS, MAPS, ROUTING
from mlx_probe.runs.mixture.maps import read_maps

FILES = ("experts.csv", "experts.layers.csv", MAPS, ROUTING)


@pytest.fixture(scope="module")
def mixture(dense, tmp_path_factory):
    out = tmp_path_factory.mktemp("text") / "mixture"
    with mx.stream(mx.cpu):
        graft_model(str(dense.qwen3), out, GraftConfig(form="drop", experts=5, run=False))
    return out


@pytest.fixture(scope="module")
def config(dense):
    return StatsConfig(data=dense.text, tokens=80, device="cpu", workers=1, backend="numpy")


@pytest.fixture(scope="module")
def run(mixture, config):
    told = []
    found = moe_stats(
        mixture, mixture.parent / "read", config=config, on_progress=lambda *n: told.append(n)
    )
    # The context of 48 tokens makes one row of it; then there are the experts.
    assert told == [(1, 11), (6, 11), (11, 11)]
    return found


def test_a_text_joins_what_the_weights_say(mixture, config, run, dense):
    assert run.passed
    assert {path.name for path in run.outputs} == set(FILES)
    assert all(check.passed for check in validate(run.folder))
    with mx.stream(mx.cpu):
        loaded = load_model(mixture, by_mlx_lm=True)
        found = measure_routing(loaded, text_rows(loaded, dense.text, 80), lambda *_: None)
    frame, layers = run.load(), load_side_table(run, LAYERS)
    for number, layer in enumerate(found.layers):
        of_layer = frame[frame["layer_index"] == number]
        np.testing.assert_allclose(of_layer["load"], layer.load)
        np.testing.assert_allclose(of_layer["saliency"], layer.saliency)
        assert list(of_layer["assignments"]) == layer.assignments.tolist()
    assert list(layers["mean_active"]) == [2, 2]
    assert list(layers["router_scores"]) == ["softmax"] * 2
    assert run.meta["tokens"] == len(found.tokens) == 48
    assert run.meta["loss"] == pytest.approx(found.loss)
    maps = read_maps(run.folder / MAPS)
    assert maps["coactivation"].shape == (2, 5, 5)
    for name, names in run.meta["bins"].items():
        assert maps[name].shape == (2, 5, len(names))
    beginning = pq.read_table(run.folder / ROUTING)
    assert beginning.num_rows == 2 * 48
    # What the weights say is the same without a text.
    alone = moe_stats(
        mixture, mixture.parent / "alone", config=StatsConfig(workers=1, backend="numpy")
    ).load()
    assert frame[list(alone.columns)].equals(alone)


def test_transformers_routes_the_same(mixture, run, dense):
    torch = pytest.importorskip("torch")
    stock = transformers().AutoModelForCausalLM.from_pretrained(mixture, dtype=torch.float32)
    tokens = dense.tokenizer.encode_array(Path(dense.text).read_text("utf-8"))
    read = pq.read_table(run.folder / ROUTING).to_pylist()
    assert [row["text"] for row in read[::2]][:5] == token_texts(dense.tokenizer, tokens[:5])
    with torch.no_grad():
        said = stock(torch.tensor(tokens[None, :48].astype("i8")), output_router_logits=True)
    layers = load_side_table(run, LAYERS)
    for number, logits in enumerate(said.router_logits):
        shares = torch.softmax(logits.double(), -1).numpy()
        best = np.argsort(-shares, 1)[:, :2]
        rows = [row for row in read if row["layer"] == number]
        assert [row["experts"] for row in rows] == best.tolist()
        weights = np.take_along_axis(shares, best, 1)
        found = np.array([row["weights"] for row in rows])
        np.testing.assert_allclose(found, weights / weights.sum(1, keepdims=True), rtol=1e-4)
        entropy = -(shares * np.log(shares)).sum(1).mean()
        assert layers["router_entropy"][number] == pytest.approx(entropy, rel=1e-5)
        ranked = np.sort(shares, 1)
        margin = (ranked[:, -2] - ranked[:, -3]).mean()
        assert layers["router_margin"][number] == pytest.approx(margin, rel=1e-3)


def test_it_goes_on_after_an_interruption(mixture, config, run, monkeypatch):
    import mlx_probe.lab.moe.stats.stats as job

    whole, measured = job.measure_layer, []

    def counted(*given):
        if len(measured) == 1:
            raise KeyboardInterrupt
        measured.append(given)
        return whole(*given)

    out = mixture.parent / "interrupted"
    monkeypatch.setattr(job, "measure_layer", counted)
    with pytest.raises(Interrupted):
        moe_stats(mixture, out, config=config)
    monkeypatch.setattr(
        job, "measure_layer", lambda *given: measured.append(given) or whole(*given)
    )
    assert moe_stats(mixture, out, config=config).meta["resumed_rows"] == 5
    assert len(measured) == 2
    for name in FILES:
        assert (out / name).read_bytes() == (run.folder / name).read_bytes()


def test_without_a_text_its_files_are_gone(mixture, config):
    out = mixture.parent / "again"
    moe_stats(mixture, out, config=config)
    assert (out / ROUTING).exists()
    moe_stats(mixture, out, config=StatsConfig(workers=1, backend="numpy"), overwrite=True)
    assert not (out / ROUTING).exists()
    assert all(check.passed for check in validate(out))


def test_what_is_refused(mixture, config, dense, tmp_path, monkeypatch):
    from dataclasses import replace

    short = replace(config, tokens=48 * 500)
    with pytest.raises(ConfigError, match=r"has \d+ tokens, too few for 24000"):
        moe_stats(mixture, tmp_path / "a", config=short)
    with pytest.raises(ConfigError, match="has no experts: it is a dense model"):
        moe_stats(dense.llama, tmp_path / "b", config=config)
    with pytest.raises(ConfigError, match="--revision is for weights alone"):
        moe_stats(mixture, tmp_path / "c", config=config, revision="main")
    monkeypatch.setattr("mlx_probe.lab.moe.stats.routed.available_memory", lambda gpu: 1000)
    with pytest.raises(ConfigError, match="to run mixture takes") as caught:
        moe_stats(mixture, tmp_path / "d", config=config)
    assert "--data" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_its_page_reads_what_is_written(run):
    data = load_mixture(run.meta_path)
    payload = mixture_payload(data)["mixture"]
    assert payload["layers"] == ["0", "1"]
    assert (payload["experts"], payload["load"], payload["tokens"]) == (5, "load", 48)
    assert {"coactivation", "similarity", "load_by_type", "load_by_position"} <= {
        *payload["matrices"]
    }
    assert payload["matrices"]["load_by_type"]["names"] == run.meta["bins"]["load_by_type"]
    assert len(payload["routing"]["texts"]) == 48
    assert not payload["routing"]["cut"]
    said = mixture_sentences(data)
    assert "A token of the text, of 48 that were read, uses 2 experts of a layer." in said
