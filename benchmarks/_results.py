"""What every benchmark does with its table: print it, and write it to benchmarks/results/.

The figures in the documentation come from these files.
"""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import click
import numpy as np
import psutil

from mlx_probe.core.machine import blas_library, cpu_model, usable_cores

__all__ = ["RESULTS", "Cell", "out_option", "publish", "rounded"]

RESULTS = Path(__file__).parent / "results"

Cell = str | int | float | None

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=RESULTS,
    show_default="benchmarks/results",
    help="Folder of the result file.",
)


def publish(
    name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], note: str, out: Path
) -> None:
    """Print a table as Markdown, and write it with date, machine and command to a file.

    Args:
        name: Of the file, without its suffix.
        columns: Titles, with units.
        rows: Cells in the order of the columns; None is empty.
        note: How the figures were taken; one or two sentences.
        out: Folder of the file; made if needed.
    """
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"{name}: a row has more or fewer cells than there are columns")
    result = {
        "date": f"{date.today()}",
        "machine": machine(),
        "command": _command(),
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        "note": note,
    }
    lines = [columns, ["---"] * len(columns), *rows]
    text = "\n".join(f"| {' | '.join(map(_shown, line))} |" for line in lines)
    print(f"{result['date']}, {result['machine']}\n\n{text}\n\n{note}\n")
    out.mkdir(parents=True, exist_ok=True)
    content = json.dumps(result, indent=1, ensure_ascii=False)
    (out / f"{name}.json").write_text(content + "\n", "utf-8")


def machine() -> str:
    """Processor, cores, memory, system and linear algebra; nothing that names the machine."""
    parts = (
        cpu_model() or platform.machine(),
        f"{usable_cores()} cores",
        f"{psutil.virtual_memory().total / 1e9:.0f} GB memory",
        f"{platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}",
        f"numpy {np.__version__} with {blas_library()}",
    )
    return ", ".join(parts)


def rounded(value: float, digits: int = 3) -> float | int:
    """A figure with a few significant digits; whole if it has no more."""
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) >= 10 ** (digits - 1) else short


def _command() -> str:
    """How to repeat this: the script and its options, without folders of this machine."""
    words = list(sys.argv[1:])
    for name in ("--out", "--kept", "--scratch"):
        if name in words:
            option = words.index(name)
            del words[option : option + 2]
    words = [Path(word).name if Path(word).is_absolute() else word for word in words]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    # Small figures as they are: `format` would cut 1e-9 to 0.
    return f"{cell:,}" if isinstance(cell, int | float) else cell
