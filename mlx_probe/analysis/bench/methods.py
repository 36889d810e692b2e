"""Methods that compute the singular values of many matrices, timed against each other by `bench`.

`CONTENDERS` is the table: mlx-probe with compiled kernels and with each of its backends, and other
packages. A member has one function that imports what it needs and returns what computes a
`Summary` of each matrix.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.bench.workload import Workload, matrix_of
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.stream import analyze_rows
from mlx_probe.compute import native
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.compute.spectrum import count_above
from mlx_probe.core.errors import BackendError
from mlx_probe.runs.monitor import UsageMeter

__all__ = ["CONTENDERS", "Contender", "Prepared", "Summary"]


@dataclass(frozen=True)
class Summary:
    """What is compared of a matrix's singular values.

    Attributes:
        sum: Of all singular values; None if the contender does not give it.
        largest: The largest one.
        rank: Number of values above 1e-6 of the largest; None if the contender does not give it.
    """

    sum: float | None
    largest: float
    rank: int | None


Spectra = Callable[[Workload], Mapping[str, Summary]]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Prepared:
    """A contender that is ready to start.

    Attributes:
        spectra: Does the work: a summary for each matrix, by the weight's label.
        device: Where it works on elements.
    """

    spectra: Spectra
    device: str = "cpu"


@dataclass(frozen=True)
class Contender:
    """A member of `CONTENDERS`.

    Attributes:
        description: What is computed, with what, in one line.
        package: The distribution that does the work.
        prepare: Imports it. Raises BackendError if it is not installed.
    """

    description: str
    package: str
    prepare: Callable[[], Prepared]


def _native() -> Prepared:
    """The numpy backend as `mlx-probe analyze` runs it where the kernels are compiled."""
    for kernels in native.statuses():
        if kernels.reason:
            raise BackendError(
                f"the kernels {kernels.name}: {kernels.reason}", kernels.remedy or ""
            )
    return _engine("numpy")


def _plain_numpy() -> Prepared:
    """The same without kernels."""
    prepared = _engine("numpy")

    def spectra(workload: Workload) -> Mapping[str, Summary]:
        with _no_kernels():
            return prepared.spectra(workload)

    return Prepared(spectra, prepared.device)


@contextlib.contextmanager
def _no_kernels() -> Iterator[None]:
    """Switches the kernels off in all threads: a run's workers do not know `native.without`."""
    before = os.environ.get(native.VARIABLE)
    os.environ[native.VARIABLE] = "0"
    try:
        yield
    finally:
        del os.environ[native.VARIABLE]
        if before is not None:
            os.environ[native.VARIABLE] = before


def _engine(backend: str) -> Prepared:
    """Everything that `mlx-probe analyze` measures of a weight, by the workers of a run."""
    device = BACKENDS[backend]("auto").device

    def spectra(workload: Workload) -> dict[str, Summary]:
        config = AnalyzeConfig(backend=backend, include=workload.include)
        plan = make_plan(workload.checkpoint, config)
        summaries = {}
        with UsageMeter(STAGES, plan.backend.device_memory) as meter:
            for row in chain.from_iterable(analyze_rows(plan, {}, meter, lambda weight: None)):
                values = row.values
                if values.get("nuclear_norm") is not None:
                    summaries[plan.weights[row.index].label] = Summary(
                        values["nuclear_norm"], values["spectral_norm"], values["rank"]
                    )
        return summaries

    return Prepared(spectra, device)


def _one_by_one(
    dtype: type[np.floating[Any]], singular_values: Callable[[NDArray[Any]], Values]
) -> Prepared:
    """A plain loop: decode a matrix, decompose it, go on to the next."""

    def spectra(workload: Workload) -> dict[str, Summary]:
        summaries = {}
        for weight in workload.weights:
            values = singular_values(matrix_of(weight, dtype))
            largest = float(values[0])
            rank = count_above(values, AnalyzeConfig.rank_tol * largest)
            summaries[weight.label] = Summary(float(values.sum()), largest, rank)
        return summaries

    return Prepared(spectra)


def _numpy_svd() -> Prepared:
    return _one_by_one(np.float64, lambda matrix: np.linalg.svd(matrix, compute_uv=False))


def _torch_svd(dtype: type[np.floating[Any]]) -> Prepared:
    torch = _imported("torch")

    def values(matrix: NDArray[Any]) -> Values:
        result: Values = torch.linalg.svdvals(torch.from_numpy(matrix)).numpy().astype(np.float64)
        return result

    return _one_by_one(dtype, values)


def _weightwatcher() -> Prepared:
    """Its whole analysis with power-law fits: it cannot compute the spectra alone."""
    torch = _imported("torch")
    with _muted():
        weightwatcher = _imported("weightwatcher")

    def spectra(workload: Workload) -> dict[str, Summary]:
        network = torch.nn.Module()
        for i, weight in enumerate(workload.weights):
            matrix = torch.from_numpy(matrix_of(weight, np.float32))
            layer = torch.nn.Linear(1, 1, bias=False)
            layer.weight = torch.nn.Parameter(matrix, requires_grad=False)
            network.add_module(f"layer{i}", layer)
        with _muted():
            try:
                watcher = weightwatcher.WeightWatcher(model=network)
                details = watcher.analyze(min_evals=1)
            # Any error of another package: the other contenders go on without it.
            except Exception as error:
                raise BackendError(
                    f"WeightWatcher failed: {type(error).__name__}: {error}",
                    "Name the other contenders with --contender",
                ) from error
        labels = [weight.label for weight in workload.weights]
        return {
            labels[int(row.longname.removeprefix("layer"))]: Summary(None, float(row.sv_max), None)
            for row in details.itertuples()
        }

    return Prepared(spectra)


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == name
        fact = f"{name} is not installed" if absent else f"{name} cannot be imported: {error}"
        raise BackendError(fact, f"Install it: pip install {name}") from error


def _muted() -> contextlib.redirect_stdout[io.StringIO]:
    """Drops what a package prints."""
    return contextlib.redirect_stdout(io.StringIO())


_ALL = "mlx-probe with {}: all of a run's metrics"
_SVDVALS = "a loop of torch.linalg.svdvals in {} on the CPU"
_FITS = "WeightWatcher's analyze, power-law fits included"


def _member(backend: str) -> Contender:
    return Contender(_ALL.format(backend), backend, partial(_engine, backend))


CONTENDERS: dict[str, Contender] = {
    "native": Contender(_ALL.format("numpy and compiled kernels"), "mlx-probe", _native),
    "numpy": Contender(_ALL.format("numpy alone"), "numpy", _plain_numpy),
    **{name: _member(name) for name in BACKENDS if name != "numpy"},
    "numpy-svd": Contender("a loop of numpy.linalg.svd in float64", "numpy", _numpy_svd),
    "torch-f32": Contender(_SVDVALS.format("float32"), "torch", partial(_torch_svd, np.float32)),
    "torch-f64": Contender(_SVDVALS.format("float64"), "torch", partial(_torch_svd, np.float64)),
    "weightwatcher": Contender(_FITS, "weightwatcher", _weightwatcher),
}
