"""A series from end to end: what is measured when, what is said, what a kill leaves."""

import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pyarrow.parquet as parquet
import pytest
from models import invoke
from series_of_checkpoints import DOWN, UP, checkpoints, write_checkpoint

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.series import measuring
from mlx_probe.analysis.series.config import SeriesConfig, Unseen
from mlx_probe.analysis.series.follow import follow_series
from mlx_probe.analysis.series.series import measure_series
from mlx_probe.core.errors import ConfigError, ResultError, SourceError
from mlx_probe.runs.experiments import read_experiment
from mlx_probe.runs.experiments.find import find_markers
from mlx_probe.runs.job import Job
from mlx_probe.runs.series import SeriesFolder

CONFIG = SeriesConfig(analysis=AnalyzeConfig(workers=1))


@pytest.fixture
def analysed(monkeypatch):
    """The checkpoints that the engine was given."""
    given, real = [], measuring.analyze

    def analyze(model, **settings):
        given.append(str(model).rpartition("-")[2])
        return real(model, **settings)

    monkeypatch.setattr(measuring, "analyze", analyze)
    return given


def measured(folder, out, config=CONFIG):
    return measure_series([str(folder)], out, config)


def written(out):
    """When each file of a series was written."""
    return {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*")) if path.is_file()}


def test_what_happened_when(tmp_path):
    result = measured(checkpoints(tmp_path / "made", at=5), tmp_path / "out")
    assert [state.state for state in result.states] == ["measured"] * 8
    changed = {(c["tensor"], c["step"], c["previous"]) for c in result.meta["changes"]}
    assert changed == {(UP, 500, 400)}
    ranks = next(c for c in result.meta["changes"] if c["column"] == "rank")
    assert (ranks["before"], ranks["after"], ranks["layer"]) == (10.0, 3.0, 0)
    said = next(f for f in result.findings if f["evidence"].get("column") == "rank")
    assert (said["severity"], said["rows"]) == ("high", [UP])
    assert said["sentence"] == f"Step 500: rank of {UP} falls from 10 to 3."
    changes = parquet.read_table(tmp_path / "out" / "changes.parquet").to_pylist()
    assert {row["param_name"] for row in changes} == {UP}


def test_the_table_has_the_rows_of_all_steps(tmp_path):
    out = tmp_path / "out"
    measured(checkpoints(tmp_path / "made", 3), out)
    table = parquet.read_table(out / "series.parquet")
    assert table["step"].to_pylist() == [100, 100, 200, 200, 300, 300]
    rows = table.select(["step", "param_name", "change_since"]).to_pylist()
    since = {(row["step"], row["param_name"]): row["change_since"] for row in rows}
    assert since[100, UP] is None
    stored = [SeriesFolder(out).spectra(step).set_index("param_name") for step in (100, 200)]
    before, after = (np.asarray(of.loc[UP, "singular_values"]) for of in stored)
    expected = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert since[200, UP] == pytest.approx(expected)


def test_a_spectrum_moves_no_further_than_the_weights(tmp_path):
    out = tmp_path / "out"
    rng = np.random.default_rng(3)
    arrays = [{UP: rng.standard_normal((12, 10))} for _ in range(3)]
    for at, of in enumerate(arrays):
        write_checkpoint(tmp_path / "made" / f"step{at}", of)
    measured(tmp_path / "made", out)
    table = parquet.read_table(out / "series.parquet")
    for at in (1, 2):
        before, after = arrays[at - 1][UP], arrays[at][UP]
        moved = np.linalg.norm(after - before) / np.linalg.norm(before)
        assert 0 < table["change_since"][at].as_py() <= moved


def test_only_what_is_new_is_measured(tmp_path, analysed):
    made, out = tmp_path / "made", tmp_path / "out"
    checkpoints(made, 5)
    shutil.move(made / "checkpoint-500", tmp_path / "later")
    measured(made, out)
    before = written(out)
    result = measured(made, out)
    assert (result.count("measured"), result.count("kept")) == (0, 4)
    assert written(out) == before  # not one file
    shutil.move(tmp_path / "later", made / "checkpoint-500")
    result = measured(made, out)
    assert (result.count("measured"), result.count("kept")) == (1, 4)
    assert analysed == ["100", "200", "300", "400", "500"]
    steps = {path: time for path, time in written(out).items() if "steps" in path.parts}
    assert before.items() >= {p: t for p, t in steps.items() if "000000500" not in p.parts}.items()


def test_a_changed_checkpoint_is_measured_again(tmp_path, analysed):
    made, out = checkpoints(tmp_path / "made", 5), tmp_path / "out"
    measured(made, out)
    write_checkpoint(made / "checkpoint-200", {UP: np.ones((12, 10)), DOWN: np.ones((12, 10))})
    result = measured(made, out)
    assert analysed[5:] == ["200"]
    assert result.states[1].state == "measured"
    table = parquet.read_table(out / "series.parquet", columns=["step", "rank"])
    assert table["rank"].to_pylist()[2:4] == [1, 1]


def test_a_deleted_checkpoint_stays(tmp_path, analysed):
    made, out = checkpoints(tmp_path / "made", 5), tmp_path / "out"
    measured(made, out)
    shutil.rmtree(made / "checkpoint-100")
    shutil.copytree(made / "checkpoint-500", made / "checkpoint-600")
    result = measured(made, out)
    assert (result.states[0].step, result.states[0].name) == (100, "checkpoint-100")
    assert (result.count("measured"), len(result.states)) == (1, 6)


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def without_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")


def indexed(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = {UP: "model-00001-of-00002.safetensors", DOWN: "model-00002-of-00002.safetensors"}
    index = str({"weight_map": names}).replace("'", '"')
    (folder / "model.safetensors.index.json").write_text(index)


@pytest.mark.parametrize(
    "spoil", [cut, without_shard, indexed, lambda f: (f / "model.safetensors").unlink()]
)
def test_what_is_half_written_waits(tmp_path, spoil, analysed):
    made, out = checkpoints(tmp_path / "made", 3), tmp_path / "out"
    whole = shutil.copytree(made / "checkpoint-300", tmp_path / "whole")
    spoil(made / "checkpoint-300")
    result = measured(made, out)
    assert [state.state for state in result.states] == ["measured", "measured", "skipped"]
    assert result.states[2].reason
    assert analysed == ["100", "200"]
    shutil.rmtree(made / "checkpoint-300")
    shutil.move(whole, made / "checkpoint-300")
    assert [s.state for s in measured(made, out).states] == ["kept", "kept", "measured"]


def test_nothing_to_measure(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="has no checkpoints"):
        measured(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    made = checkpoints(tmp_path / "made", 1)
    cut(made / "checkpoint-100")
    with pytest.raises(SourceError, match="no checkpoint that is whole: checkpoint-100"):
        measured(made, tmp_path / "out")


def test_another_series_is_refused(tmp_path):
    out = tmp_path / "out"
    measured(checkpoints(tmp_path / "made", 2), out)
    with pytest.raises(ResultError, match=r"holds the series of .*made"):
        measured(checkpoints(tmp_path / "other", 2), out)
    with pytest.raises(ResultError, match="holds a run of `mlx-probe analyze`"):
        measured(tmp_path / "made", out / "steps" / "000000100")


def test_other_settings_are_refused_or_measured_again(tmp_path, analysed):
    made, out = checkpoints(tmp_path / "made", 2), tmp_path / "out"
    measured(made, out)
    basic = replace(CONFIG, analysis=AnalyzeConfig(workers=2, metrics="basic"))
    with pytest.raises(ConfigError, match="--metrics standard, and is now asked for with basic"):
        measured(made, out, basic)
    assert measured(made, out, replace(basic, overwrite=True)).count("measured") == 2
    assert len(analysed) == 4


def test_other_columns_need_no_measurement(tmp_path, analysed):
    made, out = checkpoints(tmp_path / "made", at=5), tmp_path / "out"
    measured(made, out)
    result = measured(made, out, replace(CONFIG, columns=("nuclear_norm",)))
    assert {change["column"] for change in result.meta["changes"]} == {"nuclear_norm"}
    assert len(analysed) == 8
    with pytest.raises(ConfigError, match="no metric") as refused:
        measured(made, out, replace(CONFIG, columns=("nuclear_nrm",)))
    assert "nuclear_norm" in refused.value.remedy


def test_nan_and_missing_tensors(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {UP: rng.standard_normal((8, 6)), DOWN: rng.standard_normal((8, 6))}
    write_checkpoint(tmp_path / "made" / "step1", arrays)
    arrays[UP][0, 0] = np.nan
    write_checkpoint(tmp_path / "made" / "step2", arrays)
    write_checkpoint(tmp_path / "made" / "step3", {DOWN: arrays[DOWN]})
    findings = measured(tmp_path / "made", tmp_path / "out").findings
    assert [(f["rule"], f["evidence"]["step"], f["rows"]) for f in findings] == [
        ("nonfinite", 2, [UP]),
        ("tensors", 3, [UP]),
    ]


def test_a_killed_call_goes_on_at_its_row(tmp_path, monkeypatch):
    made, out = checkpoints(tmp_path / "made", 4), tmp_path / "out"
    child = os.fork()
    if not child:
        real, rows = Job.append_all, []

        def append_all(self, records):
            real(self, records)
            rows.extend(records)
            if len(rows) > 4:  # there are two for each checkpoint
                os.kill(os.getpid(), signal.SIGKILL)

        Job.append_all = append_all
        measured(made, out)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert SeriesFolder(out).steps() == [100, 200]
    before = written(out / "steps" / "000000200")
    result = measured(made, out)
    assert [state.state for state in result.states] == ["kept", "kept", "measured", "measured"]
    assert written(out / "steps" / "000000200") == before
    assert SeriesFolder(out).meta(300)["resumed_rows"] > 0
    assert SeriesFolder(out).meta(400)["resumed_rows"] == 0
    # As an undisturbed call says it.
    other = measured(made, tmp_path / "other")
    assert other.findings == result.findings


def test_follow(tmp_path):
    made, out = tmp_path / "made", tmp_path / "out"
    rounds = []

    class Trainer(Unseen):
        def waiting(self, last):
            rounds.append(last)
            checkpoints(made, len(rounds) + 1, first=len(rounds) + 1)

        def absent(self, reason):
            rounds.append(reason)

    drawn = []
    result = follow_series(
        [str(made)], out, CONFIG, Trainer(), drawn.append, until=400, interval=0.01
    )
    assert "does not exist" in rounds[0]
    assert [state.step for state in result.states][-1] == 400
    assert all(state.state == "measured" for state in result.states)
    assert len(drawn) == len(result.states)


def test_follow_ends_when_idle(tmp_path):
    made = checkpoints(tmp_path / "made", 2)
    result = follow_series(
        [str(made)], tmp_path / "out", CONFIG, Unseen(), idle=0.05, interval=0.01
    )
    assert result.count("measured") == 2


def test_the_command(tmp_path):
    made, out = checkpoints(tmp_path / "made", at=5), tmp_path / "out"
    done = invoke("series", made, "--out", out, "--workers", "1")
    assert done.exit_code == 0, done.output
    assert "8 checkpoints, steps 100 to 800: 8 measured now" in done.output
    assert "rank of model.layers.0.mlp.up_proj.weight" in done.output
    assert (out / "report.html").is_file()
    said = invoke("report", out, "--terminal")
    assert "falls from 10 to 3" in said.output
    found = read_experiment(out)
    assert (found.kind, found.state, found.metrics["steps"]) == ("series", "finished", 8.0)
    refused = invoke("series", made, "--out", out, "--until", "3")
    assert refused.exit_code == 2
    assert "--follow" in refused.output


def test_a_scan_finds_one_run(tmp_path):
    measured(checkpoints(tmp_path / "made", 2), tmp_path / "out")
    assert [path.parent.name for path in find_markers(tmp_path)] == ["out"]


def test_revisions_are_fetched_once(tmp_path, hub):
    checkpoints(tmp_path / "made", 2, names="step{}")
    hub.repos["owner/name"] = {
        made.name: {path.name: path.read_bytes() for path in made.iterdir()}
        for made in (tmp_path / "made").iterdir()
    }
    config = replace(CONFIG, revisions=("step*",))
    first = measure_series(["owner/name"], tmp_path / "out", config)
    assert [(s.step, s.name, s.state) for s in first.states] == [
        (100, "step100", "measured"),
        (200, "step200", "measured"),
    ]
    hub.requests.clear()
    again = measure_series(["owner/name"], tmp_path / "out", config)
    assert again.count("kept") == 2
    assert hub.requests == [("GET", "/api/models/owner/name/refs")]
    # A branch that moved is measured again.
    files = hub.repos["owner/name"].pop("step200")
    hub.generation = "later"
    hub.repos["owner/name"] = {"step200": files}
    assert measure_series(["owner/name"], tmp_path / "out", config).count("measured") == 1
