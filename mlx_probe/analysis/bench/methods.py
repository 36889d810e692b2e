"""Ways to the singular values of many matrices, to be timed against each other.

`CONTENDERS` is the table. Each of them is one function that imports what it needs and returns a
`Way`, which takes a `Workload` to a `Summary` for each of its matrices.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.bench.workload import Workload, matrix_of
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.stream import analyze_rows
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.compute.spectrum import count_above
from mlx_probe.core.errors import BackendError
from mlx_probe.runs.monitor import UsageMeter

__all__ = ["CONTENDERS", "Contender", "Summary", "Way"]


@dataclass(frozen=True)
class Summary:
    """What ways to singular values have in common.

    Attributes:
        sum: Of all singular values; None if the way does not tell.
        largest: The largest one.
        rank: Number of values above 1e-6 of the largest; None if the way does not tell.
    """

    sum: float | None
    largest: float
    rank: int | None


Spectra = Callable[[Workload], Mapping[str, Summary]]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Way:
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
        prepare: Imports it. Raises BackendError if it is not there.
    """

    description: str
    package: str
    prepare: Callable[[], Way]


def _engine(backend: str) -> Way:
    """Everything that `mlx-probe analyze` measures of a weight, by the workers of a run."""
    device = BACKENDS[backend]("auto").device

    def spectra(workload: Workload) -> dict[str, Summary]:
        config = AnalyzeConfig(backend=backend, include=workload.include)
        plan = make_plan(workload.checkpoint, config)
        found = {}
        with UsageMeter(STAGES, plan.backend.device_memory) as meter:
            for row in analyze_rows(plan, {}, meter, lambda weight: None):
                values = row.values
                if values.get("nuclear_norm") is not None:
                    found[plan.weights[row.index].label] = Summary(
                        values["nuclear_norm"], values["spectral_norm"], values["rank"]
                    )
        return found

    return Way(spectra, device)


def _numpy_svd() -> Way:
    return _one_by_one(np.float64, lambda matrix: np.linalg.svd(matrix, compute_uv=False))


def _torch_svdvals(dtype: type[np.floating[Any]]) -> Way:
    torch = _imported("torch")

    def values(matrix: NDArray[Any]) -> Values:
        result: Values = torch.linalg.svdvals(torch.from_numpy(matrix)).numpy().astype(np.float64)
        return result

    return _one_by_one(dtype, values)


def _weightwatcher() -> Way:
    """Its whole analysis, power-law fits and all: it has no way to the spectra alone."""
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
            # Another package's, whatever it may be: the others go on without it.
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

    return Way(spectra)


CONTENDERS = {
    "numpy": Contender(
        "mlx-probe with numpy: all of a run's metrics, one-thread workers",
        "numpy",
        partial(_engine, "numpy"),
    ),
    "mlx": Contender(
        "mlx-probe with MLX, on its GPU if there is one: all of a run's metrics",
        "mlx",
        partial(_engine, "mlx"),
    ),
    "numpy-svd": Contender("a loop of numpy.linalg.svd in float64", "numpy", _numpy_svd),
    "torch-f32": Contender(
        "a loop of torch.linalg.svdvals in float32 on the CPU",
        "torch",
        partial(_torch_svdvals, np.float32),
    ),
    "torch-f64": Contender(
        "a loop of torch.linalg.svdvals in float64 on the CPU",
        "torch",
        partial(_torch_svdvals, np.float64),
    ),
    "weightwatcher": Contender(
        "WeightWatcher's analyze, power-law fits included", "weightwatcher", _weightwatcher
    ),
}


def _one_by_one(
    dtype: type[np.floating[Any]], singular_values: Callable[[NDArray[Any]], Values]
) -> Way:
    """The plain way: decode a matrix, decompose it, go on to the next."""

    def spectra(workload: Workload) -> dict[str, Summary]:
        found = {}
        for weight in workload.weights:
            values = singular_values(matrix_of(weight, dtype))
            largest = float(values[0])
            rank = count_above(values, AnalyzeConfig.rank_tol * largest)
            found[weight.label] = Summary(float(values.sum()), largest, rank)
        return found

    return Way(spectra)


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == name
        fact = f"{name} is not installed" if absent else f"{name} cannot be imported: {error}"
        raise BackendError(fact, f"Install it: pip install {name}") from error


def _muted() -> contextlib.redirect_stdout[io.StringIO]:
    """Where a package prints what nobody asked for."""
    return contextlib.redirect_stdout(io.StringIO())
