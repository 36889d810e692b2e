"""What a source is: one record in `SOURCES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlx_probe.core.records import ModelFiles, ModelRef

if TYPE_CHECKING:
    from mlx_probe.source.transfer.listing import ModelListing
    from mlx_probe.source.transfer.progress import DownloadProgress
    from mlx_probe.source.transfer.retry import RetryPolicy

__all__ = ["Fetch", "Form", "ListModel", "ListingOptions", "Parse", "Source"]

# Turns a reference and a revision given apart from it into a `ModelRef`; None where the text is
# not one of the source's forms.
Parse = Callable[[str, str | None], ModelRef | None]


@dataclass(frozen=True)
class Form:
    """One way to write a reference: a line of the documentation's table.

    Attributes:
        texts: Examples.
        meaning: What they name.
        revision: What the results record as the model's revision.
    """

    texts: tuple[str, ...]
    meaning: str
    revision: str


@dataclass(frozen=True)
class ListingOptions:
    """How a source lists a model for a download.

    Attributes:
        folder: Where the files are to go; None for the source's own cache.
        endpoints: Mirrors to ask, in order; none for the usual server.
        retry: When to give up; None for the source's default.
        dry: Whether nothing may be written to ``folder``.
        on_bytes: Called with the number of bytes of the model's files that have just come over
            the network; may block or raise.
    """

    folder: Path | None = None
    endpoints: Sequence[str] = ()
    retry: RetryPolicy | None = None
    dry: bool = False
    on_bytes: Callable[[int], None] = field(default=lambda count: None)


class Fetch(Protocol):
    """Gets the files that an analysis needs."""

    def __call__(self, ref: ModelRef, progress: DownloadProgress | None = None) -> ModelFiles:
        """Fetch what is not on this disk yet.

        Args:
            ref: The model.
            progress: Shows how far it is; None for nothing.
        """


class ListModel(Protocol):
    """Lists a model's files, and how to get them."""

    def __call__(self, ref: ModelRef, options: ListingOptions) -> ModelListing:
        """Look a model up; download none of its weights."""


def _as_it_is(ref: ModelRef) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class Source:
    """A kind of model reference, and how to get what it names.

    Attributes:
        title: What it names, for the command line's help ("a folder or file").
        example: References as users write them, for the same line.
        hint: Its forms in a few words, for the message about a reference that is none.
        forms: Every form, for the documentation.
        parse: Recognizes its references.
        fetch: Gets a model's files to this disk.
        list_model: Lists a model's files for `mlx-probe download`.
        fetch_remote: Gets the small files, and leaves the weights where they are, to be read
            over the network; None if the source cannot do that.
        where: Says that a model is there ("on the Hugging Face Hub"), for the message about a
            model that cannot be read over the network; "" without ``fetch_remote``.
        has_mirrors: Whether `ListingOptions.endpoints` mean something to it.
        explained: Turns what its servers and libraries raise into errors with a remedy.
    """

    title: str
    example: str
    hint: str
    forms: tuple[Form, ...]
    parse: Parse
    fetch: Fetch
    list_model: ListModel
    fetch_remote: Fetch | None = None
    where: str = ""
    has_mirrors: bool = False
    explained: Callable[[ModelRef], AbstractContextManager[None]] = _as_it_is
