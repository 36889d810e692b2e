"""A tensor's role by its name: layer, block type, component, expert; see `rules` for the tables."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from mlx_probe.checkpoint.naming.familiar import FAMILIAR
from mlx_probe.checkpoint.naming.rules import (
    MODULES,
    PIECES,
    RULES,
    SCOPES,
    TOWERS,
    Piece,
    Rule,
    Scope,
)
from mlx_probe.core.records import Role

__all__ = ["classify", "deciding"]

# Segments that PEFT, torch.compile and FSDP put around a module.
_WRAPPERS = re.compile(
    r"\.(?:base_layer|modules_to_save\.\w+|original_module|_orig_mod)(?=\.|\Z)"
    r"|\.(?:_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.|\Z)"
    # PyTorch's weight norm: magnitude and direction.
    r"|\.parametrizations(?=\.weight\.original[01])|(?<=\.weight)\.original[01]"
)

# At most nine digits: a damaged name must not overflow the table's int64.
_LAYER_INDEX = re.compile(
    r"(?:^|\.)(?:layers?|blocks?|blk|h|mtp|resblocks|(?:conv|transformer)_blocks|encoders"
    r"|(?:conv|encoder|hidden|cross_attn|gated_cross_attn|kv_reuse|mtp)_layers|self_attends"
    r"|attentions|ffns|layer_norm[12]|albert_layer_groups|posnet|convnext|proj_blk"
    r"|gate_projections|transformer_encoder)\.([0-9]{1,9})(?=\.|\Z)"
)
_EXPERT_INDEX = re.compile(
    r"(?:^|\.)(?:experts|ffn_(?:gate|up|down))\.(?:expert_)?([0-9]{1,9})(?=\.|\Z)"
)

# Real names stay under 150 characters; patterns take the square of a name's length.
_LONGEST = 500


def classify(name: str) -> Role:
    """The role of a tensor in the network, by its name.

    Args:
        name: Name in the checkpoint; wrapper prefixes ("model.", "module.") do not matter.

    Returns:
        The role. A bias has the role of its weight. The outermost numbered block is the
        layer. A name that no rule knows is ("other", "other"), with its indices if it has
        any. GGUF calls Phi-3's fused gate and up matrix ``ffn_up``, so that is up_proj here.
    """
    layer = _LAYER_INDEX.search(name)
    expert = _EXPERT_INDEX.search(name)
    # From the end, so that earlier positions stay valid.
    shape = name
    for match in sorted({m for m in (layer, expert) if m}, key=lambda m: -m.start(1)):
        shape = f"{shape[: match.start(1)]}#{shape[match.end(1) :]}"
    if len(shape) > _LONGEST:
        # The space: a cut name must not match as if it began there.
        shape = f" {shape[-_LONGEST:]}"
    block_type, component = _type_and_component(shape)
    return Role(
        block_type,
        component,
        int(layer[1]) if layer else None,
        int(expert[1]) if expert else None,
    )


# A pattern is compiled when a name first reaches it: most models need few of the hundreds, and
# compiling all of them would take a tenth of a short run's start.
_compiled = cache(re.compile)


def _search(pattern: str, name: str) -> re.Match[str] | None:
    return _compiled(pattern).search(name)


# Without these numbers a model has about thirty different names.
@lru_cache(maxsize=4096)
def _type_and_component(name: str) -> tuple[str, str]:
    """Block type and component of a name whose layer and expert are written ``#``."""
    if name in FAMILIAR:
        return FAMILIAR[name]
    row, scope = deciding(name)
    if row is None:
        return "other", scope.component if scope else "other"
    if isinstance(row, Rule):
        return row.block_type, scope.component if scope else row.component
    return row.block_type, _component_of_owner(name, row)


def deciding(name: str) -> tuple[Rule | Piece | None, Scope | None]:
    """The rule or piece that decides a name's block type, and the scope of its component.

    Args:
        name: Name with ``#`` in place of the numbers of layer and expert.

    Returns:
        The rule or piece, None if none matches; and the scope that replaces its component,
        None if none does.
    """
    name = _WRAPPERS.sub("", name)
    inside = [scope for scope in SCOPES if _search(scope.inside, name)]
    tower = next((scope for scope in inside if scope.over is None), None)
    for rule in RULES:
        if rule.component in TOWERS and (tower is None or rule.component != tower.component):
            continue
        if _search(rule.pattern, name):
            return rule, next((s for s in inside if s.over in (None, rule.component)), None)
    for piece in PIECES:
        match = _search(piece.pattern, name)
        if match and not (piece.known and _type_and_component(name[: match.start()])[0] == "other"):
            return piece, tower
    return None, tower


def _component_of_owner(name: str, piece: Piece) -> str:
    name = _WRAPPERS.sub("", name)
    match = _search(piece.pattern, name)
    owner = name[: match.start()] if match else name
    block_type, component = _type_and_component(owner)
    if block_type != "other" or component != "other":
        return component
    return next((module for module, pattern in MODULES if _search(pattern, owner)), "other")
