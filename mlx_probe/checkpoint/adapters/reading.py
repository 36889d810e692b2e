"""An adapter's tensors, sorted by the modules of the base that they belong to."""

from __future__ import annotations

from collections.abc import Iterable

from mlx_probe.checkpoint.adapters.kinds import AdapterKind
from mlx_probe.checkpoint.adapters.names import TOKENS_PIECE, parse
from mlx_probe.checkpoint.adapters.protocol import Module
from mlx_probe.checkpoint.weight import Weight

__all__ = ["sort_pieces"]


def sort_pieces(kind: AdapterKind, weights: Iterable[Weight]) -> tuple[list[Module], list[Weight]]:
    """The modules that an adapter changes, and the tensors that it stores whole.

    Args:
        kind: The kind of the adapter.
        weights: Its tensors, each as one vector (`Checkpoint.vectors`).

    A second tensor of one piece (PEFT keeps several adapters apart by their names) is not
    understood.

    Returns:
        Modules in the order of their first tensors, each with the pieces that all share; and
        the tensors that belong to none.
    """
    modules: dict[tuple[str, int], Module] = {}
    whole: list[Weight] = []
    owners = {
        named.module for w in weights if (named := parse(w.name, kind)) and named.piece != "m"
    }
    for weight in weights:
        named = parse(weight.name, kind)
        if named is None or (named.piece == "m" and named.module not in owners):
            whole.append(weight)
            continue
        module = modules.setdefault((named.module, named.depth), Module(named.module, named.depth))
        understood = named.piece in kind.pieces or named.piece == TOKENS_PIECE
        if understood and named.piece not in module.pieces:
            module.pieces[named.piece] = weight
        elif named.piece not in kind.unused:
            module.unknown.append(weight.name)
    shared = modules.pop(("", 0), None)
    for module in modules.values():
        if shared is not None:
            module.pieces.update(shared.pieces)
            module.unknown.extend(shared.unknown)
    return list(modules.values()), whole
