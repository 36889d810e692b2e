"""A load test as a run: its folder, and what run_meta.json says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.files import write_error, write_text
from mlx_probe.runs.experiments.records import Input
from mlx_probe.runs.small_run import SmallRun, data_input, refuse_other_run
from mlx_probe.runs.table.strict_json import encode

if TYPE_CHECKING:
    from mlx_probe.lab.load_test.config import LoadTestConfig

__all__ = ["KIND", "RESULT", "begin_load_test", "write_load_test"]

KIND, RESULT = "load-test", "result.json"
# Nobody should read them later.
_HIDDEN = frozenset({"token", "headers"})
# Numbers of the result that are settings.
_SETTINGS = frozenset({"num_prompts", "request_rate", "burstiness", "max_concurrency", "seed"})


def begin_load_test(out: Path) -> SmallRun:
    """Begin a test that will be written to a folder.

    Raises:
        ConfigError: It is a file.
        ResultError: It holds another command's run.
    """
    refuse_other_run(out, KIND)
    return SmallRun(KIND)


def write_load_test(
    run: SmallRun, out: Path, url: str, result: Mapping[str, Any], config: LoadTestConfig
) -> None:
    """Write the result, then run_meta.json.

    Args:
        run: The command.
        out: The folder.
        url: The server's address, as the user gave it.
        result: With the keys of `vllm bench serve`.
        config: Settings.

    Raises:
        ResultError: The disk refused.
    """
    write_text(out / RESULT, encode(result) + "\n")
    inputs = [Input("model", f"{result['model_id']} at {url}")]
    if config.dataset_path is not None:
        inputs.append(data_input(str(config.dataset_path)))
    settings = {name: value for name, value in asdict(config).items() if name not in _HIDDEN}
    try:
        run.write(
            out,
            inputs,
            {"url": url, **settings},
            _numbers(result),
            files=[RESULT],
            interrupted=bool(result["interrupted"]),
        )
    except OSError as error:
        raise write_error(out, error) from error


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """Throughput, latencies, and of a sweep the highest rate that holds."""
    values = {**result, **{f"sweep.{k}": v for k, v in (result.get("sweep") or {}).items()}}
    return {
        name: value
        for name, value in values.items()
        if name not in _SETTINGS and isinstance(value, (int, float)) and type(value) is not bool
    }
