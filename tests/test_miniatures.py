"""Small models of the families with the most special layouts, written as on the Hub.

The networks are transformers' own, so that their parameter counts come from elsewhere.
"""

import json

import mlx.core as mx
import numpy as np
import pytest
import torch
from lab import transformers
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig

LAYERS, EXPERTS = 3, 4
SIZES = {
    "vocab_size": 160,
    "hidden_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "tie_word_embeddings": False,
}


def words(tensor):
    """A tensor as stored words and the name of their type."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.float32:
        return tensor.numpy(), "F32"
    kind = {torch.bfloat16: "BF16", torch.float8_e4m3fn: "F8_E4M3"}[tensor.dtype]
    return tensor.view(torch.uint16 if kind == "BF16" else torch.uint8).numpy(), kind


def saved(model, folder):
    """The tensors as transformers writes them to disk, by their names there."""
    model.save_pretrained(folder)
    tensors = {}
    for path in folder.glob("*.safetensors"):
        from safetensors.torch import load_file

        tensors |= load_file(path)
        path.unlink()
    return tensors


def analyzed(folder, arrays):
    write_safetensors(folder / "model.safetensors", arrays)
    config = AnalyzeConfig(backend="numpy")
    run = mlx_probe.analyze(folder, out=folder / "out", config=config)
    assert run.passed, run.failures
    frame = run.load()
    assert set(frame.status) == {"ok"}
    assert "other" not in set(frame.block_type)
    assert "quantization" not in set(frame.block_type)
    return frame


def elements(frame):
    return int(frame[frame.part.isna()].numel.sum())


def block_scaled(matrix):
    """DeepSeek-V3's files: 8-bit floats with a float32 scale for every 128 x 128."""
    rows, cols = (-(-extent // 128) for extent in matrix.shape)
    scales = torch.zeros(rows, cols)
    codes = torch.zeros(matrix.shape).to(torch.float8_e4m3fn)
    for i in range(rows):
        for j in range(cols):
            part = np.s_[i * 128 : (i + 1) * 128, j * 128 : (j + 1) * 128]
            scales[i, j] = matrix[part].abs().max() / 448
            codes[part] = (matrix[part].float() / scales[i, j]).to(torch.float8_e4m3fn)
    back = (
        codes.float()
        * scales.repeat_interleave(128, 0)[: matrix.shape[0]].repeat_interleave(128, 1)[
            :, : matrix.shape[1]
        ]
    )
    return codes, scales, back


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_qwen3_moe(tmp_path):
    config = transformers().Qwen3MoeConfig(
        **SIZES, num_key_value_heads=2, head_dim=16, intermediate_size=96, num_experts=EXPERTS,
        num_experts_per_tok=2, moe_intermediate_size=48, decoder_sparse_step=1, mlp_only_layers=[0],
    )  # fmt: skip
    model = transformers().Qwen3MoeForCausalLM(config).to(torch.bfloat16)
    arrays = {name: words(tensor) for name, tensor in saved(model, tmp_path).items()}
    frame = analyzed(tmp_path, arrays)
    assert elements(frame) == model.num_parameters()
    experts = frame[frame.expert_index.notna() & frame.part.isna()]
    assert set(experts.expert_index) == set(range(EXPERTS))
    assert set(experts.layer_index) == {1, 2}
    assert set(experts.component) == {"moe"}
    assert experts.numel.sum() == (LAYERS - 1) * EXPERTS * 3 * 48 * 64


def test_deepseek_v3(tmp_path):
    config = transformers().DeepseekV3Config(
        **SIZES, num_key_value_heads=4, intermediate_size=160, moe_intermediate_size=144,
        n_routed_experts=EXPERTS, n_shared_experts=1, num_experts_per_tok=2, n_group=2,
        topk_group=1, first_k_dense_replace=1, q_lora_rank=32, kv_lora_rank=24,
        qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16,
    )  # fmt: skip
    model = transformers().DeepseekV3ForCausalLM(config)
    expected, arrays = {}, {}
    for name, tensor in saved(model, tmp_path).items():
        matrix = tensor.dim() == 2 and ".layers." in name and not name.endswith("mlp.gate.weight")
        if not matrix:
            arrays[name] = words(tensor)
            continue
        codes, scales, back = block_scaled(tensor)
        arrays[name] = words(codes)
        arrays[f"{name}_scale_inv"] = words(scales)
        expected[name] = back.numpy()
    text = json.loads((tmp_path / "config.json").read_text())
    text["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (tmp_path / "config.json").write_text(json.dumps(text))
    frame = analyzed(tmp_path, arrays)
    # transformers counts the router's correction bias as a buffer.
    biases = (LAYERS - 1) * EXPERTS
    assert elements(frame) == model.num_parameters() + biases
    assert {"q_a_proj", "q_b_proj", "kv_a_proj", "kv_b_proj", "router"} <= set(frame.block_type)
    rows = frame.set_index("param_name")
    assert set(rows.loc[list(expected)].packing) == {"fp8"}
    for name, matrix in expected.items():
        sigma = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
        assert rows.loc[name, "spectral_norm"] == pytest.approx(sigma[0], rel=1e-9)
        assert rows.loc[name, "nuclear_norm"] == pytest.approx(sigma.sum(), rel=1e-7)
        assert rows.loc[name, "pieces"] == (name, f"{name}_scale_inv")


def test_gpt_oss(tmp_path):
    config = transformers().GptOssConfig(
        **SIZES, num_key_value_heads=2, head_dim=16, intermediate_size=96,
        num_local_experts=EXPERTS, num_experts_per_tok=2,
    )  # fmt: skip
    model = transformers().GptOssForCausalLM(config).to(torch.bfloat16)
    arrays, expected = {}, {}
    for name, tensor in saved(model, tmp_path).items():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            arrays[name] = words(tensor)
            continue
        # On disk the outputs are rows, packed along the inputs.
        matrices = mx.array(tensor.transpose(1, 2).float().contiguous().numpy())
        with mx.stream(mx.cpu):
            packed, scales = mx.quantize(matrices, mode="mxfp4")
            expected[name] = np.array(mx.dequantize(packed, scales, mode="mxfp4", dtype=mx.float32))
        stack, rows, _ = packed.shape
        blocks = np.array(packed).view(np.uint8).reshape(stack, rows, -1, 16)
        arrays[f"{name}_blocks"] = blocks, "U8"
        arrays[f"{name}_scales"] = np.array(scales), "U8"
    text = json.loads((tmp_path / "config.json").read_text())
    text["quantization_config"] = {"quant_method": "mxfp4"}
    (tmp_path / "config.json").write_text(json.dumps(text))
    frame = analyzed(tmp_path, arrays)
    assert elements(frame) == model.num_parameters()
    name = "model.layers.2.mlp.experts.gate_up_proj"
    for part, cut in (("gate_proj", np.s_[::2]), ("up_proj", np.s_[1::2]), (None, np.s_[:])):
        mine = frame.part.isna() if part is None else frame.part == part
        rows = frame[(frame.param_name == name) & mine]
        assert list(rows.expert_index) == list(range(EXPERTS))
        for (_, row), matrix in zip(rows.iterrows(), expected[name], strict=True):
            sigma = np.linalg.svd(matrix[cut].astype(np.float64), compute_uv=False)
            assert row.spectral_norm == pytest.approx(sigma[0], rel=1e-9)
            assert row.nuclear_norm == pytest.approx(sigma.sum(), rel=1e-7)
            assert row.bits_per_weight == 4.25
    biases = frame[frame.param_name == f"{name}_bias"]
    assert list(biases["shape"]) == [(2 * 96,)] * EXPERTS
