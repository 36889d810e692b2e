"""The job: its files, an interruption, and what is refused."""

import shutil
from types import SimpleNamespace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from lab import mlx_lm
from pyarrow import parquet as pq
from safetensors.numpy import load_file

from mlx_probe.analysis.validate import validate
from mlx_probe.core.errors import ConfigError, Interrupted, ResultError
from mlx_probe.lab.evaluate.config import EvaluateConfig
from mlx_probe.lab.evaluate.evaluate import evaluate
from mlx_probe.lab.moe.graft import GraftConfig, graft_model
from mlx_probe.lab.moe.signals import SignalsConfig, signals
from mlx_probe.report.html.signals_payload import signals_payload
from mlx_probe.report.signals_data import load_signals
from mlx_probe.report.signals_summary import signals_sentences

CONFIG = SignalsConfig(tokens=250, window=20, block=8)


@pytest.fixture(scope="module")
def subject(dense, tmp_path_factory):
    """A mixture of copies, its dense model, and a run of each."""
    root = tmp_path_factory.mktemp("signals")
    settings = GraftConfig(form="drop", experts=6, active=2, run=False)
    graft_model(str(dense.qwen3), root / "mixture", settings)
    of = {
        name: signals(model, dense.text, root / name, CONFIG, device="cpu")
        for name, model in (("mixed", root / "mixture"), ("dense", dense.qwen3))
    }
    return SimpleNamespace(model=root / "mixture", text=dense.text, **of)


def table(run, name):
    return pd.read_parquet(run.folder / f"{name}.parquet")


def results(run):
    return {path.name: path.read_bytes() for path in run.outputs}


def test_what_is_written(subject):
    run = subject.mixed
    assert run.passed
    assert {path.name for path in run.outputs} == {
        *("signals.parquet", "expert_signals.parquet", "signal_tokens.parquet", "sps.safetensors"),
    }
    assert run.meta["windows"] == 12
    assert run.meta["mixtures"] == 2
    names = ("signals", "expert_signals", "signal_tokens")
    windows, experts, tokens = (table(run, name) for name in names)
    assert list(windows.first_token) == list(range(0, 240, 20))
    assert windows.integrity_z.isna().sum() == 8
    assert len(experts) == 12
    assert (experts.groupby("layer").tokens.sum() == 480).all()
    maps = load_file(run.folder / "sps.safetensors")
    assert maps["sps_tokens"].shape == (240, 2, 4)
    np.testing.assert_allclose(maps["sps"], maps["sps_tokens"].sum(0), atol=1e-3)
    # Its z are over the blocks.
    np.testing.assert_allclose(maps["sps"].sum(1), 0, atol=1e-3)
    assert len(tokens) == 240
    assert tokens.loss.mean() == pytest.approx(windows.loss.mean())
    assert run.meta["integrity"]["mean"] == pytest.approx(windows.integrity.mean())
    names, rank = run.meta["agreement"]["signals"], run.meta["agreement"]["rank"]
    wanted = windows[names].corr("spearman")
    np.testing.assert_allclose(np.array(rank, float), wanted, atol=1e-12)
    for layer in run.meta["layers"]:
        assert layer["output"] == 1.0
        assert layer["chance"] == 0.5
        assert 0 < layer["input"] < 1


def test_the_loss_is_that_of_evaluate(dense, subject):
    config = EvaluateConfig(document="chunk", max_tokens=240, context=20)
    found = evaluate(str(dense.qwen3), dense.text, config=config)
    assert table(subject.dense, "signals").loss.mean() == pytest.approx(found["val_loss"], rel=1e-5)


def test_a_finished_run_is_validated(subject, tmp_path):
    assert all(check.passed for check in validate(subject.mixed.folder))
    shutil.copytree(subject.mixed.folder, tmp_path / "copy")
    damaged = tmp_path / "copy" / "sps.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 64
    damaged.write_bytes(content)
    failed = {check.name for check in validate(tmp_path / "copy") if not check.passed}
    assert failed == {"sha256 of sps.safetensors", "map of blocks"}
    table = pd.read_parquet(tmp_path / "copy" / "signals.parquet")
    schema = pq.read_schema(tmp_path / "copy" / "signals.parquet")
    table.loc[3, "integrity"] = 1.5
    changed = pa.Table.from_pandas(table, schema, preserve_index=False)
    pq.write_table(changed, tmp_path / "copy" / "signals.parquet")
    (wrong,) = [c for c in validate(tmp_path / "copy") if c.name == "windows"]
    assert wrong.detail == "out of range: integrity"


