"""Models that are one file at an https address: ``https://host/file[#sha256=hex]``."""

from __future__ import annotations

import re

from mlx_probe.core.deferred import deferred
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import ModelRef
from mlx_probe.source.protocol import Form, Source

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
    fetch=deferred("mlx_probe.source.url.fetch", "fetch"),
    list_model=deferred("mlx_probe.source.url.fetch", "list_model"),
    fetch_remote=deferred("mlx_probe.source.url.fetch", "fetch_remote"),
    where="at an address",
)
