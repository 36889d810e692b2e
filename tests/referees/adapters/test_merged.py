"""`compare BASE ADAPTER` against PEFT's own merge_and_unload, tensor by tensor.

The adapters' values are random; PEFT saves them, loads them as a user would and merges them in
float32. Every row must have the change that PEFT makes, or say why it has no numbers.
"""

import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from mlx_probe.analysis.compare.adapted import adapted_reader
from mlx_probe.analysis.compare.blocks import WeightReader
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.measure import PairMeasurer
from mlx_probe.analysis.compare.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import ConfigError
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.source import resolve
from referees.adapters.configurations import CONFIGURATIONS
from referees.adapters.referee import merged, saved_base
from referees.tally import OUTCOME, REASON

RANK_TOL = 1e-3
CONFIG = CompareConfig(rank_tol=RANK_TOL, directions=0, workers=1, memory_limit=4 << 30)


@pytest.fixture(scope="session")
def peft():
    return pytest.importorskip("peft", reason="peft is in the referees extra")


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("adapters")


@pytest.mark.parametrize(
    ("base", "config", "settings", "expected", "edit"),
    [line[1:] for line in CONFIGURATIONS],
    ids=[line[0] for line in CONFIGURATIONS],
)
def test_the_change_is_that_of_pefts_merge(
    peft, folders, tmp_path, record_property, base, config, settings, expected, edit
):
    if expected:
        record_property(OUTCOME, REASON)
    folder = saved_base(base, folders / base.replace(" ", "-"))
    referee = merged(peft, base, config, settings, edit, tmp_path)
    with (
        open_checkpoint(resolve(str(folder))) as first,
        open_checkpoint(resolve(str(referee.adapter))) as second,
    ):
        assert second.adapter is not None
        if expected.startswith("refused: "):
            with pytest.raises(ConfigError, match="kind not supported") as refused:
                make_plan(first, second, CONFIG)
            assert re.search(expected.removeprefix("refused: "), str(refused.value))
            return
        assert referee.tensors is not None, "PEFT does not merge it: expect a refusal"
        before = load_file(folder / "model.safetensors")
        plan = make_plan(first, second, CONFIG)
        agree(plan, before, referee.tensors, expected)


def agree(plan, before, after, expected):
    """Every pair of a plan says what the referee's tensors say."""
    compared = 0
    with UsageMeter(STAGES) as meter:
        measurer = PairMeasurer(plan.config, meter, plan.backend)
        for pair, scope in zip(plan.pairs, plan.scopes, strict=True):
            assert pair.a is not None, f"{pair.b.name}: {pair.reason}"
            row = measurer.measure(pair, scope)
            x, y = (stored(side, pair.a) for side in (before, after))
            compared += agrees(pair, row, x, y, expected, meter)
    assert compared


def stored(tensors, weight):
    x = tensors[weight.name].astype(np.float64)
    x = x if weight.stack_index is None else x[weight.stack_index]
    if weight.part is not None:
        x = x[weight.part.source(slice(0, weight.rows), slice(0, weight.cols))]
    return x.reshape(weight.extents) if weight.rows is not None else x.reshape(-1)


def agrees(pair, row, x, y, expected, meter):
    """Whether a pair that PEFT changes was compared; asserts that it is right."""
    name, difference = pair.a.label, y - x
    if not difference.any():
        assert row["status"] in ("identical", "skipped", "scalar"), (name, row)
        assert row["status"] == "identical" or row["status_reason"], name
        return 0
    if expected:
        assert row["status"] == "skipped", (name, row)
        assert re.search(expected, row["status_reason"]), (name, row)
        return 1
    if pair.a.part is not None and row["status"] == "skipped":
        assert re.search("see its row", row["status_reason"]), (name, row)
        return 0
    assert row["status"] == "ok", (name, row["status"], row["status_reason"])
    norm, change = np.linalg.norm(x), np.linalg.norm(difference)
    # PEFT computes in float32, an SVD of the base (PiSSA, KaSA) too.
    rounding = 1e-5 * (norm + change)
    if pair.adaption is not None:
        blocks = [block for _, block in adapted_reader(pair, meter).blocks()]
    else:
        blocks = list(WeightReader(pair.b or pair.a, 0, meter).lines())
    lines = np.concatenate(blocks)
    ours = lines if pair.a.tall or pair.a.rows is None else lines.T
    assert np.linalg.norm(ours - y) < rounding, name
    np.testing.assert_allclose(row["change_norm"], change, atol=rounding, err_msg=name)
    np.testing.assert_allclose(row["norm"], norm, rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(row["other_norm"], np.linalg.norm(y), atol=rounding, err_msg=name)
    largest = np.abs(difference).max()
    np.testing.assert_allclose(row["max_change"], largest, atol=rounding, err_msg=name)
    if difference.ndim == 2:
        sigma = np.linalg.svd(difference, compute_uv=False)
        np.testing.assert_allclose(row["delta_spectral_norm"], sigma[0], atol=rounding)
        least, most = (np.count_nonzero(sigma > RANK_TOL * f * sigma[0]) for f in (1.01, 0.99))
        assert least <= row["delta_rank"] <= most, name
    return 1
