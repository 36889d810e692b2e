"""One request to mlx-lm's generation thread: its times, and whether its client is still there."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mlx_probe.lab.serve.metrics import Metrics
from mlx_probe.lab.serve.tool_text import START, STOP, marked_calls, parse_call

__all__ = ["ClientLeftError", "Watched"]

# Seconds between two looks at the connection.
_LOOK = 0.2


class ClientLeftError(ConnectionError):
    """The client has closed its connection before the answer was whole."""


@dataclass
class Watched:
    """Stands for mlx-lm's `ResponseGenerator` in the handler of one request.

    Attributes:
        generator: The one that all requests share.
        metrics: What is counted.
        connection: To the client.
        began: When the request came, by `time.perf_counter`.
        prompt_tokens: Of the request, once it is accepted.
        tokens: Made so far.
        failure: What the generation raised before its first token; None for nothing.
    """

    generator: Any
    metrics: Metrics
    connection: socket.socket
    began: float
    prompt_tokens: int = 0
    tokens: int = 0
    failure: Exception | None = None

    @property
    def cli_args(self) -> Any:
        """mlx-lm's settings."""
        return self.generator.cli_args

    @property
    def is_healthy(self) -> bool:
        """Whether the generation thread runs."""
        return bool(self.generator.is_healthy)

    def generate(
        self,
        request: Any,
        generation_args: Any,
        progress_callback: Callable[[int, int], None] | None = None,
    ) -> tuple[Any, Iterator[Any]]:
        """What mlx-lm's method of this name does, measured."""
        self.metrics.change("requests_waiting", 1)
        # The engine writes tools into the prompt where the template has no place for them.
        has_tools = bool(request.tools)
        try:
            context, responses = self.generator.generate(
                request, generation_args, progress_callback=progress_callback
            )
        except Exception as error:
            self.failure = error
            self.metrics.change("requests_waiting", -1)
            raise
        now = time.perf_counter()
        self.prompt_tokens = len(context.prompt)
        self.metrics.observe("queue_seconds", now - self.began)
        self.metrics.count("prompt_tokens_total", self.prompt_tokens)
        self.metrics.count("cached_prompt_tokens_total", max(0, context.prompt_cache_count))
        measured = self._measured(responses)
        if has_tools and not context.has_tool_calling:
            measured = marked_calls(measured)
            _expect_marks(context)
        return context, measured

    def _measured(self, responses: Iterator[Any]) -> Iterator[Any]:
        # The handler may end this at any of its steps.
        state, first, looked = "requests_waiting", 0.0, 0.0
        try:
            for response in responses:
                now = time.perf_counter()
                self.tokens += 1
                if not first:
                    first = now
                    self.metrics.observe("time_to_first_token_seconds", now - self.began)
                    self.metrics.change(state, -1)
                    state = "requests_running"
                    self.metrics.change(state, 1)
                if now - looked > _LOOK:
                    looked = now
                    _refuse_absent(self.connection)
                yield response
            end = time.perf_counter()
            self.metrics.observe("request_seconds", end - self.began)
            if self.tokens > 1:
                each = (end - first) / (self.tokens - 1)
                self.metrics.observe("time_per_output_token_seconds", each)
        finally:
            self.metrics.change(state, -1)
            self.metrics.count("generation_tokens_total", self.tokens)


def _expect_marks(context: Any) -> None:
    """Let mlx-lm look for the marks of `marked_calls`."""
    from mlx_lm.generate import TextStateMachine

    context.tool_parser = parse_call
    context.text_sm = TextStateMachine({"normal": [(START, "tool")], "tool": [(STOP, "normal")]})


def _refuse_absent(connection: socket.socket) -> None:
    """Raise where the client has gone: a request that does not stream writes nothing for long."""
    readable, _, _ = select.select([connection], [], [], 0)
    if readable and not connection.recv(1, socket.MSG_PEEK):
        raise ClientLeftError("the client has closed the connection")
