"""Which weights an adapter changes, by which of its tensors, and which it leaves alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, cast

from mlx_probe.analysis.compare.adapted import Adaption
from mlx_probe.analysis.compare.adapter_targets import Place, Targets
from mlx_probe.analysis.compare.blocks import Floats
from mlx_probe.analysis.compare.pair import Pair, interleaved_rows, shape_text, unreadable
from mlx_probe.checkpoint import ADAPTERS, Checkpoint, Weight, find_aliases
from mlx_probe.checkpoint.adapters.kinds import AdapterKind
from mlx_probe.checkpoint.adapters.names import TOKENS_PIECE, WRAPPED, base_name
from mlx_probe.checkpoint.adapters.protocol import (
    Edit,
    MisfitError,
    Module,
    Product,
    Scheme,
    Update,
)
from mlx_probe.checkpoint.adapters.reading import sort_pieces
from mlx_probe.checkpoint.adapters.targeting import is_targeted, starts_at_random
from mlx_probe.checkpoint.packings.protocol import Index
from mlx_probe.core.errors import ConfigError, PackingError

__all__ = ["pair_adapter"]

# Status and reason of a pair that has to be read.
_UNKNOWN: tuple[None, None] = (None, None)


@dataclass
class _Changes:
    """What is known of one weight of the base.

    Attributes:
        updates: What modules of the adapter do to it.
        tensors: The adapter's tensor that the row names, of each.
        replaced: The tensor that takes its place.
        status: Status and reason if it cannot be computed.
    """

    updates: list[Update] = field(default_factory=list)
    tensors: list[Weight] = field(default_factory=list)
    replaced: Weight | None = None
    status: tuple[str, str] | None = None


def pair_adapter(base: Checkpoint, tuned: Checkpoint) -> tuple[Pair, ...]:
    """Pair a base's weights with what changes them.

    A module's weight is identified by its name, or by its role. Weights that PEFT stores whole
    (modules_to_save, trained biases) are paired like those of two models.

    Args:
        base: The model.
        tuned: The adapter.

    Returns:
        Pairs in the order of the base's weights, matched by "adapter" if the adapter stores
        nothing for them; then weights of the adapter without a counterpart in the base.

    Raises:
        ConfigError: What this kind of adapter makes of the weights is not computed.
    """
    adapter = tuned.adapter
    assert adapter is not None
    key = "lora" if adapter.kind == "dora" else adapter.kind
    kind = ADAPTERS.get(key, AdapterKind(adapter.kind))
    if (why := adapter.refusal(tuned.config)) is not None:
        raise ConfigError(
            f"{tuned.files.model_id} is an adapter ({kind.title}), kind not supported: {why}",
            "Merge it with the program that made it (PEFT: merge_and_unload) and compare the "
            "merged model",
        )
    return _Pairing(base, tuned, kind).pairs()


class _Pairing:
    """Collects what an adapter does to each weight of a base."""

    def __init__(self, base: Checkpoint, tuned: Checkpoint, kind: AdapterKind) -> None:
        self._base, self._tuned, self._kind = base, tuned, kind
        self._config = _settings(tuned)
        self._targets = Targets(base, self._config)
        self._changes: defaultdict[int, _Changes] = defaultdict(_Changes)
        self._lost: list[Pair] = []
        # Name of a module to what it changes.
        self._changed_by: defaultdict[str, list[int]] = defaultdict(list)
        # As they are shown in rows: as matrices.
        self._shown = {weight.name: weight for weight in reversed(tuned.weights())}

    def pairs(self) -> tuple[Pair, ...]:
        modules, whole = sort_pieces(self._kind, self._tuned.vectors())
        for module in modules:
            self._add_module(_named_as_peft(module, self._tuned))
        stored = {weight.name for weight in whole}
        for weight in self._tuned.weights():
            if weight.name in stored and weight.part is None:
                self._add_whole(weight)
        self._doubt_missing()
        self._follow_ties()
        return (*self._of_base(), *self._lost)

    def _add_module(self, module: Module) -> None:
        """Find the tensors that a module changes, and how."""
        try:
            places = self._targets.places(module)
        except PackingError as error:
            places = []
            self._doubt(module, error.fact)
        for place in places:
            self._add_place(place)
            self._changed_by[module.name].append(place.index)
        if not any(place.key == "weight" for place in places) and self._changes_weight(module):
            self._doubt(module, "")
            reason = f"the base has no weight of {module.name}"
            self._lose(module, reason)
        elif "lora_B.bias" in module.pieces and not any(p.key == "bias" for p in places):
            self._lose(
                replace(module, pieces={"": module.pieces["lora_B.bias"]}),
                "a bias that the adapter adds, where the base has none: PEFT cannot merge it",
            )

    def _changes_weight(self, module: Module) -> bool:
        return bool(module.pieces or module.unknown)

    def _add_place(self, place: Place) -> None:
        changes = self._changes[place.index]
        weight = self._targets.weights[place.index]
        try:
            update = self._update(place)
            if update is not None and weight.part is not None and update.dora:
                raise PackingError("DoRA's norms of a part of a fused matrix are not computed")
        except MisfitError as error:
            changes.status = "reshaped", error.fact
        except PackingError as error:
            changes.status = "skipped", error.fact
        else:
            if update is None:
                if not changes.updates and changes.status is None and changes.replaced is None:
                    del self._changes[place.index]
                return
            changes.updates.append(update if place.rows is None else _cut(update, place.rows))
        names = [piece.name for piece in place.module.pieces.values()] + place.module.unknown
        changes.tensors.append(_main([self._shown[name] for name in names]))

    def _update(self, place: Place) -> Update | None:
        module, config = place.module, self._config
        if module.unknown:
            raise PackingError(f"the adapter stores {module.unknown[0]}, which is not known")
        tokens = TOKENS_PIECE in module.pieces
        if not tokens and not place.is_parameter and not is_targeted(module.name, config):
            raise PackingError(
                f"adapter_config.json does not target {module.name}: PEFT does not load what is "
                "stored for it"
            )
        kind = ADAPTERS["trainable_tokens"] if tokens else self._kind
        assert kind.scheme is not None
        scheme = cast(Scheme, import_module(kind.scheme))
        return scheme.update(place.key, module, place.target, config)

    def _add_whole(self, weight: Weight) -> None:
        """A tensor that the adapter stores whole."""
        if ".original_module." in weight.name:
            # PEFT keeps the base's tensor beside the trained one.
            return
        name = base_name(weight.name)
        i = self._targets.find(name, weight.stack_index)
        reason = "the base has no tensor of this name or role"
        table = self._targets.table_of_head(name.removesuffix(".weight")) if i is None else None
        if table is not None:
            # PEFT stores the layer inside of a wrapped head: it is the base's tied table.
            i = table if f".{WRAPPED}." in weight.name else None
            reason = "the base has no head of its own: it uses its table of embeddings"
        if i is None:
            self._lost.append(Pair(None, weight, status="only_b", reason=reason))
            self._distrust(name, weight)
            return
        changes = self._changes[i]
        if changes.replaced is None:
            changes.replaced = weight
        elif not find_aliases([changes.replaced, weight]):
            reason = f"the adapter stores it twice, as {changes.replaced.name} and {weight.name}"
            changes.status = "skipped", reason

    def _distrust(self, name: str, weight: Weight) -> None:
        """A tensor beside a module's factors that is not understood may change what they mean."""
        for index in self._changed_by.get(name.rpartition(".")[0], ()):
            reason = f"the adapter stores {weight.name} beside its factors, which is not known"
            self._changes[index].status = "skipped", reason

    def _follow_ties(self) -> None:
        """What changes a table of embeddings in place changes a tied head as well."""
        for i in list(self._changes):
            changes = self._changes[i]
            if changes.replaced is not None and not changes.updates:
                continue
            tie = self._targets.tied(i)
            if tie is None:
                continue
            other, certain = tie
            if other in self._changes:
                both = "the adapter changes the embeddings and the head, which are tied"
                for index in (i, other):
                    self._changes[index].status = "skipped", both
            elif certain:
                self._changes[other] = replace(changes)
            else:
                reason = "config.json ties it to a tensor of other bytes that the adapter changes"
                self._changes[other] = replace(changes, status=("skipped", reason))
            return

    def _of_base(self) -> list[Pair]:
        weights = self._targets.weights
        fused = {weights[i].label: i for i in self._changes if weights[i].part is None}
        cut = {weights[i].name for i in self._changes if weights[i].part is not None}
        pairs = []
        for i, weight in enumerate(weights):
            if i in self._changes:
                pairs.append(self._changed(weight, self._changes[i]))
            elif weight.part is not None and _whole_label(weight) in fused:
                whole = fused[_whole_label(weight)]
                pairs.append(_part_of(weight, self._changed(weights[whole], self._changes[whole])))
            else:
                pairs.append(_unchanged(weight, weight.name in cut))
        return pairs

    def _changed(self, weight: Weight, changes: _Changes) -> Pair:
        interleaved = interleaved_rows(weight, self._base, self._tuned)
        if not changes.updates and changes.status is None and changes.replaced is not None:
            return _stored_whole(weight, changes.replaced, interleaved)
        tensor = changes.tensors[0] if changes.tensors else None
        pair = Pair(weight, tensor, "adapter", interleaved_a=interleaved)
        if changes.status is not None:
            status, reason = changes.status
            return replace(pair, status=status, reason=reason, is_change_unknown=True)
        pieces = [piece for update in changes.updates for piece in update.pieces.values()]
        stored = [changes.replaced] if changes.replaced is not None else []
        for read in (*pieces, *stored):
            if (why := unreadable(read, 0)) is not None:
                reason = f"{read.name}: {why[1]}"
                return replace(pair, status="skipped", reason=reason, is_change_unknown=True)
        if (why := unreadable(weight, interleaved)) is not None:
            return replace(pair, status=why[0], reason=why[1])
        if stored and stored[0].shape != weight.shape:
            shapes = f"{shape_text(weight.shape)} in A, {shape_text(stored[0].shape)} in B"
            return replace(pair, status="reshaped", reason=shapes)
        if self._is_reordered(weight):
            reason = "llama.cpp orders the rows of queries and keys: compare with a GGUF base"
            return replace(pair, status="skipped", reason=reason, is_change_unknown=True)
        if len(changes.updates) > 1 and any(u.rank is None or u.dora for u in changes.updates):
            reason = "several changes of the adapter meet in it"
            return replace(pair, status="skipped", reason=reason, is_change_unknown=True)
        return replace(pair, adaption=Adaption(tuple(changes.updates), changes.replaced))

    def _is_reordered(self, weight: Weight) -> bool:
        """Whether a GGUF adapter's rows have another order than those of the base."""
        query_or_key = weight.role.block_type in ("q_proj", "k_proj", "qkv_proj")
        return self._tuned.framework == "gguf" != self._base.framework and query_or_key

    def _doubt_missing(self) -> None:
        """Targets for which the adapter stores nothing, where PEFT begins with random values."""
        if not self._config.get("target_modules") or not starts_at_random(self._config):
            return
        for i, weight in enumerate(self._targets.weights):
            module = weight.name.removesuffix(".weight")
            named = module != weight.name and weight.rows is not None and weight.part is None
            if named and i not in self._changes and is_targeted(module, self._config):
                self._changes[i].status = (
                    "skipped",
                    "adapter_config.json targets it, and the adapter stores nothing for it: PEFT "
                    "begins with random values",
                )

    def _doubt(self, module: Module, reason: str) -> None:
        """Weights that a module may change: nothing is said of them."""
        told = reason or (
            f"the adapter changes {module.name}, which the base does not store under this name: "
            "this tensor may be a part of it"
        )
        for i in self._targets.near(module.name):
            if self._changes[i].status is None and not self._changes[i].updates:
                self._changes[i].status = "skipped", told

    def _lose(self, module: Module, reason: str) -> None:
        pieces = {piece.name for piece in module.pieces.values()} | set(module.unknown)
        self._lost += [
            Pair(None, weight, status="only_b", reason=reason)
            for weight in self._tuned.weights()
            if weight.name in pieces
        ]


