"""The cost of a job by stage, and its limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from mlx_probe.compute.calibration import Calibration
from mlx_probe.runs.monitor import Stage, Work

__all__ = ["OPEN", "VALIDATE", "WRITE", "Limit", "binding_limit", "stage_costs"]

# Phases in which the workers are idle. Any other phase is work.
OPEN, VALIDATE, WRITE = "open", "validate", "write"


@dataclass(frozen=True)
class Limit:
    """What would have to be faster for the job to take less time.

    Attributes:
        name: The limit.
        share: Its share of the time that it could have taken, at most 1.
        of: The time of which it is a share.
    """

    name: str
    share: float
    of: str


def stage_costs(
    stages: Mapping[str, Work], calibration: Calibration
) -> dict[str, dict[str, float | None]]:
    """Rates of each stage, and their shares of the machine's.

    Time is summed over workers, so a rate is that of one worker, to be compared with one core's.
    A GPU's share of the product rate may therefore be far above 1.

    Args:
        stages: Cost of each stage.
        calibration: The rates of one core.

    Returns:
        By stage: "seconds", "bytes", "flops", "gbps", "gflops", "share_of_copy",
        "share_of_product"; a rate without bytes, operations or time is None.
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
    table: Mapping[str, Stage],
    stages: Mapping[str, Work],
    seconds: Mapping[str, float],
    workers: int,
    lanes: int,
    paused: float = 0.0,
) -> Limit:
    """The limit that took the largest share of the time that it could have taken.

    Stages in a lane could take all the time of the device's lanes, other stages all the time of
    the workers. The workers are idle while the job opens its inputs, validates and writes. The
    rest is waiting, for memory or for a lane, and bookkeeping.

    Args:
        table: The job's table of stages.
        stages: Cost of each stage, in all workers.
        seconds: Wall time of each phase: `OPEN`, `VALIDATE`, `WRITE`, and phases of work.
        workers: Tasks at once.
        lanes: Tasks in a lane at once; at most ``workers``.
        paused: Seconds of work in which the gate was closed.
    """
    total = sum(seconds.values()) - paused
    opening = seconds.get(OPEN, 0.0)
    closing = seconds.get(VALIDATE, 0.0) + seconds.get(WRITE, 0.0)
    device = "worker time" if lanes == workers else "the device's time"
    shares: defaultdict[tuple[str, str], float] = defaultdict(float)
    idle = (total - opening - closing) / total
    for name, work in stages.items():
        stage = table[name]
        of, at_once = (device, lanes) if stage.in_lane else ("worker time", workers)
        shares[stage.limit, of] += work.seconds / (total * at_once)
        idle -= work.seconds / (total * workers)
    shares["waiting and bookkeeping", "worker time"] = idle
    shares["start-up", "the run's time"] = opening / total
    shares["validation and writing", "the run's time"] = closing / total
    (name, of), share = max(shares.items(), key=lambda item: item[1])
    return Limit(name, share, of)


def _ratio(amount: float | None, by: float | None) -> float | None:
    return amount / by if amount and by else None
