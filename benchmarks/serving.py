"""What clients of `mlx-probe serve` see, by their number: the server in a process of its own.

    python benchmarks/serving.py [MODEL] [--clients 4 --clients 16] [--requests 64]

Without MODEL a small one with random weights. The load is `mlx-probe load-test`'s closed loop,
after two requests that warm up. Exit code 1 if a request fails.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from _processes import PROBE
from _results import Cell, out_option, publish, rounded

from mlx_probe.lab.load_test.config import LoadTestConfig
from mlx_probe.lab.load_test.load_test import load_test

COLUMNS = (
    *("model", "clients", "requests", "failed", "requests/s", "tokens made/s"),
    *("ttft p50, ms", "ttft p99, ms", "tpot p50, ms", "tpot p99, ms", "e2el p99, ms"),
)
TEXT = "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer."


def make_model(folder: Path) -> Path:
    """A model of 128 dimensions and two layers, with random weights."""
    from mlx.utils import tree_flatten

    from mlx_probe.lab.data.config import TokenizerConfig
    from mlx_probe.lab.data.tokenizer import train_tokenizer
    from mlx_probe.lab.model.config import ModelConfig
    from mlx_probe.lab.model.initialize import initialize
    from mlx_probe.lab.model.layout import write_model
    from mlx_probe.lab.model.mini_llm import MiniLLM

    tokenizer = train_tokenizer(TokenizerConfig(kind="bytes"), 300, [TEXT], folder / "tokenizer")
    config = ModelConfig(
        vocabulary=tokenizer.vocabulary, dim=128, layers=2, heads=4, kv_heads=2, hidden=256,
        context=1024,
    )  # fmt: skip
    model = MiniLLM(config)
    initialize(model, 0)
    weights = dict(tree_flatten(model.parameters()))
    write_model(folder / "model", config, weights, tokenizer.folder, "float32")
    return folder / "model"


@contextmanager
def serving(model: str) -> Iterator[str]:
    """The address of a server with a model."""
    command = [PROBE, "serve", model, "--port", "0", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield line.partition(" at ")[2].partition("/v1")[0]
        finally:
            process.terminate()


@click.command()
@click.argument("model", required=False)
@click.option("--clients", multiple=True, type=int, default=(1, 4, 16), show_default=True)
@click.option("--requests", default=64, show_default=True)
@click.option("--input-len", default=64, show_default=True)
@click.option("--output-len", default=64, show_default=True)
@out_option
def main(
    model: str | None,
    clients: tuple[int, ...],
    requests: int,
    input_len: int,
    output_len: int,
    out: Path,
) -> None:
    """Load a server with several numbers of clients."""
    rows: list[list[Cell]] = []
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        served = model or str(make_model(Path(folder)))
        with serving(served) as url:
            for count in clients:
                config = LoadTestConfig(
                    num_prompts=requests,
                    max_concurrency=count,
                    num_warmups=2,
                    random_input_len=input_len,
                    output_len=output_len,
                    metric_percentiles=(50, 99),
                    # Other prompts each time: none is in the server's cache.
                    seed=count,
                )
                found = load_test(url, config)
                failed += found["failed"] + requests - found["completed"]
                keys = ("request_throughput", "output_throughput", "p50_ttft_ms", "p99_ttft_ms")
                keys += ("p50_tpot_ms", "p99_tpot_ms", "p99_e2el_ms")
                values = (None if found[key] is None else rounded(found[key]) for key in keys)
                name = Path(model).name if model else "random, 128 x 2"
                rows.append([name, count, requests, found["failed"], *values])
    note = (
        f"Prompts of {input_len} words, answers of at most {output_len} tokens; server and client "
        "share the machine's cores."
    )
    publish("serving", COLUMNS, rows, note, out)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
