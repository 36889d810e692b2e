"""What a rule says: one sentence with its rows and numbers, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated

if TYPE_CHECKING:
    from mlx_probe.analysis.findings.view import RunView

__all__ = ["SEVERITIES", "Finding", "Rule", "Severity", "Text"]

Severity = Literal["high", "medium", "note"]
# Most severe first.
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "note")


@dataclass(frozen=True)
class Text:
    """A text with its values apart, so that it can be shown in the reader's language.

    Attributes:
        template: English, with named fields; written literally where it is made, because a test
            looks for each of them in every catalog.
        values: The fields' values, formatted: numbers and names, no words.
        of_sample: Whether it is about a part of the model only, which it says then.
    """

    template: str
    values: Mapping[str, object] = field(default_factory=dict)
    of_sample: bool = False

    @property
    def english(self) -> str:
        """The text for programs and files."""
        text = self.template.format(**self.values) if self.values else self.template
        return f"In the sample: {text}" if self.of_sample else text

    @property
    def shown(self) -> str:
        """The text in the reader's language."""
        text = tr(self.template, **self.values)
        return tr("In the sample: {text}", text=text) if self.of_sample else text


@dataclass(frozen=True, repr=False)
class Finding:
    """One thing about a model that its reader should know.

    Attributes:
        severity: high: a number is wrong, or a part of the model does nothing. medium: unusual
            enough to look into. note: worth knowing.
        sentence: Subject first, with the number and what it is compared with.
        rows: Names of the tensors that it is about, the most telling first.
        evidence: Numbers behind the sentence, with intervals where there are any; JSON values.
        remedy: What to do.
        size: How far out, from 0 to 1, to sort findings of one severity.
        rule: Key in `FINDINGS`; the table fills it in.
    """

    severity: Severity
    sentence: Text
    rows: tuple[str, ...]
    evidence: Mapping[str, Any]
    remedy: Text
    size: float
    rule: str = ""

    def __str__(self) -> str:
        """Severity and sentence, in the reader's language."""
        return f"{translated(self.severity)}: {self.sentence.shown}"

    def __repr__(self) -> str:
        """The same, at a Python prompt."""
        return f"<{self}>"

    def as_json(self) -> dict[str, Any]:
        """The finding for programs, in English."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "sentence": self.sentence.english,
            "rows": list(self.rows),
            "evidence": dict(self.evidence),
            "remedy": self.remedy.english,
        }


@dataclass(frozen=True)
class Rule:
    """A rule that looks at a run.

    Attributes:
        name: Key in `FINDINGS`.
        title: What it finds, in two or three words.
        about: When a tensor is named, for the documentation.
        source: Paper, standard or definition that the rule follows.
        find: Pure function of a view of the run.
    """

    name: str
    title: str
    about: str
    source: str
    find: Callable[[RunView], Iterable[Finding]]
