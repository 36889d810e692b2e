"""What stands before the first step: the mixture, its teacher, and whether they fit together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.lab.generate.loading import LoadedModel, load_model
from mlx_probe.lab.moe.gate.install import install_gates, mixtures, require_plain, stock_of
from mlx_probe.lab.moe.gate.layout import dynamic_factor, stock_config
from mlx_probe.lab.moe.gate.routing import Record
from mlx_probe.lab.moe.gate.top_k import TopKGate
from mlx_probe.lab.moe.stock import DYNAMIC, Stock
from mlx_probe.lab.moe.train.config import GateConfig
from mlx_probe.runs.mixture.folder import RECEIPT

__all__ = ["Mixture", "open_mixture", "open_teacher"]


@dataclass(frozen=True)
class Mixture:
    """A mixture that can be trained.

    Attributes:
        loaded: The model; its blocks are `GatedMixture`, with the gates that it came with.
        stock: The stock mixture that it is of.
        config: Its config.json as that of the stock mixture.
        record: Gets the routing of its layers.
        is_dynamic: Whether it came with dynamic gates.
        factor: See `GatedMixture`: of the experts as they are stored.
        experts: Of a layer.
        active: Experts that a token uses at most, as it came.
        vocabulary: Rows of the embedding.
    """

    loaded: LoadedModel
    stock: Stock
    config: Mapping[str, Any]
    record: Record
    is_dynamic: bool
    factor: float
    experts: int
    active: int
    vocabulary: int

    @property
    def network(self) -> Any:
        """The model."""
        return self.loaded.model

    def scale(self, gate: GateConfig) -> float:
        """See `GatedMixture`: the factor of the gates that are trained.

        Raises:
            ConfigError: "parts" of experts that are none.
        """
        if gate.scale == "parts" and not self.factor:
            raise ConfigError(
                f"gate.scale is parts, and nothing says that the experts of {self.loaded.name} "
                "are parts of a block",
                f"Set gate.scale=mean, or give a graft of the form sum with its {RECEIPT}",
            )
        return 0.0 if gate.scale == "mean" else self.factor


def open_mixture(reference: str) -> Mixture:
    """Load a mixture of mlx-lm, or one with dynamic gates.

    Raises:
        ConfigError: It is no mixture whose gate can be trained.
        ProbeError: See `load_model`.
    """
    loaded = load_model(reference, by_mlx_lm=True)
    config = _json(loaded.folder / "config.json")
    is_dynamic = config.get("model_type") == DYNAMIC
    name, network = loaded.name, loaded.model
    factor = dynamic_factor(name, config) if is_dynamic else _factor(loaded.folder)
    if is_dynamic:
        config = stock_config(name, config)
    stock = stock_of(name, config)
    if config.get("norm_topk_prob") is False:
        raise ConfigError(
            f"{name}: norm_topk_prob is false: its weights do not add up to 1",
            "Give a mixture whose weights do, as `mlx-probe moe graft` writes it",
        )
    require_plain(name, network, stock.block)
    active = int(config["num_experts_per_tok"])
    if is_dynamic:
        record = mixtures(network)[0].record
    else:
        record = install_gates(
            network, stock.block, lambda _, block: TopKGate(block.gate.weight, active), 0.0
        )
    return Mixture(
        loaded=loaded,
        stock=stock,
        config=config,
        record=record,
        is_dynamic=is_dynamic,
        factor=factor,
        experts=mixtures(network)[0].switch_mlp.gate_proj.weight.shape[0],
        active=active,
        vocabulary=int(config["vocab_size"]),
    )


def open_teacher(reference: str, student: Mixture) -> LoadedModel:
    """Load the dense model that the mixture learns from.

    Raises:
        ConfigError: It has other tokens.
        ProbeError: See `load_model`.
    """
    teacher = load_model(reference)
    # Where config.json says it differs between families.
    rows = int(teacher.model(mx.zeros((1, 1), mx.int32)).shape[-1])
    if rows != student.vocabulary:
        raise ConfigError(
            f"the teacher {reference} has {rows} tokens, and {student.loaded.name} has "
            f"{student.vocabulary}",
            "Give the dense model that the mixture was made from",
        )
    if teacher.tokenizer.fingerprint != student.loaded.tokenizer.fingerprint:
        raise ConfigError(
            f"the teacher {reference} has another tokenizer than {student.loaded.name}",
            "Give the dense model that the mixture was made from",
        )
    teacher.model.freeze()
    return teacher


def _factor(folder: Path) -> float:
    """What the down projections of a graft of the form sum were multiplied by; 0 for others."""
    path = folder / RECEIPT
    if not path.is_file():
        return 0.0
    receipt = _json(path)
    if receipt.get("form") != "sum":
        return 0.0
    factor = receipt.get("factor")
    if not isinstance(factor, int) or factor < 1:
        raise CheckpointError(f"{path}: factor is {factor!r}, no count", "Graft the model again")
    return float(factor)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}", "Get the model again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no JSON object", "Get the model again")
    return content
