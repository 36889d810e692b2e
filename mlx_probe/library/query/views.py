"""The views that a statement can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mlx_probe.library.query.catalog import files_view, models_view
from mlx_probe.library.query.facts import findings_view, runs_view
from mlx_probe.library.query.stored import NamedRun, Scope
from mlx_probe.library.query.tables import main_view, side_names, side_view, spectra_view
from mlx_probe.library.query.view import View

__all__ = ["QUERY_VIEWS", "SIDE_VIEWS", "ViewKind", "build", "known_views"]


@dataclass(frozen=True)
class ViewKind:
    """A view that there always is.

    Attributes:
        about: One sentence for the documentation.
        build: Makes it.
    """

    about: str
    build: Callable[[Sequence[NamedRun], Scope], View]


QUERY_VIEWS: Mapping[str, ViewKind] = {
    "runs": ViewKind(
        "a row for each run: model, settings, what it took, its findings by severity",
        lambda runs, _: runs_view(runs),
    ),
    "params": ViewKind(
        "the main tables of all analyses: a row for each tensor of each run",
        lambda runs, _: main_view(runs, "analyze"),
    ),
    "compare": ViewKind(
        "the main tables of all comparisons: a row for each pair of tensors of each run",
        lambda runs, _: main_view(runs, "compare"),
    ),
    "spectra": ViewKind(
        "all singular values of each matrix, of the runs that kept them",
        lambda runs, _: spectra_view(runs),
    ),
    "findings": ViewKind(
        "a row for each finding of each run",
        lambda runs, _: findings_view(runs),
    ),
    "models": ViewKind(
        "a row for each model in the catalog",
        lambda _, scope: models_view(scope.models_path),
    ),
    "model_files": ViewKind(
        "a row for each file of each model in the catalog",
        lambda _, scope: files_view(scope.models_path),
    ),
}


# Tables that runs may have beside the main one: the keys of `SIDES` of analysis, a room that this
# one does not import.
SIDE_VIEWS = ("heads", "experts")


def known_views(runs: Sequence[NamedRun]) -> list[str]:
    """Every view, those of the tables that runs have beside the main one included."""
    return list(dict.fromkeys([*QUERY_VIEWS, *side_names(runs)]))


def build(name: str, runs: Sequence[NamedRun], scope: Scope) -> View:
    """A view by its name.

    Args:
        name: One of `known_views`.
        runs: The runs.
        scope: What the statement may see.

    Raises:
        ResultError: Something that it needs is damaged.
    """
    kind = QUERY_VIEWS.get(name)
    return side_view(runs, name) if kind is None else kind.build(runs, scope)
