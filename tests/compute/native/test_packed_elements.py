"""Kernels decode packed weights to the bits that the packings give, part by part."""

from dataclasses import replace

import numpy as np
import pytest
from encoded_cases import CASES, GGML, encoded

from mlx_probe.compute import native
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.backends.numpy.native import NativeChunk
from mlx_probe.compute.native import elements
from mlx_probe.compute.native.lines import lines_of

pytestmark = pytest.mark.skipif(not elements.is_available(), reason="no kernels here")

NUMPY = NumpyBackend()

# What numpy unpacks.
BY_NUMPY = (
    *("gptq 3", "gptq 5", "gptq ordered 3", "awq 5", "nf4", "fp4 nested"),
    *("compressed 2", "compressed 3", "compressed zeros 3"),
    *(f"mlx {bits}" for bits in (1, 2, 3, 5, 6, 7)),
    *("IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4"),
)
BY_KERNEL = [case for case in (*GGML, *CASES) if case not in BY_NUMPY]
# Tall, wide, one slab, fewer rows than a tile has lines.
SHAPES = [(1312, 256), (288, 2304), (1056, 1024), (32, 768)]


def same_bits(actual, expected):
    """Equal to the last bit; NaNs are NaNs."""
    assert actual.dtype == expected.dtype
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan)
    words = f"u{expected.itemsize}"
    np.testing.assert_array_equal(
        np.where(nan, 0, actual).view(words), np.where(nan, 0, expected).view(words)
    )


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", BY_KERNEL)
def test_elements_have_the_bits_of_the_packing(tmp_path, rng, case, shape):
    (weight,) = encoded(tmp_path, rng, case, *shape).weights()
    assert NUMPY.decodes(weight.encoding)
    slabs = zip(weight.encoded_chunks(), weight.chunks(), strict=True)
    for block, expected in slabs:
        chunk = NUMPY.load_encoded(block)
        assert isinstance(chunk, NativeChunk)
        assert chunk.size == expected.size
        same_bits(chunk.stored, expected)
        same_bits(chunk.values, expected.astype(np.float64))


@pytest.mark.parametrize("shape", [(1312, 256), (288, 2304)], ids=str)
@pytest.mark.parametrize("case", BY_KERNEL)
def test_parts_are_the_elements_in_order(tmp_path, rng, case, shape):
    (weight,) = encoded(tmp_path, rng, case, *shape).weights()
    axis = 0 if weight.tall else 1
    (block,), (expected,) = weight.encoded_chunks(), weight.chunks()
    parts = [part.values.copy() for part in NUMPY.load_encoded(block).parts(axis, 256)]
    assert len(parts) == -(-max(shape) // 256)
    same_bits(np.concatenate(parts, axis), expected.astype(np.float64))


@pytest.mark.parametrize("case", BY_NUMPY)
def test_others_are_left_to_the_packing(tmp_path, rng, case):
    (weight,) = encoded(tmp_path, rng, case, 32, 256).weights()
    assert weight.encoding is None or not NUMPY.decodes(weight.encoding)


def test_nothing_is_decoded_without_kernels(tmp_path, rng):
    (weight,) = encoded(tmp_path, rng, "Q4_0", 32, 256).weights()
    with native.without():
        assert not NUMPY.decodes(weight.encoding)
    assert NUMPY.decodes(weight.encoding)


def reaches(lines):
    """Bytes from the first word that a kernel reads up to, and how many there are."""
    s, unit = lines.source, lines.unit
    last = (-(-s.lines // unit.lines) - 1) * s.stride
    return last + -(-s.width // unit.elements) * unit.nbytes, lines.words.nbytes + (
        (len(lines.words) - 1) * (lines.words.strides[0] - lines.words[0].nbytes)
    )


def factors_fit(lines):
    """Whether every scale that a kernel asks for is there."""
    s, unit = lines.source, lines.unit
    sizes = {array.ctypes.data: array for array in lines.factors}
    for name in ("zero", "scale", "bias"):
        if address := getattr(s, name):
            needed = s.width if unit.by_line else -(-(s.phase + s.width) // s.group)
            rows = sizes[s.groups].max() + 1 if unit.by_line else s.lines if s.factors else 1
            assert sizes[address].size >= (rows - 1) * s.factors + needed
    if unit.by_line:
        assert sizes[s.groups].size >= s.lines
        assert sizes[s.groups].min() >= 0


@pytest.mark.parametrize("case", BY_KERNEL)
def test_words_that_are_too_few_are_never_read(tmp_path, rng, case):
    """A piece with a line or a column less than its shape says: refused, or read inside of it."""
    (weight,) = encoded(tmp_path, rng, case, 64, 512).weights()
    (block,) = weight.encoded_chunks()
    refused = 0
    for piece, words in enumerate(block.words):
        cuts = [words[:-1], words[..., :-1], words[:0]] if words.ndim else []
        for cut in cuts:
            pieces = (*block.words[:piece], cut, *block.words[piece + 1 :])
            try:
                lines = lines_of(replace(block, words=pieces))
            except (ValueError, IndexError, TypeError):
                lines = None
            refused += lines is None
            if lines is not None:
                needed, there = reaches(lines)
                assert needed <= there
                factors_fit(lines)
    assert refused >= len(block.words)
