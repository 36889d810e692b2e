"""The catalog: models on this machine, what is known about them, and duplicates among them."""

from mlx_probe.library.catalog.card import card_text
from mlx_probe.library.catalog.database import Database, default_database, open_database
from mlx_probe.library.catalog.dedupe import (
    Dedupe,
    LinkPlan,
    PlannedLink,
    dedupe,
    plan_links,
    settle,
    undo,
    undoable,
)
from mlx_probe.library.catalog.duplicates import (
    Copy,
    DuplicateGroup,
    Duplicates,
    find_duplicates,
    hash_models,
)
from mlx_probe.library.catalog.filter import parse_filter
from mlx_probe.library.catalog.folders import remembered_folders
from mlx_probe.library.catalog.kin import Kin, kin_of, load_kin, named_kin, remember_kin, stamps_of
from mlx_probe.library.catalog.models import (
    add_tags,
    find_model,
    forget,
    load_models,
    remove_tags,
    set_note,
)
from mlx_probe.library.catalog.query import SORTS, Query, select_models
from mlx_probe.library.catalog.records import Analysis, Model, ModelFile
from mlx_probe.library.catalog.relatives import find_versions
from mlx_probe.library.catalog.scanning import Scan, scan

__all__ = [
    "SORTS",
    "Analysis",
    "Copy",
    "Database",
    "Dedupe",
    "DuplicateGroup",
    "Duplicates",
    "Kin",
    "LinkPlan",
    "Model",
    "ModelFile",
    "PlannedLink",
    "Query",
    "Scan",
    "add_tags",
    "card_text",
    "dedupe",
    "default_database",
    "find_duplicates",
    "find_model",
    "find_versions",
    "forget",
    "hash_models",
    "kin_of",
    "load_kin",
    "load_models",
    "named_kin",
    "open_database",
    "parse_filter",
    "plan_links",
    "remember_kin",
    "remembered_folders",
    "remove_tags",
    "scan",
    "select_models",
    "set_note",
    "settle",
    "stamps_of",
    "undo",
    "undoable",
]
