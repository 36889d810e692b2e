"""`mlx-probe knowledge`: search in all documents, by an index that follows the files."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.paths import cache_dir

from .assistant_rules import written_from
from .check import find_documents
from .index import INDEX_PART
from .reading import read_page
from .segmenting import joined, query_expression, segmented

__all__ = ["Hit", "default_index", "search"]

# Of the tables below; an index of another version is made anew.
_VERSION = 2
_TIMEOUT = 30.0
_SCHEMA = """
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL, title TEXT NOT NULL);
CREATE TABLE sections (
    number INTEGER PRIMARY KEY, document INTEGER NOT NULL, line INTEGER NOT NULL,
    heading TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX of_document ON sections (document);
CREATE VIRTUAL TABLE words USING fts5 (
    title, heading, body, tokenize = 'porter unicode61 remove_diacritics 2');
"""
# How much a word in the title and in a heading weighs beside one in the text.
_WEIGHTS = "8.0, 4.0, 1.0"
# Characters of a snippet.
_LONGEST = 200
# Places of one document that are shown.
_MOST_OF_ONE = 3
# What marks a word that was found; no text has these.
_BEGIN, _END = "\x01", "\x02"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f]")
_WORD = re.compile(f"{_BEGIN}([^{_END}]*){_END}")
_PIECE = re.compile(f"{_BEGIN}[^{_END}]*{_END}?|[^{_BEGIN}]+")


@dataclass(frozen=True)
class Hit:
    """A place where something was found.

    Attributes:
        file: The document.
        line: Number of the line.
        title: The document's title.
        heading: That of the section; "" above the first.
        snippet: The line, or what of it is about the words.
        spans: Begin and end of each word of the query in the snippet.
    """

    file: Path
    line: int
    title: str
    heading: str
    snippet: str
    spans: tuple[tuple[int, int], ...]


def default_index() -> Path:
    """Where the index is kept: in the cache, because it can be made again at any time."""
    return cache_dir() / "knowledge.sqlite"


def search(query: str, folders: Sequence[Path], most: int = 20) -> list[Hit]:
    """Search in the documents below some folders.

    The index is made anew where it is damaged; where none can be written, one in memory serves.

    Args:
        query: Words; those in quotation marks have to follow each other.
        folders: Searched with all folders in them.
        most: How many places to give.

    Returns:
        The best first. If no section has all of the words, those that have any.

    Raises:
        ConfigError: The query has no words, or a folder is not there.
        ResultError: This Python cannot search.
    """
    if not query_expression(query):
        raise ConfigError(f"{query!r} has no words to look for", "Name words of letters or digits")
    for folder in folders:
        if not folder.exists():
            raise ConfigError(f"no file or folder is called {folder}", "Check --dir")
    path = default_index()
    try:
        return _search_in(str(path), query, folders, most)
    except sqlite3.OperationalError:
        pass  # another process has it for long, or the disk is full or read-only
    except sqlite3.DatabaseError:
        with suppress(OSError, sqlite3.DatabaseError):
            path.unlink()
            return _search_in(str(path), query, folders, most)
    except OSError:
        pass
    try:
        return _search_in(":memory:", query, folders, most)
    except sqlite3.DatabaseError as error:
        raise ResultError(
            f"cannot search: {error}", "Use a Python whose SQLite has FTS5"
        ) from error


def _search_in(name: str, query: str, folders: Sequence[Path], most: int) -> list[Hit]:
    if name != ":memory:":
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(name, timeout=_TIMEOUT, isolation_level=None)) as connection:
        _prepare(connection)
        files = {os.path.realpath(path): path for each in folders for path in find_documents(each)}
        with _writing(connection):
            _update(connection, files, [os.path.realpath(folder) for folder in folders])
        for every in (True, False):
            found = _hits(connection, query_expression(query, every), files, most)
            if found:
                return found
    return []


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _prepare(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] == _VERSION:
        return
    with _writing(connection):
        # Another process may have been faster.
        if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
            names = ("words", "sections", "documents")
            for name in names:
                connection.execute(f"DROP TABLE IF EXISTS {name}")
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")


def _update(connection: sqlite3.Connection, files: dict[str, Path], roots: Sequence[str]) -> None:
    """Bring the index up to date with the files; documents that are gone go from it."""
    known = {
        os.fsdecode(row[1]): row
        for row in connection.execute("SELECT number, path, size, mtime_ns, sha256 FROM documents")
    }
    for path, (number, *_) in known.items():
        below = any(path == root or path.startswith(root.rstrip(os.sep) + os.sep) for root in roots)
        if below and path not in files:
            _forget(connection, number)
    for path in files:
        try:
            status = Path(path).stat()
            if path in known and known[path][2:4] == (status.st_size, status.st_mtime_ns):
                continue
            data = Path(path).read_bytes()
        except OSError:
            continue  # gone meanwhile, or not readable: `docs check` says so
        digest = hashlib.sha256(data).hexdigest()
        stamp = (status.st_size, status.st_mtime_ns)
        if path in known and known[path][4] == digest:
            statement = "UPDATE documents SET size = ?, mtime_ns = ? WHERE number = ?"
            connection.execute(statement, (*stamp, known[path][0]))
            continue
        if path in known:
            _forget(connection, known[path][0])
        _add(connection, path, stamp, digest, data.decode("utf-8", "replace"))


def _forget(connection: sqlite3.Connection, number: int) -> None:
    rows = "SELECT number FROM sections WHERE document = ?"
    connection.execute(f"DELETE FROM words WHERE rowid IN ({rows})", (number,))
    connection.execute("DELETE FROM sections WHERE document = ?", (number,))
    connection.execute("DELETE FROM documents WHERE number = ?", (number,))


def _add(
    connection: sqlite3.Connection, path: str, stamp: tuple[int, int], digest: str, text: str
) -> None:
    page = read_page(_CONTROL.sub(" ", text))
    title = page.title or Path(path).stem
    values = (os.fsencode(path), *stamp, digest, title)
    added = connection.execute(
        "INSERT INTO documents (path, size, mtime_ns, sha256, title) VALUES (?, ?, ?, ?, ?)", values
    )
    number = added.lastrowid
    # What is generated is found where it is written: rules for assistants, lists of documents.
    copied = written_from(page.text) is not None
    text = INDEX_PART.sub(lambda part: "\n" * part[0].count("\n"), page.text)
    lines = [] if copied else text.split("\n")
    # Parts from heading to heading, with the line that each begins with.
    begins = [(page.front.lines + 1, "")] + [(each.line, each.text) for each in page.headings]
    ends = [line for line, _ in begins[1:]] + [len(lines) + 1]
    for (line, heading), end in zip(begins, ends, strict=True):
        body = "\n".join(lines[line - 1 : end - 1])
        if not body.strip():
            continue
        section = connection.execute(
            "INSERT INTO sections (document, line, heading, body) VALUES (?, ?, ?, ?)",
            (number, line, heading, body),
        ).lastrowid
        connection.execute(
            "INSERT INTO words (rowid, title, heading, body) VALUES (?, ?, ?, ?)",
            (section, segmented(title), segmented(heading), segmented(body)),
        )


def _hits(
    connection: sqlite3.Connection, expression: str, files: dict[str, Path], most: int
) -> list[Hit]:
    rows = connection.execute(
        "SELECT path, documents.title, line, sections.heading, "
        f"highlight(words, 1, '{_BEGIN}', '{_END}'), highlight(words, 2, '{_BEGIN}', '{_END}') "
        "FROM words JOIN sections ON sections.number = words.rowid "
        "JOIN documents ON documents.number = sections.document "
        f"WHERE words MATCH ? ORDER BY bm25(words, {_WEIGHTS}), path, line",
        (expression,),
    )
    found: list[Hit] = []
    counts: dict[Path, int] = {}
    for path, title, line, heading, marked_heading, body in rows:
        file = files.get(os.fsdecode(path))
        count = counts.get(file, 0) if file is not None else 0
        # A word of the title is in every section: the best one is enough.
        says = _BEGIN in marked_heading or _BEGIN in body
        if file is None or count >= _MOST_OF_ONE or (count and not says):
            continue
        counts[file] = count + 1
        found.append(_hit(file, title, line, heading, joined(body)))
        if len(found) == most:
            break
    return found


def _hit(file: Path, title: str, line: int, heading: str, body: str) -> Hit:
    """The place within a section: the line with most of the words.

    Args:
        file: The document.
        title: Its title.
        line: Of the section's first line.
        heading: Of the section.
        body: Its text with the words marked.
    """
    lines = body.split("\n")
    counts = [len({word.lower() for word in _WORD.findall(text)}) for text in lines]
    if heading:
        counts[0] = 0  # the heading itself is shown anyway
    best = counts.index(max(counts))
    at = line + best
    if not counts[best]:
        # The words are in the title or heading: what the section begins with says most.
        texts = (n for n, text in enumerate(lines) if text.strip() and not (heading and n == 0))
        best = next(texts, 0)
        at = line
    begin = max(0, lines[best].find(_BEGIN))
    snippet = _cut(lines[best], begin)
    plain, spans = "", []
    for piece in _PIECE.findall(snippet):
        if piece.startswith(_BEGIN):
            word = piece.strip(_BEGIN + _END)
            spans.append((len(plain), len(plain) + len(word)))
            plain += word
        else:
            plain += piece.strip(_BEGIN + _END)
    return Hit(file, at, title, heading, plain, tuple(spans))


def _cut(text: str, about: int) -> str:
    """What of a line is shown: all of it, or what is around a place, in whole words."""
    if len(text) <= _LONGEST:
        return text.strip()
    begin = max(0, min(about - _LONGEST // 4, len(text) - _LONGEST))
    end = begin + _LONGEST
    # Not within a word that is marked.
    if text.rfind(_BEGIN, begin, end) > text.rfind(_END, begin, end):
        end = text.find(_END, end) + 1 or len(text)
    piece = text[begin:end].strip()
    return f"{'… ' if begin else ''}{piece}{' …' if end < len(text) else ''}"
