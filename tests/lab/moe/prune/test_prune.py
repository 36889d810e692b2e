"""A pruned mixture is the old one whose routers know fewer experts."""

import json
from importlib import import_module

import mlx.core as mx
import numpy as np
import pytest
from reducible import in_transformers, logits_of, masked_logits, write_family
from safetensors.numpy import load_file

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.lab.about.derivation import read_derivation
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.moe.graft import GraftConfig, graft_model
from mlx_probe.lab.moe.logits import mean_loss, single_precision
from mlx_probe.lab.moe.prune import PruneConfig, prune_model
from mlx_probe.lab.moe.reduce.family import REDUCIBLE
from mlx_probe.lab.moe.routing import measure_routing
from mlx_probe.lab.moe.text import text_rows

EXPERTS, KEEP, SCORED, TOKENS = 6, 3, 64, 32
RANDOM = {"by": "random", "run": False}
# A router that chooses groups keeps as many experts of each.
SETTINGS = {"deepseek_v3": {"n_group": 2, "topk_group": 1}}


@pytest.fixture(autouse=True)
def on_cpu():
    with mx.stream(mx.cpu):
        yield


@pytest.fixture(scope="module")
def stock(dense, tmp_path_factory):
    """A mixtral and a qwen3_moe in Hugging Face's layout, whose experts differ in half."""
    root = tmp_path_factory.mktemp("stock")
    config = GraftConfig(form="drop", experts=EXPERTS, run=False)
    with mx.stream(mx.cpu):
        for family in ("llama", "qwen3"):
            graft_model(str(getattr(dense, family)), root / family, config)
    return {"mixtral": root / "llama", "qwen3_moe": root / "qwen3"}


def kept_of(folder):
    receipt = json.loads((folder / "prune_receipt.json").read_text())
    return {each["layer"]: each["experts"] for each in receipt["kept"]}


def pruned(model, out, **settings):
    return prune_model(str(model), out, PruneConfig(**{"keep": KEEP, **settings}))


@pytest.mark.parametrize("family", REDUCIBLE)
def test_the_logits_are_those_of_a_masked_router(tmp_path, family):
    model = write_family(tmp_path / "model", family, **SETTINGS.get(family, {}))
    made = pruned(model, tmp_path / "out", keep=4, seed=3, **RANDOM)
    expected = masked_logits(model, kept_of(made.folder))
    assert np.abs(expected - logits_of(model)).max() > 0.1
    assert np.abs(expected - logits_of(made.folder)).max() < 1e-5


def test_packed_experts_keep_their_bits(tmp_path):
    model = write_family(tmp_path / "model", "qwen3_moe", bits=4, moe_intermediate_size=32)
    made = pruned(model, tmp_path / "out", keep=4, **RANDOM)
    kept = kept_of(made.folder)
    before, after = (load_file(folder / "model.safetensors") for folder in (model, made.folder))
    assert before.keys() == after.keys()
    for name, array in before.items():
        if "switch_mlp" in name or ".gate." in name:
            array = array[kept[int(name.split(".")[2])]]
        assert array.dtype == after[name].dtype
        assert array.tobytes() == after[name].tobytes(), name
    assert np.abs(masked_logits(model, kept) - logits_of(made.folder)).max() < 1e-5


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_a_stock_mixture_is_pruned_in_both_programs(stock, family, tmp_path):
    made = pruned(stock[family], tmp_path / "out", **RANDOM)
    kept = kept_of(made.folder)
    expected = masked_logits(stock[family], kept)
    assert np.abs(expected - logits_of(made.folder)).max() < 1e-5
    assert np.abs(expected - in_transformers(made.folder)).max() < 1e-4

    before, after = (
        load_file(folder / "model.safetensors") for folder in (stock[family], made.folder)
    )
    block = REDUCIBLE[family].block
    for name, array in after.items():
        parts = name.split(".")
        if "experts" in parts:
            parts[5] = str(kept[int(parts[2])][int(parts[5])])
            old = before[".".join(parts)]
        elif f"{block}.gate." in name:
            old = before[name][kept[int(parts[2])]]
        else:
            old = before[name]
        assert array.dtype == old.dtype
        assert array.tobytes() == old.tobytes(), name
    lost = (EXPERTS - KEEP) * 3 * 2
    assert len(after) == len(before) - lost == made.tensors
    old, new = (
        json.loads((folder / "config.json").read_text()) for folder in (stock[family], made.folder)
    )
    assert new == {**old, REDUCIBLE[family].count: KEEP}
    for name in ("tokenizer.json", "generation_config.json"):
        assert (made.folder / name).read_bytes() == (stock[family] / name).read_bytes()


