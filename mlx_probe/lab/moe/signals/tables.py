"""The rows of a run of signals: of its windows, its experts and the tokens of the map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.records import Row
from mlx_probe.lab.moe.signals.integrity import RunningScore, integrity, integrity_z
from mlx_probe.lab.moe.signals.surprise import ExpertSums

if TYPE_CHECKING:
    from mlx_probe.lab.data.tokenizer import Tokenizer
    from mlx_probe.lab.moe.signals.config import SignalsConfig
    from mlx_probe.lab.moe.signals.window import WindowSignals

__all__ = ["WindowRows", "expert_rows", "layer_facts", "token_rows"]


class WindowRows:
    """Makes the rows of windows, in order: each is compared with those before.

    Args:
        config: Settings.
    """

    def __init__(self, config: SignalsConfig) -> None:
        self._config = config
        self._ratio, self._norm = RunningScore(config.decay), RunningScore(config.decay)

    def __call__(self, number: int, window: WindowSignals) -> Row:
        """The row of the next window."""
        config = self._config
        loss, uncertainty = float(window.nats.mean()), float(window.entropy.mean())
        # A model that is sure of everything has no uncertainty to divide by.
        ratio = loss / max(uncertainty, float(np.finfo(np.float32).tiny))
        z = self._ratio(ratio), self._norm(window.grad_norm)
        found = {
            "window": number,
            "first_token": number * len(window.nats),
            "tokens": len(window.nats),
            "loss": loss,
            "entropy": uncertainty,
            "grad_norm": window.grad_norm,
            "error_ratio": ratio,
            "integrity": integrity(ratio, window.grad_norm, config.alpha, config.gamma),
            "integrity_z": integrity_z(*z, config.alpha, config.gamma),
        }
        if window.experts:
            active = sum(float(each.tokens.sum()) for each in window.experts)
            for name in ("output", "input"):
                whole = sum(float(getattr(each, name).sum()) for each in window.experts)
                found[f"{name}_surprise"] = whole / active if active else None
        return Row(number, found)


def expert_rows(layers: Sequence[int], sums: Sequence[ExpertSums]) -> Iterator[Row]:
    """A row for each expert of each mixture.

    Args:
        layers: The layer of each mixture.
        sums: Over all windows.
    """
    index = 0
    for layer, each in zip(layers, sums, strict=True):
        for expert, tokens in enumerate(each.tokens):
            values: dict[str, Any] = {"layer": layer, "expert": expert, "tokens": int(tokens)}
            means = (
                ("weight", each.weight),
                ("output_surprise", each.output),
                ("input_surprise", each.input),
            )
            values |= {name: float(of[expert] / tokens) for name, of in means if tokens}
            for name in ("least_weight", "least_output", "least_input"):
                values[name] = int(getattr(each, name)[expert])
            yield Row(index, values)
            index += 1


def layer_facts(layers: Sequence[int], sums: Sequence[ExpertSums]) -> list[dict[str, Any]]:
    """Of each mixture, how often the least weight and the least surprise are of one expert.

    Args:
        layers: The layer of each mixture.
        sums: Over all windows.
    """
    facts = []
    for layer, each in zip(layers, sums, strict=True):
        counted = float(each.counted[0])
        shares = {
            "output": each.output_agrees, "input": each.input_agrees, "chance": each.chance
        }  # fmt: skip
        facts.append(
            {
                "layer": layer,
                "experts": len(each.tokens),
                "tokens": int(counted),
                **{
                    name: float(of[0]) / counted if counted else None for name, of in shares.items()
                },
                "identity_off": float(each.off[0]),
            }
        )
    return facts


def token_rows(
    rows: NDArray[np.int32],
    windows: Sequence[WindowSignals],
    tokenizer: Tokenizer,
    most: int,
) -> Iterator[Row]:
    """A row for each of the first tokens.

    Args:
        rows: The text, (windows, T + 1).
        windows: In order.
        tokenizer: Of the model.
        most: Tokens at most.
    """
    length = rows.shape[1] - 1
    for index in range(min(most, len(rows) * length)):
        number, place = divmod(index, length)
        token = int(rows[number, place])
        yield Row(
            index,
            {
                "window": number,
                "token": token,
                "text": tokenizer.decode([token], special=True),
                "loss": float(windows[number].nats[place]),
                "entropy": float(windows[number].entropy[place]),
            },
        )
