"""Arguments of a call against the function's JSON Schema.

`jsonschema` decides, by draft 2020-12: ``true`` is no integer and no number, 1.0 is an integer.
What it leaves open is decided here: an argument that the function does not name is a problem
unless the schema allows others, and the names of types that BFCL uses are understood.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

__all__ = ["TYPES", "Problem", "ProblemKind", "argument_problems", "normal_schema"]

ProblemKind = Literal["missing", "unknown", "type", "value", "schema"]

# Names of types beside JSON Schema's own, as BFCL's Python, Java and JavaScript functions use
# them; None is any type.
TYPES: dict[str, str | None] = {
    "dict": "object",
    "HashMap": "object",
    "Hashtable": "object",
    "float": "number",
    "double": "number",
    "int": "integer",
    "long": "integer",
    "short": "integer",
    "byte": "integer",
    "Bigint": "integer",
    "str": "string",
    "String": "string",
    "char": "string",
    "bool": "boolean",
    "Boolean": "boolean",
    "list": "array",
    "tuple": "array",
    "Array": "array",
    "ArrayList": "array",
    "Queue": "array",
    "Stack": "array",
    "any": None,
    "Any": None,
    "": None,
}

# Keywords whose value is a schema, a list of them, or schemas by name.
_ONE = ("additionalProperties", "items", "contains", "not", "if", "then", "else", "propertyNames")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
# Keywords by which a schema says itself which names it allows.
_OPEN = ("additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf")
_KINDS: dict[str, ProblemKind] = {
    "required": "missing",
    "dependentRequired": "missing",
    "additionalProperties": "unknown",
    "unevaluatedProperties": "unknown",
    "type": "type",
}
_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
_LONGEST = 200


@dataclass(frozen=True)
class Problem:
    """What is wrong with the arguments of a call.

    Attributes:
        kind: A required argument is missing, an argument is unknown, its type or value is wrong,
            or the schema itself is broken.
        path: The argument, such as ``stops[0].city``; "" for all of them.
        text: What is wrong, for people.
    """

    kind: ProblemKind
    path: str
    text: str


def argument_problems(
    function: Mapping[str, Any], arguments: Mapping[str, Any]
) -> tuple[Problem, ...]:
    """What is wrong with the arguments; empty if they are valid.

    Args:
        function: In OpenAI's form: ``name``, ``description`` and ``parameters``, a JSON Schema.
            Without parameters it takes none.
        arguments: By name.
    """
    parameters = function.get("parameters")
    if parameters is None:
        parameters = {}
    try:
        validator = _validator(json.dumps(parameters, sort_keys=True))
        errors = sorted(
            validator.iter_errors(dict(arguments)),
            key=lambda error: list(map(str, error.absolute_path)),
        )
    except SchemaError as error:
        return (Problem("schema", _path(error.absolute_path), _short(error.message)),)
    except (Unresolvable, RecursionError, TypeError, re.error) as error:
        return (Problem("schema", "", _short(str(error) or type(error).__name__)),)
    problems = [problem for error in errors for problem in _problems(error)]
    # A value of the wrong type is among no others either: the type says more.
    wrong = {problem.path for problem in problems if problem.kind == "type"}
    return tuple(p for p in problems if p.kind != "value" or p.path not in wrong)


@lru_cache(maxsize=8192)
def _validator(parameters: str) -> Draft202012Validator:
    schema = normal_schema(json.loads(parameters))
    if not isinstance(schema, dict):
        raise SchemaError("the parameters are no JSON object")
    if not any(key in schema for key in _OPEN):
        schema["additionalProperties"] = False
    schema.setdefault("type", "object")
    Draft202012Validator.check_schema(schema)
    # An own, empty registry: otherwise a schema could make the validator fetch an address.
    return Draft202012Validator(schema, registry=Registry())


def normal_schema(schema: Any) -> Any:
    """A JSON Schema with JSON Schema's own names of types; see `TYPES`."""
    if not isinstance(schema, Mapping):
        return schema
    normal = dict(schema)
    for key in _NAMED:
        if isinstance(normal.get(key), Mapping):
            normal[key] = {name: normal_schema(value) for name, value in normal[key].items()}
    for key in _LISTS:
        if isinstance(normal.get(key), list):
            normal[key] = [normal_schema(value) for value in normal[key]]
    if isinstance(normal.get("items"), list):  # older drafts
        normal["prefixItems"] = [normal_schema(value) for value in normal.pop("items")]
    for key in _ONE:
        if key in normal:
            normal[key] = normal_schema(normal[key])
    kinds = normal.get("type")
    if isinstance(kinds, str):
        kinds = [kinds]
    if isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds):
        known = [TYPES.get(kind, kind) for kind in kinds]
        if normal.get("nullable") is True:
            known.append("null")
        names = list(dict.fromkeys(kind for kind in known if kind is not None))
        normal["type"] = names[0] if len(names) == 1 else names
        if None in known:
            del normal["type"]
    return normal


def _problems(error: ValidationError) -> Iterator[Problem]:
    kind = _kind(error)
    path = _path(error.absolute_path)
    value = error.instance
    if error.validator == "required":
        for name in error.validator_value:
            if name not in value and f"{name!r} is" in error.message:
                yield Problem(kind, _below(path, name), f"{_below(path, name)} is missing")
    elif error.validator == "additionalProperties" and error.validator_value is False:
        known = error.schema.get("properties", {})
        for name in value:
            if name not in known:
                yield Problem(kind, _below(path, name), f"{_below(path, name)} is no parameter")
    elif error.validator == "type":
        wanted = error.validator_value
        wanted = " or ".join(wanted) if isinstance(wanted, list) else wanted
        what = path or "the whole"
        yield Problem(kind, path, f"{what} is of type {_type(value)}, not {wanted}")
    else:
        yield Problem(kind, path, _short(f"{path}: {error.message}" if path else error.message))


def _kind(error: ValidationError) -> ProblemKind:
    """What an error is; where several schemas are tried, what all of them say."""
    kinds = {_kind(inner) for inner in error.context or ()}
    if len(kinds) == 1:
        return kinds.pop()
    return _KINDS.get(str(error.validator), "value")


def _type(value: object) -> str:
    if isinstance(value, float) and not isinstance(value, bool):
        return "number"
    return _NAMES.get(type(value), "integer")


def _path(parts: Iterable[object]) -> str:
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else _below(path, str(part))
    return path


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
