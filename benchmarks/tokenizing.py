"""What tokenizing a large text takes, and whether a killed one ends with the same shards.

    python benchmarks/tokenizing.py [--size 1GB] [--workers N]

The text is generated: words of a made-up vocabulary, as often as Zipf's law says, in paragraphs of
different lengths, with some duplicates. It is tokenized twice, each time by processes of their own:
once undisturbed, once killed (SIGKILL) at half of the text and then started again. Memory is the
sum of the resident memory of all processes of the command, twenty times a second. Exit code 1 if
it is more than 500 MB, or the shards differ.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import psutil
from _processes import PROBE
from _results import out_option, publish, rounded

from mlx_probe.cli.options import SIZE
from mlx_probe.lab.data.manifest import MANIFEST, Manifest

COLUMNS = ("run", "text MB", "seconds", "MB/s", "peak MB", "bytes per token", "same shards")
# Resident megabytes of all processes together.
MEGABYTES = 500.0
WORDS, LETTERS = 60_000, "etaoinshrdlcumwfgypbvkjxqz"
FILE = 64_000_000
INTERVAL = 0.05


def write_text(folder: Path, size: int) -> None:
    """Write files of generated text with so many bytes together."""
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, len(LETTERS) + 1)
    letters = rng.choice(list(LETTERS), (WORDS, 14), p=weights / weights.sum())
    lengths = rng.integers(2, 14, WORDS)
    words = np.array(["".join(row[:n]) for row, n in zip(letters, lengths, strict=True)], object)
    chances = 1 / np.arange(2, WORDS + 2)
    edges = np.cumsum(chances / chances.sum())
    written = number = 0
    while written < size:
        wanted = min(FILE, size - written)
        with (folder / f"text-{number:04d}.txt").open("w") as file:
            done = 0
            while done < wanted:
                chosen = words[np.minimum(np.searchsorted(edges, rng.random(200_000)), WORDS - 1)]
                stops = np.sort(rng.integers(1, 200_000, 2500))
                parts = [" ".join(part) for part in np.split(chosen, stops)]
                text = "\n\n".join([*parts, *parts[:25]])[: wanted - done]
                done += file.write(text)
        written, number = written + done, number + 1


def tokenize(
    source: Path, out: Path, workers: int, kill_at: float | None = None
) -> tuple[float, float]:
    """Seconds and peak megabytes of a command; killed when a share of the text is tokenized."""
    command = [PROBE, "data", "tokenize", source, "--out", out, "--vocabulary", 8192]
    command += ["--workers", workers, "--quiet"]
    size = sum(path.stat().st_size for path in source.iterdir())
    began, peak = time.perf_counter(), 0.0
    with subprocess.Popen([str(word) for word in command], start_new_session=True) as process:
        tree = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, resident(tree))
            if kill_at is not None and tokenized(out) >= kill_at * size:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(INTERVAL)
    seconds = time.perf_counter() - began
    if kill_at is None and process.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, command))}")
    return seconds, peak


def resident(tree: psutil.Process) -> float:
    """Megabytes of a process and all that it started."""
    total = 0
    try:
        for process in [tree, *tree.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # ended meanwhile
    return total / 1e6


def tokenized(out: Path) -> int:
    """Bytes of text whose tokens are on the disk."""
    try:
        lines = (out / ".work" / "tokens.jsonl").read_bytes().split(b"\n")
    except OSError:
        return 0
    return int(json.loads(lines[-2])["bytes"]) if len(lines) > 1 else 0


@click.command()
@click.option("--size", type=SIZE, default="1GB", show_default=True, help="Bytes of text.")
@click.option("--workers", type=click.IntRange(0), default=0, help="0 for one for each core.")
@out_option
def main(size: int, workers: int, out: Path) -> None:
    """Measure tokenizing, and compare the shards of an undisturbed and of a killed run."""
    with tempfile.TemporaryDirectory(prefix="tokenize-") as scratch:
        source = Path(scratch, "text")
        source.mkdir()
        write_text(source, size)
        whole, killed = Path(scratch, "whole"), Path(scratch, "killed")
        runs = {"undisturbed": tokenize(source, whole, workers)}
        runs["killed at half of the text"] = tokenize(source, killed, workers, kill_at=0.5)
        half = tokenized(killed)
        is_killed = not (killed / MANIFEST).exists()
        runs["the same command again"] = tokenize(source, killed, workers)
        first, second = Manifest.read(whole), Manifest.read(killed)
        same = first.fingerprint == second.fingerprint
        split = first.splits["train"]
    texts = {"undisturbed": size, "the same command again": size - half}
    rows = []
    for name, (seconds, peak) in runs.items():
        text = texts.get(name, half)
        ends = name != "killed at half of the text"
        rows.append(
            (
                name,
                rounded(text / 1e6),
                rounded(seconds),
                rounded(text / 1e6 / seconds),
                rounded(peak),
                rounded(split.bytes_per_token) if ends else None,
                ("yes" if same else "no") if name == "the same command again" else None,
            )
        )
    note = (
        f"{size / 1e6:.0f} MB of generated text, SentencePiece with 8,192 tokens trained on it. "
        "Seconds have all of it: start, first reading, training of the tokenizer, shards, hashes."
    )
    publish("tokenizing", COLUMNS, rows, note, out)
    worst = max(peak for _, peak in runs.values())
    if worst > MEGABYTES or not same:
        sys.exit(1)
    if not is_killed and size > 100_000_000:
        sys.exit("the command was over before it was killed")


if __name__ == "__main__":
    main()
