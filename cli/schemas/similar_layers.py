"""The document of similar-layers."""

from __future__ import annotations

from .shape import (
    ANYTHING,
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    Schema,
    listed,
    mapping,
    nullable,
    one_of,
    record,
)

__all__ = ["SIMILAR_LAYERS"]

_KINDS = (
    *("exact_copy", "near_copy", "permuted_copy", "average"),
    *("origin", "moved", "repeated", "absent", "unknown", "possible_order"),
)

_FINDING: Schema = record(
    {
        "kind": (
            one_of(_KINDS),
            "Copies and mixtures of layers of the same model; origin and after it: of --against.",
        ),
        "certain": (FLAG, "False for a weak sign, which the sentence calls possible."),
        "sentence": (TEXT, "The finding in words."),
        "layers": (listed(INTEGER), "Layers that it is about; of absent, those of the other."),
        "evidence": (mapping(ANYTHING), "Numbers behind the sentence."),
    }
)

_CHANCE: Schema = record(
    {
        "center": (NUMBER, "Median cosine of rows that do not belong together."),
        "spread": (NUMBER, "1.4826 times the median distance from it."),
        "largest": (NUMBER, "The largest one that was seen."),
        "threshold": (NUMBER, "Cosine that a copy must reach."),
        "comparisons": (INTEGER, "Pairs that the threshold is corrected for."),
        "decides": (FLAG, "Whether the matrix has enough elements to tell a copy."),
    }
)

_ACTIVATIONS: Schema = record(
    {
        "model": (TEXT, "The model that ran."),
        "text": (TEXT, "What it read."),
        "tokens": (INTEGER, "Tokens that were predicted."),
        "windows": (INTEGER, "Windows that they were in."),
        "loss": (NUMBER, "Mean nats a token."),
        "perplexity": (NUMBER, "exp(loss)."),
        "influence": (
            listed(
                record(
                    {
                        "layer": (INTEGER, "Number of the layer."),
                        "influence": (
                            NUMBER,
                            "1 minus the mean cosine of the stream before and behind it.",
                        ),
                        "error": (
                            nullable(NUMBER),
                            "Half of its 95 % interval over windows; null for one window.",
                        ),
                        "loss_without": (nullable(NUMBER), "Mean nats without it: --removal."),
                    }
                )
            ),
            "Of each layer.",
        ),
        "angular": (
            listed(
                record(
                    {
                        "layers": (INTEGER, "Consecutive layers."),
                        "first": (INTEGER, "First of those with the least distance."),
                        "distance": (
                            NUMBER,
                            "Mean angle of the stream before and behind them, over pi.",
                        ),
                    }
                )
            ),
            "Of each number of consecutive layers.",
        ),
        "device": (TEXT, "Where it ran."),
        "settings": (mapping(ANYTHING), "tokens, window and removal."),
        "seconds": (NUMBER, "Time that it took."),
    }
)

SIMILAR_LAYERS: Schema = record(
    {
        "model": (TEXT, "The model."),
        "against": (listed(TEXT), "The models of --against."),
        "layers": (
            listed(
                record(
                    {
                        "stack": (TEXT, "Names up to the layer's number."),
                        "layer": (INTEGER, "Its number."),
                        "parts": (listed(TEXT), "Parts that were compared."),
                    }
                )
            ),
            "Layers that have a part like another layer's.",
        ),
        "findings": (listed(_FINDING), "What was found."),
        "nearest": (
            nullable(
                record(
                    {
                        "layers": (listed(INTEGER), "Two layers."),
                        "cosine": (NUMBER, "Mean cosine of their matrices."),
                    }
                )
            ),
            "The two layers of the model that are most alike.",
        ),
        "null": (
            listed(
                record(
                    {
                        "part": (TEXT, "attention, mlp, experts and so on."),
                        "layers": (INTEGER, "Layers of the model with such a part."),
                        "roles": (mapping(_CHANCE), "By the role of a matrix."),
                    }
                )
            ),
            "Cosines of rows that do not belong together, and the thresholds made from them.",
        ),
        "maps": (
            listed(
                record(
                    {
                        "model": (TEXT, "The model across."),
                        "layers": (listed(INTEGER), "Its layers."),
                        "cosine": (
                            listed(listed(nullable(NUMBER))),
                            "Mean cosine of the matrices of a layer of the model (rows) and of one "
                            "of these; null for layers of different shapes.",
                        ),
                    }
                )
            ),
            "The model itself first.",
        ),
        "unread": (
            listed(
                record(
                    {
                        "layer": (INTEGER, "Number of the layer."),
                        "part": (TEXT, "Its part."),
                        "reason": (TEXT, "Why it was not compared."),
                    }
                )
            ),
            "Parts that were not compared.",
        ),
        "stored_order_only": (
            mapping(TEXT),
            "Parts of which no other inner order was looked for, with the reason.",
        ),
        "settings": (mapping(ANYTHING), "directions, alike and seed."),
        "seconds": (NUMBER, "Time that it took."),
        "activations": (nullable(_ACTIVATIONS), "With --with-activations; null otherwise."),
    }
)
