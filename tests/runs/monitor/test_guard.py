"""What samples lead to, sample by sample: no thread, no clock."""

import os
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from looks import GB, look

from mlx_probe.core.errors import Stopped
from mlx_probe.runs.monitor import Gate
from mlx_probe.runs.monitor.guard import REPEAT, Guard, describe_holders
from mlx_probe.runs.monitor.readings import Readings
from mlx_probe.runs.monitor.rules import GROWTH_SAMPLES, QUANTITIES, Reference, Rule, parse_rule
from mlx_probe.runs.monitor.sample import JobState

HERE = Reference(memory=10 * GB, disk=200 * GB, copy_bandwidth=1e10)


class Guarded:
    def __init__(self, *rules, reference=HERE):
        self.gate, self.messages = Gate(), []
        rules = [rule if isinstance(rule, Rule) else parse_rule(rule) for rule in rules]
        self.guard = Guard(
            rules,
            reference,
            self.gate,
            lambda text, is_warning: self.messages.append((text, is_warning)),
            lambda quantity, sample: f"who holds {quantity}",
        )
        self.seconds = 0

    def take(self, **values):
        self.seconds += 1
        return self.guard.take(look(self.seconds, **values))


def test_a_breach_pauses_at_once_and_resumes_when_it_is_over():
    guarded = Guarded("memory above 90% pause")
    states = []
    for used in (5, 9.5, 9.5, 8.9, 8.7, 5):
        guarded.take(memory_used=int(used * GB))
        states.append(guarded.gate.state)
    # 8.9 GB is below the limit, but not yet by the margin.
    assert states == ["running", "paused", "paused", "paused", "running", "running"]
    (begin, warned), (end, _) = guarded.messages
    assert warned
    assert begin == (
        'paused: memory at 95.0 % (9.5 GB) ("memory above 90% pause"); goes on when that is over'
    )
    assert end == 'goes on after 3 s: memory at 87.0 % (8.7 GB) ("memory above 90% pause")'


def test_a_warning_is_given_once_an_episode():
    guarded = Guarded("disk below 5GB warn")
    for free in (9, 4, 3, 5.05, 4, 6, 4):
        alerts = guarded.take(disk_free=int(free * GB))
    assert [text for text, is_warning in guarded.messages if is_warning] == [
        'disk at 4.0 GB ("disk below 5GB warn")'
    ] * 2
    assert alerts == ("disk below 5GB warn: 4.0 GB",)
    assert guarded.gate.state == "running"
    assert [e.describe()["seconds"] for e in guarded.guard.episodes] == [4.0, None]


def test_two_rules_pause_until_both_are_kept():
    guarded = Guarded("memory above 90% pause", "others above 60% pause")
    states = []
    for used, others in ((9.5, 10), (9.5, 80), (5, 80), (5, 10)):
        guarded.take(memory_used=int(used * GB), other_cpu=float(others))
        states.append(guarded.gate.state)
    assert states == ["paused", "paused", "paused", "running"]


def test_a_long_pause_has_a_message_every_minute_with_the_holder():
    guarded = Guarded("memory above 90% pause")
    for _ in range(int(3 * REPEAT) + 1):
        guarded.take(memory_used=int(9.5 * GB))
    reminders = [text for text, _ in guarded.messages[1:]]
    assert [text.split(":")[0] for text in reminders] == [
        f"paused for {n} minutes" for n in (1, 2, 3)
    ]
    assert all("who holds memory" in text and "Ctrl-C" in text for text in reminders)


def test_a_stop_names_rule_value_and_remedy():
    guarded = Guarded("disk below 5GB stop")
    guarded.take(disk_free=4 * GB)
    guarded.take(disk_free=3 * GB)
    with pytest.raises(Stopped) as stop:
        guarded.gate.wait()
    assert 'the rule "disk below 5GB stop": disk at 4.0 GB' in stop.value.fact
    assert "Free space on that disk" in stop.value.remedy
    assert "run the same command again" in stop.value.remedy
    assert len(guarded.messages) == 1
    assert stop.value.exit_code not in (0, 1, 2, 130)


