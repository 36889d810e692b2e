"""Environments that never share packages: made from templates, locked, checked, described.

`create` is the main path.
"""

from __future__ import annotations

from mlx_probe.library.environments.check import CheckConfig, Checked, check
from mlx_probe.library.environments.create import Made, create
from mlx_probe.library.environments.document import (
    check_markdown,
    environment_facts,
    environment_markdown,
    status_word,
)
from mlx_probe.library.environments.export import export
from mlx_probe.library.environments.failures import InstallError
from mlx_probe.library.environments.folder import Place, environments_folder
from mlx_probe.library.environments.listing import Listed, folder_size, list_environments
from mlx_probe.library.environments.lock import Lock, read_lock
from mlx_probe.library.environments.makers import MAKERS, Sources
from mlx_probe.library.environments.template import TEMPLATES, Template, read_template

__all__ = [
    "MAKERS",
    "TEMPLATES",
    "CheckConfig",
    "Checked",
    "InstallError",
    "Listed",
    "Lock",
    "Made",
    "Place",
    "Sources",
    "Template",
    "check",
    "check_markdown",
    "create",
    "environment_facts",
    "environment_markdown",
    "environments_folder",
    "export",
    "folder_size",
    "list_environments",
    "read_lock",
    "read_template",
    "status_word",
]
