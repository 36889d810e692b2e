"""The requests of a test: sent when they are due, each with what came back and when."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.load_test.address import Address
from mlx_probe.lab.load_test.answer import Answer, AnswerError
from mlx_probe.lab.load_test.arrivals import arrival_times
from mlx_probe.lab.load_test.config import LoadTestConfig
from mlx_probe.lab.load_test.connection import Client, OnData, explained
from mlx_probe.lab.load_test.prompts import Prompt
from mlx_probe.lab.load_test.response import ResponseParser

__all__ = ["OnProgress", "Request", "Session", "first_model", "run_session"]

# Called with requests that have ended, and all.
OnProgress = Callable[[int, int], None]

# Seconds.
_SWITCH = 2e-4


@dataclass
class Request:
    """One request and its outcome; times are those of `time.perf_counter`.

    Attributes:
        prompt: What was asked.
        due: When it was to be sent.
        start: When it was sent, after waiting for a free connection slot.
        answer: What came back.
        error: Why it failed; "" if it did not.
    """

    prompt: Prompt
    due: float = 0.0
    start: float = 0.0
    answer: Answer = field(default_factory=Answer)
    error: str = ""


@dataclass
class Session:
    """All requests of a test.

    Attributes:
        requests: In the order of their prompts; those that were not sent or broken off by Ctrl-C
            are missing.
        duration: Seconds from the first request until the last has ended.
        is_interrupted: Whether Ctrl-C ended it.
    """

    requests: list[Request]
    duration: float
    is_interrupted: bool = False


def run_session(
    address: Address,
    model: str,
    prompts: Sequence[Prompt],
    config: LoadTestConfig,
    on_progress: OnProgress = lambda done, total: None,
) -> Session:
    """Send requests to a server, and wait for all answers.

    Args:
        address: The server.
        model: Name that the requests carry.
        prompts: One for each request.
        config: Rate, concurrency, warm-up, limits of time.
        on_progress: Called when a request has ended.

    Raises:
        SourceError: The server is not up within the time allowed, if there is one.
    """
    test = _Test(address, model, prompts, config, on_progress)
    interrupted = False
    with _undisturbed():
        try:
            asyncio.run(test.run())
        except KeyboardInterrupt:
            interrupted = True
    ended = time.perf_counter() if interrupted else test.end
    done = [request for request in test.requests if request.error or request.answer.is_whole]
    duration = max(ended - test.begin, 1e-9) if test.begin else 1e-9
    return Session(done, duration, interrupted)


def first_model(address: Address, config: LoadTestConfig) -> str:
    """The name of the first model that the server lists.

    Raises:
        SourceError: It lists none.
    """
    body: list[bytes] = []

    def on_head(response: ResponseParser) -> OnData:
        return lambda now, piece: body.append(piece)

    async def ask() -> None:
        client = Client(address, _headers(config), 30.0)
        await _until_ready(client, address, config)
        await client.request("GET", address.at("/v1/models"), b"", on_head)
        await client.close()

    try:
        asyncio.run(ask())
        listed = json.loads(b"".join(body))
        return str(listed["data"][0]["id"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SourceError(
            f"{address.url}: the server lists no model: {explained(error)}",
            "Name the model with --model, and check that the server runs",
        ) from error


class _Test:
    """The state of a test that runs."""

    def __init__(
        self,
        address: Address,
        model: str,
        prompts: Sequence[Prompt],
        config: LoadTestConfig,
        on_progress: OnProgress,
    ) -> None:
        self.requests = [Request(prompt) for prompt in prompts]
        self.begin = self.end = 0.0
        self._address, self._config, self._on_progress = address, config, on_progress
        self._bodies = {
            id(prompt): json.dumps(prompt.body(config.backend, model, config)).encode()
            for prompt in prompts
        }
        self._done = 0

    async def run(self) -> None:
        """Wait for the server, warm up, then send what is measured."""
        config = self._config
        client = Client(self._address, _headers(config), config.stall_timeout)
        slots = asyncio.Semaphore(config.max_concurrency or len(self.requests))
        await _until_ready(client, self._address, config)
        warmups = [Request(self.requests[0].prompt) for _ in range(config.num_warmups)]
        await asyncio.gather(*(self._ask(client, slots, request) for request in warmups))
        if config.max_concurrency:
            # Users keep their connections; to open all at once would show in the first latencies.
            await client.open(min(config.max_concurrency, len(self.requests)))
        self._done = 0
        self._on_progress(0, len(self.requests))
        arrivals = arrival_times(
            len(self.requests), config.request_rate, config.burstiness, config.seed
        )
        self.begin = time.perf_counter()
        tasks = []
        for request, arrival in zip(self.requests, arrivals, strict=True):
            wait = self.begin + arrival - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.ensure_future(self._ask(client, slots, request)))
        await asyncio.gather(*tasks)
        self.end = time.perf_counter()
        await client.close()

    async def _ask(self, client: Client, slots: asyncio.Semaphore, request: Request) -> None:
        request.due = time.perf_counter()
        async with slots:
            answer = request.answer

            def on_head(response: ResponseParser) -> OnData:
                kind = response.headers.get("content-type", "")
                answer.begin(response.status, response.reason, kind)
                return answer.add

            def on_start(now: float) -> None:
                request.start = now

            body = self._bodies[id(request.prompt)]
            request.start = time.perf_counter()
            try:
                await asyncio.wait_for(
                    client.request("POST", self._address.endpoint, body, on_head, on_start),
                    self._config.timeout or None,
                )
                answer.finish()
            except AnswerError as error:
                request.error = str(error)
            except asyncio.TimeoutError as error:
                request.error = str(error) or f"no whole answer in {self._config.timeout:g} s"
            except Exception as error:  # whatever a server makes of HTTP fails one request only
                request.error = explained(error)
        self._done += 1
        self._on_progress(self._done, len(self.requests))


async def _until_ready(client: Client, address: Address, config: LoadTestConfig) -> None:
    """Wait until the server takes connections."""
    until = time.perf_counter() + config.ready_check_timeout_sec
    while config.ready_check_timeout_sec:
        try:
            await client.request(
                "GET", address.at("/v1/models"), b"", lambda response: lambda now, piece: None
            )
            return
        except OSError as error:
            if time.perf_counter() > until:
                raise SourceError(
                    f"{address.url} does not answer: {explained(error)}",
                    "Start the server, or wait longer with --ready-check-timeout-sec",
                ) from error
        await asyncio.sleep(0.2)


def _headers(config: LoadTestConfig) -> Mapping[str, str]:
    bearer = {"Authorization": f"Bearer {config.token}"} if config.token else {}
    accepted: dict[str, Any] = {"Accept": "text/event-stream, application/json"}
    return {**accepted, **bearer, **config.headers}


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep what else the process does from delaying the moment at which a chunk is seen."""
    interval = sys.getswitchinterval()
    # The collector walks over all that was there before: pauses of 100 ms. What somebody else has
    # frozen stays so.
    is_frozen = gc.get_freeze_count() > 0
    gc.collect()
    gc.freeze()
    # The thread that draws a progress bar gives way after this time; 5 ms by default.
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if not is_frozen:
            gc.unfreeze()
