"""What a model does between the two factors: seen by its tensors, known by its type, or unknown."""

import numpy as np
import pytest
from head_models import NAMES, NUMPY, TOL, attention, config_of, named, rows_of
from weightfiles import model_files, write_gguf

from mlx_probe.analysis.side_tables.heads.families import FAMILIES, GGUF_FAMILIES, family_of
from mlx_probe.analysis.side_tables.heads.rows import head_rows
from mlx_probe.checkpoint import Architecture, open_checkpoint

MODULE = "model.layers.0.self_attn"
NORMED = "norm of queries or keys"


def small(rng):
    return named(attention(rng, 4, 2, 8, 32))


def said(rows):
    """(qk_norm, left_out) of each circuit that has numbers."""
    return {r["circuit"]: (r["qk_norm"], r["left_out"]) for r in rows if r["status"] == "ok"}


def config(model_type, **more):
    return {**config_of(4, 2, 8, 32), "model_type": model_type, "num_hidden_layers": 1, **more}


# Tensors beside the projections (name: shape), and what is said of the QK and the OV circuit.
TENSORS = {
    "Qwen 3": ({"q_norm.weight": (8,)}, NORMED, None),
    "StableLM, one norm for each head": ({"q_layernorm.norms.0.weight": (8,)}, NORMED, None),
    "BitNet": ({"attn_sub_norm.weight": (32,)}, None, "norm before W_o"),
    "Kosmos": ({"inner_attn_ln.weight": (32,)}, None, "norm before W_o"),
    "a gate": ({"gate_proj.weight": (32, 32)}, None, "gate before W_o"),
    "Baichuan M1": ({"conv_k": (1, 1, 2, 1, 2)}, "convolution over tokens", None),
    "sinks": ({"sinks": (4,)}, None, None),
    "biases": ({"q_proj.bias": (32,), "o_proj.bias": (32,)}, None, None),
    "buffers": ({"rotary_emb.cos_cached": (4, 8), "causal_mask": (4, 4)}, None, None),
    "an indexer": ({"indexer.k_norm.weight": (8,)}, None, None),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_beside_the_projections_say_it(rng, case):
    tensors, qk, ov = TENSORS[case]
    extra = {f"{MODULE}.{name}": np.ones(shape) for name, shape in tensors.items()}
    found = said(rows_of(small(rng) | extra, config("llama")))
    if case == "Baichuan M1":  # the kernel of the keys is not told from that of the values
        ov = qk
    assert found == {"qk": (qk == NORMED, qk), "ov": (False, ov)}


# Model type and settings, and what is said of the two circuits without any tensor.
TYPES = {
    "NanoChat": (config("nanochat"), NORMED, None),
    "Llama 4": (config("llama4_text", use_qk_norm=True), NORMED, None),
    "Llama 4, by default": (config("llama4_text"), NORMED, None),
    "Llama 4 without norm": (config("llama4_text", use_qk_norm=False), None, None),
    "Llama 4 without rotation": (config("llama4_text", no_rope_layers=[0]), None, None),
    "Gemma 2": (config("gemma2", attn_logit_softcapping=50.0), "soft cap of scores", None),
    "Gemma 4": (config("gemma4_text"), None, "norm of values"),
    "OLMo": (config("olmo", clip_qkv=8), *["clipped queries, keys and values"] * 2),
    "OLMo without clipping": (config("olmo", clip_qkv=None), None, None),
    "the first Qwen": (config("qwen", use_logn_attn=True), "temperature by position", None),
    "Ministral 3": (
        config("ministral3", rope_parameters={"llama_4_scaling_beta": 0.1}),
        "temperature by position",
        None,
    ),
}


@pytest.mark.parametrize("case", TYPES)
def test_model_types_say_what_has_no_tensor(rng, case):
    settings, qk, ov = TYPES[case]
    assert said(rows_of(small(rng), settings)) == {"qk": (qk == NORMED, qk), "ov": (False, ov)}


def test_a_model_type_that_is_not_listed_is_called_unknown(rng):
    arrays = small(rng)
    unknown = "unknown (model type 'llama9' is not listed)"
    assert said(rows_of(arrays, config("llama9"))) == {
        "qk": (None, unknown),
        "ov": (False, unknown),
    }
    arrays[f"{MODULE}.k_norm.weight"] = np.ones(8)
    assert said(rows_of(arrays, config("llama9")))["qk"] == (True, f"{NORMED}, {unknown}")


# Tensor, configuration, and the circuits that are skipped with what reason.
SKIPPED = {
    "an unknown tensor": ("mystery.weight", config("llama"), {"qk", "ov"}, "no rule knows"),
    "linear attention": ("A_log", config("kimi_linear"), {"qk", "ov"}, "linear attention"),
    "pairs of value heads": (
        "q_proj.bias",
        config("diffllama"),
        {"ov"},
        "differential attention",
    ),
    "keys of an earlier layer": (
        "q_proj.bias",
        config("gemma3n_text", num_kv_shared_layers=1),
        {None},
        "an earlier layer",
    ),
}


@pytest.mark.parametrize("case", SKIPPED)
def test_what_is_no_product_is_skipped(rng, case):
    name, settings, circuits, reason = SKIPPED[case]
    rows = rows_of(small(rng) | {f"{MODULE}.{name}": np.ones(32)}, settings)
    skipped = [row for row in rows if row["status"] == "skipped"]
    assert {row.get("circuit") for row in skipped} == circuits
    assert all(reason in row["status_reason"] for row in skipped)


def test_tensors_of_other_modules_do_not_matter(rng):
    extra = {
        "model.layers.0.mlp.mystery.weight": np.ones(8),
        "model.layers.0.cross_attn.q_norm.weight": np.ones(8),
        "model.layers.1.self_attn.q_norm.weight": np.ones(8),
    }
    assert said(rows_of(small(rng) | extra, config("llama"))) == {
        "qk": (False, None),
        "ov": (False, None),
    }


def test_the_attention_of_recurrent_gemma_has_heads(rng):
    arrays = {
        name.replace("self_attn", "temporal_block"): array for name, array in small(rng).items()
    }
    rows = rows_of(arrays, config("recurrent_gemma"))
    assert {row["component"] for row in rows} == {"attention"}
    assert len(rows) == 8


@pytest.mark.parametrize(
    ("architecture", "tensors", "settings", "qk", "ov"),
    [
        ("llama", {}, {}, None, None),
        ("qwen3", {"attn_q_norm": (8,)}, {}, NORMED, None),
        ("bitnet", {"attn_sub_norm": (32,)}, {}, None, "norm before W_o"),
        ("llama4", {}, {"expert_count": 16}, NORMED, None),
        ("llama4", {}, {"expert_count": 128}, None, None),
        ("gemma3n", {"attn_q_norm": (8,)}, {}, NORMED, "norm of values"),
        ("gemma2", {}, {"attn_logit_softcapping": 50}, "soft cap of scores", None),
        ("tomorrow", {}, {}, *["unknown (model type 'tomorrow' is not listed)"] * 2),
    ],
)
def test_gguf_says_the_same(tmp_path, rng, architecture, tensors, settings, qk, ov):
    names = dict(zip("qkvo", ("attn_q", "attn_k", "attn_v", "attn_output"), strict=True))
    arrays = {names[kind]: matrix for kind, matrix in attention(rng, 4, 2, 8, 32).items()}
    # What is not attention does not matter.
    arrays |= {"attn_norm": np.ones(32), "ffn_norm": np.ones(32)}
    arrays |= {name: np.ones(shape) for name, shape in tensors.items()}
    path = write_gguf(
        tmp_path / "m.gguf",
        {f"blk.0.{n}.weight": (a.astype(np.float32), "F32") for n, a in arrays.items()},
        architecture=architecture,
        **{
            f"{architecture}.{key}": value
            for key, value in {
                **{"attention.head_count": 4, "attention.head_count_kv": 2},
                **{"embedding_length": 32, "block_count": 1},
                **settings,
            }.items()
        },
    )
    with open_checkpoint(model_files(path)) as checkpoint:
        rows = list(head_rows(checkpoint.weights(), checkpoint.architecture, NUMPY, TOL))
    known = architecture != "tomorrow"
    assert said(rows) == {"qk": (qk == NORMED if known else None, qk), "ov": (False, ov)}


def test_every_listed_family_is_found_by_its_name():
    for name, family in FAMILIES.items():
        assert family_of(Architecture(model_type=name)) is family
        assert family_of(Architecture(model_type=f"{name}_text")) is family
    for name, family in GGUF_FAMILIES.items():
        assert family_of(Architecture(model_type=name, flags=frozenset({"gguf"}))) is family


def test_heads_of_an_unlisted_fused_matrix_say_why_it_is_not_split(rng):
    arrays = small(rng)
    fused = np.vstack([arrays.pop(NAMES[kind]) for kind in "qkv"])
    (row,) = rows_of({f"{MODULE}.qkv_proj.weight": fused} | arrays, config("phi9"))
    assert row["status"] == "skipped"
    assert row["status_reason"] == (
        "qkv_proj is fused, and this version has no layout for model type 'phi9'"
    )
