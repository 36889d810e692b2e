"""Relations of the catalog's models that were measured on their weights.

`relatives` guesses by names and shapes; what is here was compared element by element. A relation
holds for the files that were compared: when a scan sees other ones, the models' stamps change, and
it is not shown any more.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.models import now
from mlx_probe.library.catalog.records import Model

__all__ = ["Kin", "kin_of", "load_kin", "named_kin", "remember_kin", "stamps_of"]


@dataclass(frozen=True)
class Kin:
    """A measured pair of models.

    Attributes:
        a: Key of the one.
        b: Key of the other.
        relation: "finetune", "merge" ... or "unrelated".
        probability: Of the relation.
        parent: Which one is the origin: "a", "b", or "" where that is not known.
        sample: How the models were sampled: pairs of different samples are not the same.
        facts: All that was measured, a JSON object.
        measured_at: When, ISO 8601.
    """

    a: str
    b: str
    relation: str
    probability: float
    parent: str
    sample: str
    facts: Mapping[str, Any]
    measured_at: str = ""

    def other(self, key: str) -> str:
        """The key of the other one."""
        return self.b if key == self.a else self.a

    def role(self, key: str) -> str:
        """What the other one is for a model: "origin", "descendant", or "" if not known."""
        if not self.parent:
            return ""
        return "descendant" if (key == self.a) == (self.parent == "a") else "origin"

    def describe(self, key: str) -> dict[str, Any]:
        """For JSON, as a model sees it."""
        return {
            "key": self.other(key),
            "relation": self.relation,
            "probability": self.probability,
            "role": self.role(key),
            "measured_at": self.measured_at,
        }


def stamps_of(database: Database) -> dict[str, str]:
    """The stamp of every model's files, by its key."""
    return {row["key"]: row["stamp"] for row in database.rows("SELECT key, stamp FROM models")}


def remember_kin(database: Database, pairs: Iterable[Kin], stamps: Mapping[str, str]) -> None:
    """Store pairs in one transaction; what was known of a pair is replaced.

    Args:
        database: The catalog.
        pairs: What was measured.
        stamps: Of the models when they were read, from `stamps_of`. A pair of a model that has
            gone from the catalog meanwhile is left out.
    """
    with database.writing():
        here = stamps_of(database).keys()
        for pair in pairs:
            if not {pair.a, pair.b} <= here:
                continue
            # One order of a pair: it is the same pair.
            database.run("DELETE FROM kin WHERE (a, b) = (?, ?)", [pair.b, pair.a])
            database.run(
                "INSERT OR REPLACE INTO kin VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    *(pair.a, pair.b, stamps[pair.a], stamps[pair.b], pair.relation),
                    *(pair.probability, pair.parent, pair.sample, json.dumps(dict(pair.facts))),
                    pair.measured_at or now(),
                ],
            )


def load_kin(database: Database) -> list[Kin]:
    """Every pair whose files are those that were compared.

    Raises:
        ResultError: The file is damaged.
    """
    try:
        return [
            Kin(
                a=row["a"],
                b=row["b"],
                relation=row["relation"],
                probability=row["probability"],
                parent=row["parent"],
                sample=row["sample"],
                facts=_object(row["facts"]),
                measured_at=row["measured_at"],
            )
            for row in database.rows(
                "SELECT kin.* FROM kin JOIN models AS x ON x.key = kin.a "
                "JOIN models AS y ON y.key = kin.b "
                "WHERE x.stamp = kin.stamp_a AND y.stamp = kin.stamp_b ORDER BY kin.rowid"
            )
        ]
    except (IndexError, TypeError, ValueError, sqlite3.Error) as error:
        raise database.damaged(error) from error


def kin_of(database: Database, key: str) -> list[Kin]:
    """Related models of one, origins first, then the most probable.

    Args:
        database: The catalog.
        key: Of the model.
    """
    order = {"origin": 0, "": 1, "descendant": 2}
    found = [
        pair
        for pair in load_kin(database)
        if key in (pair.a, pair.b) and pair.relation != "unrelated"
    ]
    return sorted(found, key=lambda pair: (order[pair.role(key)], -pair.probability))


def named_kin(kin: Iterable[Kin], model: Model, models: Iterable[Model]) -> list[tuple[Model, Kin]]:
    """Related models of one, each with the pair.

    Args:
        kin: From `kin_of`.
        model: The model.
        models: All models of the catalog.
    """
    by_key = {each.key: each for each in models}
    return [(by_key[pair.other(model.key)], pair) for pair in kin]


def _object(stored: str) -> dict[str, Any]:
    value = json.loads(stored)
    if not isinstance(value, dict):
        raise ValueError(f"{stored[:80]!r} is no JSON object")
    return value
