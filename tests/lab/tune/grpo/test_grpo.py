"""From prompts to rewards: what is there, what is learned, the same bits after a stop."""

import json

import numpy as np
import pyarrow.parquet as parquet
import pytest
from repetitions import LONG
from tuning import TOOL, recipe, results_of, write_data

from mlx_probe.core.errors import ConfigError, Interrupted, ResultError
from mlx_probe.lab.about.card import model_card
from mlx_probe.lab.rewards.attempt import make_attempt
from mlx_probe.lab.rewards.total import make_judge
from mlx_probe.lab.train.step import TrainStep
from mlx_probe.lab.tune import memory
from mlx_probe.lab.tune.grpo import rounds
from mlx_probe.lab.tune.plan import plan_tuning
from mlx_probe.lab.tune.tune import tune

# Rewards of this file: a random model calls no function.
VOWELS, FAILING = f"{__name__}:vowels", f"{__name__}:failing"
SETTINGS = (
    "objective=grpo", "dropout=0", "prompts=2", "group=4", "answer_tokens=6", "batch=3",
    f'rewards=["{VOWELS}=1"]', "evaluation_prompts=2", "per_decade=1",
)  # fmt: skip


def vowels(attempt):
    """Share of the letters that are vowels: something that a random model can learn."""
    return sum(letter in "aeiou" for letter in attempt.text) / max(1, len(attempt.text))


def failing(attempt):
    raise RuntimeError("no idea")