def _cut(update: Update, rows: Index, cols: Index = slice(None)) -> Update:
    """The same product for some rows and columns."""

    def build(pieces: Mapping[str, Floats]) -> Edit:
        product = update.build(pieces)
        assert isinstance(product, Product)
        return replace(product, left=product.left[rows], right=product.right[:, cols])

    return replace(update, build=build)


def _settings(tuned: Checkpoint) -> Mapping[str, Any]:
    """adapter_config.json; for a GGUF what llama.cpp keeps of it."""
    alpha = tuned.metadata.get("adapter.lora.alpha")
    return tuned.config if alpha is None else {**tuned.config, "lora_alpha": float(alpha)}


def _named_as_peft(module: Module, tuned: Checkpoint) -> Module:
    """llama.cpp stores factors as PEFT does, under mlx-lm's names."""
    if tuned.framework != "gguf":
        return module
    names = {"lora_a": "lora_A", "lora_b": "lora_B"}
    return replace(module, pieces={names.get(k, k): v for k, v in module.pieces.items()})


def _main(pieces: Sequence[Weight]) -> Weight:
    """The tensor that a row names: the second factor of a LoRA, else the first piece."""
    ends = ("lora_B", "lora_b", "lora_embedding_B")
    second = (p for p in pieces if any(end in p.name.split(".") for end in ends))
    return next(second, pieces[0])


