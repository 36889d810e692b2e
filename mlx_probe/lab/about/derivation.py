"""How a model was made of another one, as the record that lies beside its weights says.

Another command that makes models is one function and one line in `DERIVATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.core.markdown import escaped
from mlx_probe.lab.about.json_object import read_object
from mlx_probe.lab.merge.record import RECORD
from mlx_probe.lab.moe.merge.record import RECEIPT as MERGED
from mlx_probe.lab.moe.prune.record import RECEIPT as PRUNED
from mlx_probe.runs.mixture.folder import RECEIPT

__all__ = ["DERIVATIONS", "Derivation", "read_derivation"]


@dataclass(frozen=True)
class Derivation:
    """What one command did to a model.

    Attributes:
        base: Reference of the model before.
        tags: What was done, in single words.
        text: What was done, as Markdown.
        measured: Numbers of the record, by what they are.
    """

    base: str
    tags: tuple[str, ...]
    text: str
    measured: Mapping[str, float]


def read_derivation(folder: Path) -> Derivation | None:
    """What a model's folder says of how it was made; None if it says nothing."""
    for name, derivation in DERIVATIONS.items():
        record = read_object(folder / name)
        if record is not None:
            return derivation(record)
    return None


def _merged(record: Mapping[str, Any]) -> Derivation:
    ranks = ", ".join(map(str, record.get("ranks", ()))) or "none"
    text = (
        f"Merged by `mlx-probe merge` from the base {_name(record, 'base')} and the adapter "
        f"{_name(record, 'adapter')} ({record.get('kind')} of {record.get('layout')}, rank "
        f"{ranks}): {record.get('changed')} of {record.get('tensors')} tensors changed."
    )
    base = str(record.get("base_model") or record.get("base"))
    return Derivation(base, ("merge", str(record.get("kind"))), text, {})


def _grafted(record: Mapping[str, Any]) -> Derivation:
    form = record.get("form")
    split = f", split {record['split']}" if record.get("split") else ""
    text = (
        f"Grafted by `mlx-probe moe graft` from {_name(record, 'model')}: {record.get('layers')} "
        f"layers of {record.get('experts')} experts, {record.get('width')} hidden units each, "
        f"{record.get('active')} active (form {form}{split}, seed {record.get('seed')})."
    )
    return Derivation(
        base=str(record.get("model")),
        tags=("moe", "graft", str(form)),
        text=text,
        measured=_numbers(record, ("loss_before", "loss_after", "max_logit_difference")),
    )


def _fewer(record: Mapping[str, Any]) -> Derivation:
    command = "prune" if record.get("by") else "merge"
    text = (
        f"Made by `mlx-probe moe {command}` from {_name(record, 'model')}: "
        f"{record.get('experts')} of {record.get('experts_before')} experts in each of "
        f"{record.get('layers')} layers ({record.get('by') or record.get('threshold')})."
    )
    return Derivation(
        base=str(record.get("model")),
        tags=("moe", command),
        text=text,
        measured=_numbers(record, ("loss_before", "loss_after")),
    )


def _name(record: Mapping[str, Any], key: str) -> str:
    return escaped(str(record.get(key)))


def _numbers(record: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, float]:
    return {key: record[key] for key in keys if isinstance(record.get(key), int | float)}


DERIVATIONS: Mapping[str, Callable[[Mapping[str, Any]], Derivation]] = {
    RECORD: _merged,
    RECEIPT: _grafted,
    PRUNED: _fewer,
    MERGED: _fewer,
}
