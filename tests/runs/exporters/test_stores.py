"""trackio, MLflow, CSV: read back by their own readers."""

import csv
import math
import sqlite3

import pytest
from exported_runs import FINALS, PARAMS, STEPS, exported, points, same

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.runs.exporters import EXPORTERS, mlflow, trackio

pytestmark = pytest.mark.slow
LARGEST = 1.7976931348623157e308


class TrackioReader:
    """trackio's own: `trackio.Api` lists runs, its storage gives their numbers."""

    def __init__(self, out):
        self._out = out

    def read(self):
        import trackio as library

        with trackio._storage(self._out) as storage:
            found = []
            for run in library.Api().runs("mlx-probe"):
                logs = storage.get_logs("mlx-probe", run.name, run_id=run.id)
                numbers = {}
                for entry in logs:
                    for name in entry.keys() - {"step", "timestamp"}:
                        numbers.setdefault(name, []).append((entry["step"], float(entry[name])))
                found.append((run.name, run.config, numbers))
            return found

    @staticmethod
    def number(value):
        return value


class MlflowReader:
    """MLflow's own client."""

    def __init__(self, out):
        self._out = out

    def read(self):
        with mlflow._quiet():
            client, experiment = mlflow._open(self._out)
            return [
                (
                    run.info.run_name,
                    {**run.data.params, **run.data.tags, "status": run.info.status},
                    {
                        name: [
                            (each.step, each.value)
                            for each in client.get_metric_history(run.info.run_id, name)
                        ]
                        for name in run.data.metrics
                    },
                )
                for run in client.search_runs([experiment])
            ]

    @staticmethod
    def number(value):
        return math.copysign(LARGEST, value) if math.isinf(value) else value


READERS = {"trackio": TrackioReader, "mlflow": MlflowReader}


def expected(run, reader):
    return {
        name: [(step, reader.number(value)) for step, value in values]
        for name, values in points(run).items()
    }


