"""Runs have folders of their own, and touch neither each other's files nor the user's."""

import json
from dataclasses import replace

import pytest
from models import Watcher, interrupt_after, invoke, refuses
from tinymodel import comparable

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.compare.checks import validate_comparison
from mlx_probe.analysis.compare.compare import compare
from mlx_probe.analysis.validate import validate_run
from mlx_probe.core.errors import Interrupted, ResultError
from mlx_probe.runs import claim, folder, latest
from mlx_probe.runs.monitor.follow import attach

pytestmark = pytest.mark.usefixtures("one_by_one")

BASIC = AnalyzeConfig(backend="numpy", metrics="basic", workers=1, save_spectra=False)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_second(monkeypatch):
    """All runs begin in the same second."""
    real = folder.datetime

    class Stopped(real):
        @classmethod
        def now(cls, zone=None):
            return real(2025, 1, 31, 8, 0, 0, tzinfo=zone)

    monkeypatch.setattr(folder, "datetime", Stopped)


def content(where):
    return {path: path.read_bytes() for path in where.rglob("*") if path.is_file()}


def test_every_run_has_its_own_folder_and_latest_is_the_last(tiny, here):
    runs = [mlx_probe.analyze(tiny, config=replace(BASIC, seed=seed)) for seed in (1, 2)]
    group = here / "data/outputs/tiny"
    assert len({run.folder for run in runs}) == 2
    assert all(run.folder.parent.resolve() == group for run in runs)
    assert all(folder.is_time_name(run.folder.name) for run in runs)
    link = group / "latest"
    assert str(link.readlink()) == runs[1].folder.name
    for path in (group, link, link / "run_meta.json", link / "params.csv", runs[1].folder):
        assert mlx_probe.load_run(path).attrs["meta"]["configuration"]["seed"] == 2
    assert mlx_probe.load_run(runs[0].folder).attrs["meta"]["configuration"]["seed"] == 1
    assert all(check.passed for check in validate_run(group))
    assert attach(str(group)).news()
    assert len(mlx_probe.load_samples(link))
    for command in ("validate", "report", "monitor"):
        assert invoke(command, group).exit_code == 0
    assert (runs[1].folder / "report.html").exists()


def test_runs_of_the_same_second_have_different_folders(tiny, monkeypatch):
    one_second(monkeypatch)
    names = [mlx_probe.analyze(tiny, config=BASIC).folder.name for _ in range(3)]
    first = "2025-01-31T08-00-00Z"
    assert names == [first, f"{first}-2", f"{first}-3"]
    assert sorted(names) == names


def test_runs_of_the_same_second_in_one_folder_have_different_logs(tiny, here, monkeypatch):
    one_second(monkeypatch)
    for name in ("a", "b", "c"):
        mlx_probe.analyze(tiny, out=f"out/{name}.csv", config=BASIC)
    logs = {path.name: path.read_text("utf-8") for path in (here / "out").glob("*.log")}
    start = "analyze_20250131T080000Z"
    assert set(logs) == {f"{start}.log", f"{start}-2.log", f"{start}-3.log"}
    assert all(text.count("written: ") == 1 for text in logs.values())
    for name in ("a", "b", "c"):
        assert all(check.passed for check in validate_run(here / "out" / f"{name}.csv"))


def test_a_new_folder_that_cannot_be_written_does_not_stay(tiny, here, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.tempfile, "NamedTemporaryFile", full)
    with pytest.raises(ResultError, match="cannot write"):
        mlx_probe.analyze(tiny, config=BASIC)
    assert list((here / "data/outputs/tiny").iterdir()) == []


def test_an_interrupted_run_is_found_among_others(tiny, here):
    with pytest.raises(Interrupted):
        mlx_probe.analyze(tiny, config=BASIC, progress=interrupt_after(5))
    (begun,) = (here / "data/outputs/tiny").iterdir()
    other = mlx_probe.analyze(tiny, config=replace(BASIC, rank_tol=1e-4))
    assert other.folder.name != begun.name
    # The run that is not finished is not the latest one.
    assert mlx_probe.load_run("data/outputs/tiny").attrs["meta"]["resumed_rows"] == 0
    again = mlx_probe.analyze(tiny, config=BASIC)
    assert again.folder.name == begun.name
    assert again.meta["resumed_rows"] == 5
    assert mlx_probe.analyze(tiny, config=BASIC).folder.name not in (begun.name, other.folder.name)


def test_only_an_unfinished_run_says_so_by_the_model_s_folder(tiny):
    with pytest.raises(Interrupted):
        mlx_probe.analyze(tiny, config=BASIC, progress=interrupt_after(2))
    with pytest.raises(ResultError, match="is not finished"):
        mlx_probe.load_run("data/outputs/tiny")


def test_no_resume_starts_over_in_the_folder_of_the_interrupted_run(tiny):
    with pytest.raises(Interrupted):
        mlx_probe.analyze(tiny, config=BASIC, progress=interrupt_after(2))
    (begun,) = (folder.DEFAULT_ROOT / "tiny").iterdir()
    run = mlx_probe.analyze(tiny, config=BASIC, resume=False)
    assert (run.folder.name, run.meta["resumed_rows"]) == (begun.name, 0)


