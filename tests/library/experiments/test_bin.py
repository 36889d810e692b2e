"""The bin: a folder is where it was or in the bin, whatever happens; what others need stays."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from experiment_runs import analysis, training
from stores_on_disk import folder_model

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library import catalog
from mlx_probe.library.experiments import (
    add_run_tags,
    empty_bin,
    find_binned,
    load_bin,
    load_runs,
    moving,
    plan_removal,
    remove_run,
    restore_run,
    scan_experiments,
    set_run_note,
    settle_bin,
)
from mlx_probe.library.experiments import bin as bin_module
from mlx_probe.runs.monitor.jobs import JobRecord, started_at

SCRIPT = Path(__file__).with_name("bin_killed_at_every_line.py")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "runs"
    training(folder / "base", day=1)
    analysis(folder / "alone", day=2)
    return folder


def named(database, name, binned=None):
    return next(run for run in load_runs(database, binned) if run.name == name)


def reasons(database, *names):
    plans = plan_removal(database, [named(database, name) for name in names])
    return {plan.run.name: [reason.text for reason in plan.reasons] for plan in plans}


def test_there_and_back(database, root):
    scan_experiments(database, [root])
    run = named(database, "alone")
    set_run_note(database, run, "a note")
    add_run_tags(database, [run], ["good"])
    before = (root / "alone" / "run_meta.json").read_bytes()
    (plan,) = plan_removal(database, [run])
    assert (plan.folder, plan.size, plan.reasons) == (root / "alone", len(before), ())
    token = remove_run(database, plan.folder, plan.size)
    assert not (root / "alone").exists()
    assert [each.name for each in load_runs(database)] == ["base"]
    # Nothing finds it again, and it is not counted as gone.
    report = scan_experiments(database)
    assert (report.added, report.missing, report.unchanged) == ([], [], 1)
    (entry,) = load_bin(database)
    assert (entry.token, entry.origin, entry.missing) == (token, root / "alone", False)
    assert (entry.folder / "run_meta.json").read_bytes() == before
    for reference in (run.id, run.id[:5], "alone", str(root / "alone"), token):
        assert find_binned(database, reference).token == token
    assert restore_run(database, token) == root / "alone"
    assert (root / "alone" / "run_meta.json").read_bytes() == before
    back = named(database, "alone")
    assert (back.id, back.note, back.tags, back.token) == (run.id, "a note", ("good",), "")
    assert load_bin(database) == []
    assert not (root / bin_module.BIN).exists()


def test_restored_elsewhere_and_not_over_something(database, root, tmp_path):
    scan_experiments(database, [root])
    token = remove_run(database, root / "alone")
    analysis(root / "alone", rows_by_status={"ok": 9})
    scan_experiments(database)
    with pytest.raises(ResultError, match="there is something at"):
        restore_run(database, token)
    assert restore_run(database, token, tmp_path / "new" / "place") == tmp_path / "new" / "place"
    folders = {run.folder for run in load_runs(database)}
    assert folders == {root / "alone", root / "base", tmp_path / "new" / "place"}


def test_a_run_whose_place_another_had_meanwhile(database, root):
    scan_experiments(database, [root])
    token = remove_run(database, root / "alone")
    analysis(root / "alone", rows_by_status={"ok": 9})
    scan_experiments(database)
    set_run_note(database, named(database, "alone", binned=False), "the second")
    shutil.rmtree(root / "alone")
    restore_run(database, token)
    assert {run.note for run in load_runs(database)} == {"", "the second"}
    assert [run.missing for run in load_runs(database) if run.note] == [True]


def test_emptied_for_good(database, root):
    scan_experiments(database, [root])
    set_run_note(database, named(database, "alone"), "a note")
    remove_run(database, root / "alone", 10)
    analysis(root / "alone", rows_by_status={"ok": 9})
    scan_experiments(database)
    assert empty_bin(database, load_bin(database)) == 10
    assert load_bin(database) == []
    assert not (root / bin_module.BIN).exists()
    known = {(run.note, run.missing) for run in load_runs(database) if run.name == "alone"}
    assert known == {("a note", True), ("", False)}


def test_a_deletion_that_was_interrupted(database, root, monkeypatch):
    scan_experiments(database, [root])
    token = remove_run(database, root / "alone")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(moving.shutil, "rmtree", refuse)
    with pytest.raises(ResultError, match="cannot delete all of"):
        empty_bin(database, load_bin(database))
    monkeypatch.undo()
    with pytest.raises(ResultError, match="gone from the bin, or a part"):
        restore_run(database, token)
    empty_bin(database, load_bin(database))
    assert load_bin(database) == []


def test_a_disk_that_refuses(database, root, monkeypatch):
    scan_experiments(database, [root])

    def refuse(source, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(ResultError, match="cannot move"):
        remove_run(database, root / "alone")
    assert load_bin(database) == []
    assert named(database, "alone").token == ""
    monkeypatch.undo()
    token = remove_run(database, root / "alone")
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(ResultError, match="cannot move"):
        restore_run(database, token, root / "other")
    (entry,) = load_bin(database)
    assert (entry.state, entry.origin) == ("binned", root / "alone")


def test_what_other_runs_came_from_stays(database, root, tmp_path):
    model = root / "base" / "model"
    analysis(root / "read", day=3, model={"id": "x", "path": str(model / "model.safetensors")})
    analysis(root / "named", day=3, model={"id": "./base/model"}, working_folder=str(root))
    scan_experiments(database, [root])
    (found,) = reasons(database, "base").values()
    assert len(found) == 2
    assert all("came from" in text and str(model) in text for text in found)
    assert reasons(database, "read", "base", "named") == {"read": [], "base": [], "named": []}
    shutil.rmtree(root / "named")
    scan_experiments(database)
    assert len(reasons(database, "base")["base"]) == 1


def test_what_models_need_stays(database, root, tmp_path):
    weights = root / "base" / "model" / "model.safetensors"
    folder_model(tmp_path / "models" / "m")
    own = tmp_path / "models" / "m" / "model.safetensors"
    shutil.copy(own, weights)
    own.unlink()
    own.symlink_to(weights)
    card = f"---\nbase_model: {root / 'base' / 'model'}\n---\n"
    folder_model(tmp_path / "models" / "n", 1)
    (tmp_path / "models" / "n" / "README.md").write_text(card)
    catalog.scan(database, [tmp_path / "models"], stores=[])
    scan_experiments(database, [root])
    (found,) = reasons(database, "base").values()
    assert any("has a link to a file in it" in text for text in found)
    assert any("is based on something in it" in text for text in found)


def test_folders_that_are_no_run_s_own_stay(database, root, monkeypatch):
    analysis(root / "base" / "inner", day=4)
    shutil.copy(root / "alone" / "run_meta.json", root / "alone" / "t.run_meta.json")
    shared = root / "shared"
    analysis(shared)
    (shared / "run_meta.json").rename(shared / "table.run_meta.json")
    (shared / "table.csv").write_text("")
    (shared / "thesis.tex").write_text("")
    scan_experiments(database, [root])
    assert "lies in it" in reasons(database, "base")["base"][0]
    assert reasons(database, "base", "inner") == {"base": []}
    assert reasons(database, "alone")["alone"] == ["it holds 2 runs"]
    assert reasons(database, "shared")["shared"] == ["it holds files that are not of this run"]
    (shared / "thesis.tex").unlink()
    assert reasons(database, "shared")["shared"] == []
    (shared / ".git").mkdir()
    assert "work tree" in reasons(database, "shared")["shared"][0]
    monkeypatch.chdir(root / "base" / "model")
    assert "this command was started in it" in reasons(database, "base")["base"][0]


def test_a_running_job_stays(database, root, monkeypatch):
    scan_experiments(database, [root])
    job = JobRecord(
        os.getpid(), started_at(), "train", "t", str(root / "base"), "", "", 1, 1.0, 1, 1, None, ()
    )
    monkeypatch.setattr("mlx_probe.library.experiments.needs.running_jobs", lambda: [job])
    assert "train runs in it now" in reasons(database, "base")["base"][0]
    assert reasons(database, "alone") == {"alone": []}


def test_a_folder_that_is_gone(database, root):
    scan_experiments(database, [root])
    run = named(database, "alone")
    shutil.rmtree(root / "alone")
    (plan,) = plan_removal(database, [run])
    assert "there is no" in plan.reasons[0].text
    with pytest.raises(ConfigError, match="no 'alone' in the bin"):
        find_binned(database, "alone")


def test_runs_inside_go_along(database, root):
    analysis(root / "base" / "inner", day=4)
    scan_experiments(database, [root])
    token = remove_run(database, root / "base")
    assert [run.name for run in load_runs(database)] == ["alone"]
    assert {run.name for run in load_bin(database)[0].runs} == {"base", "inner"}
    restore_run(database, token)
    assert named(database, "inner").folder == root / "base" / "inner"


@pytest.mark.parametrize("action", ["rm", "restore"])
def test_killed_at_every_line(tmp_path, action):
    result = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "killed", action],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(result.stdout)
    assert found["wrong"] == []
    assert found["steps"] > 20


def test_settling_changes_nothing_that_is_settled(database, root):
    scan_experiments(database, [root])
    remove_run(database, root / "alone")
    before = load_bin(database)
    settle_bin(database)
    assert load_bin(database) == before