@pytest.fixture(scope="module", params=READERS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def out(name, tmp_path_factory):
    """One store for all tests: MLflow takes seconds to make one."""
    return tmp_path_factory.mktemp(name)


@pytest.fixture
def only(name, out):
    """The one run of a name: config, numbers."""

    def read(run_name):
        (found,) = [each[1:] for each in READERS[name](out).read() if each[0] == run_name]
        return found

    return read


def test_a_run_is_read_back_once_however_often_it_is_exported(name, out, only):
    run = exported()
    EXPORTERS[name].write(exported(steps=STEPS[:2], tags=(), note=""), out)
    EXPORTERS[name].write(exported(identity="cd" * 16, name="other", steps=STEPS[:1]), out)
    EXPORTERS[name].write(run, out)
    EXPORTERS[name].write(run, out)
    config, numbers = only("shakespeare")
    assert same(numbers, expected(run, READERS[name]))
    # MLflow's settings are text.
    assert {key: str(config[key]) for key in PARAMS} == {k: str(v) for k, v in PARAMS.items()}
    assert len(only("other")[1]["val_loss"]) == 1


def test_settings_tags_and_notes_are_where_the_tool_has_them(name, out, only):
    EXPORTERS[name].write(exported(name="noted", identity="ef" * 16), out)
    config, _ = only("noted")
    if name == "mlflow":
        assert config["status"] == "FINISHED"
        assert config["mlflow.note.content"] == "The first one.\nLearns."
        assert config["tag.baseline"] == config["tag.paper 1"] == "true"
        assert config["mlx_probe.version"] == "0.1.0"
    else:
        assert config["tags"] == "baseline, paper 1"
        assert config["note"] == "The first one.\nLearns."
        assert config["_Created"] == "2023-11-14T22:13:20+00:00"


def test_a_run_without_steps_has_its_final_numbers_at_step_0(name, out, only):
    run = exported(name="measured", identity="01" * 16, kind="analyze", steps=())
    EXPORTERS[name].write(run, out)
    assert same(only("measured")[1], {each: [(0, value)] for each, value in FINALS.items()})


def test_a_log_goes_on_after_an_interruption_and_after_a_kill(name, out, only):
    def state(last, **changes):
        values = {"state": "running", "ended": None, "finals": {}, "steps": STEPS[:last]}
        return exported(name="live", identity="23" * 16, **{**values, **changes})

    open_log = EXPORTERS[name].open_log
    log = open_log(state(1), out)
    log.log(STEPS[1])
    log.log(STEPS[2])
    log.close(state(3, state="interrupted"))
    assert same(only("live")[1], expected(state(3), READERS[name]))
    # It stopped in good order: the store has what the run has, or less.
    log = open_log(state(4), out)
    log.log({"step": 301, "train_loss": 7.75})
    log.close(state(4, state="interrupted"))
    # It was killed: step 301 is made again.
    log = open_log(state(4), out)
    log.log(STEPS[4])
    log.close(state(5, state="finished", ended=1_700_000_003.0, finals=FINALS))
    assert same(only("live")[1], expected(exported(), READERS[name]))
    # A folder's new run is another one.
    other = exported(name="live2", identity="45" * 16, state="running", finals={}, steps=())
    log = open_log(other, out)
    log.log(STEPS[0])
    log.close(other)
    assert len(only("live2")[1]["val_loss"]) == 1


def test_a_store_that_cannot_be_written_is_named(name, tmp_path):
    out = tmp_path / "store"
    out.mkdir()
    for file in ("mlflow.db", "mlx-probe.db"):
        (out / file).write_bytes(b"no database, and longer than a header of one" * 100)
    with pytest.raises(ResultError, match=r"cannot write .*\.db: "):
        EXPORTERS[name].write(exported(), out)
    (tmp_path / "file").touch()
    with pytest.raises(ResultError, match="cannot write"):
        EXPORTERS[name].write(exported(), tmp_path / "file")


def test_a_path_that_mlflow_cannot_address_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has a \\?, which MLflow takes for the end"):
        EXPORTERS["mlflow"].write(exported(), tmp_path / "a?b")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_extra(name, tmp_path, monkeypatch):
    import sys

    package = {"mlflow": "mlflow.tracking", "trackio": "trackio"}[name]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"pip install 'mlx-probe\[{name}\]'"):
        EXPORTERS[name].write(exported(), tmp_path)


def test_csv_has_rows_for_steps_and_a_file_for_the_rest(tmp_path):
    run = exported()
    folder = EXPORTERS["csv"].write(run, tmp_path)
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    read = [{k: float(v) for k, v in row.items() if v} for row in rows]
    kept = [{k: float(v) for k, v in row.items() if v is not None} for row in STEPS]
    assert repr([sorted(row.items()) for row in read]) == repr(
        [sorted(row.items()) for row in kept]
    )
    with (folder / "run.csv").open(newline="") as file:
        about = {(row["section"], row["name"]): row["value"] for row in csv.DictReader(file)}
    assert about["setting", "data.sources"] == PARAMS["data.sources"]
    assert about["run", "note"] == "The first one.\nLearns."
    assert float(about["final", "best_val_loss"]) == 5.25


def test_csv_follows_a_run_whose_numbers_become_more(tmp_path):
    log = EXPORTERS["csv"].open_log(exported(steps=STEPS[:1], finals={}), tmp_path)
    for values in STEPS[1:]:
        log.log(values)
    log.close(exported())
    live = (tmp_path / exported().slug / "metrics.csv").read_text()
    EXPORTERS["csv"].write(exported(), tmp_path)
    assert (tmp_path / exported().slug / "metrics.csv").read_text() == live


@pytest.mark.parametrize("each", EXPORTERS)
def test_a_run_without_a_number_is_refused(each, tmp_path):
    with pytest.raises(ResultError, match=r"/runs/shakespeare has no numbers yet \(running\)"):
        EXPORTERS[each].write(exported(steps=(), finals={}, state="running"), tmp_path)


def test_databases_are_sound(name, out):
    file = {"mlflow": "mlflow.db", "trackio": "mlx-probe.db"}[name]
    with sqlite3.connect(out / file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
