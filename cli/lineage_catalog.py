"""`mlx-probe lineage --catalog`: all models of the catalog, and what it remembers of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.analysis.lineage import Evidence, Fingerprint, LineageConfig, Relation
from mlx_probe.analysis.lineage.family import family_of
from mlx_probe.analysis.lineage.spilled import spilling
from mlx_probe.core.errors import ConfigError, ProbeError
from mlx_probe.core.language import tr
from mlx_probe.core.version import __version__
from mlx_probe.library.catalog import (
    Kin,
    Model,
    Query,
    load_kin,
    load_models,
    open_database,
    parse_filter,
    remember_kin,
    select_models,
    stamps_of,
)

from .database import status
from .lineage_run import fingerprint

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.family_records import Family

__all__ = ["family_of_catalog"]


def family_of_catalog(path: Path, chosen: str, config: LineageConfig, quiet: bool) -> Family:
    """Relate the models of the catalog, and store what was found in it.

    Pairs that were compared before, with the same samples of the same files, are not compared
    again. The catalog is open only before and after: reading takes longer than others wait.

    Args:
        path: The catalog.
        chosen: Conditions on models, as `parse_filter` reads them; "" for all.
        config: How much is read.
        quiet: Whether to show nothing.

    Raises:
        ConfigError: Fewer than two models are left, or the conditions make no sense.
        ResultError: The catalog cannot be used.
    """
    query = parse_filter(chosen) if chosen else Query()
    with open_database(path) as database:
        models = select_models(load_models(database), query)
        known, stamps = load_kin(database), stamps_of(database)
    models = [model for model in models if not model.missing]
    if len(models) < 2:
        raise ConfigError(
            f"lineage compares models, and the catalog has {len(models)} such",
            "Run `mlx-probe catalog scan` first, or leave --filter out",
        )
    with spilling() as spill, status(quiet, tr("comparing models")) as show:
        prints, left_out = dict[str, Fingerprint](), dict[str, str]()
        for model in models:
            show(model.path)
            why = _unfit(model)
            if not why:
                try:
                    read = fingerprint(str(model.path), False, config)
                    prints[model.key] = spill(replace(read, model=model.id))
                except ProbeError as error:
                    why = error.fact
            if why:
                left_out[model.id] = why
        if len(prints) < 2:
            raise ConfigError(
                f"lineage compares models, and the catalog has {len(prints)} that can be read: "
                f"{'; '.join(left_out.values())}",
                "Run `mlx-probe catalog scan`, and name others",
            )
        names = _names(models, prints)
        renamed = [replace(each, model=names[key]) for key, each in prints.items()]
        sample = f"{__version__} {sorted(asdict(config).items())}"
        earlier = _earlier(known, names, sample)
        family = family_of(renamed, left_out, known=earlier)
    keys = {name: key for key, name in names.items()}
    fresh = [_kin(each, keys, sample) for each in family.relations if _is_new(each, earlier)]
    with open_database(path) as database:
        remember_kin(database, fresh, stamps)
    return family


def _unfit(model: Model) -> str:
    """Why a model cannot be compared, by what the catalog knows and its files' times; or ""."""
    if model.problem:
        return model.problem
    if model.adapter:
        return "it is an adapter"
    for file in model.weights:
        try:
            state = file.path.stat()
        except OSError:
            return f"{file.path.name} is gone: run `mlx-probe catalog scan`"
        if (state.st_size, state.st_mtime_ns) != (file.size, file.mtime_ns):
            return f"{file.path.name} has changed since the last scan: run `mlx-probe catalog scan`"
    return ""


def _names(models: Sequence[Model], prints: Mapping[str, Fingerprint]) -> dict[str, str]:
    """Names that tell the models apart: ids, with the key where two have one id."""
    read = [model for model in models if model.key in prints]
    ids = [model.id for model in read]
    return {
        model.key: model.id if ids.count(model.id) == 1 else f"{model.id} ({model.key[:8]})"
        for model in read
    }


def _earlier(
    known: Sequence[Kin], names: Mapping[str, str], sample: str
) -> dict[tuple[str, str], Relation]:
    """Relations that were stored, by the names of the models, in the order of the models now."""
    order = {key: at for at, key in enumerate(names)}
    found = {}
    for kin in known:
        # Of a merge, the pair itself is compared again: the parents may not be here now.
        is_same = kin.sample == sample and kin.relation != "merge"
        if is_same and {kin.a, kin.b} <= names.keys() and order[kin.a] < order[kin.b]:
            found[names[kin.a], names[kin.b]] = _relation(kin, names)
    return found


def _relation(kin: Kin, names: Mapping[str, str]) -> Relation:
    facts = dict(kin.facts)
    evidence = tuple(Evidence(**each) for each in facts.pop("evidence"))
    return Relation(**{**facts, "a": names[kin.a], "b": names[kin.b], "evidence": evidence})


def _kin(relation: Relation, keys: Mapping[str, str], sample: str) -> Kin:
    return Kin(
        a=keys[relation.a],
        b=keys[relation.b],
        relation=relation.relation,
        probability=relation.probability,
        parent=relation.parent or "",
        sample=sample,
        facts=asdict(relation),
    )


def _is_new(relation: Relation, earlier: Mapping[tuple[str, str], Relation]) -> bool:
    return earlier.get((relation.a, relation.b)) is not relation
