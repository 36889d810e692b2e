"""Which step a checkpoint's name says."""

import pytest

from mlx_probe.analysis.series.names import matching, step_of, steps_of
from mlx_probe.core.errors import ConfigError

KNOWN = {
    "checkpoint-500": 500,
    "global_step2000": 2000,
    "step-7": 7,
    "step0": 0,
    "step1000-tokens4B": 1000,
    "stage1-step3000-tokens13B": 3000,
    "0000100_adapters.safetensors": 100,
    "iter_0000200": 200,
    "epoch=3-step=4000.ckpt": 4000,
    "ckpt-9": 9,
    "checkpoint-3-step-200": 200,
}


@pytest.mark.parametrize("name", KNOWN)
def test_usual_names(name):
    assert step_of(name) == KNOWN[name]


@pytest.mark.parametrize("name", ["final", "best-2", "step10k", "footstep3x", "misstep-3", "main"])
def test_other_names(name):
    assert step_of(name) is None


def test_names_that_differ_in_one_number():
    assert steps_of(["run-7-epoch-2", "run-7-epoch-10"], "x") == {
        "run-7-epoch-2": 2,
        "run-7-epoch-10": 10,
    }


def test_what_has_no_number_is_left_out():
    assert steps_of(["checkpoint-1", "checkpoint-2", "final"], "x") == {
        "checkpoint-1": 1,
        "checkpoint-2": 2,
    }


@pytest.mark.parametrize("names", [["a1-b2", "a2-b3"], ["a1", "b2"], ["x1y2"]])
def test_unclear_names_are_refused(names):
    with pytest.raises(ConfigError, match="not clear") as refused:
        steps_of(names, "here")
    assert "--steps" in refused.value.remedy


def test_two_of_one_step_are_refused():
    with pytest.raises(ConfigError, match="both of step 5"):
        steps_of(["stage1-step5", "stage2-step5"], "here")


def test_a_template_chooses():
    names = ["stage1-step5-a", "stage2-step5-b", "stage1-step50-c", "stage1-step-x"]
    assert matching(names, "stage1-step{step}-*") == {"stage1-step5-a": 5, "stage1-step50-c": 50}
    # A number is taken whole.
    assert matching(["run123"], "run1{step}") == {}


@pytest.mark.parametrize("template", ["checkpoint", "{step}-{step}"])
def test_a_template_has_one_step(template):
    with pytest.raises(ConfigError, match="once"):
        matching(["a"], template)
