"""Extracted adapters in the hands of PEFT, transformers and mlx-lm.

A LoRA is merged by PEFT itself; the adapter that is extracted from base and merged model has the
change to 1e-3 and less, and base with adapter says what the merged model says: in PEFT, and in
mlx-lm where it knows the model. GPT-2 has its Conv1D, Phi-3 fused projections, Mixtral experts,
two of the models an output head of their own.
"""

import json

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from lora_adapters import RANK
from safetensors.numpy import load_file, save_file

import mlx_probe
from mlx_probe.lab.extract_lora.extract import extract_lora

TOKENS = [3, 17, 200, 5, 91, 44, 26, 8]
SIZES = {"vocab_size": 256, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
WIDE = {**SIZES, "intermediate_size": 48, "num_key_value_heads": 2}
# As published models say it, and mlx-lm wants it.
ROTARY = {"rotary_pct": 0.25, "rotary_emb_base": 10000}
# By name: the configuration of transformers, and what PEFT changes.
CASES = {
    "llama": ("LlamaConfig", WIDE, ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]),
    "llama, with its head and embeddings": (
        "LlamaConfig", {**WIDE, "tie_word_embeddings": False},
        ["q_proj", "up_proj", "lm_head", "embed_tokens"],
    ),
    "qwen3": ("Qwen3Config", {**WIDE, "head_dim": 8}, ["q_proj", "gate_proj", "up_proj"]),
    "gpt2": (
        "GPT2Config", {"vocab_size": 256, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_ctx": 64},
        ["c_attn", "c_proj", "c_fc"],
    ),
    "phi3": ("Phi3Config", {**WIDE, "pad_token_id": 0}, ["qkv_proj", "o_proj", "gate_up_proj"]),
    "gpt_neox": (
        "GPTNeoXConfig", {**SIZES, "intermediate_size": 128},
        ["query_key_value", "dense", "dense_h_to_4h"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def peft(torch):
    pytest.importorskip("transformers")
    return pytest.importorskip("peft", reason="peft is in the referees extra")


def made(folder, name, settings):
    """A model of transformers with random weights, large enough to say something."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, name)(**settings, bos_token_id=1, eos_token_id=2)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return saved(model, folder)


def saved(model, folder):
    """A model's folder, as models of its type were published and as mlx-lm reads them."""
    model.save_pretrained(folder)
    if model.config.model_type == "gpt2":
        path = folder / "model.safetensors"
        arrays = {name.removeprefix("transformer."): x for name, x in load_file(path).items()}
        save_file(arrays, path, {"format": "pt"})
    if model.config.model_type == "gpt_neox":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | ROTARY))
    return folder


def loaded(folder):
    import torch
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def merged_by_peft(folder, base, peft, modules, **settings):
    """A random LoRA of a base, merged by PEFT."""
    import torch

    config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=modules, **settings)
    model = peft.get_peft_model(loaded(base), config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) / 4)
            elif "modules_to_save" in name:
                parameter.mul_(1.25)
    return saved(model.merge_and_unload(), folder)


def said(model):
    import torch

    with torch.no_grad():
        return model(torch.tensor([TOKENS])).logits[0].double().numpy()


def said_by_mlx(folder, adapter=None):
    utils = mlx_lm("utils")
    with mx.stream(mx.cpu):
        model, _ = utils.load_model(folder)
        if adapter is not None:
            model = utils.load_adapters(model, str(adapter))
        model.eval()
        return np.array(model(mx.array([TOKENS]))[0].astype(mx.float32), np.float64)


