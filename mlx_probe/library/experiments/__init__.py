"""Runs of every kind on this machine: found again, listed, compared, kept in order."""

from mlx_probe.library.experiments.bin import (
    empty_bin,
    find_binned,
    load_bin,
    plan_removal,
    remove_run,
    restore_run,
    settle_bin,
)
from mlx_probe.library.experiments.conditions import parse_conditions, quantity_of
from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.library.experiments.resolving import find_run, resolve_run
from mlx_probe.library.experiments.scanning import (
    RunScan,
    remembered_run_folders,
    scan_experiments,
)
from mlx_probe.library.experiments.selecting import Selection, moment, select_runs, sort_runs
from mlx_probe.library.experiments.storing import (
    add_run_tags,
    forget_runs,
    load_runs,
    remove_run_tags,
    set_run_note,
)

__all__ = [
    "RunScan",
    "Selection",
    "StoredRun",
    "add_run_tags",
    "empty_bin",
    "find_binned",
    "find_run",
    "forget_runs",
    "load_bin",
    "load_runs",
    "moment",
    "parse_conditions",
    "plan_removal",
    "quantity_of",
    "remembered_run_folders",
    "remove_run",
    "remove_run_tags",
    "resolve_run",
    "restore_run",
    "scan_experiments",
    "select_runs",
    "set_run_note",
    "settle_bin",
    "sort_runs",
]
