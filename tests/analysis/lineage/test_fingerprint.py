"""What is sampled: the same positions in every model, the values of the whole weight."""

import json

import lineage_models as models
import numpy as np
import pytest
from hub_server import hub  # noqa: F401  a fixture
from lineage_models import fingerprint, packed, written
from tiny_llm import make_model, make_tokenizer
from weightfiles import write_safetensors

from mlx_probe.analysis.lineage import LineageConfig, relate
from mlx_probe.analysis.lineage.positions import BLOCK, chosen, sampled_rows
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.core.errors import ConfigError, PackingError

SMALL = LineageConfig(elements=2048, deep_rows=32, deep_layers=1, token_rows=64)


def test_a_larger_sample_holds_a_smaller_one():
    for rows in (100, 1000, 11008):
        few, many = sampled_rows(rows, 32, 0), sampled_rows(rows, 96, 0)
        assert set(few) <= set(many)
        assert len(few) >= 32 - BLOCK
        assert (np.diff(few) > 0).all()
    assert not np.array_equal(sampled_rows(1000, 32, 0), sampled_rows(1000, 32, 1))


def test_rows_stay_where_tokens_are_added():
    before, after = (set(sampled_rows(rows, 256, 0)) for rows in (32000, 32064))
    assert len(before & after) >= 240


def test_layers_stay_where_some_are_cut():
    assert chosen(range(20), 5, 0) & set(range(10)) <= chosen(range(10), 5, 0)


@pytest.mark.parametrize("kind", ["plain", "packed"])
def test_values_are_those_of_the_whole_weight(tmp_path, kind):
    make = written if kind == "plain" else packed
    folder = make(tmp_path / "model", models.base())
    sampled = {each.named.name: each for each in fingerprint(folder, SMALL).sampled}
    with open_checkpoint(str(folder)) as checkpoint:
        weights = checkpoint.weights()
        assert {weight.name for weight in weights} == sampled.keys()
        for weight in weights:
            whole = np.concatenate(list(weight.values()), axis=0 if weight.tall else -1)
            one = sampled[weight.name]
            whole = whole.reshape(weight.extents)
            assert np.array_equal(one.values, whole[one.rows])
    assert any(not each.complete for each in sampled.values())


def test_gguf_has_its_rows_in_another_order(tmp_path):
    """llama.cpp interleaves the rotary halves of query and key heads: it is the same model."""
    from mlx_probe.lab.export.gguf import export_gguf

    model = make_model(tmp_path / "model", make_tokenizer(tmp_path / "tokenizer"))
    export_gguf(str(model), tmp_path / "model.gguf", "f32")
    relation = relate(fingerprint(model), fingerprint(tmp_path / "model.gguf"))
    assert (relation.relation, relation.probability) == ("same", 1.0)


def test_what_is_no_model_is_refused(tmp_path):
    from lora_adapters import peft_adapter

    model = make_model(tmp_path / "model", make_tokenizer(tmp_path / "tokenizer"))
    peft_adapter(tmp_path / "adapter", model)
    with pytest.raises(ConfigError, match="is an adapter"):
        fingerprint(tmp_path / "adapter")
    write_safetensors(tmp_path / "x.safetensors", {"ids": (np.arange(64), "I64")})
    with pytest.raises(ConfigError, match="nothing of it can be compared"):
        fingerprint(tmp_path / "x.safetensors")


def test_weights_with_nan_are_left_out(tmp_path):
    arrays = models.base()
    spoilt = dict(arrays)
    name = "model.layers.0.self_attn.q_proj.weight"
    spoilt[name] = np.full_like(arrays[name], np.nan)
    one = fingerprint(written(tmp_path / "one", arrays))
    other = fingerprint(written(tmp_path / "other", spoilt))
    assert other.left_out == {name: "NaN or Inf in it"}
    relation = relate(one, other)
    assert relation.probability < 1
    assert relation.sample["left_out"] == [0, 1]


@pytest.mark.parametrize("kind", ["plain", "packed"])
def test_a_remote_model_is_read_by_ranges(tmp_path, hub, kind):  # noqa: F811
    """The same values as from this disk, and a part of the bytes."""
    rng, wide = np.random.default_rng(0), 2048
    arrays = {
        f"model.layers.{layer}.self_attn.q_proj.weight": rng.standard_normal(
            (512, wide), np.float32
        )
        for layer in range(2)
    }
    arrays["model.norm.weight"] = np.ones(wide, np.float32)
    make = written if kind == "plain" else packed
    folder = make(tmp_path / "model", arrays)
    hub.repos["owner/name"] = {"main": {p.name: p.read_bytes() for p in folder.iterdir()}}
    settings = LineageConfig(elements=4096, deep_rows=32, deep_layers=1)
    here, there = fingerprint(folder, settings), fingerprint("owner/name", settings, remote=True)
    for one, other in zip(here.sampled, there.sampled, strict=True):
        assert one.named == other.named
        assert np.array_equal(one.values, other.values)
    size = (folder / "model.safetensors").stat().st_size
    sent = hub.sent["model.safetensors"]
    assert there.read_bytes <= sent == there.fetched_bytes < size / 4
    assert relate(here, there).relation == "same"


def test_a_packing_that_spreads_its_rows_is_refused_remotely(tmp_path, hub, monkeypatch):  # noqa: F811
    """GPTQ's rows are spread over the whole tensor; what is small is fetched whole."""
    rng = np.random.default_rng(0)
    rows, cols, group = 64, 128, 64
    name = "model.layers.0.self_attn.q_proj"
    arrays = {
        f"{name}.qweight": (rng.integers(0, 2**31, (cols // 8, rows), np.int32), "I32"),
        f"{name}.qzeros": (rng.integers(0, 2**31, (cols // group, rows // 8), np.int32), "I32"),
        f"{name}.scales": (rng.random((cols // group, rows)).astype("f2"), "F16"),
        f"{name}.g_idx": ((np.arange(cols) // group).astype(np.int32), "I32"),
        "model.norm.weight": (np.ones(rows, np.float32), "F32"),
    }
    folder = tmp_path / "model"
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", arrays)
    method = {"quant_method": "gptq", "bits": 4, "group_size": group, "desc_act": False}
    (folder / "config.json").write_text(json.dumps({"quantization_config": method}))
    hub.repos["owner/name"] = {"main": {p.name: p.read_bytes() for p in folder.iterdir()}}
    here, there = fingerprint(folder), fingerprint("owner/name", remote=True)
    assert np.array_equal(here.sampled[0].values, there.sampled[0].values)
    monkeypatch.setattr("mlx_probe.analysis.lineage.fingerprint._MOST_SPREAD", 1000)
    left = fingerprint("owner/name", remote=True).left_out
    assert "too much over the network" in left[f"{name}.weight"]
    monkeypatch.setattr("mlx_probe.checkpoint.ranged.MOST_WHOLE", 1000)
    with open_checkpoint("owner/name", remote=True) as checkpoint:
        weight = checkpoint.remote_weights()[0]
        with pytest.raises(PackingError, match="cannot be read without 4096 bytes"):
            weight.block(0, 16)
