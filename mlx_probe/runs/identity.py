"""What makes a run the same as an earlier one, and how two runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_probe.core.version import __version__
from mlx_probe.runs.commands import command_name

__all__ = ["RunIdentity"]

# Settings that decide how fast a run is, and no row.
_PACE = ("workers", "memory_limit", "device")
# Settings that only a run has which was asked for them, with what the others have.
_ASKED_FOR = {"extract": None}


@dataclass(frozen=True)
class RunIdentity:
    """What makes a run the same as an earlier one.

    Attributes:
        kind: Name of the command; of a group and its command with a hyphen between.
        fingerprint: SHA-256 of everything that decides a record's values, as hex digits.
        described: "model" or "models", "configuration" and "stamps" as the metadata have them,
            and the names of the "kernels" in use: says in which way an earlier run differs.
    """

    kind: str
    fingerprint: str
    described: Mapping[str, Any]

    @property
    def command(self) -> str:
        """The command as it is typed, "moe stats" for the kind "moe-stats"."""
        return command_name(self.kind)

    def describe(self) -> dict[str, Any]:
        """For the plan, so that an unfinished run can say what it is."""
        return {
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "code_version": __version__,
            **self.described,
        }

    def is_repeated(self, earlier: Mapping[str, Any]) -> bool:
        """Whether an earlier run had the same inputs and options, whatever the inputs held."""
        return not self._other_request(earlier)

    def differs(self, earlier: Mapping[str, Any]) -> str:
        """In which way an earlier run differs, for messages; "" for the same run."""
        if earlier.get("fingerprint") == self.fingerprint:
            return ""
        if request := self._other_request(earlier):
            return request
        if earlier.get("code_version") != __version__:
            return f"by mlx-probe {earlier.get('code_version')}"
        if (before := earlier.get("stamps")) is None:
            return "by an earlier mlx-probe"
        if _plain(before) != _plain(self.described.get("stamps")):
            return "of this model before its weight files changed"
        return "of this model, made on another machine or with other libraries"

    def _other_request(self, earlier: Mapping[str, Any]) -> str:
        kind = earlier.get("kind", "analyze")
        if kind != self.kind:
            return f"of `mlx-probe {command_name(str(kind))}`"
        models = _models(earlier)
        if [_which(model) for model in models] != [_which(m) for m in _models(self.described)]:
            names = " and ".join(f"{m.get('id')} ({m.get('path')})" for m in models)
            return f"of {names or 'an unknown model'}"
        before, now = _settings(earlier), _settings(self.described)
        changed = [name for name in before if name in now and before[name] != now[name]]
        if changed:
            pairs = (f"{n}: {_text(before[n])}, now {_text(now[n])}" for n in changed)
            return f"with other options ({'; '.join(pairs)})"
        kernels, own = earlier.get("kernels"), self.described.get("kernels")
        # Their rows differ in the last digits, and are of use to a run that has them again.
        if isinstance(kernels, list) and isinstance(own, list) and kernels != own:
            return f"with other compiled kernels ({_text(kernels)}, now {_text(own)})"
        return ""


def _models(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    models = described.get("models")
    among = list(models.values()) if isinstance(models, dict) else [described.get("model")]
    return [model for model in among if isinstance(model, Mapping)]


def _which(model: Mapping[str, Any]) -> tuple[object, object]:
    return model.get("path"), model.get("revision")


def _settings(described: Mapping[str, Any]) -> dict[str, Any]:
    settings = described.get("configuration")
    settings = _plain(settings) if isinstance(settings, Mapping) else {}
    kept = {name: value for name, value in settings.items() if name not in _PACE}
    return _ASKED_FOR | kept


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)


def _plain(value: Any) -> Any:
    """As JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(value))
