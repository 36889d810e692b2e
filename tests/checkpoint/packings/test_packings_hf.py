"""GPTQ, AWQ, compressed-tensors and bitsandbytes, against the libraries that write them.

The golden cases are what the libraries packed and read back themselves (see `packers`); what
they leave out (long rows, stacks, hostile files) is made by the published formulas.
"""

import json
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import packers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weightfiles import model_files, whole, write_safetensors

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.checkpoint.packings import awq, bitsandbytes, compressed_tensors, gptq
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Piece
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

GOLDEN = packers.golden()
# By the type of the scales: the unit in the last place of the values that compressed-tensors
# rounds to it (from 8-bit scales it makes bfloat16; of powers of two nothing is lost). Others
# were asked for float32.
UNITS = {"F32": 0, "F16": 2**-10, "BF16": 2**-7, "F8_E4M3": 2**-7, "U8": 0}
# Scales and bits of a single column.
NARROW = np.ones((4, 1), "<f2"), 4
STATE = "m.weight.quant_state.bitsandbytes__nf4"


def opened(path, tensors, config):
    config_path = path / "config.json"
    config_path.write_text(json.dumps({"quantization_config": config}))
    file = write_safetensors(path / "model.safetensors", tensors)
    return open_checkpoint(model_files(file, config=config_path)).weights()


def only(path, tensors, config):
    (weight,) = opened(path, tensors, config)
    assert weight.problem is None
    return weight


@pytest.mark.parametrize("case", GOLDEN)
def test_the_libraries_own_values(tmp_path, case):
    tensors, config, values = GOLDEN[case]
    weight = only(tmp_path, tensors, config)
    assert (weight.name, weight.shape) == ("m.weight", values.shape)
    assert weight.parameter.packing == case.split()[0]
    stored = {piece.name for piece in (*weight.parameter.pieces, *weight.parameter.extra)}
    assert stored == set(tensors)
    assert weight.nbytes == sum(array.nbytes for array, _ in tensors.values())
    unit = UNITS[tensors["m.weight_scale"][1]] if "compressed" in case else 0
    np.testing.assert_allclose(whole(weight), values, rtol=unit, atol=0)


@pytest.mark.parametrize(
    ("case", "detail"),
    [
        ("gptq gptq 3 bit", "3 bit, group 32"),
        ("awq gemm 64", "4 bit, group 64"),
        ("awq gemv 32", "4 bit, group 32, gemv"),
        ("compressed_tensors 4 bit asymmetric", "int4, group 32"),
        ("compressed_tensors 4 bit tensor", "int4, one scale"),
        ("compressed_tensors int8 channel", "int8, a scale for each row"),
        ("compressed_tensors fp8 block", "fp8, blocks of 12 x 20"),
        ("compressed_tensors nvfp4", "fp4, group 16"),
        ("bitsandbytes nf4 32x128 nested", "nf4, block 64, nested"),
        ("bitsandbytes int8", "int8, a scale for each row"),
    ],
)
def test_the_row_says_what_the_packing_does(tmp_path, case, detail):
    tensors, config, _ = GOLDEN[case]
    assert only(tmp_path, tensors, config).parameter.detail == detail


