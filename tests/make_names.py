"""Write the golden tables of tensor names of transformers and mlx-lm; run by hand.

    python tests/make_names.py transformers   # with torch and transformers installed
    python tests/make_names.py mlx_lm         # with mlx-lm installed
    python tests/make_names.py gguf           # with gguf installed

The first builds every architecture that transformers registers for text generation (decoders,
encoder-decoders, vision, audio) or masked language modelling, from its default configuration
on the meta device, and lists its names as they are in memory and as ``save_pretrained`` writes
them. The second builds every model file of mlx-lm with a few small layers; arrays that are
never evaluated cost nothing.

A line of a table is ``name<TAB>block_type<TAB>component``, where ``<layer>`` and ``<expert>``
in the name stand for any number: they are put there from the position in the tree of modules
(a list of modules that are themselves composed is a stack of layers), never by the code under
test. Each name is listed under the first architecture that has it. Block type and component are
proposals of `classify`, to be read by a human before they are committed: the diff of a table
is the review.

Left out with the versions of the tables' first lines: Gemma3n, FastVlm and PerceptionLM with
vision towers of timm, Gemma 4's assistants (they refuse their default configuration), of mlx-lm
olmo (needs ai2-olmo) and prism_hadamard_qwen35 (needs the list of its packed modules).
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from name_configs import HF_CONFIGS, HF_OPTIONS, MLX_CONFIGS, MLX_FIELDS, MLX_TEXT_MODELS

from mlx_probe.checkpoint.naming.classify import classify

TABLES = Path(__file__).parent / "data" / "names" / "generated"
# Lists of composed modules that are no stack of layers.
NO_LAYERS = {
    *("deepstack_merger_list", "deepstack_mergers", "merger_list", "layerwise_projectors"),
    *("spatial_projectors", "rotary_embs", "embed_tokens", "biases", "lm_heads", "codec_embedding"),
    *("lm_head", "up", "down", "ups", "attn", "attn_norms", "time_conv", "time_res_stack", "convs"),
    *("upsample", "decoder", "mlp", "stage", "attn_queries", "mlp_queries", "activations"),
    "conv",
}


def marked(name: str, layers: Iterable[str], experts: Iterable[str]) -> str:
    """Put ``<layer>`` and ``<expert>`` in place of the index in the outermost such list."""
    for kind, lists in (("expert", experts), ("layer", layers)):
        owner = min((p for p in lists if name.startswith(f"{p}.")), key=len, default=None)
        if owner is not None:
            rest = name[len(owner) + 1 :].split(".", 1)
            rest[0] = re.sub(r"^(expert_)?\d+$", rf"\g<1><{kind}>", rest[0])
            name = ".".join((owner, *rest))
    return name


def folded(names: Iterable[str]) -> list[str]:
    """Of codebooks, convolutions and other lists, keep the numbers 0 and 1."""
    kept = dict.fromkeys(names)
    twice = {re.sub(r"(?<=\.)\d+(?=\.|$)", "#", n) for n in kept if re.search(r"\.1(\.|$)", n)}
    return [
        name
        for name in kept
        if not (
            re.search(r"\.([2-9]|\d\d+)(\.|$)", name)
            and re.sub(r"(?<=\.)\d+(?=\.|$)", "#", name) in twice
        )
    ]


def example(name: str) -> str:
    return name.replace("<layer>", "11").replace("<expert>", "3")


def write(family: str, title: str, sections: Iterable[tuple[str, list[str]]]) -> None:
    seen: set[str] = set()
    lines = [f"# {title}", "# name block_type component; each name under the first that has it"]
    for architecture, names in sections:
        fresh = sorted({name for name in names if name not in seen})
        seen.update(fresh)
        lines.append(f"## {architecture}: {len(set(names))} names, {len(fresh)} of them first here")
        for name in fresh:
            role = classify(example(name))
            lines.append(f"{name}\t{role.block_type}\t{role.component}")
    (TABLES / f"{family}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


# transformers ---------------------------------------------------------------------------------

MAPPINGS = (
    "CAUSAL_LM",
    "SEQ_TO_SEQ_CAUSAL_LM",
    "IMAGE_TEXT_TO_TEXT",
    "SPEECH_SEQ_2_SEQ",
    "MULTIMODAL_LM",
    "MASKED_LM",
)


def transformers_sections() -> Iterator[tuple[str, list[str]]]:
    from transformers.models.auto import modeling_auto

    registered = dict.fromkeys(
        name
        for mapping in MAPPINGS
        for name in getattr(modeling_auto, f"MODEL_FOR_{mapping}_MAPPING_NAMES").values()
    )
    for architecture in registered:
        yield from transformers_section(architecture, HF_CONFIGS.get(architecture, {}))
    for architecture, options in HF_OPTIONS:
        yield from transformers_section(architecture, options, f" with {', '.join(options)}")


def transformers_section(
    architecture: str, options: dict[str, Any], label: str = ""
) -> Iterator[tuple[str, list[str]]]:
    import torch
    import transformers

    build = getattr(transformers, architecture)
    try:
        with torch.device("meta"):
            model = build(build.config_class(**options))
    except Exception as error:
        print("left out:", architecture, type(error).__name__, str(error)[:100])
        return
    yield architecture + label, folded((*in_memory(model), *as_saved(model)))


def module_lists(model: Any) -> tuple[list[str], list[str]]:
    """Paths of the stacks of layers and of experts in a torch model."""
    import torch.nn as nn

    layers, experts = [], []
    for path, module in model.named_modules():
        # A list of lists goes by the name of the outer one.
        attribute = re.sub(r"(\.\d+)+$", "", path).rpartition(".")[2]
        if type(module).__name__.endswith("Experts") or attribute == "experts":
            experts.append(path)
        elif attribute not in NO_LAYERS and isinstance(module, (nn.ModuleList, nn.Sequential)):
            composed = any(any(child.children()) for child in module)
            if "layer" in attribute or (composed and isinstance(module, nn.ModuleList)):
                layers.append(path)
    return layers, experts


def in_memory(model: Any) -> list[str]:
    layers, experts = module_lists(model)
    return [marked(name, layers, experts) for name in all_tensors(model)]


def all_tensors(model: Any) -> dict[str, Any]:
    return {**dict(model.named_buffers()), **model.state_dict()}


def as_saved(model: Any) -> Iterator[str]:
    """Names that save_pretrained writes, where they differ from those in memory.

    One layer at a time is converted: so its number in the new names is known.
    """
    from transformers.core_model_loading import revert_weight_conversion

    layers, experts = module_lists(model)
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for name, tensor in model.state_dict().items():
        owner = min((p for p in layers if name.startswith(f"{p}.")), key=len, default="")
        index = name[len(owner) + 1 :].split(".", 1)[0] if owner else ""
        groups.setdefault((owner, index), {})[name] = tensor
    kinds = {}
    for (owner, index), group in groups.items():
        kinds[owner, frozenset(marked(name, layers, experts) for name in group)] = index, group
    for (owner, _), (index, group) in kinds.items():
        for name in revert_weight_conversion(model, group):
            if name not in group:
                yield saved_mark(name, owner, index)


def saved_mark(name: str, owner: str, index: str) -> str:
    """Mark the layer, known from the stack it was in, and behind it an expert's number."""
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    # As many numbers come before it as in the path of its stack.
    at = next(iter(numbers[sum(part.isdigit() for part in owner.split(".")) :]), 0)
    if index and parts[at] == index and parts[at - 1] not in NO_LAYERS:
        parts[at] = "<layer>"
        for i in numbers[numbers.index(at) + 1 :]:
            if parts[i - 1] == "experts":
                parts[i] = "<expert>"
    return ".".join(parts)


