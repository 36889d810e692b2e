"""What the windows of a run say together: tables, metadata, checks, the map of blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.records import Row
from mlx_probe.lab.moe.signals.agreement import rank_correlations
from mlx_probe.lab.moe.signals.integrity import WARM_UP, integral
from mlx_probe.lab.moe.signals.surprise import ExpertSums, total
from mlx_probe.lab.moe.signals.tables import expert_rows, layer_facts, token_rows
from mlx_probe.runs.check import Check
from mlx_probe.runs.mixture.signals import (
    EXPERT_COLUMNS,
    EXPERTS,
    MAP_TOKENS,
    TOKEN_COLUMNS,
    TOKENS,
    WINDOW_COLUMNS,
    WINDOWS,
)
from mlx_probe.runs.table.schema import rows_to_table

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.lab.moe.signals.subject import Subject
    from mlx_probe.lab.moe.signals.window import WindowSignals

__all__ = ["Summary"]

# Of the columns of a window those that are compared with each other: plain baselines first.
COMPARED = ("loss", "entropy", "grad_norm", "error_ratio", "integrity", "integrity_z")
OF_EXPERTS = ("output_surprise", "input_surprise")
# Largest difference of an expert's output surprise and its weight times the common norm, as a
# share of the largest surprise; float32 gives 1e-6.
IDENTITY = 1e-4


class Summary:
    """All windows of a run.

    Args:
        subject: Model and text.
        windows: In order.
        rows: Of the windows, in order.
    """

    def __init__(
        self, subject: Subject, windows: Sequence[WindowSignals], rows: Sequence[Row]
    ) -> None:
        self._subject, self._windows, self._rows = subject, windows, rows
        mixtures = zip(*(window.experts for window in windows), strict=True)
        self._experts: list[ExpertSums] = [total(parts) for parts in mixtures]

    def tables(self) -> dict[str, pa.Table]:
        """By their names."""
        subject, layers = self._subject, self._subject.mixture_layers
        tokenizer = subject.loaded.tokenizer
        tokens = token_rows(subject.rows, self._windows, tokenizer, MAP_TOKENS)
        tables = {
            WINDOWS: rows_to_table(self._rows, WINDOW_COLUMNS),
            TOKENS: rows_to_table(tokens, TOKEN_COLUMNS),
        }
        if self._experts:
            tables[EXPERTS] = rows_to_table(expert_rows(layers, self._experts), EXPERT_COLUMNS)
        return tables

    def maps(self) -> dict[str, NDArray[np.float32]]:
        """The tensors of sps.safetensors."""
        whole = sum(window.sps for window in self._windows)
        first = np.concatenate([window.sps_tokens for window in self._windows])[:MAP_TOKENS]
        return {"sps": np.asarray(whole).astype(np.float32), "sps_tokens": first}

    def describe(self) -> dict[str, Any]:
        """For the metadata; see `mlx_probe.runs.mixture.signals`."""
        subject, config = self._subject, self._subject.config
        names = COMPARED + (OF_EXPERTS if self._experts else ())
        values = {name: [row.values.get(name) for row in self._rows] for name in names}
        scores = [float(value) for value in self._of("integrity")]
        tokens, layers, blocks = self.maps()["sps_tokens"].shape
        return {
            **{name: float(np.mean(self._of(name))) for name in ("loss", "entropy", "grad_norm")},
            "integrity": {
                "alpha": config.alpha,
                "gamma": config.gamma,
                "delta": config.delta,
                "decay": config.decay,
                "warm_up": WARM_UP,
                "mean": float(np.mean(scores)),
                "variance": float(np.var(scores)),
                "integral": integral(scores, config.delta),
            },
            "agreement": {"signals": list(names), "rank": rank_correlations(values)},
            "layers": layer_facts(subject.mixture_layers, self._experts),
            "sps": {
                "block": config.block,
                "width": subject.width,
                "of": "residual stream behind each layer",
                "layers": layers,
                "blocks": blocks,
                "tokens": tokens,
            },
        }

    def checks(self) -> list[Check]:
        """Whether numbers are finite, tokens add up, and output surprise is what it must be."""
        wrong = [
            row.index
            for row in self._rows
            if not all(math.isfinite(v) for v in row.values.values() if v is not None)
        ]
        total_windows = len(self._subject.rows)
        off = max((float(each.off[0]) for each in self._experts), default=0.0)
        return [
            Check(
                "windows",
                [row.index for row in self._rows] == list(range(total_windows)),
                f"{len(self._rows)} windows of {total_windows} are measured",
            ),
            Check(
                "numbers", not wrong, f"not finite in window {wrong[0]}" if wrong else "all finite"
            ),
            Check(
                "output surprise",
                off <= IDENTITY,
                f"differs from gate weight times common norm by {off:.2g} of the largest at most",
            ),
        ]

    def _of(self, name: str) -> list[float]:
        return [float(row.values[name]) for row in self._rows]
