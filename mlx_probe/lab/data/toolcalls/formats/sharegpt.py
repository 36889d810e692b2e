"""ShareGPT with tools, as LLaMA-Factory and Hermes write it: `conversations` and `tools`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlx_probe.lab.data.toolcalls.example import Example, Rejected
from mlx_probe.lab.data.toolcalls.formats.messages import (
    call_message,
    calls_in,
    parsed,
    spoken_message,
    tools_in,
)
from mlx_probe.lab.data.toolcalls.formats.protocol import Context, Format

__all__ = ["SHAREGPT"]

_ROLES = {
    **{"system": "system", "human": "user", "user": "user", "gpt": "assistant"},
    **{"assistant": "assistant", "function_call": "call", "observation": "tool", "tool": "tool"},
}
_RESPONSE = re.compile(r"\s*<tool_response>\s*(.*?)\s*</tool_response>\s*", re.DOTALL)


def _fits(row: Mapping[str, Any]) -> bool:
    return "conversations" in row and "tools" in row


def _convert(row: Mapping[str, Any], context: Context) -> Example:
    turns = parsed(row["conversations"], "conversations", "no messages")
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise Rejected("no messages", "conversations is no list of objects")
    messages: list[dict[str, Any]] = []
    if isinstance(row.get("system"), str) and row["system"]:
        messages.append({"role": "system", "content": row["system"]})
    for turn in turns:
        role, text = _ROLES.get(str(turn.get("from"))), turn.get("value")
        if role is None:
            raise Rejected("unknown role", f"a turn is from {turn.get('from')!r}")
        if role == "call":
            message = call_message(calls_in(text, "function_call"))
            # Calls one after the other are one answer with several.
            if messages and messages[-1].get("tool_calls"):
                messages[-1]["tool_calls"] += message["tool_calls"]
            else:
                messages.append(message)
            continue
        if not isinstance(text, str):
            raise Rejected("no messages", "the value of a turn is no text")
        if role == "assistant":
            messages.append(spoken_message(text))
        else:
            whole = _RESPONSE.fullmatch(text) if role == "tool" else None
            messages.append({"role": role, "content": whole[1] if whole else text})
    return Example(str(row.get("id", "")), messages, tools_in(row["tools"]))


SHAREGPT = Format(
    title="ShareGPT with tools",
    about="`conversations` of `from` (`human`, `gpt`, `function_call`, `observation`, ...) and "
    "`value`, and `tools`",
    fits=_fits,
    convert=_convert,
)
