"""RUN on the command line: a path, the beginning of an id, a name."""

import contextlib
import json
import shutil

import pytest
from experiment_runs import analysis, training
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import ProbeError, ResultError
from mlx_probe.library.catalog import open_database
from mlx_probe.library.experiments import (
    find_run,
    load_bin,
    load_runs,
    plan_removal,
    remove_run,
    resolve_run,
    scan_experiments,
    settle_bin,
)
from mlx_probe.library.experiments.comparing import compare_runs_of
from mlx_probe.library.experiments.lineage import build_lineage


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "runs"
    analysis(folder / "a" / "base", day=1)
    training(folder / "b" / "base", day=2)
    training(folder / "other", day=3)
    return folder


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The bytes of a catalog with runs, one of them in the bin."""
    folder = tmp_path_factory.mktemp("full")
    training(folder / "runs" / "base", init="./other")
    analysis(folder / "runs" / "one")
    with open_database(folder / "c.sqlite") as database:
        scan_experiments(database, [folder / "runs"])
        remove_run(database, folder / "runs" / "one")
    return (folder / "c.sqlite").read_bytes()


def test_the_ways_to_name_a_run(database, root, monkeypatch):
    scan_experiments(database, [root])
    other = load_runs(database)[0]
    monkeypatch.chdir(root)
    ways = (other.id, other.id[:4], other.id[:4].upper(), "other", "./other", root / "other")
    for way in (*ways, root / "other" / "run_meta.json"):
        assert resolve_run(str(way), database) == root / "other"


def test_a_run_that_no_scan_has_seen(database, root):
    assert resolve_run(str(root / "other"), database) == root / "other"
    assert [run.name for run in load_runs(database)] == ["other"]


def test_what_means_several_or_none(database, root):
    with pytest.raises(ResultError, match="no run 'base'") as e:
        resolve_run("base", database)
    assert "runs scan" in e.value.remedy
    scan_experiments(database, [root])
    with pytest.raises(ResultError, match="means 2 runs"):
        resolve_run("base", database)
    with pytest.raises(ResultError, match="no run 'othr'") as e:
        resolve_run("othr", database)
    assert "other" in e.value.remedy
    with pytest.raises(ResultError, match="holds no run"):
        resolve_run(str(root), database)


def test_a_run_that_is_gone_says_so(database, root):
    scan_experiments(database, [root])
    shutil.rmtree(root / "a")
    with pytest.raises(ResultError, match="is gone"):
        resolve_run(next(r.id for r in load_runs(database) if r.kind == "analyze"), database)
    # The other one of that name is meant after the scan.
    scan_experiments(database)
    assert resolve_run("base", database) == root / "b" / "base"


def test_two_runs_in_one_folder(database, root):
    shutil.copy(root / "other" / "run_meta.json", root / "other" / "more.run_meta.json")
    scan_experiments(database, [root])
    wanted = root / "other" / "more.run_meta.json"
    assert resolve_run(str(wanted), database) == wanted
    with pytest.raises(ResultError, match="means 2 runs"):
        resolve_run("other", database)


@given(
    edits=st.lists(
        st.tuples(st.integers(0, 1 << 17), st.binary(min_size=1, max_size=40)), max_size=6
    ),
    cut=st.integers(1, 1 << 17),
)
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_catalog_ends_in_one_message(full, edits, cut, tmp_path_factory):
    content = bytearray(full[:cut])
    for position, patch in edits:
        offset = position % len(content)
        content[offset : offset + len(patch)] = patch
    path = tmp_path_factory.getbasetemp() / "damaged.sqlite"
    path.write_bytes(content)
    with contextlib.suppress(ProbeError), open_database(path) as database:
        settle_bin(database)
        runs = load_runs(database, binned=None)
        for run in runs:
            json.dumps(run.describe())
        build_lineage(runs)
        load_bin(database)
        compare_runs_of(runs)
        plan_removal(database, runs)
        with contextlib.suppress(ProbeError):
            find_run("base", database, runs)
