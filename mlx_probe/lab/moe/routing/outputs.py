"""Means over the outputs of a layer's experts, of which none is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.moe.routing.capture import BlockRun
from mlx_probe.lab.moe.routing.record import LayerRouting, RouterMeans

__all__ = ["OutputMeans"]

# Numbers of outputs that are in memory as float64.
_AT_ONCE = 1 << 22


class OutputMeans:
    """The runs of one mixture, one after another, in float64.

    Args:
        experts: N.
    """

    def __init__(self, experts: int) -> None:
        self._experts = experts
        self._runs: list[tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]] = []
        # Sums over the tokens of each expert.
        self._count = np.zeros(experts, np.int64)
        self._compared = np.zeros(experts)
        self._weight, self._norm, self._weighted, self._cosine = np.zeros((4, experts))
        self._first_sum, self._first_count = 0.0, 0

    @property
    def is_empty(self) -> bool:
        """Whether the mixture did nothing so far."""
        return not self._runs

    def add(self, run: BlockRun) -> None:
        """Take what a mixture did with some tokens."""
        tokens, count, dim = run.outputs.shape
        self._runs.append((run.indices, run.weights, run.active))
        step = max(1, _AT_ONCE // (count * dim))
        for first in range(0, tokens, step):
            part = slice(first, first + step)
            self._add(
                run.indices[part],
                run.weights[part].astype(np.float64),
                run.active[part],
                run.outputs[part].astype(np.float64),
            )

    def _add(
        self,
        indices: NDArray[np.int32],
        weights: NDArray[np.float64],
        active: NDArray[np.bool_],
        outputs: NDArray[np.float64],
    ) -> None:
        weights = weights * active
        norms = np.linalg.norm(outputs, axis=2)
        ensemble = np.einsum("tk,tkd->td", weights, outputs)
        sizes = norms * np.linalg.norm(ensemble, axis=1)[:, None]
        inner = np.einsum("tkd,td->tk", outputs, ensemble)
        # Outputs of zeros have no direction.
        compared = active & (sizes > 0)
        cosines = np.divide(inner, sizes, out=np.zeros_like(inner), where=compared)
        # Rounded, the same direction may have more than 1.
        cosines = np.clip(cosines, -1, 1)
        self._count += self._sums(indices, active).astype(np.int64)
        self._weight += self._sums(indices, weights)
        self._norm += self._sums(indices, norms * active)
        self._weighted += self._sums(indices, norms * weights)
        self._cosine += self._sums(indices, cosines)
        self._compared += self._sums(indices, compared)
        rows = np.arange(len(indices))
        largest = np.where(active, weights, -np.inf).argmax(1)
        self._first_sum += float(cosines[rows, largest].sum())
        self._first_count += int(compared[rows, largest].sum())

    def _sums(self, indices: NDArray[np.int32], of: NDArray[np.generic]) -> NDArray[np.float64]:
        sums = np.bincount(indices.ravel(), of.ravel().astype(np.float64), self._experts)
        return sums.astype(np.float64)

    def result(self, name: str, layer: int, router: RouterMeans) -> LayerRouting:
        """The means of all runs, with those of the router."""
        indices, weights, active = (np.concatenate(each) for each in zip(*self._runs, strict=True))
        return LayerRouting(
            name=name,
            layer=layer,
            indices=indices,
            weights=weights,
            active=active,
            assignments=self._count,
            load=self._count / max(1, self._count.sum()),
            mean_weight=_mean(self._weight, self._count),
            saliency=_mean(self._weighted, self._count),
            output_norm=_mean(self._norm, self._count),
            agreement=_mean(self._cosine, self._compared),
            first_agreement=self._first_sum / self._first_count if self._first_count else np.nan,
            router=router,
        )


def _mean(sums: NDArray[np.float64], counts: NDArray[np.int64 | np.float64]) -> NDArray[np.float64]:
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
