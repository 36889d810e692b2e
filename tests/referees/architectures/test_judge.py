"""The judge itself: a wrong layout, a wrong half and an unlisted norm are noticed."""

import pytest

from mlx_probe.analysis.side_tables.heads.families import FAMILIES, Family
from mlx_probe.checkpoint.layouts import GATE_UP, QKV, GateUp, Qkv
from referees.architectures.outcomes import WRONG, outcomes

pytestmark = pytest.mark.slow

LAYOUTS = {
    ("GPTNeoXForCausalLM", "gpt_neox"): Qkv("matrix"),
    ("BloomForCausalLM", "bloom"): Qkv("matrix"),
    ("Phi3ForCausalLM", "phi3"): Qkv("group"),
    ("MptForCausalLM", "mpt"): Qkv("head"),
    ("GPT2LMHeadModel", "gpt2"): Qkv("matrix", ("v_proj", "k_proj", "q_proj")),
    ("CodeGenForCausalLM", "codegen"): Qkv("shard", ("q_proj", "k_proj", "v_proj"), 4),
}


def test_a_wrong_layout_is_noticed(tmp_path, monkeypatch):
    for (architecture, model_type), layout in LAYOUTS.items():
        monkeypatch.setitem(QKV, model_type, ((None, layout),))
        found = outcomes(architecture, {}, tmp_path)
        assert found.circuits == {"qk": {WRONG}, "ov": {WRONG}}, model_type


def test_a_gate_in_the_wrong_half_is_noticed(tmp_path, monkeypatch):
    for model_type in ("phi3", "glm"):
        monkeypatch.setitem(GATE_UP, model_type, GateUp(("up_proj", "gate_proj")))
        assert outcomes(f"{model_type.title()}ForCausalLM", {}, tmp_path).gates == {WRONG}


def test_what_a_family_does_without_tensors_is_noticed_if_it_is_not_listed(tmp_path, monkeypatch):
    for architecture, model_type, circuit in (
        ("NanoChatForCausalLM", "nanochat", "qk"),
        ("DiffLlamaForCausalLM", "diffllama", "ov"),
        ("Gemma4ForCausalLM", "gemma4", "ov"),
    ):
        monkeypatch.setitem(FAMILIES, model_type, Family())
        found = outcomes(architecture, {"num_key_value_heads": 4}, tmp_path)
        assert WRONG in found.circuits[circuit], model_type
