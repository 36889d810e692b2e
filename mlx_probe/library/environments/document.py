"""Markdown about an environment, written from what is installed, in the reader's language."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.core.markdown import escaped, section, table
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.library.environments.check import Checked, last_check
from mlx_probe.library.environments.folder import Place, Record
from mlx_probe.library.environments.installed import Package, installed_packages
from mlx_probe.library.environments.listing import folder_size
from mlx_probe.library.environments.lock import differences
from mlx_probe.library.environments.probes import Outcome

__all__ = ["check_markdown", "environment_facts", "environment_markdown", "status_word"]


def environment_markdown(place: Place) -> str:
    """The document of an environment.

    Args:
        place: The environment.

    Raises:
        ResultError: There is no such environment.
    """
    record = place.finished()
    packages = installed_packages(place.path)
    checked = last_check(place)
    parts = [
        f"# {escaped(tr('Environment {name}', name=place.name))}",
        escaped(record.template.description),
        "\n".join(f"- {key}: {value}" for key, value in _facts(place, record, packages)),
        section(tr("Use it"), _use(place)),
        section(tr("Packages"), _packages(packages)),
        section(tr("Changed since it was made"), _changes(record, packages)),
        section(tr("Check"), _check(place, checked)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def environment_facts(place: Place) -> dict[str, Any]:
    """What the document of an environment says, for JSON.

    Args:
        place: The environment.

    Raises:
        ResultError: There is no such environment.
    """
    record = place.finished()
    checked = last_check(place)
    return {
        "name": place.name,
        "folder": str(place.path),
        "template": record.template.name,
        "template_sha256": record.template.sha256,
        "maker": record.maker,
        "made": record.made,
        "lock": record.lock or None,
        "python": record.python,
        "platform": record.platform,
        "size": folder_size(place.path),
        "packages": [asdict(package) for package in installed_packages(place.path)],
        "check": None if checked is None else checked.describe(),
    }


def check_markdown(checked: Checked) -> str:
    """The compatibility table of a check, with problems and remedies.

    Args:
        checked: What it has shown.
    """
    title = tr("Check of environment {name}", name=checked.name)
    facts = [
        (tr("template"), escaped(checked.template)),
        (tr("made by"), escaped(checked.maker)),
        ("Python", escaped(checked.python)),
        (tr("platform"), escaped(checked.platform)),
        (tr("checked"), escaped(checked.checked)),
    ]
    parts = [
        f"# {escaped(title)}",
        "\n".join(f"- {key}: {value}" for key, value in facts),
        _outcomes(checked.outcomes),
        section(tr("Problems and remedies"), _problems(checked.outcomes)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def status_word(status: str) -> str:
    """A status in the reader's language."""
    words = {
        "ok": tr("ok"),
        "warning": tr("warning"),
        "error": tr("error"),
        "skipped": tr("skipped"),
    }
    return words[status]


def _facts(place: Place, record: Record, packages: Sequence[Package]) -> Iterator[tuple[str, str]]:
    yield tr("template"), escaped(record.template.name)
    yield "SHA-256", record.template.sha256
    yield tr("made by"), escaped(record.maker)
    yield tr("made"), escaped(record.made)
    if record.lock:
        yield tr("lock file"), escaped(record.lock)
    yield "Python", escaped(f"{record.python} ({record.implementation})")
    yield tr("platform"), escaped(record.platform)
    yield tr("folder"), escaped(str(place.path))
    yield tr("packages"), f"{len(packages)}"
    yield tr("size"), format_size(folder_size(place.path))


def _use(place: Place) -> str:
    command = shlex.join(["source", str(place.path / "bin" / "activate")])
    return "\n".join(("```bash", command, "```"))


def _packages(packages: Sequence[Package]) -> str:
    header = [tr("package"), tr("version"), tr("size"), tr("licence"), tr("what it is")]
    rows = (
        [
            f"[{escaped(package.title)}]({package.home})"
            if package.home.startswith("https://") and not set("() <>") & set(package.home)
            else escaped(package.title),
            escaped(package.version),
            format_size(package.size),
            escaped(package.licence),
            escaped(package.summary),
        ]
        for package in packages
    )
    return table(header, rows) if packages else ""


def _changes(record: Record, packages: Sequence[Package]) -> str:
    now = {package.name: package.version for package in packages}
    changed = differences(record.versions, now)
    rows = (
        [escaped(name), escaped(before or "-"), escaped(installed or "-")]
        for name, before, installed in changed
    )
    header = [tr("package"), tr("when it was made"), tr("now")]
    return table(header, rows) if changed else ""


def _check(place: Place, checked: Checked | None) -> str:
    if checked is None:
        command = shlex.join(["mlx-probe", "env", "check", place.name])
        return tr("Not checked yet: `{command}`", command=command)
    when = tr("Checked at {time}", time=checked.checked)
    problems = _problems(checked.outcomes)
    return "\n\n".join(filter(None, (when, _outcomes(checked.outcomes), problems)))


def _outcomes(outcomes: Sequence[Outcome]) -> str:
    header = [tr("check"), tr("version"), tr("result"), tr("what was seen")]
    rows = (
        [
            escaped(translated(outcome.check)),
            escaped(outcome.version),
            status_word(outcome.status),
            escaped(translated(outcome.fact)),
        ]
        for outcome in outcomes
    )
    return table(header, rows)


def _problems(outcomes: Sequence[Outcome]) -> str:
    return "\n".join(
        f"- {escaped(translated(outcome.check))}: {escaped(translated(outcome.fact))}"
        + (f"\n  - {escaped(translated(outcome.remedy))}" if outcome.remedy else "")
        for outcome in outcomes
        if outcome.status in ("warning", "error")
    )
