"""Models that are one file at an https address: ``https://host/file[#sha256=hex]``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source.protocol import Form, ListingOptions, Source

if TYPE_CHECKING:
    from mlx_probe.source.transfer.listing import ModelListing
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["URL"]

_REFERENCE = re.compile(r"https?://[^\s/]+/\S+", re.IGNORECASE)


def _parse(text: str, revision: str | None) -> ModelRef | None:
    if _REFERENCE.fullmatch(text) is None:
        return None
    if revision:
        raise ConfigError(
            f"an address has no revision {revision}", "Drop --revision, or give a Hub model"
        )
    return ModelRef(text, "url", text)


def _fetch(ref: ModelRef, progress: DownloadProgress | None = None) -> ModelFiles:
    from mlx_probe.source.url.fetch import fetch

    return fetch(ref, progress)


def _fetch_remote(ref: ModelRef, progress: DownloadProgress | None = None) -> ModelFiles:
    from mlx_probe.source.url.fetch import fetch_remote

    return fetch_remote(ref, progress)


def _list_model(ref: ModelRef, options: ListingOptions) -> ModelListing:
    from mlx_probe.source.url.fetch import list_model

    return list_model(ref, options)


URL = Source(
    title="a weight file at an address",
    example="https://host/model.gguf#sha256=HEX",
    hint="the https:// address of a weight file",
    forms=(
        Form(("https://host/m.gguf",), "one weight file at an address", "`sha256:` and the hash"),
        Form(
            ("https://host/m.gguf#sha256=HEX",),
            "the same, verified against that hash",
            "`sha256:` and the hash",
        ),
    ),
    parse=_parse,
    fetch=_fetch,
    list_model=_list_model,
    fetch_remote=_fetch_remote,
    where="at an address",
)
