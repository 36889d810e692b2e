"""llama.cpp runs a model with ``.scale`` tensors, and one with our values in their place."""

import gguf
import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.records import ModelFiles

WIDTH, INNER, VOCABULARY = 128, 192, 64
MATRICES = {f"attn_{part}": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
MATRICES |= {"ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER)}


def llama(kind):
    """A layer of random weights with a scale for each, of stored arrays and their types."""
    rng = np.random.default_rng(3)
    tensors = {}
    for name in ("token_embd", "output"):
        tensors[f"{name}.weight"] = rng.standard_normal((VOCABULARY, WIDTH)).astype("f4") / 9, "F32"
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        tensors[f"{name}.weight"] = np.ones(WIDTH, "f4"), "F32"
    for name, (rows, cols) in MATRICES.items():
        if kind == "NVFP4":
            words = rng.integers(0, 256, (rows, cols // 64, 36), np.uint8)
            words[..., :4] = rng.integers(12, 36, words[..., :4].shape)
            words, scale = words.reshape(rows, -1), 4
        else:
            words, scale = rng.standard_normal((rows, cols)).astype("f4") / 40, 4
        tensors[f"blk.0.{name}.weight"] = words, kind
        tensors[f"blk.0.{name}.scale"] = np.array([scale * rng.uniform(0.5, 2)], "f4"), "F32"
        tensors[f"blk.0.{name}.input_scale"] = np.array([3.0], "f4"), "F32"
    return tensors


def write(path, tensors):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *(f"t{i}" for i in range(VOCABULARY - 3))])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types([2, 3, 3, *[1] * (VOCABULARY - 3)])
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, array, raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def embedded(path):
    """The last token's final state."""
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.warmup = 64, 1, False
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    server = xllamacpp.Server(params)
    answer = server.handle_embeddings({"input": [1, 5, 9, 11], "embd_normalize": -1})
    return np.array(answer["data"][0]["embedding"])


# NVFP4's products are of inputs that llama.cpp rounds to 8 bits.
@pytest.mark.parametrize(("kind", "error"), [("F32", 1e-5), ("NVFP4", 0.03)])
def test_scales_are_multiplied(tmp_path, kind, error):
    tensors = llama(kind)
    path = write(tmp_path / "scaled.gguf", tensors)
    ours = {}
    with open_checkpoint(ModelFiles("m", "local", path, (path,))) as checkpoint:
        for weight in checkpoint.weights():
            values = np.concatenate([np.atleast_1d(chunk) for chunk in weight.chunks()])
            ours[weight.name] = values.astype("f4").reshape(weight.shape), "F32"
    assert not [name for name in ours if name.endswith("scale")]
    expected = embedded(path)
    plain = embedded(write(tmp_path / "plain.gguf", ours))
    np.testing.assert_allclose(plain, expected, rtol=0, atol=error * np.abs(expected).max())
    # The test can fail: without scales the model is another.
    bare = {name: stored for name, stored in tensors.items() if not name.endswith("scale")}
    other = embedded(write(tmp_path / "bare.gguf", bare))
    assert np.abs(other - expected).max() > 2 * error * np.abs(expected).max()
