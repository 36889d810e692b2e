"""A mixture without some of its experts: read top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.lab.derived_model import refuse_out
from mlx_probe.lab.generate.folder import find_model_folder
from mlx_probe.lab.moe.prune.config import PruneConfig
from mlx_probe.lab.moe.prune.record import RECEIPT
from mlx_probe.lab.moe.prune.scores import kept_experts, random_scores, routed_scores
from mlx_probe.lab.moe.reduce.losses import Losses
from mlx_probe.lab.moe.reduce.mixture import read_mixture, require_count
from mlx_probe.lab.moe.reduce.progress import Written
from mlx_probe.lab.moe.reduce.receipt import measure_after, measure_before, open_mixture
from mlx_probe.lab.moe.reduce.tensors import reduced_tensors
from mlx_probe.lab.moe.reduce.write import Reduced, recorder, write_reduced
from mlx_probe.runs.small_run import SmallRun
from mlx_probe.source import resolve

__all__ = ["prune_model"]


def prune_model(
    reference: str,
    out: Path,
    config: PruneConfig,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Reduced:
    """Write a mixture with the best experts of each layer, as a stock checkpoint.

    What is kept keeps every bit, packed or not, and is written tensor by tensor: only what is run
    has to fit in memory.

    Args:
        reference: A mixture in Hugging Face's layout.
        out: The folder to write. A pruned mixture that is there is replaced, nothing else.
        config: Settings.
        on_progress: Called with bytes that are written, and all of them.

    Raises:
        SourceError: The mixture, its tokenizer or the text cannot be had.
        CheckpointError: The mixture is damaged.
        ConfigError: It is dense or of an unknown family, or the settings do not fit it.
        ResultError: The disk refused, or something else is in ``out``.
    """
    run, folder = SmallRun("moe-prune"), find_model_folder(reference)
    refuse_out(out, RECEIPT, folder)
    with open_checkpoint(resolve(str(folder))) as model:
        mixture = read_mixture(model)
        require_count(mixture, config.keep)
        measure: Callable[[Path], Losses] | None = None
        scores = random_scores(mixture, config.seed) if config.by == "random" else None
        if config.run:
            loaded = open_mixture(folder, model, "Give --by random with --no-run")
            if scores is None:
                scores = routed_scores(mixture, loaded, config, lambda done, total: None)
            skipped = 0 if config.by == "random" else config.score_tokens
            before = measure_before(loaded, config.data, skipped, config.tokens)
            del loaded
            measure = partial(measure_after, before=before)
        assert scores is not None
        kept = kept_experts(mixture, scores, config.keep)
        written = Written(on_progress)
        groups = {layer: [[expert] for expert in experts] for layer, experts in kept.items()}
        return write_reduced(
            out,
            RECEIPT,
            folder,
            model.config,
            mixture,
            reduced_tensors(mixture, groups, None, written.add),
            measure,
            Reduced.begun(
                reference,
                out,
                mixture,
                config.keep,
                {
                    "by": config.by,
                    "seed": config.seed if config.by == "random" else None,
                    "kept": [
                        {"layer": layer, "experts": kept[layer], "scores": scores[layer].tolist()}
                        for layer in sorted(kept)
                    ],
                },
            ),
            written.begin,
            recorder(run, reference, folder, config),
        )
