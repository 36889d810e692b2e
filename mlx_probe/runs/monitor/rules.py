"""Rules about samples: "memory above 90% pause".

`QUANTITIES` is the table of quantities that a rule can be about. A broken rule is kept again when
the value has come back by `MARGIN` of the limit, so that a value close to it is one episode.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.units import format_size, parse_size
from mlx_probe.runs.monitor.sample import Sample

__all__ = [
    "ACTIONS",
    "DEFAULT_RULES",
    "QUANTITIES",
    "Quantity",
    "Reference",
    "Rule",
    "parse_rule",
]

ACTIONS = ("warn", "pause", "stop")

MARGIN = 0.02

# Samples over which growth is measured, and the least growth in that time.
GROWTH_SAMPLES, GROWTH_BYTES = 5, 1_000_000


@dataclass(frozen=True)
class Reference:
    """The wholes of which shares are taken; None for one that is not known here.

    Attributes:
        memory: Bytes of the machine's memory.
        disk: Bytes of the disk of the results.
        copy_bandwidth: Bytes that one core copies in a second, from the calibration.
    """

    memory: int | None = None
    disk: int | None = None
    copy_bandwidth: float | None = None


@dataclass(frozen=True)
class Quantity:
    """A quantity that a rule can be about.

    Attributes:
        description: For the documentation.
        value: Takes it from a sample; None if the sample has no value.
        whole: The whole of which a limit in percent is a share; None if there is none. A
            quantity in percent needs none.
        unit: "bytes" or "%".
        grows: Whether a rule may say "growing".
        why_no_pause: Why a pause would never end, or end at once; "" if a pause helps.
        remedy: What to do, for the message that ends a job.
    """

    description: str
    value: Callable[[Sample], float | None]
    whole: Callable[[Reference], float | None] | None
    unit: str = "bytes"
    grows: bool = False
    why_no_pause: str = ""
    remedy: str = "Free memory"


QUANTITIES: dict[str, Quantity] = {
    "memory": Quantity(
        "memory of the machine in use, by whatever process",
        lambda sample: sample.memory_used,
        lambda reference: reference.memory,
    ),
    "process": Quantity(
        "resident memory of this process",
        lambda sample: sample.process_memory,
        lambda reference: reference.memory,
        why_no_pause="a paused process keeps its memory: --memory-limit bounds it",
    ),
    "device": Quantity(
        "device memory in use",
        lambda sample: sample.device_memory,
        None,
        why_no_pause="a paused process keeps its device memory: --memory-limit bounds it",
    ),
    "swap": Quantity("swap in use", lambda sample: sample.swap_used, None, grows=True),
    "disk": Quantity(
        "free space on the disk of the results",
        lambda sample: sample.disk_free,
        lambda reference: reference.disk,
        remedy="Free space on that disk",
    ),
    "bandwidth": Quantity(
        "bytes of weights in a second of reading, or of downloading, over ten seconds; percent "
        "are those of the calibrated copy bandwidth",
        lambda sample: sample.read_speed,
        lambda reference: reference.copy_bandwidth,
        why_no_pause="what is paused reads nothing",
        remedy="Look at the disk or network that the weights come from",
    ),
    "cpu": Quantity(
        "share of all cores that is busy",
        lambda sample: sample.machine_cpu,
        None,
        unit="%",
        why_no_pause='it falls as soon as this process rests: use "others"',
        remedy="Wait until the machine is free",
    ),
    "others": Quantity(
        "share of all cores that other processes keep busy",
        lambda sample: sample.other_cpu,
        None,
        unit="%",
        remedy="Wait until the machine is free",
    ),
}

# They only warn: a rule pauses or stops a job only if the user asked for it.
DEFAULT_RULES = ("memory above 95% warn", "swap growing warn", "disk below 1GB warn")

_GRAMMAR = re.compile(
    r"(?P<quantity>\w+)\s+(?:(?P<growing>growing)|(?P<side>above|below)\s+(?P<limit>\S+))"
    r"\s+(?P<action>\w+)"
)
_EXAMPLES = '"memory above 90% pause", "swap growing warn" or "disk below 5GB stop"'


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        quantity: Key of `QUANTITIES`.
        side: "above", "below" or "growing": values on this side of the limit break the rule.
        limit: Bytes, bytes in a second, or percent if ``is_share``; 0 for "growing".
        is_share: Whether the limit is in percent.
        action: One of `ACTIONS`.
        text: As the user wrote it.
    """

    quantity: str
    side: str
    limit: float
    is_share: bool
    action: str
    text: str

    def resolved(self, reference: Reference) -> Rule | None:
        """The rule with a limit in the quantity's own unit.

        Returns:
            None if it is a share of a whole that is not known here.
        """
        quantity = QUANTITIES[self.quantity]
        if not self.is_share or quantity.whole is None:
            return self
        whole = quantity.whole(reference)
        return None if whole is None else replace(self, limit=self.limit / 100 * whole)

    def is_broken(self, value: float, was_broken: bool) -> bool:
        """Whether a value breaks the rule; a broken rule is kept only beyond the margin."""
        if self.side == "below":
            return value < self.limit * (1 + MARGIN if was_broken else 1)
        return value > self.limit * (1 - MARGIN if was_broken else 1)

    def describe(self, value: float, reference: Reference) -> str:
        """The value for a message: "93.1 % (14.9 GB)"."""
        quantity = QUANTITIES[self.quantity]
        if self.side == "growing":
            return f"{format_size(round(value))} more than {GROWTH_SAMPLES} samples ago"
        if quantity.unit == "%":
            return f"{value:.1f} %"
        text = format_size(round(value)) + ("/s" if self.quantity == "bandwidth" else "")
        whole = quantity.whole(reference) if quantity.whole and self.is_share else None
        return f"{100 * value / whole:.1f} % ({text})" if whole else text


