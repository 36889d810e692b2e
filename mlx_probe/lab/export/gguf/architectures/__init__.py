"""The architectures: one module and one line in `ARCHITECTURES` each."""

from __future__ import annotations

from collections.abc import Mapping

from mlx_probe.lab.export.gguf.architectures.architecture import Architecture, Place
from mlx_probe.lab.export.gguf.architectures.gemma import GEMMA
from mlx_probe.lab.export.gguf.architectures.gemma2 import GEMMA2
from mlx_probe.lab.export.gguf.architectures.gemma3 import GEMMA3
from mlx_probe.lab.export.gguf.architectures.llama import LLAMA
from mlx_probe.lab.export.gguf.architectures.mistral import MISTRAL
from mlx_probe.lab.export.gguf.architectures.phi3 import PHI3
from mlx_probe.lab.export.gguf.architectures.qwen2 import QWEN2
from mlx_probe.lab.export.gguf.architectures.qwen3 import QWEN3
from mlx_probe.lab.export.gguf.architectures.qwen3_moe import QWEN3_MOE

__all__ = ["ARCHITECTURES", "Architecture", "Place"]

# By model_type of config.json.
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": LLAMA,
    "mistral": MISTRAL,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "qwen3_moe": QWEN3_MOE,
    "gemma": GEMMA,
    "gemma2": GEMMA2,
    "gemma3_text": GEMMA3,
    "phi3": PHI3,
}