def test_a_dense_model_has_no_experts(subject):
    run = subject.dense
    assert run.meta["mixtures"] == 0
    assert run.meta["layers"] == []
    assert not (run.folder / "expert_signals.parquet").exists()
    assert table(run, "signals").output_surprise.isna().all()
    assert len(run.meta["agreement"]["signals"]) == 6


def test_an_interrupted_run_goes_on_to_the_same_bytes(subject, tmp_path):
    done = []

    def stop(number, total):
        done.append(number)
        if number == 5:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        signals(subject.model, subject.text, out, CONFIG, device="cpu", on_progress=stop)
    assert len(list((out / ".windows").iterdir())) == 5
    # A window that is not whole is measured again.
    damaged = sorted((out / ".windows").iterdir())[2]
    damaged.write_bytes(damaged.read_bytes()[:100])
    run = signals(subject.model, subject.text, out, CONFIG, device="cpu")
    assert run.meta["resumed_rows"] == 5
    assert results(run) == results(subject.mixed)
    assert not (out / ".windows").exists()
    # Once more: the same run takes the place of itself, another one does not.
    assert results(signals(subject.model, subject.text, out, CONFIG, device="cpu")) == results(run)
    other = SignalsConfig(tokens=250, window=20, block=16)
    with pytest.raises(ResultError, match="block: 8, now 16"):
        signals(subject.model, subject.text, out, other, device="cpu")


def test_a_large_gradient_norm_saturates_integrity(subject, tmp_path):
    """As its components stand beside it, they can be seen."""
    config = SignalsConfig(tokens=40, window=20, block=8, alpha=300.0, gamma=1.0)
    run = signals(subject.model, subject.text, tmp_path / "out", config, device="cpu")
    windows = table(run, "signals")
    wanted = np.exp(-300.0 * windows.grad_norm)
    np.testing.assert_allclose(windows.integrity, wanted, rtol=1e-6)
    assert run.meta["integrity"]["mean"] < 1e-100


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"tokens": 10**6}, "too few for"),
        ({"block": 7}, "32 units in the residual stream"),
    ],
)
def test_refused(subject, tmp_path, settings, fact):
    config = SignalsConfig(**{"tokens": 60, "window": 20, "block": 8, **settings})
    with pytest.raises(ConfigError, match=fact):
        signals(subject.model, subject.text, tmp_path / "out", config, device="cpu")
    assert not (tmp_path / "out").exists()


def test_settings_without_a_meaning_are_refused():
    with pytest.raises(ConfigError, match="gamma"):
        SignalsConfig(gamma=1.5)


def test_quantized_models_are_refused(subject, dense, tmp_path):
    utils = mlx_lm("utils")
    with mx.stream(mx.cpu):
        model, config = utils.load_model(dense.qwen3)
        model, config = utils.quantize_model(model, config, group_size=32, bits=4)
        assert any(isinstance(module, nn.QuantizedLinear) for _, module in model.named_modules())
        utils.save_model(tmp_path / "packed", model)
    utils.save_config(config, tmp_path / "packed" / "config.json")
    for path in dense.tokenizer.folder.iterdir():
        (tmp_path / "packed" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ConfigError, match="is quantized, and its codes have no gradient"):
        signals(tmp_path / "packed", subject.text, tmp_path / "out", CONFIG, device="cpu")


def test_their_page_reads_what_is_written(subject):
    mixed = signals_payload(load_signals(subject.mixed.folder))
    assert mixed["sps"]["blocks"] == 4
    assert len(mixed["sps"]["texts"]) == 240
    assert {"windows", "experts", "tokens"} == mixed["runs"][0]["tables"].keys()
    dense = load_signals(subject.dense.folder)
    assert "experts" not in signals_payload(dense)["runs"][0]["tables"]
    assert signals_sentences(dense)[0].startswith("Over 12 windows of the text the loss is ")
