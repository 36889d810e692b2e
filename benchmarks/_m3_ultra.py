"""What the MLX backend's work takes on an M3 Ultra: counted from the code, priced by assumptions.

Nobody has measured any of it with this program. The GPU's operations are those of
`compute/backends/mlx`, which MLX runs one by one: each reads its operands from memory and writes
its result there. `GpuWork` counts them for a slab; `Assumed` says how fast they go.

MLX is imported when something is counted: band_reduction.py loads a BLAS for it before.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlx_probe.checkpoint import Weight, chunk_extent
from mlx_probe.core.dtypes import DTYPES

__all__ = [
    "M3_ULTRA",
    "REASONS",
    "WIDENED",
    "Assumed",
    "GpuWork",
    "digits_of",
    "entries_taken",
    "products",
    "slabs_of",
    "survey",
]


@dataclass(frozen=True)
class Assumed:
    """What is assumed of an M3 Ultra, and of a network between four.

    Attributes:
        products: Flops in a second of float32 matrix products on the GPU.
        memory: Bytes in a second that operations on the GPU read and write.
        counts: Elements in a second of which the GPU counts bit patterns.
        launch: Seconds of the GPU between two operations.
        waiting: Seconds until the host knows that the GPU has finished.
        disk: Bytes in a second from the disk.
        workers: Tasks at once, and cores that they have.
        core: Flops in a second of a float64 Gram matrix on such a core. All of its work is as much
            faster or slower than on the machine that measured.
        together: Speed of a core when all are busy, of that of one alone.
        lent: What a further core adds to the work on one matrix, in cores.
        bookkeeping: Of the time of the interpreter, in that of the machine that measured.
        memory_limit: Bytes for all tasks.
        latency: Seconds of a message between the scheduler and a worker of another machine.
    """

    products: float = 20e12
    memory: float = 600e9
    counts: float = 10e9
    launch: float = 3e-6
    waiting: float = 200e-6
    disk: float = 6e9
    workers: int = 16
    core: float = 45e9
    together: float = 0.8
    lent: float = 0.8
    bookkeeping: float = 1.0
    memory_limit: int = 200_000_000_000
    latency: float = 5e-3


# Title, unit, reason.
REASONS: dict[str, tuple[str, float, str]] = {
    "products": (
        "float32 products on the GPU, TFLOP/s",
        1e12,
        "an estimate: its maker publishes none",
    ),
    "memory": (
        "memory that GPU operations move, GB/s",
        1e9,
        "three quarters of the data sheet's 819",
    ),
    "counts": (
        "bit patterns that the GPU counts, 10⁹/s",
        1e9,
        "an estimate: atomic additions into a table of 0.3 or 4 MB",
    ),
    "launch": ("the GPU between two operations, µs", 1e-6, "an estimate"),
    "waiting": ("the host waits for the GPU, µs", 1e-6, "an estimate"),
    "disk": ("disk, GB/s", 1e9, "an estimate, for a model that is not in memory"),
    "workers": ("workers and cores", 1, "fewer than its 20 or 24 performance cores"),
    "core": (
        "float64 products of a core, GFLOP/s",
        1e9,
        "0.7 of 4 GHz x 16, of its four 128-bit units; the kernels compile for arm64",
    ),
    "together": (
        "speed of a core when all are busy",
        1,
        "an estimate: clocks fall, caches and memory are shared",
    ),
    "lent": ("what a lent core adds to a matrix, cores", 1, "an estimate for many cores"),
    "bookkeeping": (
        "time of Python, in that of the machine that measured",
        1,
        "its single core is faster; not counted on",
    ),
    "memory_limit": ("memory of all tasks, GB", 1e9, "less than half of 512"),
    "latency": ("a message to another machine, ms", 1e-3, "Dask on a local network, an estimate"),
}
M3_ULTRA = Assumed()

# Bytes that the operations on an element read and write. Of float32: the leading bits for the
# histogram (8 + 4), NaN and Inf (12), the five counts of the survey (78), its extremes (8), scaling
# (16), power sums (104). Of 16 bits: widened words, and the histogram's (10).
SUMS = {True: 10, False: 230}
# Operations of a slab beside its products, and times that the host waits for it.
OPERATIONS = {True: 8, False: 90}
WAITS = {True: 1, False: 2}
# Blocks of rows (8), the largest elements twice (24), scaling (16), energy (12), the remainder
# (42); and of each digit (36).
PEELING, DIGIT = 102, 36
# A left factor is put beside others and scaled; then the product reads it.
LEFT, LEFT_READ = 16, 4
# A product is written in float32, widened to int64, and summed.
WIDENED = 24


@dataclass(frozen=True)
class GpuWork:
    """Work of the GPU on some slab.

    Attributes:
        flops: Of products.
        moved: Bytes read and written.
        counted: Elements of which bit patterns are counted.
        operations: Operations.
        waits: How often the host waits for them.
    """

    flops: float = 0.0
    moved: float = 0.0
    counted: float = 0.0
    operations: float = 0.0
    waits: float = 0.0

    def seconds(self, assumed: Assumed) -> float:
        """Seconds of the GPU, without the host's waiting."""
        return (
            self.flops / assumed.products
            + self.moved / assumed.memory
            + self.counted / assumed.counts
            + self.operations * assumed.launch
        )


