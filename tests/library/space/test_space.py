"""Nothing that a run, link, reference or program needs is proposed; the rest is, to the byte."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from experiment_runs import analysis
from planted_space import (
    blobs,
    commit,
    contents,
    described,
    planted,
    point,
    revision,
    stepped,
    taken,
)
from stores_on_disk import folder_model

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.catalog import load_models, scan, set_note
from mlx_probe.library.catalog.link_journal import plan_link
from mlx_probe.library.catalog.lock import alone
from mlx_probe.library.experiments import bin as bin_module
from mlx_probe.library.experiments import load_bin, scan_experiments
from mlx_probe.library.space import (
    REMOVABLE,
    batches,
    empty_batches,
    find_batches,
    find_items,
    put_away,
    restore_batch,
    survey_space,
)
from mlx_probe.runs.monitor.jobs import JobRecord, started_at


def proposed(survey):
    return {path for item in survey.items for path in item.paths}


def test_a_planted_disk(database, home, tmp_path):
    free, needed = planted(database, home, tmp_path)
    assert free
    assert not free & needed
    survey = survey_space(database)
    assert proposed(survey) == free, described(free, survey.items)
    assert not any(
        path == item or path in item.parents or item in path.parents
        for path in proposed(survey)
        for item in needed
    )
    assert all(kept.why for kept in survey.kept)
    before, whole = taken(tmp_path), contents(tmp_path, ("catalog.sqlite", "catalog.sqlite.lock"))
    announced = sum(item.frees for item in survey.items)
    done = put_away(database, survey.items)
    assert (done.skipped, done.size) == ([], announced)
    assert not any(map(os.path.lexists, free))
    assert proposed(find_items(database, REMOVABLE)) == set()
    assert load_bin(database) == []
    (batch,) = batches(database)
    assert (batch.id, batch.size) == (done.batch, announced)
    back = restore_batch(database, batch)
    assert (back.skipped, set(back.paths)) == ([], free)
    assert contents(tmp_path, ("catalog.sqlite", "catalog.sqlite.lock")) == whole
    assert list(tmp_path.rglob(".mlx-probe-bin")) == []
    put_away(database, find_items(database, REMOVABLE).items)
    assert empty_batches(database, batches(database)).size == announced
    assert batches(database) == []
    # Whatever the catalog's own file took meanwhile.
    assert before - taken(tmp_path) == pytest.approx(announced, abs=200_000)


def test_an_empty_machine(database):
    survey = survey_space(database)
    assert (survey.items, survey.kept, survey.troubles, survey.binned) == ([], [], [], {})


def test_freed_bytes_are_those_of_the_disk(database, home, tmp_path):
    point(revision(home, "o/m", "now", 40_000, ["a", "b"]))
    for word in ("one", "two"):
        revision(home, "o/m", word, 30_000, ["a", "c"])
    (item,) = find_items(database, REMOVABLE).items
    before = taken(home / "hub")
    put_away(database, [item])
    assert taken(home / "hub") > before - item.frees
    empty_batches(database, batches(database))
    assert before - taken(home / "hub") == item.frees
    assert item.size < 2 * 30_000 + 3000 + 2000


def unknown(home, what):
    old = revision(home, "o/m", "old")
    repository = old.parent.parent
    if what == "reference":
        point(old).parent.parent.joinpath("refs", "odd").write_text("no commit")
    elif what == "snapshot":
        (repository / "snapshots" / "main").mkdir()
    elif what == "link":
        (old / "other").symlink_to("/etc/hosts")
    elif what == "fifo":
        os.mkfifo(old / "pipe")
    elif what == "blobs":
        shutil.move(repository / "blobs", home / "elsewhere")
        (repository / "blobs").symlink_to(home / "elsewhere")
    return repository


@pytest.mark.parametrize("what", ["reference", "snapshot", "link", "fifo", "blobs"])
def test_what_is_not_understood_stays_and_is_said(database, home, what):
    repository = unknown(home, what)
    revision(home, "o/other", "free")
    survey = find_items(database, REMOVABLE)
    assert [path for path, _ in survey.troubles] == [repository]
    assert [item.name for item in survey.items] == [f"o/other: {commit('free')[:8]}"]


def test_a_run_that_cannot_be_read_may_need_anything(database, home, tmp_path):
    revision(home, "o/m", "old")
    run = analysis(tmp_path / "runs" / "run")
    (run / "run_meta.json").unlink()
    os.mkfifo(run / "pipe")
    assert proposed(find_items(database, REMOVABLE))
    (run / "run_meta.json").write_text("{")
    scan_experiments(database, [tmp_path / "runs"])
    assert proposed(find_items(database, REMOVABLE))
    with (run / "run_meta.json").open("wb") as file:
        file.truncate(65 << 20)
    survey = find_items(database, REMOVABLE)
    assert proposed(survey) == set()
    assert "is not known" in survey.kept[0].why
    assert survey.troubles[0][0] == run / "run_meta.json"


def test_runs_that_are_gone_or_in_the_bin_still_need_theirs(database, home, tmp_path):
    for word in ("gone", "binned"):
        revision(home, f"o/{word}", word)
        analysis(tmp_path / "runs" / word, {"id": f"o/{word}", "revision": commit(word)})
    scan_experiments(database, [tmp_path / "runs"])
    shutil.rmtree(tmp_path / "runs" / "gone")
    bin_module.remove_run(database, tmp_path / "runs" / "binned")
    survey = survey_space(database)
    assert survey.items == []
    assert survey.binned.keys() == {""}


def test_what_only_the_catalog_knows_stays(database, home, tmp_path):
    words = ("noted", "measured", "linked")
    old = {word: revision(home, f"o/{word}", word) for word in words}
    weights = {word: blobs(old[word]).pop() for word in words}
    assert len(find_items(database, REMOVABLE).items) == 3
    # A note on a model, an analysis that only `catalog scan` has seen, a link in no scanned folder.
    folder_model(home / "hub" / "models--o--noted" / "snapshots" / old["noted"].name, 1)
    analysis(tmp_path / "seen" / "run", {"id": "o/measured", "revision": old["measured"].name})
    scan(database, stores=["hub"], runs=[tmp_path / "seen"])
    noted = next(model for model in load_models(database) if model.id == "o/noted")
    link = tmp_path / "elsewhere"
    plan_link(database, "b", link, weights["linked"], True, "0" * 64, weights["linked"].stat())
    assert [item.name[:7] for item in find_items(database, REMOVABLE).items] == ["o/noted"]
    set_note(database, noted, "baseline")
    assert find_items(database, REMOVABLE).items == []


def test_what_a_program_has_open_stays(database, home):
    (blob,) = blobs(revision(home, "o/m", "old"))
    with blob.open("rb"):
        assert find_items(database, REMOVABLE).items == []
    assert len(find_items(database, REMOVABLE).items) == 1


@pytest.mark.parametrize("how", ["written", "locked", "linked"])
def test_partial_downloads_in_use_stay(database, home, tmp_path, how):
    import fcntl

    path = home / "hub" / "models--o--m" / "blobs" / f"{commit('x')}.incomplete"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 100)
    lock = home / "hub" / ".locks" / "models--o--m" / f"{commit('x')}.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held, path.open("ab") as written:
        if how != "written":
            written.close()
        if how == "locked":
            fcntl.flock(held, fcntl.LOCK_EX)
        if how == "linked":
            (tmp_path / "name").hardlink_to(path)
        assert find_items(database, ["partial"]).items == []
    (tmp_path / "name").unlink(missing_ok=True)
    assert len(find_items(database, ["partial"]).items) == 1


def test_a_running_job_keeps_what_it_works_on(database, home, tmp_path, monkeypatch):
    revision(home, "o/m", "old")
    run = stepped(tmp_path / "runs" / "again")
    scan_experiments(database, [tmp_path / "runs"])
    assert len(find_items(database, REMOVABLE).items) == 2
    job = JobRecord(
        os.getpid(), started_at(), "train", "o/m", str(run), "", "", 0, 1.0, 1, 1, None, ()
    )
    monkeypatch.setattr("mlx_probe.library.space.gathering.running_jobs", lambda: [job])
    survey = find_items(database, REMOVABLE)
    assert survey.items == []
    assert all("runs now" in kept.why for kept in survey.kept)


def test_what_is_needed_since_the_plan_stays(database, home, tmp_path):
    old = revision(home, "o/m", "old")
    revision(home, "o/free", "free")
    items = find_items(database, REMOVABLE).items
    analysis(tmp_path / "runs" / "new", {"id": "o/m", "revision": old.name})
    scan_experiments(database, [tmp_path / "runs"])
    done = put_away(database, items)
    assert [(path, "new" in why) for path, why in done.skipped] == [(old, True)]
    assert old.is_dir()
    assert len(done.paths) == 2
    assert find_items(database, REMOVABLE).items == []


def test_what_changed_since_the_plan_stays(database, home):
    old = revision(home, "o/m", "old")
    items = find_items(database, REMOVABLE).items
    (old / "new.json").write_text("{}")
    assert [path for path, _ in put_away(database, items).skipped] == [old]
    items = find_items(database, REMOVABLE).items
    point(old, "main")
    done = put_away(database, items)
    assert done.skipped == [(old, "the reference main points to it")]
    assert done.batch == ""


def test_another_command_at_the_same_time(database, home):
    revision(home, "o/m", "old")
    items = find_items(database, REMOVABLE).items
    with alone(database.path), pytest.raises(ResultError, match="another mlx-probe"):
        put_away(database, items)
    assert proposed(find_items(database, REMOVABLE)) == set(items[0].paths)


def test_a_disk_that_refuses_leaves_all_in_place(database, home, monkeypatch):
    revision(home, "o/m", "old")
    whole = contents(home / "hub")

    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(bin_module.os, "rename", refuse)
    done = put_away(database, find_items(database, REMOVABLE).items)
    assert "cross-device" in done.skipped[0][1]
    assert contents(home / "hub") == whole
    assert batches(database) == []


def test_restoring_over_something(database, home):
    old = revision(home, "o/m", "old")
    done = put_away(database, find_items(database, REMOVABLE).items)
    old.mkdir()
    back = restore_batch(database, batches(database)[0])
    assert [path for path, _ in back.skipped] == [old]
    assert [batch.id for batch in batches(database)] == [done.batch]
    old.rmdir()
    assert restore_batch(database, batches(database)[0]).paths == [old]
    with pytest.raises(ConfigError, match="no batch 'x'"):
        find_batches(database, ["x"])


@pytest.mark.parametrize("action", ["remove", "restore", "empty"])
def test_killed_at_every_line(tmp_path, action):
    script = Path(__file__).with_name("space_killed_at_every_line.py")
    result = subprocess.run(
        [sys.executable, script, tmp_path / "killed", action],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    steps, *wrong = result.stdout.splitlines()
    assert wrong == []
    assert int(steps) > 60
