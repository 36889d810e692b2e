"""Measured relations in the catalog: stored whole, shown while the files are the same."""

import os
import sqlite3

import pytest
from stores_on_disk import folder_model

from mlx_probe.core.errors import ResultError
from mlx_probe.library.catalog import (
    Kin,
    kin_of,
    load_kin,
    load_models,
    named_kin,
    open_database,
    remember_kin,
    scan,
    stamps_of,
)
from mlx_probe.library.catalog.schema import VERSIONS


@pytest.fixture
def models(tmp_path):
    for seed, name in enumerate(("one", "two", "three")):
        folder_model(tmp_path / "models" / name, seed)
    return tmp_path / "models"


@pytest.fixture
def database(tmp_path, models):
    with open_database(tmp_path / "c.sqlite") as database:
        scan(database, [models])
        yield database


def pair(a, b, relation="finetune", parent="", probability=0.9, **more):
    return Kin(a, b, relation, probability, parent, "sample", {"numbers": {"x": 1.5}}, **more)


def keys(database):
    return {model.path.name: model.key for model in load_models(database)}


def test_pairs_come_back(database):
    known = keys(database)
    one, two, three = (known[name] for name in ("one", "two", "three"))
    pairs = [
        pair(one, two, "quantization", "b", measured_at="2026-01-02T03:04:05+00:00"),
        pair(two, three, "unrelated"),
        pair(three, one, probability=0.7),
    ]
    remember_kin(database, pairs, stamps_of(database))
    found = load_kin(database)
    assert found[0] == pairs[0]
    assert [(each.a, each.b, each.relation) for each in found] == [
        (each.a, each.b, each.relation) for each in pairs
    ]
    assert all(each.measured_at for each in found)
    ours = kin_of(database, one)
    # Unrelated ones are no kin; the origin is first.
    assert [(each.other(one), each.role(one)) for each in ours] == [(two, "origin"), (three, "")]
    assert kin_of(database, two)[0].role(two) == "descendant"
    (first, _), _ = named_kin(ours, find(database, one), load_models(database))
    assert first.key == two


def find(database, key):
    return next(model for model in load_models(database) if model.key == key)


def test_a_pair_is_stored_once(database):
    known = keys(database)
    one, two = known["one"], known["two"]
    stamps = stamps_of(database)
    remember_kin(database, [pair(one, two)], stamps)
    remember_kin(database, [pair(two, one, "lora", probability=0.5)], stamps)
    (only,) = load_kin(database)
    assert (only.a, only.relation, only.probability) == (two, "lora", 0.5)


def test_what_was_compared_is_gone_when_files_change(database, models):
    known = keys(database)
    remember_kin(database, [pair(known["one"], known["two"])], stamps_of(database))
    weights = next((models / "one").glob("*.safetensors"))
    os.utime(weights, ns=(1, 1))
    assert load_kin(database)
    scan(database, [models])
    assert load_kin(database) == []
    assert kin_of(database, known["two"]) == []


def test_what_changed_while_it_was_compared_is_not_shown(database, models):
    known, stamps = keys(database), stamps_of(database)
    os.utime(next((models / "one").glob("*.safetensors")), ns=(1, 1))
    scan(database, [models])
    remember_kin(database, [pair(known["one"], known["two"])], stamps)
    assert load_kin(database) == []


def test_models_that_are_forgotten_take_their_pairs_with_them(database):
    known = keys(database)
    remember_kin(database, [pair(known["one"], known["two"])], stamps_of(database))
    with database.writing():
        database.run("DELETE FROM models WHERE key = ?", [known["one"]])
    assert database.rows("SELECT * FROM kin") == []
    remember_kin(database, [pair(known["one"], known["two"])], {})
    assert load_kin(database) == []


def test_pairs_are_stored_whole_or_not_at_all(database):
    known = keys(database)
    broken = pair(known["two"], known["three"], parent=object())
    with pytest.raises((ResultError, sqlite3.Error)):
        remember_kin(database, [pair(known["one"], known["two"]), broken], stamps_of(database))
    assert load_kin(database) == []


def test_damaged_facts_are_a_damaged_catalog(database):
    known = keys(database)
    remember_kin(database, [pair(known["one"], known["two"])], stamps_of(database))
    database.run("UPDATE kin SET facts = '[1]'")
    with pytest.raises(ResultError, match="damaged"):
        load_kin(database)


def test_a_catalog_of_the_version_before_is_converted(tmp_path):
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path)
    for statements in VERSIONS[:3]:
        connection.executescript(statements)
    connection.executescript("PRAGMA application_id = 1835825264; PRAGMA user_version = 3")
    connection.close()
    with open_database(path) as database:
        assert load_kin(database) == []
        assert database.rows("PRAGMA user_version")[0][0] == len(VERSIONS)
