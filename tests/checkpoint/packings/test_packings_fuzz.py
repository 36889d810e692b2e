"""Pieces of any shapes, types and settings are understood or cost their own row, nothing more."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repetitions import times
from weightfiles import model_files, write_safetensors

from mlx_probe.checkpoint import PACKINGS, open_checkpoint
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import PackingError

pytestmark = pytest.mark.slow

BASE = "model.layers.0.mlp.experts.up_proj"
# The pieces of each packing, with the type of the main one.
PIECES = {
    "mlx": {".weight": "U32", ".scales": None, ".biases": None, ".global_scale": None},
    "gptq": {".qweight": "I32", ".qzeros": "I32", ".scales": None, ".g_idx": None},
    "awq": {".qweight": "I32", ".qzeros": "I32", ".scales": None},
    "bitsandbytes": {".weight": "I8", ".SCB": None, ".weight_format": None},
    "compressed_tensors": {
        ".weight_packed": "I32",
        ".weight_scale": None,
        ".weight_zero_point": None,
        ".weight_shape": "I64",
        ".weight_g_idx": None,
    },
    "comfy": {".weight": "F8_E4M3", ".scale_weight": None, ".weight_scale": None},
    "torchao": {
        "._weight_qdata": "I8",
        "._weight_scale": None,
        "._weight_zero_point": None,
        "._weight_per_tensor_scale": None,
    },
    "modelopt": {".weight": "U8", ".weight_scale": None, ".weight_scale_2": None},
    "exl2": {
        ".q_weight": "I32",
        ".q_invperm": None,
        ".q_scale": "I32",
        ".q_scale_max": "F16",
        ".q_groups": "I16",
    },
    "hqq": {
        ".W_q": "U8",
        ".scale": None,
        ".zero": None,
        ".shape": "I64",
        ".axis": "I32",
        ".packing": "U8",
    },
    "bitmask": {
        ".compressed": "BF16",
        ".bitmask": "U8",
        ".row_offsets": "I64",
        ".shape": "I64",
        ".weight_scale": None,
    },
    "bitnet": {".weight": "U8", ".weight_scale": None},
    "quanto": {".weight._data._data": "U8", ".weight._scale": None, ".weight._shift": None},
    "mxfp4": {"_blocks": "U8", "_scales": "U8"},
    "fp8": {".weight": "F8_E4M3", ".weight_scale_inv": None},
    "lowrank": {".lowrank_left": "BF16", ".lowrank_right": "BF16"},
}
SIZES = st.sampled_from([0, 1, 2, 3, 4, 8, 16, 32, 64, 96])
SHAPES = st.lists(SIZES, max_size=4).map(tuple)
DTYPE = st.sampled_from(["F32", "F16", "BF16", "U8", "I8", "I32", "U32", "I64", "F8_E4M3"])
NUMBER = st.sampled_from([-1, 0, 1, 2, 3, 4, 8, 32, 64, 10**12, 1.5, "4", None, True])
MAIN = (
    ".lowrank_left",
    ".compressed",
    ".q_weight",
    ".W_q",
    ".weight",
    ".qweight",
    "_blocks",
    ".weight_packed",
    "._weight_qdata",
    ".weight._data._data",
)
# torchao's class and settings of a tensor are in the file's metadata.
METADATA = st.fixed_dictionaries(
    {
        "_type": st.sampled_from(["Float8Tensor", "Int8Tensor", "Int4Tensor", "NVFP4Tensor", "X"]),
        "_data": st.fixed_dictionaries(
            {}, optional={"block_size": st.lists(NUMBER, max_size=4) | NUMBER}
        ),
    }
)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "bits": NUMBER,
        "group_size": NUMBER,
        "mode": st.sampled_from(["affine", "mxfp4", "nvfp4", "x", 3]),
        "weight_block_size": st.lists(NUMBER, max_size=3) | NUMBER,
        "checkpoint_format": st.sampled_from(["gptq", "gptq_v2", "x", 1]),
        "version": st.sampled_from(["gemm", "gemv", 2]),
        "config_groups": st.sampled_from([{}, [], {"a": 1}, {"a": {"weights": {"num_bits": 4}}}]),
    },
)


def test_every_packing_of_safetensors_files_is_here():
    assert {*PIECES, "ggml"} == set(PACKINGS)


@pytest.mark.parametrize("packing", PIECES)
@settings(max_examples=times(50, 150), deadline=None)
@given(data=st.data())
def test_any_pieces(tmp_path_factory, packing, data):
    folder = tmp_path_factory.getbasetemp()
    arrays = {}
    for end, dtype in PIECES[packing].items():
        kind = data.draw(DTYPE) if dtype is None else dtype
        shape = data.draw(SHAPES)
        count = int(np.prod(shape)) * DTYPES[kind].itemsize
        if end in MAIN or data.draw(st.booleans()):
            words = np.resize(np.arange(256, dtype=np.uint8), count).view(DTYPES[kind].storage)
            arrays[BASE + end] = (words.reshape(shape), kind)
    quantization = {"quant_method": packing.replace("_", "-")} | data.draw(SETTINGS)
    config = folder / f"{packing}.json"
    config.write_text(json.dumps({"quantization_config": quantization}))
    metadata = {f"{BASE}.weight": json.dumps(data.draw(METADATA))}
    path = write_safetensors(folder / f"{packing}.safetensors", arrays, metadata=metadata)
    with open_checkpoint(model_files(path, config=config)) as checkpoint:
        pieces = [p.name for q in checkpoint.parameters for p in (*q.pieces, *q.extra)]
        assert sorted(pieces) == sorted(arrays)  # none lost, none twice
        for weight in checkpoint.weights():
            readable = weight.shape and not weight.problem
            try:
                count = sum(chunk.size for chunk in weight.chunks())
            except PackingError:
                continue
            assert count == (weight.numel if readable else 0)
