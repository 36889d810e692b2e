"""A model of mlx-lm in which some matrices are products of two narrow ones.

`mlx-probe budget --export` copies this file beside the weights, and config.json names it as
``model_file``: mlx-lm runs such a file only if it is told to.

    model, tokenizer = mlx_lm.load(FOLDER, trust_remote_code=True)

It builds the family's own class, whose name config.json keeps under ``lowrank``, and puts the
factors in the place of the modules that are listed there with their ranks. It needs nothing but
mlx and mlx-lm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_map_with_path
from mlx_lm.utils import _get_classes

__all__ = ["KEY", "Model", "ModelArgs"]

# In config.json: the family's own "model_type" and "architectures", and "ranks" by path.
KEY = "lowrank"


class _LowRank(nn.Module):
    """W = left right, with as many columns in left as the rank.

    Args:
        plain: The module with the whole weight, (rows, cols).
        rank: The rank.
    """

    def __init__(self, plain: Any, rank: int) -> None:
        super().__init__()
        rows, cols = plain.weight.shape
        self.lowrank_left = mx.zeros((rows, rank))
        self.lowrank_right = mx.zeros((rank, cols))
        if "bias" in plain:
            self.bias = plain.bias

    @property
    def weight(self) -> mx.array:
        """The product, for a model that wants the matrix itself."""
        return self.lowrank_left @ self.lowrank_right


class LowRankLinear(_LowRank):
    """x W.T + bias, as two products."""

    def __call__(self, x: mx.array) -> mx.array:
        y = (x @ self.lowrank_right.T) @ self.lowrank_left.T
        return y + self.bias if "bias" in self else y


class LowRankEmbedding(_LowRank):
    """Rows of W, and x W.T where the embedding is the output head, too."""

    def __call__(self, x: mx.array) -> mx.array:
        return self.lowrank_left[x] @ self.lowrank_right

    def as_linear(self, x: mx.array) -> mx.array:
        """Logits of hidden states."""
        return (x @ self.lowrank_right.T) @ self.lowrank_left.T


# By the name of the class: a subclass may use its weight in another way.
_CLASSES: Mapping[str, Callable[[Any, int], nn.Module]] = {
    "Linear": LowRankLinear,
    "Embedding": LowRankEmbedding,
}


class ModelArgs:
    """config.json, as mlx-lm gives it to `Model`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> ModelArgs:
        """Take it as it is."""
        return cls(config)


class Model:
    """Builds the family's own model, with factors in it."""

    def __new__(cls, args: ModelArgs) -> Any:
        """The model.

        Raises:
            ValueError: config.json lists a module that the model does not have.
            KeyError: It lists one that is neither linear nor an embedding.
        """
        own = args.config[KEY]
        config = {**args.config, **{key: own[key] for key in own if key != "ranks"}}
        model_class, args_class = _get_classes(config)
        model = model_class(args_class.from_dict(config))
        ranks = dict(own["ranks"])

        def cut(path: str, module: nn.Module) -> nn.Module:
            rank = ranks.pop(path, None)
            return module if rank is None else _CLASSES[type(module).__name__](module, rank)

        leaves = model.leaf_modules()
        model.update_modules(tree_map_with_path(cut, leaves, is_leaf=nn.Module.is_module))
        if ranks:
            raise ValueError(f"config.json cuts {min(ranks)}, which the model does not have")
        return model
