"""Models on the Hugging Face Hub: ``[hf:]owner/name[@revision][:file]``."""

from __future__ import annotations

import re

from mlx_probe.core.deferred import deferred
from mlx_probe.core.formats import weight_suffixes
from mlx_probe.core.records import ModelRef
from mlx_probe.source.protocol import Form, Source
from mlx_probe.source.reference import agreed_revision

__all__ = ["HUB"]

_REFERENCE = re.compile(
    r"(?:hf:)?(?P<name>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})"
    r"(?:@(?P<revision>[^:\s]+))?(?::(?P<file>.+))?",
    re.ASCII,
)


def _parse(text: str, revision: str | None) -> ModelRef | None:
    match = _REFERENCE.fullmatch(text)
    # A path that does not exist is no repository; owner/name:file.gguf is no path.
    if match is None or (text.lower().endswith(weight_suffixes()) and ":" not in text):
        return None
    wanted = agreed_revision(text, match["revision"], revision)
    return ModelRef(text, "hub", match["name"], wanted, match["file"])


HUB = Source(
    title="a Hugging Face repository",
    example="Qwen/Qwen3-0.6B, Qwen/Qwen3-0.6B@main",
    hint="owner/name[@revision] of the Hugging Face Hub",
    forms=(
        Form(
            ("Qwen/Qwen3-0.6B",),
            "a repository of the Hugging Face Hub, its default branch",
            "the commit hash",
        ),
        Form(("Qwen/Qwen3-0.6B@REV",), "a branch, tag or commit of it", "the commit hash"),
        Form(
            ("owner/name:FILE",),
            "one model of it; FILE is a name, a glob, or a folder",
            "the commit hash",
        ),
        Form(
            ("hf:owner/name",),
            "the same as `owner/name`, whatever lies on this disk",
            "the commit hash",
        ),
    ),
    parse=_parse,
    fetch=deferred("mlx_probe.source.hub.fetch", "fetch"),
    list_model=deferred("mlx_probe.source.hub.fetch", "list_model"),
    fetch_remote=deferred("mlx_probe.source.hub.remote", "fetch_remote"),
    where="on the Hugging Face Hub",
    has_mirrors=True,
    explained=deferred("mlx_probe.source.hub.errors", "explained"),
)
