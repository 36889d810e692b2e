"""llama.cpp's own quantization and dequantization, from the library inside xllamacpp."""

import ctypes

import numpy as np
import pytest


class _Traits(ctypes.Structure):
    """``struct ggml_type_traits`` of ggml.h."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
        ("from_float_ref", ctypes.c_void_p),
    )


def _library():
    pytest.importorskip("xllamacpp")
    from xllamacpp import xllamacpp

    library = ctypes.CDLL(xllamacpp.__file__)
    library.ggml_get_type_traits.restype = ctypes.POINTER(_Traits)
    library.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    pointers, sizes = [ctypes.c_void_p] * 2, [ctypes.c_int64] * 3
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, *pointers, *sizes, ctypes.c_void_p]
    return library


def quantized(number, matrix, importance=None):
    """What llama.cpp makes of a matrix, and what it makes of that again.

    Args:
        number: The type's number in GGUF files.
        matrix: float32, (rows, cols).
        importance: Importance of each column; some types cannot do without.

    Returns:
        uint8 of shape (rows, bytes), and float32 of the matrix's shape.
    """
    library = _library()
    traits = library.ggml_get_type_traits(number).contents
    rows, cols = matrix.shape
    if importance is None and library.ggml_quantize_requires_imatrix(number):
        importance = np.ones(cols, np.float32)
    stored = np.zeros((rows, cols // traits.blck_size * traits.type_size), np.uint8)
    weights = None if importance is None else importance.ctypes.data
    size = library.ggml_quantize_chunk(
        number, matrix.ctypes.data, stored.ctypes.data, 0, rows, cols, weights
    )
    assert size == stored.nbytes
    return stored, dequantized(number, stored)


def dequantized(number, stored):
    """float32 of shape (rows, cols), as llama.cpp reads rows of blocks."""
    traits = _library().ggml_get_type_traits(number).contents
    rows, nbytes = stored.shape
    values = np.zeros((rows, nbytes // traits.type_size * traits.blck_size), np.float32)
    traits.to_float(stored.ctypes.data, values.ctypes.data, values.size)
    return values
