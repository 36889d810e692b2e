"""The learning rate over the steps, as a share of its peak.

With W = warmup, T = steps, f = final, and step n = 1 ... T, the first phase of all schedules but
that of W = 0 is

    n / W                                                              n <= W

and with the share of what follows x = (n - W) / (T - W)

    cosine     f + (1 - f) (1 + cos(pi x)) / 2                         (Loshchilov and Hutter, 2017)
    linear     1 - (1 - f) x
    wsd        1 while n <= T - D, then 1 - (1 - f) (n - T + D) / D    (Hu et al., 2024, MiniCPM)
    constant   1

where D = round(decay T), at most T - W.
"""

from __future__ import annotations

import math

from mlx_probe.lab.train.config import TrainConfig

__all__ = ["rate_share"]


def rate_share(step: int, config: TrainConfig) -> float:
    """Learning rate of a step as a share of the peak.

    Args:
        step: From 1 to the number of steps.
        config: Schedule, steps, warm-up, decay and final share.

    Returns:
        Between 0 and 1; at the last step `final`, but 1 where the schedule is constant.
    """
    steps, warmup, final = config.steps, config.warmup, config.final
    if step <= warmup:
        return step / warmup
    after = (step - warmup) / (steps - warmup)
    if config.schedule == "cosine":
        return final + (1 - final) * (1 + math.cos(math.pi * after)) / 2
    if config.schedule == "linear":
        return 1 - (1 - final) * after
    if config.schedule == "wsd":
        falling = min(round(config.decay * steps), steps - warmup)
        return 1 - (1 - final) * max(0, step - steps + falling) / max(1, falling)
    return 1.0