def affine(rng, rows, cols, bits, group):
    codes = rng.integers(0, 1 << bits, (rows, cols))
    zeros = rng.integers(0, 1 << bits, (rows, cols // group))
    scales = rng.uniform(0.5, 1, zeros.shape).astype(np.float16)
    zero, scale = (np.repeat(part, group, axis=1) for part in (zeros, scales.astype(np.float32)))
    return codes, zeros, scales, (codes - zero).astype(np.float32) * scale


def named(pieces, module="m"):
    return {f"{module}.{name}": piece for name, piece in pieces.items()}


def gptq_case(rng, rows, cols, bits=4, group=64):
    codes, zeros, scales, values = affine(rng, rows, cols, bits, group)
    return named(packers.gptq(codes, zeros, scales, bits)), {}, values


def awq_case(rng, rows, cols):
    codes, zeros, scales, values = affine(rng, rows, cols, 4, 64)
    return named(packers.awq(codes, zeros, scales)), {}, values


def gemv_case(rng, rows, cols):
    codes, zeros, scales, values = affine(rng, rows, cols, 4, 64)
    config = {"quant_method": "awq", "version": "gemv", "group_size": 64}
    return named(packers.awq_gemv(codes, zeros, scales)), config, values


def compressed_case(rng, rows, cols, bits=4, group=64):
    codes, zeros, scales, values = affine(rng, rows, cols, bits, group)
    pieces = packers.compressed(codes, zeros, scales, bits)
    return named(pieces), {"quant_method": "compressed-tensors"}, values


def nf4_case(rng, rows, cols, block=64, **state):
    codes = rng.integers(0, 16, (rows, cols))
    table = np.sort(rng.uniform(-1, 1, 16)).astype(np.float32)
    absmax = rng.uniform(0.5, 1, -(-codes.size // block)).astype(np.float32)
    text = json.dumps({"blocksize": block, "shape": [rows, cols], "quant_type": "nf4"} | state)
    tensors = {
        "m.weight": (packers.nibbles(codes), "U8"),
        "m.weight.absmax": (absmax, "F32"),
        "m.weight.quant_map": (table, "F32"),
        STATE: (np.frombuffer(text.encode(), np.uint8), "U8"),
    }
    flat = np.arange(codes.size).reshape(codes.shape)
    return tensors, {}, table[codes] * absmax[flat // block]


def int8_case(rng, rows, cols):
    codes = rng.integers(-127, 128, (rows, cols)).astype(np.int8)
    scales = rng.uniform(0.5, 1, rows).astype(np.float32)
    values = codes * scales[:, None] * np.float32(7.874015718698502e-3)
    return {"m.weight": (codes, "I8"), "m.SCB": (scales, "F32")}, {}, values


CASES = {
    **{f"gptq {bits}": (gptq_case, {"bits": bits}) for bits in (2, 3, 4, 8)},
    "awq": (awq_case, {}),
    "awq gemv": (gemv_case, {}),
    **{f"compressed_tensors {bits}": (compressed_case, {"bits": bits}) for bits in (3, 4)},
    "bitsandbytes nf4": (nf4_case, {}),
    "bitsandbytes int8": (int8_case, {}),
}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", [(64, 2560), (1536, 64), (1056, 1088)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_slabs_add_up_to_the_matrix(tmp_path, rng, case, shape):
    make, options = CASES[case]
    tensors, config, values = make(rng, *shape, **options)
    weight = only(tmp_path, tensors, config)
    assert weight.parameter.packing == case.split()[0]
    np.testing.assert_array_equal(whole(weight), values)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", [(2, 4097), (1100, 33), (7, 1025)], ids=str)
@pytest.mark.parametrize("block", [64, 4096])
def test_flat_blocks_run_on_from_row_to_row(tmp_path, rng, shape, block):
    tensors, config, values = nf4_case(rng, *shape, block=block)
    np.testing.assert_array_equal(whole(only(tmp_path, tensors, config)), values)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """One weight of each case, with its pieces mapped, and its values."""
    decoders = {}
    for case, (make, options) in CASES.items():
        tensors, config, values = make(np.random.default_rng(5), 96, 2112, **options)
        weight = only(tmp_path_factory.mktemp("packed"), tensors, config)
        decoders[case] = weight.parameter.decode, weight._open()[0], values
    return decoders


@settings(deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("case", CASES)
def test_any_rows_and_slabs_decode_alike(packed, case, data):
    decode, pieces, values = packed[case]
    first = data.draw(st.sampled_from([0, 1024, 2048]))
    cols = slice(first, data.draw(st.sampled_from([c for c in (1024, 2048, 2112) if c > first])))
    numbers = data.draw(st.lists(st.integers(0, 95), min_size=1, max_size=20))
    low, high = min(numbers), max(numbers) + 1
    for rows in (np.array(numbers), slice(low, high)):
        np.testing.assert_array_equal(decode(pieces, rows, cols), values[rows, cols])


@pytest.mark.parametrize("case", ["gptq 3", "awq", "bitsandbytes int8"])
def test_a_stack_has_its_experts_one_by_one(tmp_path, rng, case):
    make, options = CASES[case]
    experts = [make(rng, 32, 128, **options) for _ in range(3)]
    tensors = {
        name: (np.stack([tensors[name][0] for tensors, *_ in experts]), dtype)
        for name, (_, dtype) in experts[0][0].items()
    }
    weights = opened(tmp_path, tensors, {})
    assert [weight.expert_index for weight in weights] == [0, 1, 2]
    for weight, (_, _, values) in zip(weights, experts, strict=True):
        np.testing.assert_array_equal(whole(weight), values)


@pytest.mark.parametrize(("bits", "version"), [(b, v) for b in (2, 3, 4, 8) for v in (1, 2)])
def test_zero_points_wrap_within_their_code(tmp_path, rng, bits, version):
    """Zero is stored as all ones in version 1, and comes back as zero."""
    codes, _, scales, _ = affine(rng, 32, 64, bits, 64)
    zeros = np.tile([[0], [(1 << bits) - 1]], (16, 1))
    tensors = named(packers.gptq(codes, zeros, scales, bits, version))
    config = {"checkpoint_format": "gptq" if version == 1 else "gptq_v2", "quant_method": "gptq"}
    weight = only(tmp_path, tensors, config)
    np.testing.assert_array_equal(whole(weight), (codes - zeros) * scales.astype(np.float32))


def test_single_modules_may_have_bits_and_groups_of_their_own(tmp_path, rng):
    tensors, _, values = gptq_case(rng, 32, 128, bits=8, group=32)
    config = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    (refused,) = opened(tmp_path, tensors, config)
    assert refused.problem.startswith("m.weight: config.json has 4 bits, which do not fit")
    weight = only(tmp_path, tensors, config | {"dynamic": {"+:m": {"bits": 8, "group_size": 32}}})
    np.testing.assert_array_equal(whole(weight), values)


def test_without_a_configuration_shapes_decide(tmp_path):
    """config.json may be missing: GPTQ and AWQ differ in their shapes."""
    for case in ("gptq gptq 4 bit", "awq gemm 64"):
        tensors, _, values = GOLDEN[case]
        np.testing.assert_array_equal(whole(only(tmp_path, tensors, {})), values)


def test_modules_find_their_own_scheme_by_shape(tmp_path):
    """A narrow matrix fits several widths, and blocks several sizes: a scheme has to name one."""
    tensors, config, values = GOLDEN["compressed_tensors fp8 block"]
    others = {"weights": {"num_bits": 4, "block_structure": "64x64"}}
    mine = {"weights": {"num_bits": 16, "block_structure": "12x20"}}
    config = config | {"config_groups": {"a": others, "b": mine}}
    np.testing.assert_array_equal(whole(only(tmp_path, tensors, config)), values)
    narrow = named(packers.compressed(np.arange(4)[:, None], np.zeros((4, 1), int), *NARROW))
    np.testing.assert_array_equal(whole(only(tmp_path, narrow, config))[:, 0], np.arange(4))
    (refused,) = opened(tmp_path, narrow, {"quant_method": "compressed-tensors"})
    assert "do not show the bits" in refused.problem


def test_columns_of_compressed_tensors_may_have_an_order(tmp_path, rng):
    codes, zeros, scales, plain = affine(rng, 64, 128, 4, 32)
    tensors = named(packers.compressed(codes, zeros, scales, 4))
    config = {"quant_method": "compressed-tensors"}
    order = rng.permutation(np.arange(128) // 32).astype("<i4")
    ordered = (codes - zeros[:, order]) * scales.astype(np.float32)[:, order]
    # An order that was never set is full of -1.
    for numbers, values in ((order, ordered), (np.full(128, -1, "<i4"), plain)):
        tensors["m.weight_g_idx"] = numbers, "I32"
        np.testing.assert_array_equal(whole(only(tmp_path, tensors, config)), values)


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
        "4-bit floats have no zero points",
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


@pytest.mark.parametrize("case", CASES)
def test_no_more_is_unpacked_than_a_slab_needs(tmp_path, rng, case):
    make, options = CASES[case]
    tensors, config, values = make(rng, 512, 2048, **options)
    weight = only(tmp_path, tensors, config)
    decode, (pieces, _) = weight.parameter.decode, weight._open()
    tracemalloc.start()
    block = decode(pieces, slice(0, 32), slice(0, 2048))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Of 512 rows, 32: unpacking all would take at least four bytes for each of the elements.
    assert peak < 6 * block.nbytes < values.nbytes
