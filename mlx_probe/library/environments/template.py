"""A template: what an environment is made of, and what has to work in it."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.environments.probes import IMPORT, PROBES

__all__ = ["TEMPLATES", "Template", "read_template", "template_from"]

# In a checkout a link to configs/env/, which is easier to find.
TEMPLATES = Path(__file__).with_name("templates")
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Template:
    """What an environment is made of.

    Attributes:
        name: Its name.
        description: What it is for, in one line.
        python: Versions of Python that fit, such as ">=3.11,<3.15"; "" for any.
        requirements: Packages as PEP 508 writes them, with markers for platforms.
        check: What has to work: members of `PROBES`, or "import NAME".
    """

    name: str
    description: str
    python: str
    requirements: tuple[str, ...]
    check: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hash of all of it, as 64 hex digits; comments and layout of the file do not count."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read_template(text: str) -> Template:
    """Read a template.

    Args:
        text: The name of one that comes with mlx-probe, or the path of a YAML file.

    Raises:
        ConfigError: There is none, or it makes no sense.
    """
    path = Path(text).expanduser()
    if path.suffix not in _SUFFIXES and path.name == text:
        names = sorted(each.stem for each in TEMPLATES.glob("*.yaml"))
        if text not in names:
            hint = _near(text, names, "Templates")
            raise ConfigError(f"no template is called {text!r}", hint)
        path = TEMPLATES / f"{text}.yaml"
    # Here, because most commands are started without a file.
    import yaml

    try:
        entries = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)
    except (OSError, UnicodeError, RecursionError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot read {path}: {reason}", "Check the file's path and its YAML syntax"
        ) from error
    return template_from(entries, str(path))


def template_from(entries: Any, where: str) -> Template:
    """A template from the entries of a file.

    Args:
        entries: What the file holds.
        where: The file, for messages.

    Raises:
        ConfigError: A key is unknown or missing, or a value makes no sense.
    """
    if not isinstance(entries, dict):
        raise ConfigError(f"{where} is not a mapping", "Write one `key: value` per line")
    known = [field.name for field in fields(Template)]
    for key in entries:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}", _near(str(key), known, "Keys"))
    template = Template(
        name=_text(entries, "name", where),
        description=_text(entries, "description", where),
        python=_text(entries, "python", where) if entries.get("python") else "",
        requirements=_texts(entries, "requirements", where),
        check=_texts(entries, "check", where) if entries.get("check") else (),
    )
    _validate(template, where)
    return template


def _validate(template: Template, where: str) -> None:
    try:
        SpecifierSet(template.python)
    except InvalidSpecifier as error:
        raise ConfigError(
            f"{where}: {template.python!r} names no versions of Python", "Write for example >=3.11"
        ) from error
    for line in template.requirements:
        try:
            Requirement(line)
        except InvalidRequirement as error:
            raise ConfigError(
                f"{where}: {line!r} is no requirement",
                "Write for example mlx>=0.32; sys_platform == 'darwin'",
            ) from error
    for check in template.check:
        module = check.removeprefix(IMPORT)
        if check.startswith(IMPORT) and all(map(str.isidentifier, module.split("."))):
            continue
        if check not in PROBES:
            hint = _near(check, [*PROBES, f"{IMPORT}NAME"], "Checks")
            raise ConfigError(f"{where}: no check is called {check!r}", hint)


def _text(entries: Mapping[str, Any], key: str, where: str) -> str:
    value = entries.get(key)
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ConfigError(f"{where}: {key} is not one line of text", f"Write `{key}: TEXT`")
    return value


def _texts(entries: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = entries.get(key)
    # A list that comes from YAML or JSON; text alone would become a list of letters.
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(item, str) and item.isprintable() for item in value
    ):
        raise ConfigError(f"{where}: {key} is not a list of texts", "Write one `- TEXT` per line")
    return tuple(value)


def _near(name: str, known: Iterable[str], what: str) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"{what}: {', '.join(names)}"
