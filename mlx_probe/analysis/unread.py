"""What of a model has no numbers, because the way it is stored is not understood.

Not every skipped tensor counts: a table of integers of an unknown name is a row with a reason,
and nothing of the model is missing with it (`Parameter.incidental`). Everything else that is
skipped is a weight, or a piece of one: the job is incomplete, which it says when it starts and
when it ends, in its metadata and by its exit code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.checkpoint import Weight
from mlx_probe.checkpoint.gather import quantization_settings
from mlx_probe.core.dtypes import DTYPES

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Unread", "describe_unread", "find_unread", "skip_reasons", "warn_of_unread"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unread:
    """The part of a model, or of what was selected of it, that has no numbers.

    Attributes:
        tensors: Weights, and pieces of weights, that are not read.
        total: All of them, read or not.
        share: Their share of ``unit``, from 0 to 1.
        unit: "parameters", or "stored bytes" where codes do not show the number of parameters.
        methods: ``quant_method`` of config.json, where one is declared.
        example: Name of the first one.
        reason: Why that one is not read.
        cause: Why all of them are not, if it is not their quantization.
    """

    tensors: int
    total: int
    share: float
    unit: str
    methods: tuple[str, ...]
    example: str
    reason: str
    cause: str | None = None

    def __str__(self) -> str:
        """For people."""
        methods = " and ".join(map(repr, self.methods))
        declared = f"the quantization {methods}" if methods else "no quantization"
        example = "" if self.example in self.reason else f"{self.example}: "
        stored = "the way they are stored is not understood (config.json declares "
        cause = self.cause or f"{stored}{declared})"
        return (
            f"{self.tensors} of {self.total} tensors, {self.share:.1%} of the {self.unit}, have "
            f"no numbers: {cause}. The first: {example}{self.reason}"
        )


def find_unread(
    weights: Sequence[Weight],
    configs: Sequence[Mapping[str, Any]],
    reasons: Sequence[str | None] = (),
    cause: str | None = None,
) -> Unread | None:
    """Find what has no numbers.

    Args:
        weights: What a job reads.
        configs: config.json of the job's models.
        reasons: For each weight why it was skipped, None if it was not; empty before the job.
        cause: Why, if it is not the weights' quantization.

    Returns:
        None if nothing of the model is missing.
    """
    outcomes = zip(weights, reasons or [weight.problem for weight in weights], strict=True)
    # Parts of fused matrices are in the whole ones.
    whole = [(weight, reason) for weight, reason in outcomes if weight.part is None]
    missing = [(w, reason) for w, reason in whole if reason and not w.parameter.incidental]
    if not missing:
        return None
    unit, size = _measure_of([weight for weight, _ in missing])
    total = sum(size(weight) for weight, _ in whole)
    methods = (quantization_settings(config).get("quant_method") for config in configs)
    first, reason = missing[0]
    return Unread(
        tensors=len(missing),
        total=len(whole),
        share=sum(size(weight) for weight, _ in missing) / total if total else 1.0,
        unit=unit,
        methods=tuple(dict.fromkeys(str(m) for m in methods if m is not None)),
        example=first.label,
        reason=reason,
        cause=cause,
    )


def skip_reasons(table: pa.Table) -> list[str | None]:
    """For each row that a sample does not leave out why it was skipped; None if it was not."""
    rows = zip(table["status"].to_pylist(), table["status_reason"].to_pylist(), strict=True)
    return [
        str(reason) if status == "skipped" else None
        for status, reason in rows
        if status != "unsampled"
    ]


def warn_of_unread(unread: Unread | None, warn: Callable[[str], None]) -> None:
    """Say at a job's start what it will have no numbers of."""
    if unread is not None:
        warn(str(unread))


def describe_unread(unread: Unread | None) -> dict[str, Any]:
    """The part of a job's metadata about what has no numbers, which goes to the log too.

    Returns:
        The key "unread": None if nothing is missing, or the fields and the text.
    """
    if unread is None:
        return {"unread": None}
    _log.warning("incomplete: %s", unread)
    # A list, as it is read back from JSON.
    fields = {**asdict(unread), "methods": list(unread.methods)}
    return {"unread": {**fields, "text": str(unread)}}


def _measure_of(missing: Sequence[Weight]) -> tuple[str, Callable[[Weight], int]]:
    """The unit of the share: codes do not show the number of parameters that they stand for."""
    dtypes = {weight.dtype for weight in missing}
    if all(dtype in DTYPES and DTYPES[dtype].kind == "float" for dtype in dtypes):
        return "parameters", lambda weight: weight.numel
    return "stored bytes", lambda weight: weight.nbytes