@pytest.mark.parametrize("by", ["saliency", "load"])
def test_the_best_are_kept_and_losses_are_of_text_after_them(stock, dense, by, tmp_path):
    made = pruned(
        stock["qwen3_moe"],
        tmp_path / "out",
        by=by,
        data=dense.text,
        score_tokens=SCORED,
        tokens=TOKENS,
    )
    loaded = load_model(stock["qwen3_moe"], by_mlx_lm=True)
    single_precision(loaded.model)
    scored = text_rows(loaded, dense.text, SCORED)
    routing = measure_routing(loaded, scored, lambda done, total: None)
    for entry, layer in zip(made.chosen["kept"], routing.layers, strict=True):
        scores = np.nan_to_num(getattr(layer, by))
        assert entry["scores"] == pytest.approx(scores.tolist())
        assert set(entry["experts"]) == set(np.argsort(-scores, kind="stable")[:KEEP].tolist())
    rows = text_rows(loaded, dense.text, TOKENS, skipped=SCORED)
    whole = text_rows(loaded, dense.text, SCORED + TOKENS, window=TOKENS)
    assert np.array_equal(rows, whole[-len(rows) :])
    losses = made.measured
    assert (losses.skipped, losses.tokens) == (SCORED, TOKENS)
    assert losses.loss_before == pytest.approx(mean_loss(loaded.model, rows), abs=1e-6)
    after = single_precision(load_model(made.folder, by_mlx_lm=True).model)
    assert losses.loss_after == pytest.approx(mean_loss(after, rows), abs=1e-6)
    assert losses.loss_after != losses.loss_before
    receipt = json.loads((made.folder / "prune_receipt.json").read_text())
    assert receipt["loss_after"] == losses.loss_after
    assert receipt["kept"] == made.chosen["kept"]


def test_chance_is_decided_by_the_seed(stock, tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        pruned(stock["mixtral"], folder, seed=seed, **RANDOM)
    one, same, other = ((each / "model.safetensors").read_bytes() for each in folders)
    assert one == same
    assert one != other
    made = read_derivation(folders[0])
    assert made.tags == ("moe", "prune")
    assert "3 of 6 experts in each of 2 layers (random)" in made.text
    # Again into the same folder; nothing else is ever replaced.
    pruned(stock["mixtral"], folders[2], seed=1, **RANDOM)
    assert (folders[2] / "model.safetensors").read_bytes() == one
    with pytest.raises(ResultError, match="is not empty"):
        pruned(stock["mixtral"], tmp_path, **RANDOM)


class TestRefused:
    """Each with one message, before anything is written."""

    def refused(self, model, out, match, **settings):
        with pytest.raises(ConfigError, match=match) as refused:
            pruned(model, out, **{**RANDOM, **settings})
        assert not out.exists()
        return refused.value.remedy

    def test_all_experts(self, stock, tmp_path):
        remedy = self.refused(stock["mixtral"], tmp_path / "out", "takes none of the 6", keep=6)
        assert "5 or less" in remedy

    def test_fewer_than_a_token_uses(self, stock, tmp_path):
        remedy = self.refused(stock["mixtral"], tmp_path / "out", "uses 2 experts", keep=1)
        assert "2 or more" in remedy

    def test_what_does_not_fit_the_groups(self, tmp_path):
        model = write_family(tmp_path / "model", "deepseek_v3", n_group=2, topk_group=1)
        for keep in (5, 2):
            remedy = self.refused(model, tmp_path / "out", "2 groups of equal size", keep=keep)
            assert "--keep 4 or 6" in remedy

    def test_a_dense_model(self, dense, tmp_path):
        self.refused(dense.llama, tmp_path / "out", "is a dense model: llama")

    def test_another_family(self, stock, tmp_path):
        model = tmp_path / "model"
        model.mkdir()
        (model / "model.safetensors").symlink_to(stock["mixtral"] / "model.safetensors")
        config = json.loads((stock["mixtral"] / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, "model_type": "jamba"}))
        self.refused(model, tmp_path / "out", "of type 'jamba' has its experts is not known")
        more = {**config, "quantization": {"model.layers.0.x.experts.3.w1": {"bits": 4}}}
        (model / "config.json").write_text(json.dumps(more))
        self.refused(model, tmp_path / "out", r"settings of single experts \(experts.3.w1\)")

    def test_a_tensor_that_is_not_known(self, tmp_path):
        model = write_family(tmp_path / "model", "qwen3_moe")
        weights = dict(mx.load(str(model / "model.safetensors")))
        weights["model.layers.1.mlp.scale_of_tomorrow"] = mx.ones((8,))
        mx.save_safetensors(str(model / "model.safetensors"), weights)
        self.refused(model, tmp_path / "out", "scale_of_tomorrow is to the experts is not known")

    def test_a_score_without_a_run(self, stock, tmp_path):
        self.refused(stock["mixtral"], tmp_path / "out", "--by load runs the model", by="load")

    def test_what_does_not_fit_in_memory(self, stock, tmp_path, monkeypatch):
        receipt = import_module("mlx_probe.lab.moe.reduce.receipt")
        monkeypatch.setattr(receipt, "available_memory", lambda gpu: 1000)
        settings = {"run": True, "by": "load"}
        match = "to run the mixture in float32 takes"
        assert "random" in self.refused(stock["mixtral"], tmp_path / "out", match, **settings)

    def test_a_text_that_is_too_short(self, stock, dense, tmp_path):
        self.refused(
            stock["mixtral"],
            tmp_path / "out",
            "too few for",
            run=True,
            by="load",
            data=dense.text,
            score_tokens=10**6,
        )
