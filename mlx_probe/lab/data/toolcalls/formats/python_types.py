"""Types as Python writes them, ``List[int], optional``, as JSON Schema."""

from __future__ import annotations

import re
from typing import Any

from mlx_probe.lab.function_calls.schema import TYPES

__all__ = ["is_optional", "schema_of_type"]

_OPTIONAL = re.compile(r",?\s*\boptional\b\.?\s*$|^\s*Optional\[", re.IGNORECASE)
_TOKEN = re.compile(r"[\w.]+|\[|\]|,|\||'[^']*'|\"[^\"]*\"")
_LISTS = ("list", "sequence", "iterable", "tuple", "set", "frozenset", "array")
_MAPS = ("dict", "mapping", "object")
_OWN = ("string", "integer", "number", "boolean", "array", "object", "null")
_DEEPEST = 16


def is_optional(text: str) -> bool:
    """Whether a type says that its parameter may be left out."""
    return bool(_OPTIONAL.search(text))


def schema_of_type(text: str, unknown: dict[str, int]) -> dict[str, Any]:
    """A JSON Schema of a type.

    Args:
        text: The type.
        unknown: Counts names that are no type; their values may be anything.
    """
    plain = re.sub(r",?\s*\boptional\b\.?\s*$", "", text, flags=re.IGNORECASE)
    tokens = _TOKEN.findall(plain)
    reader = _Reader(tokens, unknown)
    schema = reader.union(0)
    if reader.at < len(tokens):
        unknown[text] = unknown.get(text, 0) + 1
        return {}
    return schema


class _Reader:
    def __init__(self, tokens: list[str], unknown: dict[str, int]) -> None:
        self.tokens, self.unknown, self.at = tokens, unknown, 0

    def take(self, sign: str) -> bool:
        if self.tokens[self.at : self.at + 1] == [sign]:
            self.at += 1
            return True
        return False

    def union(self, depth: int) -> dict[str, Any]:
        kinds = [self.one(depth)]
        while self.take("|"):
            kinds.append(self.one(depth))
        return _any_of(kinds)

    def one(self, depth: int) -> dict[str, Any]:
        if self.at >= len(self.tokens) or depth > _DEEPEST:
            return {}
        name = self.tokens[self.at].rpartition(".")[2]
        self.at += 1
        inside: list[dict[str, Any]] = []
        literals = []
        if self.take("["):
            while self.at < len(self.tokens) and not self.take("]"):
                if name == "Literal":
                    literals.append(self.tokens[self.at].strip("'\""))
                    self.at += 1
                elif not self.take(","):
                    before = self.at
                    inside.append(self.union(depth + 1))
                    self.at = max(self.at, before + 1)
        if name == "Literal":
            values = [value for value in literals if value != ","]
            return {"enum": values} if values else {}
        return self.schema(name, inside)

    def schema(self, name: str, inside: list[dict[str, Any]]) -> dict[str, Any]:
        low = name.lower()
        if low == "union":
            return _any_of(inside)
        if low == "optional":
            return _any_of([*inside, {"type": "null"}])
        if low in _LISTS:
            items = _any_of(inside)
            return {"type": "array", "items": items} if items else {"type": "array"}
        if low in _MAPS:
            return {"type": "object"}
        if low == "none":
            return {"type": "null"}
        if low in _OWN:
            return {"type": low}
        kind = TYPES.get(name, TYPES.get(low, ""))
        if kind == "":
            self.unknown[name] = self.unknown.get(name, 0) + 1
            return {}
        return {} if kind is None else {"type": kind}


def _any_of(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """What one of several schemas fits; {} where one of them is anything."""
    different = [kind for number, kind in enumerate(kinds) if kind not in kinds[:number]]
    if not different or {} in different:
        return {}
    return different[0] if len(different) == 1 else {"anyOf": different}
