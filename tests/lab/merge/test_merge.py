"""A base and an adapter as one model: the numbers, the files, and what is refused."""

import json
import shutil

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from lora_adapters import RANK, SCALE, logits, mlx_adapter, peft_adapter
from safetensors.numpy import load_file, save_file
from tiny_llm import make_model, make_tokenizer

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import CheckpointError, ConfigError, ResultError
from mlx_probe.lab import tensor_stream
from mlx_probe.lab.merge import merge_adapter
from mlx_probe.source import resolve


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    root = tmp_path_factory.mktemp("base")
    with mx.stream(mx.cpu):
        return make_model(root / "model", make_tokenizer(root / "tokenizer"), dim=64, hidden=64)


def test_every_number(tmp_path, base):
    factors = peft_adapter(tmp_path / "adapter", base)
    seen = []
    progress = lambda done, total: seen.append((done, total))  # noqa: E731
    merged = merge_adapter(str(base), str(tmp_path / "adapter"), tmp_path / "out", "auto", progress)
    before, after = (
        load_file(base / "model.safetensors"),
        load_file(merged.folder / merged.files[0]),
    )
    assert after.keys() == before.keys()
    for name, got in after.items():
        want = before[name]
        if (pair := factors.get(name.removesuffix(".weight"))) is not None:
            exact = want.astype("f8") + SCALE * pair[1].astype("f8") @ pair[0].astype("f8")
            assert not np.array_equal(got, want)
            np.testing.assert_array_equal(got, exact.astype("f4"))
        else:
            np.testing.assert_array_equal(got, want)
    assert (merged.kind, merged.layout, merged.ranks) == ("lora", "peft", (RANK,))
    assert (merged.changed, merged.unpacked, merged.notes) == (len(factors), 0, ())
    assert seen[-1] == (merged.bytes, merged.bytes)
    assert sum(each.nbytes for each in after.values()) == merged.bytes
    for name in ("config.json", "tokenizer.json", "tokenizer.model", "generation_config.json"):
        assert (merged.folder / name).is_file()
    assert json.loads((merged.folder / "config.json").read_text()) == json.loads(
        (base / "config.json").read_text()
    )
    record = json.loads((merged.folder / "merge.json").read_text())
    assert record["base_model"] == "someone/base"
    assert record["scale"] == SCALE
    assert record["files"] == list(merged.files)


@pytest.mark.parametrize(("dtype", "stored"), [("bfloat16", "BF16"), ("float16", "F16")])
def test_another_type(tmp_path, base, dtype, stored):
    peft_adapter(tmp_path / "adapter", base)
    merge_adapter(str(base), str(tmp_path / "adapter"), tmp_path / "out", dtype)
    with open_checkpoint(resolve(str(tmp_path / "out"))) as checkpoint:
        assert {parameter.dtype for parameter in checkpoint.parameters} == {stored}
        assert checkpoint.config["dtype"] == checkpoint.config["torch_dtype"] == dtype
    with pytest.raises(ConfigError, match="dtype is int8"):
        merge_adapter(str(base), str(tmp_path / "adapter"), tmp_path / "other", "int8")


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("bits", [None, 4, 8])
def test_logits_are_those_of_the_adapter(tmp_path, base, kind, bits):
    utils = mlx_lm("utils")
    with mx.stream(mx.cpu):
        if bits:
            folder = tmp_path / "packed"
            model, config = utils.load_model(base)
            model, config = utils.quantize_model(model, config, 32, bits)
            utils.save_model(folder, model)
            utils.save_config(config, folder / "config.json")
            for path in base.glob("token*"):
                shutil.copy(path, folder)
        else:
            folder = base
        adapted = mlx_adapter(tmp_path / "adapter", folder, kind)
        merged = merge_adapter(
            str(folder), str(tmp_path / "adapter"), tmp_path / "out", "float32" if bits else "auto"
        )
        plain, config = utils.load_model(tmp_path / "out")
        assert "quantization" not in config
        want, got = logits(adapted), logits(plain)
        assert np.abs(want - logits(utils.load_model(folder)[0])).max() > 0.1
        assert np.abs(got - want).max() < 1e-4
    assert (merged.kind, merged.layout) == (kind, "mlx-lm")
    assert bool(merged.unpacked) == bool(bits)
    if bits:
        assert merged.notes[0].endswith("packed tensor(s) of the base were unpacked to F32")


