"""Pieces, settings and headers that do not fit: a row with a reason, or a PackingError."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hf_packings import GOLDEN, STATE, only, opened
from hypothesis import given, settings
from hypothesis import strategies as st
from weightfiles import whole

from mlx_probe.checkpoint.packings import awq, bitsandbytes, compressed_tensors, gptq
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Piece
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo


def without(*names):
    def change(tensors, config):
        for name in names:
            del tensors[name]

    return change


def replaced(name, array, dtype):
    def change(tensors, config):
        tensors[name] = np.asarray(array), dtype

    return change


def changed(**settings):
    def change(tensors, config):
        config.update(settings)

    return change


def with_state(text):
    return replaced(STATE, np.frombuffer(text.encode(), np.uint8), "U8")


NF4 = '{"blocksize": 64, "shape": [32, 128]'
HOSTILE = [
    ("gptq gptq 4 bit", without("m.scales"), "scales missing"),
    ("gptq gptq 4 bit", without("m.qzeros", "m.g_idx"), "qzeros missing"),
    ("gptq gptq 4 bit", changed(checkpoint_format="marlin"), "format 'marlin' is not supported"),
    ("gptq gptq 4 bit", changed(checkpoint_format=[1]), r"format \[1\] is not supported"),
    ("gptq gptq 4 bit", changed(bits=3), "config.json has 3 bits"),
    ("gptq gptq 4 bit", changed(group_size=64), "3 groups of 64.* are not 96 columns"),
    ("gptq gptq 4 bit", changed(group_size="x"), "group_size cannot be 'x'"),
    ("gptq gptq 4 bit", replaced("m.scales", np.ones((3, 31), "<f2"), "F16"), "m.scales has the"),
    ("gptq gptq 4 bit", replaced("m.scales", np.ones((3, 32), "<i2"), "I16"), "is I16 instead"),
    ("gptq gptq 4 bit", replaced("m.g_idx", np.zeros(60, "<i4"), "I32"), "4 bits, which"),
    ("awq gemm 64", changed(version="gemv_fast"), "'gemv_fast' is not supported"),
    ("awq gemm 64", changed(bits=8), "AWQ of 8 bits"),
    ("awq gemm 64", without("m.qzeros"), "qzeros missing"),
    ("awq gemm 64", changed(group_size=48), "2 groups of 48"),
    ("awq gemv 64", changed(group_size=100), "128 columns are not groups of 100"),
    ("awq gemv 64", changed(group_size=4), "words do not hold 32 groups"),
    ("compressed_tensors 4 bit group", without("m.weight_shape"), "weight_shape is missing"),
    ("compressed_tensors 4 bit group", without("m.weight_scale"), "weight_scale missing"),
    (
        "compressed_tensors 4 bit group",
        replaced("m.weight_shape", np.array([32, -1], "<i8"), "I64"),
        r"weight_shape \[32, -1\]",
    ),
    (
        "compressed_tensors 4 bit group",
        replaced("m.weight_shape", np.array([32, 1 << 40], "<i8"), "I64"),
        "do not show the bits",
    ),
    (
        "compressed_tensors 4 bit group",
        replaced("m.weight_scale", np.ones((32, 7), "<f4"), "F32"),
        "no scale for the tensor, each row, equal groups",
    ),
    ("compressed_tensors fp8 block", changed(config_groups=[3]), "no scale for the tensor"),
    (
        "compressed_tensors 4 bit group",
        replaced("m.weight_shape", np.array([31, 96], "<i8"), "I64"),
        r"weight_shape \[31, 96\]",
    ),
    (
        "compressed_tensors int8 tensor",
        replaced("m.weight_zero_point", np.zeros((1, 1), "<i4"), "I32"),
        "packed zero points that rows do not have",
    ),
    (
        "compressed_tensors 4 bit tensor",
        replaced("m.weight_g_idx", np.zeros(96, "<i4"), "I32"),
        "an order of groups, and none there",
    ),
    (
        "compressed_tensors 4 bit group",
        replaced("m.weight_global_scale", np.ones(1, "<f4"), "F32"),
        "a global scale of what are no 4-bit floats",
    ),
    (
        "compressed_tensors nvfp4",
        replaced("m.weight_zero_point", np.zeros((32, 6), "i1"), "I8"),
        "nvfp4 has no such piece",
    ),
    (
        "compressed_tensors 4 bit asymmetric",
        replaced("m.weight_zero_point", np.zeros((5, 3), "<i4"), "I32"),
        "m.weight_zero_point has the shape",
    ),
    (
        "compressed_tensors 4 bit group",
        replaced("m.weight_g_idx", np.zeros(95, "<i4"), "I32"),
        "m.weight_g_idx has the shape",
    ),
    ("bitsandbytes nf4 32x128", without("m.weight.absmax"), "absmax missing"),
    ("bitsandbytes nf4 32x128", with_state("{"), "not JSON"),
    ("bitsandbytes nf4 32x128", with_state("[" * 60000), "not JSON"),
    ("bitsandbytes nf4 32x128", with_state("[]"), "not a JSON object"),
    ("bitsandbytes nf4 32x128", with_state("x" * 70000), "70000 bytes where a few were expected"),
    ("bitsandbytes nf4 32x128", with_state('{"shape": 3}'), "a matrix is expected"),
    (
        "bitsandbytes nf4 32x128",
        with_state('{"blocksize": 0, "shape": [32, 128]}'),
        "blocksize cannot",
    ),
    (
        "bitsandbytes nf4 32x128",
        with_state('{"blocksize": 64, "shape": [32, 129]}'),
        "do not hold 4 bits",
    ),
    (
        "bitsandbytes nf4 32x128",
        with_state('{"blocksize": 32, "shape": [32, 128]}'),
        "absmax has the",
    ),
    (
        "bitsandbytes nf4 32x128",
        with_state(NF4 + ', "nested_offset": NaN}'),
        "nested_offset cannot",
    ),
    ("bitsandbytes nf4 32x128", with_state(NF4 + ', "nested_blocksize": 256}'), "nested_absmax"),
    ("bitsandbytes nf4 32x128 nested", with_state(NF4 + "}"), "which the quant_state denies"),
    ("bitsandbytes int8", replaced("m.SCB", np.ones(31, "<f4"), "F32"), "m.SCB has the shape"),
    ("bitsandbytes int8", replaced("m.weight_format", np.uint8([3]), "U8"), "weights in rows"),
]


@pytest.mark.parametrize(("case", "change", "message"), HOSTILE)
def test_pieces_that_do_not_fit_are_one_row_with_a_reason(tmp_path, case, change, message):
    tensors, config, _ = GOLDEN[case]
    tensors, config = dict(tensors), dict(config)
    change(tensors, config)
    (weight,) = opened(tmp_path, tensors, config)
    assert weight.problem is not None
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(weight.problem)
    assert list(weight.chunks()) == []


def test_flat_codes_with_strides_are_refused(tmp_path):
    """Making them contiguous for each block would copy the matrix each time."""
    tensors, config, _ = GOLDEN["bitsandbytes nf4 32x128"]
    main, *others = only(tmp_path, tensors, config).parameter.pieces
    apart = replace(main, strides=(1, 2048))
    state = replace(main, name=STATE, shape=(77,), stop=main.start + 77)
    context = Context({}, {}, lambda info: tensors[STATE][0].tobytes())
    with pytest.raises(PackingError, match="do not hold 4 bits"):
        bitsandbytes.layout(Claim("m.weight", (apart, *others), (state,)), context)


@pytest.mark.parametrize("wrong", [-1, 3, 2**31 - 1])
def test_an_order_out_of_range_is_an_error_on_reading(tmp_path, wrong):
    tensors, config, _ = GOLDEN["gptq gptq 4 bit"]
    order = tensors["m.g_idx"][0].copy()
    order[7] = wrong
    weight = only(tmp_path, tensors | {"m.g_idx": (order, "I32")}, config)
    with pytest.raises(PackingError, match=f"m.weight: g_idx names group {wrong} of 3"):
        whole(weight)


SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 12, 32, 96, 1 << 40]), max_size=4)
JUNK = st.sampled_from([None, True, -1, 0, 3, 4, 32, 1 << 70, 0.5, "gptq", "gemv", [], [1], {}])
KEYS = ("bits", "group_size", "checkpoint_format", "version", "dynamic", "config_groups")
BLOCKS = {"group_0": {"weights": {"num_bits": 4, "block_structure": "4x32"}}, "": {"weights": 3}}


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(case=st.sampled_from(sorted(GOLDEN)), data=st.data())
def test_hostile_headers_are_refused_or_read(case, data):
    """Whatever shapes, types and settings say: a PackingError, or values of the layout's shape."""
    tensors, config, _ = GOLDEN[case]
    config = config | data.draw(st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=2))
    config |= data.draw(st.sampled_from([{}, {"config_groups": BLOCKS}]))
    infos, arrays = {}, {}
    changed = data.draw(st.sets(st.sampled_from(sorted(tensors)), min_size=1, max_size=2))
    for name, (array, dtype) in tensors.items():
        shape = tuple(data.draw(SHAPES)) if name in changed else array.shape
        dtype = data.draw(st.sampled_from([dtype, *DTYPES])) if name in changed else dtype
        itemsize = DTYPES[dtype].itemsize
        stop = math.prod(shape) * itemsize
        infos[name] = TensorInfo(name, dtype, shape, Path("x"), 0, stop)
        if max(stop, *shape, 0) < 1 << 20:
            words = np.resize(array.reshape(-1).view(np.uint8), stop)
            arrays[name] = words.view(DTYPES[dtype].storage).reshape(shape)

    def read(info):
        if info.nbytes > 1 << 16:
            raise PackingError("too large")
        # Empty ones may have extents that no array was made for.
        return arrays[info.name].tobytes() if info.nbytes else b""

    context = Context(infos, config, read)
    claims = [
        (packing, claim)
        for info in infos.values()
        for packing in (awq, gptq, bitsandbytes, compressed_tensors)
        if (claim := packing.claim(info, context)) is not None
    ]
    for packing, claim in claims:
        try:
            layout = packing.layout(claim, context)
            if not 0 < math.prod(layout.shape) < 1 << 20:
                continue
            index = (0,) * (len(layout.shape) - 2)
            pieces = [Piece(arrays[piece.name][index], piece.dtype) for piece in claim.pieces]
            rows, cols = layout.shape[-2:]
            values = layout.decode(pieces, slice(0, rows), slice(0, min(cols, 1024)))
        except PackingError:
            continue
        assert values.shape == (rows, min(cols, 1024))
        assert values.dtype == np.float32
