"""The server: the tools by their names, on standard input and output."""

from __future__ import annotations

from inspect import cleandoc

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

from mlx_probe.core.version import __version__

from .places import Places
from .tools import Tools

__all__ = ["make_server"]

_INSTRUCTIONS = (
    "mlx-probe measures the weights of language models: one row for each tensor of a model, with "
    "rank, spectrum, heavy tails and sparsity. These tools read finished runs; they start none, "
    "write nothing and reach no network. Begin with `select run, model, metrics from runs`, then "
    "findings. Use explain before you interpret a number, and say when a fit is not reliable "
    "(alpha_reliable)."
)
_READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def make_server(places: Places) -> MCPServer:
    """A server with the tools.

    Args:
        places: What they may see.
    """
    server = MCPServer(
        "mlx-probe",
        title="mlx-probe",
        instructions=_INSTRUCTIONS,
        version=__version__,
        # On standard error, which clients show to nobody: only what went wrong.
        log_level="WARNING",
    )
    tools = Tools(places)
    for name, tool in (
        ("inspect", tools.inspect),
        ("findings", tools.findings),
        ("query", tools.query),
        ("explain", tools.explain),
        ("compare-runs", tools.compare_runs),
    ):
        # The SDK takes a docstring with its indentation.
        about = cleandoc(tool.__doc__ or "")
        server.add_tool(tool, name, description=about, annotations=_READS, structured_output=True)
    return server
