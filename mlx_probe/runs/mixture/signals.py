"""The folder of `mlx-probe moe signals`: its files and their columns, for who writes and reads it.

run_meta.json has, beside what every job has:

    model, data, windows, window, tokens, mixtures
    integrity   {alpha, gamma, delta, decay, warm_up, mean, variance, integral}
    agreement   {signals: [names], rank: [[rows]]}: Spearman's correlation of each pair of the
                numbers of a window; null where one of them is the same in all windows
    layers      for each mixture {layer, experts, active, tokens, chance, output, input}: shares of
                the tokens whose least surprised active expert is the one with the least weight,
                for both variants, and the share by chance
    sps         {block, width, of, layers, blocks, tokens}: see `SPS`
"""

from __future__ import annotations

from mlx_probe.core.records import Column

__all__ = [
    "EXPERTS",
    "EXPERT_COLUMNS",
    "KIND",
    "MAP_TOKENS",
    "SPS",
    "TOKENS",
    "TOKEN_COLUMNS",
    "WINDOWS",
    "WINDOW_COLUMNS",
]

KIND = "moe-signals"
# Parquet tables: a row for each window, for each expert of each layer, and for each token of the
# map; the last two may be missing or empty.
WINDOWS, EXPERTS, TOKENS = "signals", "expert_signals", "signal_tokens"
# float32: `sps` (layers, blocks), the sum over all tokens, and `sps_tokens` (tokens, layers,
# blocks) of the first tokens, the rows of `TOKENS`.
SPS, MAP_TOKENS = "sps.safetensors", 512

WINDOW_COLUMNS: tuple[Column, ...] = (
    Column(
        "window", "int64", "signals", "Number of the window, from 0.", required=True, lower=0,
        title="Window", plain="A piece of the text that the model reads at once.",
    ),
    Column(
        "first_token", "int64", "signals", "Where the window begins in the text.", required=True,
        lower=0, title="First token", unit="tokens", plain="How many tokens come before it.",
    ),
    Column(
        "tokens", "int64", "signals", "Tokens that are predicted.", required=True, lower=1,
        title="Tokens", unit="tokens", plain="The length of the window.",
    ),
    Column(
        "loss", "float64", "signals", "Mean cross-entropy: the prediction error epsilon.",
        required=True, lower=0, title="Loss", unit="nats/token",
        plain="How badly the model predicts the next token.",
    ),
    Column(
        "entropy", "float64", "signals", "Mean entropy of softmax(logits): the uncertainty tau.",
        required=True, lower=0, title="Entropy", unit="nats",
        plain="How unsure the model is, whether it is right or wrong.",
    ),
    Column(
        "grad_norm", "float64", "signals",
        "Euclidean norm of the gradient of the loss by all parameters: the global surprise S.",
        required=True, lower=0, title="Gradient norm",
        plain="How strongly the window would pull at the weights.",
    ),
    Column(
        "error_ratio", "float64", "signals", "epsilon / tau.", lower=0,
        title="Error over uncertainty",
        plain="Above 1 where the model is surer than it should be.",
        caveat="A model that is unsure of everything has a low one.",
    ),
    Column(
        "integrity", "float64", "signals",
        "Predictive Integrity exp(-alpha ((1 - gamma) epsilon / tau + gamma S)).",
        lower=0, upper=1, title="Predictive Integrity",
        plain="One number of error, uncertainty and gradient; a heuristic of one research group.",
        caveat="It saturates at 0 where S is large: look at its components.",
    ),
    Column(
        "integrity_z", "float64", "signals",
        "exp(-alpha (z(epsilon / tau) + gamma z(S))), by running means of the windows before.",
        lower=0, title="Integrity, standardized",
        plain="The same against the windows before: 1 is usual, more is better than usual.",
        caveat="Empty in the first windows, which have nothing to be compared with.",
    ),
    Column(
        "output_surprise", "float64", "signals",
        "Mean norm of the gradient by the output of an active expert, over tokens and layers.",
        lower=0, title="Output surprise",
        plain="How much the loss depends on what experts say.",
        caveat="Exactly the gate weight times the norm of the block's gradient: it measures the "
        "gate.",
    ),
    Column(
        "input_surprise", "float64", "signals",
        "Mean norm of the gradient by the input of an active expert, over tokens and layers.",
        lower=0, title="Input surprise",
        plain="How much the loss depends on what experts are given.",
    ),
)  # fmt: skip

EXPERT_COLUMNS: tuple[Column, ...] = (
    Column(
        "layer", "int64", "signals", "Number of the layer, from 0.", required=True, lower=0,
        title="Layer", plain="Which layer of the model.",
    ),
    Column(
        "expert", "int64", "signals", "Number of the expert in its layer, from 0.", required=True,
        lower=0, title="Expert", plain="Which expert of the layer.",
    ),
    Column(
        "tokens", "int64", "signals", "Tokens for which the expert is active.", required=True,
        lower=0, title="Tokens", unit="tokens", plain="How much of the text it worked on.",
    ),
    Column(
        "weight", "float64", "signals", "Mean gate weight over these tokens.",
        title="Gate weight", plain="How much of the result is its output.",
    ),
    Column(
        "output_surprise", "float64", "signals",
        "Mean norm of the gradient by the expert's output, over its tokens.", lower=0,
        title="Output surprise",
        plain="How much the loss depends on what the expert says.",
        caveat="Exactly the gate weight times the norm of the block's gradient: it measures the "
        "gate.",
    ),
    Column(
        "input_surprise", "float64", "signals",
        "Mean norm of the gradient by the expert's input, over its tokens.", lower=0,
        title="Input surprise",
        plain="How much the loss depends on what the expert is given.",
    ),
    Column(
        "least_weight", "int64", "signals", "Tokens for which its gate weight is the least.",
        required=True, lower=0, title="Least weight", unit="tokens",
        plain="How often the router preferred all other active experts.",
    ),
    Column(
        "least_output", "int64", "signals", "Tokens for which its output surprise is the least.",
        required=True, lower=0, title="Least output surprise", unit="tokens",
        plain="How often it is the least surprised active expert, at its output.",
    ),
    Column(
        "least_input", "int64", "signals", "Tokens for which its input surprise is the least.",
        required=True, lower=0, title="Least input surprise", unit="tokens",
        plain="How often it is the least surprised active expert, at its input.",
    ),
)  # fmt: skip

TOKEN_COLUMNS: tuple[Column, ...] = (
    Column(
        "window", "int64", "signals", "Number of the window, from 0.", required=True, lower=0,
        title="Window", plain="A piece of the text that the model reads at once.",
    ),
    Column(
        "token", "int64", "signals", "Number of the token in the vocabulary.", required=True,
        lower=0, title="Token number", plain="What the model reads in place of the text.",
    ),
    Column(
        "text", "string", "signals", "The token as text.", required=True, title="Text",
        plain="What it stands for.",
        caveat="A part of a character is shown as a replacement character.",
    ),
    Column(
        "loss", "float64", "signals", "Cross-entropy of the token that follows.", required=True,
        lower=0, title="Loss", unit="nats",
        plain="How badly the model predicts what comes next.",
    ),
    Column(
        "entropy", "float64", "signals", "Entropy of softmax(logits) at the token.",
        required=True, lower=0, title="Entropy", unit="nats",
        plain="How unsure the model is of what comes next.",
    ),
)  # fmt: skip
