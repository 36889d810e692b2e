"""EXL2 against its own rules: packed as its converter does, read as its kernel does.

exllamav2 needs a GPU. `packers.exl2` follows ``conversion/adaptivegptq.py`` and ``pack_tensor.cu``,
`reconstructed` follows ``reconstruct_kernel`` of ``q_matrix.cu``.
"""

import json

import numpy as np
import packers
import pytest
from weightfiles import model_files, whole, write_safetensors

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import PackingError

# Bits and inputs of each group.
LAYERS = {
    "six widths": [(8, 32), (6, 32), (5, 64), (4, 32), (3, 32), (2, 32)],
    "equal widths": [(4, 128), (4, 128)],
    "a short last group": [(5, 64), (3, 32), (2, 16)],
    "one group": [(6, 64)],
    **{f"{bits} bit": [(bits, 64), (bits, 32)] for bits in (2, 3, 4, 5, 6, 8)},
}


def quantized(rng, groups, outputs):
    """Sorted codes, scale codes, largest scales and the places of the inputs."""
    codes = [rng.integers(0, 1 << bits, (inputs, outputs)) for bits, inputs in groups]
    scales = rng.integers(1, 17, (len(groups), outputs))
    largest = rng.uniform(0.01, 0.2, len(groups)).astype(np.float16)
    return codes, scales, largest, rng.permutation(sum(inputs for _, inputs in groups))


def reconstructed(groups, codes, scales, largest, places):
    """Values of (outputs, inputs), in float16 up to the scale."""
    lines = []
    for (bits, _), group, steps, top in zip(groups, codes, scales, largest, strict=True):
        prescaled = np.float16(top) * np.float16(1 / 256)
        scale = (steps * steps).astype(np.float16) * prescaled
        lines.append((group - (1 << (bits - 1))) * scale.astype(np.float32))
    return np.concatenate(lines)[places].T.astype(np.float32)


def opened(folder, pieces, name="m", **config):
    tensors = {f"{name}.{end}": piece for end, piece in pieces.items()}
    file = write_safetensors(folder / "model.safetensors", tensors)
    path = folder / "config.json"
    path.write_text(json.dumps({"quantization_config": {"quant_method": "exl2"}} | config))
    return open_checkpoint(model_files(file, config=path)).weights()


@pytest.mark.parametrize("groups", LAYERS.values(), ids=LAYERS)
def test_a_layer_of_any_widths(tmp_path, rng, groups):
    layer = quantized(rng, groups, 64)
    (weight,) = opened(tmp_path, packers.exl2(groups, *layer))
    assert (weight.name, weight.problem, weight.parameter.packing) == ("m.weight", None, "exl2")
    np.testing.assert_array_equal(whole(weight), reconstructed(groups, *layer))


def test_the_row_names_the_widths(tmp_path, rng):
    groups = LAYERS["a short last group"]
    (weight,) = opened(tmp_path, packers.exl2(groups, *quantized(rng, groups, 64)))
    assert weight.parameter.detail == "2 and 3 and 5 bit, 3 groups"


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("rows", [slice(3, 40), np.array([63, 0, 17])], ids=str)
def test_rows_and_slabs_decode_alike(tmp_path, rng, rows):
    groups = [(5, 512), (3, 512), (2, 1056)]
    layer = quantized(rng, groups, 64)
    (weight,) = opened(tmp_path, packers.exl2(groups, *layer))
    pieces, values = weight._open()[0], reconstructed(groups, *layer)
    for cols in (slice(0, 1024), slice(1024, 2080)):
        block = weight.parameter.decode(pieces, rows, cols)
        np.testing.assert_array_equal(block, values[rows, cols])


def test_a_vocabulary_is_padded_to_whole_words(tmp_path, rng):
    groups = [(6, 32), (4, 32)]
    layer = quantized(rng, groups, 64)
    pieces, values = packers.exl2(groups, *layer), reconstructed(groups, *layer)
    (weight,) = opened(tmp_path, pieces, "lm_head", vocab_size=49, hidden_size=64)
    np.testing.assert_array_equal(whole(weight), values[:49])
    for config in ({}, {"vocab_size": 32}, {"vocab_size": 65}):
        (weight,) = opened(tmp_path, pieces, "lm_head", **config)
        assert "64 rows with their padding" in weight.problem


def other(name, change):
    def changed(pieces):
        array, dtype = pieces[name]
        return pieces | {name: (change(array), dtype)}

    return changed


WRONG = [
    *(
        (lambda pieces, name=name: {k: v for k, v in pieces.items() if k != name}, f"{name} missin")
        for name in ("q_invperm", "q_scale", "q_scale_max")
    ),
    (other("q_invperm", lambda a: a[:-1]), "q_groups do not hold 95 inputs in 13 rows"),
    (other("q_invperm", lambda a: np.append(a, a)), "q_groups do not hold 192 inputs in 13 rows"),
    (other("q_scale", lambda a: a[:1]), "m.q_scale has the shape"),
    (other("q_scale_max", lambda a: a[:1]), "m.q_scale_max has the shape"),
    (other("q_groups", lambda a: a[:2]), "m.q_scale has the shape"),
    (other("q_groups", lambda a: np.int16([7, 0, 3, 10])), "q_groups are no groups of 13 rows"),
    (other("q_groups", lambda a: np.int16([5, 1, 3, 10])), "q_groups are no groups of 13 rows"),
    (other("q_groups", lambda a: np.int16([5, 0, 3, 14])), "q_groups are no groups of 13 rows"),
    (other("q_groups", lambda a: np.int16([4, 0, 3, 10])), "do not hold 96 inputs in 13 rows"),
    (other("q_weight", lambda a: a[:, :40]), "m.q_scale has the shape"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_pieces_that_do_not_fit_are_refused(tmp_path, rng, change, message):
    groups = [(5, 64), (3, 32)]
    weights = opened(tmp_path, change(packers.exl2(groups, *quantized(rng, groups, 64))))
    assert all(weight.problem for weight in weights)
    assert any(message in weight.problem for weight in weights), weights[0].problem


def test_places_out_of_range_are_an_error_on_reading(tmp_path, rng):
    groups = [(4, 64)]
    pieces = packers.exl2(groups, *quantized(rng, groups, 32))
    (weight,) = opened(tmp_path, other("q_invperm", lambda a: a + 1)(pieces))
    with pytest.raises(PackingError, match=r"m\.weight: q_invperm names places that"):
        whole(weight)
