"""Selects models of the catalog, and sorts them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.catalog.records import Model

__all__ = ["SORTS", "Query", "select_models"]

# Fields to sort by; models without the value come last.
SORTS: dict[str, Callable[[Model], Any]] = {
    "name": lambda model: model.id.lower(),
    "size": lambda model: model.size,
    "parameters": lambda model: model.parameters,
    "bits": lambda model: model.bits,
    "architecture": lambda model: model.architecture.lower() or None,
    "format": lambda model: model.format or None,
    "dtype": lambda model: model.dtype or None,
    "store": lambda model: model.store,
    "licence": lambda model: model.licence.lower() or None,
    "modified": lambda model: model.modified_at or None,
    "found": lambda model: model.found_at,
    "analyzed": lambda model: model.analyzed_at or None,
}


@dataclass(frozen=True)
class Query:
    """Conditions on a model; "" and None mean no condition. Case does not matter.

    Attributes:
        text: Part of its name, architecture, licence, description, note or path.
        format: Its format.
        architecture: Part of its architecture.
        dtype: Part of one of its stored types.
        store: Its store.
        licence: Part of its licence.
        tags: Tags; it has all of them.
        larger: Smallest size in bytes.
        smaller: Largest size in bytes.
        analyzed: Whether it has been analysed.
        missing: Whether its files are gone.
        problem: Whether it could not be read.
    """

    text: str = ""
    format: str = ""
    architecture: str = ""
    dtype: str = ""
    store: str = ""
    licence: str = ""
    tags: tuple[str, ...] = ()
    larger: int | None = None
    smaller: int | None = None
    analyzed: bool | None = None
    missing: bool | None = None
    problem: bool | None = None

    def matches(self, model: Model) -> bool:
        """Whether a model meets all conditions."""
        written = (model.id, model.architecture, model.licence, model.description, model.note)
        own = {tag.lower() for tag in model.tags}
        return (
            _part(self.text, *written, str(model.path))
            and self.format.lower() in ("", model.format.lower())
            and _part(self.architecture, model.architecture)
            and _part(self.dtype, *model.dtypes)
            and self.store in ("", model.store)
            and _part(self.licence, model.licence)
            and own.issuperset(tag.lower() for tag in self.tags)
            and (self.larger is None or model.size >= self.larger)
            and (self.smaller is None or model.size <= self.smaller)
            and self.analyzed in (None, bool(model.analyzed_at))
            and self.missing in (None, model.missing)
            and self.problem in (None, bool(model.problem))
        )


def select_models(
    models: Iterable[Model], query: Query, sort: str = "name", reverse: bool = False
) -> list[Model]:
    """Models that match, sorted; those without the value come last in either direction.

    Args:
        models: From `load_models`.
        query: Conditions.
        sort: Key of `SORTS`.
        reverse: Whether the largest comes first.

    Raises:
        ConfigError: ``sort`` is not in `SORTS`.
    """
    if sort not in SORTS:
        near = difflib.get_close_matches(sort, SORTS, n=1) or list(SORTS)
        raise ConfigError(f"models have no {sort!r} to sort by", f"Use {' or '.join(near)}")
    value = SORTS[sort]
    matching = [model for model in models if query.matches(model)]
    valued = [model for model in matching if value(model) is not None]
    # Models with equal values are sorted by name, which ``reverse`` does not change.
    valued.sort(key=lambda model: (model.id.lower(), model.key))
    valued.sort(key=value, reverse=reverse)
    return valued + [model for model in matching if value(model) is None]


def _part(wanted: str, *texts: str) -> bool:
    return any(wanted.lower() in text.lower() for text in texts) or not wanted
