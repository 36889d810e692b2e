"""Conditions, times, filters and orders."""

from datetime import datetime, timezone

import pytest
from experiment_runs import analysis, training
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError, ProbeError
from mlx_probe.library.experiments import (
    Selection,
    add_run_tags,
    load_runs,
    moment,
    parse_conditions,
    scan_experiments,
    select_runs,
    sort_runs,
)


@pytest.fixture
def runs(database, tmp_path):
    root = tmp_path / "runs"
    analysis(root / "plain", model="Qwen/Qwen3-0.6B", day=1)
    training(root / "wide", loss=3.0, lr=0.001, day=2)
    training(root / "narrow", loss=2.5, lr=0.01, day=3)
    training(root / "nameless", loss=2.0, lr="cosine", day=4, stopped_early=True)
    scan_experiments(database, [root])
    add_run_tags(database, [run for run in load_runs(database) if run.kind == "train"], ["Sweep"])
    return load_runs(database)


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (["val_loss<3"], ["nameless", "narrow"]),
        (["val_loss <= 3.0"], ["nameless", "narrow", "wide"]),
        (["val_loss>2 and val_loss<3"], ["narrow"]),
        (["val_loss>2", "val_loss<3"], ["narrow"]),
        (["metrics.val_loss=2.5"], ["narrow"]),
        (["val_loss==2.5"], ["narrow"]),
        (["config.train.lr=0.001"], ["wide"]),
        (["train.lr=1e-3"], ["wide"]),
        (["train.lr=cosine"], ["nameless"]),
        (["train.lr>0.001"], ["narrow"]),
        (["train.lr!=0.001"], ["nameless", "narrow"]),
        (["kind=ANALYZE"], ["plain"]),
        (["kind != analyze and name~NAR"], ["narrow"]),
        (['name="wide"'], ["wide"]),
        (["name='nar and row'"], []),
        (['state="stopped early"'], ["nameless"]),
        (["state=stopped early"], ["nameless"]),
        (["created>=2026-05-03"], ["nameless", "narrow"]),
        (["seconds>1"], ["plain"]),
        (["seconds=null"], ["nameless", "narrow", "wide"]),
        (["seconds!=null"], ["plain"]),
        (["model~qwen"], ["plain"]),
    ],
)
def test_conditions(runs, conditions, names):
    chosen = select_runs(runs, Selection(conditions=parse_conditions(conditions)))
    assert [run.name for run in chosen] == names


@pytest.mark.parametrize(
    ("text", "fact", "remedy"),
    [
        ("val_los<3", "no run has 'val_los'", "val_loss"),
        ("lr<3", "no run has 'lr'", "train.lr"),
        ("config.val_loss<3", "no run has 'config.val_loss'", "val_loss"),
        ("zzzzqqq<3", "no run has 'zzzzqqq'", "config.train.steps"),
        ("val_loss", "is no condition", "val_loss<3.2"),
        ("val_loss<", "is no condition", "NAME"),
        ("val_loss<3 and", "is no whole condition", "NAME"),
        ("val_loss<3 <4", "is no condition", "NAME"),
        ("", "is no whole condition", "NAME"),
        ("__import__('os')", "is no condition", "NAME"),
    ],
)
def test_wrong_conditions(runs, text, fact, remedy):
    with pytest.raises(ConfigError, match=fact.replace("(", ".")) as e:
        select_runs(runs, Selection(conditions=parse_conditions([text])))
    assert remedy in e.value.remedy


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_refused(text):
    try:
        (first, *_) = parse_conditions([text])
    except ProbeError:
        return
    assert first.name
    assert first.operator in ("<", "<=", ">", ">=", "=", "!=", "~")


@given(
    st.from_regex(r"[a-z_.]{1,12}", fullmatch=True),
    st.sampled_from(["<", "<=", ">", ">=", "=", "!="]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_numbers_are_compared_as_python_does(name, sign, wanted, value):
    (condition,) = parse_conditions([f"{name}{sign}{wanted!r}"])
    assert (condition.name, condition.operator) == (name, sign)
    meaning = {"=": "=="}.get(sign, sign)
    assert condition.holds(value) is eval(f"{value!r} {meaning} {wanted!r}")


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ({"kinds": ("train",)}, ["nameless", "narrow", "wide"]),
        ({"kinds": ("train", "analyze")}, ["nameless", "narrow", "wide", "plain"]),
        ({"model": "qwen"}, ["plain"]),
        ({"tags": ("sweep",)}, ["nameless", "narrow", "wide"]),
        ({"states": ("stopped early",)}, ["nameless"]),
        (
            {"since": moment("2026-05-02"), "until": moment("2026-05-03", is_end=True)},
            ["narrow", "wide"],
        ),
        ({"missing": True}, []),
    ],
)
def test_filters(runs, selection, names):
    assert [run.name for run in select_runs(runs, Selection(**selection))] == names


@pytest.mark.parametrize(
    ("selection", "text"),
    [({"kinds": ("trian",)}, "train"), ({"states": ("finish",)}, "finished")],
)
def test_unknown_words_are_refused(runs, selection, text):
    with pytest.raises(ConfigError) as e:
        select_runs(runs, Selection(**selection))
    assert text in e.value.remedy


@pytest.mark.parametrize(
    ("by", "reverse", "names"),
    [
        ("", False, ["nameless", "narrow", "wide", "plain"]),
        ("", True, ["plain", "wide", "narrow", "nameless"]),
        ("val_loss", False, ["nameless", "narrow", "wide", "plain"]),
        ("val_loss", True, ["wide", "narrow", "nameless", "plain"]),
        ("train.lr", False, ["wide", "narrow", "nameless", "plain"]),
        ("name", False, ["nameless", "narrow", "plain", "wide"]),
    ],
)
def test_orders(runs, by, reverse, names):
    assert [run.name for run in sort_runs(runs, runs, by, reverse)] == names


def test_an_unknown_order_is_refused(runs):
    with pytest.raises(ConfigError, match="no run has 'val_lose'"):
        sort_runs(runs, runs, "val_lose")


@pytest.mark.parametrize(
    ("text", "is_end", "meant"),
    [
        ("2026-05-31", False, "2026-05-31T00:00:00+00:00"),
        ("2026-05-31", True, "2026-06-01T00:00:00+00:00"),
        ("2026-05-31T14:00", True, "2026-05-31T14:00:00+00:00"),
        ("2026-05-31T14:00:00+02:00", False, "2026-05-31T12:00:00+00:00"),
        ("7d", False, "2026-05-24T08:00:00+00:00"),
        ("12H", False, "2026-05-30T20:00:00+00:00"),
        ("2w", False, "2026-05-17T08:00:00+00:00"),
    ],
)
def test_times(text, is_end, meant):
    now = datetime(2026, 5, 31, 8, tzinfo=timezone.utc)
    assert moment(text, is_end, now) == meant


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "999999w", "7 parsecs", ""])
def test_what_is_no_time(text):
    with pytest.raises(ConfigError, match="is no time"):
        moment(text)
