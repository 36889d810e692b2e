"""BFCL's questions, joined with their possible answers in the folder `possible_answer` beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.lab.data.toolcalls.example import Example, Rejected
from mlx_probe.lab.data.toolcalls.formats.messages import call_message, tools_in
from mlx_probe.lab.data.toolcalls.formats.protocol import Context, Format
from mlx_probe.lab.data.toolcalls.rows import Broken, RowFile
from mlx_probe.lab.function_calls.schema import normal_schema

__all__ = ["BFCL"]

ANSWERS = "possible_answer"


def _fits(row: Mapping[str, Any]) -> bool:
    return {"id", "question", "function"} <= row.keys()


def _convert(row: Mapping[str, Any], context: Context) -> Example:
    turns = row["question"]
    if not isinstance(turns, list) or len(turns) != 1 or not isinstance(turns[0], list):
        raise Rejected("no messages", "the question has not one turn")
    messages = [
        {"role": str(message.get("role", "")), "content": message.get("content", "")}
        for message in turns[0]
        if isinstance(message, Mapping)
    ]
    tools = tools_in(row["function"])
    for tool in tools:
        tool["function"]["parameters"] = normal_schema(tool["function"].get("parameters", {}))
    name = str(row["id"])
    answers = _answers(context)
    if name in answers:
        functions = {tool["function"].get("name"): tool["function"] for tool in tools}
        messages.append(call_message([_call(one, functions) for one in answers[name]]))
    elif "irrelevance" in name and context.no_call:
        messages.append({"role": "assistant", "content": context.no_call})
    else:
        raise Rejected("no answer", "no possible answer has its id")
    return Example(name, messages, tools)


def _answers(context: Context) -> Mapping[str, Any]:
    """Ground truths by id, from the file of the same name in `possible_answer`."""
    path = context.path.parent / ANSWERS / context.path.name
    key = str(path)
    if key not in context.kept:
        found: dict[str, Any] = {}
        if path.is_file():
            for row in RowFile("", path.name, path).rows():
                value = row.value
                if not isinstance(value, Broken) and isinstance(value, Mapping) and "id" in value:
                    found[str(value["id"])] = value.get("ground_truth")
        context.kept[key] = found
    answers: Mapping[str, Any] = context.kept[key]
    return answers


def _call(possible: Any, functions: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    """The call that a possible answer allows first: {name: {parameter: [values]}}."""
    if not isinstance(possible, Mapping) or len(possible) != 1:
        raise Rejected("malformed call", "a possible answer is not one function")
    ((name, arguments),) = possible.items()
    if not isinstance(arguments, Mapping):
        raise Rejected("malformed call", f"the possible arguments of {name} are no object")
    schema = functions.get(name, {}).get("parameters", {})
    return {
        "type": "function",
        "function": {"name": name, "arguments": _first_of(arguments, schema)},
    }


def _first_of(possible: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The first allowed value of each; "" means that the parameter may be left out."""
    properties, required = schema.get("properties", {}), schema.get("required", ())
    chosen = {}
    for name, allowed in possible.items():
        values = allowed if isinstance(allowed, list) else [allowed]
        if not values or (values[0] == "" and name not in required):
            continue
        # A parameter that must be there has another value than "" where there is one.
        value = next((value for value in values if value != ""), "")
        value = value if values[0] == "" else values[0]
        chosen[name] = _inside(value, properties.get(name, {}))
    return chosen


def _inside(value: Any, schema: Mapping[str, Any]) -> Any:
    """Objects have lists of allowed values again, at the first level and in arrays."""
    if isinstance(value, Mapping) and schema.get("type") == "object":
        return _first_of(value, schema)
    if isinstance(value, list):
        items = schema.get("items", {})
        return (
            [_first_of(one, items) if isinstance(one, Mapping) else one for one in value]
            if isinstance(items, Mapping) and items.get("type") == "object"
            else value
        )
    return value


BFCL = Format(
    title="BFCL",
    about="`id`, `question` and `function`; the first of the values that its possible answer "
    "allows is taken",
    fits=_fits,
    convert=_convert,
)
