import math
import struct
import time

import numpy as np
import pytest
from gguf import GGUFReader
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import _type_traits, dequantize, quantize
from weightfiles import (
    check_refused,
    gguf_bytes,
    listed,
    model_files,
    pair,
    text,
    whole,
    write_gguf,
)

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.checkpoint.formats import read_header
from mlx_probe.checkpoint.packings import ggml
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import CheckpointError

# Every one has more than one chunk of 1024 and whole blocks of 256.
SHAPES = {
    "tall": (1300, 256),
    "square": (1280, 1280),
    "wide": (3, 2560),
    "vector": (5120,),
    "convolution": (1100, 1, 2, 256),
    "stack": (3, 1030, 256),
    "wide stack": (2, 5, 1280),
}
PLAIN = ["F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"]
QUANTIZED = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
RANDOM = ["Q2_K", "Q4_K", "Q6_K", "IQ4_XS", "TQ2_0", "MXFP4"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gguf"


def stored_array(kind, shape, rng):
    if kind in PLAIN:
        count = math.prod(shape) * DTYPES[kind].itemsize
        return rng.integers(0, 256, count, np.uint8).view(DTYPES[kind].storage).reshape(shape)
    if kind in QUANTIZED:
        return quantize(rng.standard_normal(shape, np.float32), GGMLQuantizationType[kind])
    elements, nbytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return rng.integers(0, 256, (*shape[:-1], shape[-1] // elements * nbytes), np.uint8)


@pytest.mark.parametrize("kind", [kind.name for kind in _type_traits if kind.name not in PLAIN])
def test_every_type_that_the_package_dequantizes(path, kind, rng):
    elements, nbytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    # Random bytes: scales of every kind, zero, subnormal, infinite and NaN among them.
    stored = rng.integers(0, 256, (200, 12 * nbytes), np.uint8)
    write_gguf(path, {"blk.0.ffn_up.weight": (stored, kind)})
    (weight,) = open_checkpoint(model_files(path)).weights()
    with np.errstate(all="ignore"):
        expected = dequantize(stored, GGMLQuantizationType[kind])
    assert (weight.shape, weight.parameter.packing) == ((200, 12 * elements), "ggml")
    assert (weight.dtype, weight.problem) == (kind, None)
    values = whole(weight)
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
    numbers = ~np.isnan(expected)
    # As words: -0 and 0 differ.
    np.testing.assert_array_equal(values.view("<u4")[numbers], expected.view("<u4")[numbers])


def test_the_usual_types_are_those_of_the_package():
    for number, kind in ggml._USUAL.items():
        official = GGMLQuantizationType(number)
        assert kind.name == official.name
        assert (kind.elements, kind.nbytes) == GGML_QUANT_SIZES[official]
        assert kind.name in DTYPES or official in _type_traits


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", PLAIN + QUANTIZED + RANDOM)
def test_chunks_are_the_tensor(path, kind, shape, rng):
    stored = stored_array(kind, shape, rng)
    write_gguf(path, {"before": (np.ones(3, np.float32), "F32"), "w_ids": (stored, kind)})
    weights = open_checkpoint(model_files(path)).weights()[1:]
    got = np.stack([whole(weight) for weight in weights])
    if kind in PLAIN:
        expected = stored
    else:
        with np.errstate(all="ignore"):
            expected = dequantize(stored, GGMLQuantizationType[kind])
        assert expected.shape == shape
    np.testing.assert_array_equal(got, expected.reshape(got.shape))
    assert got.dtype == DTYPES[weights[0].chunk_dtype].storage
    assert all(len(list(weight.chunks())) > 1 for weight in weights)
    assert {weight.dtype for weight in weights} == {kind}
    assert weights[0].chunk_dtype == (kind if kind in PLAIN else "F32")


def test_the_table_agrees_with_the_official_reader(path, rng):
    tensors = {f"{kind}.{i}": (stored_array(kind, shape, rng), kind)
               for kind in ("F32", "BF16", "Q4_1", "Q6_K")
               for i, shape in enumerate([(256,), (2, 256), (3, 2, 256)])}  # fmt: skip
    write_gguf(path, tensors, alignment=64, llama__block_count=7)
    header = read_header(path)
    official = GGUFReader(path).tensors
    assert [t.name for t in header.tensors] == [str(t.name) for t in official]
    for ours, theirs in zip(header.tensors, official, strict=True):
        assert (ours.start, ours.nbytes) == (theirs.data_offset, theirs.n_bytes)
        assert ours.shape == tuple(reversed(theirs.shape.tolist()))
    assert header.framework == "gguf"
    assert dict(header.metadata) == {
        "general.architecture": "llama",
        "general.alignment": 64,
        "llama.block_count": 7,
        "general.name": "tiny",
    }


def test_all_kinds_of_metadata(path):
    strings = struct.pack("<IQ", 8, 2) + text("a") + text("b")
    nested = struct.pack("<IQ", 9, 2) + (struct.pack("<IQ", 5, 1) + bytes(4)) * 2
    pairs = [
        pair("u8", 0, b"\xff"), pair("i8", 1, b"\xff"), pair("u16", 2, b"\xff\xff"),
        pair("i16", 3, b"\xff\xff"), pair("u32", 4, b"\xff" * 4), pair("i32", 5, b"\xff" * 4),
        pair("f32", 6, struct.pack("<f", 0.5)), pair("bool", 7, b"\x01"),
        pair("text", 8, text(b"caf\xc3\xa9 \xff")), pair("strings", 9, strings),
        pair("nested", 9, nested), pair("u64", 10, b"\xff" * 8), pair("i64", 11, b"\xff" * 8),
        pair("f64", 12, struct.pack("<d", 0.25)),
    ]  # fmt: skip
    path.write_bytes(gguf_bytes(pairs, [listed()], bytes(32), version=2))
    header = read_header(path)
    assert dict(header.metadata) == {
        "u8": 255, "i8": -1, "u16": 65535, "i16": -1, "u32": 2**32 - 1, "i32": -1, "f32": 0.5,
        "bool": True, "text": "café \ufffd", "u64": 2**64 - 1, "i64": -1, "f64": 0.25,
    }  # fmt: skip
    assert header.tensors[0].shape == (8,)


@pytest.mark.parametrize(("kind", "name"), [(9, "Q8_1"), (15, "Q8_K"), (4, "ggml_type_4"),
                                            (2**32 - 1, "ggml_type_4294967295")])  # fmt: skip
def test_a_type_without_a_decoder_is_one_row_with_a_reason(path, kind, name):
    entries = [listed("odd", (256, 1, 2), kind), listed("good", (8,), 0, 640)]
    path.write_bytes(gguf_bytes([], entries, bytes(672)))
    odd, good = open_checkpoint(model_files(path)).weights()
    assert (odd.dtype, odd.shape, list(odd.chunks())) == (name, (2, 1, 256), [])
    assert "gguf package" in odd.problem
    # A tensor of an unknown type ends where the next tensor begins.
    assert odd.nbytes == {9: 640, 15: 584}.get(kind, 640)
    assert whole(good).shape == (8,)


def test_an_unknown_type_at_the_end_reaches_to_the_end(path):
    path.write_bytes(gguf_bytes([], [listed("odd", (256,), 99)], bytes(77)))
    assert read_header(path).tensors[0].nbytes == 77


def numbers(kind, count):
    return struct.pack("<IQ", kind, count)


DAMAGED = {
    "empty": (b"", "truncated inside the header"),
    "magic": (b"GGML" + bytes(28), "does not begin with GGUF"),
    "version 1": (gguf_bytes(version=1), "version 1 is not supported"),
    "version 4": (gguf_bytes(version=4), "version 4 is not supported"),
    "big-endian": (gguf_bytes(version=3 << 24), "big-endian"),
    "tensor count": (gguf_bytes(counts=(2**63, 0)), f"{2**63} tensors do not fit"),
    "pair count": (gguf_bytes(counts=(0, 2**40)), f"{2**40} key-value pairs do not fit"),
    "key length": (gguf_bytes([struct.pack("<Q", 2**60) + bytes(40)]), "truncated inside"),
    "key bytes": (gguf_bytes([pair(b"\xff", 0, b"1")]), "not UTF-8"),
    "key twice": (gguf_bytes([pair("a", 0, b"1")] * 2), "'a' twice"),
    "value type": (gguf_bytes([pair("a", 13, bytes(8))]), "'a' has the unknown type 13"),
    "array length": (gguf_bytes([pair("a", 9, numbers(12, 2**61))]), "numbers do not fit"),
    "strings": (gguf_bytes([pair("a", 9, numbers(8, 2**62))]), "strings do not fit"),
    "arrays": (gguf_bytes([pair("a", 9, numbers(9, 2**50))]), "arrays do not fit"),
    "depth": (gguf_bytes([pair("a", 9, numbers(9, 1) * 100)]), "'a' has an array of type 9 at"),
    "array type": (gguf_bytes([pair("a", 9, numbers(77, 1))]), "'a' has an array of type 77"),
    "alignment 0": (
        gguf_bytes([pair("general.alignment", 4, bytes(4))]),
        "alignment 0 is not a power",
    ),
    "alignment 24": (
        gguf_bytes([pair("general.alignment", 4, struct.pack("<I", 24))]),
        "alignment 24 is not a power",
    ),
    "alignment text": (
        gguf_bytes([pair("general.alignment", 8, text("32"))]),
        "alignment '32' is not a power",
    ),
    "tensor twice": (gguf_bytes([], [listed()] * 2, bytes(32)), "'w' is listed twice"),
    "tensor name": (gguf_bytes([], [listed(b"\xfe")], bytes(32)), "not UTF-8"),
    "rank": (gguf_bytes([], [listed(dims=[1] * 33)], bytes(32)), "'w': 33 dimensions"),
    "rank 2**31": (
        gguf_bytes([], [text("w") + struct.pack("<I", 2**31) + bytes(99)]),
        "'w': 2147483648 dimensions",
    ),
    "overflow": (gguf_bytes([], [listed(dims=[2**40] * 4)], bytes(32)), "'w': a shape"),
    "misaligned": (gguf_bytes([], [listed(offset=8)], bytes(64)), "'w' is not aligned"),
    "out of range": (
        gguf_bytes([], [listed(offset=2**63)], bytes(64)),
        "truncated: .* bytes missing.*'w'",
    ),
    "truncated": (gguf_bytes([], [listed()], bytes(31)), "truncated: 1 bytes missing.*'w'"),
    "unknown type outside": (
        gguf_bytes([], [listed(kind=99, offset=64)], bytes(31)),
        "truncated: 33 bytes missing.*'w'",
    ),
    "overlap": (
        gguf_bytes([], [listed("a", (16,)), listed("b", (8,), 0, 32)], bytes(64)),
        "'a' and 'b' overlap",
    ),
    "row of no whole blocks": (
        gguf_bytes([], [listed(dims=(48, 2), kind=3)], bytes(64)),
        r"'w': rows of 48 elements are not whole blocks of 32 \(Q4_1\)",
    ),
    "0-D block": (gguf_bytes([], [listed(dims=(), kind=3)], bytes(64)), "rows of 1 elements"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_one_message_that_names_the_file(path, case):
    check_refused(path, *DAMAGED[case])


def test_a_hostile_header_in_a_huge_file_ends_at_the_limit(path):
    # Fits by count, but a header of zero-length strings would take hours.
    with path.open("wb") as file:
        file.write(gguf_bytes([pair("a", 9, numbers(8, 2**32))]))
        file.truncate(50 << 30)
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match="strings do not fit"):
        read_header(path)
    with path.open("r+b") as file:
        file.write(gguf_bytes([pair("a", 8, struct.pack("<Q", 2**30))]))
    with pytest.raises(CheckpointError, match="longer than 100000000 bytes"):
        read_header(path)
    assert time.perf_counter() - start < 1
