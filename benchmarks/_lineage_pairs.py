"""Families of tiny models whose relations are known, for the benchmark of lineage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import mlx.core as mx
import numpy as np
from _lineage_training import Corpus, Weights, lora_adapter, trained, write
from _lineage_variants import (
    fp8_folder,
    linear,
    magnitude,
    mlx_folder,
    permuted_channels,
    permuted_heads,
    permuted_units,
    rescaled,
    slerp,
    two_of_four,
    without_layer,
    without_units,
)

from mlx_probe.lab.export.gguf import export_gguf
from mlx_probe.lab.merge.merge import merge_adapter
from mlx_probe.lab.model.config import ModelConfig

__all__ = ["Family", "Pair", "make_family", "unrelated_pairs"]

_FAMILY = "family.json"
_MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_ATTENTION = ("self_attn.q_proj", "self_attn.v_proj")


@dataclass(frozen=True)
class Pair:
    """Two models, and what is true of them.

    Attributes:
        a: Folder or file of the first.
        b: Of the second.
        relation: The relation that is true.
        kind: How it was made, for the table.
        parent: "a" where A was made into B; None for siblings and unrelated ones.
    """

    a: Path
    b: Path
    relation: str
    kind: str
    parent: str | None = None


@dataclass
class Family:
    """Models that come from one initial model.

    Attributes:
        seed: Of the initial weights.
        models: Folder or file by name.
        pairs: Of related models.
    """

    seed: int
    models: dict[str, Path] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)

    def save(self, root: Path) -> None:
        """Write what there is, for `load`; last, so that a folder with it is complete."""
        pairs = [[p.a.name, p.b.name, p.relation, p.kind, p.parent] for p in self.pairs]
        models = {name: path.name for name, path in self.models.items()}
        text = json.dumps({"seed": self.seed, "models": models, "pairs": pairs}, indent=1)
        (root / _FAMILY).write_text(text)

    @staticmethod
    def load(root: Path) -> Family | None:
        """The family that was saved in a folder; None if there is none."""
        path = root / _FAMILY
        if not path.is_file():
            return None
        known = json.loads(path.read_text())
        family = Family(known["seed"], {n: root / each for n, each in known["models"].items()})
        family.pairs = [Pair(root / a, root / b, *rest) for a, b, *rest in known["pairs"]]
        return family


def shape_of(seed: int, corpus: Corpus) -> ModelConfig:
    """The shape of a family: seeds of one parity share it, so that unrelated models do."""
    return ModelConfig(
        dim=64, layers=3, heads=4, kv_heads=2, hidden=128, context=64,
        vocabulary=corpus.vocabulary, qk_norm=bool(seed % 2), tied_embeddings=not seed % 2,
    )  # fmt: skip


def make_family(root: Path, corpus: Corpus, seed: int, steps: int = 120) -> Family:
    """Train a base, and make everything of it that a relation is known of.

    Args:
        root: Folder for the models.
        corpus: Its first half is what bases are trained on, the rest what tunings are.
        seed: Of the initial weights.
        steps: Of the base; a tuning takes a third.
    """
    if (known := Family.load(root)) is not None:
        return known
    config, family = shape_of(seed, corpus), Family(seed)
    root.mkdir(parents=True)
    half = len(corpus.parts) // 2
    common = np.concatenate(corpus.parts[:half])
    base = trained(config, common, seed, steps, 3e-3)
    few = max(1, steps // 3)
    dtype = "bfloat16" if seed % 4 >= 2 else "float32"
    if dtype == "bfloat16":
        base = _cast(base)
    folder = _add(family, root, "base", config, base, corpus, dtype)

    def related(name: str, relation: str, kind: str, path: Path | None = None) -> None:
        other = family.models[name] if path is None else path
        family.pairs.append(Pair(folder, other, relation, kind, "a"))

    tuned: dict[str, Weights] = {}
    for number, (rate, share) in enumerate(((1e-3, 1.0), (1e-3, 0.5), (1e-4, 1.0))):
        data = corpus.parts[half + number % max(1, len(corpus.parts) - half)]
        order = 100 * seed + number
        name = f"tuned{number}"
        tuned[name] = trained(config, data, seed, max(1, int(few * share)), rate, base, order)
        _add(family, root, name, config, tuned[name], corpus, dtype)
        related(name, "finetune", "full fine-tune")
    data = corpus.parts[-1]
    for name, rank, keys in (("lora4", 4, _ATTENTION), ("lora8", 8, (*_ATTENTION, *_MLP))):
        adapter = root / f"{name}-adapter"
        lora_adapter(adapter, folder, data, 7 * seed + rank, few, rank, keys)
        merge_adapter(str(folder), str(adapter), root / name)
        family.models[name] = root / name
        related(name, "lora", f"LoRA of rank {rank} merged")
    _quantized(family, root, folder, base, related)
    for one, two in (("mlx4", "q4_0"), ("mlx8", "q8_0"), ("mlx8", "mxfp4")):
        first, second = family.models[one], family.models[two]
        family.pairs.append(Pair(first, second, "quantization", "two quantizations of one model"))
    for share in (0.3, 0.5, 0.8):
        name = f"magnitude{share}"
        _add(family, root, name, config, magnitude(base, share), corpus, dtype)
        related(name, "pruning", f"magnitude, {share:.0%} zeros")
    _add(family, root, "2of4", config, two_of_four(base), corpus, dtype)
    related("2of4", "pruning", "2 of 4")
    for name, (shape, cut), kind in (
        ("fewer-units", without_units(config, base, 0.25, seed), "a quarter of the units cut"),
        ("fewer-layers", without_layer(config, base, 1), "a layer cut"),
    ):
        _add(family, root, name, shape, cut, corpus, dtype)
        related(name, "pruning", kind)
    merges = {
        "linear": linear(tuned["tuned0"], tuned["tuned1"], 0.4),
        "slerp": slerp(tuned["tuned0"], tuned["tuned1"], 0.4),
    }
    for name, weights in merges.items():
        _add(family, root, name, config, weights, corpus, dtype)
        parent = family.models["tuned0"]
        family.pairs.append(Pair(parent, family.models[name], "merge", f"{name} merge", "a"))
    for name, change, kind in (
        ("units", permuted_units, "hidden units permuted"),
        ("heads", permuted_heads, "heads permuted"),
        ("channels", permuted_channels, "residual channels permuted"),
        ("rescaled", rescaled, "norms' gains moved"),
    ):
        _add(family, root, name, config, change(config, base, seed), corpus, dtype)
        related(name, "same", kind)
    _add(
        family, root, "units-tuned", config, permuted_units(config, tuned["tuned1"], seed), corpus,
        dtype,
    )  # fmt: skip
    related("units-tuned", "finetune", "tuned, hidden units permuted")
    one, two = family.models["tuned0"], family.models["tuned1"]
    family.pairs.append(Pair(one, two, "finetune", "two fine-tunes of one base"))
    again = trained(config, common, seed, steps, 3e-3, order=seed + 1000)
    _add(family, root, "same-start", config, again, corpus, dtype)
    family.pairs.append(
        Pair(folder, family.models["same-start"], "finetune", "trained apart from one start")
    )
    grown, wider = _with_tokens(config, tuned["tuned2"], seed)
    _add(family, root, "tokens", grown, wider, corpus, dtype)
    related("tokens", "finetune", "tokens added, tuned")
    _add(family, root, "copy", config, base, corpus, dtype)
    related("copy", "same", "copy")
    family.save(root)
    return family


def _quantized(
    family: Family,
    root: Path,
    folder: Path,
    base: Weights,
    related: Callable[[str, str, str], None],
) -> None:
    for name, mode, bits in (
        ("mlx4", "affine", 4), ("mlx8", "affine", 8), ("mlx3", "affine", 3), ("mxfp4", "mxfp4", 4),
    ):  # fmt: skip
        family.models[name] = mlx_folder(root / name, folder, base, mode, bits)
        related(name, "quantization", f"MLX {mode}, {bits} bits")
    for kind in ("q8_0", "q4_0"):
        path = root / f"{kind}.gguf"
        export_gguf(str(folder), path, kind)
        family.models[kind] = path
        related(kind, "quantization", f"GGUF {kind.upper()}")
    family.models["fp8"] = fp8_folder(root / "fp8", folder, base)
    related("fp8", "quantization", "cast to FP8 E4M3")


def _add(
    family: Family,
    root: Path,
    name: str,
    config: ModelConfig,
    weights: Weights,
    corpus: Corpus,
    dtype: str,
) -> Path:
    family.models[name] = write(root / name, config, weights, corpus, dtype)
    return family.models[name]


def _cast(weights: Weights) -> dict[str, np.ndarray]:
    return {
        name: np.array(mx.array(each).astype(mx.bfloat16).astype(mx.float32))
        for name, each in weights.items()
    }


def _with_tokens(
    config: ModelConfig, weights: Weights, seed: int
) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    """Sixteen tokens more, with rows near the mean, as libraries add them."""
    rng, wider = np.random.default_rng(seed), dict(weights)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in wider:
            table = wider[name]
            rows = table.mean(0) + 0.1 * table.std() * rng.standard_normal((16, table.shape[1]))
            wider[name] = np.concatenate([table, rows.astype("f4")])
    return ModelConfig(**{**config.__dict__, "vocabulary": config.vocabulary + 16}), wider


def unrelated_pairs(families: Sequence[Family]) -> Iterator[Pair]:
    """Models of different families of one shape: other seeds, the same text."""
    words = ("base", "tuned0", "mlx4", "magnitude0.5", "fp8", "linear", "2of4", "lora8")
    for i, one in enumerate(families):
        for two in families[i + 1 :]:
            if (one.seed - two.seed) % 2:
                continue
            for x, y in product(words[:3], words):
                yield Pair(one.models[x], two.models[y], "unrelated", f"unrelated: {x} and {y}")
