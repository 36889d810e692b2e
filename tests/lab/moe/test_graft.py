"""A dense model and its graft are one model: every weight, and what both say in three programs."""

import json
import shutil

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from lab import mlx_lm
from mlx.optimizers import Adam
from safetensors.numpy import load_file
from tiny_llm import TEXTS

from mlx_probe.core.errors import ResultError
from mlx_probe.lab import tensor_stream
from mlx_probe.lab.data.tokenizer import load_tokenizer
from mlx_probe.lab.moe.graft import SPLITS, GraftConfig, graft, graft_model
from mlx_probe.lab.moe.stock import STOCKS
from mlx_probe.report.graft_receipt import damage_frame, read_graft

FAMILIES = ("llama", "qwen3")
MATRICES = ("gate_proj", "up_proj", "down_proj")
IDS = [[3, 17, 200, 5, 91, 44, 260, 8, 12, 301, 77, 150]]


@pytest.fixture(autouse=True)
def on_cpu():
    with mx.stream(mx.cpu):
        yield


def grafted(dense, family, out, **settings):
    config = GraftConfig(**{"data": dense.text, "tokens": 48, **settings})
    return graft_model(str(getattr(dense, family)), out, config)


def weights(folder):
    return {
        name: array
        for path in sorted(folder.glob("*.safetensors"))
        for name, array in load_file(path).items()
    }


def in_mlx_lm(folder):
    model, _ = mlx_lm("utils").load_model(folder)
    return np.array(model(mx.array(IDS)).astype(mx.float32))


