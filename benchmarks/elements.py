"""One read of stored elements, with kernels and with numpy: decoding, moments, float64 panel.

Writes a matrix of each type to a temporary folder and streams it as `analyze` does, without the
product and the eigenvalues: every element is decoded, counted and summed, and comes out in
float64 for the Gram matrix. The quantiles at the end, which are the same work for both ways, are
not timed. One thread, its processor time; both ways in turn. Afterwards their moments and panels
are compared. Exit code 1 if kernels gain less than the limit of a type.

    python benchmarks/elements.py [--elements 4194304] [--runs 7]
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from _results import out_option, publish, rounded
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import quantize
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import mlx_probe
from mlx_probe.analysis.loading import loaded_chunks
from mlx_probe.checkpoint import Weight
from mlx_probe.compute import native
from mlx_probe.compute.backends import choose_backend
from mlx_probe.compute.backends.numpy.backend import block_lines
from mlx_probe.compute.backends.protocol import ElementPass

COLS, GROUP = 1024, 64
COLUMNS = ("type", "numpy Melem/s", "kernels Melem/s", "GB/s of input", "gain", "limit")
LIMITS = {
    **{"F32": 3.5, "F16": 2.5, "BF16": 2.5, "Q4_0": 4.0, "Q4_1": 4.0, "Q8_0": 3.0},
    **{"Q4_K": 10.0, "Q6_K": None, "MLX 4 bit": None, "MLX mxfp4": None, "GPTQ 4 bit": None},
}
# Bytes of a block that are float16 scales; random bits there would be NaN and infinite too.
SCALES = {"Q4_K": (0, 2), "Q6_K": (208,)}
WORDS = {"<u4": "U32", "<i4": "I32", "<f2": "F16", "|u1": "U8"}

Arrays = dict[str, NDArray[Any]]


def ggml(x: NDArray[np.float32], kind: str, rng: np.random.Generator) -> NDArray[Any]:
    """A matrix in a type of ggml; the codes of K-quants are random."""
    if kind == "F32":
        return x
    if kind not in SCALES:
        return np.asarray(quantize(x, GGMLQuantizationType[kind]))
    elements, nbytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    blocks = rng.integers(0, 256, (len(x), COLS // elements, nbytes), np.uint8)
    for first in SCALES[kind]:
        scales = rng.uniform(0.001, 0.002, blocks.shape[:2]).astype("<f2")
        blocks[..., first : first + 2] = scales[..., None].view(np.uint8)
    return blocks.reshape(len(x), -1)


def packed(kind: str, rows: int, rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    """Pieces of random codes, and config.json."""

    def words(dtype: str, *shape: int) -> NDArray[Any]:
        return rng.integers(0, 256, (*shape, 4), np.uint8).view(dtype).reshape(shape)

    def halves(*shape: int) -> NDArray[Any]:
        return rng.uniform(0.001, 0.002, shape).astype("<f2")

    groups = COLS // GROUP
    if kind == "GPTQ 4 bit":
        zeros, scales = words("<i4", groups, rows // 8), halves(groups, rows)
        pieces = {"qweight": words("<i4", COLS // 8, rows), "qzeros": zeros, "scales": scales}
        settings = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False}
        return pieces, {"quantization_config": settings}
    pieces = {"weight": words("<u4", rows, COLS // 8)}
    if kind == "MLX mxfp4":
        pieces["scales"] = rng.integers(110, 120, (rows, COLS // 32), np.uint8)
        return pieces, {"quantization": {"mode": "mxfp4", "group_size": 32, "bits": 4}}
    pieces |= {"scales": halves(rows, groups), "biases": -halves(rows, groups)}
    return pieces, {"quantization": {"group_size": GROUP, "bits": 4}}


def weights(folder: Path, rows: int) -> Iterator[tuple[str, Weight]]:
    """A matrix of each type."""
    rng = np.random.default_rng(0)
    x = 0.05 * rng.standard_normal((rows, COLS), np.float32)
    for kind in LIMITS:
        place = folder / kind.replace(" ", "_")
        place.mkdir()
        if kind in GGMLQuantizationType.__members__:
            writer = GGUFWriter(place / "model.gguf", "llama")
            words = ggml(x, kind, rng)
            writer.add_tensor("blk.0.attn_q.weight", words, raw_dtype=GGMLQuantizationType[kind])
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
        else:
            pieces, config = packed(kind, rows, rng)
            write_pieces(place / "model.safetensors", pieces)
            (place / "config.json").write_text(json.dumps(config))
        (weight,) = mlx_probe.open_checkpoint(place).weights()
        yield kind, weight


def write_pieces(path: Path, pieces: Arrays) -> None:
    """A safetensors file of one module."""
    header, end = {}, 0
    for name, array in pieces.items():
        begin, end = end, end + array.nbytes
        entry = {"dtype": WORDS[array.dtype.str], "shape": array.shape}
        header[f"model.layers.0.mlp.up_proj.{name}"] = entry | {"data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    content = b"".join(array.tobytes() for array in pieces.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def read(weight: Weight, see: Callable[[NDArray[np.float64]], None] | None = None) -> ElementPass:
    """Every element decoded, counted, summed, and in float64; ``see`` gets those."""
    backend, _ = choose_backend("numpy", "cpu")
    elements = backend.element_pass(weight.chunk_dtype, 1e-8)
    axis, lines = (0 if weight.tall else 1), block_lines(weight.short)
    for loaded in loaded_chunks(weight, backend):
        for part in backend.parts(loaded.chunk, *weight.extents):
            elements.add(part)
            for block in part.parts(axis, lines):
                values = block.values
                if see is not None:
                    see(values)
    return elements


def check(kind: str, weight: Weight) -> None:
    """Equal panels and counts, moments to rounding; or an exit."""
    panels: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    ours = read(weight, lambda values: panels[0].append(values.copy())).finish()
    with native.without():
        plain = read(weight, lambda values: panels[1].append(values.copy())).finish()
    same = all(np.array_equal(*pair) for pair in zip(*panels, strict=True))
    for field in fields(plain):
        one, other = getattr(ours, field.name), getattr(plain, field.name)
        if field.name in ("mean", "m2", "m3", "m4"):
            power = {"mean": 1, "m2": 2, "m3": 3, "m4": 4}[field.name]
            same = same and abs(one - other) <= 1e-12 * (plain.m4 ** (power / 4))
        else:
            same = same and one == other
    if not same:
        raise SystemExit(f"{kind}: kernels and numpy differ: {ours} and {plain}")


def seconds(weight: Weight, kernels: bool) -> float:
    """Processor time of this thread for one read."""
    with nullcontext() if kernels else native.without():
        began = time.thread_time()
        elements = read(weight)
        taken = time.thread_time() - began
        # As a run does: tables of counts serve for the next matrix.
        elements.finish()
        return taken


@click.command()
@click.option(
    "--elements",
    default=1 << 22,
    show_default=True,
    type=click.IntRange(COLS),
    help="Of each matrix, about.",
)
@click.option("--runs", default=7, show_default=True, help="Runs of each way, in turn.")
@out_option
def main(elements: int, runs: int, out: Path) -> None:
    """Time one read by kernels against numpy."""
    if native.library("elements") is None:
        raise SystemExit("the kernels are not here: see mlx-probe doctor")
    table, missed = [], []
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        for kind, weight in weights(Path(name), elements // COLS):
            times: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(runs):
                for kernels, taken in times.items():
                    taken.append(seconds(weight, kernels))
            check(kind, weight)
            ours, plain = (median(taken) for taken in times.values())
            gain = median(b / a for a, b in zip(*times.values(), strict=True))
            speeds = rounded(weight.numel / plain / 1e6), rounded(weight.numel / ours / 1e6)
            bandwidth = rounded(weight.nbytes / ours / 1e9)
            table.append((kind, *speeds, bandwidth, rounded(gain), LIMITS[kind]))
            if gain < (LIMITS[kind] or 0):
                missed.append(kind)
    note = (
        f"{elements // COLS:,} x {COLS:,} elements of each type: decoded, counted, summed and in "
        f"float64. Processor time of one thread, medians of {runs} runs in turn; gain: the median "
        "of pairs. Panels, counts and quantiles of both ways are equal, sums to 1e-12."
    )
    publish("elements", COLUMNS, table, note, out)
    if missed:
        raise SystemExit(f"kernels gain less than the limit: {', '.join(missed)}")


if __name__ == "__main__":
    main()
