"""`mlx-probe docs notebook`: a notebook as a document."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import sha256_file, write_error

from .naming import words_of
from .project import Project
from .reading import read_page
from .templates import front_matter_text
from .writing import write_new

__all__ = ["find_notebook", "write_notebook"]

_SUFFIX = ".ipynb"
_FOLDER = "notebooks"


def find_notebook(path: Path) -> Path:
    """The notebook that a user means.

    Args:
        path: A notebook, or the folder of a run that has one.

    Raises:
        ConfigError: There is none, or there are several.
    """
    if path.is_dir():
        found = sorted(path.glob(f"*{_SUFFIX}"))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(each.name for each in found)
            raise ConfigError(f"{path} holds several notebooks: {names}", "Name one of them")
        raise ConfigError(f"{path} holds no notebook", f"Name a file that ends with {_SUFFIX}")
    if not path.is_file() or path.suffix != _SUFFIX:
        raise ConfigError(f"{path} is no notebook", f"Name a file that ends with {_SUFFIX}")
    return path


def write_notebook(source: Path, out: Path | None, project: Project | None) -> list[Path]:
    """Write a notebook as a document.

    Args:
        source: The notebook.
        out: The document; None for one in the project.
        project: The project; None with ``out``.

    Returns:
        The document, and its figures.

    Raises:
        ConfigError: nbconvert is not installed, or there is neither place.
        ResultError: The notebook is damaged, a file is there, or the disk refused.
    """
    if out is None:
        assert project is not None
        out = project.folder / _FOLDER / f"{words_of(source.stem)}.md"
    if out.exists():
        raise ResultError(f"{out} is there already", "Choose another file with --out")
    text, figures = _converted(source, f"{out.stem}_files")
    page = read_page(text)
    title = page.title or source.stem
    written = [out]
    try:
        for name, data in figures.items():
            figure = out.parent / name
            _write_figure(figure, data)
            written.append(figure)
        front = {
            "title": title,
            "date": datetime.fromtimestamp(source.stat().st_mtime).date().isoformat(),
            "source": os.path.relpath(source.resolve(), out.parent.resolve()),
            "source_sha256": sha256_file(source),
        }
        heading = "" if page.title else f"# {title}\n\n"
        write_new(out, front_matter_text(front) + heading + text.strip() + "\n")
    except BaseException:
        for path in written[1:]:
            with suppress(OSError):
                path.unlink()
        raise
    return written


def _write_figure(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise ResultError(f"{path} is there already", "Choose another file with --out") from error
    except OSError as error:
        raise write_error(path, error) from error


def _converted(source: Path, folder: str) -> tuple[str, dict[str, bytes]]:
    """Markdown, and figures by their paths from the document."""
    try:
        from nbconvert.exporters import MarkdownExporter
    except ImportError as error:
        raise ConfigError(
            "notebooks need nbconvert, which is not installed",
            "Install it: pip install 'mlx-probe[notebooks]'",
        ) from error
    import nbformat

    try:
        notebook = nbformat.read(source, as_version=4)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ResultError(
            f"{source} cannot be read as a notebook: {_reason(error)}",
            "Open it in Jupyter and save it",
        ) from error
    try:
        text, resources = MarkdownExporter().from_notebook_node(
            notebook, {"output_files_dir": folder, "unique_key": "output"}
        )
    except Exception as error:  # of nbconvert, Jinja, or a template that is missing
        raise ResultError(
            f"nbconvert cannot convert {source}: {_reason(error)}",
            "Update it: pip install --upgrade 'mlx-probe[notebooks]'",
        ) from error
    # Where nothing says what a block is, such as a cell of another kernel.
    return _labelled(text), dict(resources.get("outputs") or {})


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _labelled(text: str) -> str:
    lines = text.split("\n")
    for fence in read_page(text).fences:
        if not fence.label:
            lines[fence.line - 1] = f"{lines[fence.line - 1].rstrip()}text"
    # Tables of pandas bring a style that viewers show as text, or leave out.
    text = re.sub(r"<style scoped>.*?</style>\n?", "", "\n".join(lines), flags=re.DOTALL)
    # Numbers and plots are called "png" by nbconvert, which says nothing to who cannot see them.
    return re.sub(r"!\[(?:png|svg|jpeg)\]\(", "![a plot of the notebook](", text)