def test_swap_grows_over_several_samples_and_trembling_is_no_growth():
    guarded = Guarded("swap growing warn")
    for used in (10, 10, 11, 10, 11, 10, 11):
        guarded.take(swap_used=used * 4096)
    assert guarded.messages == []
    for i in range(3):
        guarded.take(swap_used=GB + i * 400_000)
    assert len(guarded.messages) == 1
    for _ in range(GROWTH_SAMPLES + 1):
        alerts = guarded.take(swap_used=GB + 800_000)
    assert alerts == ()
    assert guarded.messages[-1][0].startswith("over after")
    # What falls does not grow.
    guarded.take(swap_used=0)
    assert len(guarded.messages) == 2


def test_a_bandwidth_that_nobody_knows_is_neither_slow_nor_fast():
    guarded = Guarded("bandwidth below 20% warn")
    assert guarded.take(read_speed=None) == ()
    assert len(guarded.take(read_speed=1e9)) == 1
    assert guarded.take(read_speed=None) == ("bandwidth below 20% warn",)
    assert guarded.take(read_speed=5e9) == ()
    assert guarded.messages[0][0].startswith("bandwidth at 10.0 % (1.0 GB/s)")


def test_a_quantity_that_is_no_longer_reported_ends_its_pause():
    guarded = Guarded("memory above 90% pause")
    guarded.take(memory_used=int(9.5 * GB))
    assert guarded.gate.state == "paused"
    guarded.take(memory_used=None)
    assert guarded.gate.state == "running"


def test_a_share_of_the_unknown_breaks_nothing():
    guarded = Guarded("memory above 1% stop", reference=Reference())
    assert guarded.take() == ()
    assert guarded.gate.state == "running"


def test_memory_that_is_really_allocated_pauses_and_freed_resumes():
    readings = Readings(JobState)
    before = readings.look("running").process_memory
    # Of this process and not of the machine, on which others work as well.
    limit = before + 150_000_000
    guarded = Guarded(Rule("process", "above", limit, False, "pause", "process above x pause"))
    guarded.guard.take(readings.look("running"))
    assert guarded.gate.state == "running"
    ballast = np.ones(40_000_000)
    guarded.guard.take(readings.look("running"))
    assert guarded.gate.state == "paused"
    del ballast
    guarded.guard.take(readings.look("paused"))
    assert guarded.gate.state == "running"


@pytest.mark.parametrize("name", [n for n, q in QUANTITIES.items() if not q.why_no_pause])
def test_who_holds_what_a_job_waits_for(name):
    said = describe_holders(name, look(process_memory=3 * GB))
    if name == "disk":
        assert "deleted" in said
    elif name != "others":
        assert said.startswith("this process holds 3.0 GB")


class Process:
    def __init__(self, pid, name, rss, cpu=0.0):
        memory = None if rss is None else SimpleNamespace(rss=rss)
        self.info = {"pid": pid, "name": name, "memory_info": memory, "cpu_percent": cpu}


def test_the_largest_other_process_is_named(monkeypatch):
    processes = [
        Process(os.getpid(), "python", 9 * GB, 300.0),
        Process(7, "small", GB, 90.0),
        Process(8, "x" * 4000, 4 * GB, 20.0),
        # Of another user's the system tells nothing.
        Process(9, None, None, None),
    ]
    monkeypatch.setattr(psutil, "process_iter", lambda names: iter(processes))
    said = describe_holders("memory", look(process_memory=3 * GB))
    large = "x" * 40
    assert said == (f"this process holds 3.0 GB, the largest other process, 8 ({large}), 4.0 GB")
    assert describe_holders("others", look()) == "the busiest other process is 7 (small)"
    monkeypatch.setattr(psutil, "process_iter", lambda names: iter(processes[:1]))
    assert describe_holders("swap", look(process_memory=GB)) == "this process holds 1.0 GB"
