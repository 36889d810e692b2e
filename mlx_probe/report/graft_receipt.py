"""The receipt of a graft, as reports show it: read, as facts, and in words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mlx_probe.core.errors import ResultError
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.records import Column
from mlx_probe.core.units import format_size
from mlx_probe.runs.answers import read_object
from mlx_probe.runs.mixture.folder import RECEIPT

__all__ = ["COLUMNS", "damage_frame", "graft_facts", "graft_sentences", "is_graft", "read_graft"]

_FIELDS = frozenset({"model", "stock", "form", "layers", "experts", "active", "run", "damage"})

COLUMNS: tuple[Column, ...] = (
    Column(
        "active", "int64", "damage", "Experts of each token.", lower=1, title="Experts of a token",
        plain="How many experts each token may use.",
    ),
    Column(
        "loss", "float64", "damage", "Mean cross-entropy with that many experts.", lower=0,
        title="Loss", unit="nats/token", plain="How badly the mixture predicts the next token.",
    ),
    Column(
        "added", "float64", "damage", "Loss minus that of the dense model.", title="Damage",
        unit="nats/token", plain="What leaving out the other experts costs.",
    ),
)  # fmt: skip


def is_graft(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of a graft, or its receipt."""
    given = Path(path)
    return (given.name == RECEIPT and given.is_file()) or (given / RECEIPT).is_file()


def read_graft(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The receipt of a graft.

    Raises:
        ResultError: It is damaged.
    """
    given = Path(path)
    file = given if given.name == RECEIPT else given / RECEIPT
    receipt = read_object(file)
    if lacking := _FIELDS - receipt.keys():
        raise ResultError(f"{file} has no {min(lacking)}", "Graft the model again")
    return receipt


def damage_frame(receipt: Mapping[str, Any]) -> pd.DataFrame:
    """The damage curve by rising numbers of experts: `COLUMNS`; empty if nothing was run."""
    rows = sorted(receipt["damage"], key=lambda row: row["active"])
    active, loss = ([row[name] for row in rows] for name in ("active", "loss"))
    frame = pd.DataFrame({"active": pd.array(active, "Int64"), "loss": pd.array(loss, "float64")})
    before = receipt.get("loss_before")
    added = frame["loss"] - (float("nan") if before is None else before)
    whole: pd.DataFrame = frame.assign(added=added)
    return whole


def graft_facts(receipt: Mapping[str, Any]) -> dict[str, str]:
    """What the graft is, as labelled lines."""
    split, tokens = receipt.get("split"), receipt.get("tokens")
    size = receipt.get("bytes")
    return {
        label: text
        for label, text in {
            tr("dense model"): str(receipt["model"]),
            tr("mixture"): str(receipt["stock"]),
            tr("form"): str(receipt["form"]),
            tr("split"): "" if split is None else str(split),
            tr("layers"): str(receipt["layers"]),
            tr("experts of a layer"): str(receipt["experts"]),
            tr("hidden units of an expert"): str(receipt.get("width", "")),
            tr("experts of a token"): str(receipt["active"]),
            tr("parameters"): f"{receipt['parameters']:,}" if "parameters" in receipt else "",
            tr("size"): format_size(size) if isinstance(size, int) else "",
            tr("seed"): str(receipt.get("seed", "")),
            tr("text"): str(receipt.get("data") or ""),
            tr("tokens"): "" if tokens is None else f"{tokens:,}",
            tr("device"): str(receipt.get("device") or ""),
            "mlx-probe": str(receipt.get("mlx_probe", "")),
        }.items()
        if text
    }


def graft_sentences(receipt: Mapping[str, Any]) -> list[str]:
    """What the receipt says, in the reader's language."""
    said = [translated(note) for note in receipt.get("notes", ())]
    if not receipt["run"]:
        return [*said, tr("The models were not run: the receipt has no loss.")]
    before, after = receipt["loss_before"], receipt["loss_after"]
    said.append(
        tr(
            "The loss of the dense model is {before} nats a token, that of the mixture {after}; "
            "the largest difference of a logit over {tokens} tokens is {difference}.",
            before=f"{before:.4f}",
            after=f"{after:.4f}",
            tokens=f"{receipt['tokens']:,}",
            difference=f"{receipt['max_logit_difference']:.2g}",
        )
    )
    experts, losses = receipt["experts"], {r["active"]: r["loss"] for r in receipt["damage"]}
    for share, name in ((0.75, tr("three quarters")), (0.5, tr("half")), (0.25, tr("a quarter"))):
        active = round(share * experts)
        if 0 < active < experts and active in losses:
            said.append(
                tr(
                    "With {name} of the experts ({active} of {experts}) for each token the loss "
                    "is {loss}, {added} more than the dense model's.",
                    name=name,
                    active=active,
                    experts=experts,
                    loss=f"{losses[active]:.3f}",
                    added=f"{losses[active] - before:.3f}",
                )
            )
    said.append(
        tr(
            "Experts of a token are those with the largest outputs for it: no router can know "
            "them beforehand."
        )
        if receipt["form"] == "sum"
        else tr("Experts of a token are those that the router prefers.")
    )
    return said
