"""What a request asks, checked before mlx-lm sees it."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

__all__ = ["BadRequestError", "checked_body"]

# What would load another model.
_FOREIGN = ("adapters", "draft_model")


class BadRequestError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: HTTP's.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def checked_body(body: bytes, is_chat: bool, names: Collection[str]) -> dict[str, Any]:
    """The request, without what mlx-lm would stumble over.

    Args:
        body: JSON.
        is_chat: Whether it is a chat completion.
        names: What the model may be called, the name in answers first.

    Raises:
        BadRequestError: It is no request that can be answered.
    """
    try:
        content = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the request is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadRequestError("the request is no JSON object")
    # Clients write null for what they leave to the server.
    asked = {key: value for key, value in content.items() if value is not None}
    model = asked.get("model", "")
    first = next(iter(names))
    if model not in ("", "default_model", *names):
        raise BadRequestError(f"model {model!r} is not served here; its name is {first!r}", 404)
    asked["model"] = first
    if any(key in asked for key in _FOREIGN):
        raise BadRequestError("adapters and draft models cannot be chosen by a request")
    if asked.get("n", 1) != 1:
        raise BadRequestError("only one answer can be made for a request: n must be 1")
    options = asked.get("stream_options")
    if options is not None:
        wanted = isinstance(options, dict) and options.get("include_usage") is True
        asked["stream_options"] = {"include_usage": wanted}
    stop = asked.get("stop", [])
    if not _is_texts([stop] if isinstance(stop, str) else stop):
        raise BadRequestError("stop has to be a text or a list of texts")
    if is_chat:
        _check_messages(asked.get("messages"))
        if asked.get("tool_choice") == "none":
            asked.pop("tools", None)
        _check_tools(asked.get("tools", []))
    elif not isinstance(asked.get("prompt"), str):
        raise BadRequestError("prompt has to be a text")
    return asked


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("messages has to be a list of at least one message")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadRequestError(f"messages[{number}] has to be an object with a role")
        content = message.get("content", "")
        parts = content if isinstance(content, list) else []
        # mlx-lm would fetch the addresses of pictures.
        if not (content is None or isinstance(content, str) or parts) or not all(
            isinstance(part, dict)
            and part.get("type") == "text"
            and isinstance(part.get("text"), str)
            for part in parts
        ):
            raise BadRequestError(f"messages[{number}] has to have text as its content")


def _check_tools(tools: Any) -> None:
    if not isinstance(tools, list) or not all(
        isinstance(tool, dict) and isinstance(tool.get("function"), dict) for tool in tools
    ):
        raise BadRequestError("tools has to be a list of objects with a function")


def _is_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) and value for value in values)
