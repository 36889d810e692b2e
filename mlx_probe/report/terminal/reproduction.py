"""How a run is made again, and whether it came out the same, as text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.plain import plain

if TYPE_CHECKING:
    from mlx_probe.library.reproduce import Compared, Difference, Reproduction

__all__ = ["begun_text", "results_text"]

_MOST = 20


def begun_text(found: Reproduction) -> str:
    """The command, and what is not as it was."""
    run = found.run
    lines = [found.shell or tr("the command is not known: it was made from Python")]
    facts = [
        tr("mlx-probe {version}", version=run.version) if run.version else "",
        tr("code {commit}", commit=run.code) if run.code else "",
        tr("made {when}", when=run.created_at),
    ]
    lines += ["", "; ".join(fact for fact in facts if fact)]
    matter = [each for each in found.differences if each.matters]
    others = [each for each in found.differences if not each.matters]
    if matter:
        lines += ["", tr("Not as it was, and may change the results:"), *map(_difference, matter)]
    if others:
        lines += [
            "",
            tr("Not as it was, and not known to change results:"),
            *map(_difference, others),
        ]
    if not found.differences:
        lines += ["", tr("Versions, machine and inputs are as they were, as far as is recorded.")]
    return plain("\n".join(lines))


def _difference(each: Difference) -> str:
    return tr(
        "  {name}: {before}, now {now}",
        name=translated(each.name),
        before=each.before if each.before is not None else tr("not there"),
        now=each.now if each.now is not None else tr("not there"),
    )


def results_text(found: Reproduction) -> str:
    """What was compared, with the largest differences."""
    compared = found.compared
    counts = Counter(each.what for each in compared)
    parts = enumerated(_PLURAL[what](count) for what, count in counts.items())
    if not compared:
        return tr("Neither run has a result to compare")
    if found.is_equal:
        return plain(tr("Equal to the bit: {parts}; {out}", parts=parts, out=found.out))
    differing = [each for each in compared if not each.equal]
    head = tr(
        "{count} of {all} results differ ({parts}); {out}",
        count=len(differing),
        all=len(compared),
        parts=parts,
        out=found.out,
    )
    lines = [head, *map(_compared, differing[:_MOST])]
    if len(differing) > _MOST:
        lines.append(tr("  and {count} more", count=len(differing) - _MOST))
    if found.is_same:
        lines.append(tr("All are within the tolerance of {share}", share=f"{found.tolerance:g}"))
    return plain("\n".join(lines))


def _compared(each: Compared) -> str:
    if each.reason:
        said = translated(each.reason)
    else:
        said = tr(
            "largest difference {difference}, {relative} of the number",
            difference=f"{each.difference:.3g}",
            relative=f"{each.relative:.3g}",
        )
    return f"  {_SINGULAR[each.what]()} {each.name}: {said}"


_SINGULAR = {
    "metric": lambda: tr("metric"),
    "column": lambda: tr("column"),
    "curve": lambda: tr("curve"),
    "file": lambda: tr("file"),
}
_PLURAL = {
    "metric": lambda count: tr("{count} metrics", count=count),
    "column": lambda count: tr("{count} columns", count=count),
    "curve": lambda count: tr("{count} curves", count=count),
    "file": lambda count: tr("{count} files", count=count),
}
