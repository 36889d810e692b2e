"""A conversation with tools as text, also where a chat template has no place for them.

Training, generation and evaluation have to write the same text: all of them call this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from mlx_probe.lab.data.tokenizer import Tokenizer

__all__ = ["calls_text", "conversation_text", "with_tools_written_out"]

# The names that a template takes tools and calls by.
_TOOLS, _CALLS = re.compile(r"\btools\b"), re.compile(r"\btool_calls\b")


def conversation_text(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    add_generation_prompt: bool = True,
) -> str:
    """The text of a conversation by a model's chat template; `encode_special` gives its ids.

    Args:
        tokenizer: The model's, with its template.
        messages: Each with "role" and "content", an assistant's with "tool_calls" where it calls.
        tools: Functions in OpenAI's form, {"type": "function", "function": {...}}.
        add_generation_prompt: Whether the text ends with what an answer begins with.

    Raises:
        ConfigError: There is no template, or it does not take the messages.
    """
    template = tokenizer.chat_template or ""
    written, rest = with_tools_written_out(template, messages, tools)
    return tokenizer.chat(written, add_generation_prompt, rest)


def with_tools_written_out(
    template: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], Sequence[Mapping[str, Any]]]:
    """Messages and tools as a template can take them.

    Where the template does not name `tools`, they are written at the end of the system message,
    one JSON object a line. Where it does not name `tool_calls`, an assistant's calls are written
    as its content; see `calls_text`.

    Args:
        template: Jinja.
        messages: See `conversation_text`.
        tools: See `conversation_text`.

    Returns:
        The messages, each with a content, and the tools that are left for the template.
    """
    written = [_plain(message, bool(_CALLS.search(template))) for message in messages]
    if not tools or _TOOLS.search(template):
        return written, tools
    text = "Tools:\n" + "\n".join(
        json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools
    )
    if written and written[0].get("role") == "system":
        content = f"{written[0]['content']}\n\n{text}" if written[0]["content"] else text
        return [{**written[0], "content": content}, *written[1:]], ()
    return [{"role": "system", "content": text}, *written], ()


def calls_text(calls: Sequence[Mapping[str, Any]]) -> str:
    """Calls as an answer: a JSON object with `name` and `arguments` for each, one a line.

    Args:
        calls: In OpenAI's form; arguments as an object, or as its JSON text.
    """
    return "\n".join(json.dumps(_call(call), ensure_ascii=False) for call in calls)


def _plain(message: Mapping[str, Any], takes_calls: bool) -> dict[str, Any]:
    plain = dict(message)
    content = plain.get("content")
    plain["content"] = "" if content is None else content
    calls = plain.get("tool_calls")
    if not calls:
        plain.pop("tool_calls", None)
    elif takes_calls:
        # Templates iterate over the arguments, or write them as JSON: an object suits both.
        plain["tool_calls"] = [{"type": "function", "function": _call(call)} for call in calls]
    else:
        del plain["tool_calls"]
        plain["content"] = "\n".join(filter(None, (plain["content"], calls_text(calls))))
    return plain


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function", call)
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        # What cannot be read stays text, as it was given.
        with suppress(ValueError):
            arguments = json.loads(arguments)
    return {"name": function.get("name"), "arguments": arguments}