@pytest.mark.parametrize("case", CASES)
def test_the_same_logits(tmp_path, peft, case):
    name, settings, modules = CASES[case]
    base = made(tmp_path / "base", name, settings)
    merged = merged_by_peft(tmp_path / "merged", base, peft, modules)
    want = said(loaded(merged))
    size = np.abs(want).max()
    assert np.abs(want - said(loaded(base))).max() > 0.1 * size
    run = extract_lora(base, merged, rank=RANK, out=tmp_path / "out")
    extraction = run.meta["extraction"]
    assert extraction["left_out"] == extraction["unknown"] == 0
    assert extraction["error"] < 1e-5
    for made_adapter in extraction["adapters"].values():
        assert made_adapter["error"] < 1e-5
    adapted = peft.PeftModel.from_pretrained(loaded(base), run.folder / "adapter" / "peft")
    assert np.abs(said(adapted.eval()) - want).max() < 1e-3
    unloaded = adapted.merge_and_unload()
    assert np.abs(said(unloaded) - want).max() < 1e-3
    plain = said_by_mlx(merged)
    got = said_by_mlx(base, run.folder / "adapter" / "mlx-lm")
    assert np.abs(got - plain).max() < 1e-3
    assert np.abs(got - said_by_mlx(base)).max() > 0.1 * np.abs(plain).max()


def test_experts_are_for_mlx_lm(tmp_path, torch, peft):
    base = made(tmp_path / "base", "MixtralConfig", {**WIDE, "num_local_experts": 4})
    model = loaded(base)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "experts" in name and parameter.dim() == 3:
                shape = parameter.shape
                left = torch.randn(shape[0], shape[1], 2)
                parameter.add_(left @ torch.randn(shape[0], 2, shape[2]) / 4)
            if "q_proj" in name:
                parameter.add_(torch.outer(torch.randn(len(parameter)), torch.randn(32)) / 4)
    model.save_pretrained(tmp_path / "tuned")
    run = extract_lora(base, tmp_path / "tuned", rank=4, out=tmp_path / "out")
    rows = mlx_probe.load_side_table(run, "adapter")
    experts = rows[(rows.component == "moe") & (rows.change_norm > 0)]
    assert len(experts) == 2 * 4 * 3
    assert set(experts.mlx_lm) == {"lora"}
    assert experts.peft.isna().all()
    assert experts.status_reason.str.contains("PEFT has no LoRA of one expert").all()
    got = said_by_mlx(base, run.folder / "adapter" / "mlx-lm")
    assert np.abs(got - said_by_mlx(tmp_path / "tuned")).max() < 1e-3
    made_adapters = run.meta["extraction"]["adapters"]
    assert made_adapters["mlx_lm"]["error"] < 1e-5
    assert made_adapters["peft"]["error"] > 0.5
    # What PEFT has of it loads.
    peft.PeftModel.from_pretrained(loaded(base), run.folder / "adapter" / "peft")


def test_norms_are_stored_whole(tmp_path, peft):
    base = made(tmp_path / "base", "LlamaConfig", WIDE)
    merged = merged_by_peft(
        tmp_path / "merged", base, peft, ["q_proj"], modules_to_save=["input_layernorm", "norm"]
    )
    run = extract_lora(base, merged, rank=RANK, out=tmp_path / "out", modules_to_save=True)
    adapted = peft.PeftModel.from_pretrained(loaded(base), run.folder / "adapter" / "peft")
    want = said(loaded(merged))
    assert np.abs(said(adapted.eval()) - want).max() < 1e-3
    assert run.meta["extraction"]["adapters"]["peft"]["error"] < 1e-5
    plain = extract_lora(base, merged, rank=RANK, out=tmp_path / "plain")
    assert plain.meta["extraction"]["adapters"]["peft"]["error"] > 1e-2
    assert plain.meta["extraction"]["left_out"] == 5


def test_ranks_that_differ_are_read_by_peft(tmp_path, peft):
    base = made(tmp_path / "base", "LlamaConfig", WIDE)
    merged = merged_by_peft(
        tmp_path / "merged", base, peft, ["q_proj", "down_proj"], rank_pattern={"down_proj": 5},
    )  # fmt: skip
    run = extract_lora(base, merged, energy=1 - 1e-9, out=tmp_path / "out")
    assert run.meta["extraction"]["ranks"] == {str(RANK): 2, "5": 2}
    config = json.loads((run.folder / "adapter" / "peft" / "adapter_config.json").read_text())
    assert len(config["rank_pattern"]) == 2
    adapted = peft.PeftModel.from_pretrained(loaded(base), run.folder / "adapter" / "peft")
    assert np.abs(said(adapted.eval()) - said(loaded(merged))).max() < 1e-3
