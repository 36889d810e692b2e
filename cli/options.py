"""Options and parameter types that commands share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.units import parse_duration
from mlx_probe.runs.monitor.rules import QUANTITIES, parse_rule
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.table import WRITERS

from .small_options import SIZE, complete_files, quiet_option

if TYPE_CHECKING:
    from mlx_probe.analysis.cluster.config import ClusterConfig
    from mlx_probe.runs.exporters.live import LogTarget

__all__ = [
    "DURATION",
    "SIZE",
    "cluster_options",
    "comparing_cluster_options",
    "complete_files",
    "complete_metrics",
    "config_option",
    "device_option",
    "format_option",
    "log_to_option",
    "model_argument",
    "out_option",
    "overwrite_option",
    "quiet_option",
    "resume_option",
    "revision_option",
    "spread_over",
    "watch_options",
    "workers_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])


class _Duration(click.ParamType[int]):
    """A span of time with its unit: 90s, 30m, 12h, 7d, 2w."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int) and value > 0:
            return value
        seconds = parse_duration(str(value))
        if not seconds:
            self.fail(f"{value!r} is not a time such as 30m, 12h or 7d", param, ctx)
        return seconds


DURATION = _Duration()


class _Alert(click.ParamType[str]):
    """A rule of the monitor; semicolons separate the rules in an environment variable."""

    name = "rule"
    # Rules contain spaces.
    envvar_list_splitter = ";"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return parse_rule(str(value)).text


_WATCH = WatchConfig()

# Values that mean "not set" in YAML.
_NOTHING = ("", "~", "null")


def _load_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Let a YAML file set the defaults of the command's options."""
    if path is None:
        return
    # Here, because most commands are started without a file.
    import yaml

    try:
        # Values stay text, so that each option reads its own as on the command line and
        # `revision: 1.10` is no number. This loader makes only text, lists and mappings.
        entries = yaml.load(path.read_text("utf-8"), yaml.BaseLoader) or {}
    except (OSError, UnicodeError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(
            f"cannot read {path}: {error}", "Check the file's path and its YAML syntax"
        ) from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path} is not a mapping", "Write one `option: value` per line")
    options = _by_key(ctx.command, param)
    other = getattr(ctx.command, "settings_of", None)
    group = ctx.parent.command if ctx.parent is not None else None
    # What the file sets for the other command alone.
    elsewhere: Mapping[str, click.Option] = {}
    if other is not None and isinstance(group, click.Group):
        elsewhere = _by_key(group.commands[other], param)
    defaults = dict(ctx.default_map or {})
    for key, value in entries.items():
        option = options.get(str(key).replace("-", "_"))
        if option is None or option.name is None:
            if str(key).replace("-", "_") in elsewhere:
                continue
            near = difflib.get_close_matches(str(key), options, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(options)}"
            raise ConfigError(f"{path}: unknown key {key!r}", hint)
        if value in _NOTHING:
            continue
        values = value if isinstance(value, list) and option.multiple else [value]
        if not all(isinstance(item, str) for item in values):
            what = "one value or a list of values" if option.multiple else "one value"
            raise ConfigError(f"{path}: {key!r} cannot be {value!r}", f"Give it {what}")
        defaults[option.name] = values if option.multiple else value
    ctx.default_map = defaults


def _by_key(command: click.Command, without: click.Parameter) -> dict[str, click.Option]:
    """A command's options by their keys in a YAML file, without the one that names the file."""
    return {
        name.lstrip("-").replace("-", "_"): option
        for option in command.params
        if isinstance(option, click.Option) and option.name != without.name
        for name in option.opts
    }


def complete_metrics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Let the shell complete the name of a metric."""
    from mlx_probe.metrics import METRICS

    return [metric.name for metric in METRICS if metric.name.startswith(incomplete)]


def model_argument(command: Command) -> Command:
    """The MODEL argument."""
    return click.argument("model", shell_complete=complete_files)(command)


def revision_option(command: Command) -> Command:
    """--revision."""
    return click.option(
        "--revision", metavar="REV", help="Commit, branch or tag on the Hub; package version."
    )(command)


def config_option(command: Command) -> Command:
    """--config: below options and environment, above built-in defaults."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.yaml",
        is_eager=True,
        expose_value=False,
        callback=_load_config,
        help="Defaults for these options. An option or its environment variable wins over it.",
    )(command)


