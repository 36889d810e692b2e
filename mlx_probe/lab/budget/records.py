"""The records of a budget: matrices, what may be done to them, and what was chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.tensor_stream import TensorSpec

__all__ = [
    "BudgetPlan",
    "Choice",
    "Chosen",
    "Curve",
    "Goal",
    "Kind",
    "Matrix",
    "ModuleKind",
    "Way",
]

Kind = Literal["keep", "bits", "rank"]
ModuleKind = Literal["linear", "embedding", "experts", "other", "none"]


@dataclass(frozen=True, order=True)
class Way:
    """One of MLX's quantizations.

    Attributes:
        mode: "affine", "mxfp4", "mxfp8" or "nvfp4".
        bits: Of an element.
        group: Elements of a row that share a scale.
    """

    mode: str
    bits: int
    group: int

    @property
    def text(self) -> str:
        """For people: "4-bit, groups of 64", "mxfp4"."""
        return f"{self.bits}-bit/{self.group}" if self.mode == "affine" else self.mode

    def settings(self) -> dict[str, Any]:
        """As mlx-lm's config.json and `to_quantized` have it."""
        return {"group_size": self.group, "bits": self.bits, "mode": self.mode}


@dataclass(frozen=True)
class Choice:
    """What becomes of one matrix.

    Attributes:
        kind: "keep" as it is, "bits" for a quantization, "rank" for two factors.
        way: The quantization; None for the others.
        rank: The rank; None for the others.
    """

    kind: Kind = "keep"
    way: Way | None = None
    rank: int | None = None

    @property
    def text(self) -> str:
        """For people."""
        if self.way is not None:
            return self.way.text
        return "as it is" if self.rank is None else f"rank {self.rank}"


@dataclass(frozen=True)
class Matrix:
    """A weight of a module of mlx-lm's model, or any other parameter.

    Attributes:
        path: Of the module in mlx-lm's model; the key of its settings in config.json.
        name: Of the weight's tensor.
        kind: What the module is: "linear", "embedding", a stack of "experts" (`SwitchLinear`),
            "other" that MLX quantizes, or "none": a parameter that is always kept.
        shape: Of the weight, unpacked; the last two axes are rows and columns.
        dtype: Type of its plain elements, and of scales and factors, in the words of the files.
        kept: Its tensors, and those of the module's bias, if it is kept.
        bias: Those that it has whatever is chosen.
        stored: Bytes of these tensors as they are stored now.
        packed: The quantization that it is stored in; None for a plain one.
        ways: The quantizations that it may get.
        cut: Whether it may be cut to a rank.
        cast: Whether keeping it changes its type.
        layer: Number of the layer; None outside of them.
        block_type: As in the tables of `analyze`.
        component: The same.
        reason: Why nothing may be done to it; "" if something may.
    """

    path: str
    name: str
    kind: ModuleKind
    shape: tuple[int, ...]
    dtype: str
    kept: tuple[TensorSpec, ...]
    stored: int
    bias: tuple[TensorSpec, ...] = ()
    packed: Way | None = None
    ways: tuple[Way, ...] = ()
    cut: bool = False
    cast: bool = False
    layer: int | None = None
    block_type: str = ""
    component: str = ""
    reason: str = ""

    @property
    def numel(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def stack(self) -> int:
        """Matrices in it: 1, or the experts."""
        return math.prod(self.shape[:-2])

    @property
    def extents(self) -> tuple[int, int]:
        """Rows and columns of one of its matrices."""
        return self.shape[-2], self.shape[-1]


@dataclass(frozen=True)
class Curve:
    """What each choice costs one matrix, measured.

    Attributes:
        energy: Sum of squares of its elements as stored, unpacked.
        keep: Squared error of keeping it: not 0 if its type changes.
        rounding: Squared error of each quantization.
        tails: Squared error of each rank from 0, in exact factors: the sum of the squared
            singular values beyond it. None if it was not measured.
        problem: Why there is none; "" if there is.
    """

    energy: float = 0.0
    keep: float = 0.0
    rounding: Mapping[Way, float] = field(default_factory=dict)
    tails: NDArray[np.float64] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Goal:
    """What is asked for; one of the three.

    Attributes:
        energy: Share of its squared norm that each matrix keeps at least.
        error: Frobenius error of all matrices together, relative to their norm, at most.
        size: Bytes of the files with weights at most.
    """

    energy: float | None = None
    error: float | None = None
    size: int | None = None


@dataclass(frozen=True)
class Chosen:
    """A matrix with its choice.

    Attributes:
        matrix: The matrix.
        choice: What becomes of it.
        before: Bytes of its tensors as they are stored.
        after: Bytes of its tensors then.
        energy: Sum of squares of its elements; None if not measured.
        squared_error: Predicted; None if not measured.
        rank_needed: The least rank with an error within the share that the goal leaves each
            matrix; None if none has, or the spectrum was not measured.
        rank_saving: The largest rank that takes fewer bytes than keeping it; 0 for none.
        status: "ok", or "kept" if nothing could be done, "nonfinite" ...
        reason: Why it is kept; "" if it is not.
    """

    matrix: Matrix
    choice: Choice
    before: int
    after: int
    energy: float | None
    squared_error: float | None
    rank_needed: int | None
    rank_saving: int
    status: str
    reason: str

    @property
    def error(self) -> float | None:
        """Frobenius error relative to the norm; None if not measured."""
        if self.energy is None or self.squared_error is None:
            return None
        return math.sqrt(self.squared_error / self.energy) if self.energy else 0.0


@dataclass(frozen=True)
class BudgetPlan:
    """What becomes of each matrix of a model.

    Attributes:
        model: The reference of the model.
        folder: Its files.
        goal: What was asked for.
        kinds: The kinds of choices that were allowed.
        dtype: Value of --dtype.
        chosen: Every matrix and every other parameter, in the order of the model.
        before: Bytes of the files with weights as they are.
        after: Bytes of them when it is written: data and headers.
        energy: Sum of squares of all measured matrices.
        squared_error: Predicted for all of them.
        bound: What the best choice could be better by at most: squared error for the goal "size";
            for the others bytes, with offsets in the header at their widest; 0 for the best.
    """

    model: str
    folder: str
    goal: Goal
    kinds: tuple[Kind, ...]
    dtype: str
    chosen: tuple[Chosen, ...]
    before: int
    after: int
    energy: float
    squared_error: float
    bound: float

    @property
    def error(self) -> float:
        """Predicted Frobenius error of all measured matrices, relative to their norm."""
        return math.sqrt(self.squared_error / self.energy) if self.energy else 0.0

    @property
    def gap(self) -> float:
        """`bound` relative to what is made small: bytes, or the squared error; 0 for the best."""
        made_small = self.squared_error if self.goal.size is not None else float(self.after)
        return self.bound / made_small if made_small else 0.0
