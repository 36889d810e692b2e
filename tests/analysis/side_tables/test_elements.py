"""Lines of weights in memory, and their positions in the network."""

import json
from itertools import product

import numpy as np
import pytest
from matrices import store
from weightfiles import model_files, whole, write_safetensors

from mlx_probe.analysis.block_position import position_of
from mlx_probe.analysis.side_tables.elements import band, read_into, words_of
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.dtypes import decode

WIDTH, HIDDEN = 24, 40


def opened(folder, arrays, config):
    (folder / "config.json").write_text(json.dumps(config))
    file = write_safetensors(folder / "model.safetensors", arrays, "F32")
    return open_checkpoint(model_files(file, config=folder / "config.json"))


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "F8_E4M3"])
def test_bands_of_lines_are_the_lines(backend, tmp_path, rng, dtype):
    words, _ = store(rng.standard_normal((3, 2 * WIDTH, HIDDEN)), dtype)
    transposed, _ = store(rng.standard_normal((3, HIDDEN, 2 * WIDTH)), dtype)
    plain = {"x.layers.0.mlp.experts.gate_up_proj": (words, dtype)}
    columns = {"x.layers.0.mlp.experts.gate_up_proj": (transposed, dtype)}
    for arrays, model_type in product((plain, columns), ("llama4", "gpt_oss")):
        config = {"model_type": model_type, "moe_intermediate_size": WIDTH}
        with opened(tmp_path, arrays, config) as checkpoint:
            weights = checkpoint.weights()
            assert len(weights) == 9
            for weight in weights:
                matrix = decode(whole(weight), dtype)
                np.testing.assert_array_equal(words_of(weight, backend), whole(weight))
                axis = weight.part.axis if weight.part else 0
                for first, last in ((0, 5), (5, 6), (7, 24), (0, weight.shape[axis])):
                    lines = band(weight, first, last)
                    out = np.empty(lines.shape)
                    read_into(lines, out)
                    expected = matrix[first:last] if axis == 0 else matrix[:, first:last]
                    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("model.layers.0.self_attn.q_proj.weight", ("model.layers", 0)),
        ("model.layers.11.mlp.experts.1.up_proj.weight", ("model.layers", 11)),
        ("decoder.block.3.layer.1.EncDecAttention.q.weight", ("decoder.block", 3)),
        ("encoder.block.3.layer.0.SelfAttention.q.weight", ("encoder.block", 3)),
        ("blk.7.attn_q.weight", ("blk", 7)),
        ("lm_head.weight", ("", None)),
    ],
)
def test_the_stack_and_the_block_of_a_name(tmp_path, name, position):
    with opened(tmp_path, {name: np.ones((4, 4), np.float32)}, {}) as checkpoint:
        (weight,) = checkpoint.weights()
        assert position_of(weight) == position
