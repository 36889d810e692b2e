"""Runs have folders of their own, and touch neither each other's files nor the user's."""

import io
import json
from dataclasses import replace

import pytest
from models import Watcher, interrupt_after, invoke
from rich.console import Console

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.compare.checks import validate_comparison
from mlx_probe.analysis.compare.compare import compare
from mlx_probe.analysis.validate import validate_run
from mlx_probe.core.errors import Interrupted, ResultError
from mlx_probe.library.catalog.runs import find_runs
from mlx_probe.report.facts import run_facts
from mlx_probe.report.run_data import load_run_data
from mlx_probe.report.terminal.cost import cost_text
from mlx_probe.runs import claim, folder, latest
from mlx_probe.runs.monitor.follow import attach

pytestmark = pytest.mark.usefixtures("one_by_one", "here")

BASIC = AnalyzeConfig(backend="numpy", metrics="basic", workers=1, save_spectra=False)


def one_second(monkeypatch):
    """All runs begin in the same second."""
    real = folder.datetime

    class Stopped(real):
        @classmethod
        def now(cls, zone=None):
            return real(2025, 1, 31, 8, 0, 0, tzinfo=zone)

    monkeypatch.setattr(folder, "datetime", Stopped)


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


def test_an_interrupted_comparison_is_found(tiny, model):
    def stop(done, total, label):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        compare(tiny, model, on_row=stop)
    (begun,) = (folder.DEFAULT_ROOT / f"tiny--vs--{model.name}").iterdir()
    run = compare(tiny, model)
    assert run.folder.name == begun.name
    # Rows that were finished together with the fourth are kept as well.
    assert 4 <= run.meta["resumed_rows"] < len(mlx_probe.load_run(run.folder))
    assert run.meta["total"]["starts"] == 2


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


def said(text):
    console = Console(width=100, file=io.StringIO())
    console.print(text)
    return console.file.getvalue()


def test_a_resumed_run_counts_all_its_starts(tiny, here):
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
    # Wherever costs are shown, both are.
    text = said(cost_text(meta))
    assert text.index("this start") < text.index("limit: ") < text.index("all 3 starts: ")
    assert "starts" not in said(cost_text(whole))
    assert run_facts(load_run_data("out"))["all starts"].startswith("3, ")
    assert "all starts" not in run_facts(load_run_data("whole"))
    (stored,) = find_runs(here / "out")
    assert stored.analysis.facts["seconds"] == meta["total"]["seconds"]
