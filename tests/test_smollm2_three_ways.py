"""One model as GGUF, as sharded bfloat16 safetensors and as MLX 4-bit: the same rows.

The bfloat16 model is the GGUF dequantized, without its upper layers; mlx-lm converts that to 4
bits.
"""

import json

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from project import SMOLLM2
from safetensors.numpy import save_file
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig, CompareConfig
from mlx_probe.core.dtypes import decode

pytestmark = pytest.mark.slow

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
POSITION = ["layer_index", "block_type", "shape"]
# Enough for names that are not in the order of their numbers: 10 comes before 2.
LAYERS = 11
TENSORS, MATRICES = 2 + 9 * LAYERS, 1 + 7 * LAYERS
KEPT = ("token_embd.*", "output_norm.*", "blk.[0-9].*", "blk.10.*")


def hub_name(name):
    match name.split("."):
        case ["blk", layer, part, "weight"]:
            return f"model.layers.{layer}.{NAMES[part]}.weight"
        case [part, "weight"]:
            return f"{NAMES[part]}.weight"
    raise ValueError(name)


def values_of(weight, heads):
    tall = weight.rows is None or weight.rows >= weight.cols
    slabs = [decode(np.array(slab), weight.chunk_dtype) for slab in weight.chunks()]
    x = np.concatenate(slabs, axis=0 if tall else 1)
    count = heads.get(weight.role.block_type)
    if count is None or weight.rows is None:
        return x
    # llama.cpp interleaves the halves that the rotary embedding pairs; transformers does not.
    return x.reshape(count, -1, 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)