def _stored_whole(a: Weight, b: Weight, interleaved: int) -> Pair:
    if a.shape != b.shape or a.rows != b.rows:
        reason = f"{shape_text(a.shape)} in A, {shape_text(b.shape)} in B"
        return Pair(a, b, "name", "reshaped", reason)
    known = unreadable(a, interleaved) or unreadable(b, 0) or _UNKNOWN
    return Pair(a, b, "name", known[0], known[1], interleaved_a=interleaved)


def _part_of(weight: Weight, whole: Pair) -> Pair:
    """The pair of a part of a fused matrix: a product's factors have its rows and columns."""
    pair = Pair(weight, whole.b, "adapter", whole.status, whole.reason)
    if whole.status is not None:
        return pair
    adaption, part = whole.adaption, weight.part
    assert part is not None
    if (
        adaption is None
        or not adaption.is_product
        or whole.interleaved_a
        or any(update.removed is not None for update in adaption.updates)
    ):
        reason = "the adapter changes the whole matrix: see its row"
        return replace(pair, status="skipped", reason=reason)
    height, width = weight.extents
    rows, cols = part.source(slice(0, height), slice(0, width))
    updates = tuple(_cut(update, rows, cols) for update in adaption.updates)
    return replace(pair, adaption=Adaption(updates))


def _unchanged(weight: Weight, cut: bool) -> Pair:
    if cut and weight.part is None:
        reason = "the adapter changes a part of it: see the row of the part"
        return Pair(weight, None, "adapter", "skipped", reason)
    known = unreadable(weight, 0) or _UNKNOWN
    return Pair(weight, None, "adapter", *known)


def _whole_label(weight: Weight) -> str:
    expert = "" if weight.stack_index is None else f"[{weight.stack_index}]"
    return weight.name + expert
