"""A comparison: several `CONTENDERS` work on the same matrices in turn, timed and compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module, metadata
from statistics import median

from mlx_probe.analysis.bench.methods import CONTENDERS, Prepared, Summary
from mlx_probe.analysis.bench.workload import Shape, Workload, synthetic_model, workload_of
from mlx_probe.compute.calibration import SMALLEST_TWO_STAGE, eigen_solvers
from mlx_probe.core.errors import BackendError

__all__ = ["Comparison", "Result", "compare"]

# Every contender does this once before the clock runs: libraries load, kernels compile.
WARM_UP: tuple[Shape, ...] = ((64, 48),)


@dataclass(frozen=True)
class Result:
    """The times and the agreement of one contender.

    Attributes:
        name: Key of `CONTENDERS`.
        version: Of its package.
        device: Where it works on elements.
        seconds: Of each pass over all matrices.
        ratio: Its median over the first contender's.
        compared: Matrices that the first contender has as well.
        sum_difference: Largest relative difference from the first contender's sum of the
            singular values; None if one of the two has no sum.
        largest_difference: The same of the largest singular value.
        equal_ranks: Matrices with the same rank; None if one of the two has no ranks.
    """

    name: str
    version: str
    device: str
    seconds: tuple[float, ...]
    ratio: float
    compared: int
    sum_difference: float | None
    largest_difference: float | None
    equal_ranks: int | None


@dataclass(frozen=True)
class Comparison:
    """The results of all contenders.

    Attributes:
        results: In the order in which they ran.
        left_out: Name of a contender to why it could not run.
    """

    results: tuple[Result, ...]
    left_out: Mapping[str, str]


def compare(
    workload: Workload,
    names: Sequence[str],
    repeat: int,
    on_turn: Callable[[str], None] = lambda name: None,
) -> Comparison:
    """Time contenders in turn, and compare their results with the first one's.

    Args:
        workload: The matrices.
        names: Keys of `CONTENDERS`; empty for all that are installed.
        repeat: Passes of each.
        on_turn: Called with a contender's name before each of its passes.

    Raises:
        BackendError: A contender that was named cannot run.
    """
    prepared: dict[str, Prepared] = {}
    left_out: dict[str, str] = {}
    seconds: dict[str, list[float]] = {}
    summaries: dict[str, Mapping[str, Summary]] = {}
    chosen = names or tuple(CONTENDERS)
    if any(CONTENDERS[name].package in ("torch", "weightwatcher") for name in chosen):
        # Before MLX: what is imported after it would call the BLAS that MLX was given.
        with suppress(ImportError):
            import_module("torch")
    with synthetic_model(WARM_UP, "F32") as model:
        warm_up = workload_of(model)
        for name in chosen:
            with _leaving_out(name, left_out, named=bool(names)):
                contender = CONTENDERS[name].prepare()
                contender.spectra(warm_up)
                prepared[name], seconds[name] = contender, []
    # Measured once for a machine: runs find it in the cache.
    if any(weight.short >= SMALLEST_TWO_STAGE for weight in workload.weights):
        eigen_solvers()
    for _ in range(repeat):
        for name in [name for name in prepared if name not in left_out]:
            on_turn(name)
            began = time.perf_counter()
            with _leaving_out(name, left_out, named=bool(names)):
                summaries[name] = prepared[name].spectra(workload)
                seconds[name].append(time.perf_counter() - began)
    took = {name: tuple(each) for name, each in seconds.items() if name not in left_out}
    first = next(iter(took))
    results = tuple(
        _result(name, prepared[name], each, median(took[first]), summaries[name], summaries[first])
        for name, each in took.items()
    )
    return Comparison(results, left_out)


@contextmanager
def _leaving_out(name: str, left_out: dict[str, str], named: bool) -> Iterator[None]:
    """Note why a contender cannot run; an error if the user named it."""
    try:
        yield
    except BackendError as error:
        if named:
            raise
        left_out[name] = f"{error.fact}. {error.remedy}" if error.remedy else error.fact


def _result(
    name: str,
    contender: Prepared,
    seconds: tuple[float, ...],
    first: float,
    summaries: Mapping[str, Summary],
    reference: Mapping[str, Summary],
) -> Result:
    both = [(summaries[k], reference[k]) for k in reference if k in summaries]
    sums = [(a.sum, b.sum) for a, b in both if a.sum is not None and b.sum is not None]
    ranks = [a.rank == b.rank for a, b in both if a.rank is not None and b.rank is not None]
    return Result(
        name=name,
        version=metadata.version(CONTENDERS[name].package),
        device=contender.device,
        seconds=seconds,
        ratio=median(seconds) / first,
        compared=len(both),
        sum_difference=max(map(_difference, sums), default=None),
        largest_difference=max(
            (_difference((a.largest, b.largest)) for a, b in both), default=None
        ),
        equal_ranks=sum(ranks) if ranks else None,
    )


def _difference(pair: tuple[float, float]) -> float:
    """Relative to the larger of the two; 0 for two zeros."""
    a, b = pair
    return abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0