def bfloat16(x):
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The model in bfloat16, in two shards with an index, as transformers names it."""
    folder = tmp_path_factory.mktemp("bf16")
    with mlx_probe.open_checkpoint(SMOLLM2) as checkpoint:
        a = checkpoint.architecture
        heads = {"q_proj": a.heads, "k_proj": a.kv_heads}
        arrays = {
            hub_name(w.name): (bfloat16(values_of(w, heads)), "BF16")
            for w in checkpoint.weights()
            if w.role.layer_index is None or w.role.layer_index < LAYERS
        }
        config = {
            "model_type": "llama", "architectures": ["LlamaForCausalLM"],
            "hidden_size": a.hidden_size, "num_hidden_layers": LAYERS,
            "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads,
            "intermediate_size": a.intermediate_size, "vocab_size": a.vocab_size,
            "rms_norm_eps": checkpoint.metadata["llama.attention.layer_norm_rms_epsilon"],
            "rope_theta": checkpoint.metadata["llama.rope.freq_base"],
            "tie_word_embeddings": True,
        }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    names, weight_map = sorted(arrays), {}
    for number, part in enumerate((names[:50], names[50:]), start=1):
        shard = f"model-0000{number}-of-00002.safetensors"
        write_safetensors(folder / shard, {name: arrays[name] for name in part})
        weight_map |= dict.fromkeys(part, shard)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="module")
def four_bit(plain, tmp_path_factory):
    """What `mlx_lm.convert --quantize` makes of it, without the tokenizer."""
    utils = mlx_lm("utils")
    folder = tmp_path_factory.mktemp("mlx4")
    with mx.stream(mx.cpu):
        model, config = utils.load_model(plain)
        model, config = utils.quantize_model(model, config, group_size=64, bits=4)
        utils.save_model(folder, model)
    utils.save_config(config, folder / "config.json")
    return folder


def rows_of(model, out, metrics="standard"):
    config = AnalyzeConfig(backend="numpy", metrics=metrics)
    run = mlx_probe.analyze(model, out=out, config=config)
    assert run.passed, run.failures
    frame = run.load()
    assert set(frame.status) == {"ok"}
    return frame.set_index("param_name").sort_index()


@pytest.fixture(scope="module")
def frames(plain, four_bit, smollm2, tmp_path_factory):
    out = tmp_path_factory.mktemp("rows")
    gguf = mlx_probe.load_run(smollm2).set_index("param_name")
    gguf = gguf[gguf.layer_index.isna() | (gguf.layer_index < LAYERS)]
    return {
        "gguf": gguf.rename(index=hub_name).sort_index(),
        "bf16": rows_of(plain, out / "bf16", "full"),
        "mlx4": rows_of(four_bit, out / "mlx4"),
    }


@pytest.mark.parametrize("other", ["bf16", "mlx4"])
def test_the_same_rows_at_the_same_positions(frames, other):
    assert len(frames[other]) == TENSORS
    assert list(frames[other].index) == list(frames["gguf"].index)
    for column in POSITION:
        assert list(frames[other][column]) == list(frames["gguf"][column])
    assert frames[other].packing.value_counts().to_dict() == (
        {"plain": TENSORS} if other == "bf16" else {"mlx": MATRICES, "plain": TENSORS - MATRICES}
    )


def test_bfloat16_differs_by_its_rounding(frames):
    gguf, bf16 = frames["gguf"], frames["bf16"]
    # Rounding moves every element by at most 2**-9 of itself, and so the matrix by as much
    # of its Frobenius norm; no singular value moves further (Weyl).
    matrices = gguf["rank"].notna()
    room = gguf.frobenius_norm[matrices] * 2**-8.9
    for column in ("frobenius_norm", "spectral_norm", "sigma_min"):
        assert ((bf16[column] - gguf[column])[matrices].abs() <= room).all(), column
    # Rounding cannot lower a rank if the smallest singular value is above its reach.
    safe = matrices & (gguf.sigma_min > room + 1e-6 * gguf.spectral_norm)
    assert (bf16["rank"] == gguf["rank"])[safe].all()
    assert ((bf16["rank"] - gguf["rank"])[matrices].abs() <= 1).all()
    np.testing.assert_allclose(bf16["std"], gguf["std"], rtol=2**-8)


def test_four_bits_differ_by_what_quantization_explains(frames):
    bf16, mlx4 = frames["bf16"], frames["mlx4"]
    matrices = bf16["rank"].notna()
    assert bf16.q4_nrmse[matrices].between(0.01, 0.2).all()
    # q4_nrmse is the relative Frobenius norm of the difference; mlx-lm also rounds the scales,
    # which the metric does too, and then the product (2**-8 of the largest, in bfloat16).
    room = (bf16.q4_nrmse * 1.1 + 2**-8) * bf16.frobenius_norm
    for column in ("frobenius_norm", "spectral_norm", "sigma_min"):
        off = (mlx4[column] - bf16[column])[matrices].abs()
        assert (off <= room[matrices]).all(), column
    assert (mlx4.frobenius_norm != bf16.frobenius_norm)[matrices].all()
    np.testing.assert_array_equal(mlx4["mean"][~matrices], bf16["mean"][~matrices])
    assert set(mlx4.bits_per_weight[matrices]) == {4.5}


def test_compared_with_itself_nothing_differs(tmp_path):
    run = mlx_probe.compare(SMOLLM2, SMOLLM2, out=tmp_path, formats=["parquet"])
    rows = run.load()
    assert len(rows) == 272
    assert set(rows.status) == {"identical"}
    for column in ("relative_change", "change_norm", "max_change", "delta_rank"):
        assert set(rows[column].dropna()) == {0}, column
    assert set(rows.cosine) == {1.0}
    assert run.passed


def test_compared_with_its_4_bit_conversion_every_matrix_moved_a_little(four_bit, tmp_path):
    config = CompareConfig(directions=0, include=KEPT)
    run = mlx_probe.compare(SMOLLM2, four_bit, out=tmp_path, formats=["parquet"], config=config)
    rows = run.load()
    assert run.passed
    assert len(rows) == TENSORS
    assert set(rows.matched_by) == {"role"}
    assert list(rows.other_name) == [hub_name(name) for name in rows.param_name]
    matrices = rows[rows.rows.notna()]
    assert set(matrices.status) == {"ok"}
    assert set(rows[rows.rows.isna()].status) == {"identical"}
    # Half a step of 15 in a group of 64 Gaussian values is a tenth of their spread.
    assert matrices.relative_change.between(0.05, 0.15).all()
    assert (matrices.cosine > 0.99).all()
    # Rounding errors are noise: they have no small rank.
    short = matrices[["rows", "cols"]].min(axis=1)
    assert (matrices.delta_effective_rank > 0.6 * short).all()


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """Three layers in float32, and the same with a LoRA of rank 8 added to two matrices each."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("merged")
    base, tuned, changed = {}, {}, set()
    with mlx_probe.open_checkpoint(SMOLLM2) as checkpoint:
        for w in checkpoint.weights():
            if w.role.layer_index not in (10, 11, 12):
                continue
            x = values_of(w, {}).astype(np.float32)
            base[w.name] = tuned[w.name] = x
            if w.role.block_type in ("q_proj", "v_proj"):
                a = rng.standard_normal((8, x.shape[1])) / np.sqrt(x.shape[1])
                b = 0.04 * rng.standard_normal((x.shape[0], 8))
                tuned[w.name] = (x + b @ a).astype(np.float32)
                changed.add(w.name)
    for name, arrays in (("base", base), ("tuned", tuned)):
        save_file(arrays, folder / f"{name}.safetensors")
    return folder / "base.safetensors", folder / "tuned.safetensors", changed


def test_a_merged_lora_shows_where_it_is(merged, tmp_path):
    base, tuned, changed = merged
    rows = mlx_probe.compare(base, tuned, out=tmp_path).load().set_index("param_name")
    assert set(rows.index[rows.status == "ok"]) == changed
    assert len(changed) == 6
    assert set(rows.delta_rank[sorted(changed)]) == {8}
    assert set(rows.delta_rank_above_rounding[sorted(changed)]) == {8}
    others = rows.drop(index=sorted(changed))
    assert set(others.status) == {"identical"}
    assert set(others.delta_rank.dropna()) == {0}
