"""Which snapshots stay."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.backup import Keep, Snapshot
from mlx_probe.library.backup.retention import choose

BEGIN = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def at(hours, paths=("/a",)):
    time = (BEGIN + timedelta(hours=hours)).isoformat()
    return Snapshot(f"{hours:08}{paths[0][1:]}", time, "/", paths)


def kept(snapshots, **numbers):
    return {each.id: set(rules) for each, rules in choose(snapshots, Keep(**numbers))[0]}


def test_the_newest_of_each_period_stays():
    # Two a day for 70 days, at noon and at four.
    snapshots = [at(24 * day + hour) for day in range(70) for hour in (0, 4)]
    found = kept(snapshots, last=1, daily=3, weekly=2, monthly=2)
    newest = [at(24 * day + 4).id for day in (69, 68, 67)]
    assert {name for name, rules in found.items() if "daily" in rules} == set(newest)
    assert found[newest[0]] == {"last", "daily", "weekly", "monthly"}
    # 11 March 2026 is a Wednesday: the Sunday before it, and the last of February.
    assert found[at(24 * 66 + 4).id] == {"weekly"}
    assert found[at(24 * 58 + 4).id] == {"monthly"}
    assert len(found) == 5


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.sampled_from("ab")), unique=True, max_size=40),
    st.integers(1, 5),
)
def test_each_set_of_paths_keeps_its_own(moments, number):
    snapshots = [at(hours, (f"/{name}",)) for hours, name in moments]
    stay, go = choose(snapshots, Keep(last=number))
    assert sorted([each.id for each, _ in stay] + [each.id for each in go]) == sorted(
        each.id for each in snapshots
    )
    for name in "ab":
        of = sorted(each.id for each in snapshots if each.paths == (f"/{name}",))
        assert [each.id for each, _ in stay if each.paths == (f"/{name}",)] == of[-number:]


def test_nothing_to_keep_is_a_mistake():
    with pytest.raises(ConfigError, match="which snapshots to keep"):
        Keep().check()
