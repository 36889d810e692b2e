"""Where an adapter's layout has a place for the change of a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["EMBEDDING", "LINEAR", "SWITCH", "WHOLE", "Kind", "Place", "Refusal"]

Kind = Literal["linear", "embedding", "switch", "whole"]
LINEAR: Kind = "linear"
EMBEDDING: Kind = "embedding"
SWITCH: Kind = "switch"
WHOLE: Kind = "whole"


@dataclass(frozen=True)
class Place:
    """The module that takes a change.

    Attributes:
        module: Its name in the program's model.
        kind: `LINEAR` or `EMBEDDING`; `SWITCH` for experts in one module; `WHOLE` for a tensor
            that is stored as it is in B.
        transposed: Whether the file holds the matrix as (in, out).
        expert: Position in a `SWITCH`.
        experts: How many it has.
    """

    module: str
    kind: Kind
    transposed: bool = False
    expert: int = 0
    experts: int = 0


@dataclass(frozen=True)
class Refusal:
    """Why a layout has no place for it.

    Attributes:
        reason: A part of a sentence.
    """

    reason: str
