"""The models of LM Studio, by publisher and name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mlx_probe.source.stores.discovery import expanded, find_in_folder, is_file
from mlx_probe.source.stores.protocol import OnProblem, Store, StoredModel

__all__ = ["LM_STUDIO"]


def _folders() -> list[Path]:
    homes = [Path.home() / ".lmstudio", Path.home() / ".cache" / "lm-studio"]
    chosen = []
    for home in homes:
        # Its settings may name another folder.
        if not is_file(home / "settings.json"):
            continue
        try:
            settings = json.loads((home / "settings.json").read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        folder = settings.get("downloadsFolder") if isinstance(settings, dict) else None
        if isinstance(folder, str) and folder and "\0" not in folder:
            chosen.append(expanded(folder))
    # The second home is that of versions before 0.3.
    return list(dict.fromkeys([*chosen, *(home / "models" for home in homes)]))


def _find(store: Path, on_problem: OnProblem) -> Iterator[StoredModel]:
    """Yield models named by publisher and name, or by their folder."""
    for stored in find_in_folder(store, on_problem):
        within = stored.location.parent.relative_to(store).as_posix()
        _, colon, file = stored.files.model_id.partition(":")
        named = replace(stored.files, model_id=f"{within}{colon}{file}")
        yield replace(stored, store="lm-studio", files=named)


LM_STUDIO = Store("LM Studio", _folders, _find)
