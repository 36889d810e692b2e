"""`mlx-probe runs reproduce`: the same again, to the bit, or what differs."""

import json
import sys

import numpy as np
import pytest
import training_runs
from models import invoke, refuses, write_single


@pytest.fixture(autouse=True)
def catalog(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CATALOG", str(tmp_path / "catalog.sqlite"))


def weights(seed=0):
    rng = np.random.default_rng(seed)
    return {f"w{i}": rng.standard_normal((12, 8)).astype(np.float32) for i in range(3)}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A measurement, by a command with a relative path, and with a quote in its folder."""
    work = tmp_path / "it's here"
    write_single(work / "model", weights())
    monkeypatch.chdir(work)
    result = invoke("analyze", "model", "--out", "run", "--metrics", "basic", "-q")
    assert result.exit_code == 0, result.output
    monkeypatch.chdir(tmp_path)
    return work / "run"


def test_printed_and_made_again(run, tmp_path):
    said = invoke("runs", "reproduce", run).stdout
    folder = "'" + str(run.parent).replace("'", "'\"'\"'") + "'"
    assert said.startswith(f"cd {folder} && ")
    assert "mlx-probe analyze model --out run --metrics basic -q\n" in said
    out = tmp_path / "again"
    result = invoke("runs", "reproduce", run, "--run", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["results"]["same"]
    assert found["results"]["equal"]
    assert found["results"]["out"] == str(out / "run_meta.json")
    kinds = {each["what"] for each in found["results"]["compared"]}
    assert kinds == {"metric", "column"}
    assert "Equal to the bit" in invoke("runs", "reproduce", run, "--against", out).stdout
    refuses(invoke("runs", "reproduce", run, "--run", "--out", out), "is not empty")


def test_a_changed_model(run, tmp_path):
    write_single(tmp_path / "other", weights(1))
    model = run.parent / "model" / "model.safetensors"
    (tmp_path / "other" / "model.safetensors").replace(model)
    refused = invoke("runs", "reproduce", run, "--run")
    refuses(refused, "is not what the run was made with", str(model), "--anyway", code=2)
    assert "may change the results" in invoke("runs", "reproduce", run).stdout
    result = invoke("runs", "reproduce", run, "--run", "--anyway")
    assert result.exit_code == 1
    assert "column std: largest difference" in result.stdout
    assert "results differ" in result.stderr
    # Beside the run, where no name was given.
    again = run.with_name("run-again")
    assert (again / "run_meta.json").is_file()
    options = ("--against", again, "--tolerance", "1e9", "--json")
    found = json.loads(invoke("runs", "reproduce", run, *options).stdout)
    assert found["results"]["same"]
    assert not found["results"]["equal"]


def change(run, **keys):
    path = run / "run_meta.json"
    meta = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**meta, **keys}), "utf-8")


def test_other_versions_are_refused(run):
    meta = json.loads((run / "run_meta.json").read_text("utf-8"))
    environment = {**meta["environment"], "packages": {"numpy": "0.1", "rich": "0.2"}}
    change(run, environment=environment, code_version="0.0.9", code="a" * 40)
    found = json.loads(invoke("runs", "reproduce", run, "--json").stdout)
    differences = {each["name"]: each for each in found["differences"]}
    assert differences["package numpy"]["before"] == "0.1"
    assert [differences[name]["matters"] for name in ("package numpy", "mlx-probe")] == [True] * 2
    assert not differences["package rich"]["matters"]
    refuses(invoke("runs", "reproduce", run, "--run"), "package numpy (0.1, now", code=2)
    refuses(invoke("runs", "reproduce", run, "--python", sys.prefix), "no mlx-probe", code=2)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"command": ["script.py", "x"]}, "does not say which command"),
        ({"command": ["mlx-probe", "rm", "-rf"]}, "does not say which command"),
        ({"working_folder": "/nowhere"}, "not there"),
        ({"command": ["mlx-probe", "analyze", "--token", "<hidden>"]}, "has a secret"),
        ({"kind": "unknown"}, "does not know"),
        ({"variables": 3, "environment": [], "stamps": "x", "model": []}, ""),
    ],
)
def test_strange_metadata(run, keys, says):
    change(run, **keys)
    if not says:
        assert invoke("runs", "reproduce", run).exit_code == 0
        return
    result = invoke("runs", "reproduce", run, "--run", "--anyway")
    refuses(result, says, code=result.exit_code or -1)


def test_options_that_do_not_fit(run, tmp_path):
    refuses(invoke("runs", "reproduce", run, "--out", "x"), "--out without --run", code=2)
    both = ("--run", "--against", run)
    refuses(invoke("runs", "reproduce", run, *both), "--run with --against", code=2)
    refuses(invoke("runs", "reproduce", tmp_path / "none"), "no run")
    begun = training_runs.make_run(tmp_path / "begun", snapshots=(), finished=False)
    assert "not known" in invoke("runs", "reproduce", begun).stdout
    refuses(invoke("runs", "reproduce", begun, "--run"), "no results")


def test_a_command_that_fails(run, monkeypatch):
    change(run, command=["mlx-probe", "analyze", "gone"])
    refuses(invoke("runs", "reproduce", run, "--run"), "exit code 1")
