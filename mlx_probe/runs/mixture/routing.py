"""Columns of what a mixture did when it read a text, for those who write and read them.

They follow the columns of the weights in the tables `EXPERTS` and `LAYERS`. `ROUTING` has a row
for each of the first tokens and each layer: "token" (its place in the text, from 0), "layer",
"text", "type", "experts" and "weights" of those that were chosen, the heaviest first.

run_meta.json has, beside what every job has:

    data, tokens, rows, loss    the text, tokens that were read, in how many rows, and mean nats
    bins                        names of the last axis of `load_by_type` and `load_by_position`,
                                where a column of a layer adds up to 1 over its experts
"""

from __future__ import annotations

from mlx_probe.core.column_texts import HERE, TEXTBOOK
from mlx_probe.core.records import Column

__all__ = ["ROUTED_EXPERT_COLUMNS", "ROUTED_LAYER_COLUMNS", "ROUTED_TOKENS"]

# Tokens in `ROUTING`, at most.
ROUTED_TOKENS = 512

_LIN = "Lin 1991"
_SHANNON = "Shannon 1948"
_CHANCE = "Few assignments give a number above 0 by chance alone: compare experts with many."

ROUTED_EXPERT_COLUMNS: tuple[Column, ...] = (
    Column(
        "assignments", "int64", "routing", "Tokens that were given to the expert.", lower=0,
        unit="tokens", title="Tokens",
        plain="How many tokens of the text the expert worked on.",
        typical="About tokens x active / experts where the router balances.", source=HERE,
    ),
    Column(
        "load", "float64", "routing", "Share of all assignments of the layer.", lower=0, upper=1,
        title="Load", plain="How much of the layer's work the expert does.",
        typical="About 1 / experts where the router balances.",
        caveat="It is that of one text: an expert for another language or subject has none here.",
        source=HERE, formula="assignments / sum of assignments",
    ),
    Column(
        "mean_weight", "float64", "routing", "Mean mixing weight over the expert's tokens.",
        title="Mean weight", plain="How strongly the expert counts where it is chosen.",
        typical="About 1 / active where weights add up to 1.",
        caveat="Families scale weights differently: compare experts of one layer.", source=HERE,
    ),
    Column(
        "saliency", "float64", "routing", "REAP: mean over the expert's tokens of mixing weight "
        "times L2 norm of its output.", title="REAP saliency",
        plain="How much the expert adds to the stream where it is chosen; pruning starts with the "
        "least.",
        caveat="Weights are those that the block multiplies by, whether or not they add up to 1. "
        "An expert without tokens has none; prune takes it for 0.",
        source="REAP 2025, arXiv 2510.13999", formula="mean over its tokens of w ||o||",
    ),
    Column(
        "output_norm", "float64", "routing", "Mean L2 norm of the expert's output over its tokens.",
        lower=0, title="Norm of outputs", plain="How large what the expert says is, unweighted.",
        source=TEXTBOOK, formula="mean over its tokens of ||o||",
    ),
    Column(
        "agreement", "float64", "routing", "Mean over the expert's tokens of the cosine of its "
        "output with the weighted sum of all chosen experts.", lower=-1, upper=1,
        title="Agreement with the ensemble",
        plain="Whether the expert alone would say what all chosen experts together say.",
        caveat="The expert is part of the sum: with k equal weights and unrelated outputs it is "
        "1 / sqrt(k), not 0. Neither shared experts nor the residual stream are in the sum.",
        source="after MoE Lens 2026, arXiv 2603.05806",
        formula="mean over its tokens of cos(o_e, sum over k of w_k o_k)",
    ),
    Column(
        "type_divergence", "float64", "routing", "Jensen-Shannon divergence of the types of the "
        "expert's tokens from those of all assignments of the layer.", lower=0, upper=1,
        unit="bits", title="Specialisation by type",
        plain="Whether the expert works on other kinds of tokens than the layer: 0 for the same.",
        caveat=_CHANCE, source=_LIN, formula="JSD(types of the expert, types of the layer)",
    ),
    Column(
        "position_divergence", "float64", "routing", "Jensen-Shannon divergence of the positions "
        "of the expert's tokens from those of all assignments of the layer.", lower=0, upper=1,
        unit="bits", title="Specialisation by position",
        plain="Whether the expert works on other places of a row than the layer: 0 for the same.",
        caveat=_CHANCE, source=_LIN,
        formula="JSD(positions of the expert, positions of the layer), in 8 equal parts of a row",
    ),
    Column(
        "liked_tokens", "list<string>", "routing", "Tokens that the expert gets more often than "
        "the layer does, the most telling first.", title="Liked tokens",
        plain="Pieces of text that are sent to this expert more than to others.",
        caveat="Only tokens that the expert got twice or more; with a short text they are chance.",
        source=HERE, formula="by p ln(p / q), shares of the expert's and of all assignments",
    ),
    Column(
        "liked_counts", "list<int64>", "routing", "How often each of them was given to the "
        "expert.", title="Given to it", plain="How often the expert got these tokens.",
        source=HERE,
    ),
    Column(
        "liked_seen", "list<int64>", "routing", "How often each of them is in the text.",
        title="In the text", plain="How often these tokens occur.", source=HERE,
    ),
    Column(
        "contexts", "list<string>", "routing", "Where the expert's weight for one of the first "
        "three of them is largest: the text around, with the token in double brackets.",
        title="In context", plain="What the tokens look like where the expert counts most.",
        source=HERE,
    ),
)  # fmt: skip

