"""What mlx-probe says of every attention layer of a model, beside what the model did."""

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from weightfiles import model_files, whole

from mlx_probe.analysis.side_tables.heads.rows import head_rows
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.compute.backends import BACKENDS
from referees.architectures.models import build, save
from referees.architectures.referee import runs_gate, runs_ov, runs_qk
from referees.architectures.spy import calls, run

RANK_TOL = 1e-6
RIGHT, WRONG = "right", "WRONG"
_FACTORS = {"qk": ("q_proj", "k_proj"), "ov": ("o_proj", "v_proj")}


@dataclass(frozen=True)
class Outcomes:
    """What was said of a model.

    Attributes:
        circuits: "qk" or "ov" to the outcomes of all layers: "right", "noted: WORDS" (right, but
            for what comes after the product), "left out: WORDS" (the model does something else,
            as the words say), "skipped: REASON" or "WRONG".
        gates: Fused gates whose part the model activates, that never ran, or that are wrong.
        unsplit: Reasons of fused matrices without parts.
    """

    circuits: dict[str, set[str]]
    gates: set[str]
    unsplit: set[str]


def outcomes(architecture, options, folder):
    """Builds, runs, saves and reads a model."""
    model = build(architecture, options)
    events = run(model)
    return read(save(model, folder), calls(events), events)


def read(file, attention, events=()):
    """What is said of a saved model, beside what it did."""
    with open_checkpoint(model_files(file, config=file.parent / "config.json")) as checkpoint:
        weights = checkpoint.weights()
        rows = list(head_rows(weights, checkpoint.architecture, BACKENDS["numpy"]("cpu"), RANK_TOL))
        return Outcomes(
            _circuits(weights, rows, attention),
            set(_gates(weights, events)),
            {weight.unsplit for weight in weights if weight.unsplit},
        )


def _circuits(weights, rows, attention):
    matrices = {(w.name, w.role.block_type): w for w in weights if w.rows is not None}
    groups = defaultdict(list)
    for row in rows:
        where = (row["layer_index"], row["component"], row.get("left_param_name"))
        groups[(*where, row.get("circuit"))].append(row)
    found = {"qk": set(), "ov": set()}
    for (*_, circuit), heads in groups.items():
        first = heads[0]
        if first["status"] != "ok":
            reason = f"skipped: {first['status_reason']}"
            for each in (circuit,) if circuit else ("qk", "ov"):
                found[each].add(reason)
            continue
        left, right = _matrices(first, matrices, *_FACTORS[circuit])
        agrees = _agrees(circuit, left, right, heads, attention)
        words = first["left_out"]
        found[circuit].add(
            (f"noted: {words}" if words else RIGHT)
            if agrees
            else (f"left out: {words}" if words else WRONG)
        )
        if agrees:
            check_metrics(circuit, left, right, heads)
    return found


def _matrices(row, matrices, left, right):
    """The two factors, outputs first; Conv1D stores them the other way round."""
    one, two = matrices[row["left_param_name"], left], matrices[row["right_param_name"], right]
    other = matrices.get((row["right_param_name"], "v_proj"), two)
    turned = any(w.part is not None and w.part.axis == 1 for w in (one, two, other))
    arrays = (whole(one).astype(np.float64), whole(two).astype(np.float64))
    return tuple(array.T if turned else array for array in arrays)


def _agrees(circuit, left, right, rows, attention):
    heads = 1 + max(row["head_index"] for row in rows)
    kv_heads = 1 + max(row["kv_head_index"] for row in rows)
    same = runs_qk if circuit == "qk" else runs_ov
    return any(same(call, left, right, heads, kv_heads) for call in attention)


def check_metrics(circuit, left, right, rows):
    """Rows of heads against their products in full."""
    heads = len(rows)
    copies = heads // (1 + max(row["kv_head_index"] for row in rows))
    axis = 0 if circuit == "qk" else 1
    one = np.split(left, heads, axis)
    two = np.repeat(np.split(right, heads // copies), copies, axis=0)
    for row in rows:
        a, b = one[row["head_index"]], two[row["head_index"]]
        product = a.T @ b if circuit == "qk" else a @ b
        sigma = np.linalg.svd(product, compute_uv=False)
        np.testing.assert_allclose(row["nuclear_norm"], sigma.sum(), rtol=1e-6)
        np.testing.assert_allclose(row["spectral_norm"], sigma[0], rtol=1e-6)


def _gates(weights, events):
    fused = {w.label: w for w in weights if w.part is None}
    for weight in weights:
        if weight.part is None or weight.part.name != "gate_proj":
            continue
        stored = whole(fused[weight.label.removesuffix(" (gate_proj)")]).astype(np.float64)
        gate = whole(weight).astype(np.float64)
        if weight.part.axis == 1:
            stored, gate = stored.T, gate.T
        ran = runs_gate(events, stored, gate)
        yield "never ran" if ran is None else RIGHT if ran else WRONG


def matches(expected, found):
    """Whether an outcome is the expected one: the same kind, and its words are found."""
    kind, _, words = expected.partition(": ")
    its_kind, _, its_words = found.partition(": ")
    return kind == its_kind and re.search(words, its_words) is not None
