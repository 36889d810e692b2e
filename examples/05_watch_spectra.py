"""See what happens inside the weights while a model learns.

    python examples/05_watch_spectra.py             # the run of 01_train_tiny.py
    python examples/05_watch_spectra.py runs/mine   # another one

`mlx-probe train` keeps the weights at log-spaced steps and measures them with the engine of
`mlx-probe analyze`, in the background.
"""

import sys
from importlib import import_module

import mlx_probe


def bar(value: float, largest: float) -> str:
    """A bar of at most 40 characters."""
    return "#" * round(40 * value / largest)


if __name__ == "__main__":
    trained = sys.argv[1] if sys.argv[1:] else import_module("01_train_tiny").train_tiny()
    run = mlx_probe.load_training_run(trained)
    print("measured snapshots: steps", *run.snapshots)

    # A row for each tensor of each snapshot, with all columns of `analyze`.
    matrices = run.over_time[run.over_time["rank"].notna()]
    for column in ("spectral_norm", "stable_rank"):
        print(f"\n{column}, the median over the layers")
        table = matrices.pivot_table(column, "block_type", "step", aggfunc="median")
        print(table.round(2).to_string())

    # All singular values of one matrix, before and after.
    name = next(n for n in matrices["param_name"] if n.endswith("down_proj.weight"))
    first, *_, last = run.snapshots
    spectra = {step: run.spectra(step).set_index("param_name") for step in (first, last)}
    values = {step: table.loc[name, "singular_values"] for step, table in spectra.items()}
    largest = max(max(spectrum) for spectrum in values.values())
    for step, spectrum in values.items():
        print(f"\nsingular values of {name}, step {step}: every eighth")
        for number in range(0, len(spectrum), 8):
            print(f"{number:4} {spectrum[number]:6.3f} {bar(spectrum[number], largest)}")

    print("\nthe page:", mlx_probe.write_report(run))