def asks(number):
    call = {"type": "function", "function": {"name": "be", "arguments": {"n": number}}}
    return {
        "id": f"q{number}",
        "messages": [
            {"role": "user", "content": f"be {number}!{' please' * (number % 3)}"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ],
        "tools": [TOOL],
    }


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked")
    return write_data(folder, [asks(n) for n in range(7)], [asks(n) for n in range(20, 23)])


def run(talker, asked, folder, *changes):
    return tune(recipe(*SETTINGS, *changes), talker, asked, folder, device="cpu")


def table(folder, name):
    return parquet.read_table(folder / "rollouts" / f"{name}.parquet").to_pylist()


@pytest.fixture(scope="module")
def undisturbed(talker, asked, tmp_path_factory):
    return run(talker, asked, tmp_path_factory.mktemp("grpo") / "run")


def test_what_is_there(undisturbed, asked):
    folder, meta = undisturbed.folder, undisturbed.meta
    assert undisturbed.passed
    assert (meta["kind"], meta["objective"], meta["method"]) == ("tune", "grpo", "lora")
    assert {path.name for path in (folder / "rollouts").iterdir()} == {
        *(f"step-{step}.parquet" for step in range(1, 7)),
        *(f"valid-{step}.parquet" for step in (0, 3, 6)),
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines[1:]:
        rows = table(folder, f"step-{line['step']}")
        assert [row["answer"] for row in rows] == [0, 1, 2, 3] * (len(rows) // 4)
        assert line["reward"] == pytest.approx(np.mean([row["reward"] for row in rows]))
        assert line["kl"] == pytest.approx(np.mean([row["kl"] for row in rows]))
        assert line["answer_tokens"] == np.mean([len(row["tokens"]) for row in rows])
        for row in rows:
            assert row["reward"] == row[f"reward.{VOWELS}"] == vowels(row_attempt(row))
            assert len(row["tokens"]) == len(row["logprobs"]) == len(row["reference_logprobs"])
            assert row["old_logprobs"] is None
            assert row["is_finished"] or len(row["tokens"]) == 6
        rewards = np.array([row["reward"] for row in rows]).reshape(-1, 4)
        signs = np.sign(np.array([row["advantage"] for row in rows]).reshape(-1, 4))
        np.testing.assert_array_equal(
            signs, np.sign(np.round(rewards - rewards.mean(1, keepdims=True), 12))
        )
    # Before the first update the model is the one before tuning.
    assert max(row["kl"] for row in table(folder, "step-1")) < 1e-9
    assert min(line["kl"] for line in lines[3:]) > 1e-6
    assert lines[0]["val_reward"] == pytest.approx(
        np.mean([row["reward"] for row in table(folder, "valid-0")])
    )
    reward = meta["reward"]
    assert (reward["items"], reward["first"]) == (2, lines[0]["val_reward"])
    assert reward["second"] == lines[-1]["val_reward"] == meta["final"]["val_reward"]
    assert reward["interval"][0] <= reward["difference"] <= reward["interval"][1]
    assert "val_loss" not in meta["final"]
    assert meta["data"]["splits"]["train"]["examples"] == 7
    card = model_card(str(folder)).text
    assert "grpo.kl" in card
    assert "grpo" in card.split("---")[1]


def row_attempt(row):
    return make_attempt(row["text"], [], [])


def test_rewards_become_larger(talker, asked, tmp_path):
    settings = ("steps=12", "group=8", "learning_rate=2e-2", "temperature=0.1", "per_decade=0")
    done = run(talker, asked, tmp_path / "run", *settings)
    lines = [json.loads(line) for line in (done.folder / "metrics.jsonl").read_text().splitlines()]
    rewards = [line["reward"] for line in lines[1:]]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.2


class Killed(BaseException):
    """What a test kills a run with: nothing in the program expects it."""


PLACES = (("step", 2), ("step", 6), ("draw", 9), ("write", 4))
VARIANTS = {
    "plain": (),
    "twice": ("updates=2", "normalization=dr_grpo", "kl=0"),
    "full": ("updates=3", "method=full"),
}
# Every place, every variant; all pairs with `--long`.
OFTEN = {("plain", *place) for place in PLACES} | {("twice", "draw", 9), ("full", "step", 6)}
KILLED = [
    pytest.param(*each, marks=() if each in OFTEN else LONG)
    for each in ((variant, *place) for variant in VARIANTS for place in PLACES)
]


@pytest.fixture(scope="module")
def whole(talker, asked, undisturbed, tmp_path_factory):
    """A variant's run that nobody disturbed."""
    made = {"plain": undisturbed}

    def whole(variant):
        if variant not in made:
            folder = tmp_path_factory.mktemp(variant) / "run"
            made[variant] = run(talker, asked, folder, *VARIANTS[variant])
        return made[variant]

    return whole


@pytest.mark.parametrize(("variant", "place", "call"), KILLED)
def test_killed_runs_go_on_with_the_same_bits(
    talker, asked, whole, tmp_path, monkeypatch, variant, place, call
):
    wanted, changes = whole(variant), VARIANTS[variant]
    where, name = {
        "step": (TrainStep, "__call__"),
        "draw": (rounds.Player, "play"),
        "write": (rounds.RolloutStore, "write"),
    }[place]
    made, count = getattr(where, name), 0

    def dies(self, *arguments):
        nonlocal count
        count += 1
        if count == call:
            raise Killed
        return made(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(where, name, dies)
        with pytest.raises(Killed):
            run(talker, asked, tmp_path / "b", *changes)
    again = run(talker, asked, tmp_path / "b", *changes)
    assert results_of(again.folder) == results_of(wanted.folder)
    for path in (wanted.folder / "rollouts").iterdir():
        assert (again.folder / "rollouts" / path.name).read_bytes() == path.read_bytes()


def test_a_stop_while_answers_are_drawn_loses_nothing(
    talker, asked, undisturbed, tmp_path, monkeypatch
):
    import os
    import signal

    made, count = rounds.Player.play, 0

    def stops(self, *arguments):
        nonlocal count
        count += 1
        if count == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return made(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(rounds.Player, "play", stops)
        with pytest.raises(Interrupted, match="after step"):
            run(talker, asked, tmp_path / "b")
    again = run(talker, asked, tmp_path / "b")
    assert results_of(again.folder) == results_of(undisturbed.folder)


def test_a_damaged_round_is_named(talker, asked, tmp_path, monkeypatch):
    made, count = TrainStep.__call__, 0

    def dies(self, *arguments):
        nonlocal count
        count += 1
        if count == 3:
            raise Killed
        return made(self, *arguments)

    settings = ("updates=3", "checkpoint_every=1")
    with monkeypatch.context() as patched:
        patched.setattr(TrainStep, "__call__", dies)
        with pytest.raises(Killed):
            run(talker, asked, tmp_path / "run", *settings)
    (tmp_path / "run" / "rollouts" / "step-1.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ResultError, match=r"step-1\.parquet"):
        run(talker, asked, tmp_path / "run", *settings)


@pytest.mark.parametrize(("changes", "says"), [
    (("dropout=0.1",), "drawn without it"),
    (("accumulation=2",), "a whole round"),
    (("too_long=cut",), "asks for nothing"),
    (("group=1",), "compared with each other"),
    (("objective=sft", "dropout=0"), "train.objective is sft"),
    (('rewards=["vowels"]',), "NAME=WEIGHT"),
    (('rewards=["execution=1"]',), "no function may be run"),
    (("clip_low=2",), "at most 1"),
])  # fmt: skip
def test_settings_that_do_not_fit_together(changes, says):
    with pytest.raises(ConfigError, match=says):
        recipe(*SETTINGS, *changes)


@pytest.mark.parametrize(("rewards", "says"), [
    ('["nothing=1"]', "no reward is called"),
    ('["nowhere_at_all:score=1"]', "cannot be imported"),
    (f'["{FAILING}=1"]', "no idea"),
    ('["valid_json=0"]', "no reward has a weight"),
])  # fmt: skip
def test_rewards_that_cannot_be_had(talker, asked, tmp_path, rewards, says):
    with pytest.raises(ConfigError, match=says):
        run(talker, asked, tmp_path / "run", f"rewards={rewards}")


def test_prompts_that_leave_no_room(talker, tmp_path):
    long = asks(3)
    long["messages"][0]["content"] = "to be " * 400
    broken = asks(4)
    broken["messages"][1]["tool_calls"] = [{"function": {"name": 5}}]
    data = write_data(tmp_path / "data", [long, broken, asks(5)], [asks(6)])
    done = run(talker, data, tmp_path / "run", "steps=1")
    skipped = [
        json.loads(line) for line in (done.folder / "skipped.jsonl").read_text().splitlines()
    ]
    assert [(each["id"], each["reason"]) for each in skipped] == [
        ("q3", "too long"), ("q4", "its calls cannot be read"),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="leaves no room"):
        run(talker, data, tmp_path / "other", "max_tokens=6")


def test_calls_are_executed_where_functions_are_registered(talker, tmp_path):
    """A right answer earns all of it, through the same judge as in a run."""
    changes = ('rewards=["execution=1"]', "registered=built-in")
    grpo = recipe(*SETTINGS, *changes).grpo
    assert make_judge(grpo.weights).rewards.keys() == {"execution"}
    add = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    entry = asks(1)
    entry["tools"] = [add]
    entry["messages"][1]["tool_calls"][0]["function"] = {
        "name": "add", "arguments": {"a": 1, "b": 2},
    }  # fmt: skip
    data = write_data(tmp_path / "data", [entry], [entry])
    done = run(talker, data, tmp_path / "run", "steps=1", *changes)
    assert {row["reward.execution"] for row in table(done.folder, "step-1")} == {0.0}


def test_what_does_not_fit_is_refused_with_what_to_change(talker, asked, monkeypatch):
    settings = recipe(*SETTINGS, "batch=8")
    needed = plan_tuning(settings, talker, asked, "cpu")
    assert needed.objective == "grpo"
    assert needed.epochs == pytest.approx(6 * 2 / 7)
    small = plan_tuning(recipe(*SETTINGS, "batch=1"), talker, asked, "cpu").memory.total
    monkeypatch.setattr(memory, "available_memory", lambda gpu: small + 1000)
    plan = plan_tuning(settings, talker, asked, "cpu")
    assert not plan.fits
    assert "train.accumulation" not in plan.remedy
    monkeypatch.setattr(memory, "available_memory", lambda gpu: 1000)
    assert "grpo." in plan_tuning(settings, talker, asked, "cpu").remedy
