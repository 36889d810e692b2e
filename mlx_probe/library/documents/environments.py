"""What is installed in an environment, for its document."""

from __future__ import annotations

import platform
import re
import sys
from importlib.metadata import distributions
from pathlib import Path

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.markdown import escaped, table

__all__ = ["environment_values"]


def environment_values(name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Front matter and fields of an environment's document.

    Args:
        name: Its folder; "." for the one that this program runs in.

    Raises:
        ConfigError: There is no environment.
    """
    folder = Path(sys.prefix) if name == "." else Path(name).expanduser().absolute()
    places = [str(path) for path in _site_packages(folder)]
    if not places:
        raise ConfigError(
            f"{folder} is no environment of Python: it has no site-packages",
            "Name a folder that venv, uv or conda made, or . for this one",
        )
    # Of this program's own environment also what lies elsewhere on its path.
    found = distributions() if name == "." else distributions(path=places)
    versions: dict[str, str] = {}
    for each in found:
        if (title := each.metadata["Name"]) and title not in versions:
            versions[title] = each.version
    rows = [
        (escaped(title), escaped(version))
        for title, version in sorted(versions.items(), key=lambda item: item[0].lower())
    ]
    facts = [
        (tr("folder"), escaped(str(folder))),
        ("Python", escaped(_python(folder, name))),
        (tr("system"), escaped(platform.platform())),
        (tr("packages"), str(len(rows))),
    ]
    body = f"{table(('', ''), facts)}\n\n{table((tr('package'), tr('version')), rows)}"
    return {"environment": str(folder)}, {"packages": body}


def _site_packages(folder: Path) -> list[Path]:
    return sorted(
        path
        for pattern in ("lib/python3*/site-packages", "Lib/site-packages")
        for path in folder.glob(pattern)
        if path.is_dir()
    )


def _python(folder: Path, name: str) -> str:
    if name == ".":
        return platform.python_version()
    try:
        text = (folder / "pyvenv.cfg").read_text("utf-8", "replace")
    except OSError:
        text = ""
    found = re.search(r"(?m)^version(?:_info)?\s*=\s*(\S+)", text)
    if found:
        return found[1]
    return next((path.parent.name.removeprefix("python") for path in _site_packages(folder)), "")
