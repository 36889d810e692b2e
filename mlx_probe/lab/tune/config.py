"""How a model is tuned."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside
from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.train.config import TrainConfig

__all__ = [
    "AdapterConfig",
    "ConversationConfig",
    "DifferenceConfig",
    "GrpoConfig",
    "TuneConfig",
    "TuneRecipe",
]

Method = Literal["lora", "dora", "full"]


@dataclass(frozen=True)
class AdapterConfig:
    """What is learned.

    Attributes:
        method: "lora" (two factors beside a matrix; Hu et al. 2021, arXiv 2106.09685), "dora"
            (and a norm for each row; Liu et al. 2024, arXiv 2402.09353), or "full": the weights
            themselves, embeddings and norms included.
        rank: Directions of each factor.
        scale: What the product of the factors is multiplied with, as in mlx-lm; PEFT's
            lora_alpha divided by its rank.
        targets: Globs on the names of modules, such as "*.self_attn.*" or "model.layers.3.*";
            empty for all linear modules of the blocks, and with "full" for all weights.
        layers: Blocks at the end that are tuned; 0 for all.
        ranks: Other ranks, as GLOB=RANK; later ones win, and a rank of 0 leaves the module out.

    Raises:
        ConfigError: A value makes no adapter.
    """

    method: Method = "lora"
    rank: int = 16
    scale: float = 2.0
    targets: tuple[str, ...] = ()
    layers: int = 0
    ranks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("method", self.method in ("lora", "dora", "full"), "lora, dora or full"),
                ("rank", self.rank >= 1, "1 or more"),
                ("scale", 0 < self.scale < math.inf, "above 0"),
                ("layers", self.layers >= 0, "0 for all, or more"),
            ),
        )
        for entry in self.ranks:
            glob, equals, number = entry.rpartition("=")
            if not (glob and equals and number.strip().isdecimal()):
                raise ConfigError(
                    f"ranks cannot be {entry!r}", "Write GLOB=RANK, such as *.down_proj=32"
                )

    def rank_of(self, name: str) -> int:
        """The rank of a module by its name; 0 if it is left out."""
        rank = self.rank
        for entry in self.ranks:
            glob, _, number = entry.rpartition("=")
            if fnmatchcase(name, glob):
                rank = int(number)
        return rank


@dataclass(frozen=True)
class ConversationConfig:
    """The conversations.

    Attributes:
        max_tokens: Longest example; 0 for the model's context, at most 2,048.
        too_long: What becomes of longer ones: "drop", or "cut" behind the last token that fits.
        bucket: Batches are padded to a multiple of so many tokens.

    Raises:
        ConfigError: A value makes no examples.
    """

    max_tokens: int = 0
    too_long: Literal["drop", "cut"] = "drop"
    bucket: int = 32

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("max_tokens", self.max_tokens >= 0, "0 for the model's context, or more"),
                ("bucket", self.bucket >= 1, "1 or more"),
            ),
        )


@dataclass(frozen=True)
class TuneConfig(TrainConfig):
    """Steps, batches, optimizer, schedule, evaluation and checkpoints: as in `train`.

    Attributes:
        objective: "sft" (learn the assistant's tokens) or "grpo" (learn from the rewards of
            answers that the model draws; see `GrpoConfig`).
        batch: Conversations in one forward pass; with "grpo" answers.
        dropout: Probability that a number that goes into an adapter is dropped.
        dtype: Numbers of forward and backward pass: "float32", "bfloat16" (what is learned stays
            float32), or "auto": those of the model, on a CPU float32.
        compile: Whether the step is compiled: "always" where a compiler is found, "never", or
            "auto": on a GPU. Each shape of a batch is compiled anew.
        sample_prompt: What a user says; samples are the model's answers.

    Raises:
        ConfigError: A value makes no training.
    """

    objective: Literal["sft", "grpo"] = "sft"
    steps: int = 300
    batch: int = 4
    optimizer: Literal["muon", "adamw"] = "adamw"
    learning_rate: float = 2e-4
    beta2: float = 0.999
    weight_decay: float = 0.0
    warmup: int = 10
    evaluate_every: int = 50
    checkpoint_every: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_outside(
            self,
            (
                ("objective", self.objective in ("sft", "grpo"), "sft or grpo"),
                ("weight_decay_policy", self.weight_decay_policy == "none", "none in tuning"),
            ),
        )


@dataclass(frozen=True)
class GrpoConfig:
    """Answers that the model draws, and what they are worth.

    GRPO: Shao et al. 2024, "DeepSeekMath", arXiv 2402.03300, equation 3.

    Attributes:
        prompts: Prompts of a round.
        group: Answers to each, which are compared with each other.
        answer_tokens: Tokens of an answer, at most.
        temperature: Of the draws, and of the probabilities that are learned.
        updates: Steps that learn from the answers of a round.
        clip_low: How far below 1 the ratio of new to old probability counts.
        clip_high: How far above 1.
        kl: Weight of the divergence from the model before tuning; 0 leaves it out.
        normalization: "grpo" (the tokens of an answer share its weight, advantages are divided by
            the group's standard deviation) or "dr_grpo" (each token has the weight
            1 / answer_tokens, advantages are not divided; Liu et al. 2025, arXiv 2503.20783).
        rewards: NAME=WEIGHT, a key of `REWARDS` or module:function of an own one; empty for
            `WEIGHTS`.
        registered: "module:TABLE" or "file.py:TABLE" of functions that may be run, or "built-in",
            for the reward "execution"; "" for none.
        evaluation_prompts: Held-out prompts of an evaluation, answered with the most likely
            tokens; 0 for all.

    Raises:
        ConfigError: A value makes no training.
    """

    prompts: int = 4
    group: int = 8
    answer_tokens: int = 128
    temperature: float = 1.0
    updates: int = 1
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl: float = 0.04
    normalization: Literal["grpo", "dr_grpo"] = "grpo"
    rewards: tuple[str, ...] = ()
    registered: str = ""
    evaluation_prompts: int = 64

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("prompts", self.prompts >= 1, "1 or more"),
                ("group", self.group >= 2, "2 or more: answers are compared with each other"),
                ("answer_tokens", self.answer_tokens >= 1, "1 or more"),
                ("temperature", 0 < self.temperature < math.inf, "above 0"),
                ("updates", self.updates >= 1, "1 or more"),
                ("clip_low", 0 < self.clip_low <= 1, "above 0, at most 1"),
                ("clip_high", 0 < self.clip_high < math.inf, "above 0"),
                ("kl", 0 <= self.kl < math.inf, "0 or more"),
                ("normalization", self.normalization in ("grpo", "dr_grpo"), "grpo or dr_grpo"),
                ("evaluation_prompts", self.evaluation_prompts >= 0, "0 for all, or more"),
            ),
        )
        weights = self.weights
        if weights is not None and weights.get("execution") and not self.registered:
            raise ConfigError(
                "the reward execution has a weight, and no function may be run",
                "Set grpo.registered to built-in, module:TABLE or file.py:TABLE",
            )

    @property
    def weights(self) -> dict[str, float] | None:
        """The rewards' weights by name; None for the usual ones.

        Raises:
            ConfigError: An entry is no NAME=WEIGHT.
        """
        weights = {}
        for entry in self.rewards:
            name, _, number = entry.rpartition("=")
            try:
                weights[name.strip()] = float(number)
            except ValueError:
                name = ""
            if not name:
                raise ConfigError(
                    f"rewards cannot be {entry!r}", "Write NAME=WEIGHT, such as function_name=0.5"
                )
        return weights or None


@dataclass(frozen=True)
class DifferenceConfig:
    """Which adapters are kept while a model learns, and compared with the base.

    Attributes:
        per_decade: Snapshots for each tenfold of the steps, at log-spaced steps; the first step
            and the last one always have one. 0 for none.
        at: More steps that have one.
        compare: Which of them are compared with the base after the last step: "all", "last" or
            "none".

    Raises:
        ConfigError: A value makes no snapshots.
    """

    per_decade: int = 2
    at: tuple[int, ...] = field(default=())
    compare: Literal["all", "last", "none"] = "all"

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("per_decade", self.per_decade >= 0, "0 or more"),
                ("at", all(step >= 1 for step in self.at), "1 or more each"),
            ),
        )


@dataclass(frozen=True)
class TuneRecipe:
    """Everything that `mlx-probe tune` does: the sections of a file in configs/tune/.

    Attributes:
        adapter: What is learned.
        data: The conversations.
        train: The training.
        grpo: Answers and rewards, where train.objective is "grpo".
        snapshots: The adapters that are kept and compared.

    Raises:
        ConfigError: Two settings do not fit together.
    """

    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    data: ConversationConfig = field(default_factory=ConversationConfig)
    train: TuneConfig = field(default_factory=TuneConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    snapshots: DifferenceConfig = field(default_factory=DifferenceConfig)

    def __post_init__(self) -> None:
        if self.adapter.method == "full" and self.train.dropout:
            raise ConfigError(
                "train.dropout is of adapters, and adapter.method is full",
                "Set train.dropout=0, or another method",
            )
        if self.train.objective == "grpo":
            self._refuse_for_grpo()
        elif self.grpo != GrpoConfig():
            raise ConfigError(
                "the recipe has settings of grpo, and train.objective is sft",
                "Set train.objective=grpo, or leave them out",
            )

    @property
    def answers(self) -> int:
        """Answers of a round of GRPO."""
        return self.grpo.prompts * self.grpo.group

    def _refuse_for_grpo(self) -> None:
        train = self.train
        for is_wrong, fact, remedy in (
            (
                train.dropout > 0,
                "train.dropout is above 0, and GRPO learns from answers that are drawn without it",
                "Set train.dropout=0",
            ),
            (
                train.accumulation > 1,
                "train.accumulation is above 1, and a step of GRPO learns from a whole round",
                "Set train.accumulation=1; grpo.prompts and grpo.group say how many answers",
            ),
            (
                self.data.too_long == "cut",
                "data.too_long is cut, and a prompt that is cut asks for nothing",
                "Set data.too_long=drop",
            ),
        ):
            if is_wrong:
                raise ConfigError(fact, remedy)
