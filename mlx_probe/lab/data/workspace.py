"""The folder that tokens are written into: who may write there, and what an earlier try left."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import write_text
from mlx_probe.lab.data.census import is_stale
from mlx_probe.lab.data.corpus import Corpus
from mlx_probe.lab.data.job import LOG, SAMPLES, SAMPLES_SO_FAR
from mlx_probe.lab.data.manifest import MANIFEST, SPLITS, Manifest

__all__ = ["JOURNAL", "WORK", "only_one", "prepare"]

# Folder of what is unfinished, and the journal of tokens in it.
WORK, JOURNAL = ".work", "tokens.jsonl"


def prepare(
    out: Path,
    work: Path,
    settings: dict[str, Any],
    corpus: Corpus,
    overwrite: bool,
) -> Manifest | None:
    """Make the work folder, or return the manifest if all is done."""
    listing = [[file.source, file.name] for file in corpus.files]
    wanted = {"settings": settings, "files": listing}
    begun = work / "settings.json"
    if overwrite:
        # Interrupted, the same command with --overwrite goes on as well.
        if (out / MANIFEST).exists() or not _is_begun(begun, wanted) or is_stale(corpus, work):
            _remove(out)
    elif (out / MANIFEST).exists():
        manifest = Manifest.read(out)
        _refuse_other(out, dict(manifest.settings), settings)
        manifest.refuse_changed_sources()
        stored = [[source.source, source.file] for source in manifest.sources]
        if stored != listing:
            raise ResultError(
                f"{out} holds tokens of other files of the same sources",
                "Choose another --out, or replace them with --overwrite",
            )
        # A process may have been killed behind the manifest.
        shutil.rmtree(work, ignore_errors=True)
        return manifest
    elif begun.exists():
        before = json.loads(begun.read_text("utf-8"))
        if before != wanted:
            # Without tokens there is little to lose: a first try may have had a wrong setting.
            if (work / JOURNAL).exists():
                _refuse_other(out, before["settings"], settings)
                raise ResultError(
                    f"{out} holds unfinished tokens of other files of the same sources",
                    "Choose another --out, or begin anew with --overwrite",
                )
            _remove(out)
    elif strangers := [p.name for p in out.iterdir() if p != work and not _is_ours(p)]:
        raise ResultError(
            f"{out} holds files that are not tokens: {', '.join(sorted(strangers)[:3])}",
            "Choose another --out",
        )
    work.mkdir(exist_ok=True)
    if not begun.exists():
        write_text(begun, json.dumps(wanted))
    return None


def _is_begun(begun: Path, wanted: dict[str, Any]) -> bool:
    return begun.exists() and bool(json.loads(begun.read_text("utf-8")) == wanted)


def _refuse_other(out: Path, before: dict[str, Any], settings: dict[str, Any]) -> None:
    for key, value in settings.items():
        if before.get(key) != value:
            raise ResultError(
                f"{out} holds tokens with {key} = {before.get(key)!r}, not {value!r}",
                "Choose another --out, or replace them with --overwrite",
            )


def _is_ours(path: Path) -> bool:
    named = path.suffix == ".bin" and path.name.split("-")[0] in SPLITS
    return named or path.name in (MANIFEST, WORK, "tokenizer", LOG, SAMPLES, SAMPLES_SO_FAR)


def _remove(out: Path) -> None:
    """Remove what `tokenize` wrote; the manifest first."""
    for path in sorted(out.iterdir(), key=lambda path: path.name != MANIFEST):
        if _is_ours(path):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Keep other processes out of a folder."""
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResultError(
                f"another process works in {out}", "Wait for it, or choose another --out"
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)
