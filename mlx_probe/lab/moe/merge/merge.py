"""A mixture whose near-duplicate experts are one: read top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.budget import memory_budget
from mlx_probe.analysis.mixture.layer import mixture_layers
from mlx_probe.analysis.mixture.units import Units
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import ConfigError, damaged
from mlx_probe.lab.derived_model import refuse_out
from mlx_probe.lab.generate.folder import find_model_folder
from mlx_probe.lab.moe.merge.average import MeanExperts, require_plain
from mlx_probe.lab.moe.merge.config import MergeConfig
from mlx_probe.lab.moe.merge.groups import NearDuplicates, grouped, near_duplicates
from mlx_probe.lab.moe.merge.record import RECEIPT
from mlx_probe.lab.moe.reduce.losses import Losses
from mlx_probe.lab.moe.reduce.mixture import read_mixture, require_count
from mlx_probe.lab.moe.reduce.progress import Written
from mlx_probe.lab.moe.reduce.receipt import measure_after, measure_before, open_mixture
from mlx_probe.lab.moe.reduce.tensors import Groups, reduced_tensors
from mlx_probe.lab.moe.reduce.write import Reduced, recorder, write_reduced
from mlx_probe.runs.small_run import SmallRun
from mlx_probe.source import resolve

if TYPE_CHECKING:
    from mlx_probe.analysis.mixture.layer import MixtureLayer
    from mlx_probe.checkpoint import Checkpoint
    from mlx_probe.lab.moe.reduce.mixture import Mixture

__all__ = ["merge_experts"]


def merge_experts(
    reference: str,
    out: Path,
    config: MergeConfig | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Reduced:
    """Write a mixture in which near-duplicate experts are one, as a stock checkpoint.

    Stock mixtures have the same number of experts in every layer. So the layer with the fewest
    near-duplicates decides how many are left, and the other layers merge their most alike ones
    until they have as many. What is not merged keeps every bit.

    Args:
        reference: A mixture in Hugging Face's layout, with plain weights.
        out: The folder to write. A merged mixture that is there is replaced, nothing else.
        config: Settings.
        on_progress: Called with layers that are compared or written, and twice their number.

    Raises:
        SourceError: The mixture, its tokenizer or the text cannot be had.
        CheckpointError: The mixture is damaged.
        ConfigError: It is dense, packed or of an unknown family, a layer has no near-duplicates,
            or the settings do not fit it.
        ResultError: The disk refused, or something else is in ``out``.
    """
    run, config = SmallRun("moe-merge"), config or MergeConfig()
    folder = find_model_folder(reference)
    refuse_out(out, RECEIPT, folder)
    with open_checkpoint(resolve(str(folder))) as model:
        mixture = read_mixture(model)
        require_plain(mixture)
        if config.keep:
            require_count(mixture, config.keep)
        layers = _layers(model, mixture)
        count = len(layers)
        alike = _alike(model, layers, mixture, config, lambda done: on_progress(done, 2 * count))
        keep, groups = _groups(mixture, alike, config, str(model.files.path))
        measure: Callable[[Path], Losses] | None = None
        if config.run:
            loaded = open_mixture(folder, model, "Give --no-run for a receipt without losses")
            before = measure_before(loaded, config.data, 0, config.tokens)
            del loaded
            measure = partial(measure_after, before=before)
        written = Written(
            lambda done, total: on_progress(count + count * done // max(total, 1), 2 * count)
        )
        return write_reduced(
            out,
            RECEIPT,
            folder,
            model.config,
            mixture,
            reduced_tensors(mixture, groups, MeanExperts(layers, alike), written.add),
            measure,
            Reduced.begun(
                reference,
                out,
                mixture,
                keep,
                {
                    "threshold": config.threshold,
                    "seed": config.seed,
                    "merged": [_described(layer, groups, alike) for layer in sorted(groups)],
                },
            ),
            written.begin,
            recorder(run, reference, folder, config),
        )


def _layers(model: Checkpoint, mixture: Mixture) -> dict[int, MixtureLayer]:
    """The engine's view of the layers: matrices of experts, and where their units are."""
    found = {
        layer.index: layer
        for layer in mixture_layers(model.weights(), model.architecture)
        if layer.index is not None and layer.stack == "model.layers"
    }
    for number in mixture.layers:
        if number not in found or len(found[number].experts) != mixture.experts:
            raise damaged(model.files.path, f"the experts of layer {number} are not matrices")
    return {number: found[number] for number in mixture.layers}


def _alike(
    model: Checkpoint,
    layers: Mapping[int, MixtureLayer],
    mixture: Mixture,
    config: MergeConfig,
    on_layers: Callable[[int], None],
) -> dict[int, NearDuplicates]:
    budget = max(memory_budget(config.memory_limit).tasks, 0)
    alike = {}
    for number, layer in layers.items():
        units = Units(layer, budget, config.seed)
        if units.problem is not None:
            raise ConfigError(
                f"{model.files.path}: experts of layer {number} cannot be matched: {units.problem}",
                "Give more --memory-limit, or another mixture",
            )
        alike[number] = near_duplicates(units, mixture.experts, config.threshold)
        on_layers(len(alike))
    return alike


def _groups(
    mixture: Mixture, alike: Mapping[int, NearDuplicates], config: MergeConfig, path: str
) -> tuple[int, Groups]:
    """How many experts are left, and what becomes of those of each layer."""
    fewest = {number: len(grouped(each.cosines, mixture.experts)) for number, each in alike.items()}
    worst = max(fewest, key=lambda number: fewest[number])
    keep = max(config.keep or max(fewest[worst], mixture.active), 1)
    if fewest[worst] == mixture.experts:
        raise ConfigError(
            f"{path}: layer {worst} has no two experts with a cosine of {config.threshold:g}, and "
            "stock mixtures have the same number of experts in every layer",
            "Give a lower --threshold, or `mlx-probe moe prune`",
        )
    if fewest[worst] > keep:
        raise ConfigError(
            f"{path}: layer {worst} has {fewest[worst]} experts after all with a cosine of "
            f"{config.threshold:g} are one, not {keep}",
            f"Give --keep {fewest[worst]} or more, a lower --threshold, or `mlx-probe moe prune`",
        )
    require_count(mixture, keep)
    groups = {
        number: grouped(each.cosines, mixture.experts, keep) for number, each in alike.items()
    }
    return keep, groups


def _described(layer: int, groups: Groups, alike: Mapping[int, NearDuplicates]) -> dict[str, Any]:
    """The new experts of a layer, for the receipt."""
    cosines = alike[layer].cosines
    return {
        "layer": layer,
        "experts": [list(group) for group in groups[layer]],
        "cosines": [
            min(
                (cosines[a, b] for a in group for b in group if a < b),
                default=None,
            )
            for group in groups[layer]
        ],
    }
