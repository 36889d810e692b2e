"""Backups: snapshots of runs, documents, configuration and catalog that can be restored."""

from mlx_probe.library.backup.config import LARGE, SILENT, BackupConfig, Progress
from mlx_probe.library.backup.defaults import default_paths
from mlx_probe.library.backup.drill import DrillConfig
from mlx_probe.library.backup.records import (
    Created,
    Drill,
    Entry,
    LeftOut,
    Pruning,
    Restored,
    Snapshot,
    Verification,
)
from mlx_probe.library.backup.repository import (
    REPOSITORIES,
    Repository,
    choose_repository,
    open_repository,
)
from mlx_probe.library.backup.retention import Keep
from mlx_probe.library.backup.schedule import SCHEDULERS, Schedule, default_scheduler, parse_time
from mlx_probe.library.backup.walk import Roots, resolve
from mlx_probe.library.backup.weights import WeightCheck, check_weights

__all__ = [
    "LARGE",
    "REPOSITORIES",
    "SCHEDULERS",
    "SILENT",
    "BackupConfig",
    "Created",
    "Drill",
    "DrillConfig",
    "Entry",
    "Keep",
    "LeftOut",
    "Progress",
    "Pruning",
    "Repository",
    "Restored",
    "Roots",
    "Schedule",
    "Snapshot",
    "Verification",
    "WeightCheck",
    "check_weights",
    "choose_repository",
    "default_paths",
    "default_scheduler",
    "open_repository",
    "parse_time",
    "resolve",
]
