"""A few pure functions to begin with, by the names that BFCL's questions use.

This file is loaded by the sandbox's process from its path, and imports nothing of the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["FUNCTIONS"]


def _triangle_area(base: float, height: float, unit: str = "units") -> float:
    return base * height / 2


def _quadratic_roots(a: float, b: float, c: float) -> list[float]:
    root = math.sqrt(b * b - 4 * a * c)
    return sorted([(-b - root) / (2 * a), (-b + root) / (2 * a)])


def _prime_factors(number: int, formatted: bool = True) -> list[int]:
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
        if divisor * divisor > number > 1:
            factors.append(number)
            break
    return factors


def _fibonacci(n: int) -> list[int]:
    values = [0, 1]
    while len(values) < n:
        values.append(values[-2] + values[-1])
    return values[:n]


def _hypot(x: float, y: float, z: float = 0) -> float:
    return math.hypot(x, y, z)


# Each takes JSON values by name, returns one, and does nothing else.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "calculate_triangle_area": _triangle_area,
    "math.factorial": lambda number: math.factorial(number),
    "math.hypot": _hypot,
    "math.gcd": lambda num1, num2: math.gcd(num1, num2),
    "math.lcm": lambda num1, num2: math.lcm(num1, num2),
    "algebra.quadratic_roots": _quadratic_roots,
    "get_prime_factors": _prime_factors,
    "fibonacci": _fibonacci,
}
