"""The configuration of a lab's job: a YAML file of sections, read into frozen dataclasses.

A section is a field that is itself a dataclass:

    model:
      dim: 128
    train:
      steps: 600

A change on the command line names a key as `train.steps=600`, or as `steps=600` where only one
section has it.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mlx_probe.core.errors import ConfigError

__all__ = ["read_settings", "settings_but", "settings_to_dict", "settings_to_yaml"]

Settings = TypeVar("Settings")

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def read_settings(
    kind: type[Settings], path: Path | None = None, changes: Iterable[str] = ()
) -> Settings:
    """Read a configuration.

    Args:
        kind: A frozen dataclass whose fields are frozen dataclasses. It validates itself.
        path: A YAML file; None takes the defaults.
        changes: KEY=VALUE, above the file; later ones win. VALUE is YAML text, as in the file.

    Returns:
        The configuration.

    Raises:
        ConfigError: The file cannot be read, a key is unknown, or a value has no meaning there.
    """
    sections = _sections(kind)
    values: dict[str, dict[str, Any]] = {name: {} for name in sections}
    for section, entries in (_load(path) if path is not None else {}).items():
        if section not in sections:
            raise ConfigError(f"{path}: unknown section {section!r}", _near(section, sections))
        if not isinstance(entries, dict):
            raise ConfigError(f"{path}: {section} is not a mapping", "Write `key: value` below it")
        known = _types(sections[section])
        for key, text in entries.items():
            if key not in known:
                raise ConfigError(f"{path}: unknown key {section}.{key}", _near(key, known))
            values[section][key] = _convert(f"{section}.{key}", text, known[key])
    for change in changes:
        section, key, text = _split(change, sections)
        values[section][key] = _convert(f"{section}.{key}", text, _types(sections[section])[key])
    return kind(**{name: _made(name, sections[name], values[name]) for name in sections})


def settings_to_dict(settings: Any) -> dict[str, Any]:
    """A configuration as mappings, lists, text and numbers, for JSON."""
    described: dict[str, Any] = _plain(asdict(settings))
    return described


def settings_but(settings: Any, free: Collection[str]) -> dict[str, Any]:
    """The settings of all sections by their full keys, "train.steps", without some of them."""
    return {
        key: value
        for section, entries in settings_to_dict(settings).items()
        for name, value in entries.items()
        if (key := f"{section}.{name}") not in free
    }


def settings_to_yaml(settings: Any) -> str:
    """A configuration as a YAML file that `read_settings` reads back."""
    return yaml.safe_dump(settings_to_dict(settings), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _made(section: str, kind: Any, values: Mapping[str, Any]) -> Any:
    """A section's dataclass; what it refuses is named as the user writes it."""
    try:
        return kind(**values)
    except ConfigError as error:
        key, space, rest = error.fact.partition(" ")
        if key not in _types(kind):
            raise
        raise ConfigError(f"{section}.{key}{space}{rest}", error.remedy) from error


def _sections(kind: type) -> dict[str, Any]:
    return {name: hint for name, hint in _types(kind).items() if is_dataclass(hint)}


def _types(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _load(path: Path) -> dict[str, Any]:
    try:
        # Values stay text, and each setting reads its own: `1e-3` is text for PyYAML's numbers.
        entries = yaml.load(path.read_text("utf-8"), yaml.BaseLoader) or {}
    except (OSError, UnicodeError, RecursionError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot read {path}: {reason}", "Check the file's path and its YAML syntax"
        ) from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path} is not a mapping", "Write sections such as `train:` in it")
    return entries


def _split(change: str, sections: Mapping[str, Any]) -> tuple[str, str, Any]:
    """Section, key and value of KEY=VALUE."""
    name, equals, text = change.partition("=")
    if not equals:
        raise ConfigError(f"{change!r} is not KEY=VALUE", "Write for example train.steps=600")
    everything = [f"{part}.{key}" for part in sections for key in _types(sections[part])]
    matches = [full for full in everything if name in (full, full.partition(".")[2])]
    if not matches:
        raise ConfigError(f"unknown key {name!r}", _near(name, everything))
    if len(matches) > 1:
        raise ConfigError(f"{name!r} is ambiguous", f"Write one of {', '.join(matches)}")
    section, _, key = matches[0].partition(".")
    try:
        return section, key, yaml.load(text, yaml.BaseLoader) or ""
    except yaml.YAMLError as error:
        raise ConfigError(f"{change!r} cannot be read: {error}", "Quote the value") from error


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    ends = {full.rpartition(".")[2]: full for full in names} | {full: full for full in names}
    near = difflib.get_close_matches(name, ends, n=1)
    return f"Did you mean {ends[near[0]]!r}?" if near else f"Known keys: {', '.join(names)}"


def _convert(name: str, text: Any, hint: Any) -> Any:
    """The value of a setting from its text.

    Raises:
        ConfigError: The text is no such value.
    """
    origin = typing.get_origin(hint)
    if origin is tuple:
        items = text if isinstance(text, list) else [text] if text != "" else []
        return tuple(_convert(name, item, typing.get_args(hint)[0]) for item in items)
    if not isinstance(text, str):
        raise ConfigError(f"{name} cannot be {text!r}", "Give it one value")
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        if text in choices:
            return text
        raise ConfigError(f"{name} cannot be {text!r}", f"Choose one of {', '.join(choices)}")
    if origin in (typing.Union, types.UnionType):
        if text.lower() in ("", "~", "null", "none"):
            return None
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if hint is bool:
        if text.lower() not in _BOOLEANS:
            raise ConfigError(f"{name} cannot be {text!r}", "Write true or false")
        return _BOOLEANS[text.lower()]
    try:
        return hint(text.replace("_", "")) if hint in (int, float) else hint(text)
    except ValueError as error:
        kind = {int: "a whole number", float: "a number"}.get(hint, "another value")
        raise ConfigError(f"{name} cannot be {text!r}", f"Give it {kind}") from error