def out_option(folder: str) -> Callable[[Command], Command]:
    """--out: the help names ``folder`` as the default."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        help="Folder for the results, or a file whose suffix names the format.  "
        f"[default: {folder}]",
    )


def device_option(text: str) -> Callable[[Command], Command]:
    """--device of the commands that run a model through MLX; ``text`` is the help."""
    return click.option(
        "--device", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", help=text
    )


def format_option(command: Command) -> Command:
    """--format, repeatable."""
    return click.option(
        "--format",
        "formats",
        multiple=True,
        type=click.Choice(list(WRITERS)),
        help=f"Table format; may be repeated.  [default: {next(iter(WRITERS))}]",
    )(command)


def workers_option(what: str) -> Callable[[Command], Command]:
    """--workers: the help says that ``what`` are in flight."""
    return click.option(
        "--workers",
        type=click.IntRange(0),
        metavar="N",
        default=0,
        help=f"{what} in flight; 0 means one for each core.",
    )


def cluster_options(command: Command) -> Command:
    """--cluster, --model-path-on-workers and --full-hash: the fields of `ClusterConfig`."""
    return _cluster_options(command, (("--model-path-on-workers", "model_paths", "MODEL"),))


def comparing_cluster_options(command: Command) -> Command:
    """The same for two models: --cluster, --a-on-workers, --b-on-workers and --full-hash."""
    places = (("--a-on-workers", "model_paths", "A"), ("--b-on-workers", "other_model_paths", "B"))
    return _cluster_options(command, places)


def _cluster_options(command: Command, places: Sequence[tuple[str, str, str]]) -> Command:
    """Options that say where workers have models, between the others."""
    options = [
        click.option(
            "--cluster",
            metavar="ADDRESS",
            help="Let the workers of a Dask cluster compute: tcp://host:8786, or local:N for N "
            "processes on this machine.",
        ),
        *(
            click.option(
                option,
                field,
                multiple=True,
                metavar="[HOST=]PATH",
                help=f"With --cluster: where workers have {what}, if not under the path that it "
                "has here or under its published name; may be repeated, once for each host.",
            )
            for option, field, what in places
        ),
        click.option(
            "--full-hash",
            is_flag=True,
            help="With --cluster: compare the SHA-256 of whole files with those of each worker.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def spread_over(
    cluster: str | None,
    model_paths: tuple[str, ...],
    full_hash: bool,
    other_model_paths: tuple[str, ...] = (),
) -> ClusterConfig | None:
    """What `cluster_options` say; None for this process alone.

    Raises:
        ConfigError: The others without --cluster, or no address.
    """
    if cluster is not None:
        from mlx_probe.analysis.cluster.config import ClusterConfig

        return ClusterConfig(cluster, model_paths, full_hash, other_model_paths=other_model_paths)
    if model_paths or full_hash or other_model_paths:
        raise ConfigError(
            "where workers have a model, and --full-hash, are about the workers of a cluster",
            "Name it with --cluster, or leave them out",
        )
    return None


def _log_targets(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> tuple[LogTarget, ...]:
    if not texts:
        return ()
    from mlx_probe.runs.exporters.live import parse_target

    return tuple(dict.fromkeys(map(parse_target, texts)))


def log_to_option(command: Command) -> Command:
    """--log-to, repeatable: where `logged_progress` logs."""
    return click.option(
        "--log-to",
        "targets",
        multiple=True,
        metavar="NAME[=PATH]",
        callback=_log_targets,
        help="Log each step to tensorboard, trackio, mlflow or csv as well, in the folder PATH; "
        "may be repeated, and changes no result.  [default of PATH: data/exports/NAME]",
    )(command)


def resume_option(command: Command) -> Command:
    """--resume or --no-resume."""
    return click.option(
        "--resume/--no-resume",
        default=True,
        help="Continue an interrupted run with the same settings.",
    )(command)


def overwrite_option(command: Command) -> Command:
    """--overwrite."""
    return click.option(
        "--overwrite",
        is_flag=True,
        help="Replace what --out holds: another run, or files of yours with these names.",
    )(command)


def watch_options(command: Command) -> Command:
    """--alert and --prometheus: settings of `WatchConfig`."""
    rules = click.option(
        "--alert",
        multiple=True,
        type=_Alert(),
        metavar="RULE",
        default=_WATCH.alert,
        help='A rule such as "memory above 90% pause" or "disk below 5GB stop"; may be repeated, '
        f"and replaces the default. Quantities: {', '.join(QUANTITIES)}; above, below or growing; "
        "then warn, pause reading until it is over, or stop with everything saved.",
    )
    port = click.option(
        "--prometheus",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        default=_WATCH.prometheus,
        help="Port of 127.0.0.1 that serves the samples to Prometheus; 0 for none.",
    )
    return rules(port(command))
