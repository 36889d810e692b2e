"""The documents of a corpus again, after the census: those that are kept, and what they are for."""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.lab.data.census import Census, changed, has_changed
from mlx_probe.lab.data.corpus import Corpus, LeftOut
from mlx_probe.lab.data.selection import Selection

__all__ = ["kept_documents"]


def kept_documents(
    corpus: Corpus, census: Census, selection: Selection, skip: int
) -> Iterator[tuple[int, str, int]]:
    """Number, text and use of the documents from a number on.

    Raises:
        SourceError: A file has changed since the census.
    """
    uses = selection.uses()
    number = 0
    for file, count in zip(corpus.files, census.files, strict=True):
        if number + count.documents <= skip:
            number += count.documents
            continue
        if changed(file, count):
            raise has_changed(file)
        last = number + count.documents
        for text in corpus.documents(file, LeftOut()):
            if number == last:
                raise has_changed(file)
            if number >= skip:
                yield number, text, int(uses[number])
            number += 1
        if number != last or changed(file, count):
            raise has_changed(file)
