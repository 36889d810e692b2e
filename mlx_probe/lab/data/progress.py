"""How far the tokenizing of a corpus is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlx_probe.core.language import tr

__all__ = ["OnProgress", "Progress", "counted"]


@dataclass(frozen=True)
class Progress:
    """How far it is.

    Attributes:
        stage: "read", "train tokenizer", "tokenize" or "verify".
        done: Bytes of this stage that are done.
        total: Bytes of this stage.
    """

    stage: str
    done: int
    total: int

    @property
    def title(self) -> str:
        """What is going on, for the reader."""
        titles = {
            "read": tr("reading"),
            "train tokenizer": tr("training the tokenizer"),
            "tokenize": tr("tokenizing"),
            "verify": tr("verifying"),
        }
        return titles[self.stage]


OnProgress = Callable[[Progress], None]


def counted(stage: str, total: int, report: OnProgress) -> Callable[[int], None]:
    """A function that counts bytes of a stage and reports them."""
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        report(Progress(stage, done, total))

    report(Progress(stage, 0, total))
    return count
