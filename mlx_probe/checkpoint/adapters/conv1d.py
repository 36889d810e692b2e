"""Whether a square matrix is stored as (in, out), as the Conv1D of GPT-2 is."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["is_conv1d"]

# Modules that are a Conv1D in transformers' models of these types.
_MODULES = ("c_attn", "c_proj", "c_fc", "q_attn")
_MODELS = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp", "clvp_decoder")


def is_conv1d(
    name: str, shapes: Mapping[str, tuple[int, ...]], model_type: str | None, flag: bool
) -> bool:
    """Whether a module is stored as (in, out).

    PEFT asks the module itself, whatever ``fan_in_fan_out`` says. A file shows it by the shapes
    of a block's other modules: c_fc widens, c_attn has the width three times as outputs. Models
    with nn.Linear under the same names (GPT-BigCode) have them the other way round.

    Args:
        name: Name of the module's weight in the base.
        shapes: Name to shape of all tensors of the base.
        model_type: Of the base's config.json; None if it has none.
        flag: ``fan_in_fan_out`` of the adapter, which decides where nothing else does.
    """
    parts = name.removesuffix(".weight").split(".")
    if parts[-1] not in _MODULES:
        return False
    shape = shapes.get(name, ())
    if len(shape) != 2:
        return False
    for last in ("c_attn", "c_fc"):
        ends = (f".{last}.weight", f"{last}.weight")
        other = next(
            (s for n, s in shapes.items() if n.endswith(ends) and len(s) == 2 and s[0] != s[1]),
            None,
        )
        if other is not None:
            return other[0] < other[1]
    if model_type in _MODELS:
        return True
    return flag
