"""The survey: what takes how much, and what of it may go. Only the catalog's runs are written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlx_probe.core.paths import cache_dir
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.duplicates import find_duplicates
from mlx_probe.library.catalog.folders import remembered_folders
from mlx_probe.library.catalog.models import load_models
from mlx_probe.library.experiments.scanning import remembered_run_folders, scan_experiments
from mlx_probe.library.space.bin import binned_bytes
from mlx_probe.library.space.gathering import gather_needs
from mlx_probe.library.space.kinds import REMOVABLE, SPACE_KINDS
from mlx_probe.library.space.records import Occupied, Survey
from mlx_probe.library.space.usage import usage
from mlx_probe.runs.folder import DEFAULT_ROOT
from mlx_probe.source.stores import STORES

__all__ = ["find_items", "survey_space"]


def survey_space(database: Database) -> Survey:
    """What takes how much on this machine, and what of it may go.

    Args:
        database: The catalog; its runs are brought up to date.

    Raises:
        ResultError: The catalog cannot be read or written.
    """
    survey = find_items(database, REMOVABLE)
    models = [model for model in load_models(database) if not model.missing]
    found = find_duplicates(database, models, hashing=False)
    survey.saves = sum(group.saves for group in found.groups)
    survey.copies = sum(len(group.copies) - 1 for group in found.groups)
    survey.binned = binned_bytes(database)
    survey.places = list(_places(database, survey))
    return survey


def find_items(database: Database, kinds: Sequence[str]) -> Survey:
    """What may go, of some kinds.

    Args:
        database: The catalog; its runs are brought up to date.
        kinds: Keys of `SPACE_KINDS`.

    Raises:
        ResultError: The catalog cannot be read or written.
    """
    survey = Survey()
    survey.troubles += scan_experiments(database).troubles
    needs = gather_needs(database)
    survey.runs = len(needs.runs)
    survey.troubles += [*needs.troubles, *needs.unknown]
    for name in kinds:
        find = SPACE_KINDS[name].find
        if find is not None:
            survey.items += find(needs, survey)
    survey.items.sort(key=lambda item: (-item.frees, item.kind, item.name))
    survey.troubles = list(dict.fromkeys(survey.troubles))
    return survey


def _places(database: Database, survey: Survey) -> Iterator[Occupied]:
    named = [
        (store.title, folder)
        for name, store in STORES.items()
        if name != "pypi"
        for folder in store.folders()
    ]
    named += [("mlx-probe", cache_dir())]
    named += [("folders", folder) for folder in remembered_folders(database)]
    named += [("runs", folder) for folder in (DEFAULT_ROOT, *remembered_run_folders(database))]
    seen: set[Path] = set()
    for title, folder in named:
        real = Path(os.path.realpath(folder))
        if real in seen or seen & set(real.parents):
            continue
        try:
            if not real.is_dir():
                continue
            free = shutil.disk_usage(real).free
        except OSError as error:
            survey.troubles.append((real, error.strerror or str(error)))
            continue
        seen.add(real)
        taken = usage([real], lambda error: None)
        yield Occupied(title, real, taken.files, taken.disk, free)
