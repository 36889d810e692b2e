"""xLAM's form, as in xlam-function-calling-60k: `query`, `tools` and `answers`, JSON in strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.lab.data.toolcalls.example import Example, Rejected
from mlx_probe.lab.data.toolcalls.formats.messages import call_message, calls_in, parsed, tools_in
from mlx_probe.lab.data.toolcalls.formats.protocol import Context, Format
from mlx_probe.lab.data.toolcalls.formats.python_types import is_optional, schema_of_type

__all__ = ["XLAM"]


def _fits(row: Mapping[str, Any]) -> bool:
    return {"query", "tools", "answers"} <= row.keys()


def _convert(row: Mapping[str, Any], context: Context) -> Example:
    query = row["query"]
    if not isinstance(query, str):
        raise Rejected("no messages", "query is no text")
    tools = tools_in(row["tools"])
    for tool in tools:
        tool["function"]["parameters"] = _schema(tool["function"].get("parameters"), context)
    calls = calls_in(parsed(row["answers"], "answers", "malformed call"), "answers")
    user = {"role": "user", "content": query}
    if not calls:
        if not context.no_call:
            raise Rejected("no answer", "nothing is called, and no text says so")
        answer: dict[str, Any] = {"role": "assistant", "content": context.no_call}
    else:
        answer = call_message(calls)
    return Example(str(row.get("id", "")), [user, answer], tools)


def _schema(parameters: Any, context: Context) -> dict[str, Any]:
    """Parameters by name, each with `description`, `type` and `default`, as a JSON Schema."""
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, Mapping):
        raise Rejected("broken tools", "parameters is no object")
    if isinstance(parameters.get("properties"), Mapping) and parameters.get("type") == "object":
        return dict(parameters)
    properties, required = {}, []
    for name, described in parameters.items():
        if not isinstance(described, Mapping):
            raise Rejected("broken tools", f"the parameter {name} is no object")
        kind = described.get("type", "")
        schema = schema_of_type(str(kind), context.unknown_types)
        for key in ("description", "default", "enum"):
            if key in described:
                schema[key] = described[key]
        properties[name] = schema
        # A parameter with a default may be left out.
        if "default" not in described and not is_optional(str(kind)):
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


XLAM = Format(
    title="xLAM",
    about="`query`, `tools` and `answers`, the latter two as JSON or as its text; types as "
    "Python's, such as `List[int], optional`",
    fits=_fits,
    convert=_convert,
)
