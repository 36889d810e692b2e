"""A case: an architecture, what is expected of its heads, and the judge."""

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from referees.architectures.outcomes import RIGHT, matches, outcomes
from referees.tally import OUTCOME, REASON

# Expectations: the kind of an outcome (see `Outcomes`), and a pattern of its words.
NORMED = "left out: norm of queries or keys"
VALUES_NORMED = "left out: norm of values"
GATED = "left out: gate before W_o"
CLIPPED = "left out: clipped queries, keys and values"
NOT_CLIPPED = "noted: clipped queries, keys and values"
CAPPED = "noted: soft cap of scores"
TEMPERATURE = "noted: temperature by position"
UNKNOWN = "left out: unknown"
LATENT = "skipped: latent"
LINEAR = "skipped: linear attention"
OTHER_SHAPES = "skipped: contradict"
SEVERAL = "skipped: several"
SHARED = "skipped: an earlier layer"


@dataclass(frozen=True)
class Case:
    """An architecture of transformers and what must be said of it.

    Attributes:
        architecture: The class.
        options: Settings of its configuration, besides the tiny sizes.
        qk: Expected outcomes of the QK circuit, over all layers.
        ov: Expected outcomes of the OV circuit.
        gate: Whether it has a fused gate whose parts are compared with what it activates.
    """

    architecture: str
    options: dict[str, Any] = field(default_factory=dict)
    qk: tuple[str, ...] = (RIGHT,)
    ov: tuple[str, ...] = (RIGHT,)
    gate: bool = False

    def __str__(self):
        name = re.sub(r"(For[A-Z]\w+|LMHeadModel|TextModel|WithLM.*)\Z", "", self.architecture)
        settings = (f"{key}={value}" for key, value in self.options.items())
        return ", ".join((name, *(s for s in settings if len(s) < 40)))


def case(architecture, /, qk=RIGHT, ov=RIGHT, both=None, gate=False, **options):
    """A line of a table; several expectations are those of different layers."""
    qk, ov = (both, both) if both else (qk, ov)
    expected = ((one,) if isinstance(one, str) else one for one in (qk, ov))
    return Case(architecture, options, *expected, gate)


def cases(table):
    """A table as pytest's parameters; all together take most of a minute."""
    lines = [pytest.param(case, id=str(case), marks=pytest.mark.slow) for case in table]
    return pytest.mark.parametrize("case", lines)


def judge(case, folder, record_property):
    """Every layer has one of the expected outcomes, and every expected outcome occurs."""
    found = outcomes(case.architecture, case.options, folder)
    for circuit, expected in (("qk", case.qk), ("ov", case.ov)):
        said = found.circuits[circuit]
        unexpected = {one for one in said if not any(matches(e, one) for e in expected)}
        assert not unexpected, f"{circuit}: {unexpected}"
        missing = {e for e in expected if not any(matches(e, one) for one in said)}
        assert not missing, f"{circuit}: {missing} in {said}"
    gates = {RIGHT, "never ran"} if case.gate else {"never ran"}
    assert found.gates <= gates, found.gates
    assert not case.gate or RIGHT in found.gates, found.gates
    if not any(e in (RIGHT,) or e.startswith("noted") for e in (*case.qk, *case.ov)):
        record_property(OUTCOME, REASON)
