"""Environments from nothing: made from templates, checked, exported, remade from the lock, broken.

    python benchmarks/environments.py [--template mlx] [--template agents] [--maker venv]

For each template an environment is made in a new folder from the package index that pip is set up
for, and checked; its lock file is written, and a second environment is made from that and checked
against it. Then each is broken in five ways, one at a time, and checked again: a file is deleted, a
byte of another is changed, a package says another version, the Python it was made of disappears,
and a folder of elsewhere is brought onto the path of all packages. Exit code 1 if versions differ,
a check of a whole one finds an error, or a check of a broken one does not.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import click
from _results import Cell, out_option, publish, rounded
from click.testing import CliRunner

from mlx_probe.cli import cli
from mlx_probe.library.environments import MAKERS, Place, read_lock

COLUMNS = (
    "template",
    "made by",
    "packages",
    "MB",
    "made, s",
    "checked, s",
    "ok / skipped / errors",
    "remade from the lock, s",
    "versions equal",
    "breakages recognized",
)
Breakage = Callable[[Path], AbstractContextManager[None]]


def run(command: Sequence[object], folder: Path) -> tuple[int, Any, float]:
    """Exit code, document and seconds of `mlx-probe env ...`."""
    began = time.perf_counter()
    words = ["env", *(str(word) for word in (*command, "--folder", folder, "--json"))]
    done = CliRunner().invoke(cli, words)
    if not done.stdout.strip():
        raise click.ClickException(done.output)
    return done.exit_code, json.loads(done.stdout), time.perf_counter() - began


def module_of(prefix: Path) -> Path:
    """A Python file of a package that has some text in it."""
    found = prefix.glob("lib/python*/site-packages/*/*.py")
    return next(path for path in sorted(found) if path.stat().st_size > 100)


@contextmanager
def deleted(prefix: Path) -> Iterator[None]:
    path = module_of(prefix)
    content = path.read_bytes()
    path.unlink()
    yield
    path.write_bytes(content)


@contextmanager
def changed(prefix: Path) -> Iterator[None]:
    path = module_of(prefix)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    yield
    path.write_bytes(content)


@contextmanager
def misversioned(prefix: Path) -> Iterator[None]:
    path = min(prefix.glob("lib/python*/site-packages/*.dist-info/METADATA"))
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    changed = [b"Version: 0.0.1\n" if line.startswith(b"Version:") else line for line in lines]
    path.write_bytes(b"".join(changed))
    yield
    path.write_bytes(content)


@contextmanager
def without_python(prefix: Path) -> Iterator[None]:
    link = prefix / "bin" / "python"
    target = link.readlink()
    link.unlink()
    link.symlink_to(prefix / "gone" / "python3")
    yield
    link.unlink()
    link.symlink_to(target)


@contextmanager
def shared(prefix: Path) -> Iterator[None]:
    config = prefix / "pyvenv.cfg"
    text = config.read_text()
    config.write_text(text.replace("site-packages = false", "site-packages = true"))
    yield
    config.write_text(text)


BREAKAGES: dict[str, Breakage] = {
    "a file deleted": deleted,
    "a byte changed": changed,
    "another version": misversioned,
    "no Python": without_python,
    "the system's packages": shared,
}


def measured(template: str, maker: str, folder: Path) -> tuple[list[Cell], bool]:
    """A row of the table, and whether all is as it should be."""
    name = Path(template).stem
    code, made, seconds = run(["create", name, "--template", template, "--maker", maker], folder)
    if code:
        raise click.ClickException(str(made))
    code, checked, checking = run(["check", name], folder)
    lock = folder / f"{name}.lock.txt"
    run(["export", name, "--out", lock], folder)
    again = f"{name}-again"
    failed, remade, remaking = run(["create", again, "--lock", lock, "--maker", maker], folder)
    if failed:
        raise click.ClickException(str(remade))
    # One without packages is checked once, and once broken.
    failed = made["packages"] and run(["check", again, "--lock", lock], folder)[0]
    versions = [made["packages"], remade["packages"], read_lock(lock).versions]
    equal = versions[0] == versions[1] == versions[2]
    recognized = 0
    prefix = Place(folder, again).path
    # Without packages there is nothing in them to break.
    ways = BREAKAGES if made["packages"] else dict(list(BREAKAGES.items())[-1:])
    for way in ways.values():
        with way(prefix):
            recognized += run(["check", again, "--lock", lock], folder)[0] == 1
    states = [outcome["status"] for outcome in checked["outcomes"]]
    row: list[Cell] = [
        name,
        made["maker"],
        len(made["packages"]),
        rounded(made["size"] / 1e6),
        rounded(seconds),
        rounded(checking),
        f"{states.count('ok')} / {states.count('skipped')} / {states.count('error')}",
        rounded(remaking),
        "yes" if equal else "no",
        f"{recognized} of {len(ways)}",
    ]
    return row, equal and not code and not failed and recognized == len(ways)


@click.command()
@click.option("--template", "templates", multiple=True, default=("mlx", "agents"))
@click.option("--maker", type=click.Choice(list(MAKERS)), default="venv")
@out_option
def main(templates: tuple[str, ...], maker: str, out: Path) -> None:
    """Make, check, lock, remake and break environments."""
    rows, good = [], True
    with tempfile.TemporaryDirectory() as folder:
        for template in templates:
            row, fine = measured(template, maker, Path(folder))
            rows.append(row)
            good = good and fine
    note = (
        "Wall clock, each once: packages come from the index that pip is set up for, and from "
        f"pip's cache where it has them. Breakages: {', '.join(BREAKAGES)}; each alone, in the "
        "remade environment. Skipped: no such server on this machine."
    )
    publish("environments", COLUMNS, rows, note, out)
    sys.exit(not good)


if __name__ == "__main__":
    main()
