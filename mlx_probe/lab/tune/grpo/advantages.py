"""How much better an answer is than the others to the same prompt."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["group_advantages"]

# Keeps groups whose rewards are all but equal from learning from rounding errors.
EPSILON = 1e-4


def group_advantages(rewards: ArrayLike, divided: bool) -> NDArray[np.float64]:
    """Reward minus the mean of the group, over its standard deviation where that is wanted.

    Shao et al. 2024, arXiv 2402.03300, section 4.1.2; without the division Liu et al. 2025,
    arXiv 2503.20783, section 3.2. The standard deviation is that of a sample (G - 1).

    Args:
        rewards: (..., G), a group in each row, G >= 2.
        divided: Whether to divide.

    Returns:
        The same shape; 0 for all of a group with equal rewards.
    """
    values = np.asarray(rewards, np.float64)
    centred = values - values.mean(-1, keepdims=True)
    # A mean is rounded: equal rewards are equal all the same.
    centred = np.where(np.ptp(values, axis=-1, keepdims=True) == 0, 0.0, centred)
    return centred / (values.std(-1, ddof=1, keepdims=True) + EPSILON) if divided else centred
