"""Rules about documents that describe something else: a run, a model, a source of rules."""

from __future__ import annotations

import os
from collections.abc import Iterator

from mlx_probe.core.files import sha256_file

from .assistant_rules import SOURCE, stale_copies, written_from, written_state
from .findings import DocumentRule
from .subjects import RUN_FILE, model_sha256, reference_path, run_sha256
from .surroundings import Document, Surroundings

__all__ = ["STALE_RULES"]


def _stale(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    front = document.page.front
    run, written = front.text("run"), front.text("run_sha256")
    if run and written:
        folder = reference_path(document.path, run)
        try:
            changed = run_sha256(folder, front.text("run_file") or RUN_FILE) != written
        except (OSError, ValueError):
            changed = False  # the next rule's
        if changed:
            yield front.line("run_sha256"), f"the run {run} has changed since this was written"
    elif run or written:
        key, other = ("run", "run_sha256") if run else ("run_sha256", "run")
        yield front.line(key), f"{key} without {other}: nothing says whether this is stale"
    source, written = front.text("source"), front.text("source_sha256")
    if source and written:
        try:
            changed = sha256_file(reference_path(document.path, source)) != written
        except (OSError, ValueError):
            changed = False
        if changed:
            yield front.line("source_sha256"), f"{source} has changed since this was written"
    model, written = front.text("model_path"), front.text("model_sha256")
    if model and written:
        path = reference_path(document.path, model)
        try:
            changed = model_sha256(path, surroundings.sha256) != written
        except (OSError, ValueError):
            changed = False
        if changed:
            yield (
                front.line("model_sha256"),
                f"the model {front.text('model') or model} has changed since this was written",
            )

    yield from _stale_rules(document)


def _stale_rules(document: Document) -> Iterator[tuple[int, str]]:
    """Rules for assistants that are not as their source is now."""
    project, path = document.project, document.path.absolute()
    if project is not None and path == project.folder / SOURCE:
        for copy, state in stale_copies(path):
            # Pages are checked themselves; other files are not.
            if copy.suffix != ".md":
                yield 1, f"{copy.name}, which is written from these rules, is {state}"
    found = written_from(document.page.text)
    if found is None:
        return
    source, digest = found
    if written_state(document.page.text) == "edited":
        yield 1, f"edited by hand: change {source}, then run `mlx-probe docs rules`"
    try:
        changed = sha256_file(path.parent / source) != digest
    except OSError:
        yield 1, f"the rules that this was written from are not there: {source}"
        return
    if changed:
        yield 1, f"{source} has changed since this was written: run `mlx-probe docs rules`"


def _missing(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    front = document.page.front
    run = front.text("run")
    if run:
        file = reference_path(document.path, run) / (front.text("run_file") or RUN_FILE)
        if not _is_readable(os.fspath(file)):
            yield front.line("run"), f"the run that this describes is not there: {file}"
    model = front.text("model_path")
    if model:
        path = reference_path(document.path, model)
        if not _is_readable(os.fspath(path)):
            yield front.line("model_path"), f"the model that this describes is not there: {path}"


def _is_readable(path: str) -> bool:
    try:
        return os.access(path, os.R_OK)
    except ValueError:  # a NUL in it
        return False


STALE_RULES = {
    "stale": DocumentRule(
        "a document whose run or model has another hash than when it was written", _stale
    ),
    "missing-subject": DocumentRule(
        "a document whose run or model is not there any more", _missing
    ),
}
