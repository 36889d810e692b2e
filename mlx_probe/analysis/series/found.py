"""The checkpoints that there are: of a folder, of several paths, or of a repository's revisions."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mlx_probe.analysis.series.names import matching, refuse_same, step_of, steps_of
from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.core.formats import weight_suffixes
from mlx_probe.source import parse_reference
from mlx_probe.source.hub.revisions import list_revisions
from mlx_probe.source.parts import part_of
from mlx_probe.source.selection import find_weights

__all__ = ["Found", "Listing", "find_checkpoints"]

_STATE = "trainer_state.json"
_MLX_LM = re.compile(r"\d+_adapters\.\w+")
_NO_STEP = "no step in its name"
_NOT_CHOSEN = "its name does not match --steps"


@dataclass(frozen=True)
class Found:
    """A checkpoint that is there.

    Attributes:
        step: Its training step.
        name: Its folder, file or revision.
        model: The reference to open it by.
        revision: Its commit, of a revision on the Hub.
    """

    step: int
    name: str
    model: str
    revision: str | None = None


@dataclass(frozen=True)
class Listing:
    """What was named, and its checkpoints.

    Attributes:
        source: The folder's real path, or the repository; "" where several paths are named.
        checkpoints: By step, ascending.
        left_out: Name and reason of what looks like a checkpoint and is not taken.
    """

    source: str
    checkpoints: tuple[Found, ...]
    left_out: tuple[tuple[str, str], ...] = ()


def find_checkpoints(
    references: Sequence[str], revisions: Sequence[str] = (), steps: str = ""
) -> Listing:
    """Find the checkpoints that a user names.

    Args:
        references: A folder with checkpoints; several models; ``owner/name@REV,REV`` on the Hub,
            or ``owner/name`` with ``revisions``.
        revisions: Globs on branches and tags.
        steps: A template with {step} for their names, or as many numbers as there are references,
            with commas; "" for the usual names.

    Raises:
        SourceError: Something does not exist, or the Hub does not answer.
        ConfigError: Which step a checkpoint has is not clear.
    """
    if len(references) > 1:
        if revisions:
            raise ConfigError("--revisions is for one repository", "Name it alone")
        return _several(references, steps)
    (reference,) = references
    path = Path(reference).expanduser()
    if path.is_dir() and not revisions:
        return _folder(path, steps)
    if path.exists() and not revisions:
        raise ConfigError(
            f"{path} is one file, and a series has several checkpoints",
            "Name the folder that they are in, or all of them",
        )
    return _revisions(reference, revisions, steps)


def _folder(path: Path, steps: str) -> Listing:
    source = os.path.realpath(path)
    # Our own training keeps its snapshots in a folder; without any, there are its checkpoints.
    for inner in ("snapshots", "checkpoints"):
        if (path / "recipe.yaml").is_file() and (path / inner).is_dir():
            path = path / inner
            break
    entries = _entries(path)
    names = list(entries)
    if steps:
        known = matching(names, steps)
        refuse_same(known, str(path))
    else:
        known = _by_state({name: entries[name] for name in steps_of(names, str(path))}, names, path)
    reason = _NOT_CHOSEN if steps else _NO_STEP
    left = [(name, reason) for name in names if name not in known]
    found = [Found(step, name, str(entries[name])) for name, step in known.items()]
    return Listing(source, tuple(sorted(found, key=lambda one: one.step)), tuple(left))


def _entries(path: Path) -> dict[str, Path]:
    """What may be checkpoints, by name: folders, or else files of adapters, or of weights."""
    try:
        below = sorted(path.iterdir())
        folders = {
            each.name: each
            for each in below
            # Older versions of transformers write to such a name first.
            if each.is_dir()
            and not each.name.startswith((".", "tmp-"))
            and (step_of(each.name) is not None or _has_weights(each))
        }
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror}", "Check its permissions"
        ) from error
    if folders:
        return folders
    files = {each.name: each for each in below if each.is_file() and not each.name.startswith(".")}
    adapters = {name: each for name, each in files.items() if _MLX_LM.fullmatch(name)}
    if adapters:
        return adapters
    alone = find_weights(files)
    return {
        name: files[name]
        for name in alone
        if name.lower().endswith(weight_suffixes())
        and ((part := part_of(name)) is None or part.total is None)
        and re.search(r"\d", name)
    }


def _has_weights(folder: Path) -> bool:
    try:
        return bool(find_weights([each.name for each in folder.iterdir() if each.is_file()]))
    except PermissionError:
        return False


def _by_state(known: dict[str, Path], names: Sequence[str], path: Path) -> dict[str, int]:
    """The steps of folders: as the trainer wrote them down, where it did.

    Raises:
        ConfigError: Some names say another step than the trainer, and others have no such file.
    """
    named = steps_of(list(known), str(path)) if known else {}
    written = {name: step for name in named if (step := _global_step(known[name])) is not None}
    other = {name: step for name, step in written.items() if named[name] != step}
    if not other:
        return named
    without = [name for name in named if name not in written]
    if without:
        name, step = next(iter(other.items()))
        raise ConfigError(
            f"{path}: {_STATE} says that {name} is of step {step}, and {without[0]} has no such "
            "file",
            "Say which number of a name is the step with --steps, such as --steps 'epoch-{step}'",
        )
    refuse_same(written, str(path))
    return written


def _global_step(folder: Path) -> int | None:
    """The step in transformers' file of the trainer; None without, or while it is written."""
    try:
        step = json.loads((folder / _STATE).read_text("utf-8"))["global_step"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if isinstance(step, int) and not isinstance(step, bool) and step >= 0 else None


def _several(references: Sequence[str], steps: str) -> Listing:
    names = [reference.rstrip("/") for reference in references]
    short = [name.rpartition("/")[2] for name in names]
    short = short if len(set(short)) == len(short) else names
    if len(set(short)) < len(short):
        raise ConfigError("a checkpoint is named twice", "Name each once")
    if steps and "{" not in steps:
        numbers = [part.strip() for part in steps.split(",")]
        if len(numbers) != len(names) or not all(number.isdecimal() for number in numbers):
            raise ConfigError(
                f"--steps {steps!r} is not one number for each of the {len(names)} checkpoints",
                "Give them in the same order, with commas: --steps 100,200,300",
            )
        known = {name: int(number) for name, number in zip(short, numbers, strict=True)}
        refuse_same(known, "--steps")
    elif steps:
        known = matching(short, steps)
    else:
        known = steps_of(short, "the checkpoints")
    missing = [name for name in short if name not in known]
    if missing:
        raise ConfigError(
            f"the step of {missing[0]} is not clear",
            "Give the step of each with --steps, in the same order: --steps 100,200,300",
        )
    for name in names:
        parse_reference(name)
    found = [Found(known[s], s, name) for s, name in zip(short, names, strict=True)]
    return Listing("", tuple(sorted(found, key=lambda one: one.step)))


def _revisions(reference: str, globs: Sequence[str], steps: str) -> Listing:
    ref = parse_reference(reference)
    wanted = [part for part in (ref.revision or "").split(",") if part]
    if ref.source != "hub" or not (wanted or globs):
        raise ConfigError(
            f"{reference} names one model, and a series has several checkpoints",
            "Name a folder of checkpoints, several paths, or revisions on the Hub: "
            "owner/name --revisions 'step*'",
        )
    if wanted and globs:
        raise ConfigError(
            f"{reference} names revisions, and so does --revisions", "Leave one of them out"
        )
    commits = list_revisions(ref)
    names = wanted or [
        name for name in commits if any(fnmatchcase(name, pattern) for pattern in globs)
    ]
    unknown = next((name for name in wanted if name not in commits), None)
    if unknown is not None or not names:
        shown = ", ".join(list(commits)[:8])
        raise SourceError(
            f"{ref.name} has no branch or tag {unknown or ' '.join(globs)!r}",
            f"It has {len(commits)}: {shown}{' ...' if len(commits) > 8 else ''}",
        )
    known = matching(names, steps) if steps else steps_of(names, ref.name)
    refuse_same(known, ref.name)
    reason = _NOT_CHOSEN if steps else _NO_STEP
    found = [Found(step, name, f"hf:{ref.name}", commits[name]) for name, step in known.items()]
    left = [(name, reason) for name in names if name not in known]
    return Listing(ref.name, tuple(sorted(found, key=lambda one: one.step)), tuple(left))
