"""What the stages of a matrix take by its size, on one core: measured, and fitted.

    python benchmarks/scaling.py [--runs N] [--largest SIDE]

Times every stage of the numpy backend on one core, on Gaussian bfloat16 matrices, with compiled
kernels and without; the fits are least squares of relative errors. What whole models would take
follows in `schedule.py`, which simulates their runs from such fits.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from _results import Cell, out_option, publish, rounded
from _scaling import SOLVERS, fit, measure
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

SIDES = (256, 512, 1024, 1536, 2048, 3072, 4096)

# Beyond the fit, to see how far it holds.
CHECKED = 6144

COLUMNS = (
    *("side", "elements", "without kernels", "Gram matrix", "native solver", "syevd"),
    *("syevd_2stage", "fitted total"),
)


@click.command()
@click.option("--runs", default=3, show_default=True)
@click.option("--largest", default=CHECKED, show_default=True, help="Leave out larger sides.")
@out_option
def main(runs: int, largest: int, out: Path) -> None:
    """Measure the stages and fit them."""
    with threadpool_limits(1, user_api="blas"):
        measured = {side: measure(side, runs) for side in SIDES if side <= largest}
        checked = {CHECKED: measure(CHECKED, 1)} if largest >= CHECKED else {}
    cost, plain = fit(measured, True), fit(measured, False)
    rows: list[tuple[Cell, ...]] = []
    for side, took in {**measured, **checked}.items():
        names = ("elements", "elements without", "gram", *SOLVERS)
        stages = (rounded(took[name]) if name in took else None for name in names)
        rows.append((side, *stages, rounded(cost.square(side))))
    laws = ", ".join(f"{name} {_law(factors)}" for name, factors in cost.solvers.items())
    note = (
        f"Seconds on one core, medians of {runs} runs; square Gaussian bfloat16 matrices, numpy "
        f"backend. Fitted: an element takes {1e9 * cost.element:.2f} ns "
        f"({1e9 * plain.element:.2f} without kernels), the Gram matrix runs at "
        f"{1e-9 / cost.flop:.1f} GFLOP/s (long x short x (short + 1) flops), the solvers take "
        f"{laws}. {CHECKED:,} is not part of the fit."
    )
    publish("scaling", COLUMNS, rows, note, out)


def _law(factors: NDArray[np.float64]) -> str:
    square, cube = factors
    return f"{1e9 * square:.3g} n^2 + {1e9 * cube:.3g} n^3 ns"


if __name__ == "__main__":
    main()
