"""Does the Hub answer?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """The Hub, or the mirror that is set, answers."""
    hub = facts.hub
    if hub is None:
        return
    if hub.offline:
        remedy = "Unset HF_HUB_OFFLINE to download models; those in the cache work as it is"
        yield "warning", "HF_HUB_OFFLINE is set: the Hub was not asked", remedy
    elif hub.status is None:
        remedy = "Check the connection, proxies and HF_ENDPOINT; --offline leaves this check out"
        yield "error", f"{hub.endpoint}: {hub.problem}", remedy
    elif hub.status == 429 or (hub.status >= 500 and hub.status != 501):
        fact = f"{hub.endpoint} answers {hub.status}"
        yield "warning", fact, "Try again in some minutes, or set HF_ENDPOINT to a mirror"
    elif 300 <= hub.status < 400:
        fact = f"{hub.endpoint} sends elsewhere ({hub.status})"
        yield "warning", fact, "Log in to the network, or set HF_ENDPOINT to where it sends"
    else:
        yield ok(f"{hub.endpoint} answers")
