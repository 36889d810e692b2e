"""A model in several files: its parts by their names, and which of them are missing.

transformers, mlx-lm and llama.cpp number parts with their total (``m-00002-of-00005.gguf``). Such
a part is never a model: whoever names one means all of them.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from mlx_probe.core.errors import SourceError
from mlx_probe.core.formats import INDEX_END, weight_suffixes

__all__ = ["Part", "all_parts", "index_of", "is_whole", "missing_parts", "part_of"]

# model-00002-of-00005.safetensors, weights.02.safetensors.
_PART = re.compile(
    r"(?P<stem>.*?)(?P<joint>[-._])(?P<number>\d{1,9})(?:-of-(?P<total>\d{1,9}))?(?P<end>\.\w+)"
)
# More than the largest model has; a name may claim a billion parts.
_MAX_PARTS = 10_000


@dataclass(frozen=True)
class Part:
    """What a file's name says about the model that the file is a part of.

    Attributes:
        stem: The name before the number, with folders.
        joint: What joins the number to the stem: "-", "." or "_".
        number: The number as written, with leading zeros.
        total: The number of parts as written; None if the name leaves it out.
        end: Suffix.
    """

    stem: str
    joint: str
    number: str
    total: str | None
    end: str

    @property
    def model(self) -> tuple[str, str, str | None, str]:
        """What all parts of one model have in common."""
        return self.stem, self.joint, self.total, self.end

    def name_of(self, number: int) -> str:
        """The file name of another part of the same model."""
        digits = str(number).zfill(len(self.number))
        return f"{self.stem}{self.joint}{digits}-of-{self.total}{self.end}"


def part_of(name: str) -> Part | None:
    """The part that a weight file's name describes; None for any other name."""
    match = _PART.fullmatch(name)
    if match is None or not match["end"].lower().endswith(weight_suffixes()):
        return None
    return Part(**match.groupdict())


def all_parts(name: str, listing: Container[str], where: str) -> tuple[str, ...]:
    """The files of the model that a file belongs to, in order.

    Args:
        name: The file, a relative POSIX path.
        listing: Names of all files there are.
        where: What has these files, for messages.

    Returns:
        The file alone, unless its name gives a number and a total.

    Raises:
        SourceError: Parts are missing.
    """
    part = part_of(name)
    if part is None or part.total is None:
        return (name,)
    missing = missing_parts(part, listing)
    if missing:
        raise _incomplete(name, missing, where)
    first = 0 if part.name_of(0) in listing else 1
    return tuple(part.name_of(number) for number in range(first, first + int(part.total)))


def missing_parts(part: Part, listing: Container[str]) -> list[str]:
    """Names of those parts of a model that a listing lacks; the number starts with 0 or 1."""
    total = min(int(part.total or 0), _MAX_PARTS)
    first = 0 if part.name_of(0) in listing else 1
    names = (part.name_of(number) for number in range(first, first + max(total, 1)))
    lacking = [name for name in names if name not in listing]
    # A number beyond the total belongs to no model of that many parts.
    return lacking or ([] if int(part.number) < first + total else [part.name_of(first)])


def _incomplete(name: str, missing: Sequence[str], where: str) -> SourceError:
    """The error about a model of which some parts are not there.

    Args:
        name: A part that is there.
        missing: Names of the others.
        where: What has these files.
    """
    shown = ", ".join(PurePosixPath(other).name for other in missing[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    part = PurePosixPath(name).name
    return SourceError(
        f"{where}: {part} is a part of a model, and {shown}{more} "
        f"{'is' if len(missing) == 1 else 'are'} missing",
        "Put all parts of the model into one folder: download it again",
    )


def index_of(name: str, listing: Container[str]) -> str | None:
    """The index beside a part, by its usual name; None if there is none."""
    part = part_of(name)
    index = f"{part.stem}{part.end}{INDEX_END}" if part and part.total else ""
    return index if index in listing else None


def is_whole(weights: Sequence[str]) -> bool:
    """Whether files are one model: a single file, or parts numbered without a gap."""
    parts = [part for part in map(part_of, weights) if part]
    if not parts or len(parts) < len(weights):
        return len(weights) == 1
    numbers = sorted(int(part.number) for part in parts)
    totals = {part.total for part in parts}
    total = totals.pop()
    if len(weights) == 1 and total is None:
        return True
    return (
        not totals
        and len({(part.stem, part.joint, part.end) for part in parts}) == 1
        and (total is None or int(total) == len(parts))
        and numbers in (list(range(len(parts))), list(range(1, len(parts) + 1)))
    )
