"""An output head and an embedding that do not fit each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, figure, names_by

__all__ = ["HEAD_EMBEDDING"]

# Factors between the standard deviations, and between the shares of directions in use.
_SCALE, _RANK = 8.0, 3.0


def _find(view: RunView) -> Iterator[Finding]:
    kinds, towers = view.texts("block_type"), view.texts("component")
    wholes = view.matrices & view.is_vocabulary

    def largest(kind: str) -> int | None:
        # Heads that classify, and tables of a few types, have other shapes.
        rows = [
            int(row)
            for row in np.flatnonzero(wholes)
            if kinds[row] == kind and towers[row] in ("embedding", "output")
        ]
        return max(rows, key=lambda row: view.numbers("numel")[row], default=None)

    embedding, head = largest("embedding"), largest("output")
    if embedding is None or head is None:
        return
    yield from _shapes(view, embedding, head)
    yield from _sizes(view, embedding, head)


def _shapes(view: RunView, embedding: int, head: int) -> Iterator[Finding]:
    rows, cols = view.numbers("rows"), view.numbers("cols")
    tokens = {row: max(rows[row], cols[row]) for row in (embedding, head)}
    # A head with far fewer rows chooses among classes, not tokens.
    if tokens[head] == tokens[embedding] or tokens[head] < tokens[embedding] / 2:
        return
    yield Finding(
        "medium",
        Text(
            "{head} knows {outputs} tokens, and {embedding} {inputs}.",
            {
                "head": view.names[head],
                "outputs": count(tokens[head]),
                "embedding": view.names[embedding],
                "inputs": count(tokens[embedding]),
            },
        ),
        names_by(view, [head, embedding], np.zeros(2)),
        {"outputs": int(tokens[head]), "inputs": int(tokens[embedding])},
        Text("Resize one of them to the tokenizer's size: tokens of one lack a line in the other."),
        float(abs(tokens[head] - tokens[embedding]) / max(tokens.values())),
    )


def _sizes(view: RunView, embedding: int, head: int) -> Iterator[Finding]:
    std, used = view.numbers("std"), view.numbers("effective_rank") / view.short
    ratio = float(std[head] / std[embedding]) if std[embedding] > 0 else np.nan
    rank = float(used[head] / used[embedding])
    pair = {"head": view.names[head], "embedding": view.names[embedding]}
    evidence = {"std": [float(std[head]), float(std[embedding])], "ratio": ratio}
    if np.isfinite(ratio) and ratio > 0 and abs(np.log(ratio)) >= np.log(_SCALE):
        yield Finding(
            "medium",
            Text(
                "{head} and {embedding} are unlike: their standard deviations are {one} and "
                "{other}, a ratio of {ratio}.",
                {
                    "one": figure(float(std[head])),
                    "other": figure(float(std[embedding])),
                    "ratio": figure(ratio),
                    **pair,
                },
            ),
            names_by(view, [head, embedding], np.zeros(2)),
            evidence,
            Text(
                "Check that both come from one model, and that the model scales embeddings or "
                "logits by a constant that explains the ratio."
            ),
            float(min(1.0, abs(np.log10(ratio)) / 3)),
        )
    if np.isfinite(rank) and rank > 0 and abs(np.log(rank)) >= np.log(_RANK):
        yield Finding(
            "medium",
            Text(
                "{head} and {embedding} are unlike: their effective ranks are {one} and {other} "
                "of {full}.",
                {
                    "one": figure(float(view.numbers("effective_rank")[head])),
                    "other": figure(float(view.numbers("effective_rank")[embedding])),
                    "full": count(view.short[head]),
                    **pair,
                },
            ),
            names_by(view, [head, embedding], np.zeros(2)),
            {"effective_rank_share": [float(used[head]), float(used[embedding])]},
            Text("Check that both were trained: the poorer one carries fewer directions."),
            float(min(1.0, abs(np.log10(rank)))),
        )


HEAD_EMBEDDING = Rule(
    name="head_embedding",
    title="Output head unlike the embedding",
    about=(
        "the two count different tokens, or their standard deviations differ by a factor of 8, "
        "or the shares of directions that they use by a factor of 3"
    ),
    source="Press and Wolf 2017, Using the Output Embedding, arXiv 1608.05859",
    find=_find,
)
