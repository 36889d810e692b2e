"""Where changes go: stacks and single experts, fused and transposed matrices, and refusals."""

import json

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from mlx.utils import tree_flatten
from models import invoke, refuses
from pairs import saved
from safetensors.numpy import load_file

import mlx_probe
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.lab.extract_lora.extract import extract_lora
from mlx_probe.lab.extract_lora.mlx_places import mlx_places
from mlx_probe.lab.extract_lora.peft_places import peft_place
from mlx_probe.lab.extract_lora.places import EMBEDDING, LINEAR, SWITCH, Place, Refusal
from mlx_probe.source import resolve

RNG = np.random.default_rng(0)
MIXTRAL = {
    "model_type": "mixtral", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24,
    "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
    "num_local_experts": 3, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "n_ctx": 32, "n_embd": 16, "n_head": 2, "n_layer": 1,
    "n_positions": 32, "layer_norm_epsilon": 1e-5, "vocab_size": 40,
}  # fmt: skip


def random(*shape):
    return (RNG.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def mixtral():
    arrays = {
        "model.embed_tokens.weight": random(40, 16), "lm_head.weight": random(40, 16),
        "model.norm.weight": np.ones(16, np.float32),
    }  # fmt: skip
    layer = "model.layers.0"
    for name in ("input_layernorm", "post_attention_layernorm"):
        arrays[f"{layer}.{name}.weight"] = np.ones(16, np.float32)
    for name, rows in {"q": 16, "k": 8, "v": 8, "o": 16}.items():
        arrays[f"{layer}.self_attn.{name}_proj.weight"] = random(rows, 16)
    arrays[f"{layer}.block_sparse_moe.gate.weight"] = random(3, 16)
    for expert in range(3):
        where = f"{layer}.block_sparse_moe.experts.{expert}"
        arrays |= {f"{where}.w{n}.weight": random(*s) for n, s in
                   ((1, (24, 16)), (2, (16, 24)), (3, (24, 16)))}  # fmt: skip
    return arrays


def gpt2():
    arrays = {"wte.weight": random(40, 16), "wpe.weight": random(32, 16)}
    for norm in ("ln_f", "h.0.ln_1", "h.0.ln_2"):
        arrays |= {f"{norm}.weight": np.ones(16, np.float32), f"{norm}.bias": random(16)}
    shapes = {"attn.c_attn": (16, 48), "attn.c_proj": (16, 16), "mlp.c_fc": (16, 64),
              "mlp.c_proj": (64, 16)}  # fmt: skip
    for name, shape in shapes.items():
        arrays |= {f"h.0.{name}.weight": random(*shape), f"h.0.{name}.bias": random(shape[1])}
    return arrays


def changed(arrays, names, rank=2):
    """The same with a change of a low rank in some tensors."""
    arrays = dict(arrays)
    for name in names:
        rows, cols = arrays[name].shape
        arrays[name] = arrays[name] + 0.3 * random(rows, rank) @ random(rank, cols)
    return arrays


def logits(folder, adapter=None):
    utils = mlx_lm("utils")
    with mx.stream(mx.cpu):
        model, _ = utils.load_model(folder)
        if adapter is not None:
            model = utils.load_adapters(model, str(adapter))
        model.eval()
        return np.array(model(mx.array([[3, 17, 20, 5, 9, 1]]))[0], np.float64)


@pytest.mark.parametrize(
    ("arrays", "config", "names"),
    [
        (mixtral(), MIXTRAL, [n for n in mixtral() if ".experts." in n and "1.w2" not in n]),
        (mixtral(), MIXTRAL, ["lm_head.weight", "model.embed_tokens.weight"]),
        (gpt2(), GPT2, [n for n in gpt2() if ".c_" in n and n.endswith("weight")]),
    ],
    ids=["experts", "head and embeddings", "conv1d"],
)
def test_mlx_lm_says_what_the_changed_model_says(tmp_path, arrays, config, names):
    """Some experts only; tables of their own; matrices that are stored transposed, one square."""
    base = saved(tmp_path / "base", arrays, config)
    tuned = saved(tmp_path / "tuned", changed(arrays, names), config)
    run = extract_lora(base, tuned, rank=3, out=tmp_path / "out")
    rows = mlx_probe.load_side_table(run, "adapter").set_index("param_name")
    assert set(rows.mlx_lm[names]) == {"lora"}
    assert run.meta["extraction"]["adapters"]["mlx_lm"]["error"] < 1e-5
    want = logits(tuned)
    assert np.abs(want - logits(base)).max() > 1e-2
    assert np.abs(logits(base, run.folder / "adapter" / "mlx-lm") - want).max() < 1e-4


def test_the_factors_of_a_conv1d_in_peft(tmp_path):
    """PEFT's factors map inputs to outputs, however the file holds the matrix."""
    arrays = gpt2()
    names = ["h.0.attn.c_proj.weight", "h.0.mlp.c_fc.weight"]
    after = changed(arrays, names)
    base = saved(tmp_path / "base", arrays, GPT2)
    run = extract_lora(base, saved(tmp_path / "tuned", after, GPT2), rank=2, out=tmp_path / "out")
    folder = run.folder / "adapter" / "peft"
    assert json.loads((folder / "adapter_config.json").read_text())["fan_in_fan_out"]
    stored = load_file(folder / "adapter_model.safetensors")
    for name in names:
        module = f"base_model.model.transformer.{name.removesuffix('.weight')}"
        a, b = stored[f"{module}.lora_A.weight"], stored[f"{module}.lora_B.weight"]
        np.testing.assert_allclose((b @ a).T, after[name] - arrays[name], atol=1e-6)


def weights_of(folder):
    with open_checkpoint(resolve(str(folder))) as checkpoint:
        places = mlx_places(checkpoint)
        return checkpoint, places, {w.label: w for w in checkpoint.weights() if w.part is None}


def test_places_of_a_mixture(tmp_path):
    base, places, weights = weights_of(saved(tmp_path / "base", mixtral(), MIXTRAL))
    layer = "model.layers.0"
    moe = f"{layer}.block_sparse_moe"
    expected = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
    for expert in range(3):
        for own, name in expected.items():
            weight = weights[f"{moe}.experts.{expert}.{own}.weight"]
            module = f"{moe}.switch_mlp.{name}"
            assert places.of(weight) == Place(module, SWITCH, False, expert, 3)
            refused = peft_place(weight, base, False)
            assert isinstance(refused, Refusal)
            assert "PEFT has no LoRA of one expert" in refused.reason
    query = weights[f"{layer}.self_attn.q_proj.weight"]
    assert places.of(query) == Place(f"{layer}.self_attn.q_proj", LINEAR)
    assert peft_place(query, base, False) == Place(f"{layer}.self_attn.q_proj", LINEAR)
    table = weights["model.embed_tokens.weight"]
    assert places.of(table) == peft_place(table, base, False)
    assert peft_place(table, base, False) == Place("model.embed_tokens", EMBEDDING)
    router = peft_place(weights[f"{moe}.gate.weight"], base, False)
    assert "no nn.Linear is known for moe, router" in getattr(router, "reason", "")


def test_square_matrices_that_are_transposed_are_seen(tmp_path):
    base, places, weights = weights_of(saved(tmp_path / "base", gpt2(), GPT2))
    square = weights["h.0.attn.c_proj.weight"]
    assert places.of(square) == Place("model.h.0.attn.c_proj", LINEAR, transposed=True)
    assert peft_place(square, base, False) == Place(
        "transformer.h.0.attn.c_proj", LINEAR, transposed=True
    )
    assert places.of(weights["wte.weight"]) == Place("model.wte", EMBEDDING)
    assert "shares its values" in getattr(
        peft_place(weights["wte.weight"], base, False), "reason", ""
    )


def test_nothing_of_the_model_is_computed(tmp_path):
    """Only shapes of mlx-lm's model are used: its tensors have none of the file's memory."""
    config = {**MIXTRAL, "hidden_size": 4096, "vocab_size": 200_000, "num_hidden_layers": 2}
    model = mlx_lm("models.mixtral")
    with mx.stream(mx.cpu):
        whole = model.Model(model.ModelArgs.from_dict(config))
        before = mx.get_active_memory()
        shapes = [array.shape for _, array in tree_flatten(whole.parameters())]
        assert (200_000, 4096) in shapes
        assert mx.get_active_memory() - before < 1 << 20


def test_a_model_that_mlx_lm_does_not_know(tmp_path):
    arrays = {k: v for k, v in mixtral().items() if "moe" not in k}
    config = {**MIXTRAL, "model_type": "of_tomorrow"}
    base = saved(tmp_path / "base", arrays, config)
    name = "model.layers.0.self_attn.q_proj.weight"
    tuned = saved(tmp_path / "tuned", changed(arrays, [name]), config)
    run = extract_lora(base, tuned, rank=2, out=tmp_path / "out")
    said = run.meta["extraction"]["adapters"]
    assert (said["mlx_lm"], said["peft"]["tensors"]) == (None, 1)
    assert [path.name for path in (run.folder / "adapter").iterdir()] == ["peft"]
    rows = mlx_probe.load_side_table(run, "adapter").set_index("param_name")
    assert "mlx-lm does not know the model" in rows.status_reason[name]


def test_what_has_no_place_counts_in_the_error(tmp_path):
    """A bias, a norm and a larger vocabulary beside one query."""
    arrays = {k: v for k, v in mixtral().items() if "moe" not in k}
    config = {**MIXTRAL, "model_type": "llama"}
    query, norm = "model.layers.0.self_attn.q_proj.weight", "model.norm.weight"
    bias = "model.layers.0.self_attn.q_proj.bias"
    arrays[bias] = random(16)
    after = changed(arrays, [query])
    after |= {norm: arrays[norm] * 1.5, bias: arrays[bias] + 1}
    after["lm_head.weight"] = random(44, 16)
    base = saved(tmp_path / "base", arrays, config)
    run = extract_lora(base, saved(tmp_path / "tuned", after, config), rank=2, out=tmp_path / "o")
    rows = mlx_probe.load_side_table(run, "adapter").set_index("param_name")
    assert list(rows.status[[query, norm, bias, "lm_head.weight"]]) == [
        "ok", "left_out", "left_out", "unknown",
    ]  # fmt: skip
    assert rows.status_reason["lm_head.weight"].startswith("reshaped: 40 x 16 in A")
    lost = 16 * 0.25 + 16.0
    whole = lost + np.linalg.norm(after[query].astype("f8") - arrays[query]) ** 2
    for made in run.meta["extraction"]["adapters"].values():
        assert made["error"] == pytest.approx(np.sqrt(lost / whole), rel=1e-5)
    assert (run.meta["extraction"]["left_out"], run.meta["extraction"]["unknown"]) == (2, 1)


def test_bases_that_no_adapter_is_for(tmp_path):
    arrays = mixtral()
    base = saved(tmp_path / "base", arrays, MIXTRAL)
    lora = tmp_path / "lora"
    extract_lora(
        base,
        saved(tmp_path / "tuned", changed(arrays, ["lm_head.weight"]), MIXTRAL),
        rank=1, out=tmp_path / "out",
    )  # fmt: skip
    lora = tmp_path / "out" / "adapter" / "peft"
    result = invoke("compare", lora, lora, "--extract-lora", 1, "--out", tmp_path / "x")
    refuses(result, "is an adapter", code=2)
    assert not (tmp_path / "x").exists()
