"""What to do with a model on a machine, the best first."""

from __future__ import annotations

from collections.abc import Sequence

from mlx_probe.core.units import format_size
from mlx_probe.lab.plan_run.records import RunOption, Width
from mlx_probe.lab.plan_run.sizes import ModelSizes

__all__ = ["advice_for"]

# A width that is less than this much faster is not worth what it costs.
_FASTER = 1.15
# A matrix whose error is so much larger than the model's is named.
_OUTSTANDING = 1.5


def advice_for(
    model: str,
    sizes: ModelSizes,
    widths: Sequence[Width],
    options: Sequence[RunOption],
    trained: int | None,
    limit: int,
) -> tuple[str, ...]:
    """Sentences in the imperative.

    Args:
        model: As the user named it.
        sizes: Its elements.
        widths: By falling bits.
        options: Of these widths.
        trained: Tokens of the longest context that it was trained on; None if unknown.
        limit: Bytes that it may take.
    """
    wanted = max(option.context for option in options)
    at_wanted = {option.bits: option for option in options if option.context == wanted}
    fitting = [width for width in widths if at_wanted[width.bits].fits is not False]
    advice = []
    if fitting:
        best = at_wanted[fitting[0].bits]
        advice.append(_run(best, limit))
        advice += _faster(model, best, fitting[1:], at_wanted)
        advice += _outstanding(fitting)
    else:
        advice += _too_large(sizes, widths, wanted, limit)
    if sizes.packed:
        advice.append(
            f"Its matrices are stored as {sizes.packed}: more bits than that bring nothing back"
        )
    if trained is not None and wanted > trained:
        advice.append(
            f"Expect worse answers beyond {trained:,} tokens: it was trained on no longer contexts"
        )
    return tuple(advice)


def _run(best: RunOption, limit: int) -> str:
    room = format_size(limit)
    if best.total is None:
        weights = format_size(best.weights)
        return f"Run it in {best.bits} bits: its weights take {weights} of {room}"
    total = format_size(best.total)
    return f"Run it in {best.bits} bits: with {best.context:,} tokens it takes {total} of {room}"


def _faster(
    model: str, best: RunOption, narrower: Sequence[Width], at_wanted: dict[int, RunOption]
) -> list[str]:
    """Widths that are faster, with what they cost; or that none is."""
    advice, speed = [], best.tokens_per_second
    if speed is None:
        return []
    for width in narrower:
        gained = at_wanted[width.bits].tokens_per_second or 0.0
        if gained < _FASTER * speed:
            continue
        cost = "unknown" if width.error is None else f"{width.error:.1%}"
        advice.append(
            f"Export it by `mlx-probe export {model} --to mlx --bits {width.bits}` and compare "
            f"both by `mlx-probe evaluate`: {gained / speed:.1f} times as fast; its weights change "
            f"by: {cost}"
        )
    if narrower and not advice:
        advice.append("Take fewer bits only to save memory: here they are not faster")
    return advice


def _outstanding(fitting: Sequence[Width]) -> list[str]:
    """Matrices that lose much more than the others in the narrowest width."""
    narrowest = fitting[-1]
    names = [
        name for name, error in narrowest.worst if error > _OUTSTANDING * (narrowest.error or error)
    ]
    if not names:
        return []
    listed = ", ".join(names)
    return [f"With {narrowest.bits} bits keep these matrices wider, they lose the most: {listed}"]


def _too_large(sizes: ModelSizes, widths: Sequence[Width], wanted: int, limit: int) -> list[str]:
    longest = max(widths, key=lambda width: width.longest or 0)
    advice = []
    if longest.longest:
        advice.append(
            f"Keep the context below {longest.longest:,} tokens, with {longest.bits} bits: "
            f"{wanted:,} tokens do not fit into {format_size(limit)}"
        )
    else:
        least = min(widths, key=lambda width: width.weights)
        advice.append(
            f"Choose a smaller model: in {least.bits} bits its weights alone take "
            f"{format_size(least.weights)} of {format_size(limit)}"
        )
    if sizes.experts:
        advice.append("Or leave out experts by `mlx-probe moe prune`")
    return advice
