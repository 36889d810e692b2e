"""The document of `moe signals`."""

from __future__ import annotations

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, nullable, record

__all__ = ["SIGNALS"]

_SHARE = nullable(NUMBER)

SIGNALS: Schema = record(
    {
        "folder": (TEXT, "The run folder."),
        "model": (TEXT, "The reference of the model."),
        "data": (TEXT, "The text."),
        "windows": (INTEGER, "Windows, one after the other."),
        "window": (INTEGER, "Tokens of each that are predicted."),
        "tokens": (INTEGER, "Tokens of all."),
        "mixtures": (INTEGER, "Mixtures of the model; 0 of a dense one."),
        "device": (TEXT, "Where it ran."),
        "loss": (NUMBER, "Mean nats a token."),
        "entropy": (NUMBER, "Mean entropy of softmax(logits), nats."),
        "grad_norm": (NUMBER, "Norm of the gradient by all parameters, mean over the windows."),
        "integrity": (
            record(
                {
                    "alpha": (NUMBER, "How fast it falls."),
                    "gamma": (NUMBER, "Share of the gradient norm."),
                    "delta": (NUMBER, "What unsteadiness costs in the integral."),
                    "decay": (NUMBER, "Of the running means."),
                    "warm_up": (INTEGER, "Windows without a standardized one."),
                    "mean": (NUMBER, "Mean over the windows."),
                    "variance": (NUMBER, "Variance over the windows."),
                    "integral": (NUMBER, "mean exp(-delta variance)."),
                }
            ),
            "Predictive Integrity.",
        ),
        "agreement": (
            record(
                {
                    "signals": (listed(TEXT), "Names of columns of a window."),
                    "rank": (
                        listed(listed(nullable(NUMBER))),
                        "Spearman's correlation of each pair; null where one never changes.",
                    ),
                }
            ),
            "How well the signals agree over the windows.",
        ),
        "layers": (
            listed(
                record(
                    {
                        "layer": (INTEGER, "Number of the layer, from 0."),
                        "experts": (INTEGER, "Experts of it."),
                        "tokens": (INTEGER, "Tokens that one expert has the least weight for."),
                        "output": (
                            _SHARE,
                            "Share of them where it has the least output surprise, too.",
                        ),
                        "input": (_SHARE, "The same with input surprise."),
                        "chance": (_SHARE, "The same by chance."),
                        "identity_off": (
                            NUMBER,
                            "Difference of output surprise and weight times common norm, at most, "
                            "as a share of the largest surprise.",
                        ),
                    }
                )
            ),
            "Of each mixture; empty for a dense model.",
        ),
        "sps": (
            record(
                {
                    "block": (INTEGER, "Units of a block."),
                    "width": (INTEGER, "Units of the residual stream."),
                    "of": (TEXT, "Whose activations and gradients."),
                    "layers": (INTEGER, "Layers."),
                    "blocks": (INTEGER, "Blocks of each."),
                    "tokens": (INTEGER, "First tokens with a map of their own."),
                }
            ),
            "The map of blocks, in sps.safetensors.",
        ),
        "passed": (FLAG, "Whether all checks passed."),
        "failures": (listed(TEXT), "Those that did not."),
    }
)
