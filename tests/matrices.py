"""Hard matrices, their storage in every number format, and the way `analyze` measures them.

The conversions use nothing of the product: numpy's own types, bfloat16 as the upper half of
float32, E5M2 as the upper byte of float16, and E4M3 from its definition.
"""

import dataclasses
import math

import numpy as np

from mlx_probe.compute.backends.quantization import GROUP_SIZE, QUANTIZED_BITS
from mlx_probe.compute.spectrum import MatrixReader, count_rank, singular_values
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.metrics import Measurement

FLOATS = tuple(name for name, dtype in DTYPES.items() if dtype.kind == "float")
NUMPY_TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


def e4m3_table():
    """Values of the 256 codes, float64: bias 7, no infinities, NaN where all bits are set."""
    values = []
    for code in range(256):
        exponent, fraction = code >> 3 & 15, code & 7
        value = math.ldexp(8 + fraction, exponent - 10) if exponent else math.ldexp(fraction, -9)
        values.append(math.nan if code & 127 == 127 else math.copysign(value, 127.5 - code))
    return np.array(values)


E4M3 = e4m3_table()
E5M2 = (np.arange(256, dtype=np.uint16) << 8).view(np.float16).astype(np.float64)


def store(x, dtype):
    """Stored words for numbers, and the float64 values that the words hold.

    To nearest, but E5M2 to the next value towards zero; E4M3 saturates.
    """
    x = np.asarray(x)
    with np.errstate(over="ignore", under="ignore"):
        words = _words(x, dtype)
    return words, decoded(words, dtype)


def _words(x, dtype):
    if dtype in NUMPY_TYPES:
        return x.astype(NUMPY_TYPES[dtype])
    if dtype == "BF16":
        bits = x.astype(np.float32).view(np.uint32)
        odd = (bits >> 16) & 1
        return np.where(np.isnan(x), 0x7FC0, (bits + 0x7FFF + odd) >> 16).astype(np.uint16)
    if dtype == "F8_E5M2":
        return (x.astype(np.float16).view(np.uint16) >> 8).astype(np.uint8)
    if dtype == "F8_E4M3":
        positive = E4M3[:127]
        nearest = np.searchsorted((positive[1:] + positive[:-1]) / 2, np.abs(x))
        codes = np.where(np.isnan(x), 127, nearest)
        return (codes + 128 * np.signbit(x)).astype(np.uint8)
    return x.astype(DTYPES[dtype].storage)


