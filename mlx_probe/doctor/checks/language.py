"""Which language do messages have, and who chose it?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.core.language import LANGUAGES, VARIABLE, is_supported
from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """The language that the environment names is one that mlx-probe has."""
    wanted, used = facts.asked_language, facts.language
    if wanted and not is_supported(wanted):
        yield (
            "warning",
            f"{VARIABLE}={wanted} names no language of mlx-probe; messages are English",
            f"Set it to one of {', '.join(LANGUAGES)}",
        )
    elif wanted:
        yield ok(f"messages are in the language {used}, by {VARIABLE}")
    else:
        yield ok(f"messages are in the language {used}, that of the system; {VARIABLE} sets it")
