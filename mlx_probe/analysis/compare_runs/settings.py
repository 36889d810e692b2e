"""Settings that decide the numbers of a run, and what it means if they differ between runs.

`SETTINGS` is the table; a new setting is a line in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_probe.analysis.compare_runs.records import Difference
from mlx_probe.analysis.compare_runs.summaries import column_behind
from mlx_probe.analysis.sample import parse_sample
from mlx_probe.metrics import FAMILIES

__all__ = ["SETTINGS", "Setting", "deviating", "find_differences", "settings_of", "value_text"]

Meta = Mapping[str, Any]

_FAMILY_COLUMNS = {
    family.name: frozenset(metric.name for metric in family.metrics) for family in FAMILIES
}
_SPECTRAL = _FAMILY_COLUMNS["spectrum"] | _FAMILY_COLUMNS["heavy_tail"]
_SPECTRAL |= _FAMILY_COLUMNS["random_matrix"]
_OF_HEADERS = frozenset({"numel", "nbytes", "bits_per_weight"})
_RESAMPLED = frozenset({"alpha_low", "alpha_high", "alpha_reliable"})


def _every(metric: str) -> bool:
    return True


def _is_measured(metric: str) -> bool:
    """Whether a number needs the elements: headers say the others of every tensor."""
    return metric not in _OF_HEADERS and not metric.startswith("parameters")


def _none(metric: str) -> bool:
    return False


@dataclass(frozen=True)
class Setting:
    """Something that decides the numbers of a run.

    Attributes:
        name: As the metadata of a run, or the option of `analyze`, has it.
        read: Its value from the metadata; None if they do not say.
        meaning: What it means if two runs differ in it, one sentence.
        affects: Whether the numbers of a column are not comparable then. Numbers of a summary
            are judged by the column that they come from.
    """

    name: str
    read: Callable[[Meta], Any]
    meaning: str
    affects: Callable[[str], bool]


def _configured(name: str) -> Callable[[Meta], Any]:
    return lambda meta: _mapping(meta.get("configuration")).get(name)


def _kernels(meta: Meta) -> Any:
    known = _mapping(meta.get("environment")).get("kernels")
    if not isinstance(known, Mapping):
        return None
    return sorted(name for name, state in known.items() if state == "used")


def _left_out(meta: Meta) -> Any:
    """How many weights have no numbers."""
    return _mapping(meta.get("unread")).get("tensors", 0)


def _sampled(meta: Meta) -> Any:
    """The sample with what decides its choice."""
    configuration = _mapping(meta.get("configuration"))
    # Runs from before there were samples have none.
    sample = parse_sample(configuration.get("sample", ""))
    return sample.text(configuration.get("seed", 0)) or "everything"


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "code_version",
        lambda meta: meta.get("code_version"),
        "Versions may define a column differently (see CHANGELOG.md): analyze the older runs "
        "again before small differences are trusted.",
        _every,
    ),
    Setting(
        "include",
        _configured("include"),
        "Medians and summaries are over different selections of tensors.",
        _every,
    ),
    Setting(
        "exclude",
        _configured("exclude"),
        "Medians and summaries leave out different tensors.",
        _every,
    ),
    Setting(
        "sample",
        _sampled,
        "Some runs measured a part of the layers or experts only: medians and summaries are over "
        "different tensors.",
        _is_measured,
    ),
    Setting(
        "unread",
        _left_out,
        "Some runs have weights without numbers, because their packing is not understood: "
        "medians and summaries leave these out.",
        _every,
    ),
    Setting(
        "spectrum",
        _configured("spectrum"),
        "Approximate spectra give estimates, and no number that needs all singular values: "
        "differences within effective_rank_error are none.",
        lambda metric: metric in _SPECTRAL,
    ),
    Setting(
        "rank_tol",
        _configured("rank_tol"),
        "Ranks count singular values above different thresholds.",
        lambda metric: metric == "rank",
    ),
    Setting(
        "zero_epsilon",
        _configured("zero_epsilon"),
        "Sparsity counts elements up to different magnitudes.",
        lambda metric: metric == "sparsity",
    ),
    Setting(
        "seed",
        _configured("seed"),
        "Resamples differ: bootstrap intervals move within their own scatter.",
        lambda metric: metric in _RESAMPLED,
    ),
    Setting(
        "metrics",
        _configured("metrics"),
        "A smaller metric set leaves columns empty; numbers that are there compare.",
        _none,
    ),
    Setting(
        "backend",
        lambda meta: meta.get("backend"),
        "The last digits of sums differ; ranks and spectra keep their error bounds.",
        _none,
    ),
    Setting(
        "kernels",
        _kernels,
        "With compiled kernels the last digits of sums and eigenvalues differ.",
        _none,
    ),
)


def settings_of(meta: Meta) -> dict[str, Any]:
    """The value of every setting, None where the metadata do not say."""
    return {setting.name: setting.read(meta) for setting in SETTINGS}


def value_text(value: Any) -> str:
    """A setting's value as text; equal for equal values."""
    if value is None:
        return "unknown"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(value_text, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)


def deviating(settings: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """For each run the settings whose value it does not share with more than half of the runs."""
    counts = {setting.name: dict(_counts(settings, setting.name)) for setting in SETTINGS}
    return [
        tuple(
            name
            for name, known in counts.items()
            if len(known) > 1 and 2 * known[value_text(run.get(name))] <= len(settings)
        )
        for run in settings
    ]


def find_differences(
    labels: Sequence[str], settings: Sequence[Mapping[str, Any]], metrics: Collection[str]
) -> tuple[Difference, ...]:
    """The settings that have more than one value, those that concern most metrics first.

    Args:
        labels: Names of the runs.
        settings: As of `settings_of`, one for each.
        metrics: Names of the metrics that are compared.
    """
    differences = []
    for setting in SETTINGS:
        counts = _counts(settings, setting.name)
        if len(counts) < 2:
            continue
        texts = [value_text(run.get(setting.name)) for run in settings]
        values = tuple(
            (value, tuple(name for name, text in zip(labels, texts, strict=True) if text == value))
            for value, _ in counts
        )
        affected = tuple(name for name in metrics if setting.affects(column_behind(name)))
        differences.append(Difference(setting.name, values, setting.meaning, affected))
    return tuple(differences)


def _counts(settings: Sequence[Mapping[str, Any]], name: str) -> list[tuple[str, int]]:
    counts = Counter(value_text(run.get(name)) for run in settings)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
