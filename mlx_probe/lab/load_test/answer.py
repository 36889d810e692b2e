"""One answer of a chat or text completion, from its chunks."""

from __future__ import annotations

import json
from typing import Any

from mlx_probe.lab.load_test.events import EventParser

__all__ = ["Answer", "AnswerError"]

# Of a server's message in a result.
_LONGEST = 500


class AnswerError(Exception):
    """The server has refused, or what it sent is no answer."""


class Answer:
    """Reads the body of a response.

    Attributes:
        times: When each chunk came that has text, reasoning or a part of a tool call.
        end: When the last such chunk came, or the one that says why the answer ended.
        usage: The server's count of tokens; None if it sent none.
        finish_reason: Why the answer ended; None if it did not say.
        is_whole: Whether the stream has said that it ended.
    """

    def __init__(self) -> None:
        self.times: list[float] = []
        self.end = 0.0
        self.usage: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self.is_whole = False
        self._parts: dict[str, list[str]] = {"text": [], "reasoning": [], "tools": []}
        self._events: EventParser | None = None
        self._body: list[bytes] = []
        self._status = 0
        self._reason = ""
        self._last = 0.0

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(self._parts["text"])

    @property
    def pieces(self) -> tuple[str, ...]:
        """All that was generated: text, reasoning, and names and arguments of tool calls."""
        return tuple("".join(parts) for parts in self._parts.values() if parts)

    def begin(self, status: int, reason: str, content_type: str) -> None:
        """Say what the head of the response is."""
        self._status, self._reason = status, reason
        if status == 200 and "json" not in content_type:
            self._events = EventParser()

    def add(self, now: float, piece: bytes) -> None:
        """Take a piece of the body.

        Raises:
            AnswerError: It says that the server has failed, or is no answer.
        """
        self._last = now
        if self._events is None:
            self._body.append(piece)
            return
        for data in self._events.feed(piece):
            self._take(now, data)

    def finish(self) -> None:
        """Say that the body has ended.

        Raises:
            AnswerError: The server has failed, or the stream broke off.
        """
        if self._events is None:
            body = b"".join(self._body)
            if self._status != 200:
                raise AnswerError(_refusal(self._status, self._reason, body))
            # A server that does not stream sends all at once.
            self._take(self._last, body)
            self.is_whole = True
        else:
            for data in self._events.finish():
                self._take(self._last, data)
        if not self.is_whole and self.finish_reason is None:
            raise AnswerError("the stream ended without a finish_reason or [DONE]")
        self.is_whole = True
        self.end = self.end or self._last

    def _take(self, now: float, data: bytes) -> None:
        if data.strip() == b"[DONE]":
            self.is_whole = True
            return
        try:
            chunk = json.loads(data.decode())
        except ValueError as error:
            raise AnswerError(f"no JSON in a chunk: {error}: {data[:80]!r}") from error
        if not isinstance(chunk, dict):
            raise AnswerError(f"no JSON object in a chunk: {data[:80]!r}")
        if chunk.get("error"):
            raise AnswerError(_message(chunk))
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.usage = usage
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._take_choice(now, choice)

    def _take_choice(self, now: float, choice: dict[str, Any]) -> None:
        delta = choice.get("delta") or choice.get("message") or {}
        if not isinstance(delta, dict):
            raise AnswerError(f"the delta of a chunk is {delta!r}"[:_LONGEST])
        text = _text(delta.get("content")) or _text(choice.get("text"))
        reasoning = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning"))
        calls = delta.get("tool_calls")
        carries = bool(text or reasoning)
        for name, part in (("text", text), ("reasoning", reasoning)):
            if part:
                self._parts[name].append(part)
        for call in calls if isinstance(calls, list) else ():
            carries = True
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                named = (_text(function.get("name")), _text(function.get("arguments")))
                self._parts["tools"] += [part for part in named if part]
        reason = choice.get("finish_reason")
        if carries:
            self.times.append(now)
        if reason:
            self.finish_reason = str(reason)
        if carries or reason:
            self.end = now


def _text(value: Any) -> str:
    """Text of a delta; some servers send a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return ""


def _refusal(status: int, reason: str, body: bytes) -> str:
    try:
        said = _message(json.loads(body.decode()))
    except (ValueError, RecursionError):
        said = body.decode(errors="replace").strip()
    head = f"HTTP {status} {reason}".strip()
    return f"{head}: {said}"[:_LONGEST] if said else head


def _message(content: Any) -> str:
    """What an error says; servers put it into `error`, `message` or `detail`."""
    while isinstance(content, dict):
        for key in ("error", "message", "detail"):
            if content.get(key):
                content = content[key]
                break
        else:
            break
    text = content if isinstance(content, str) else json.dumps(content)
    return text[:_LONGEST]
