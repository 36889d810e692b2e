"""What is not understood is a row with a reason: pieces beside weights, codes under other names."""

import json

import numpy as np
import pytest
from hf_packings import GOLDEN
from weightfiles import model_files, write_safetensors

from mlx_probe.checkpoint import open_checkpoint

BASE = "model.layers.0.mlp.up_proj"
BYTES = np.arange(64 * 32, dtype=np.uint8).reshape(64, 32) % 126
HALF = np.full((64, 32), 0.5, np.float16)


def parameters(folder, tensors, quantization=None):
    """Name to parameter; every stored tensor is in one of them."""
    config = folder / "config.json"
    config.write_text(json.dumps({"quantization_config": quantization} if quantization else {}))
    path = write_safetensors(folder / "model.safetensors", tensors)
    with open_checkpoint(model_files(path, config=config)) as checkpoint:
        gathered = [p.name for q in checkpoint.parameters for p in (*q.pieces, *q.extra)]
        assert sorted(gathered) == sorted(tensors)
        return {parameter.name: parameter for parameter in checkpoint.parameters}


def under(pieces, base=BASE):
    return {f"{base}.{end}": piece for end, piece in pieces.items()}


def ones(*shape):
    return np.ones(shape, np.float16), "F16"


def codes(dtype, *shape):
    kinds = {"U8": "u1", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U32": "<u4"}
    size = int(np.prod(shape))
    return (np.arange(size) % 100).astype(kinds[dtype]).reshape(shape), dtype


# How other packages store a weight; each main piece, and something that looks like a weight.
UNKNOWN = {
    "hqq": {"W_q": codes("U8", 32, 32), "zero": ones(64, 1), "scale": ones(64, 1)},
    "exl2": {
        "q_weight": codes("I32", 8, 32),
        "q_scale": codes("I32", 4, 4),
        "q_scale_max": ones(4),
        "q_groups": codes("I16", 8),
        "q_invperm": codes("I16", 64),
    },
    "exl3": {"trellis": codes("I16", 4, 2, 64), "suh": ones(64), "svh": ones(32)},
    "aqlm": {
        "codes": codes("I16", 32, 8, 2),
        "codebooks": ones(2, 256, 1, 8),
        "scales": ones(32, 1, 1, 1),
    },
    "vptq": {
        "indices": codes("I32", 1, 8, 40),
        "centroids.weight": ones(1, 2048),
        "weight_scale": ones(64),
        "weight_bias": ones(64),
        "perm": codes("I16", 64),
    },
    "quip#": {
        "Qidxs": codes("I64", 32, 8),
        "SU": ones(64),
        "SV": ones(32),
        "Wscale": ones(),
        "codebook_id": codes("I64"),
    },
    "marlin": {"B": codes("I32", 4, 64), "s": ones(1, 32), "workspace": codes("I32", 32)},
    "mlc": {"q_weight": codes("U32", 32, 8), "q_scale": ones(32, 2)},
    "eetq": {"weight": codes("I8", 64, 32), "weight_scales": ones(32)},
    "spqr": {
        "dense_weights": codes("I64", 40),
        "row_offsets": codes("I32", 33),
        "col_vals": codes("I32", 20),
        "in_perm": codes("I64", 20),
    },
    "sparse": {
        "weight.bitmask": codes("U8", 64, 4),
        "weight.compressed": ones(1024),
        "weight.row_offsets": codes("I64", 65),
        "weight.shape": codes("I64", 2),
    },
    "fp8 of ComfyUI, a scale of another name": {
        "weight": (BYTES, "F8_E4M3"),
        "scale_of_weight": ones(),
    },
    "fp8 under another name": {"qdata": (BYTES, "F8_E4M3"), "wscale": ones()},
}


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("package", UNKNOWN)
def test_no_piece_of_an_unknown_packing_is_a_weight(tmp_path, package, declared):
    tensors = under(UNKNOWN[package]) | {"model.norm.weight": ones(64), f"{BASE}.bias": ones(64)}
    settings = {"quant_method": package} if declared else None
    rows = parameters(tmp_path, tensors, settings)
    read = {name for name, row in rows.items() if row.problem is None}
    assert read - {f"{BASE}.codebook_id"} == {"model.norm.weight", f"{BASE}.bias"}
    assert not any(row.incidental for row in rows.values() if row.pieces[0].numel > 100)


@pytest.mark.parametrize("case", GOLDEN)
@pytest.mark.parametrize("end", ["weight_scale_2", "residual", "weight.foo", "pre_quant_scale"])
def test_a_tensor_beside_a_packed_weight_that_nobody_takes(tmp_path, case, end):
    tensors, config, _ = GOLDEN[case]
    rows = parameters(tmp_path, tensors | {f"m.{end}": ones(4)}, config)
    problem = rows["m.weight"].problem
    assert problem == (
        f"m.weight: m.{end} lies beside it, and its effect on the values is not known"
    )
    assert rows[f"m.{end}"].problem


@pytest.mark.parametrize("case", GOLDEN)
@pytest.mark.parametrize("end", ["bias", "input_scale", "k_scale", "lora_a", "input_amax"])
def test_what_changes_no_weight_may_lie_beside_it(tmp_path, case, end):
    tensors, config, _ = GOLDEN[case]
    rows = parameters(tmp_path, {f"m.{end}": ones(4)} | tensors, config)
    assert rows["m.weight"].problem is None


@pytest.mark.parametrize("case", GOLDEN)
@pytest.mark.parametrize("method", ["torchao", "gguf", "x", ["gptq"], 4])
def test_another_declared_method_is_not_the_packing_s(tmp_path, case, method):
    tensors, config, _ = GOLDEN[case]
    rows = parameters(tmp_path, tensors, config | {"quant_method": method})
    assert all(row.problem for row in rows.values())
    assert any(repr(method) in row.problem or f"({method})" in row.problem for row in rows.values())


@pytest.mark.parametrize("end", ["weight_scale", "scale", "scales", "weight._scale", "SCB"])
def test_floats_with_a_scale_beside_them_are_no_finished_values(tmp_path, end):
    tensors = {f"{BASE}.weight": (HALF, "F16"), f"{BASE}.{end}": ones(64)}
    rows = parameters(tmp_path, tensors)
    assert rows[f"{BASE}.weight"].problem == (
        f"{BASE}.{end} lies beside it, and its effect on the values is not known"
    )


def test_compressed_tensors_dense_format_is_finished_values(tmp_path):
    tensors = {f"{BASE}.weight": (HALF, "F16"), f"{BASE}.weight_scale": ones(64)}
    settings = {"quant_method": "compressed-tensors", "format": "dense"}
    assert parameters(tmp_path, tensors, settings)[f"{BASE}.weight"].problem is None


@pytest.mark.parametrize("end", ["running_mean", "gamma", "bias", "input_scale", "e_score"])
def test_other_things_beside_floats_do_not_matter(tmp_path, end):
    tensors = {f"{BASE}.weight": (HALF, "F16"), f"{BASE}.{end}": ones(64)}
    assert parameters(tmp_path, tensors)[f"{BASE}.weight"].problem is None


def test_eight_bit_floats_without_scales_are_read_as_they_are(tmp_path):
    """Half of the diffusion models are simply cast."""
    rows = parameters(tmp_path, {f"{BASE}.weight": (BYTES, "F8_E4M3"), "norm.weight": ones(8)})
    assert all(row.problem is None for row in rows.values())


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"scaled_fp8": (np.zeros(0, np.uint8), "F8_E4M3")}, "scaled_fp8 says"),
        ({"layers.1.fc.weight_scale": ones()}, "layers.1.fc.weight_scale has no weight"),
        (
            {"layers.1.fc.weight": (BYTES, "F8_E4M3"), "layers.1.fc.weight_scale": ones()},
            r"others have one \(layers.1.fc.weight\)",
        ),
    ],
)
def test_eight_bit_floats_whose_scale_may_be_elsewhere(tmp_path, other, reason):
    rows = parameters(tmp_path, {f"{BASE}.weight": (BYTES, "F8_E4M3")} | other)
    with pytest.raises(AssertionError, match=f"F8_E4M3 without its scale: {reason}"):
        raise AssertionError(rows[f"{BASE}.weight"].problem)


