"""How long the commands on runs take where there are ten thousand of them.

    python benchmarks/experiments.py [--runs 10000] [--times 5]

Each run folder has metadata of the size that real ones have: 60 settings, 20 final numbers, the
packages of the environment. Every command is a process of its own, from the start of the
interpreter to its end, with its output thrown away; peak memory is the system's account.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

import click
from _processes import PROBE, Used, repeated, run
from _results import Cell, out_option, publish, rounded

from mlx_probe.runs.environment import package_versions

COLUMNS = ("command", "runs", "seconds", "peak memory, MB")
MODELS = ("Qwen/Qwen3-0.6B", "HuggingFaceTB/SmolLM2-135M", "openai/gpt-oss-20b")
# One of them, whatever their number.
RUN = "run-{:05}"
# What is asked of so many runs, in the order of the table.
ASKED = (
    ("list",),
    ("list", "--where", "val_loss<2.5"),
    ("list", "--where", "val_loss<2.5 and config.train.lr=0.001", "--sort", "val_loss"),
    ("list", "--kind", "train", "--model", "smollm", "--since", "2026-03-01", "--limit", "20"),
    ("best", "--by", "val_loss"),
    ("show", RUN),
    ("lineage", RUN),
    ("list", "--json"),
)


def training(draw: random.Random, number: int) -> dict[str, Any]:
    """Metadata of a training, or of a tuning with a base."""
    recipe = {
        section: {f"setting_{n}": draw.choice([True, 0.1, 64, "auto", None]) for n in range(14)}
        for section in ("model", "data", "optimizer", "snapshots")
    }
    recipe["train"] = {"lr": draw.choice([0.1, 0.01, 0.001]), "steps": 100}
    final = {f"metric_{n}": draw.random() for n in range(16)}
    return {
        "kind": ("train", "tune")[number % 2],
        "recipe": recipe,
        "base": draw.choice(MODELS) if number % 2 else None,
        "steps_done": 100,
        "planned_steps": 100,
        "final": {"val_loss": draw.uniform(2, 4), "val_bpb": draw.uniform(0.8, 1.4), **final},
        "data": {"sources": ["texts/"], "fingerprint": f"{number % 7:064x}"},
    }


def analysis(draw: random.Random, number: int) -> dict[str, Any]:
    """Metadata of an analysis."""
    return {
        "kind": "analyze",
        "model": {"id": draw.choice(MODELS), "revision": f"{number % 5:040x}"},
        "configuration": {f"setting_{n}": draw.choice([True, 0.1, 64, "auto"]) for n in range(60)},
        "rows_by_status": {"ok": 200, "scalar": 2},
        "summary": {f"mean_{n}": draw.random() for n in range(18)},
    }


def make(folder: Path, count: int) -> None:
    """So many run folders, a third of them analyses."""
    draw, environment = random.Random(0), package_versions()
    for number in range(count):
        kind = analysis if number % 3 == 2 else training
        month, day = 1 + number % 6, 1 + number % 28
        meta = {
            **kind(draw, number),
            "created_at": f"2026-{month:02}-{day:02}T12:00:00+00:00",
            "code_version": "0.1.0",
            "command": ["mlx-probe", "train", "--out", f"runs/run-{number:05}"],
            "seconds": {"measure": draw.uniform(1, 1e4)},
            "environment": environment,
        }
        run_folder = folder / f"{number // 100:03}" / f"run-{number:05}"
        run_folder.mkdir(parents=True)
        (run_folder / "run_meta.json").write_text(json.dumps(meta, indent=2), "utf-8")


@click.command()
@click.option("--runs", default=10_000, show_default=True, help="Run folders.")
@click.option("--times", default=5, show_default=True, help="Turns of each command.")
@click.option("--commands", default=len(ASKED), help="The first so many.", show_default=True)
@out_option
def main(runs: int, times: int, commands: int, out: Path) -> None:
    """Time the commands on runs."""
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        make(folder / "runs", runs)
        variables = {"MLX_PROBE_CATALOG": str(folder / "catalog.sqlite")}

        def once(*words: str) -> Used:
            return run([PROBE, "runs", *words], variables)

        scanned = once("scan", str(folder / "runs"))
        rows: list[list[Cell]] = [_row(("scan FOLDER, the first time",), runs, [scanned])]
        rows.append(_row(("scan, nothing changed",), runs, [once("scan") for _ in range(times)]))
        for asked in ASKED[:commands]:
            words = tuple(word.format(min(7, runs - 1)) for word in asked)
            used = repeated(lambda words=words: once(*words), times, cold=times == 1)
            rows.append(_row(words, runs, used))
    note = (
        f"A process each, from the start of the interpreter to its end; medians of {times}, the "
        "first scan once. Metadata of 60 settings and 20 numbers a run."
    )
    publish("experiments", COLUMNS, rows, note, out)


def _row(words: tuple[str, ...], runs: int, used: list[Used]) -> list[Cell]:
    command = " ".join(f'"{word}"' if "<" in word else word for word in words)
    seconds = statistics.median(each.seconds for each in used)
    return [f"runs {command}", runs, rounded(seconds, 2), round(max(each.peak for each in used))]


if __name__ == "__main__":
    main()