def in_transformers(folder):
    import torch
    from transformers import AutoModelForCausalLM

    model, found = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    with torch.no_grad():
        return model.eval()(torch.tensor(IDS)).logits.numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_are_those_of_the_dense_model_in_both_programs(dense, family, tmp_path):
    # 6 experts: no power of two.
    made = grafted(dense, family, tmp_path / "out", experts=6, split="random")
    folder = getattr(dense, family)
    for logits in (in_mlx_lm, in_transformers):
        before, after = logits(folder), logits(tmp_path / "out")
        assert np.abs(before).max() > 1
        assert np.abs(before - after).max() < 1e-5
    assert made.measured.max_logit_difference < 1e-5
    assert made.measured.loss_after == pytest.approx(made.measured.loss_before, abs=1e-5)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == made.stock == STOCKS[family].model_type
    for name in ("tokenizer.json", "tokenizer.model", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()


def test_a_model_that_learned_something(dense, tmp_path):
    model, _ = mlx_lm("utils").load_model(dense.qwen3)
    ids = mx.array(load_tokenizer(dense.folder / "qwen3").encode(TEXTS[0])[:48])[None]
    step = nn.value_and_grad(
        model, lambda m: nn.losses.cross_entropy(m(ids[:, :-1]), ids[:, 1:], reduction="mean")
    )
    optimizer = Adam(learning_rate=3e-3)
    losses = []
    for _ in range(30):
        loss, gradients = step(model)
        optimizer.update(model, gradients)
        losses.append(loss.item())
    assert losses[-1] < 0.5 < losses[0]
    dense.trained = shutil.copytree(dense.qwen3, tmp_path / "trained")
    model.save_weights(str(dense.trained / "model.safetensors"))
    made = grafted(dense, "trained", tmp_path / "out", experts=6, split="cluster")
    assert made.measured.max_logit_difference < 1e-5
    for logits in (in_mlx_lm, in_transformers):
        before, after = logits(dense.trained), logits(tmp_path / "out")
        assert np.abs(before - after).max() < 1e-5


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_is_one_of_the_dense_model(dense, family, split, tmp_path):
    made = grafted(dense, family, tmp_path / "out", experts=8, split=split)
    before, after = weights(getattr(dense, family)), weights(tmp_path / "out")
    stock = STOCKS[family]
    assert (made.experts, made.width, made.active, made.factor) == (8, 6, 8, 8)
    assert made.exact
    for layer in range(2):
        whole = [before.pop(f"model.layers.{layer}.mlp.{name}.weight") for name in MATRICES]
        parts = [
            [after.pop(stock.expert(layer, expert, matrix)) for expert in range(8)]
            for matrix in range(3)
        ]
        assert not after.pop(stock.router(layer)).any()
        # Row by row of gate | up | down / 8: the same units, each once, in another order.
        units = np.hstack([whole[0], whole[1], whole[2].T])
        found = np.hstack(
            [np.vstack(parts[0]), np.vstack(parts[1]), np.hstack(parts[2]).T / np.float32(8)]
        )
        assert sorted(map(bytes, units)) == sorted(map(bytes, found))
        assert np.array_equal(units, found) == (split == "contiguous")
    if family == "llama":
        assert np.array_equal(after.pop("lm_head.weight"), before["model.embed_tokens.weight"])
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert made.parameters == sum(each.size for each in weights(tmp_path / "out").values())


@pytest.mark.parametrize(("experts", "is_exact"), [(8, True), (6, False)])
def test_bfloat16_is_exact_for_powers_of_two(dense, tmp_path, experts, is_exact):
    from tiny_llm import make_model

    source = make_model(tmp_path / "source", dense.tokenizer, dtype="bfloat16")
    dense.half = source
    made = grafted(dense, "half", tmp_path / "out", experts=experts)
    assert made.exact == is_exact
    assert any("no power of two" in note for note in made.notes) != is_exact
    assert (made.measured.max_logit_difference < 1e-5) == is_exact
    with (tmp_path / "out" / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    del header["__metadata__"]
    assert {each["dtype"] for each in header.values()} == {"BF16"}
    if not is_exact:
        made = grafted(dense, "half", tmp_path / "out", experts=experts, dtype="float32")
        assert made.measured.max_logit_difference < 1e-5


def test_four_bits_are_unpacked(dense, tmp_path):
    utils = mlx_lm("utils")
    from tiny_llm import make_model

    source = make_model(tmp_path / "source", dense.tokenizer, dim=64, hidden=64)
    folder = tmp_path / "packed"
    model, config = utils.load_model(source)
    model, config = utils.quantize_model(model, config, 32, 4)
    utils.save_model(folder, model)
    utils.save_config(config, folder / "config.json")
    for path in source.glob("token*"):
        shutil.copy(path, folder)
    dense.packed = folder
    made = grafted(dense, "packed", tmp_path / "out", experts=4, dtype="float32")
    assert made.measured.max_logit_difference < 1e-4
    assert made.notes[0].endswith("packed tensor(s) of the model were unpacked to F32")
    assert "quantization" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_a_gguf_file(dense, tmp_path, monkeypatch):
    from tiny_llm import make_model, make_tokenizer

    from mlx_probe.lab.export import EXPORTS

    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    tokenizer = make_tokenizer(tmp_path / "tokenizer", kind="bytes", vocabulary=330)
    source = make_model(tmp_path / "source", tokenizer)
    EXPORTS["gguf"](str(source), tmp_path / "tiny.gguf", "f32")
    dense.gguf = tmp_path / "tiny.gguf"
    made = grafted(dense, "gguf", tmp_path / "out", experts=4)
    assert made.measured.max_logit_difference < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_copies(dense, family, tmp_path):
    made = grafted(dense, family, tmp_path / "out", form="copy", experts=3)
    assert (made.experts, made.width, made.active, made.factor) == (3, 48, 2, 1)
    assert made.measured.max_logit_difference < 1e-5
    losses = [each.loss for each in made.measured.damage]
    assert losses == pytest.approx([made.measured.loss_before] * 3, abs=1e-5)
    before, after = weights(getattr(dense, family)), weights(tmp_path / "out")
    stock = STOCKS[family]
    for layer in range(2):
        for matrix, name in enumerate(MATRICES):
            whole = before[f"model.layers.{layer}.mlp.{name}.weight"]
            for expert in range(3):
                assert np.array_equal(after[stock.expert(layer, expert, matrix)], whole)
    routers = np.stack([after[stock.router(layer)] for layer in range(2)])
    assert routers.std() == pytest.approx(0.02, rel=0.2)
    assert not np.array_equal(*routers)


def test_copies_of_which_a_share_begins_anew(dense, tmp_path):
    made = grafted(dense, "llama", tmp_path / "out", form="drop", experts=3, share=0.25)
    assert made.measured.max_logit_difference > 0.1
    before, after = weights(dense.llama), weights(tmp_path / "out")
    stock, chosen = STOCKS["llama"], []
    for layer in range(2):
        whole = [before[f"model.layers.{layer}.mlp.{name}.weight"] for name in MATRICES]
        for expert in range(3):
            parts = [after[stock.expert(layer, expert, matrix)] for matrix in range(3)]
            changed = [
                tuple(np.flatnonzero((a != b).all(1 - axis)))
                for a, b, axis in zip(parts, whole, (0, 0, 1), strict=True)
            ]
            # A quarter of the units, the same in all three matrices, and nothing else.
            assert len(changed[0]) == 12
            assert changed[0] == changed[1] == changed[2]
            chosen.append(changed[0])
            units = list(changed[0])
            assert (parts[0] != whole[0]).sum() == 12 * 32
            assert parts[0][units].std() == pytest.approx(whole[0][units].std(), rel=0.2)
            assert parts[2][:, units].std() == pytest.approx(whole[2][:, units].std(), rel=0.2)
    assert len(set(chosen)) == 6


def test_the_receipt(dense, tmp_path):
    seen = []
    config = GraftConfig(experts=4, split="random", seed=5, data=dense.text, tokens=96)
    made = graft_model(
        str(dense.qwen3), tmp_path / "a", config, lambda done, total: seen.append((done, total))
    )
    receipt = json.loads((tmp_path / "a" / "graft_receipt.json").read_text())
    assert receipt["seed"] == 5
    assert (receipt["tokens"], receipt["context"], receipt["data"]) == (96, 48, dense.text)
    assert [each["active"] for each in receipt["damage"]] == [4, 3, 2, 1]
    assert receipt["damage"][0]["loss"] == pytest.approx(receipt["loss_after"], abs=1e-5)
    assert len({each["loss"] for each in receipt["damage"]}) == 4
    assert {key: receipt[key] for key in made.describe()} == json.loads(json.dumps(made.describe()))
    curve = damage_frame(read_graft(tmp_path / "a"))
    assert curve["active"].tolist() == [1, 2, 3, 4]
    assert curve["added"].tolist()[-1] == pytest.approx(0, abs=1e-5)
    # Two layers, two losses, four of the curve; nothing goes back.
    assert seen[-1] == (8, 8)
    assert seen == sorted(seen)
    again = tmp_path / "b"
    graft_model(str(dense.qwen3), again, config)
    assert (again / "model.safetensors").read_bytes() == (
        tmp_path / "a" / "model.safetensors"
    ).read_bytes()
    other = GraftConfig(experts=4, split="random", seed=6, run=False)
    graft_model(str(dense.qwen3), again, other)
    assert (again / "model.safetensors").read_bytes() != (
        tmp_path / "a" / "model.safetensors"
    ).read_bytes()
    receipt = json.loads((again / "graft_receipt.json").read_text())
    assert (receipt["run"], receipt["loss_before"], receipt["damage"]) == (False, None, [])


def test_shards(dense, tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_stream, "SHARD_BYTES", 30_000)
    made = grafted(dense, "qwen3", tmp_path / "out", experts=6)
    assert len(made.files) > 2
    assert made.measured.max_logit_difference < 1e-5


def test_the_whole_folder_or_nothing(dense, tmp_path, monkeypatch):
    out = tmp_path / "out"
    grafted(dense, "llama", out, experts=6, run=False)
    before = (out / "model.safetensors").read_bytes()

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(graft, "measure", fail)
        with pytest.raises(KeyboardInterrupt):
            grafted(dense, "llama", out, experts=8)
    assert (out / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    grafted(dense, "llama", out, experts=8, run=False)
    assert (out / "model.safetensors").read_bytes() != before
    (out / "graft_receipt.json").unlink()
    with pytest.raises(ResultError, match="is not empty"):
        grafted(dense, "llama", out, experts=8, run=False)


def test_a_block_is_read_once(dense, tmp_path, monkeypatch):
    from mlx_probe.lab.moe.graft import tensors

    read = []
    elements = tensors.read_elements
    monkeypatch.setattr(
        tensors,
        "read_elements",
        lambda weight, kind: read.append(weight.name) or elements(weight, kind),
    )
    grafted(dense, "llama", tmp_path / "out", experts=8, run=False)
    assert len(read) == len(set(read)) == 6
