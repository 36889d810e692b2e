"""The scan: what is new, changed, moved, gone or damaged; notes stay."""

import json
import os
import shutil

import pytest
from experiment_runs import analysis, training, write_json
from stores_on_disk import folder_model

from mlx_probe.core.errors import ConfigError
from mlx_probe.library import catalog
from mlx_probe.library.experiments import (
    add_run_tags,
    load_runs,
    scan_experiments,
    set_run_note,
)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "runs"
    analysis(folder / "one")
    training(folder / "deep" / "er" / "two")
    return folder


def counts(report):
    named = ("added", "changed", "moved", "missing", "damaged")
    found = {name: len(getattr(report, name)) for name in named}
    return {name: count for name, count in found.items() if count} | {"same": report.unchanged}


def test_runs_are_found_and_read_once(database, root, monkeypatch):
    report = scan_experiments(database, [root])
    assert counts(report) == {"added": 2, "same": 0}
    assert report.searched == [root]
    newest, oldest = load_runs(database)
    assert (newest.kind, newest.name, newest.state) == ("train", "two", "finished")
    assert newest.metrics["val_loss"] == 3.0
    assert newest.config["train.lr"] == 0.001
    assert newest.outputs == [str(root / "deep" / "er" / "two" / "model")]
    assert (oldest.models, oldest.seconds) == ("owner/tiny", 1.5)
    monkeypatch.setattr("mlx_probe.runs.experiments.read.read_experiment", None)
    assert counts(scan_experiments(database)) == {"same": 2}


def test_what_changed_is_read_again(database, root):
    scan_experiments(database, [root])
    analysis(root / "one", rows_by_status={"ok": 70})
    assert counts(scan_experiments(database)) == {"changed": 1, "same": 1}
    assert load_runs(database)[1].metrics["rows"] == 70


def test_a_run_that_is_gone_keeps_its_note_and_comes_back(database, root):
    scan_experiments(database, [root])
    run = load_runs(database)[1]
    set_run_note(database, run, "the baseline")
    add_run_tags(database, [run], ["good", "old"])
    shutil.move(root / "one", root.parent / "elsewhere")
    assert counts(scan_experiments(database)) == {"missing": 1, "same": 1}
    gone = load_runs(database)[1]
    assert (gone.missing, gone.note, gone.tags) == (True, "the baseline", ("good", "old"))
    assert counts(scan_experiments(database)) == {"same": 1}
    shutil.move(root.parent / "elsewhere", root / "one")
    assert counts(scan_experiments(database)) == {"changed": 1, "same": 1}
    assert not load_runs(database)[1].missing


def test_a_run_that_was_moved_is_the_same_run(database, root):
    scan_experiments(database, [root])
    run = load_runs(database)[1]
    set_run_note(database, run, "the baseline")
    (root / "one").rename(root / "renamed")
    analysis(root / "one", rows_by_status={"ok": 9})
    report = scan_experiments(database)
    # The old place has a new run in it now: who knows which is which?
    assert counts(report) == {"added": 1, "changed": 1, "same": 1}
    shutil.rmtree(root / "renamed")
    (root / "one").rename(root / "again")
    report = scan_experiments(database)
    assert counts(report) == {"moved": 1, "missing": 1, "same": 1}
    moved = next(each for each in load_runs(database) if each.folder == root / "again")
    assert (moved.id, moved.note, moved.missing) == (run.id, "the baseline", False)
    analysis(root / "one", rows_by_status={"ok": 5})
    scan_experiments(database)
    assert len({each.id for each in load_runs(database)}) == 4


def test_a_damaged_run_is_a_row_with_a_reason(database, root):
    scan_experiments(database, [root])
    (root / "one" / "run_meta.json").write_text("{")
    (root / "three").mkdir()
    (root / "three" / "run_meta.json").write_bytes(b"\xff\xfe")
    write_json(root / "four" / "run_meta.json", {"kind": "analyse"})
    os.mkfifo(root / "four" / "x.run_meta.json")
    report = scan_experiments(database)
    assert counts(report) == {"added": 3, "changed": 1, "damaged": 4, "same": 1}
    by_name = {(run.name, run.marker.name): run for run in load_runs(database)}
    damaged = by_name["one", "run_meta.json"]
    # What was known of it stays.
    assert (damaged.state, damaged.kind, damaged.metrics["rows"]) == ("damaged", "analyze", 3)
    assert "run_meta.json" in damaged.reason
    assert by_name["four", "run_meta.json"].kind == "unknown"
    assert "analyse" in by_name["four", "run_meta.json"].reason
    analysis(root / "one")
    scan_experiments(database)
    (mended,) = [run for run in load_runs(database) if run.name == "one"]
    assert (mended.state, mended.reason) == ("finished", "")


def test_folders_are_remembered(database, root, tmp_path):
    assert scan_experiments(database).searched == []
    with pytest.raises(ConfigError, match="is no folder"):
        scan_experiments(database, [tmp_path / "nothing"])
    analysis(tmp_path / "data" / "outputs" / "owner--tiny" / "2026-05-01T12-00-00Z")
    scan_experiments(database, [root])
    assert scan_experiments(database).searched == [tmp_path / "data" / "outputs", root]
    assert "owner--tiny/2026-05-01T12-00-00Z" in {run.name for run in load_runs(database)}
    shutil.rmtree(root)
    report = scan_experiments(database)
    assert report.troubles == [(root, "is no folder any more")]
    assert len(report.missing) == 2


def test_the_catalog_learns_of_analyses(database, root, tmp_path):
    folder_model(tmp_path / "models" / "m")
    catalog.scan(database, [tmp_path / "models"], stores=[])
    (described,) = catalog.load_models(database)
    weights = [str(file.path) for file in described.weights]
    analysis(root / "one", model={"id": "m", "revision": "local", "weights": weights})
    scan_experiments(database, [root])
    (described,) = catalog.load_models(database)
    assert [run.path for run in described.analyses] == [root / "one" / "run_meta.json"]


def test_names_that_are_no_text(database, root):
    strange = os.fsdecode(b"r\xff")
    analysis(root / strange, model="m\ud800\x1b[31m")
    scan_experiments(database, [root])
    run = next(run for run in load_runs(database) if run.name == strange)
    assert run.models == "m\\ud800\x1b[31m"
    assert json.loads(json.dumps(run.describe()))["folder"].endswith("r\udcff")
