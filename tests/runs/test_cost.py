import pytest

from mlx_probe.analysis.stages import STAGES
from mlx_probe.compute.calibration import Calibration
from mlx_probe.runs.cost import Limit, binding_limit, stage_costs
from mlx_probe.runs.monitor import Stage, Work

SECONDS = {"open": 1.0, "measure": 6.0, "validate": 2.0, "write": 1.0}
CALIBRATION = Calibration({}, copy_bandwidth=1e10, product_rate=5e10)


def test_rates_and_shares():
    stages = {"read": Work(2.0, 4 * 10**9), "gram": Work(4.0, 10**9, 1e11), "solve": Work(0.0)}
    assert stage_costs(stages, CALIBRATION) == {
        "read": {
            "seconds": 2.0,
            "bytes": 4 * 10**9,
            "flops": 0.0,
            "gbps": 2.0,
            "gflops": None,
            "share_of_copy": 0.2,
            "share_of_product": None,
        },
        "gram": {
            "seconds": 4.0,
            "bytes": 10**9,
            "flops": 1e11,
            "gbps": 0.25,
            "gflops": 25.0,
            "share_of_copy": 0.025,
            "share_of_product": 0.5,
        },
        "solve": {
            "seconds": 0.0,
            "bytes": 0,
            "flops": 0.0,
            "gbps": None,
            "gflops": None,
            "share_of_copy": None,
            "share_of_product": None,
        },
    }


def test_shares_need_a_calibration():
    (cost,) = stage_costs({"gram": Work(1.0, 8, 8.0)}, Calibration({})).values()
    assert cost["gflops"] == 8e-9
    assert cost["share_of_copy"] is cost["share_of_product"] is None


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_its_limit(stage):
    # Two workers have 20 s in a run of 10 s.
    limit = binding_limit(STAGES, {stage: Work(9.0)}, SECONDS, workers=2, lanes=2)
    assert limit == Limit(STAGES[stage].limit, pytest.approx(0.45), "worker time")


def test_a_stage_and_a_phase_from_outside():
    """A job of any kind has its own table, and its own name for its work."""
    table = {"loss": Stage("forward and backward", "the model", in_lane=True)}
    seconds = {"open": 1.0, "train": 17.0, "validate": 1.0, "write": 1.0}
    limit = binding_limit(table, {"loss": Work(16.0)}, seconds, workers=1, lanes=1)
    assert limit == Limit("the model", pytest.approx(0.8), "worker time")


def test_stages_of_one_limit_count_together():
    stages = {"read": Work(4.0), "solve": Work(3.0), "direct": Work(3.0)}
    limit = binding_limit(STAGES, stages, SECONDS, workers=1, lanes=1)
    assert limit == Limit("eigen-solver", pytest.approx(0.6), "worker time")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"open": 9.0}, Limit("start-up", 0.9, "the run's time")),
        ({"validate": 5.0, "write": 4.0}, Limit("validation and writing", 0.9, "the run's time")),
        ({"measure": 9.0}, Limit("waiting and bookkeeping", 0.8, "worker time")),
    ],
)
def test_what_is_no_stage(seconds, expected):
    rest = (10.0 - sum(seconds.values())) / (4 - len(seconds))
    seconds = {**dict.fromkeys(SECONDS, rest), **seconds}
    limit = binding_limit(STAGES, {"gram": Work(1.0)}, seconds, workers=1, lanes=1)
    assert limit == Limit(expected.name, pytest.approx(expected.share), expected.of)


def test_a_device_that_never_waits_is_the_limit():
    """Eight workers: the device is busy for 6 of 7 seconds, the solvers for 24 of 56."""
    seconds = {"open": 0.5, "measure": 6.0, "validate": 0.25, "write": 0.25}
    stages = {"moments": Work(1.0), "gram": Work(5.0), "solve": Work(24.0)}
    limit = binding_limit(STAGES, stages, seconds, workers=8, lanes=1)
    assert limit == Limit("matrix products", pytest.approx(5 / 7), "the device's time")
    stages["solve"] = Work(45.0)
    limit = binding_limit(STAGES, stages, seconds, workers=8, lanes=1)
    assert limit == Limit("eigen-solver", pytest.approx(45 / 56), "worker time")
