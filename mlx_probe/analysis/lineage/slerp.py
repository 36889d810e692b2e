"""Spherical interpolation of two tensors, as mergekit defines it, and the way back.

Both tensors are flattened. With theta the angle between them,

    C = sin((1 - t) theta) / sin(theta) * A + sin(t theta) / sin(theta) * B,

so the vectors themselves are interpolated, of whatever length, and only the angle is that of the
normalised ones. Where |cos theta| > 0.9995, C = (1 - t) A + t B instead. Source: Shoemake 1985,
"Animating rotation with quaternion curves"; mergekit's `merge_methods/slerp.py`.

For C = a A + b B with any a and b, a + b cos(theta) = cos(t theta) and b sin(theta) =
sin(t theta) where C was so made. Therefore

    t = atan2(b sin(theta), a + b cos(theta)) / theta,
    q = sqrt(a^2 + b^2 + 2 a b cos(theta)) = 1,

while a linear merge with weights that sum to 1 has a + b = 1. The two differ by
a + b = cos((1/2 - t) theta) / cos(theta / 2), which is nearly 1 for a small angle.
"""

from __future__ import annotations

import math

__all__ = ["NEARLY_COLLINEAR", "slerp_length", "slerp_parameter", "slerp_weights"]

# mergekit's DOT_THRESHOLD.
NEARLY_COLLINEAR = 0.9995


def slerp_weights(t: float, cosine: float) -> tuple[float, float]:
    """The two coefficients of a spherical interpolation.

    Args:
        t: 0 for A, 1 for B.
        cosine: Of the angle between both.
    """
    if abs(cosine) > NEARLY_COLLINEAR:
        return 1 - t, t
    theta = math.acos(cosine)
    return math.sin((1 - t) * theta) / math.sin(theta), math.sin(t * theta) / math.sin(theta)


def slerp_parameter(a: float, b: float, cosine: float) -> float:
    """The t whose coefficients are a and b, as near as there is one.

    Args:
        a: Coefficient of A.
        b: Coefficient of B.
        cosine: Of the angle between both.
    """
    if abs(cosine) > NEARLY_COLLINEAR:
        return b / (a + b) if a + b else b
    theta = math.acos(cosine)
    return math.atan2(b * math.sin(theta), a + b * cosine) / theta


def slerp_length(a: float, b: float, cosine: float) -> float:
    """The length q above: 1 for spherical interpolations; a + b where linear ones replace them.

    Args:
        a: Coefficient of A.
        b: Coefficient of B.
        cosine: Of the angle between both.
    """
    if abs(cosine) > NEARLY_COLLINEAR:
        return a + b
    return math.sqrt(max(a * a + b * b + 2 * a * b * cosine, 0.0))
