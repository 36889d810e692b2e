"""Any cache: nothing that is needed is proposed, all else is, and the bytes are the disk's."""

import os
import shutil
from pathlib import Path

from experiment_runs import analysis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted_space import commit, contents, revision, taken

from mlx_probe.library.catalog import open_database
from mlx_probe.library.experiments import scan_experiments
from mlx_probe.library.space import (
    batches,
    empty_batches,
    find_items,
    gathering,
    put_away,
    restore_batch,
)

WORDS = ("one", "two", "three", "four")
# Who needs a revision: nobody, or what is made by `_need`.
NEEDS = ("nobody", "reference", "run", "link", "both")


@st.composite
def caches(draw):
    """Revisions of two repositories: contents that they share, and who needs them."""
    found = {}
    for repository in ("o/a", "o/b"):
        for word in draw(st.lists(st.sampled_from(WORDS), unique=True, max_size=4)):
            shared = draw(st.lists(st.sampled_from("xyz"), unique=True))
            size = draw(st.integers(10, 9000))
            found[repository, word] = (shared, size, draw(st.sampled_from(NEEDS)))
    return found


def _need(root, snapshot, name, word, who):
    if who in ("reference", "both"):
        reference = snapshot.parent.parent / "refs" / f"branch-{word}"
        reference.write_text(snapshot.name)
    if who in ("run", "both"):
        run = root / "runs" / snapshot.parent.parent.name / word
        analysis(run, {"id": name, "revision": snapshot.name})
    if who == "link":
        link = root / "runs" / f"{snapshot.parent.parent.name}-{word}"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(snapshot)


@given(cache=caches())
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_cache(cache, home, tmp_path, monkeypatch):
    # Listing all processes takes longer than everything else.
    monkeypatch.setattr(gathering, "open_paths", set)
    shutil.rmtree(home / "hub", ignore_errors=True)
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    (tmp_path / "runs").mkdir()
    free, kept = set(), set()
    snapshots = {}
    for (name, word), (shared, size, who) in cache.items():
        snapshot = revision(home, name, f"{name}-{word}", size, shared)
        assert snapshot.name == commit(f"{name}-{word}")
        snapshots[snapshot] = who
    for (name, word), (_, _, who) in cache.items():
        snapshot = home / "hub" / f"models--{name.replace('/', '--')}" / "snapshots"
        _need(tmp_path, snapshot / commit(f"{name}-{word}"), name, word, who)
    # By what a reader of the cache would say: a content is needed if a needed snapshot has it.
    for snapshot, who in snapshots.items():
        mine = {Path(os.path.realpath(path)) for path in snapshot.iterdir()}
        (free if who == "nobody" else kept).update({snapshot, *mine})
    free -= kept
    database_file = home / "random.sqlite"
    database_file.unlink(missing_ok=True)
    with open_database(database_file) as database:
        database.run("PRAGMA synchronous = OFF")
        scan_experiments(database, [tmp_path / "runs"])
        items = find_items(database, ["old-revisions"]).items
        assert {path for item in items for path in item.paths} == free
        before, whole = taken(home / "hub"), contents(home / "hub")
        announced = sum(item.frees for item in items)
        assert put_away(database, items).skipped == []
        for batch in batches(database):
            restore_batch(database, batch)
        assert contents(home / "hub") == whole
        put_away(database, find_items(database, ["old-revisions"]).items)
        empty_batches(database, batches(database))
        assert before - taken(home / "hub") == announced
        for snapshot, who in snapshots.items():
            assert who == "nobody" or all(path.exists() for path in snapshot.iterdir())