# mlx-lm ---------------------------------------------------------------------------------------


def mlx_config(model_file: str, arguments: str = "ModelArgs") -> dict[str, Any]:
    """A small config.json of a model file of mlx-lm."""
    module = importlib.import_module(f"mlx_lm.models.{model_file}")
    config = {
        field.name: MLX_FIELDS[field.name]
        for field in dataclasses.fields(getattr(module, arguments))
        if field.default is field.default_factory is dataclasses.MISSING
        and field.name in MLX_FIELDS
    }
    config |= MLX_CONFIGS.get(model_file, {}) | {"model_type": model_file}
    if arguments == "ModelArgs" and model_file in MLX_TEXT_MODELS:
        config["text_config"] = mlx_config(*MLX_TEXT_MODELS[model_file].split("."))
    return config


def mlx_sections() -> Iterator[tuple[str, list[str]]]:
    import mlx_lm.models

    for path in sorted(Path(next(iter(mlx_lm.models.__path__))).glob("*.py")):
        try:
            module = importlib.import_module(f"mlx_lm.models.{path.stem}")
        except (ImportError, SystemExit) as error:
            print("left out:", path.stem, error)
            continue
        if not hasattr(module, "Model"):
            continue
        try:
            model = module.Model(module.ModelArgs.from_dict(mlx_config(path.stem)))
        except Exception as error:
            print("left out:", path.stem, type(error).__name__, str(error)[:100])
            continue
        yield path.stem, folded(mlx_names(model))


