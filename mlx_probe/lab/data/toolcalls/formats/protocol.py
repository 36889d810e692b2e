"""What a format of examples is: one record in `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_probe.lab.data.toolcalls.example import Example

__all__ = ["Context", "Convert", "Format"]


@dataclass
class Context:
    """What a row stands in.

    Attributes:
        path: The row's file.
        no_call: See `ToolCallsConfig`.
        unknown_types: Names of types that no schema has, with how many parameters have them.
        kept: Whatever a format keeps from one row to the next.
    """

    path: Path
    no_call: str = ""
    unknown_types: dict[str, int] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)


# Given a row and its context: the example. Raises Rejected where the row gives none.
Convert = Callable[[Mapping[str, Any], Context], Example]


@dataclass(frozen=True)
class Format:
    """A format of examples.

    Attributes:
        title: What it is, for the documentation.
        about: What a row has, for the documentation.
        fits: Whether a row has its keys. At most one format may fit a row.
        convert: Makes an example of a row.
    """

    title: str
    about: str
    fits: Callable[[Mapping[str, Any]], bool]
    convert: Convert
