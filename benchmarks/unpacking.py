"""Memory that a large packed weight takes while it is read: a 4-bit embedding, never expanded.

Writes a model of one MLX 4-bit matrix to a temporary folder (0.44 GB for the default shape),
reads it as `analyze` does and measures how far the process grows: by unpacking alone, and by
unpacking with the moments and the Gram matrix. Exit code 1 if that is more than 2.5 times the
largest slab of unpacked values, besides the Gram matrix itself. After measuring it compares the
last slab with MLX's own dequantization.

    python benchmarks/unpacking.py [--rows 151936] [--cols 5120]
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import psutil
from _results import out_option, publish, rounded

import mlx_probe
from mlx_probe.checkpoint import Weight
from mlx_probe.compute.backends import choose_backend

GROUP, BITS, LIMIT = 64, 4, 2.5
COLUMNS = ("work", "process grows by MB", "Gram matrix MB", "slabs besides it", "limit", "seconds")


def write_model(folder: Path, rows: int, cols: int) -> None:
    """One matrix as MLX stores it; what the codes are does not matter to the memory."""
    rng = np.random.default_rng(0)
    shapes = {
        "weight": ("U32", (rows, cols * BITS // 32), 4),
        "scales": ("F16", (rows, cols // GROUP), 2),
        "biases": ("F16", (rows, cols // GROUP), 2),
    }
    header, position = {}, 0
    for name, (dtype, shape, width) in shapes.items():
        stop = position + shape[0] * shape[1] * width
        entry = {"dtype": dtype, "shape": shape, "data_offsets": [position, stop]}
        header[f"model.embed_tokens.{name}"] = entry
        position = stop
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for dtype, shape, _ in shapes.values():
            for first in range(0, shape[0], 4096):
                lines = (min(4096, shape[0] - first), shape[1])
                if dtype == "U32":
                    part = rng.integers(0, 2**32, lines, np.uint32)
                else:
                    part = rng.uniform(0.001, 0.002, lines).astype(np.float16)
                file.write(part.tobytes())
    config = {"quantization": {"group_size": GROUP, "bits": BITS}}
    (folder / "config.json").write_text(json.dumps(config))


def growth(work: Callable[[], object]) -> tuple[int, float]:
    """Bytes that the process grows by at most while it works, and the seconds that it takes."""
    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    peak = before

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    try:
        work()
    finally:
        seconds = time.perf_counter() - began
        done.set()
        watcher.join()
    return peak - before, seconds


def unpack(weight: Weight) -> None:
    """Every slab once."""
    for slab in weight.chunks():
        del slab


def measure(weight: Weight) -> None:
    """Moments and Gram matrix, as `analyze` takes them."""
    backend, _ = choose_backend("numpy", "cpu")
    assert weight.rows is not None
    assert weight.cols is not None
    moments = backend.element_pass(weight.chunk_dtype, 1e-8)
    gram = backend.gram_pass(weight.rows, weight.cols, weight.chunk_dtype)
    for slab in weight.chunks():
        chunk = backend.load(slab, weight.chunk_dtype)
        moments.add(chunk)
        gram.add(chunk)
        del slab, chunk
    gram.finish()
    moments.finish()


def check(weight: Weight, folder: Path) -> None:
    """The last slab against MLX."""
    import mlx.core as mx

    last = np.empty(0)
    for slab in weight.chunks():
        last = slab
    with mx.stream(mx.cpu):
        arrays = mx.load(str(folder / "model.safetensors"))
        parts = [arrays[f"model.embed_tokens.{n}"][-8:] for n in ("weight", "scales", "biases")]
        expected = mx.dequantize(
            parts[0],
            scales=parts[1].astype(mx.float32),
            biases=parts[2].astype(mx.float32),
            group_size=GROUP,
            bits=BITS,
        )
        np.testing.assert_allclose(last[-8:], np.array(expected), rtol=1e-6, atol=1e-9)


@click.command()
@click.option("--rows", default=151_936, show_default=True)
@click.option("--cols", default=5_120, show_default=True)
@out_option
def main(rows: int, cols: int, out: Path) -> None:
    """Measure and print."""
    gram = 8 * min(rows, cols) ** 2
    works = (("unpacking", unpack, 0), ("with moments and Gram matrix", measure, gram))
    table, worst = [], 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder, rows, cols)
        with mlx_probe.open_checkpoint(folder) as checkpoint:
            (weight,) = checkpoint.weights()
            slab = max(part.nbytes for part in weight.chunks())
            packed, unpacked = weight.nbytes, 4 * weight.numel
            for what, work, beside in works:
                grown, seconds = growth(lambda work=work: work(weight))  # type: ignore[misc]
                slabs = (grown - beside) / slab
                worst = max(worst, slabs)
                sizes = rounded(grown / 1e6), rounded(beside / 1e6) if beside else None
                table.append((what, *sizes, rounded(slabs), LIMIT, rounded(seconds)))
            check(weight, folder)
    note = (
        f"{rows:,} x {cols:,}: {packed / 1e6:,.0f} MB packed, {unpacked / 1e6:,.0f} MB unpacked, "
        f"read in slabs of {slab / 1e6:.1f} MB. numpy backend."
    )
    publish("unpacking", COLUMNS, table, note, out)
    if worst > LIMIT:
        raise SystemExit("the process grew by more than the limit")


if __name__ == "__main__":
    main()
