"""How a mixture is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside
from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.config import DataConfig
from mlx_probe.lab.train.config import TrainConfig

__all__ = ["BEGINNINGS", "GATES", "POLICIES", "SCALES", "GateConfig", "LossConfig",
           "MixtureRecipe", "MixtureTrainConfig", "PolicyConfig", "SurpriseConfig"]  # fmt: skip

GATES = ("dynamic", "topk")
BEGINNINGS = ("tokens", "random", "model")
SCALES = ("auto", "parts", "mean")
POLICIES = ("all", "smk", "most", "random")


@dataclass(frozen=True)
class GateConfig:
    """The gate of each layer, and how it begins.

    Attributes:
        kind: "dynamic" (the number of experts follows from the token) or "topk" (the stock router:
            the same number for every token).
        active: Experts of a token, with "topk"; 0 for half of them.
        begin: How the gates begin: "tokens" (with the directions in which each expert's outputs
            grow, on training text), "random", or "model" (those of MODEL, which has to have such
            gates).
        begin_tokens: Training tokens that "tokens" looks at, and on which thresholds are set.
        open: Share of these tokens for which an expert fires at first, with "dynamic".
        scale: What the sum of the weighted experts is multiplied by: "mean" is 1, as in the stock
            classes; "parts" is K / N for parts of a block, so that each of K active experts counts
            as in the whole block; "auto" is "parts" where MODEL is a graft of the form sum.

    Raises:
        ConfigError: A value makes no gate.
    """

    kind: Literal["dynamic", "topk"] = "dynamic"
    active: int = 0
    begin: Literal["tokens", "random", "model"] = "tokens"
    begin_tokens: int = 2048
    open: float = 0.75
    scale: Literal["auto", "parts", "mean"] = "auto"

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("kind", self.kind in GATES, " or ".join(GATES)),
                ("active", self.active >= 0, "0 or more"),
                ("begin", self.begin in BEGINNINGS, ", ".join(BEGINNINGS)),
                ("begin_tokens", self.begin_tokens >= 2, "2 or more"),
                ("open", 0 < self.open < 1, "above 0 and below 1"),
                ("scale", self.scale in SCALES, ", ".join(SCALES)),
            ),
        )
        if self.active and self.kind == "dynamic":
            raise ConfigError(
                "gate.active is the number of experts of a topk gate, and gate.kind is dynamic",
                "Leave it out, or set gate.kind=topk",
            )


@dataclass(frozen=True)
class LossConfig:
    """What the mixture learns.

    Attributes:
        distillation: Weight of the divergence from the teacher: temperature^2 KL(teacher ||
            mixture) of the softmax of logits / temperature, mean over the tokens (Hinton et al.
            2015, arXiv 1503.02531).
        temperature: See there.
        language: Weight of the mean nats of the next tokens.

    Raises:
        ConfigError: Nothing would be learned.
    """

    distillation: float = 1.0
    temperature: float = 1.0
    language: float = 0.1

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("distillation", 0 <= self.distillation < math.inf, "0 or more"),
                ("temperature", 0 < self.temperature < math.inf, "above 0"),
                ("language", 0 <= self.language < math.inf, "0 or more"),
            ),
        )
        if not (self.distillation or self.language):
            raise ConfigError(
                "loss.distillation and loss.language are both 0: nothing is learned",
                "Set one of them above 0",
            )


@dataclass(frozen=True)
class PolicyConfig:
    """Which experts of a layer learn from a step.

    Attributes:
        kind: "all"; "smk" (those whose gradients have the smallest norms), "most" (the largest) or
            "random". A heuristic and what it is compared with.
        experts: How many of each layer, where it is not all.

    Raises:
        ConfigError: A value has no meaning.
    """

    kind: Literal["all", "smk", "most", "random"] = "all"
    experts: int = 2

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("kind", self.kind in POLICIES, ", ".join(POLICIES)),
                ("experts", self.experts >= 1, "1 or more"),
            ),
        )


@dataclass(frozen=True)
class SurpriseConfig:
    """The losses of SurpriseMin-DynMoE, a heuristic.

    Attributes:
        weight: Weight of both together; 0 for none, and no additional work.
        cross_entropy: Weight of the cross-entropy from the gate to the active expert with the
            least Surprise.
        divergence: Weight of the divergence of the gate from softmax(-Surprise), both over the
            active experts.
        at: Whether Surprise is taken at what experts say ("output"; exactly the gate weight times
            a common norm) or at what they are given ("input").

    Raises:
        ConfigError: A value has no meaning.
    """

    weight: float = 0.0
    cross_entropy: float = 1.0
    divergence: float = 1.0
    at: Literal["output", "input"] = "output"

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        weights = ("weight", "cross_entropy", "divergence")
        refuse_outside(
            self,
            (
                *((name, 0 <= getattr(self, name) < math.inf, "0 or more") for name in weights),
                ("at", self.at in ("output", "input"), "output or input"),
            ),
        )


@dataclass(frozen=True)
class MixtureTrainConfig(TrainConfig):
    """Steps, batches, optimizer, schedule, evaluation and checkpoints: as in `train`.

    Attributes:
        learn: What is learned: "router" (the gates alone), "experts" (gates and experts) or "all"
            (every weight).
        context: Tokens of a sequence.
        optimizer: "adamw": stacked experts are no matrices.
        dtype: Numbers of forward and backward pass: "float32", "bfloat16" (what is learned stays
            float32), or "auto": bfloat16 on a GPU.

    Raises:
        ConfigError: A value makes no training.
    """

    learn: Literal["router", "experts", "all"] = "router"
    context: int = 256
    steps: int = 200
    batch: int = 4
    optimizer: Literal["muon", "adamw"] = "adamw"
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    warmup: int = 10
    evaluate_every: int = 50
    evaluation_tokens: int = 4096
    checkpoint_every: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_outside(
            self,
            (
                ("learn", self.learn in ("router", "experts", "all"), "router, experts or all"),
                ("context", self.context >= 2, "2 or more"),
                ("optimizer", self.optimizer == "adamw", "adamw for mixtures"),
                ("dropout", self.dropout == 0, "0 for mixtures"),
                ("gradient_checkpointing", not self.gradient_checkpointing, "false for mixtures"),
                ("weight_decay_policy", self.weight_decay_policy == "none", "none for mixtures"),
            ),
        )


@dataclass(frozen=True)
class MixtureRecipe:
    """Everything that `mlx-probe moe train` does: the sections of a file in configs/moe/.

    Attributes:
        gate: The gates.
        loss: What is learned.
        policy: Which experts learn from a step.
        surprise: Auxiliary losses of the gates.
        data: The text.
        train: The training.

    Raises:
        ConfigError: The policy chooses among experts that do not learn.
    """

    gate: GateConfig = field(default_factory=GateConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    surprise: SurpriseConfig = field(default_factory=SurpriseConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: MixtureTrainConfig = field(default_factory=MixtureTrainConfig)

    def __post_init__(self) -> None:
        if self.policy.kind != "all" and self.train.learn == "router":
            raise ConfigError(
                f"policy.kind={self.policy.kind} chooses among experts, and train.learn=router "
                "learns none",
                "Set train.learn=experts or train.learn=all, or leave the policy out",
            )
