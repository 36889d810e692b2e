"""What a router's weights alone say: its rows, and experts that it always or never chooses.

An expert is among the k chosen where at most k - 1 others have more. With scores s_i(x) and
something b_i that is added before the best are chosen, expert i is never chosen if for k others
s_j(x) + b_j > s_i(x) + b_i whatever x is, and always if s_i(x) + b_i > s_j(x) + b_j for all but
k - 1 others. That can be proven in two cases:

- Scores between 0 and 1 (sigmoid or softmax) with a correction b (DeepSeek-V3): where b_j - b_i is
  1 or more.
- Linear scores r_i x + b_i (gpt-oss): the block's norm gives |x / w| at most sqrt(dim) in front of
  its scale w, so that (r_i - r_j) x is at least -sqrt(dim) |w (r_i - r_j)|.

Of a linear router without biases nothing can be proven: for each x that favours an expert, -x
disfavours it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.side_tables.elements import Matrix, read_into
from mlx_probe.checkpoint.architecture import text_config

if TYPE_CHECKING:
    from mlx_probe.analysis.mixture.layer import MixtureLayer
    from mlx_probe.checkpoint import Weight

__all__ = ["PREFERRED", "Chosen", "active_experts", "chosen_experts", "preferred_expert"]

# Norm of a row over the median of all, above which the router prefers its expert. Rows of random
# numbers of 32 coordinates stay below 1.6 in thousands of layers.
PREFERRED = 2.0
_ACTIVE = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts")
# Families whose correction is added to a sigmoid, by the code of transformers.
_SIGMOID = ("deepseek_v3", "deepseek_v32", "glm4_moe", "glm4_moe_lite", "dots1", "kimi_k2")


@dataclass(frozen=True)
class Chosen:
    """Experts that a router always or never chooses, as far as its weights prove it.

    Attributes:
        always: Whether each is, (experts,).
        never: Whether each is not, (experts,).
    """

    always: NDArray[np.bool_]
    never: NDArray[np.bool_]


def active_experts(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> int | None:
    """Experts that a token uses; None where the files do not say."""
    settings = text_config(config)
    named = metadata.get("general.architecture")
    values = [settings.get(key) for key in _ACTIVE]
    values.append(metadata.get(f"{named}.expert_used_count"))
    return next((int(value) for value in values if isinstance(value, int) and value > 0), None)


def preferred_expert(norms: NDArray[np.float64]) -> int | None:
    """The index of the row with the largest norm, if it is `PREFERRED` times the median's.

    Logits of such an expert are that much larger, of either sign: it wins about half of the
    tokens, or those on its side.
    """
    finite = np.isfinite(norms)
    if finite.sum() < 2:
        return None
    middle = float(np.median(norms[finite]))
    best = int(np.nanargmax(norms))
    return best if norms[best] > PREFERRED * middle and middle > 0 else None


def chosen_experts(
    layer: MixtureLayer, config: Mapping[str, Any], active: int | None
) -> Chosen | None:
    """Experts that are always or never chosen; None where nothing can be proven.

    Args:
        layer: The layer.
        config: config.json.
        active: Experts that a token uses.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    count = len(layer.experts)
    if active is None or not 0 < active < count:
        return None
    settings = text_config(config)
    if layer.correction is not None:
        groups, kept = settings.get("n_group") or 1, settings.get("topk_group") or 1
        scores = settings.get("scoring_func")
        bounded = scores in ("sigmoid", "softmax") or (
            scores is None and settings.get("model_type") in _SIGMOID
        )
        # Of several groups some are left out, by rules that differ between programs.
        if not bounded or groups > kept:
            return None
        added = _vector(layer.correction)
        ahead = added[:, None] - added[None, :] >= 1
    elif layer.bias is not None and layer.router is not None:
        if settings.get("model_type") != "gpt_oss" or layer.norm is None:
            return None
        rows = np.empty(layer.router.shape)
        read_into(layer.router, rows)
        rows = rows if len(rows) == count else rows.T
        ahead = _surely_ahead(rows * _vector(layer.norm), _vector(layer.bias))
    else:
        return None
    # ahead[i, j]: i has more than j whatever x is.
    never = ahead.sum(axis=0) >= active
    always = ahead.sum(axis=1) >= count - active
    return Chosen(always, never)


def _surely_ahead(rows: Matrix, bias: NDArray[np.float64]) -> NDArray[np.bool_]:
    count, dim = rows.shape
    ahead = np.zeros((count, count), np.bool_)
    for i in range(count):
        reach = np.sqrt(dim) * np.linalg.norm(rows - rows[i], axis=1)
        ahead[i] = bias[i] - bias > reach
    return ahead


def _vector(weight: Weight) -> NDArray[np.float64]:
    return np.concatenate([np.array(part, np.float64).reshape(-1) for part in weight.values()])
