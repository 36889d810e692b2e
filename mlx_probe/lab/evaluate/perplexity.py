"""How well a model predicts a text.

    val_loss      = sum of nats / tokens
    perplexity    = exp(val_loss)
    bits_per_byte = sum of nats of tokens that stand for text / (ln 2 x UTF-8 bytes of these tokens)

as a training run evaluates itself. Perplexities of models with different vocabularies cannot be
compared: a larger vocabulary has fewer tokens, and more nats in each. Bits per byte can.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.lab.evaluate.bootstrap import LEVEL, RESAMPLES, ratio_intervals
from mlx_probe.lab.evaluate.config import EvaluateConfig
from mlx_probe.lab.evaluate.data import open_text
from mlx_probe.lab.evaluate.protocol import OnProgress, Task
from mlx_probe.lab.evaluate.windows import Window, windows
from mlx_probe.lab.train.loss import next_token_nats

if TYPE_CHECKING:
    from mlx_probe.lab.generate.loading import LoadedModel

__all__ = ["PERPLEXITY", "token_nats"]

# A context of tens of thousands would need gigabytes for the logits of one window.
LONGEST = 2048
# Logits of one forward pass at most, and rows.
LOGITS, ROWS = 1 << 26, 64
# Fewer documents say too little about others, and windows are resampled instead.
FEWEST = 30


def _run(
    loaded: LoadedModel, data: str, config: EvaluateConfig, on_progress: OnProgress
) -> Mapping[str, Any]:
    context, stride = _lengths(loaded, config)
    text = open_text(loaded, data, config)
    chosen = _within(windows(len(text.tokens), context, stride, text.has_tail), config.max_tokens)
    start = time.perf_counter()
    nats = token_nats(loaded, text.tokens, chosen, on_progress)
    seconds = time.perf_counter() - start

    targets = np.arange(1, 1 + len(nats))
    tokens = np.asarray(text.tokens[1 : 1 + len(nats)])
    # What the tokenizer puts before each document is given, not predicted.
    counted = ~np.isin(tokens, loaded.first)
    targets, tokens, nats = targets[counted], tokens[counted], nats[counted]
    nbytes = loaded.tokenizer.token_bytes()[tokens].astype(np.float64)
    documents = text.document_of(targets)
    count = len(np.unique(documents))
    is_few = count < FEWEST
    unit = (targets - 1) // context if is_few else documents
    sums = _sums(unit, nats, nbytes)
    ratios = {"val_loss": (sums[0], sums[1]), "bits_per_byte": (sums[2] / math.log(2), sums[3])}
    totals = {name: float(above.sum() / below.sum()) for name, (above, below) in ratios.items()}
    intervals = ratio_intervals(ratios, config.seed)
    return {
        "split": text.split,
        **totals,
        "perplexity": _exp(totals["val_loss"]),
        "intervals": {
            "level": LEVEL,
            "unit": "windows" if is_few else "documents",
            "units": len(sums[0]),
            "resamples": RESAMPLES,
            "seed": config.seed,
            **{name: list(ends) for name, ends in intervals.items()},
            "perplexity": [_exp(end) for end in intervals["val_loss"]],
        },
        "tokens": len(nats),
        "bytes": int(nbytes.sum()),
        "documents": count,
        "context": context,
        "stride": stride,
        "tokenizer": loaded.tokenizer.fingerprint,
        "data_fingerprint": text.fingerprint,
        "retokenized": text.retokenized,
        "seconds": seconds,
    }


def token_nats(
    loaded: LoadedModel,
    tokens: NDArray[np.integer],
    chosen: Sequence[Window],
    on_progress: OnProgress = lambda done, total: None,
) -> NDArray[np.float64]:
    """Nats of each token after the first.

    Args:
        loaded: The model.
        tokens: (N,).
        chosen: Windows that score tokens 1, 2 ... once each, in order.
        on_progress: Called after each forward pass.

    Returns:
        One number for each token that is scored.

    Raises:
        CheckpointError: The model predicts NaN.
    """
    total = chosen[-1].stop - 1
    found = np.empty(total)
    vocabulary = loaded.tokenizer.vocabulary
    for batch in _batches(chosen, vocabulary):
        rows = np.stack([tokens[window.start : window.stop] for window in batch])
        nats = np.array(next_token_nats(loaded.model, mx.array(rows.astype(np.int32))))
        for window, row in zip(batch, nats, strict=True):
            found[window.scored - 1 : window.stop - 1] = row[window.scored - window.start - 1 :]
        on_progress(batch[-1].stop - 1, total)
        if not np.isfinite(found[batch[0].scored - 1 : batch[-1].stop - 1]).all():
            raise CheckpointError(
                f"{loaded.name} predicts probabilities that are not numbers",
                "Look for weights that are not finite with `mlx-probe analyze`",
            )
    return found


def _lengths(loaded: LoadedModel, config: EvaluateConfig) -> tuple[int, int]:
    longest = loaded.context or LONGEST
    context = config.context or min(longest, LONGEST)
    if context > longest:
        raise ConfigError(
            f"--context {context} is more than the {longest} of {loaded.name}",
            f"Choose {longest} or less",
        )
    stride = config.stride or context
    if stride > context:
        raise ConfigError(
            f"--stride {stride} is more than the context of {context}: it would leave tokens out",
            f"Choose {context} or less",
        )
    return context, stride


def _within(found: Iterator[Window], tokens: int) -> list[Window]:
    """The first windows, until enough tokens are scored; all for 0."""
    chosen = []
    for window in found:
        chosen.append(window)
        if tokens and window.stop - 1 >= tokens:
            break
    return chosen


def _batches(chosen: Sequence[Window], vocabulary: int) -> Iterator[list[Window]]:
    """Windows of one length together."""
    batch: list[Window] = []
    for window in chosen:
        length = window.stop - window.start
        full = len(batch) >= min(ROWS, max(LOGITS // (length * vocabulary), 1))
        if batch and (full or length != batch[0].stop - batch[0].start):
            yield batch
            batch = []
        batch.append(window)
    yield batch


def _sums(
    unit: NDArray[np.integer], nats: NDArray[np.float64], nbytes: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Of each unit: nats, tokens, nats of tokens with bytes, bytes."""
    _, number = np.unique(unit, return_inverse=True)
    columns = (nats, np.ones_like(nats), np.where(nbytes > 0, nats, 0.0), nbytes)
    return [np.bincount(number, column).astype(np.float64) for column in columns]


def _exp(nats: float) -> float:
    # exp(710) is more than a float holds.
    return math.exp(min(nats, 709.0))


PERPLEXITY = Task(title="how well the model predicts a text", run=_run)
