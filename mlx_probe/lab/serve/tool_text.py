"""Calls that a model writes as plain text become tool calls.

mlx-lm reads calls between the marks that a chat template declares. A model tuned on JSON objects
with name and arguments, as `mlx-probe tune` does where a template has no place for calls, writes
none. Here its answer is put between marks of mlx-lm's own, once it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mlx_probe.lab.function_calls.reading import read_answer

__all__ = ["START", "STOP", "marked_calls", "parse_call"]

START, STOP = "<tool_call>", "</tool_call>"
# What a call begins with. Anything else is text, and goes on as it comes.
_BEGINNINGS = "{[<`"


def parse_call(text: str, tools: Any = None) -> Any:
    """A call between the marks, for mlx-lm."""
    return json.loads(text)


def marked_calls(responses: Iterator[Any]) -> Iterator[Any]:
    """Responses of mlx-lm, with calls in marks and text as it was.

    Args:
        responses: Each with `text` and `finish_reason`, the latter None until the last.

    Yields:
        As many responses: their number is the number of tokens.
    """
    held: list[Any] = []
    text = ""
    for response in responses:
        text += response.text
        begins = text.lstrip()[:1]
        if begins and begins not in _BEGINNINGS:
            yield from (replace(one, text="") for one in held)
            yield replace(response, text=text)
            yield from responses
            return
        held.append(response)
        if len(held) > 1 and response.finish_reason is None:
            # The last two are enough to carry all text: mlx-lm drops that of a stop token.
            yield replace(held.pop(0), text="")
    if not held:
        return
    last = held.pop()
    if not held:
        yield last
        return
    marked = _marked(text)
    if marked == text:
        yield replace(held[0], text=text.removesuffix(last.text) if last.text else text)
        yield last
    else:
        yield replace(held[0], text=marked)
        yield replace(last, text="")


def _marked(text: str) -> str:
    answer = read_answer(text)
    if not answer.calls or answer.malformed is not None:
        return text
    calls = (
        json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)
        for call in answer.calls
    )
    return answer.text + "".join(f"{START}{call}{STOP}" for call in calls)
