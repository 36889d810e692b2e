import pytest
from hypothesis import given
from hypothesis import strategies as st
from looks import GB, look

from mlx_probe.core.errors import ConfigError
from mlx_probe.runs.monitor.rules import (
    ACTIONS,
    DEFAULT_RULES,
    MARGIN,
    QUANTITIES,
    Reference,
    parse_rule,
)

HERE = Reference(memory=10 * GB, disk=200 * GB, copy_bandwidth=1e10)


@pytest.mark.parametrize(
    ("text", "limit", "action"),
    [
        ("memory above 90% pause", 9 * GB, "pause"),
        ("memory above 2.5GB warn", 2.5 * GB, "warn"),
        ("process above 50% stop", 5 * GB, "stop"),
        ("device above 1GiB warn", 2**30, "warn"),
        ("swap above 1GB stop", GB, "stop"),
        ("disk below 5GB stop", 5 * GB, "stop"),
        ("disk below 5% pause", 10 * GB, "pause"),
        ("bandwidth below 20% warn", 2e9, "warn"),
        ("bandwidth below 500MB/s stop", 5e8, "stop"),
        ("others above 60% pause", 60, "pause"),
        ("CPU  Above 95%  WARN", 95, "warn"),
    ],
)
def test_what_rules_say(text, limit, action):
    rule = parse_rule(text)
    assert rule.action == action
    assert rule.resolved(HERE).limit == pytest.approx(limit)
    assert parse_rule(rule.text) == rule


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a rule"),
        ("memory", "is not a rule"),
        ("memory above 90% pause now", "is not a rule"),
        ("memroy above 90% pause", "Did you mean 'memory'?"),
        ("memory above 90% puase", "Did you mean 'pause'?"),
        ("memory above 120% warn", "more than all"),
        ("memory above many warn", "no limit for memory"),
        ("memory above -1GB warn", "no limit for memory"),
        ("memory above nan% warn", "no limit for memory"),
        ("memory growing warn", "a rule about swap"),
        ("swap above 5% warn", "could be a share of"),
        ("device above 5% warn", "could be a share of"),
        ("cpu above 5GB warn", "Give 90%"),
        # These would never end, or end at once.
        ("bandwidth below 20% pause", "reads nothing"),
        ("process above 50% pause", "--memory-limit"),
        ("device above 5GB pause", "--memory-limit"),
        ("cpu above 95% pause", '"others"'),
    ],
)
def test_what_is_no_rule(text, says):
    with pytest.raises(ConfigError) as refusal:
        parse_rule(text)
    assert says in str(refusal.value)


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_refused(text):
    try:
        rule = parse_rule(text)
    except ConfigError:
        return
    assert rule.quantity in QUANTITIES
    assert rule.action in ACTIONS


def test_the_defaults_only_warn():
    assert {parse_rule(text).action for text in DEFAULT_RULES} == {"warn"}


@pytest.mark.parametrize("name", QUANTITIES)
def test_quantities_read_samples_and_are_described(name):
    quantity = QUANTITIES[name]
    assert quantity.description
    assert quantity.unit in ("bytes", "%")
    values = {
        "device_memory": 1,
        "read_speed": 1.0,
    }
    assert quantity.value(look(**values)) is not None


@given(
    st.sampled_from(["memory above 50% warn", "disk below 5GB warn"]),
    st.floats(0, 2, allow_nan=False),
)
def test_what_is_broken_stays_so_until_it_came_back_by_the_margin(text, share):
    rule = parse_rule(text).resolved(HERE)
    value = share * rule.limit
    beyond = share < 1 if rule.side == "below" else share > 1
    assert rule.is_broken(value, False) == (beyond and value != rule.limit)
    # Never kept with the margin and broken without.
    assert not (rule.is_broken(value, False) and not rule.is_broken(value, True))
    if abs(share - 1) > 2 * MARGIN:
        assert rule.is_broken(value, True) == beyond


def test_shares_of_what_is_not_known_are_no_limits():
    assert parse_rule("bandwidth below 20% warn").resolved(Reference()) is None
    assert parse_rule("memory above 90% warn").resolved(Reference()) is None
    assert parse_rule("others above 90% warn").resolved(Reference()) is not None
