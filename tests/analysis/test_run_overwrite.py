"""An --out that holds another run, or files of the user, is refused unless --overwrite is given."""

import json
from dataclasses import replace

import pytest
from models import interrupt_after, invoke, refuses
from tinymodel import comparable

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.validate import validate_run
from mlx_probe.core.errors import Interrupted, ResultError

pytestmark = pytest.mark.usefixtures("one_by_one", "here")

BASIC = AnalyzeConfig(backend="numpy", metrics="basic", workers=1, save_spectra=False)


def content(where):
    return {path: path.read_bytes() for path in where.rglob("*") if path.is_file()}


@pytest.mark.parametrize("out", ["out", "out/rows.csv"])
@pytest.mark.parametrize("change", ["model", "options", "content", "format"])
def test_out_with_another_finished_run_is_refused(tiny, model, here, out, change):
    mlx_probe.analyze(model, out=out, config=BASIC)
    before = content(here / "out")
    config, which, formats = BASIC, model, ()
    if change == "model":
        which, says = tiny, f"of {model.name} ({model})"
    elif change == "options":
        config, says = replace(BASIC, rank_tol=1e-3), "rank_tol: 1e-06, now 0.001"
    elif change == "content":
        weights = model / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        says = "before its weight files changed"
    else:
        formats, says = ["jsonl"], "as csv"
        if out.endswith(".csv"):
            # The file's own format is written in any case.
            assert mlx_probe.analyze(model, out=out, config=BASIC, formats=formats).passed
            return
    with pytest.raises(ResultError) as refusal:
        mlx_probe.analyze(which, out=out, config=config, formats=formats)
    assert says in refusal.value.fact
    assert "--overwrite" in refusal.value.remedy
    assert content(here / "out") == before
    run = mlx_probe.analyze(which, out=out, config=config, formats=formats, overwrite=True)
    assert all(check.passed for check in validate_run(run.meta_path))
    left = {path.name for path in run.folder.iterdir() if path.suffix != ".log"}
    stem = "rows." if out.endswith(".csv") else ""
    assert left == {
        f"{stem or 'params.'}{formats[0] if formats else 'csv'}",
        *(f"{stem}{name}" for name in ("run_meta.json", "plan.json", "monitor.parquet")),
    }


def test_the_same_run_again_replaces_itself(tiny):
    first = mlx_probe.analyze(tiny, out="out", config=BASIC)
    again = mlx_probe.analyze(tiny, out="out", config=replace(BASIC, workers=2))
    assert first.meta["fingerprint"] == again.meta["fingerprint"]
    assert comparable(again.load()).equals(comparable(first.load()))


def test_an_interrupted_replacement_goes_on_and_leaves_the_older_run_until_it_ends(tiny):
    mlx_probe.analyze(tiny, out="out", config=BASIC, formats=["parquet"])
    other = replace(BASIC, seed=3, metrics="standard")
    with pytest.raises(Interrupted):
        mlx_probe.analyze(
            tiny, out="out", config=other, overwrite=True, progress=interrupt_after(4)
        )
    assert mlx_probe.load_run("out").attrs["meta"]["configuration"]["metrics"] == "basic"
    with pytest.raises(ResultError, match="holds an unfinished run"):
        mlx_probe.analyze(tiny, out="out", config=BASIC, formats=["parquet"])
    run = mlx_probe.analyze(tiny, out="out", config=other)
    assert run.meta["resumed_rows"] == 4
    assert not (run.folder / "params.parquet").exists()
    assert all(check.passed for check in validate_run("out"))


@pytest.mark.parametrize("name", ["own.csv", "own.spectra.parquet", "own.run_meta.json"])
def test_a_file_that_no_run_wrote_is_refused(tiny, here, name):
    mine = here / name
    mine.write_text("mine")
    with pytest.raises(ResultError, match="no run of this name wrote it") as refusal:
        mlx_probe.analyze(tiny, out="own.csv", config=BASIC)
    assert name in refusal.value.fact
    assert [path.name for path in here.iterdir() if path.is_file()] == [name]
    assert mine.read_text() == "mine"
    assert mlx_probe.analyze(tiny, out="own.csv", config=BASIC, overwrite=True).passed


def test_a_table_of_another_name_s_run_is_refused(tiny, here):
    """A side table of own.csv would have the name of the other run's table."""
    mlx_probe.analyze(tiny, out="own.heads.csv", config=BASIC)
    before = content(here)
    with pytest.raises(ResultError, match=r"own\.heads\.csv exists"):
        mlx_probe.analyze(tiny, out="own.csv", config=BASIC)
    assert content(here) == before


@pytest.mark.parametrize(
    "listed",
    [
        {"outputs": {"../precious.csv": {}, "precious.docx": {}, "/etc/passwd": {}}},
        {"outputs": [{}], "configuration": [1], "models": {"a": 3}, "model": "x"},
        {"outputs": {}, "configuration": {"rank_tol": []}, "model": {"path": {}}},
    ],
)
def test_metadata_of_a_stranger_delete_nothing(tiny, here, listed):
    out = here / "out"
    out.mkdir()
    (out / "run_meta.json").write_text(json.dumps(listed))
    for name in ("precious.docx", "../precious.csv"):
        (out / name).write_text("mine")
    with pytest.raises(ResultError, match="holds"):
        mlx_probe.analyze(tiny, out=out, config=BASIC)
    assert mlx_probe.analyze(tiny, out=out, config=BASIC, overwrite=True).passed
    assert (out / "precious.docx").read_text() == (here / "precious.csv").read_text() == "mine"


def test_files_beside_a_named_table_are_left_alone(tiny, here):
    (here / "other.csv").write_text("mine")
    run = mlx_probe.analyze(tiny, out="own.csv", config=BASIC)
    assert (here / "other.csv").read_text() == "mine"
    assert all(check.passed for check in validate_run(run.meta_path))


def test_a_folder_of_the_user_is_refused(tiny, here):
    mine = here / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    refuses(
        invoke("analyze", tiny, "--out", mine, "--metrics", "basic"),
        "holds files that are not of a run: notes.txt",
        "--overwrite",
    )
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    assert (
        invoke("analyze", tiny, "--out", mine, "--metrics", "basic", "--overwrite").exit_code == 0
    )
    assert (mine / "notes.txt").read_text() == "mine"
    (check,) = [check for check in validate_run(mine) if check.name == "files"]
    assert (check.passed, check.detail) == (True, "also there: notes.txt")


def test_a_folder_of_other_runs_is_refused(tiny):
    mlx_probe.analyze(tiny, config=BASIC)
    with pytest.raises(ResultError, match="not of a run: 20"):
        mlx_probe.analyze(tiny, out="data/outputs/tiny", config=BASIC)


@pytest.mark.parametrize("name", ["params.jsonl", "heads.csv", "spectra.parquet"])
def test_validate_names_tables_of_another_run(tiny, name):
    run = mlx_probe.analyze(tiny, out="out", config=BASIC)
    (run.folder / name).write_text("old")
    (failed,) = [check for check in validate_run(run.folder) if not check.passed]
    assert failed.name == "files"
    assert name in failed.detail
    refuses(invoke("validate", run.folder), "1 of")