def test_the_same_run_at_once_is_refused_and_another_is_not(tiny):
    seen = []

    def intrude(rows):
        if rows == 3:
            with pytest.raises(ResultError, match=r"another run is writing here \(pid \d+\)") as no:
                mlx_probe.analyze(tiny, config=BASIC)
            seen.append(no.value.remedy)
            seen.append(mlx_probe.analyze(tiny, config=replace(BASIC, rank_tol=1e-4)).folder)

    run = mlx_probe.analyze(tiny, config=BASIC, progress=Watcher(intrude))
    assert "mlx-probe monitor" in seen[0]
    assert seen[1] != run.folder
    assert len(list((folder.DEFAULT_ROOT / "tiny").glob("2*"))) == 2
    # The refused one left no file, not even a log.
    assert len(list(run.folder.glob("*.log"))) == 1


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


def test_comparisons_follow_the_same_rule(tiny, model, here):
    runs = [compare(tiny, model) for _ in range(2)]
    group = here / f"data/outputs/tiny--vs--{model.name}"
    assert {run.folder.parent.resolve() for run in runs} == {group}
    assert runs[0].folder != runs[1].folder
    assert (group / "latest").resolve() == runs[1].folder.resolve()
    assert all(check.passed for check in validate_comparison(group))
    mlx_probe.analyze(tiny, out="one", config=BASIC)
    with pytest.raises(ResultError, match="finished run of `mlx-probe analyze`"):
        compare(tiny, model, out="one")
    again = compare(tiny, model, out="one", overwrite=True)
    assert not (again.folder / "params.csv").exists()
    (again.folder / "compare.parquet").write_text("old")
    assert [c.name for c in validate_comparison(again.folder) if not c.passed] == ["files"]


def test_a_comparison_takes_runs_for_their_models(tiny, model):
    for path in (tiny, model):
        mlx_probe.analyze(path, out=f"of/{path.parent.name}", config=BASIC)
    mlx_probe.analyze(tiny, config=BASIC)
    run = compare(f"of/{model.parent.name}", "data/outputs/tiny")
    assert [side["path"] for side in run.meta["models"].values()] == [str(model), str(tiny)]


def test_a_running_job_is_followed_by_its_model_s_folder(tiny):
    seen = []

    def follow(rows):
        if rows == 3:
            seen.append(attach("data/outputs/tiny").view().job)

    run = mlx_probe.analyze(tiny, config=BASIC, progress=Watcher(follow))
    assert seen[0].folder == str(run.folder.absolute())


def test_without_links_latest_is_a_text_file(tiny, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(latest.Path, "symlink_to", refuse)
    run = mlx_probe.analyze(tiny, config=BASIC)
    link = folder.DEFAULT_ROOT / "tiny/latest"
    assert link.read_text("utf-8").strip() == run.folder.name
    assert "makes no links" in next(run.folder.glob("*.log")).read_text("utf-8")
    for path in (link, link.parent):
        assert mlx_probe.load_run(path).attrs["meta"] == json.loads(
            run.meta_path.read_text("utf-8")
        )


def test_without_latest_the_newest_finished_run_counts(tiny, monkeypatch):
    one_second(monkeypatch)
    for seed in (1, 2):
        last = mlx_probe.analyze(tiny, config=replace(BASIC, seed=seed))
    (last.folder.parent / "latest").unlink()
    (last.folder.parent / "2999-01-01T00-00-00Z").mkdir()
    assert mlx_probe.load_run(last.folder.parent).attrs["meta"]["configuration"]["seed"] == 2


def test_without_locks_new_folders_are_still_apart(tiny, monkeypatch):
    one_second(monkeypatch)

    def refuse(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(claim.fcntl, "flock", refuse)
    assert len({mlx_probe.analyze(tiny, config=BASIC).folder for _ in range(2)}) == 2


def test_a_resumed_run_counts_all_its_starts(tiny):
    for _ in range(2):
        with pytest.raises(Interrupted):
            mlx_probe.analyze(tiny, out="out", config=BASIC, progress=interrupt_after(4))
    meta = mlx_probe.analyze(tiny, out="out", config=BASIC).meta
    whole = mlx_probe.analyze(tiny, out="whole", config=BASIC).meta
    assert (meta["total"]["starts"], whole["total"]["starts"]) == (3, 1)
    this = sum(meta["seconds"][phase] for phase in ("open", "measure", "validate", "write"))
    assert meta["total"]["seconds"] > this
    # A tensor in flight when the run was interrupted is read again.
    assert meta["total"]["bytes_read"] >= whole["bytes_read"] > meta["bytes_read"]
    read = meta["total"]["stages"]["read"]
    assert read["bytes"] == meta["total"]["bytes_read"]
    assert read["seconds"] > meta["stages"]["read"]["seconds"]
