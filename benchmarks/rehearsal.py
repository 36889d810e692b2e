"""The largest models in full size, before anybody has to believe it: what their numbers take.

    python benchmarks/rehearsal.py [--model deepseek ...] [--filled 6] [--layers 3 ...]

First part: sparse files with the names, types, shapes, files and settings of published models,
up to DeepSeek-V3 (671 billion parameters, 91,991 tensors in 163 files). `inspect` and `plan` of
each, in processes of their own; of all together `catalog scan`; of the first `analyze --metrics
basic` of a seeded sample of matrices that have random numbers, killed and resumed, and what reads
that run. What of the published files is known and what is not: _rehearsal_deepseek.py,
_rehearsal_networks.py, _rehearsal_gguf.py. Then one of its files is missing, or ends too early.

Second part: checkpoints with DeepSeek-V3's names and tiny shapes, all filled with random numbers;
with 61 layers their names are exactly those of the published model, and 118 layers make 90,000
rows. Each is analysed whole; killed when nine tenths of its rows are there, and resumed; validated;
its report is written, and opened in Chromium where there is one. Of --mixture layers also `moe
stats`, and its page.

Bookkeeping is the wall time of an analysis by one worker, less that of an analysis of a single
tensor, less the seconds of the stages in run_meta.json, per row; of the fewest rows and of the
single tensor the median of --turns. The stages of so small tensors are calls rather than reading
and arithmetic: "ms a row" has these as well. A row is a weight; two stored tensors make most of
these. Exit code 1 if something misses its limit.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import click
from _processes import PROBE, Used, run
from _rehearsal_deepseek import Deepseek
from _rehearsal_files import disk_bytes, write_model
from _rehearsal_gguf import quantized, write_gguf
from _rehearsal_models import Model, shards_of
from _rehearsal_networks import gpt_oss, llama, qwen
from _rehearsal_rows import analyzed, fixed_seconds, page_of, resumed
from _results import Cell, out_option, publish, rounded

MODELS: dict[str, Callable[[], Model]] = {
    "deepseek": lambda: Deepseek().model(),
    "qwen": qwen,
    "llama": llama,
    "gpt-oss": gpt_oss,
}
GGUF = "gguf"
# Seconds and megabytes.
HEADERS, RESUMED, VALIDATED, REFUSED = 20.0, 15.0, 60.0, 5.0
MOST_MEMORY, PAGE = 1000.0, 25.0
# Milliseconds of a row, and how much those of most rows may be above those of the fewest.
BOOKKEEPING, GROWTH = 2.0, 1.2
LIMIT = "1GB"
NO_MIXTURE: tuple[Cell, ...] = (None, None, None)
FILES = ("model", "GB", "files", "tensors", "what", "seconds", "limit s", "peak MB", "limit MB")
ROWS = (
    *("layers", "tensors", "rows", "seconds", "peak MB", "limit MB", "ms a row"),
    *("bookkeeping, ms a row", "rows when killed", "measuring again after, s", "validate s"),
    *("report s", "page MB", "page ready s", "messages"),
    *("moe stats s", "its peak MB", "its page MB"),
)


def miniature(layers: int, experts: int) -> Deepseek:
    """DeepSeek-V3 with sides of a few elements."""
    return Deepseek(
        **{"layers": layers, "experts": experts, "dense": min(3, layers), "hidden": 16},
        **{"width": 32, "expert_width": 8, "heads": 2, "query_rank": 8, "value_rank": 8},
        **{"head": 8, "rotary": 4, "vocabulary": 64},
    )


class Table:
    """The rows of the first part, and what missed its limit."""

    def __init__(self) -> None:
        self.rows: list[tuple[Cell, ...]] = []
        self.missed: list[str] = []

    def add(
        self,
        about: Sequence[Cell],
        what: str,
        used: Used,
        seconds: float | None = None,
        peak: float | None = None,
    ) -> None:
        """A command; its limits where there are some."""
        took = (rounded(used.seconds), seconds, rounded(used.peak), peak)
        self.rows.append((*about, what, *took))
        if used.seconds > (seconds or float("inf")) or used.peak > (peak or float("inf")):
            self.missed.append(f"{what} of {about[0]}")


def sample_of(model: Model, count: int, seed: int) -> list[str]:
    """Names of matrices of experts and of attention, as many of each."""
    names = [name for stage in model.stages for name in stage if name.endswith("proj.weight")]
    chance = random.Random(seed)
    kinds = [
        [name for name in names if (".experts." in name) is is_expert]
        for is_expert in (False, True)
    ]
    counts = (count // 2, count - count // 2)
    return [
        n
        for of, many in zip(kinds, counts, strict=True)
        for n in chance.sample(of, min(many, len(of)))
    ]


def rehearse_files(keys: Sequence[str], filled: int, seed: int, work: Path) -> Table:
    """Commands on models of full size, which are mostly holes."""
    table = Table()
    for key in keys:
        began = time.perf_counter()
        if key == GGUF:
            name, path = "DeepSeek-V3 Q4_K_M.gguf", work / "models" / "DeepSeek-V3-Q4_K_M.gguf"
            path.parent.mkdir(exist_ok=True)
            size, count, names = write_gguf(path, Deepseek()), 1, len(quantized(Deepseek()))
            sample: list[str] = []
        else:
            model = MODELS[key]()
            sample = sample_of(model, filled, seed) if key == keys[0] else []
            # A matrix of 8 bits is nothing without its scales.
            scales = [f"{name}_scale_inv" for name in sample]
            name, path = model.name, work / "models" / model.name.replace("/", "--")
            size = write_model(path, model, {*sample, *scales}, seed=seed)
            count, names = len(shards_of(model)), sum(map(len, model.stages))
        about = (name, rounded(size / 1e9, 4), count, names)
        on_disk = disk_bytes(path if path.is_dir() else path.parent) / 1e6
        written = time.perf_counter() - began
        click.echo(f"{name}: {size / 1e9:.1f} GB made in {written:.1f} s, {on_disk:.0f} MB on disk")
        for command in ("inspect", "plan"):
            table.add(about, command, run([PROBE, command, path]), HEADERS, MOST_MEMORY)
        if sample:
            _rehearse_sample(table, about, path, sample, work)
            _rehearse_damage(table, about, path)
    database = work / "catalog.sqlite"
    used = run([PROBE, "catalog", "--database", database, "scan", work / "models"])
    table.add(("all together", None, None, None), "catalog scan", used, HEADERS, MOST_MEMORY)
    return table


def _rehearse_sample(
    table: Table, about: Sequence[Cell], path: Path, sample: Sequence[str], work: Path
) -> None:
    """Analyse the matrices that have numbers: whole, and killed and resumed."""
    chosen = [word for name in sample for word in ("--include", name)]
    options, out = ("--metrics", "basic", *chosen), work / "sample"
    count = len(sample)
    whole = analyzed(path, out, LIMIT, *options)
    if whole.rows != count:
        raise SystemExit(f"{whole.rows} rows of {count}")
    table.add(about, f"analyze --metrics basic, {count} matrices", whole.used, None, MOST_MEMORY)
    again = resumed(path, work / "killed", LIMIT, count // 2 + 1, *options)
    if again is not None:
        used = Used(again.first, 0.0, 0.0)
        table.rows.append(
            (
                *about,
                f"the same after a kill at {again.kept} rows, to the next row",
                rounded(used.seconds),
                RESUMED,
                None,
                None,
            )
        )
        table.missed += ["resume"] * (again.first > RESUMED)
    table.add(about, "validate, 5 recomputed", run([PROBE, "validate", out]), VALIDATED)
    table.add(about, "report", run([PROBE, "report", out]))


def _rehearse_damage(table: Table, about: Sequence[Cell], path: Path) -> None:
    """One of the files is missing, then it is too short: a message names it."""
    shard = sorted(path.glob("*.safetensors"))[len(list(path.glob("*.safetensors"))) // 2]
    kept = shard.with_name("kept")
    shard.rename(kept)
    _refused(table, about, "inspect, a file missing", path, shard.name)
    kept.rename(shard)
    size = shard.stat().st_size
    with shard.open("r+b") as file:
        file.truncate(size // 2)
        _refused(table, about, "inspect, a file cut off", path, shard.name)
        file.truncate(size)


def _refused(table: Table, about: Sequence[Cell], what: str, path: Path, named: str) -> None:
    began = time.perf_counter()
    done = subprocess.run([PROBE, "inspect", path], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != 1 or named not in done.stderr:
        raise SystemExit(f"{what}: {done.stderr}")
    table.rows.append(
        (*about, f"{what}: refused by its name", rounded(seconds), REFUSED, None, None)
    )
    table.missed += [what] * (seconds > REFUSED)


def rehearse_rows(
    layers: Sequence[int],
    mixture: Sequence[int],
    experts: int,
    seed: int,
    turns: int,
    work: Path,
) -> Iterator[tuple[tuple[Cell, ...], list[str]]]:
    """Whole analyses of more and more rows; of each its cells, and what missed its limit."""
    fewest, fixed = 0.0, fixed_seconds(LIMIT, turns)
    for count in layers:
        model = miniature(count, experts).model()
        path, out, killed = (work / f"{count}{end}" for end in ("", "-run", "-killed"))
        write_model(path, model, is_filled=True, seed=seed)
        runs = [analyzed(path, out, LIMIT)]
        if not fewest:
            # A second more or less is a millisecond of each of so few rows.
            runs += [analyzed(path, work / f"{count}-{turn}", LIMIT) for turn in range(turns - 1)]
        each = median(whole.bookkeeping(fixed) for whole in runs)
        whole = min(runs, key=lambda whole: abs(whole.bookkeeping(fixed) - each))
        fewest = fewest or each
        again = resumed(path, killed, LIMIT, whole.rows)
        kept, first = (None, None) if again is None else (again.kept, rounded(again.first))
        validated = run([PROBE, "validate", out])
        page = page_of(out)
        used = whole.used
        row: tuple[Cell, ...] = (
            *(count, sum(map(len, model.stages)), whole.rows, rounded(used.seconds)),
            *(rounded(used.peak), MOST_MEMORY, rounded(1000 * used.seconds / whole.rows)),
            *(rounded(each), kept, first),
            *(rounded(validated.seconds), rounded(page.used.seconds), rounded(page.size)),
            *(None if page.ready is None else rounded(page.ready), page.messages),
            *(_rehearse_mixture(path, work / f"{count}-moe") if count in mixture else NO_MIXTURE),
        )
        limits = {
            "memory": (used.peak, MOST_MEMORY),
            "bookkeeping": (each, BOOKKEEPING),
            "growth of bookkeeping": (each / fewest, GROWTH),
            "resume": (again.first if again else 0.0, RESUMED),
            "validate": (validated.seconds, VALIDATED),
            "page": (page.size, PAGE),
            "messages of the page": (page.messages, 0),
        }
        yield (
            row,
            [f"{what} at {whole.rows} rows" for what, (is_, most) in limits.items() if is_ > most],
        )


def _rehearse_mixture(path: Path, out: Path) -> tuple[Cell, ...]:
    """Seconds and memory of `moe stats`, and megabytes of its page."""
    used = run([PROBE, "moe", "stats", path, "--out", out, "--memory-limit", LIMIT, "--quiet"])
    run([PROBE, "report", out, "--out", out / "report.html"])
    page = (out / "report.html").stat().st_size / 1e6
    return rounded(used.seconds), rounded(used.peak), rounded(page)


@click.command()
@click.option(
    "--model", "keys", multiple=True, type=click.Choice([*MODELS, GGUF]), help="Default: all."
)
@click.option("--filled", default=6, show_default=True, help="Matrices of the first model.")
@click.option("--layers", multiple=True, type=int, default=(3, 14, 41, 61, 118), show_default=True)
@click.option("--mixture", multiple=True, type=int, default=(14, 61), show_default=True)
@click.option("--experts", default=256, show_default=True, help="Of a layer of the tiny shapes.")
@click.option("--turns", default=5, show_default=True, help="Of the smallest analyses.")
@click.option("--seed", default=0, show_default=True)
@out_option
def main(
    keys: tuple[str, ...],
    filled: int,
    layers: tuple[int, ...],
    mixture: tuple[int, ...],
    experts: int,
    turns: int,
    seed: int,
    out: Path,
) -> None:
    """Rehearse the largest models."""
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        table = rehearse_files(keys or (*MODELS, GGUF), filled, seed, Path(name))
    note = (
        "Sparse files with the published names, types, shapes and files; made in seconds. All "
        "processes with start-up; peak: resident memory by the system's account. Matrices are "
        "of attention and of experts, half of each, with random numbers."
    )
    publish("rehearsal", FILES, table.rows, note, out)
    missed += table.missed
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for row, beyond in rehearse_rows(sorted(layers), mixture, experts, seed, turns, Path(name)):
            rows.append(row)
            missed += beyond
            click.echo(json.dumps(row))
    note = (
        "DeepSeek-V3's names (61 layers: exactly all of them) and tiny shapes; all columns of the "
        f"standard set, CSV, one worker, --memory-limit {LIMIT}. Bookkeeping: seconds, less those "
        "of a run of one row, less those of the stages, per row. Killed when nine tenths of the "
        "rows are there. Page ready: in headless Chromium; then its table is sorted and filtered "
        "and each view of its map drawn, and messages of its console are counted."
    )
    publish("rehearsal_rows", ROWS, rows, note, out)
    if missed:
        sys.exit(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
