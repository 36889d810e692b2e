"""`mlx-probe load-test`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import MofNCompleteColumn

from mlx_probe.core.errors import ConfigError, Interrupted, SourceError
from mlx_probe.core.files import replacing, write_text
from mlx_probe.core.language import tr
from mlx_probe.report.terminal.load_test import load_test_text
from mlx_probe.runs.table.strict_json import document, encode

from .command import Command
from .console import output
from .counting_bar import counting_bar
from .document import json_option, print_document
from .options import complete_files, config_option, quiet_option

__all__ = ["load_test"]

_SUFFIXES = (".html", ".png", ".svg", ".pdf")


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe load-test http://127.0.0.1:8080 --max-concurrency 8",
        "mlx-probe load-test localhost:8080 --request-rate 4 --out ./loaded",
        "mlx-probe load-test localhost:8080 --sweep --goodput ttft:500 --goodput tpot:50",
    ),
)
@click.argument("url")
@click.option("--model", metavar="NAME", default="", help="Name; the server's first by default.")
@click.option(
    "--backend",
    type=click.Choice(["openai-chat", "openai"]),
    default="openai-chat",
    help="Chat completions, or completions of a text.",
)
@click.option("--num-prompts", type=click.IntRange(1), metavar="N", default=100, help="Requests.")
@click.option(
    "--request-rate",
    type=float,
    metavar="RATE",
    default=float("inf"),
    help="Requests a second, on average; inf sends each as soon as --max-concurrency lets it.",
)
@click.option(
    "--burstiness",
    type=float,
    metavar="X",
    default=1.0,
    help="1 is a Poisson process; smaller comes in bursts, larger is more even (gamma).",
)
@click.option(
    "--max-concurrency",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Requests in flight, at most; 0 for no limit.",
)
@click.option(
    "--num-warmups",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Requests before, which do not count.",
)
@click.option(
    "--dataset-path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.jsonl",
    shell_complete=complete_files,
    help="Prompts: lines with prompt, or messages and tools. Random words without it.",
)
@click.option(
    "--random-input-len",
    type=click.IntRange(1),
    metavar="N",
    default=128,
    help="Tokens of a random prompt; words without --tokenizer.",
)
@click.option(
    "--output-len",
    "--random-output-len",
    "output_len",
    type=click.IntRange(1),
    metavar="N",
    default=128,
    help="Tokens to ask for, at most.",
)
@click.option("--ignore-eos", is_flag=True, help="Ask the server to make all of them.")
@click.option(
    "--tokenizer",
    metavar="MODEL",
    default="",
    help="Counts tokens where the server sends no usage.",
)
@click.option("--temperature", type=float, metavar="T", help="The server's own by default.")
@click.option("--extra-body", metavar="JSON", default="{}", help="More keys of every request.")
@click.option(
    "--header", "headers", multiple=True, metavar="NAME=VALUE", help="Sent too; may be repeated."
)
@click.option(
    "--token",
    metavar="TOKEN",
    default="",
    help="For servers that want one; better in the environment, where no other user sees it.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    metavar="SECONDS",
    default=600.0,
    help="For a whole request; 0 for no limit.",
)
@click.option(
    "--stall-timeout",
    type=click.FloatRange(0),
    metavar="SECONDS",
    default=0.0,
    help="Without a byte, after which a request has failed; 0 for no limit.",
)
@click.option(
    "--ready-check-timeout-sec",
    type=click.FloatRange(0),
    metavar="SECONDS",
    default=0.0,
    help="To wait for a server that is not up yet.",
)
@click.option(
    "--percentile-metrics",
    metavar="LIST",
    default="ttft,tpot,itl,e2el",
    help="Latencies to report.",
)
@click.option("--metric-percentiles", metavar="LIST", default="99", help="Percentiles of each.")
@click.option(
    "--goodput",
    multiple=True,
    metavar="LIMIT",
    help="What a good request stays within: ttft:500, tpot:50, e2el:5000; may be repeated.",
)
@click.option("--sweep", "is_sweep", is_flag=True, help="Look for the highest rate that is good.")
@click.option(
    "--sweep-target",
    type=float,
    metavar="SHARE",
    default=0.9,
    help="Share of the requests that have to be good.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of prompts and arrivals.")
@click.option(
    "--save-result",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="Write the result, with the keys of `vllm bench serve`.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Run folder: result.json, and run_meta.json with settings and numbers.",
)
@click.option(
    "--save-detailed/--no-save-detailed",
    default=True,
    help="Include what each request took and said.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Draw latencies and load over time: a page, or an image (png, svg, pdf).",
)
@config_option
@json_option
@quiet_option
def load_test(
    url: str,
    percentile_metrics: str,
    metric_percentiles: str,
    goodput: tuple[str, ...],
    headers: tuple[str, ...],
    extra_body: str,
    is_sweep: bool,
    sweep_target: float,
    save_result: Path | None,
    out: Path | None,
    save_detailed: bool,
    report: Path | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Load an OpenAI-compatible server, and measure what its clients see.

    Options and result are those of `vllm bench serve`. Without --request-rate there are always
    --max-concurrency requests in flight; with it requests come by chance, whether the server keeps
    up or not. Tokens are counted by the server or by --tokenizer, never by chunks.
    """
    from mlx_probe.lab.load_test import config as reading
    from mlx_probe.lab.load_test.load_test import DETAILS, sweep
    from mlx_probe.lab.load_test.load_test import load_test as run_test
    from mlx_probe.lab.load_test.record import begin_load_test, write_load_test

    if report is not None and report.suffix.lower() not in _SUFFIXES:
        raise ConfigError(
            f"{report} names no format for a report", f"Let it end in {', '.join(_SUFFIXES)}"
        )
    config = reading.LoadTestConfig(
        percentile_metrics=tuple(filter(None, percentile_metrics.replace(" ", "").split(","))),
        metric_percentiles=reading.parse_percentiles(metric_percentiles),
        goodput=reading.parse_goodput(goodput),
        headers=reading.parse_headers(headers),
        extra_body=reading.parse_object(extra_body),
        **settings,
    )
    run = None if out is None else begin_load_test(out)
    with counting_bar(tr("requests"), MofNCompleteColumn(), quiet) as on_progress:
        if is_sweep:
            result = sweep(url, config, reading.SweepConfig(sweep_target), on_progress)
        else:
            result = run_test(url, config, on_progress)
    shown = result
    if not save_detailed:
        shown = {key: value for key, value in result.items() if key not in DETAILS}
    if save_result is not None:
        write_text(save_result, encode(shown) + "\n")
    if run is not None and out is not None:
        write_load_test(run, out, url, shown, config)
    if report is not None:
        _draw(result, report)
    if as_json:
        print_document(document(shown))
    elif not quiet:
        output().print(load_test_text(result), markup=False)
    if result["interrupted"]:
        done = result["completed"] + result["failed"]
        raise Interrupted(f"interrupted after {done} requests", "Run the same command again")
    if not result["completed"]:
        error = next(iter(result["errors_by_count"]), "")
        raise SourceError(f"no request was completed: {error}", "Check the address and the server")


def _draw(result: dict[str, Any], path: Path) -> None:
    """Write the page, or an image."""
    form = path.suffix.lower().removeprefix(".")
    if form == "html":
        from mlx_probe.report.html.load_test_page import load_test_html

        write_text(path, load_test_html(result))
        return
    from mlx_probe.report.figures.load_test import load_test_image

    image = load_test_image(result, form)
    with replacing(path) as temporary:
        temporary.write_bytes(image)
