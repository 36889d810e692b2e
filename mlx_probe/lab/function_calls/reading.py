"""The text of an answer to the calls in it.

One way through the text, from left to right. What begins a value is read as a whole, so that
braces, tags and fences inside strings are text. Time is linear: what cannot be read may cost only
a few times the length of the text, all failures together.
"""

from __future__ import annotations

import re

from mlx_probe.lab.function_calls.call import Answer, Call, UnreadableError
from mlx_probe.lab.function_calls.json_calls import calls_of, decode, looks_like_call
from mlx_probe.lab.function_calls.python_calls import begins_calls, python_calls

__all__ = ["read_answer"]

# What may begin or end a call. Between <| and |> stand tokens of templates.
_NEXT = re.compile(
    r"(?P<think><think(?:ing)?>)|(?P<thought></think(?:ing)?>)|(?P<block><tool_call>)"
    r"|(?P<close></tool_call>)|(?P<fence>```[\w+-]*)|(?P<token><\|\w+\|>|\[TOOL_CALLS\])"
    r"|(?P<value>[{\[])"
)
_THOUGHT = re.compile(r"</think(?:ing)?>")
_BLOCK_END = "</tool_call>"
_BLOCK_EDGE = re.compile("</?tool_call>")
_ONWARD = re.compile(r"\n[{\[]|</?tool_call>|```")
_BLANK = re.compile(r"[\s,;]*")
# A call in Python's syntax that stands alone must reach to one of these.
_ALONE = re.compile(r"\s*(?:\Z|```|</tool_call>|<\|)")
# How often the text may be read in vain, all failures together.
_READINGS, _AT_LEAST = 4, 3_000_000
# Python counts the lines before an error of its JSON reader: characters it passes while we read 1.
_COUNTED = 64


def read_answer(text: str) -> Answer:
    """Read the calls in a model's answer; never raises.

    Calls are JSON objects with ``name`` and ``arguments`` (and OpenAI's, Hermes' and Llama's
    variants of it, see `calls_of`), arrays of them, contents of ``<tool_call>`` blocks, and
    Python's syntax in brackets (``[f(a=1), g(b=[1, 2])]``) or standing alone, in a fence or not.
    Other JSON, and other code, is text. Thinking blocks are set aside, with calls in them.

    Args:
        text: The answer, with the tokens of the template or without.
    """
    reader = _Answer(text)
    reader.read()
    return Answer(tuple(reader.calls), "".join(reader.plain).strip(), reader.malformed)


class _Answer:
    """The answer so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.forget()
        self.budget = _READINGS * len(text) + _AT_LEAST

    def forget(self) -> None:
        self.calls: list[Call] = []
        self.plain: list[str] = []
        self.malformed: str | None = None

    def read(self) -> None:
        at = self.alone(0)
        while (mark := _NEXT.search(self.text, at)) is not None:
            self.plain.append(self.text[at : mark.start()])
            at = mark.end()
            if mark["think"]:
                end = _THOUGHT.search(self.text, at)
                at = self.alone(end.end() if end else len(self.text))
            elif mark["thought"]:
                # The template had begun the block: all so far was thinking.
                self.forget()
                at = self.alone(at)
            elif mark["block"]:
                at = self.block(at)
            elif mark["fence"] or mark["token"]:
                at = self.alone(at)
            elif mark["value"]:
                at = self.value(mark.start())
            if self.budget < 0:
                self.complain("too much of the answer cannot be read")
                break
        self.plain.append(self.text[at:])

    def complain(self, reason: str) -> None:
        self.malformed = self.malformed or reason

    def failed(self, error: UnreadableError, start: int, meant: bool = True) -> None:
        """Count what reading in vain cost."""
        at = len(self.text) if error.at is None else error.at
        self.budget -= at - start + 1 + at // _COUNTED
        if meant:
            self.complain(str(error))

    def alone(self, at: int) -> int:
        """Read calls in Python's syntax that stand alone here; where to go on."""
        start = _past(self.text, at)
        if not begins_calls(self.text, start):
            return at
        try:
            calls, end = python_calls(self.text, start)
        except UnreadableError as error:
            self.failed(error, start)
            return at
        if _ALONE.match(self.text, end) is None:
            self.budget -= end - start
            return at  # code or prose with a call in it
        self.calls += calls
        return end

    def value(self, start: int) -> int:
        """Read the JSON value or the Python calls that begin here; where to go on."""
        text = self.text
        if text[start] == "[" and begins_calls(text, _past(text, start + 1)):
            try:
                calls, end = python_calls(text, start)
            except UnreadableError as error:
                self.failed(error, start)
                return self.past_broken(start)
            self.calls += calls
            return end
        meant = looks_like_call(text, start)
        try:
            value, end = decode(text, start)
        except UnreadableError as error:
            self.failed(error, start, meant)
            if meant:
                return self.past_broken(start)
            self.plain.append(text[start])
            return start + 1
        try:
            calls_here = calls_of(value)
        except UnreadableError as error:
            self.complain(str(error))
            calls_here = []
        if calls_here is None:
            self.plain.append(text[start:end])
        else:
            self.calls += calls_here
        return end

    def past_broken(self, start: int) -> int:
        """Where the next line or the next block begins after a call that is broken."""
        onward = _ONWARD.search(self.text, start + 1)
        end = onward.start() if onward else len(self.text)
        self.plain.append(self.text[start:end])
        return end

    def block(self, at: int) -> int:
        """Read what stands in a ``<tool_call>`` block; where to go on."""
        text, some = self.text, False
        while True:
            at = _past(text, at)
            if text.startswith(_BLOCK_END, at) or (some and at == len(text)):
                break
            calls, plain = len(self.calls), len(self.plain)
            onward = self.value(at) if text[at : at + 1] in tuple("{[") else self.alone(at)
            if len(self.calls) == calls:  # what stands here is no call
                del self.plain[plain:]
                some = False
                break
            at, some = onward, True
        if not some:
            self.complain("a <tool_call> block holds no call")
        end = _BLOCK_EDGE.search(text, at)
        if end is None:
            return len(text)
        return end.end() if end[0] == _BLOCK_END else end.start()


def _past(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at
