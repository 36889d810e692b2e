"""The recorded verdicts of bfcl-eval's checker; `tests/referees` compares with the package."""

import json

import pytest
from bfcl_cases import CASES, RAISES
from bfcl_mutations import mutated
from project import ROOT

from mlx_probe.lab.evaluate.bfcl import check_calls

RECORDED = json.loads((ROOT / "tests" / "data" / "bfcl_verdicts.json").read_text("utf-8"))


@pytest.mark.parametrize("title", CASES)
def test_recorded(title):
    category, functions, truth = CASES[title]
    verdicts = {
        name: check_calls(functions, calls, truth, category)
        for name, calls in mutated(functions, truth, title)
    }
    assert len(verdicts) > 20
    for name, wanted in RECORDED[title].items():
        if wanted == RAISES:
            assert not verdicts[name].valid
            continue
        assert verdicts[name].error_type == wanted, name
        assert verdicts[name].valid is (wanted is None)
        assert bool(verdicts[name].errors) is (wanted is not None)


def test_all_are_recorded():
    assert RECORDED.keys() == CASES.keys()
