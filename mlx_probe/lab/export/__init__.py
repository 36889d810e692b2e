"""Models in the formats of other programs.

A new format is one module with a function like `export_gguf` and one line in `EXPORTS`.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlx_probe.lab.export.gguf import export_gguf
from mlx_probe.lab.export.protocol import Export, Exported

__all__ = ["EXPORTS", "Export", "Exported"]

# By the value of --to.
EXPORTS: Mapping[str, Export] = {"gguf": export_gguf}
