"""`mlx-probe serve`."""

from __future__ import annotations

from typing import Any

import click

from mlx_probe.core.language import tr
from mlx_probe.report.terminal.plain import plain

from .command import Command
from .options import SIZE, config_option, device_option, model_argument, quiet_option

__all__ = ["serve"]


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe serve Qwen/Qwen3-0.6B",
        "mlx-probe serve ./runs/shakespeare --port 0 --name shakespeare",
        "mlx-probe serve ./model --host 0.0.0.0 --token correct-horse",
    ),
)
@model_argument
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    help="Where to listen; any address that other machines reach wants a token.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=8080,
    help="0 takes one that is free.",
)
@click.option(
    "--token",
    metavar="TOKEN",
    default="",
    show_default=False,
    help="What clients have to send; better in the environment, where no other user sees it.",
)
@click.option("--name", metavar="NAME", default="", help="What requests call it; MODEL by default.")
@click.option("--adapter", metavar="DIR", default="", help="Adapter of mlx-lm on top of MODEL.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    metavar="N",
    default=512,
    help="Of an answer, where the request does not say.",
)
@click.option(
    "--temperature",
    type=float,
    metavar="T",
    default=0.0,
    help="Where the request does not say; 0 takes the most likely token.",
)
@click.option(
    "--top-p", type=float, metavar="P", default=1.0, help="Where the request does not say."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    metavar="N",
    default=32,
    help="Requests that are computed together; more wait.",
)
@click.option(
    "--prompt-cache",
    type=click.IntRange(1),
    metavar="N",
    default=10,
    help="Prompts whose keys and values are kept for the next ones that begin alike.",
)
@click.option(
    "--max-request", type=SIZE, metavar="SIZE", default="4MiB", help="Of a request, at most."
)
@click.option(
    "--idle-timeout",
    type=float,
    metavar="SECONDS",
    default=60.0,
    help="That a client may send or read nothing.",
)
@click.option(
    "--allow-origin",
    "allowed_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Web page that may use the server, such as http://localhost:3000; may be repeated.",
)
@device_option("Where the model runs; auto takes a GPU where MLX has one.")
@config_option
@quiet_option
def serve(model: str, device: str, quiet: bool, **settings: Any) -> None:
    """Serve MODEL by OpenAI's interface, until Ctrl-C.

    MODEL is what `mlx-probe generate` takes; mlx-lm's server answers. There are
    /v1/chat/completions with streaming and tools, /v1/completions, /v1/models, /health, and
    /metrics for Prometheus. Standard output says where it listens, standard error has a line for
    each request.
    """
    from mlx_probe.lab.serve.config import ServeConfig
    from mlx_probe.lab.serve.handler import report
    from mlx_probe.lab.serve.serve import ModelServer
    from mlx_probe.lab.serve.serve import serve as run

    def on_ready(server: ModelServer) -> None:
        click.echo(
            tr(
                "Serving {model} at {url}/v1; Ctrl-C stops it.",
                model=plain(server.service.names[0]),
                url=server.url,
            )
        )

    run(
        model,
        ServeConfig(**settings),
        device,
        on_ready,
        on_request=(lambda line: None) if quiet else report,
    )
