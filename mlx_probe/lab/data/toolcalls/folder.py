"""The folder of prepared examples: what it holds, and what an earlier run left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import sha256_file
from mlx_probe.core.version import __version__
from mlx_probe.lab.data.job import SAMPLES, SAMPLES_SO_FAR
from mlx_probe.lab.data.tokenizer import Tokenizer
from mlx_probe.lab.data.toolcalls.config import ToolCallsConfig
from mlx_probe.lab.data.toolcalls.groups import PARTS
from mlx_probe.lab.data.toolcalls.rows import RowFile
from mlx_probe.runs.environment import package_versions
from mlx_probe.runs.meta import read_meta, write_meta
from mlx_probe.runs.provenance import provenance

__all__ = ["KIND", "LOG", "META", "REJECTED", "WORK", "finished", "part_file", "write_run"]

KIND, META = "toolcalls", "run_meta.json"
LOG, REJECTED, WORK = "toolcalls.log", "rejected.jsonl", ".work"
_OURS = (META, LOG, REJECTED, WORK, SAMPLES, SAMPLES_SO_FAR, *(f"{part}.jsonl" for part in PARTS))


def part_file(out: Path, part: str) -> Path:
    """The examples of a part of `PARTS`; not there if the part has none."""
    return out / f"{part}.jsonl"


def finished(
    out: Path,
    config: ToolCallsConfig,
    files: list[RowFile],
    tokenizer: Tokenizer | None,
    overwrite: bool,
) -> dict[str, Any] | None:
    """What an earlier run of the same settings and sources wrote; None where there is none.

    What an unfinished or replaced run left is removed.

    Raises:
        ResultError: The folder holds other data.
    """
    names = [path.name for path in out.iterdir()]
    # Hidden files are the system's own, such as .DS_Store.
    strangers = [name for name in names if name not in _OURS and not name.startswith(".")]
    if strangers:
        raise ResultError(
            f"{out} holds files that are not examples: {', '.join(sorted(strangers)[:3])}",
            "Choose another --out",
        )
    if (out / META).exists() and not overwrite:
        meta = read_meta(out / META)
        wanted = {"settings": _settings(config, tokenizer), "files": _files(files)}
        # As JSON has it: tuples are lists.
        if {key: meta.get(key) for key in wanted} == json.loads(json.dumps(wanted)):
            return meta
        raise ResultError(
            f"{out} holds examples of other sources or settings",
            "Choose another --out, or replace them with --overwrite",
        )
    # The metadata first: without it nothing is finished.
    for name in _OURS:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink(missing_ok=True)
    return None


def write_run(
    out: Path,
    config: ToolCallsConfig,
    files: list[RowFile],
    tokenizer: Tokenizer | None,
    result: Mapping[str, Any],
) -> dict[str, Any]:
    """Write run_meta.json, which says that the folder is finished."""
    written = [part_file(out, part) for part in PARTS if part_file(out, part).exists()]
    meta = {
        "kind": KIND,
        "version": __version__,
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **provenance(),
        "environment": package_versions(),
        "settings": _settings(config, tokenizer),
        "files": _files(files),
        **result,
        "outputs": {path.name: sha256_file(path) for path in (*written, out / REJECTED)},
    }
    write_meta(out / META, meta)
    return json.loads(json.dumps(meta))


def _settings(config: ToolCallsConfig, tokenizer: Tokenizer | None) -> dict[str, Any]:
    template = None if tokenizer is None else tokenizer.chat_template
    fingerprint = None if tokenizer is None else tokenizer.fingerprint
    return {**asdict(config), "tokenizer_sha256": fingerprint, "chat_template": template}


def _files(files: list[RowFile]) -> list[dict[str, str]]:
    return [
        {"source": file.source, "file": file.name, "sha256": sha256_file(file.path)}
        for file in files
    ]