def digits_of(weight: Weight) -> int:
    """Digits of an element, as `MlxBackend.gram_pass` chooses them."""
    return 3 if DTYPES[weight.chunk_dtype].itemsize <= 2 else 4


def slabs_of(weight: Weight) -> list[int]:
    """Elements of each slab."""
    whole = chunk_extent(weight.short) * weight.short
    full, rest = divmod(weight.numel, whole)
    return [whole] * full + [rest] * (rest > 0)


def survey(weight: Weight, elements: int, digits: int) -> GpuWork:
    """What the host waits for: decoding, moments, digits.

    Args:
        weight: A readable weight.
        elements: Of one of its slabs.
        digits: Digits of an element, if it has a Gram matrix.
    """
    stored = DTYPES[weight.chunk_dtype].itemsize if weight.encoding is None else 1
    narrow = weight.encoding is None and stored <= 2
    # To float32; packed ones are multiplied by their scales, too.
    decoding = stored + 4 if weight.encoding is None else stored + 12
    work = GpuWork(
        moved=elements * (decoding + SUMS[narrow]),
        counted=elements,
        operations=OPERATIONS[narrow],
        waits=WAITS[narrow],
    )
    if not weight.has_spectrum:
        return work
    return GpuWork(
        moved=work.moved + elements * (PEELING + DIGIT * digits),
        counted=work.counted,
        operations=work.operations + 20 + 5 * digits,
        waits=work.waits + 1,
    )


def products(
    weight: Weight, elements: int, digits: int, together: int = 1, widened: int = WIDENED
) -> GpuWork:
    """What is queued: the products of all digits with all, panel by panel of the upper part.

    Args:
        weight: A matrix.
        elements: Of one of its slabs.
        digits: Digits of an element.
        together: Matrices that one operation multiplies at once.
        widened: Bytes that an entry of a product takes from float32 to the sum.
    """
    from mlx_probe.compute.backends.mlx.digits import BLOCK_ROWS, terms
    from mlx_probe.compute.backends.mlx.gram import panel_edges

    short = weight.short
    panels, factors = panel_edges(short), len(terms(digits))
    upper = sum((last - first) * (short - first) for first, last in panels)
    # Right factors are read once for each panel and product.
    read = LEFT_READ * digits**2 + 4 * factors * sum(short - first for first, _ in panels) / short
    stacked = 8 * (together > 1)
    blocks = max(1.0, elements / short / BLOCK_ROWS)
    return GpuWork(
        flops=2 * elements / short * digits**2 * upper,
        moved=elements * (stacked + LEFT * digits**2 + read)
        + widened * upper * (blocks * digits**2 + factors),
        operations=7 * len(panels) * factors / together,
    )


def entries_taken(weight: Weight, digits: int) -> float:
    """Sums that the host takes over: entries of the upper panels, by groups."""
    from mlx_probe.compute.backends.mlx.digits import BLOCK_ROWS, WINDOW, group_count
    from mlx_probe.compute.backends.mlx.gram import panel_edges

    edges = panel_edges(weight.short)
    upper = sum((last - first) * (weight.short - first) for first, last in edges)
    windows = -(-weight.long // (BLOCK_ROWS * WINDOW))
    return float(windows * group_count(digits) * upper)