@pytest.mark.parametrize(
    "name",
    [
        "embeddings.position_ids",
        "h.0.attn.bias",
        "encoder.layers.0.attn.relative_position_index",
        "model.layers.0.mlp.gate.tid2eid",
        "text_encoders.spiece_model",
        "causal_mask",
    ],
)
def test_integer_tables_of_models_are_rows(tmp_path, name):
    rows = parameters(tmp_path, {name: codes("U8", 64, 32), "norm.weight": ones(8)})
    assert rows[name].problem is None


def test_a_small_table_of_an_unknown_name_is_skipped_without_a_loss(tmp_path):
    """Nothing of the model's numbers is missing with it, unless much is stored that way."""
    matrix = np.ones((640, 320), np.float16), "F16"
    tensors = {f"{BASE}.weight": matrix, "model.lookup": codes("I64", 20)}
    assert parameters(tmp_path, tensors)["model.lookup"].incidental
    assert not parameters(tmp_path, tensors, {"quant_method": "x"})["model.lookup"].incidental
    tensors["model.lookup"] = codes("I64", 64, 64)
    row = parameters(tmp_path, tensors)["model.lookup"]
    assert row.problem == "I64 integers under an unknown name: packed in a way not understood"
    assert not row.incidental


def test_a_weight_that_is_packed_twice_is_not_read(tmp_path):
    """No piece belongs to two weights, and no two rows have one name."""
    tensors = dict(GOLDEN["gptq gptq 4 bit"][0])
    tensors["m.weight_packed"] = codes("I32", 32, 12)
    tensors["m.weight_scale"] = ones(32, 3)
    tensors["m.weight_shape"] = np.array([32, 96], "<i8"), "I64"
    rows = parameters(tmp_path, tensors)
    assert set(rows) == {"m.qweight", "m.weight_packed"}
    for name, row in rows.items():
        assert row.problem == f"{name}: packed, though m.weight is there as well"