def decoded(words, dtype):
    """Float64 values of stored words."""
    if dtype == "BF16":
        with np.errstate(invalid="ignore"):  # signalling NaNs
            return (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if dtype == "F8_E4M3":
        return E4M3[words]
    if dtype == "F8_E5M2":
        return E5M2[words]
    return (words != 0 if dtype == "BOOL" else words).astype(np.float64)


def ulp(x, dtype):
    """Distance from |x| to the next larger value of a format."""
    x = np.abs(x)
    if dtype in NUMPY_TYPES:
        return np.spacing(x.astype(NUMPY_TYPES[dtype])).astype(np.float64)
    if dtype == "F8_E4M3":
        positive = np.append(E4M3[:0x7F], 480.0)
        return np.diff(positive)[np.searchsorted(positive, x, side="right") - 1]
    # The upper parts of wider formats: as many times coarser as there are bits less.
    wide, factor = (np.float32, 2.0**16) if dtype == "BF16" else (np.float16, 2.0**8)
    return np.spacing(x.astype(wide)).astype(np.float64) * factor


def slabs_of(words, extent=1024):
    """Parts along the long side, as `Weight.chunks` yields them."""
    wide = words.ndim == 2 and words.shape[0] < words.shape[1]
    for first in range(0, max(words.shape), extent):
        part = slice(first, first + extent)
        yield words[:, part] if wide else words[part]


def gram_of(backend, words, dtype, precise=False, extent=1024):
    """The Gram matrix of the short side as `analyze` makes it: its upper triangle."""
    gram = backend.gram_pass(*words.shape, dtype, precise)
    for part in slabs_of(words, extent):
        gram.add(backend.load(part, dtype))
    return gram.finish()


def measure(
    backend,
    words,
    dtype,
    rank_tol=1e-6,
    level="full",
    zero_epsilon=1e-8,
    extent=1024,
    solvers=None,
):
    """Drive the passes and the choice of the spectrum as `analyze` does."""
    rows, cols = words.shape if words.ndim == 2 else (0, 0)
    matrix = words.ndim == 2 and DTYPES[dtype].kind == "float"
    passes = [backend.element_pass(dtype, zero_epsilon)]
    if matrix:
        passes.append(backend.gram_pass(rows, cols, dtype))
    if matrix and level == "full":
        bits = () if cols % GROUP_SIZE else QUANTIZED_BITS
        passes.append(backend.quantization_pass(rows, cols, dtype, bits))
    for part in slabs_of(words, extent):
        chunk = backend.load(part, dtype)
        for each in passes:
            each.add(chunk)
    moments = passes[0].finish()
    if not matrix or moments.nan_count or moments.inf_count:
        return Measurement(moments, rank_tol)

    def again():
        return slabs_of(words, extent)

    def precise():
        return gram_of(backend, words, dtype, True, extent)

    gram = passes[1].finish()
    reader = MatrixReader(rows, cols, dtype, moments, again, precise)
    spectrum = count_rank(gram, rows, cols, rank_tol) if level == "basic" else None
    spectrum = spectrum or singular_values(gram, reader, rank_tol, solvers)
    return Measurement(moments, rank_tol, spectrum, passes[2].finish() if passes[2:] else None)


def moments_of(backend, words, dtype, **options):
    """Moments of words of any shape."""
    return measure(backend, words.reshape(-1), dtype, **options).moments


def same_moments(actual, expected):
    """Equal counts, extremes, quantiles and formats; sums to 1e-12 of what was summed."""
    size = max(abs(expected.min), abs(expected.max))
    third = math.sqrt(expected.m2) * math.sqrt(expected.m4)
    # The mean is rounded on the scale of the elements, and all deviations with it.
    rounded = 1e-3 * size
    scales = {
        "mean": size,
        "m2": expected.m2,
        "m3": third + rounded * expected.m2,
        "m4": expected.m4 + rounded * third,
    }
    for field in dataclasses.fields(expected):
        one, other = getattr(actual, field.name), getattr(expected, field.name)
        if field.name not in scales:
            # Zeros of both signs are equal.
            assert one == other or np.array_equal(one, other, equal_nan=True), field.name
        elif not (one == other or (math.isnan(one) and math.isnan(other))):
            assert abs(one - other) <= 1e-12 * scales[field.name], field.name


def spectrum_of(backend, words, dtype, **options):
    """Spectrum of a matrix of floats."""
    return measure(backend, words, dtype, level="standard", **options).spectrum


def orthonormal(rng, n, k):
    """k orthonormal columns of length n, uniformly distributed."""
    q, r = np.linalg.qr(rng.standard_normal((n, k)))
    return q * np.sign(np.diag(r))


def with_spectrum(rng, m, n, sigma):
    """A matrix with given singular values and random singular vectors."""
    k = len(sigma)
    return (orthonormal(rng, m, k) * sigma) @ orthonormal(rng, n, k).T


def _gaussian(rng, m, n):
    return rng.standard_normal((m, n)) * 0.02


def _power_law(exponent):
    def make(rng, m, n):
        return with_spectrum(rng, m, n, np.arange(1.0, min(m, n) + 1) ** -exponent)

    return make


def _log_decay(decades):
    def make(rng, m, n):
        return with_spectrum(rng, m, n, np.logspace(0, -decades, min(m, n)))

    return make


def _low_rank_and_noise(noise):
    def make(rng, m, n):
        k = max(min(m, n) // 8, 1)
        low, full = rng.standard_normal((m, k)) @ rng.standard_normal((k, n)), _gaussian(rng, m, n)
        return low / np.linalg.norm(low, 2) + noise * full / np.linalg.norm(full, 2)

    return make


def _duplicated_columns(rng, m, n):
    x = _gaussian(rng, m, n)
    x[:, n // 2 : 2 * (n // 2)] = x[:, : n // 2]
    return x


def _zero_rows_and_a_column(rng, m, n):
    x = _gaussian(rng, m, n)
    x[: m // 4] = x[:, n // 2] = 0
    return x


def _integer_factors(rng, m, n):
    k = max(min(m, n) // 4, 1)
    return (rng.integers(-8, 9, (m, k)) @ rng.integers(-8, 9, (k, n))).astype(np.float64)


def _outlier_columns(rng, m, n):
    x = _gaussian(rng, m, n)
    x[:, :4] *= 64
    return x


def _cluster_at_the_tolerance(rng, m, n):
    sigma = np.ones(min(m, n))
    half = len(sigma) // 2
    sigma[half:] = 1e-6 * np.exp(np.linspace(-1, 1, len(sigma) - half))
    return with_spectrum(rng, m, n, sigma)


def _zero(rng, m, n):
    return np.zeros((m, n))


FAMILIES = {
    "gaussian": _gaussian,
    "power 0.5": _power_law(0.5),
    "power 1": _power_law(1.0),
    "power 2": _power_law(2.0),
    "log to 1e-5": _log_decay(5),
    "log to 1e-9": _log_decay(9),
    "log to 1e-10": _log_decay(10),
    "low rank": _low_rank_and_noise(0.0),
    "low rank + 1e-7": _low_rank_and_noise(1e-7),
    "low rank + 1e-6": _low_rank_and_noise(1e-6),
    "low rank + 1e-5": _low_rank_and_noise(1e-5),
    "low rank + 1e-4": _low_rank_and_noise(1e-4),
    "low rank + 1e-2": _low_rank_and_noise(1e-2),
    "duplicate columns": _duplicated_columns,
    "zero rows": _zero_rows_and_a_column,
    "integer factors": _integer_factors,
    "outlier columns": _outlier_columns,
    "cluster at 1e-6": _cluster_at_the_tolerance,
    "zero": _zero,
}
