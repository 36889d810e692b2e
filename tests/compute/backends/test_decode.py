import numpy as np
import pytest
from matrices import E4M3, E5M2, decoded

from mlx_probe.compute.backends.numpy.native import NativeChunk
from mlx_probe.compute.native import elements
from mlx_probe.core.dtypes import DTYPES, float8_e4m3_values

CODED = tuple(name for name, dtype in DTYPES.items() if dtype.itemsize <= 2)


def values(backend, stored, dtype):
    return np.array(backend.load(stored, dtype).values)


@pytest.mark.parametrize("dtype", CODED)
def test_every_code_of_up_to_16_bits(backend, dtype):
    size = DTYPES[dtype].itemsize
    codes = np.arange(1 << (8 * size)).astype(f"<u{size}").view(DTYPES[dtype].storage)
    result = values(backend, codes, dtype)
    with np.errstate(invalid="ignore"):
        expected = decoded(codes, dtype)
    np.testing.assert_array_equal(result, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(result[numbers]), np.signbit(expected[numbers]))


def test_the_table_of_e4m3():
    np.testing.assert_array_equal(float8_e4m3_values(), E4M3)
    assert np.flatnonzero(np.isnan(E4M3)).tolist() == [0x7F, 0xFF]


@pytest.mark.parametrize(
    ("dtype", "code", "value"),
    [
        ("BF16", 0x3F80, 1.0),
        ("BF16", 0x0001, 2.0**-133),
        ("BF16", 0xFF7F, -3.3895313892515355e38),
        ("F8_E5M2", 0x7B, 57344.0),
        ("F8_E5M2", 0x01, 2.0**-16),
        ("F8_E5M2", 0xFC, -np.inf),
        ("F8_E4M3", 0x7E, 448.0),
        ("F8_E4M3", 0x81, -(2.0**-9)),
        ("BOOL", 7, 1.0),
    ],
)
def test_published_values(backend, dtype, code, value):
    assert values(backend, np.array([code], DTYPES[dtype].storage), dtype)[0] == value


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", ["unaligned", "strided", "read only"])
def test_any_view_of_a_file_loads(backend, dtype, view, rng):
    storage = DTYPES[dtype].storage
    words = rng.integers(0, 100, (6, 10)).astype(storage)
    stored = words
    if view == "unaligned":
        stored = np.frombuffer(b"abc" + words.tobytes(), storage, offset=3).reshape(6, 10)
    elif view == "strided":
        stored = np.repeat(words, 2, axis=1)[:, ::2]
    else:
        stored = words.copy()
        stored.flags.writeable = False
    np.testing.assert_array_equal(values(backend, stored, dtype), decoded(words, dtype))


@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16"])
def test_a_chunk_outlives_its_file_unless_kernels_read_it_there(backend, dtype):
    stored = np.full((4, 4), 3, DTYPES[dtype].storage)
    expected = decoded(stored, dtype)
    mapped = stored.view()
    mapped.flags.writeable = False  # as every view of a file is
    chunk = backend.load(mapped, dtype)
    stored[:] = 0
    read_there = isinstance(chunk, NativeChunk)
    assert read_there == (backend.name == "numpy" and dtype != "F64" and elements.is_available())
    np.testing.assert_array_equal(np.array(chunk.values), 0 * expected if read_there else expected)


def test_e5m2_is_the_upper_byte_of_float16():
    assert E5M2[0x3C] == 1.0
    assert E5M2[0x7C] == np.inf
