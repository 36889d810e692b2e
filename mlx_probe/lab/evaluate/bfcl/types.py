"""The types that BFCL's functions declare, as Python's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Declared", "agreed_type", "declared_type"]

# A tuple comes out of JSON as a list; "any" was written for text.
_KINDS: dict[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}


@dataclass(frozen=True)
class Declared:
    """The declared type of a parameter.

    Attributes:
        name: As BFCL writes it.
        kind: In Python.
        element: Of the elements, for "array" and "tuple".
    """

    name: str
    kind: type
    element: type | None = None

    def __str__(self) -> str:
        return self.name if self.element is None else f"{self.name}[{self.element.__name__}]"

    def adapt(self, value: Any) -> Any:
        """A value as it is compared: an integer is a float, a tuple a list, where declared so."""
        # By type, not `isinstance`: True is no number here.
        if self.name == "float" and type(value) is int:
            try:
                return float(value)
            except OverflowError:
                return value
        return list(value) if self.name == "tuple" and type(value) is tuple else value

    def elements_fit(self, values: Iterable[Any], accepted: Sequence[Any]) -> bool:
        """Whether each element has the declared type, or that of the accepted elements."""
        allowed = (self.element, agreed_type(accepted))
        return all(type(value) in allowed for value in values)


def declared_type(schema: Mapping[str, Any]) -> Declared:
    """The type of a parameter's schema.

    Raises:
        KeyError: There is none, or it is unknown.
    """
    name = schema["type"]
    is_list = name in ("array", "tuple")
    return Declared(name, _KINDS[name], _KINDS[schema["items"]["type"]] if is_list else None)


def agreed_type(choices: Iterable[Any]) -> type | None:
    """The type of the first accepted value that is not ""; None if there is none."""
    for choice in choices:
        if choice != "":
            return type(choice)
    return None
