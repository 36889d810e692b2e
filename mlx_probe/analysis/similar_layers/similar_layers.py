"""Which layers of a model are alike: the whole flow."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.analysis.opening import open_model_or_run
from mlx_probe.analysis.similar_layers.averages import averages_in
from mlx_probe.analysis.similar_layers.blocks import Part, Place, Unread, model_parts
from mlx_probe.analysis.similar_layers.blockwise import block_copies, block_mixtures, runs_of
from mlx_probe.analysis.similar_layers.config import SimilarConfig
from mlx_probe.analysis.similar_layers.depth import depth_of
from mlx_probe.analysis.similar_layers.finding import LayerFinding, Names
from mlx_probe.analysis.similar_layers.fingerprints import Fingerprint, fingerprint
from mlx_probe.analysis.similar_layers.group import Group, groups_of
from mlx_probe.analysis.similar_layers.origin import origin_of
from mlx_probe.analysis.similar_layers.relations import copies_in
from mlx_probe.analysis.similar_layers.result import SimilarLayers
from mlx_probe.analysis.similar_layers.sentences import (
    copy_findings,
    depth_findings,
    mixture_findings,
    origin_findings,
)
from mlx_probe.core.errors import CheckpointError, PackingError

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Checkpoint
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["similar_layers"]

Progress = Callable[[int, int], None]


def similar_layers(
    model: str | Path,
    against: Sequence[str | Path] = (),
    config: SimilarConfig | None = None,
    revision: str | None = None,
    on_progress: Progress = lambda done, total: None,
    fetching: DownloadProgress | None = None,
) -> SimilarLayers:
    """Compare the layers of a model with each other, and with those of other models.

    Every matrix is read once, one at a time; what looks like a copy is read again, two matrices
    at a time, and a mixture three.

    Args:
        model: As for `open_checkpoint`, or a finished run.
        against: Models that its layers may come from.
        config: Settings.
        revision: Of ``model``.
        on_progress: Called with parts read and parts in all.
        fetching: Shows how far a download is.

    Raises:
        SourceError: A model cannot be had.
        CheckpointError: A file is damaged, or the model has no two layers to compare.
    """
    config = config or SimilarConfig()
    began = time.perf_counter()
    with ExitStack() as stack:
        opened = [
            stack.enter_context(open_model_or_run(each, revision if n == 0 else None, fetching))
            for n, each in enumerate((model, *against))
        ]
        parts, unread = _parts_of(opened)
        prints = []
        for done, part in enumerate(parts):
            on_progress(done, len(parts))
            prints.append(_fingerprint(part, config))
        on_progress(len(parts), len(parts))
        unread += [
            Unread(each.part.place, each.part.name, each.problem)
            for each in prints
            if each.problem is not None
        ]
        groups = groups_of(prints, config.alike)
        return _compared(opened, parts, groups, unread, config, began)


def _parts_of(opened: Sequence[Checkpoint]) -> tuple[list[Part], list[Unread]]:
    parts: list[Part] = []
    unread: list[Unread] = []
    for number, checkpoint in enumerate(opened):
        found, left = model_parts(checkpoint, number)
        parts += found
        unread += left
    if len({part.place for part in parts if part.place.model == 0}) + len(opened) < 3:
        raise CheckpointError(
            f"{opened[0].files.path} has no two layers that can be compared",
            "`mlx-probe inspect` lists its tensors with the layers that they are in",
        )
    return parts, unread


def _fingerprint(part: Part, config: SimilarConfig) -> Fingerprint:
    try:
        return fingerprint(part, config)
    except PackingError as error:
        return Fingerprint(part, problem=error.fact)


def _compared(
    opened: Sequence[Checkpoint],
    parts: Sequence[Part],
    groups: Sequence[Group],
    unread: Sequence[Unread],
    config: SimilarConfig,
    began: float,
) -> SimilarLayers:
    names = _names(opened, parts, groups)
    relations, copies, mixed = [], [], []
    compared: dict[Place, list[str]] = defaultdict(list)
    for group in groups:
        places = [each.part.place for each in group.prints]
        for each in group.prints:
            compared[each.part.place].append(group.name)
        found = copies_in(group, config)
        equal = [each.part for each in found if each.kind == "same" and each.other < group.own]
        averages = averages_in(group, equal)
        mixtures = {each.part for each in averages}
        # A mixture of mostly one part is near to it, too.
        kept = [each for each in found if each.kind == "same" or each.part not in mixtures]
        relations.append(kept)
        copies += [(places[e.part], places[e.other], group.name, e) for e in kept]
        mixed += [
            (places[e.part], places[e.first], places[e.second], group.name, e)
            for e in averages
            if not any(each.part == e.part and each.kind == "same" for each in found)
        ]
    blocks = block_copies(copies, compared)
    findings: list[LayerFinding] = copy_findings(
        runs_of([copy for copy in blocks if copy.other.model == 0]), names
    )
    findings += mixture_findings(block_mixtures(mixed, compared), names)
    own = sorted(place for place in compared if place.model == 0)
    if len(opened) > 1:
        between = {place for place, *_ in mixed}
        origin = origin_of(
            [copy for copy in blocks if copy.other.model],
            [place for place in own if place not in between],
            sorted({part.place for part in parts if part.place.model}),
            [other for _, *pair, _, _ in mixed for other in pair],
        )
        findings += origin_findings(origin, names)
    else:
        named = {layer for each in findings for layer in each.layers}
        depth = depth_of(groups, config.seed)
        findings += depth_findings(depth, named, names) if depth is not None else []
    return SimilarLayers(
        names,
        groups,
        relations,
        findings,
        own,
        unread,
        {part.name: part.problem for part in parts if part.problem is not None},
        config,
        time.perf_counter() - began,
    )


def _names(opened: Sequence[Checkpoint], parts: Sequence[Part], groups: Sequence[Group]) -> Names:
    chances = [chance for group in groups for chance in group.chance.values() if chance.decides]
    called = [checkpoint.files.model_id for checkpoint in opened]
    if len(set(called)) < len(called):
        # Two folders may have the same name.
        called = [str(checkpoint.files.path) for checkpoint in opened]
    return Names(
        called,
        [
            frozenset(part.place.stack for part in parts if part.place.model == number)
            for number in range(len(opened))
        ],
        max((chance.largest for chance in chances), default=0.0),
        max((chance.threshold for chance in chances), default=1.0),
    )