def test_shards(tmp_path, base, monkeypatch):
    monkeypatch.setattr(tensor_stream, "SHARD_BYTES", 60_000)
    peft_adapter(tmp_path / "adapter", base)
    merged = merge_adapter(str(base), str(tmp_path / "adapter"), tmp_path / "out")
    assert len(merged.files) > 2
    assert max((tmp_path / "out" / name).stat().st_size for name in merged.files) < 90_000
    with open_checkpoint(resolve(str(tmp_path / "out"))) as checkpoint:
        assert len(checkpoint.parameters) == merged.tensors
        assert sum(each.numel for each in checkpoint.parameters) == merged.parameters


def test_a_merged_model_is_replaced_and_nothing_else(tmp_path, base):
    peft_adapter(tmp_path / "adapter", base)
    for _ in range(2):
        merge_adapter(str(base), str(tmp_path / "adapter"), tmp_path / "out")
    (tmp_path / "out" / "merge.json").unlink()
    with pytest.raises(ResultError, match="is not empty"):
        merge_adapter(str(base), str(tmp_path / "adapter"), tmp_path / "out")
    for out in (base, tmp_path / "adapter", base.parent):
        with pytest.raises(ConfigError, match="which is read"):
            merge_adapter(str(base), str(tmp_path / "adapter"), out)
    with pytest.raises(ResultError, match="is a file"):
        merge_adapter(str(base), str(tmp_path / "adapter"), base / "config.json")


def edited(tmp_path, base, edit, changes=None):
    peft_adapter(tmp_path / "adapter", base, changes)
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    edit(weights)
    save_file(weights, path)
    return tmp_path / "adapter"


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda w: w.update({FIRST: np.ones((RANK, 65), "f4")}), "q_proj.weight cannot be merged"),
        (lambda w: w.pop(FIRST), "q_proj.weight cannot be merged"),
        (lambda w: w.update({"base_model.model.score.weight": np.ones((2, 64), "f4")}),
         "score.weight cannot be merged"),
        (lambda w: w.update({FIRST: np.full((RANK, 64), np.nan, "f4")}), "NaN"),
    ],
)  # fmt: skip
def test_what_does_not_fit(tmp_path, base, edit, says):
    adapter = edited(tmp_path, base, edit)
    with pytest.raises(CheckpointError, match=says):
        merge_adapter(str(base), str(adapter), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_adapter(tmp_path, base):
    with pytest.raises(CheckpointError, match="is no adapter"):
        merge_adapter(str(base), str(base), tmp_path / "out")
    peft_adapter(tmp_path / "adapter", base, {"peft_type": "NEWKIND"})
    with pytest.raises(ConfigError, match="kind not supported"):
        merge_adapter(str(base), str(tmp_path / "adapter"), tmp_path / "out")


def test_the_adapter_of_a_tuning_run(tmp_path, base):
    peft_adapter(tmp_path / "adapter", base)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run_meta.json").write_text("{}")
    (tmp_path / "adapter").rename(tmp_path / "run" / "adapter")
    shutil.copy(base / "tokenizer.json", tmp_path / "run" / "adapter")
    merged = merge_adapter(str(base), str(tmp_path / "run"), tmp_path / "out")
    assert merged.notes == ("the tokenizer is the adapter's own, with which it was trained",)


def test_a_full_disk_leaves_nothing(tmp_path, base, monkeypatch):
    peft_adapter(tmp_path / "adapter", base)

    def full(file, data):
        raise OSError(28, "full")

    monkeypatch.setattr(tensor_stream, "write_all", full)
    with pytest.raises(ResultError, match="cannot write"):
        merge_adapter(str(base), str(tmp_path / "adapter"), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]
