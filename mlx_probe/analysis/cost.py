"""What a run cost, stage by stage, and which limit it ran into."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from mlx_probe.compute.calibration import Calibration
from mlx_probe.runs.monitor import Work

__all__ = ["Limit", "binding_limit", "stage_costs"]

# What would have to be faster for a stage to take less, and whether the stage needs a lane of
# the backend or just any worker.
_LIMITS = {
    "read": ("reading", True),
    "moments": ("memory (moments)", True),
    "gram": ("matrix products", True),
    "solve": ("eigen-solver", False),
    "direct": ("eigen-solver", False),
    "sketch": ("matrix products", True),
    "metrics": ("metrics", False),
    "sides": ("heads and experts", False),
}


@dataclass(frozen=True)
class Limit:
    """What took most of what there was of it.

    Attributes:
        name: The limit.
        share: How much of it was taken, 1 for all the time.
        of: What it is a share of.
    """

    name: str
    share: float
    of: str


def stage_costs(
    stages: Mapping[str, Work], calibration: Calibration
) -> dict[str, dict[str, float | None]]:
    """Rates of each stage, and what share they are of the machine's.

    Time is summed over workers, and rates are those of one worker, to be compared with what one
    core does. A GPU's share of the product rate may therefore be far above 1.

    Args:
        stages: What each took.
        calibration: Has the rates of one core.

    Returns:
        By stage: "seconds", "bytes", "flops", "gbps", "gflops", "share_of_copy",
        "share_of_product"; None for a rate where there is nothing to divide.
    """
    copy, product = calibration.copy_bandwidth, calibration.product_rate
    costs: dict[str, dict[str, float | None]] = {}
    for stage, work in stages.items():
        moved, computed = _ratio(work.bytes, work.seconds), _ratio(work.flops, work.seconds)
        costs[stage] = {
            "seconds": work.seconds,
            "bytes": work.bytes,
            "flops": work.flops,
            "gbps": _ratio(moved, 1e9),
            "gflops": _ratio(computed, 1e9),
            "share_of_copy": _ratio(moved, copy),
            "share_of_product": _ratio(computed, product),
        }
    return costs


def binding_limit(
    stages: Mapping[str, Work], seconds: Mapping[str, float], workers: int, lanes: int
) -> Limit:
    """The limit that took the largest share of the time that it could have taken.

    Stages that stream elements could take all the time of the backend's lanes, factorizations
    all the time of the workers. While the run opens, validates and writes, no worker has
    anything to do. What is left over is waiting, for memory or for a lane, and bookkeeping.

    Args:
        stages: What each took, in all workers.
        seconds: Wall time of "open", "measure", "validate" and "write".
        workers: Weights in flight.
        lanes: Weights whose elements may be streamed at once; at most ``workers``.
    """
    total = sum(seconds[name] for name in ("open", "measure", "validate", "write"))
    device = "worker time" if lanes == workers else "the device's time"
    shares: defaultdict[tuple[str, str], float] = defaultdict(float)
    idle = seconds["measure"] / total
    for stage, work in stages.items():
        name, streams = _LIMITS[stage]
        shares[name, device if streams else "worker time"] += work.seconds / (
            total * (lanes if streams else workers)
        )
        idle -= work.seconds / (total * workers)
    shares["waiting and bookkeeping", "worker time"] = idle
    shares["start-up", "the run's time"] = seconds["open"] / total
    shares["validation and writing", "the run's time"] = (
        seconds["validate"] + seconds["write"]
    ) / total
    (name, of), share = max(shares.items(), key=lambda item: item[1])
    return Limit(name, share, of)


def _ratio(amount: float | None, by: float | None) -> float | None:
    return amount / by if amount and by else None
