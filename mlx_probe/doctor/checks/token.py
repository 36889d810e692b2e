"""Does the Hub accept the token?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """A token is set, and the Hub accepts it."""
    hub = facts.hub
    if hub is None:
        return
    renew = "Make a new one at huggingface.co/settings/tokens, then `hf auth login` or set HF_TOKEN"
    if hub.token == "none":
        remedy = "For gated and private models `hf auth login`, or set HF_TOKEN"
        yield "warning", "no token: the Hub gives only public models, and fewer at a time", remedy
    elif hub.token == "malformed":
        fact = f"the token ({hub.token_source}) has characters that no token has"
        yield "error", fact, renew
    elif hub.token == "refused":
        # With a bad token even public models are refused.
        yield "error", f"the Hub refuses the token ({hub.token_source})", renew
    elif hub.token == "unknown":
        fact = f"a token is set ({hub.token_source}); nobody said whether it is valid"
        yield "warning", fact, "Run mlx-probe doctor again when huggingface.co answers"
    else:
        yield ok(f"the Hub takes the token ({hub.token_source})")
