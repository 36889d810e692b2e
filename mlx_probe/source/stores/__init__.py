"""Where models are on this disk: the Hub's cache, Ollama, LM Studio, our own cache, folders.

A new store is one file with a `Store` and one line in `STORES`.
"""

from __future__ import annotations

from mlx_probe.source.stores.discovery import FOLDERS
from mlx_probe.source.stores.hub import HUB
from mlx_probe.source.stores.lm_studio import LM_STUDIO
from mlx_probe.source.stores.ollama import OLLAMA
from mlx_probe.source.stores.packages import PACKAGES
from mlx_probe.source.stores.protocol import Store

__all__ = ["STORES", "Store"]

# Where several stores hold the same bytes, the first of them keeps its file.
STORES: dict[str, Store] = {
    "hub": HUB,
    "ollama": OLLAMA,
    "lm-studio": LM_STUDIO,
    "pypi": PACKAGES,
    "folder": FOLDERS,
}
