"""How a model is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside
from mlx_probe.core.records import METRIC_LEVELS, MetricLevel
from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
from mlx_probe.lab.model.config import ModelConfig

__all__ = ["Recipe", "SnapshotConfig", "TrainConfig"]


@dataclass(frozen=True)
class TrainConfig:
    """Steps, batches, optimizer, schedule, evaluation and checkpoints.

    Attributes:
        steps: Updates of the weights.
        batch: Sequences in one forward pass, each as long as the model's context.
        accumulation: Forward passes whose mean gradient makes one update.
        optimizer: "muon" (matrices by Muon; embeddings, output head and norms by AdamW) or
            "adamw".
        learning_rate: Of AdamW, at the peak.
        muon_learning_rate: Of Muon, at the peak.
        momentum: Of Muon.
        beta1: Decay of AdamW's mean.
        beta2: Decay of AdamW's mean square.
        epsilon: Of AdamW.
        weight_decay: Decoupled; not for norms and embeddings.
        weight_decay_policy: "none", or "alpha" for a decay of each matrix by its power-law
            exponent (AlphaDecay).
        policy_every: Steps between two measurements of the exponents.
        schedule: "cosine", "linear", "wsd" (warm-up, stable, decay) or "constant".
        warmup: Steps in which the learning rate rises from zero.
        decay: Share of the steps in which "wsd" falls.
        final: Learning rate at the end, as a share of the peak.
        clip: Largest norm of the gradient; 0 for no limit.
        dropout: Probability that a number of the embedding or of a block's output is dropped.
        dtype: Numbers of forward and backward pass: "float32", "bfloat16" (weights and optimizer
            stay float32), or "auto": bfloat16 on a GPU.
        gradient_checkpointing: Whether blocks are computed again in the backward pass, which
            saves memory.
        compile: Whether the step is compiled: "always" where a compiler is found, "never", or
            "auto": on a GPU, and on the CPU in runs that are long enough to make up for the
            time in which MLX calls the C++ compiler, once for each of some sixty kernels.
        evaluate_every: Steps between two evaluations; the last step is always evaluated.
        evaluation_tokens: Validation tokens of an evaluation; 0 for all.
        patience: Evaluations without improvement after which training stops; 0 for never.
        sample_every: Steps between two samples of text; 0 for none.
        sample_prompt: Text that samples continue.
        sample_tokens: Tokens of a sample.
        checkpoint_every: Steps between two checkpoints; the last step always has one.
        keep: Checkpoints that are kept.
        seed: Of the weights, of the order of the data and of dropout.

    Raises:
        ConfigError: A value makes no training.
    """

    steps: int = 600
    batch: int = 8
    accumulation: int = 1
    optimizer: Literal["muon", "adamw"] = "muon"
    learning_rate: float = 3e-3
    muon_learning_rate: float = 2e-2
    momentum: float = 0.95
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    weight_decay_policy: Literal["none", "alpha"] = "none"
    policy_every: int = 100
    schedule: Literal["cosine", "linear", "wsd", "constant"] = "cosine"
    warmup: int = 50
    decay: float = 0.2
    final: float = 0.1
    clip: float = 1.0
    dropout: float = 0.0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    compile: Literal["auto", "always", "never"] = "auto"
    evaluate_every: int = 100
    evaluation_tokens: int = 0
    patience: int = 0
    sample_every: int = 0
    sample_prompt: str = ""
    sample_tokens: int = 100
    checkpoint_every: int = 100
    keep: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        at_least_1 = (
            "steps", "batch", "accumulation", "policy_every", "evaluate_every",
            "checkpoint_every", "keep", "sample_tokens",
        )  # fmt: skip
        not_negative = ("warmup", "evaluation_tokens", "patience", "sample_every", "seed")
        rates = ("learning_rate", "muon_learning_rate")
        decays = ("momentum", "beta1", "beta2", "dropout")
        refuse_outside(
            self,
            (
                *((name, getattr(self, name) >= 1, "1 or more") for name in at_least_1),
                *((name, getattr(self, name) >= 0, "0 or more") for name in not_negative),
                *((name, 0 < getattr(self, name) < math.inf, "above 0") for name in rates),
                *((name, 0 <= getattr(self, name) < 1, "0 or more, below 1") for name in decays),
                ("epsilon", 0 < self.epsilon < math.inf, "above 0"),
                ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more"),
                ("clip", 0 <= self.clip < math.inf, "0 for no limit, or above"),
                ("decay", 0 <= self.decay <= 1, "between 0 and 1"),
                ("final", 0 <= self.final <= 1, "between 0 and 1"),
                ("warmup", self.warmup <= self.steps, f"at most steps = {self.steps}"),
            ),
        )


@dataclass(frozen=True)
class SnapshotConfig:
    """Which weights are kept while a model learns, and how they are measured.

    Attributes:
        per_decade: Snapshots for each tenfold of the steps, at log-spaced steps; the first step,
            the last one and the weights before training (step 0) always have one. 0 for none.
        at: More steps that have one.
        watch_share: Share of the machine's cores that measuring may take while training runs;
            0 leaves all measuring to the end.
        metrics: Metric set of the measurements: "basic", "standard" or "full".

    Raises:
        ConfigError: A value makes no snapshots.
    """

    per_decade: int = 4
    at: tuple[int, ...] = field(default=())
    watch_share: float = 0.1
    metrics: MetricLevel = "standard"

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("per_decade", self.per_decade >= 0, "0 or more"),
                ("at", all(step >= 0 for step in self.at), "0 or more each"),
                ("watch_share", 0 <= self.watch_share <= 1, "between 0 and 1"),
                ("metrics", self.metrics in METRIC_LEVELS, ", ".join(METRIC_LEVELS)),
            ),
        )


@dataclass(frozen=True)
class Recipe:
    """Everything that `mlx-probe train` does: the sections of a file in configs/train/.

    Attributes:
        model: The shape of the model.
        tokenizer: The tokenizer.
        data: The text.
        train: The training.
        snapshots: The weights that are kept and measured.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    snapshots: SnapshotConfig = field(default_factory=SnapshotConfig)
