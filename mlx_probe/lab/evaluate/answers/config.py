"""How questions are asked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside
from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.toolcalls.config import SYSTEM
from mlx_probe.lab.evaluate.answers.prompting import PROMPTING

__all__ = ["AnswerConfig"]


@dataclass(frozen=True)
class AnswerConfig:
    """Settings of a task that asks questions.

    Attributes:
        split: Part of prepared data: "test", "valid" or "train".
        categories: Of BFCL; none for all.
        items: Which questions of each category, "0-99" for the first hundred; "" for all.
        prompting: Key in `PROMPTING`.
        system: System prompt of questions that have none. For "words" only one with "{functions}"
            in it is used, in place of the usual one.
        max_tokens: Tokens of an answer, at most.
        temperature: 0 takes the most likely token.
        seed: Of the draws, and of the resamples behind intervals.
        name: The model's name at an address; "" for the first one that it has.
        api_key: Token that an address wants; "" for none.
        concurrency: Questions at a time, at an address.
        registered: "module:TABLE" or "file.py:TABLE" of functions that may be run, or "built-in";
            see `Sandbox`. "" for none.

    Raises:
        ConfigError: A value has no meaning.
    """

    split: str = "test"
    categories: tuple[str, ...] = ()
    items: str = ""
    prompting: str = "tools"
    system: str = SYSTEM
    max_tokens: int = 512
    temperature: float = 0.0
    seed: int = 0
    name: str = ""
    api_key: str = ""
    concurrency: int = 4
    registered: str = ""

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("split", self.split in ("test", "valid", "train"), "test, valid, train"),
                ("prompting", self.prompting in PROMPTING, ", ".join(PROMPTING)),
                ("max_tokens", self.max_tokens >= 1, "1 or more"),
                ("temperature", 0 <= self.temperature < 100, "0 or more, below 100"),
                ("seed", 0 <= self.seed < 1 << 64, "0 or more, below 2^64"),
                ("concurrency", 1 <= self.concurrency <= 1024, "1 to 1024"),
            ),
        )
        self.slice()

    def slice(self) -> slice:
        """Which questions are asked."""
        match = re.fullmatch(r"(\d+)(-)?(\d*)", self.items or "0-")
        if match is None or (match[3] and not match[2]):
            raise ConfigError(
                f"items cannot be {self.items!r}", "Write the first and the last, such as 0-99"
            )
        first = int(match[1])
        if match[2] is None:
            return slice(first, first + 1)
        return slice(first, int(match[3]) + 1 if match[3] else None)
