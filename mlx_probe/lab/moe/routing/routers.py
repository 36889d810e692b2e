"""How routers of mlx-lm's families score experts, for what the chosen ones alone do not say.

A family is one entry in `ROUTERS`. An entry is believed only where what it says agrees with what a
block did, on every token: see `scores_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.moe.gate.mixture import GatedMixture
from mlx_probe.lab.moe.routing.capture import BlockRun

__all__ = ["ROUTERS", "Router", "Scores", "scores_of"]

Floats = NDArray[np.float64]
# Largest difference of scores that count as equal, and of shares from the mixing weights: blocks
# of 16 bits round both before they choose.
_SAME = {mx.float32: 1e-5, mx.float16: 2e-3, mx.bfloat16: 1.6e-2}
_SHARES = {mx.float32: 1e-3, mx.float16: 1e-2, mx.bfloat16: 5e-2}


@dataclass(frozen=True)
class Router:
    """How a block scores its experts. Paths begin at the block.

    Attributes:
        logits: Where the router is: a module, or the matrix (N, dim).
        share: What becomes of a logit: "softmax" or "sigmoid"; or the path of what says so.
        bias: Where the numbers are that are added to the shares to choose, but not to weigh.
        groups: Where the numbers of groups are, all and kept ones: experts outside the groups
            with the largest scores cannot be chosen.
        judged_by: Number of experts whose scores, the largest, are the score of a group.
        weighs: Whether the mixing weights are in proportion to the shares.
    """

    logits: str = "gate"
    share: str = "softmax"
    bias: str = ""
    groups: tuple[str, str] = ("", "")
    judged_by: int = 2
    weighs: bool = True


_DEEPSEEK_V3 = Router(
    "gate.weight", "sigmoid", "gate.e_score_correction_bias", ("gate.n_group", "gate.topk_group")
)
_BAILING = Router(
    "gate.gate_proj",
    "gate.score_function",
    "gate.expert_bias",
    ("gate.n_group", "gate.topk_group"),
)
# By the file of mlx-lm that has the block: families that use another's block are that one.
ROUTERS: Mapping[str, Router] = {
    "Klear": Router("gate", "sigmoid", "expert_bias"),
    "afmoe": Router("router", "score_func", "expert_bias", ("n_group", "topk_group")),
    "bailing_hybrid": _BAILING,
    "bailing_moe": _BAILING,
    "bailing_moe_linear": _BAILING,
    "bailing_moe_v3": Router(
        "gate.weight", "sigmoid", "gate.expert_bias", ("gate.n_group", "gate.topk_group")
    ),
    "deepseek": Router("gate.weight"),
    "deepseek_v2": Router("gate.weight", groups=("gate.n_group", "gate.topk_group"), judged_by=1),
    "deepseek_v3": _DEEPSEEK_V3,
    "deepseek_v32": _DEEPSEEK_V3,
    "dots1": _DEEPSEEK_V3,
    "ernie4_5_moe": Router("gate", "gate_act"),
    "exaone_moe": _DEEPSEEK_V3,
    "glm4_moe": _DEEPSEEK_V3,
    "glm4_moe_lite": _DEEPSEEK_V3,
    "gpt_oss": Router("router"),
    "granitemoe": Router("router.layer"),
    "granitemoehybrid": Router("router.layer"),
    "hunyuan": Router("gate"),
    "jamba": Router("router"),
    "kimi_k3": Router(
        "gate",
        "sigmoid",
        "e_score_correction_bias",
        ("args.num_expert_group", "args.topk_group"),
    ),
    "kimi_linear": Router(
        "gate",
        "args.moe_router_activation_func",
        "e_score_correction_bias",
        ("args.num_expert_group", "args.topk_group"),
    ),
    "laguna": Router("gate.proj", "gate.score_func", "gate.e_score_correction_bias"),
    "lfm2_moe": Router("gate", "sigmoid", "expert_bias"),
    # It multiplies what the experts are given, not what they say.
    "llama4": Router("router", "sigmoid", weighs=False),
    "mellum": Router("gate"),
    "mimo_v2_flash": _DEEPSEEK_V3,
    "minimax": Router("gate", "sigmoid", "e_score_correction_bias"),
    "minimax_m3_vl": Router("gate", "sigmoid", "e_score_correction_bias"),
    "mistral4": Router("gate", groups=("args.n_group", "args.topk_group")),
    "mixtral": Router("gate"),
    "nemotron_h": _DEEPSEEK_V3,
    "olmoe": Router("gate"),
    # SparseMixer weighs each expert against those that score nearly as much.
    "phimoe": Router("gate", weighs=False),
    "phixtral": Router("gate"),
    "qwen2_moe": Router("gate"),
    "qwen3_moe": Router("gate"),
    "qwen3_next": Router("gate"),
    "step3p5": Router("gate.gate", "sigmoid", "gate.router_bias"),
}


@dataclass(frozen=True)
class Scores:
    """How a router scored the experts of some tokens; without numbers where that is not known.

    Attributes:
        terms: What the scores are: "softmax", "sigmoid", "sigmoid + bias" ...; None if unknown.
        entropies: Of each token, in nats: of the shares of all experts, which are divided by
            their sum, (T,).
        margins: Score of the last expert that was chosen minus that of the next one, (T,); NaN
            where none is left.
        reason: Why there are none; None if there are.
    """

    terms: str | None
    entropies: Floats
    margins: Floats
    reason: str | None


def scores_of(run: BlockRun) -> Scores:
    """The scores behind a block's choices.

    Checked on every token: no expert that was left out may score more than one that was chosen,
    and where an entry says so the mixing weights have to be in proportion to the shares.
    """
    if isinstance(run.block.module, GatedMixture):
        return _unknown("a gate of thresholds ranks no experts")
    module = type(run.block.module).__module__.rpartition(".")[-1]
    router = ROUTERS.get(module)
    if router is None:
        return _unknown(f"the router of {module} is not known")
    block = run.block.module
    share = router.share
    if share not in ("softmax", "sigmoid"):
        told = _at(block, share)
        share = told if isinstance(told, str) else type(told).__name__.lower()
    if share not in ("softmax", "sigmoid"):
        return _unknown(f"the router of {module} scores by {share}, which is not known")
    logits = _logits(_at(block, router.logits), run.inputs)
    bias = _at(block, router.bias) if router.bias else None
    groups = _groups(block, router)
    shares = _softmax(logits) if share == "softmax" else 1 / (1 + np.exp(-logits))
    scores = shares if bias is None else shares + np.array(bias.astype(mx.float32), np.float64)
    # Without bias and groups logits tell experts apart whose shares are rounded to the same.
    order = logits if bias is None and groups is None else scores
    same = _SAME.get(run.inputs.dtype, _SAME[mx.float32])
    low, high = _choosable(scores, groups, router.judged_by, same)
    if not _agree(order, run.indices, low, high, same) or not _weighs(router, shares, run):
        return _unknown(f"the router of {module} chooses otherwise than is known")
    part = shares / shares.sum(1, keepdims=True)
    logs = np.log(part, out=np.zeros_like(part), where=part > 0)
    return Scores(
        terms=" + ".join([share, *(["bias"] if bias is not None else [])]),
        entropies=-(part * logs).sum(1),
        margins=_margins(np.where(high, scores, -np.inf), run.indices.shape[1]),
        reason=None,
    )


def _unknown(reason: str) -> Scores:
    return Scores(None, np.zeros(0), np.zeros(0), reason)


def _at(block: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), block)


def _logits(router: Any, inputs: mx.array) -> Floats:
    found = inputs @ router.T if isinstance(router, mx.array) else router(inputs)
    return np.array(found.astype(mx.float32), np.float64)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares: Floats = powers / powers.sum(1, keepdims=True)
    return shares


def _groups(block: Any, router: Router) -> tuple[int, int] | None:
    """Numbers of groups, all and kept ones; None if all experts can be chosen."""
    if not all(router.groups):
        return None
    count, kept = (_at(block, path) for path in router.groups)
    return (count, kept) if count and kept and count > kept else None


def _choosable(
    scores: Floats, groups: tuple[int, int] | None, judged_by: int, same: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which experts can surely, and which can perhaps be chosen: groups may score the same."""
    if groups is None:
        every = np.ones(scores.shape, bool)
        return every, every
    count, kept = groups
    parts = np.sort(scores.reshape(len(scores), count, -1), axis=2)
    of_group = parts[..., -judged_by:].sum(2)
    ranked = np.sort(of_group, axis=1)[:, ::-1]
    surely = of_group > ranked[:, [kept]] + same
    perhaps = of_group >= ranked[:, [kept - 1]] - same
    size = scores.shape[1] // count
    return np.repeat(surely, size, axis=1), np.repeat(perhaps, size, axis=1)


