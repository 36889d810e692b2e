"""How long to wait for a server, and how often to ask again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

__all__ = ["RetryPolicy", "retry_after"]

# Most seconds to wait because a server asks for it: the Hub's rate limits last five minutes.
_LONGEST_ASKED = 600.0


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


@dataclass(frozen=True)
class RetryPolicy:
    """When to give up.

    Attributes:
        tries: Failures of one address in a row, without progress, after which to give up.
        first_wait: Seconds before the second try; doubled before each further one.
        longest_wait: Most seconds of one wait.
        timeout: Seconds without a byte after which a connection counts as lost; None for
            huggingface_hub's (HF_HUB_DOWNLOAD_TIMEOUT).
        sleep: Waits so many seconds; may raise to end the transfer.
        random: Draws from 0 to 1, so that many clients do not come back at the same time.
    """

    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    timeout: float | None = None
    sleep: Callable[[float], None] = _sleep
    random: Callable[[], float] = random.random

    def wait(self, failures: int, asked: float | None = None) -> float:
        """Seconds to wait after so many failures in a row.

        Args:
            failures: At least 1.
            asked: Seconds that the server asked for; used if they are longer.
        """
        grown = min(self.longest_wait, self.first_wait * 2.0 ** min(failures - 1, 60))
        return max(grown * (0.5 + self.random() / 2), min(asked or 0.0, _LONGEST_ASKED))


def retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as such or as a date; None if nothing."""
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header.strip()[:9])
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())
