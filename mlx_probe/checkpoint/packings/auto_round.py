"""What AutoRound's config.json says: which layout its weights have, and its types of numbers.

AutoRound writes the layouts of GPTQ, AWQ and compressed-tensors under a method of its own. Its
``packing_format`` decides, and nothing in the pieces shows it: the same words with zero points
stored minus one (``auto_gptq``) or unchanged (its own format) are different weights.

Source: AutoRound 0.16 (``export/export_to_autoround/export.py``, ``inference/backend.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["METHODS", "data_types", "layout_of"]

# Values of ``quant_method``.
METHODS = ("auto-round", "intel/auto-round")
# Layouts by packing format; a third segment ("auto_round:auto_gptq:exllamav2") names a kernel.
_LAYOUTS = {
    "auto_round": "gptq_v2",
    "auto_round:gptqmodel": "gptq_v2",
    "auto_round:auto_gptq": "gptq",
    "auto_round:gptq": "gptq",
    "auto_round:auto_awq": "awq",
    "auto_round:awq": "awq",
    "auto_round:llm_compressor": "compressed",
    "auto_round:llm_compressor_nvfp4_e5m3": "compressed",
    "auto_round:fp8": "fp8",
    "auto_round:fp8_static": "fp8",
}


def layout_of(settings: Mapping[str, Any]) -> str | None:
    """The layout of the weights; None if the packing format is not known or not given.

    Args:
        settings: config.json's ``quantization_config`` of the method AutoRound.

    Returns:
        "gptq" (zero points minus one), "gptq_v2", "awq", "compressed" or "fp8".
    """
    given = settings.get("packing_format")
    if not isinstance(given, str):
        return None
    return _LAYOUTS.get(":".join(given.split(":")[:2]))


def data_types(settings: Mapping[str, Any]) -> list[str]:
    """Types of numbers that config.json names, for the model and for single layers."""
    others = settings.get("extra_config")
    layers = list(others.values()) if isinstance(others, Mapping) else []
    owners = [settings, *(layer for layer in layers if isinstance(layer, Mapping))]
    return [owner["data_type"] for owner in owners if isinstance(owner.get("data_type"), str)]