def parse_rule(text: str) -> Rule:
    """A rule from its text, "QUANTITY above|below LIMIT ACTION" or "QUANTITY growing ACTION".

    Raises:
        ConfigError: It is not a rule, or one that makes no sense.
    """
    match = _GRAMMAR.fullmatch(text.strip().lower())
    if match is None:
        raise ConfigError(f"{text!r} is not a rule", f"Write rules such as {_EXAMPLES}")
    name, action = match["quantity"], match["action"]
    quantity = QUANTITIES.get(name)
    if quantity is None:
        raise ConfigError(f"no rule can be about {name!r} ({text!r})", _nearest(name, QUANTITIES))
    if action not in ACTIONS:
        raise ConfigError(f"no rule can {action!r} ({text!r})", _nearest(action, ACTIONS))
    if action == "pause" and quantity.why_no_pause:
        raise ConfigError(
            f"{text!r} cannot pause: {quantity.why_no_pause}", "Let the rule warn or stop"
        )
    if match["growing"]:
        if not quantity.grows:
            growing = " or ".join(name for name, each in QUANTITIES.items() if each.grows)
            raise ConfigError(
                f"{text!r}: growing {name} is no sign of trouble",
                f"Give it a limit, or write such a rule about {growing}",
            )
        return Rule(name, "growing", float(GROWTH_BYTES), False, action, text.strip())
    limit, is_share = _limit(match["limit"], text, name, quantity)
    return Rule(name, match["side"], limit, is_share, action, text.strip())


def _limit(limit: str, text: str, name: str, quantity: Quantity) -> tuple[float, bool]:
    share = re.fullmatch(r"(\d+(?:\.\d+)?)%", limit)
    if share is not None:
        if quantity.unit == "bytes" and quantity.whole is None:
            raise ConfigError(
                f"{text!r}: nothing is known that {name} could be a share of",
                f"Give a size, such as {name} above 10GB",
            )
        value = float(share[1])
        if name != "bandwidth" and value > 100:
            raise ConfigError(f"{text!r}: {limit} is more than all", "Give at most 100%")
        return value, True
    size = parse_size(limit.removesuffix("/s")) if quantity.unit == "bytes" else None
    if size is None:
        example = "90%" if quantity.unit == "%" else "5GB or 600MB"
        raise ConfigError(f"{text!r}: {limit!r} is no limit for {name}", f"Give {example}")
    return float(size), False


def _nearest(word: str, known: Iterable[str]) -> str:
    words = list(known)
    near = difflib.get_close_matches(word, words, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Use one of {', '.join(words)}"