def _agree(
    order: Floats,
    indices: NDArray[np.int32],
    surely: NDArray[np.bool_],
    perhaps: NDArray[np.bool_],
    same: float,
) -> bool:
    """Whether a block chose the experts that score most."""
    if indices.max() >= order.shape[1]:
        return False
    chosen = np.zeros(order.shape, bool)
    np.put_along_axis(chosen, indices, True, axis=1)
    least = np.where(chosen, np.where(perhaps, order, -np.inf), np.inf).min(1)
    most = np.where(~chosen & surely, order, -np.inf).max(1)
    off = same * np.maximum(1, np.abs(order).max(1))
    return bool((least >= most - off).all() and np.isfinite(least).all())


def _weighs(router: Router, shares: Floats, run: BlockRun) -> bool:
    """Whether mixing weights are in proportion to the shares, if the router's entry says so."""
    if not router.weighs:
        return True
    chosen = np.take_along_axis(shares, run.indices, axis=1)
    weights = run.weights.astype(np.float64)
    sums = weights.sum(1, keepdims=True)
    wanted = chosen / chosen.sum(1, keepdims=True)
    found = np.divide(weights, sums, out=np.zeros_like(weights), where=sums != 0)
    off = _SHARES.get(run.inputs.dtype, _SHARES[mx.float32])
    return bool(np.abs(found - wanted).max() <= off)


def _margins(scores: Floats, chosen: int) -> Floats:
    if chosen >= scores.shape[1]:
        return np.full(len(scores), np.nan)
    ranked = np.sort(scores, axis=1)[:, ::-1]
    with np.errstate(invalid="ignore"):
        margins: Floats = ranked[:, chosen - 1] - ranked[:, chosen]
    return np.where(np.isfinite(margins), margins, np.nan)
