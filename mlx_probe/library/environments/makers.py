"""What makes environments, and what installs packages into them.

A maker makes an empty environment; packages come from the same index with all of them, so that a
lock file of one is good for the others.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.environments.interpreters import find_interpreter, named_version
from mlx_probe.library.environments.lock import Pin, parse_pins

__all__ = ["MAKERS", "Job", "Maker", "Sources", "choose_maker"]

# On Linux uv's files are links into its cache, and one that is changed would change in every
# environment; on a Mac they are clones.
_COPIED = () if sys.platform == "darwin" else ("--link-mode", "copy")

# Runs a command; raises if it fails.
Run = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Sources:
    """Where packages come from.

    Attributes:
        wheels: Folders of wheels, besides the index.
        offline: Whether the index is left out.
    """

    wheels: tuple[Path, ...] = ()
    offline: bool = False


@dataclass(frozen=True)
class Job:
    """An environment to make.

    Attributes:
        program: Path of the maker's program.
        folder: The environment's folder, which is not there yet.
        asked: The Python that was asked for, a version or a program; None for any.
        fits: Versions of Python that fit; "" for all.
        sources: Where packages come from.
        scratch: An empty folder for lists and reports; programs run in it.
        run: Runs a command.
    """

    program: str
    folder: Path
    asked: str | None
    fits: str
    sources: Sources
    scratch: Path
    run: Run


@dataclass(frozen=True)
class Maker:
    """A program that makes environments.

    Attributes:
        program: Its path; None if it is not here.
        remedy: How to get it.
        make: Makes an empty environment.
        install: Installs packages into it: requirements, whose own ones are installed too, or
            pins and nothing else. Returns what was installed, with the hashes that are known.
        seeds: Packages that it puts into each environment.
    """

    program: Callable[[], str | None]
    remedy: str
    make: Callable[[Job], None]
    install: Callable[[Job, Path, Sequence[str] | Sequence[Pin]], dict[str, Pin]]
    seeds: tuple[str, ...] = ()


def _with_uv(job: Job) -> None:
    options = ["--offline"] if job.sources.offline else []
    python = job.asked or job.fits or "3"
    command = [job.program, "venv", "--no-project", *options, "--python", python]
    job.run([*command, str(job.folder)])


def _with_venv(job: Job) -> None:
    interpreter = find_interpreter(job.asked, job.fits, job.scratch)
    # Without its own pip, which is as old as the Python: templates name pip as a package.
    command = [str(interpreter.program), "-I", "-m", "venv", "--without-pip"]
    job.run([*command, str(job.folder)])


def _with_conda(job: Job) -> None:
    asked = job.asked
    if asked is not None and not named_version(asked):
        raise ConfigError(
            f"conda makes environments of a version of Python, not of {asked}",
            "Give --python a version such as 3.12",
        )
    python = f"python={asked}" if asked else f"python{job.fits}"
    options = ["--offline"] if job.sources.offline else []
    prefix = ["--prefix", str(job.folder)]
    job.run([job.program, "create", "--yes", *options, *prefix, python])
    # Otherwise packages of the user are on the path of its Python, unlike in the others.
    job.run([job.program, "env", "config", "vars", "set", *prefix, "PYTHONNOUSERSITE=1"])


def _by_pip(job: Job, python: Path, wanted: Sequence[str] | Sequence[Pin]) -> dict[str, Pin]:
    # This Python's pip: the environment need not have one.
    command = [sys.executable, "-m", "pip", "--python", str(python), "--no-input"]
    command += ["--disable-pip-version-check", "install", "--progress-bar", "off"]
    command += ["--no-warn-script-location", *_of_index(job.sources)]
    pins: dict[str, Pin] = {}
    for number, (options, lines) in enumerate(_batches(wanted)):
        listed, report = (
            job.scratch / f"requirements-{number}.txt",
            job.scratch / f"report-{number}.json",
        )
        listed.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        job.run([*command, *options, "--report", str(report), "-r", str(listed)])
        for entry in json.loads(report.read_text("utf-8"))["install"]:
            archive = entry["download_info"].get("archive_info", {})
            digest = archive.get("hashes", {}).get("sha256")
            pin = Pin(
                canonicalize_name(entry["metadata"]["name"]),
                entry["metadata"]["version"],
                (digest,) if digest else (),
            )
            pins[pin.name] = pin
    return pins


def _by_uv(job: Job, python: Path, wanted: Sequence[str] | Sequence[Pin]) -> dict[str, Pin]:
    common = ["--python", str(python), *_of_index(job.sources)]
    pins = [each for each in wanted if isinstance(each, Pin)]
    if not pins and wanted:
        # uv reports no hashes when it installs, but when it resolves.
        asked, resolved = job.scratch / "requirements.in", job.scratch / "resolved.txt"
        asked.write_text("".join(f"{line}\n" for line in wanted), "utf-8")
        outputs = ["--generate-hashes", "--quiet", "--no-header", "--no-annotate"]
        job.run([job.program, "pip", "compile", *common, *outputs, str(asked), "-o", str(resolved)])
        pins = list(parse_pins(resolved.read_text("utf-8"), str(resolved)))
    for number, (options, lines) in enumerate(_batches(pins)):
        listed = job.scratch / f"pins-{number}.txt"
        listed.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        command = [job.program, "pip", "install", *common, *_COPIED, *options]
        job.run([*command, "-r", str(listed)])
    return {pin.name: pin for pin in pins}


def _batches(wanted: Sequence[str] | Sequence[Pin]) -> list[tuple[list[str], list[str]]]:
    """Options and lines of each call: a list has hashes for all of its members, or for none."""
    plain = [each for each in wanted if isinstance(each, str)]
    hashed = [each.requirement for each in wanted if isinstance(each, Pin) and each.hashes]
    bare = [each.requirement for each in wanted if isinstance(each, Pin) and not each.hashes]
    batches = [
        ([], plain),
        (["--no-deps", "--require-hashes"], hashed),
        (["--no-deps"], bare),
    ]
    return [(options, lines) for options, lines in batches if lines]


def _of_index(sources: Sources) -> list[str]:
    options = ["--no-index"] if sources.offline else []
    for folder in sources.wheels:
        options += ["--find-links", str(folder.expanduser().resolve())]
    return options


# In the order in which they are taken where nobody chooses.
MAKERS: Mapping[str, Maker] = {
    "uv": Maker(lambda: shutil.which("uv"), "Install it: pip install uv", _with_uv, _by_uv),
    "venv": Maker(lambda: sys.executable, "", _with_venv, _by_pip),
    "conda": Maker(
        lambda: shutil.which("conda") or shutil.which("mamba") or shutil.which("micromamba"),
        "Install Miniforge, or choose another --maker",
        _with_conda,
        _by_pip,
        ("pip", "setuptools", "wheel"),
    ),
}


def choose_maker(asked: str | None) -> tuple[str, Maker, str]:
    """The maker to use: its name, itself, and the path of its program.

    Args:
        asked: A member of `MAKERS`; None for the first that is here.

    Raises:
        ConfigError: The one that was asked for is not here.
    """
    for name in [asked] if asked else MAKERS:
        program = MAKERS[name].program()
        if program is not None:
            return name, MAKERS[name], program
    raise ConfigError(f"{asked} is not installed on this machine", MAKERS[asked or "venv"].remedy)