def mlx_names(model: Any) -> list[str]:
    tree_flatten = importlib.import_module("mlx.utils").tree_flatten
    lists = list(mlx_lists(model))
    experts = [path for path in lists if path.endswith(".experts")]
    layers = [path for path in lists if path.rpartition(".")[2] not in {*NO_LAYERS, "experts"}]
    return [marked(name, layers, experts) for name, _ in tree_flatten(model.parameters())]


def mlx_lists(module: Any, path: str = "") -> Iterator[str]:
    """Paths of the lists of composed modules in an MLX model."""
    nn: Any = importlib.import_module("mlx.nn")
    for name, value in module.items():
        here = f"{path}.{name}".lstrip(".")
        if isinstance(value, nn.Module):
            yield from mlx_lists(value, here)
        elif isinstance(value, list):
            modules = {i: v for i, v in enumerate(value) if isinstance(v, nn.Module)}
            if any(v.children() or "mlx.nn" not in type(v).__module__ for v in modules.values()):
                yield here
            for i, v in modules.items():
                yield from mlx_lists(v, f"{here}.{i}")


# GGUF -----------------------------------------------------------------------------------------

# Numbered in GGUF like layers: convolutions in front, projectors.
GGUF_NO_LAYERS = re.compile(r"(a\.conv[12]d|mm(\.\w+)*|v\.deepstack|v\.sam\.neck)\.\{bid\}")


def gguf_sections() -> Iterator[tuple[str, list[str]]]:
    from gguf.constants import MODEL_ARCH, MODEL_TENSORS, TENSOR_NAMES

    for architecture in MODEL_ARCH:
        patterns = (TENSOR_NAMES[tensor] for tensor in MODEL_TENSORS.get(architecture, ()))
        yield (
            architecture.name,
            [
                f"{GGUF_NO_LAYERS.sub(lambda m: m[0].format(bid=1), pattern)}.weight".format(
                    bid="<layer>", xid="<expert>"
                )
                for pattern in patterns
            ],
        )


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for family in sys.argv[1:]:
        version = importlib.metadata.version(family)
        title = f"{family} {version}; written by make_names.py, reviewed by hand"
        write(family, title, SECTIONS[family]())


SECTIONS: dict[str, Callable[[], Iterator[tuple[str, list[str]]]]] = {
    "transformers": transformers_sections,
    "mlx_lm": mlx_sections,
    "gguf": gguf_sections,
}


if __name__ == "__main__":
    main()