ROUTED_LAYER_COLUMNS: tuple[Column, ...] = (
    Column(
        "mean_active", "float64", "routing", "Chosen experts of a token, mean over tokens.",
        lower=0, title="Active experts", plain="How many experts work on a token.",
        typical="The setting of the model, unless its gate decides for each token.", source=HERE,
    ),
    Column(
        "load_gini", "float64", "routing", "Gini coefficient of the loads.", lower=0, upper=1,
        title="Gini of loads",
        plain="How unevenly work is spread: 0 where all experts do the same, near 1 where one "
        "does all.",
        caveat="Its largest value is 1 - 1 / experts.", source="Gini 1912",
        formula="sum over i, j of |l_i - l_j| / (2 N sum of l)",
    ),
    Column(
        "load_entropy", "float64", "routing", "Entropy of the loads.", lower=0, unit="nats",
        title="Entropy of loads", plain="How evenly work is spread: ln(experts) where equally.",
        source=_SHANNON, formula="- sum of l ln l",
    ),
    Column(
        "effective_experts", "float64", "routing", "Number of equally loaded experts with the same "
        "entropy.", lower=0, title="Effective experts",
        plain="As if how many experts shared the work equally.", source="Hill 1973",
        formula="exp(load_entropy)",
    ),
    Column(
        "unused", "list<int64>", "routing", "Experts that no token was given to.",
        title="Experts without tokens", plain="Experts that did nothing on this text.",
        caveat="A short text leaves experts out by chance.", source=HERE,
    ),
    Column(
        "router_scores", "string", "routing", "How the router scores: softmax or sigmoid of its "
        "logits, and whether a bias is added to choose; null where that is not known.",
        title="Scores", plain="The rule by which experts are ranked.", source=HERE,
    ),
    Column(
        "router_entropy", "float64", "routing", "Mean over tokens of the entropy of the router's "
        "shares of all experts; sigmoids are divided by their sum.", lower=0, unit="nats",
        title="Entropy of the router", plain="How unsure the router is of whom to choose.",
        typical="Between 0 and ln(experts).",
        caveat="Routers of sigmoids have a high one by their form: compare models of one kind.",
        source=_SHANNON, formula="mean over tokens of - sum of p ln p",
    ),
    Column(
        "router_margin", "float64", "routing", "Mean over tokens of the score of the last expert "
        "that was chosen minus the score of the next one.", title="Margin of the router",
        plain="How narrowly experts are chosen: near 0, a little noise would choose others.",
        caveat="Scores are shares, plus the bias where there is one; null where all experts are "
        "chosen.", source=HERE, formula="mean over tokens of s_(k) - s_(k+1)",
    ),
    Column(
        "router_reason", "string", "routing", "Why entropy and margin are null; null if they are "
        "not.", title="Why no scores", plain="Why the router's scores are not known.", source=HERE,
    ),
    Column(
        "first_agreement", "float64", "routing", "Mean over tokens of the cosine of the output of "
        "the expert with the largest weight with the weighted sum of all chosen experts.",
        lower=-1, upper=1, title="Agreement of the first",
        plain="Whether the best expert alone would say what all chosen ones say together.",
        caveat="The expert is part of the sum: it is high wherever one weight is.",
        source="after MoE Lens 2026, arXiv 2603.05806",
        formula="mean over tokens of cos(o_1, sum over k of w_k o_k)",
    ),
    Column(
        "type_information", "float64", "routing", "Mutual information of expert and token type of "
        "an assignment.", lower=0, unit="bits", title="Information on type",
        plain="How much the chosen expert tells of the kind of token.",
        caveat="Chance gives about (experts - 1) (types - 1) / (2 ln 2 assignments).",
        source="Shannon 1948", formula="sum of p(e, t) log2 p(e, t) / (p(e) p(t))",
    ),
    Column(
        "position_information", "float64", "routing", "Mutual information of expert and position "
        "of an assignment.", lower=0, unit="bits", title="Information on position",
        plain="How much the chosen expert tells of the place in a row.",
        caveat="Chance gives about (experts - 1) (parts - 1) / (2 ln 2 assignments).",
        source="Shannon 1948", formula="sum of p(e, b) log2 p(e, b) / (p(e) p(b)), of 8 parts",
    ),
)  # fmt: skip
