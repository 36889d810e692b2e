"""What is installed in an environment, read from its metadata: its Python need not start."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from mlx_probe.core.files import read_blocks

__all__ = ["Package", "broken_files", "installed_packages", "site_folders"]

# A licence's text instead of its name is longer.
_LONGEST_LICENCE = 60
_CLASSIFIER = "License :: "
# What may be wrong with a file.
_MISSING, _CHANGED, _UNREADABLE = "{0} is missing", "{0} was changed", "{0} cannot be read"


@dataclass(frozen=True)
class Package:
    """An installed package.

    Attributes:
        name: Its normalized name.
        title: Its name as its makers write it.
        version: Its version; "" if its metadata are damaged.
        summary: What it is.
        licence: Its licence; "" if it names none.
        home: Where it is described.
        size: Bytes of its files, as they are recorded.
        files: Number of its files.
        origin: Folder or repository that it was installed from; "" for an index or a wheel.
    """

    name: str
    title: str
    version: str
    summary: str
    licence: str
    home: str
    size: int
    files: int
    origin: str


def site_folders(prefix: Path) -> list[Path]:
    """Folders of an environment that packages are installed in."""
    # lib64 is a link to lib, or has packages of its own.
    paths = sorted(prefix.glob("lib*/python*/site-packages"), reverse=True)
    found = {path.resolve(): path for path in paths}
    return sorted(found.values())


def installed_packages(prefix: Path) -> list[Package]:
    """Every package of an environment, by name.

    Args:
        prefix: Its folder.
    """
    packages: dict[str, Package] = {}
    for distribution in _distributions(prefix):
        package = _package(distribution)
        # Of several versions, Python imports the first on its path.
        packages.setdefault(package.name, package)
    return [packages[name] for name in sorted(packages)]


def broken_files(
    prefix: Path, with_hashes: bool, on_package: Callable[[str], None] = lambda name: None
) -> Iterator[tuple[str, str]]:
    """Files that are not as they were installed.

    Args:
        prefix: The environment's folder.
        with_hashes: Read all files; otherwise their sizes are compared.
        on_package: Called with each package before its files are looked at.

    Yields:
        The package, and what is wrong with the file.
    """
    for distribution in _distributions(prefix):
        name = _name(distribution)
        on_package(name)
        if not _metadata(distribution).get("Version"):
            yield name, _MISSING.format("METADATA")
        if distribution.read_text("RECORD") is None:
            # Debian's and conda's own packages may come without.
            if distribution.read_text("INSTALLER") in ("pip\n", "uv\n", "pip", "uv"):
                yield name, _MISSING.format("RECORD")
            continue
        for file, digest, size in _record(distribution):
            if wrong := _wrong(
                Path(str(distribution.locate_file(file))), digest, size, with_hashes
            ):
                yield name, wrong.format(file)


def _distributions(prefix: Path) -> Iterator[Distribution]:
    yield from distributions(path=[str(folder) for folder in site_folders(prefix)])


def _metadata(distribution: Distribution) -> Message:
    """Its metadata; empty where the file is gone."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    return message_from_string(text)


def _name(distribution: Distribution) -> str:
    # Without metadata the name of the folder is left: name-version.dist-info.
    folder = Path(getattr(distribution, "_path", "unknown")).name
    return canonicalize_name(_metadata(distribution).get("Name") or folder.partition("-")[0])


def _package(distribution: Distribution) -> Package:
    entries = _metadata(distribution)
    recorded = list(_record(distribution))
    home = entries.get("Home-page") or ""
    for line in entries.get_all("Project-URL") or ():
        label, _, url = line.partition(",")
        if label.strip().lower() in ("homepage", "home", "repository", "source"):
            home = home or url.strip()
    name = _name(distribution)
    return Package(
        name=name,
        title=entries.get("Name") or name,
        version=entries.get("Version") or "",
        summary=" ".join((entries.get("Summary") or "").split()),
        licence=_licence(distribution),
        home=home,
        size=sum(size or 0 for _, _, size in recorded),
        files=len(recorded),
        origin=_origin(distribution),
    )


def _licence(distribution: Distribution) -> str:
    entries = _metadata(distribution)
    for key in ("License-Expression", "License"):
        text = (entries.get(key) or "").strip()
        if text and text != "UNKNOWN" and len(text) <= _LONGEST_LICENCE and "\n" not in text:
            return text
    classifiers = entries.get_all("Classifier") or ()
    names = [text.rpartition(" :: ")[2] for text in classifiers if text.startswith(_CLASSIFIER)]
    return ", ".join(names)


def _origin(distribution: Distribution) -> str:
    """Where a package came from that no index has: PEP 610."""
    try:
        entries = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return ""
    is_elsewhere = "dir_info" in entries or "vcs_info" in entries
    return str(entries.get("url", "")) if is_elsewhere else ""


def _record(distribution: Distribution) -> Iterator[tuple[str, str, int | None]]:
    """Names, hashes as "sha256=..." and sizes of the files that RECORD lists."""
    text = distribution.read_text("RECORD") or ""
    for row in csv.reader(text.splitlines()):
        if len(row) >= 3 and row[0]:
            yield row[0], row[1], int(row[2]) if row[2].isdecimal() else None


def _wrong(path: Path, digest: str, size: int | None, with_hashes: bool) -> str:
    try:
        found = path.stat().st_size
        # What Python compiles, and RECORD itself, have neither.
        if size is not None and found != size:
            return _CHANGED
        method, _, expected = digest.partition("=")
        if with_hashes and expected and method in hashlib.algorithms_guaranteed:
            hashed = hashlib.new(method)
            with path.open("rb", buffering=0) as file:
                for block in read_blocks(file):
                    hashed.update(block)
            text = base64.urlsafe_b64encode(hashed.digest()).rstrip(b"=").decode()
            return "" if text == expected else _CHANGED
    except FileNotFoundError:
        # Bytecode is written again when it is needed.
        return "" if path.suffix == ".pyc" else _MISSING
    except OSError:
        return _UNREADABLE
    return ""
