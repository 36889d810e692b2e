"""Models in the formats of other programs.

A new format is one module with a function like `export_gguf` and one line in `EXPORTS`.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlx_probe.lab.export.gguf import TYPES, export_gguf
from mlx_probe.lab.export.mlx_layout import BIT_TYPES, FLOAT_TYPES, export_mlx
from mlx_probe.lab.export.peft_adapter import export_peft
from mlx_probe.lab.export.protocol import Export, Exported, Format
from mlx_probe.lab.export.recorded import recorded

__all__ = ["EXPORTS", "FORMATS", "Export", "Exported", "Format"]

# By the value of --to.
FORMATS: Mapping[str, Format] = {
    "gguf": Format(recorded("gguf", export_gguf), tuple(TYPES)),
    "mlx": Format(recorded("mlx", export_mlx), (*FLOAT_TYPES, *BIT_TYPES)),
    "peft": Format(recorded("peft", export_peft), tuple(FLOAT_TYPES)),
}
EXPORTS: Mapping[str, Export] = {name: form.export for name, form in FORMATS.items()}
