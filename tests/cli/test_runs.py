"""`mlx-probe runs` as a user types it."""

import json

import pytest
from experiment_runs import analysis, training, write_json
from models import invoke, refuses
from stores_on_disk import empty_home

from mlx_probe.runs.commands import COMMANDS
from mlx_probe.runs.experiments import RUN_KINDS


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return empty_home(monkeypatch, tmp_path / "home")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "runs"
    analysis(folder / "plain", model="Qwen/Qwen3-0.6B", day=1)
    training(folder / "wide", loss=3.0, lr=0.001, day=2)
    training(folder / "narrow", loss=2.5, lr=0.01, day=3)
    return folder


def runs(*arguments, **environment):
    result = invoke("runs", *arguments, **environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def done(*arguments, **environment):
    result = runs(*arguments, **environment)
    assert result.exit_code == 0, result.output
    return result.stdout


def names(*options):
    return [run["name"] for run in json.loads(done("list", "--json", *options))]


def test_nothing_is_known_yet(tmp_path):
    assert "runs scan" in done("list")
    assert json.loads(done("list", "--json")) == []
    assert "name folders that hold runs" in done("scan")
    refuses(runs("show", "x"), "no run 'x'", "runs scan")
    refuses(runs("scan", tmp_path / "nothing"), "is no folder", code=2)
    assert "runs scan" in done("list", "--where", "val_loss<3", "--sort", "val_loss")


def test_scan_list_and_show(root):
    assert "3 new" in done("scan", root)
    assert "3 as before" in done("scan")
    assert names() == ["narrow", "wide", "plain"]
    assert names("--where", "val_loss<2.9") == ["narrow"]
    assert names("--kind", "train", "--sort", "val_loss", "--reverse", "--limit", "1") == ["wide"]
    assert names("--since", "2026-05-02", "--until", "2026-05-02") == ["wide"]
    refuses(runs("list", "--where", "val_los<3"), "no run has 'val_los'", "val_loss", code=2)
    refuses(runs("list", "--kind", "trian"), "no kind 'trian'", "Use train", code=2)
    shown = done("show", "narrow")
    assert "train.lr" in shown
    assert "2.5" in shown
    assert json.loads(done("show", root / "narrow", "--json"))["metrics"]["val_loss"] == 2.5


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_table_fits(root, width):
    training(root / ("long-" * 20), day=4)
    done("scan", root)
    for line in done("list", "--metric", "val_loss", COLUMNS=str(width)).splitlines():
        assert len(line) <= width
    whole = done("list", COLUMNS=str(width))
    assert ("Qwen3" in whole) is (width == 200)


def test_metrics_that_a_list_is_about_have_columns(root):
    done("scan", root)
    listed = done("list", "--where", "val_loss<2.9")
    assert listed.splitlines()[1].split()[-1] == "val_loss"
    assert "2.5" in listed
    assert "result" in done("list")


def test_control_characters_are_shown_not_sent(root):
    analysis(root / "bad\x1b[31m[bold]", model="m\x1b]0;evil\x07", day=4)
    done("scan", root)
    for words in (("list",), ("show", root / "bad\x1b[31m[bold]")):
        shown = done(*words, COLUMNS="200")
        assert "\x1b" not in shown
        assert "[bold]" in shown


def test_in_chinese(root):
    done("scan", root)
    shown = done("list", MLX_PROBE_LANG="zh")
    assert "3 次运行" in shown
    result = runs("list", "--where", "val_los<3", MLX_PROBE_LANG="zh")
    assert "val_loss" in result.stderr
    assert "错误" in result.stderr


def test_compare_diff_and_best(root, tmp_path):
    done("scan", root)
    shown = done("compare", "wide", "narrow", COLUMNS="80")
    assert "train.lr" in shown
    assert "train.steps" not in shown
    assert "train.steps" in done("compare", "wide", "narrow", "--all")
    page = tmp_path / "new" / "page.html"
    assert done("compare", "wide", "narrow", "plain", "--out", page) == f"{page}\n"
    assert page.stat().st_size > 100_000
    refuses(runs("compare", "wide", "--out", "page.pdf"), "is no page", code=2)
    refuses(runs("compare", "wide", "narow"), "no run 'narow'", "narrow")
    shown = done("diff", "wide", "narrow")
    assert "-16.67%" in shown
    assert "2.5 *" in shown
    assert "nothing differs" in done("diff", "wide", "wide")
    assert "smallest val_loss: 2.5" in done("best", "--by", "val_loss")
    assert "largest val_loss: 3" in done("best", "--by", "val_loss", "--max")
    assert "runs without val_loss: 1" in done("best", "--by", "val_loss")
    refuses(runs("best", "--by", "alpha"), "larger or a smaller alpha", "--max or --min", code=2)


def of_kind(folder, kind, number):
    """A finished run with what the metadata of any kind have."""
    given = {"id": f"owner/{kind}", "revision": "c0", "path": ""}
    meta = {
        "kind": kind,
        "created_at": f"2026-05-0{number}T12:00:00+00:00",
        "command": ["mlx-probe", *COMMANDS[kind], "--seed", str(number)],
        "configuration": {"seed": number, "same": 1},
        "settings": {"seed": number, "same": 1},
        "recipe": {"train": {"seed": number}, "same": 1},
        **{"steps_done": 2, "planned_steps": 2, "final": {"val_loss": number}},
        **{"metrics": {"accuracy": number}, "rows_by_status": {"ok": number}, "loss": number},
        **{"model": given, "models": {"a": given, "b": given}, "base": given["id"]},
        "inputs": [{"role": "model", "name": given["id"]}],
        "files": [{"source": "calls", "sha256": "0"}],
        "data": {"sources": ["texts"]},
    }
    write_json(folder / "run_meta.json", meta)


@pytest.mark.parametrize("kind", RUN_KINDS)
def test_a_run_of_each_kind_is_found_listed_and_compared(kind, tmp_path):
    for number in (1, 2):
        of_kind(tmp_path / "runs" / f"{kind}-{number}", kind, number)
    assert "2 new" in done("scan", tmp_path / "runs")
    listed = json.loads(done("list", "--kind", kind, "--json"))
    assert [(run["name"], run["state"]) for run in listed] == [
        (f"{kind}-2", "finished"),
        (f"{kind}-1", "finished"),
    ]
    assert listed[0]["inputs"]
    assert listed[0]["command"][0] == "mlx-probe"
    compared = json.loads(done("compare", f"{kind}-1", f"{kind}-2", "--json"))
    assert [1, 2] in compared["differing"].values()
    assert 1 in compared["same"].values()
    assert [1.0, 2.0] in compared["metrics"].values()
    assert f"{kind}-2" in done("compare", f"{kind}-1", f"{kind}-2")


def test_tags_and_notes(root):
    done("scan", root)
    done("tag", "wide", "good", "paper")
    done("note", "wide", "a note")
    assert names("--tag", "good") == ["wide"]
    assert names("--where", "note~note") == ["wide"]
    assert "good paper" in done("list")
    assert done("note", "wide") == "a note\n"
    refuses(runs("tag", "wide", "two words"), "is no tag", code=2)
    refuses(runs("tag", "wide", "nothing", "--remove"), "no run here has the tag", code=2)
    done("tag", "wide", "paper", "--remove")
    done("note", "wide", "--remove")
    assert json.loads(done("show", "wide", "--json"))["tags"] == ["good"]
    assert done("note", "wide") == ""


def test_the_bin(root, tmp_path):
    done("scan", root)
    dry = done("rm", "plain", "--dry-run")
    assert "would be moved" in dry
    assert (root / "plain").exists()
    assert "runs restore" in done("rm", "plain")
    assert not (root / "plain").exists()
    assert "plain" in done("bin")
    refuses(runs("rm", "plain"), "is in the bin", "runs restore")
    assert done("restore", "plain") == f"{root / 'plain'}\n"
    refuses(runs("restore", "plain"), "no 'plain' in the bin", code=2)
    done("rm", "plain")
    refuses(runs("bin", "--empty"), "nothing was done", "--yes", code=2)
    assert "deleted: 1" in done("bin", "--empty", "--yes")
    assert names("--missing") == ["plain"]
    assert "forgotten: 1" in done("forget", "--missing")
    refuses(runs("forget"), "nothing to forget", code=2)
    done("forget", "--folder", root)
    refuses(runs("forget", "--folder", root), "is not among the folders", code=2)


def test_what_another_run_needs_is_not_removed(root):
    analysis(root / "read", model={"id": "x", "path": str(root / "wide" / "model")}, day=5)
    done("scan", root)
    refuses(runs("rm", "wide"), "is not moved: the run read", "--force")
    result = runs("rm", "wide", "--dry-run")
    assert (result.exit_code, "came from" in result.stdout) == (1, True)
    done("rm", "wide", "read")
    done("restore", "wide")
    done("restore", "read")
    assert "moved to the bin" in done("rm", "wide", "--force")


def test_lineage(root, tmp_path):
    assert "runs scan" in done("lineage")
    analysis(root / "read", model={"id": "x", "path": str(root / "wide" / "model")}, day=5)
    done("scan", root)
    tree = done("lineage", "read")
    assert tree.index("wide/model") < tree.index("texts")
    assert "what came from it" not in tree.lower()
    assert "read" in done("lineage", "wide/model")
    assert "Qwen/Qwen3-0.6B" in done("lineage", "qwen")
    assert "Qwen/Qwen3-0.6B" in done("lineage")
    page = tmp_path / "lineage.html"
    done("lineage", "--out", page)
    assert page.read_text("utf-8").count("<rect") == 8
    refuses(runs("lineage", "nothing"), "no run 'nothing'")
