"""The tables of a finished job: written together, hashed, verified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import replacing, sha256_file, write_error
from mlx_probe.runs.check import Check
from mlx_probe.runs.folder import RunPaths
from mlx_probe.runs.spectra import SPECTRA, write_spectra
from mlx_probe.runs.table import WRITERS

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["finalize", "hashed", "verify_hashes"]


def finalize(
    paths: RunPaths,
    table: pa.Table,
    sides: Mapping[str, pa.Table] | None = None,
    spectra: Iterable[tuple[int, NDArray[np.float64]]] = (),
    identity: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Write the tables in every requested format; the caller writes the metadata after them.

    Args:
        paths: The files.
        table: The finished table.
        sides: Tables beside it, by name.
        spectra: Row numbers and singular values, in order; without any there is no file.
        identity: Columns of ``table`` that identify the matrix of each spectrum.

    Returns:
        File name to ``{"sha256": ..., "bytes": ...}``: the metadata's key "outputs".

    Raises:
        ResultError: The disk refused; no file was replaced unless all were written.
    """
    tables = {paths.table(name): (name, table) for name in paths.formats}
    for side, beside in (sides or {}).items():
        tables |= {paths.side(side, name): (name, beside) for name in paths.formats}
    files = list(tables)
    with ExitStack() as stack:
        for file, (name, content) in tables.items():
            WRITERS[name].write(content, stack.enter_context(replacing(file)))
        first = next(numbered := iter(spectra), None)
        if first is not None:
            files.append(paths.side(SPECTRA, "parquet"))
            temporary = stack.enter_context(replacing(files[-1]))
            write_spectra(table.select(identity), chain((first,), numbered), temporary)
        for old in paths.replaced:
            if old not in files:
                _remove(old)
        # The metadata of an older run would list these tables as its own.
        _remove(paths.meta)
    return hashed(paths.folder, files)


def hashed(folder: Path, files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """The metadata's key "outputs": files by their paths in the run folder.

    Args:
        folder: The run folder.
        files: Files in it.

    Raises:
        ResultError: One cannot be read.
    """
    described = {}
    for file in files:
        try:
            described[file.relative_to(folder).as_posix()] = {
                "sha256": sha256_file(file),
                "bytes": file.stat().st_size,
            }
        except OSError as error:
            raise ResultError(
                f"cannot read {file}: {error.strerror}", "Run the same command again"
            ) from error
    return described


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def verify_hashes(folder: Path, meta: Mapping[str, Any]) -> list[Check]:
    """Whether the outputs are as the run wrote them.

    Args:
        folder: The run folder.
        meta: Run metadata with the key "outputs", as `finalize` returned it.

    Returns:
        One check for each output.
    """
    checks = []
    for name, expected in meta.get("outputs", {}).items():
        try:
            same = sha256_file(folder / name) == expected["sha256"]
            detail = "as written" if same else "changed after the run: its sha256 differs"
        except OSError as error:
            same, detail = False, f"cannot be read: {error.strerror}"
        checks.append(Check(f"sha256 of {name}", same, detail))
    return checks
