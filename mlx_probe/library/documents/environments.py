"""What is installed in an environment, for its document."""

from __future__ import annotations

import platform
import re
import sys
from importlib.metadata import distributions
from pathlib import Path

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.markdown import code, escaped, table
from mlx_probe.library.environments import Place, environment_markdown, environments_folder
from mlx_probe.library.environments.installed import installed_packages, site_folders

__all__ = ["environment_values"]

_HERE = "."


def environment_values(name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Front matter and fields of an environment's document.

    Args:
        name: One that `mlx-probe env list` shows, the folder of any other, or "." for the one
            that this program runs in.

    Raises:
        ConfigError: There is no environment.
        ResultError: It is not finished.
    """
    folders = environments_folder(None)
    if name != _HERE and "/" not in name and (folders / name).is_dir():
        # Below a heading of the template; its own title is the document's.
        text = environment_markdown(Place(folders, name)).partition("\n\n")[2]
        body = re.sub(r"^## ", "### ", text, flags=re.MULTILINE).strip()
        return {"environment": str(folders / name)}, {"packages": body}
    folder = Path(sys.prefix) if name == _HERE else Path(name).expanduser().absolute()
    if not site_folders(folder):
        raise ConfigError(
            f"{folder} is no environment of Python: it has no site-packages",
            "Name one that `mlx-probe env list` shows, a folder that venv, uv or conda made, or . "
            "for this one",
        )
    versions = _here() if name == _HERE else _there(folder)
    rows = [(escaped(title), escaped(version)) for title, version in versions.items()]
    facts = [
        (tr("folder"), code(str(folder))),
        ("Python", escaped(_python(folder, name))),
        (tr("system"), escaped(platform.platform())),
        (tr("packages"), str(len(rows))),
    ]
    body = f"{table(('', ''), facts)}\n\n{table((tr('package'), tr('version')), rows)}"
    return {"environment": str(folder)}, {"packages": body}


def _there(folder: Path) -> dict[str, str]:
    return {package.title: package.version for package in installed_packages(folder)}


def _here() -> dict[str, str]:
    """Of this program's own environment also what lies elsewhere on its path."""
    versions: dict[str, str] = {}
    for each in distributions():
        if title := each.metadata["Name"]:
            versions.setdefault(title, each.version)
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def _python(folder: Path, name: str) -> str:
    if name == _HERE:
        return platform.python_version()
    try:
        text = (folder / "pyvenv.cfg").read_text("utf-8", "replace")
    except OSError:
        text = ""
    found = re.search(r"(?m)^version(?:_info)?\s*=\s*(\S+)", text)
    # Of conda the folder says at least which one.
    return found[1] if found else site_folders(folder)[0].parent.name.removeprefix("python")
