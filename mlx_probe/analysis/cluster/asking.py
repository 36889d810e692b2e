"""Ask workers something, and say in words why one has not answered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from mlx_probe.core.version import __version__

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["PATIENCE", "Silence", "ask", "no_answer"]

# Seconds for an answer that takes a few imports: a worker that is frozen never gives one.
PATIENCE = 30.0

# Dask sends the text of an exception where it cannot send the exception.
_MODULE = re.compile(r"No module named \\?['\"]([\w.]+)")
_ATTRIBUTE = re.compile(r"Can't get attribute|has no attribute|unexpected keyword|positional arg")


class Silence(Exception):  # noqa: N818  nothing failed here
    """A worker has not answered in time."""


def ask(
    client: Client,
    addresses: Sequence[str],
    function: Callable[..., Any],
    *args: Any,
    timeout: float | None = PATIENCE,
) -> dict[str, Any]:
    """Call a function on workers, on all at once, beside their tasks.

    Args:
        client: Of their scheduler.
        addresses: Of the workers.
        function: What they call; importable there. A coroutine function does not keep a worker
            from answering its scheduler meanwhile.
        args: Its arguments.
        timeout: Seconds for the answer of each; None for as long as it takes.

    Returns:
        By address what it returned or, for whatever kept it from that, the exception. No worker
        that left meanwhile is missing.

    Raises:
        OSError: The scheduler does not answer.
    """

    async def one(address: str) -> Any:
        # In the client's own loop its methods return awaitables.
        answers: Awaitable[dict[str, Any]] = client.run(
            function, *args, workers=[address], on_error="return"
        )
        try:
            return (await asyncio.wait_for(answers, timeout)).get(address)
        except asyncio.TimeoutError:  # another class than TimeoutError in Python 3.10
            return Silence(f"it gives no answer within {timeout:g} s")

    async def each() -> list[Any]:
        return await asyncio.gather(*map(one, addresses))

    return dict(zip(addresses, client.sync(each), strict=True))


def no_answer(answer: object) -> tuple[str, str]:
    """Why a worker did not do what it was asked.

    Args:
        answer: The exception that `ask` returned for it; anything else for a worker that left.

    Returns:
        The fact, without the worker's name, and the remedy.
    """
    again = f"Run `pip install 'mlx-probe[cluster]=={__version__}'` there, and start it again"
    text = f"{type(answer).__name__}: {answer}"
    if module := _MODULE.search(text):
        package = module[1].partition(".")[0]
        if package != "mlx_probe":
            return f"it lacks the package {package}", again
        if package == module[1]:
            return "it has no mlx-probe", again
    if module or _ATTRIBUTE.search(text):
        return "its mlx-probe is another version, which lacks what this one asks of it", again
    if isinstance(answer, Silence):
        return str(answer), "It is frozen, overloaded or cut off: look at its log, or stop it"
    if isinstance(answer, Exception):
        return f"it does not answer: {text.splitlines()[0]}", "Look at its log, and start it again"
    return "it went away", "Look at its log, and start it again"
