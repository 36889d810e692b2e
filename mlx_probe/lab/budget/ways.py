"""MLX's quantizations, and which of them a matrix may get."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.budget.records import Way

__all__ = ["BITS", "GROUPS", "MODES", "fitting", "ways_of"]

# Of the mode "affine". Source: `mlx.core.quantize`.
BITS, GROUPS = (2, 3, 4, 5, 6, 8), (32, 64, 128)
# The others have one width and one group each.
_FLOATS = {"mxfp4": (4, 32), "nvfp4": (4, 16), "mxfp8": (8, 32)}
MODES = ("affine", *_FLOATS)


def ways_of(modes: Collection[str], bits: Collection[int], groups: Collection[int]) -> list[Way]:
    """All quantizations of some modes, widths and groups.

    Args:
        modes: Of `MODES`.
        bits: Widths, of all modes.
        groups: Elements that share a scale, of the mode "affine".

    Raises:
        ConfigError: MLX does not have one of them, or nothing is left.
    """
    for what, given, known in (("mode", modes, MODES), ("group", groups, GROUPS)):
        if unknown := [each for each in given if each not in known]:
            raise ConfigError(
                f"MLX has no {what} {unknown[0]}", f"Choose among {', '.join(map(str, known))}"
            )
    if wrong := [each for each in bits if each not in BITS]:
        raise ConfigError(
            f"MLX quantizes to no {wrong[0]} bits", f"Choose among {', '.join(map(str, BITS))}"
        )
    found = [Way("affine", b, g) for b in bits for g in groups] if "affine" in modes else []
    found += [
        Way(mode, *facts) for mode, facts in _FLOATS.items() if mode in modes and facts[0] in bits
    ]
    if not found:
        raise ConfigError(
            f"no mode of {', '.join(modes)} has {', '.join(map(str, bits))} bits",
            "Add the mode affine, or other bits",
        )
    return sorted(set(found))


def fitting(ways: Sequence[Way], cols: int) -> tuple[Way, ...]:
    """Those that rows of some columns can get: whole groups, and whole words of 32 bits."""
    return tuple(way for way in ways if cols % way.group == 0 and cols * way.bits % 32 == 0)
