"""How the statistics of a mixture are made."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_probe.analysis.config import AnalyzeConfig

__all__ = ["StatsConfig"]


@dataclass(frozen=True)
class StatsConfig:
    """Settings of `moe_stats`.

    Attributes:
        data: Text that the mixture reads, as of `text_rows`; "" for none: nothing is run.
        tokens: Tokens of it.
        backend: As of `AnalyzeConfig`.
        device: As of `AnalyzeConfig`.
        workers: As of `AnalyzeConfig`.
        memory_limit: As of `AnalyzeConfig`: decides how many experts are in memory at a time.
        seed: Of random vectors by which subspaces are found and hidden units are matched.
    """

    data: str = ""
    tokens: int = 2048
    backend: str = "auto"
    device: str = "auto"
    workers: int = 0
    memory_limit: int = 0
    seed: int = 0

    @property
    def analysis(self) -> AnalyzeConfig:
        """How the weights are measured."""
        return AnalyzeConfig(
            backend=self.backend,
            device=self.device,
            workers=self.workers,
            memory_limit=self.memory_limit,
            seed=self.seed,
            save_spectra=False,
        )
