"""`mlx-probe runs` as a user types it."""

import json

import pytest
from experiment_runs import analysis, training
from models import invoke, refuses
from stores_on_disk import empty_home


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
