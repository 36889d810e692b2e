"""How long backups take, and whether one that is killed leaves anything half there.

    python benchmarks/backup.py [--size 2GB] [--kills 50]

A tree of mixed files is backed up by the installed command, again unchanged, again with a
hundredth of its files changed, read back, restored and compared, in each format that is there.
Then create and restore are killed at random moments, and after each kill the archive is read
back. Exit code 1 if the second backup takes 5 % of the first or more, or anything is not sound.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
from _results import Cell, out_option, publish, rounded

from mlx_probe.core.files import sha256_file
from mlx_probe.core.units import format_size, parse_size

COMMAND = Path(sys.executable).with_name("mlx-probe")
LIMIT = 0.05
# Seconds before which a command has not begun its work.
START = 0.12
COLUMNS = ("format", "step", "seconds", "share of the first", "archive")
KILL_COLUMNS = (
    *("format", "killed", "kills", "at work", "archive sound", "half there"),
    "same command went on",
)


def make_tree(folder: Path, size: int, chance: random.Random) -> None:
    """Tables, logs and noise: many small files, some large ones, a seeded mixture."""
    folder.mkdir()
    written = number = 0
    while written < size:
        place = folder / f"run {number // 40}"
        place.mkdir(exist_ok=True)
        length = min(int(chance.lognormvariate(11.5, 2)) + 1, size // 8 + 1)
        if number % 3:
            row = f'{{"step": {number}, "loss": {chance.random()}, "value": %d}}\n'
            text = "".join(row % chance.randrange(10**9) for _ in range(min(length, 200_000) // 60))
            data = (text * (length // max(1, len(text)) + 1)).encode()[:length]
        else:
            data = chance.randbytes(length)
        path = place / f"{number}.{('npy', 'jsonl', 'csv')[number % 3]}"
        path.write_bytes(data)
        stamp = chance.randrange(10**18, 17 * 10**17)
        os.utime(path, ns=(stamp, stamp))
        written, number = written + length, number + 1


def facts(folder: Path) -> dict[str, tuple[int, int, str]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        digest = sha256_file(path) if path.is_file() else ""
        name = os.fspath(path.relative_to(folder))
        found[name] = (status.st_mode, status.st_mtime_ns, digest)
    return found


def run(*words: object) -> float:
    """Seconds of a command of backups."""
    began = time.monotonic()
    subprocess.run([COMMAND, "backup", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def size_of(folder: Path) -> str:
    return format_size(sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()))


def times(
    kind: str, tree: Path, scratch: Path, chance: random.Random
) -> tuple[list[list[Cell]], bool]:
    repo, out = scratch / "repo", scratch / "out"
    rows: list[list[Cell]] = []

    def row(step: str, seconds: float) -> float:
        share = None if not rows else f"{seconds / first:.1%}"
        rows.append([kind, step, rounded(seconds), share, size_of(repo)])
        return seconds

    # Old enough that no file is read again for having been written in the same moment.
    time.sleep(0.1)
    os.sync()
    first = row("first backup", run("create", tree, "--repo", repo, "--with", kind))
    second = row("unchanged", run("create", tree, "--repo", repo))
    files = [path for path in sorted(tree.rglob("*")) if path.is_file()]
    for path in chance.sample(files, max(1, len(files) // 100)):
        with path.open("ab") as file:
            file.write(b"one more line\n")
    row("1 % of the files longer by a line", run("create", tree, "--repo", repo))
    row("verify", run("verify", "--repo", repo))
    row("restore", run("restore", "latest", "--repo", repo, "--out", out))
    is_same = facts(out / tree.name) == facts(tree)
    for folder in (repo, out):
        shutil.rmtree(folder)
    return rows, is_same and second < LIMIT * first


def kill_after(seconds: float, *words: object) -> bool:
    """Kill a command; whether it was there to be killed."""
    process = subprocess.Popen([COMMAND, "backup", *map(str, words)], stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    return process.wait() < 0


def kills(
    kind: str, tree: Path, scratch: Path, count: int, chance: random.Random
) -> tuple[list[list[Cell]], bool]:
    repo, out = scratch / "repo", scratch / "out"
    create = ("create", tree, "--repo", repo, "--with", kind)
    restore = ("restore", "latest", "--repo", repo, "--out", out)
    duration = run(*create)
    found: dict[str, Counter[str]] = {"create": Counter(), "restore": Counter()}
    counts = found["create"]
    # Kills that came before the work or after it are repeated, up to a limit.
    while counts["hit"] < count and counts["kills"] < 4 * count:
        if counts["kills"] % 10 == 0:
            shutil.rmtree(repo)
        counts["kills"] += 1
        (tree / f"new {counts['kills']}").write_bytes(chance.randbytes(2_000_000))
        before = listed(repo)
        counts["hit"] += kill_after(chance.uniform(START, duration), *create)
        there = listed(repo)
        counts["half"] += len(there - before) > 1
        begun = (repo / "config").exists() or (repo / "config.json").exists()
        counts["sound"] += not begun or is_sound(repo)
        duration = run(*create)
        counts["on"] += len(listed(repo)) > len(before)
    was, duration = facts(tree), run(*restore)
    counts = found["restore"]
    while counts["hit"] < count and counts["kills"] < 4 * count:
        shutil.rmtree(out, ignore_errors=True)
        counts["kills"] += 1
        counts["hit"] += kill_after(chance.uniform(START, duration), *restore)
        counts["half"] += out.exists() and facts(out / tree.name) != was
        counts["sound"] += 1
        if not out.exists():
            run(*restore)
        counts["on"] += facts(out / tree.name) == was
        if counts["kills"] % 10 == 0:
            shutil.rmtree(out)
            duration = run(*restore)
    found["restore"]["sound"] *= is_sound(repo)
    rows: list[list[Cell]] = []
    for name, c in found.items():
        sound, on = (f"{c[key]} of {c['kills']}" for key in ("sound", "on"))
        rows.append([kind, name, c["kills"], c["hit"], sound, c["half"], on])
    for folder in (repo, out):
        shutil.rmtree(folder, ignore_errors=True)
    good = all(c["sound"] == c["on"] == c["kills"] and not c["half"] for c in found.values())
    return rows, good


def listed(repo: Path) -> set[str]:
    words = ["backup", "list", "--repo", str(repo), "--json"]
    done = subprocess.run([COMMAND, *words], capture_output=True, check=False)
    snapshots = json.loads(done.stdout) if done.returncode == 0 else []
    return {each["id"] for each in snapshots}


def is_sound(repo: Path) -> bool:
    words = ["backup", "verify", "--repo", str(repo), "--quiet"]
    return subprocess.run([COMMAND, *words], check=False).returncode == 0


@click.command()
@click.option("--size", default="2GB", show_default=True, help="Of the tree.")
@click.option("--kill-size", default="60MB", show_default=True, help="Of the tree for kills.")
@click.option("--kills", "count", default=50, show_default=True, help="Of each command.")
@click.option("--seed", default=0, show_default=True)
@click.option("--only", type=click.Choice(["own", "restic"]), help="One format alone.")
@click.option("--part", type=click.Choice(["times", "kills"]), help="One part alone.")
@click.option("--scratch", type=click.Path(path_type=Path), help="Folder for tree and archive.")
@out_option
def main(
    size: str,
    kill_size: str,
    count: int,
    seed: int,
    only: str | None,
    part: str | None,
    scratch: Path | None,
    out: Path,
) -> None:
    """Time and kill backups."""
    kinds = [k for k in ("own", "restic") if k == "own" or shutil.which("restic")]
    kinds = [only] if only else kinds
    good = True
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        root = Path(folder)
        if part != "kills":
            rows: list[list[Cell]] = []
            make_tree(root / "tree", parse_size(size) or 0, random.Random(seed))
            number = sum(path.is_file() for path in (root / "tree").rglob("*"))
            for kind in kinds:
                more, is_good = times(kind, root / "tree", root, random.Random(seed))
                rows, good = rows + more, good and is_good
            note = (
                f"{size} in {number:,} files: tables and logs of text, and noise; lognormal sizes. "
                "The whole command with its start. The restored tree had the same bytes, modes and "
                "times."
            )
            publish("backup", COLUMNS, rows, note, out)
            shutil.rmtree(root / "tree")
        if part != "times":
            rows = []
            for kind in kinds:
                make_tree(root / "tree", parse_size(kill_size) or 0, random.Random(seed))
                more, is_good = kills(kind, root / "tree", root, count, random.Random(seed))
                rows, good = rows + more, good and is_good
                shutil.rmtree(root / "tree")
            note = (
                f"kill -9 at random moments of the installed command on {kill_size} of mixed "
                "files. At work: it had not ended. Half there: a snapshot that is listed and not "
                "whole, or a restored folder that differs from the tree. The archive was read back "
                "after every kill of create; after each kill the same command ran to its end."
            )
            publish("backup_kills", KILL_COLUMNS, rows, note, out)
    sys.exit(not good)


if __name__ == "__main__":
    main()
