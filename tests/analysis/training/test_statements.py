"""What is said of a training run, against series that are planted."""

import numpy as np
import pandas as pd
import pytest
from training_runs import FROZEN_AT, FROZEN_LAYER, LOST, LOST_AT, SNAPSHOTS, make_run

import mlx_probe
from mlx_probe.analysis.training.history import History, history_of
from mlx_probe.analysis.training.outcome import outcome_of, outcome_texts
from mlx_probe.analysis.training.spectral_change import LIMIT, settled_at
from mlx_probe.analysis.training.statements import statements

STEPS = (0, 1, 10, 100, 1000)


def planted(changes=None, **columns):
    """Matrices a and b of layer 0, c of layer 1 and d outside, with series of some columns."""
    layers = {"a": 0, "b": 0, "c": 1, "d": None}
    rows = [
        {"step": step, "param_name": name, "layer_index": layer}
        | {column: series[name][at] for column, series in columns.items() if name in series}
        for at, step in enumerate(STEPS)
        for name, layer in layers.items()
    ]
    known = {name: np.asarray(values, float) for name, values in (changes or {}).items()}
    return History(STEPS, list(layers), layers, pd.DataFrame(rows), known)


def sentences(history, done=1000):
    return [statement.sentence.english for statement in statements(history, done)]


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ([0.5, 0.4, 0.2, 0.005, 0], 100),
        ([0.5, 0.4, 0.2, 2 * LIMIT, 0], None),
        ([LIMIT, LIMIT, 0, 0, 0], 0),
        # It came near, and went away again.
        ([0.5, 0.001, 0.2, 0.001, 0], 100),
        ([0.5, np.nan, 0.001, 0.001, 0], None),
        ([np.inf, 0, 0, 0, 0], 1),
    ],
)
def test_when_a_spectrum_settled(changes, step):
    assert settled_at(np.array(changes), STEPS) == step


def test_a_layer_stops_with_its_last_matrix():
    slow, fast = [0.5, 0.4, 0.2, 0.001, 0], [0.5, 0.4, 0.001, 0.001, 0]
    said = sentences(planted({"a": slow, "b": fast, "c": fast, "d": slow}))
    assert said == [
        "Layer 1 stopped changing after step 10.",
        "Layer 0 stopped changing after step 100.",
        "d stopped changing after step 100.",
    ]


def test_a_matrix_that_stops_before_its_layer():
    moving, fast, never = [0.5, 0.4, 0.3, 0.2, 0], [0.5, 0.001, 0, 0, 0], [0.001] * 5
    said = sentences(planted({"a": moving, "b": fast, "c": never, "d": moving}))
    assert said == [
        "Layer 1 changed by less than 1 % in the whole training.",
        "Still changing at the end: layer 0.",
        "b stopped changing after step 1.",
    ]


def test_heavy_tails():
    alpha = {"a": [9, 9, 5, 4, 3.0], "b": [3.0] * 5, "c": [9, 9, 9, 3, 9], "d": [7, 7, 7, 7, 1.5]}
    reliable = {"a": [0, 0, 1, 1, 1], "b": [1] * 5, "c": [1] * 5, "d": [1] * 5}
    history = planted(alpha=alpha, alpha_reliable=reliable)
    tails, over = statements(history, 1000)
    assert tails.sentence.english == (
        "2 matrices got a heavy tail, the heaviest d: its alpha is 1.5, and its fit reliable since "
        "step 1,000."
    )
    assert tails.evidence["steps"] == {"d": 1000, "a": 10}
    assert over.sentence.english == "The alpha of d ends below 2, at 1.5: it looks overfitted."
    # Without reliable fits nothing is said.
    unreliable = dict.fromkeys(alpha, [0] * 5)
    assert statements(planted(alpha=alpha, alpha_reliable=unreliable), 1000) == []


def test_rank():
    rank = {"a": [8, 8, 7, 6, 6], "b": [8] * 5, "c": [8, 7, 8, 8, 8], "d": [8] * 5}
    effective = {"a": [8.0] * 5, "b": [8, 8, 8, 5, 3.5], "c": [8.0] * 5, "d": [8, 8, 8, 8, 4.5]}
    said = sentences(planted(rank=rank, effective_rank=effective))
    assert said == [
        "a lost rank: from 8 to 6, first seen at step 10.",
        "The effective rank of b fell from 8 to 3.5.",
    ]


def test_snapshots_that_are_behind_are_said_to_be():
    said = sentences(planted({"c": [0.5, 0, 0, 0, 0]}), done=1500)
    assert said[0].startswith("The last measured snapshot is of step 1,000, and training has come")


def test_one_snapshot_says_nothing():
    history = History((0,), ["a"], {"a": 0}, pd.DataFrame(), {})
    assert statements(history, 0) == []


def test_a_run_says_what_was_planted_in_its_weights(trained):
    run = mlx_probe.load_training_run(trained)
    history = history_of(run)
    assert tuple(history.steps) == SNAPSHOTS
    # Mirsky: the spectra are as close as the weights at most.
    last, first = run.spectra(300), run.spectra(0)
    own = [
        np.array(frame.set_index("param_name")["singular_values"][LOST]) for frame in (first, last)
    ]
    distance = np.linalg.norm(own[0] - own[1]) / np.linalg.norm(own[1])
    assert history.changes[LOST][0] == pytest.approx(distance, rel=1e-12)
    said = [statement.sentence.english for statement in statements(history, run.steps_done)]
    assert f"Layer {FROZEN_LAYER} stopped changing after step {FROZEN_AT}." in said
    assert "Still changing at the end: layers 0, 2." in said
    assert any(
        s.startswith(f"{LOST} lost rank: from 48 to 44, first seen at step 300") for s in said
    )
    assert LOST_AT < 300


def test_the_outcome(trained):
    run = mlx_probe.load_training_run(trained)
    outcome = outcome_of(run)
    known = run.metrics["val_bpb"].dropna()
    assert outcome.best_bpb == known.min()
    assert outcome.best_bpb_step == run.metrics["step"][known.idxmin()]
    assert outcome.tokens_per_second == pytest.approx(run.metrics["tokens_per_second"].median())
    first, best, speed = [text.english for text in outcome_texts(outcome)]
    assert first == "All 300 planned steps are done."
    assert f"{known.min():.4f} bits per byte" in best
    assert speed.startswith("76,800 tokens were seen")


def test_an_early_stop_is_said(tmp_path):
    folder = make_run(tmp_path / "run", snapshots=(), stopped_early=True)
    (folder / "metrics.jsonl").write_text('{"step": 0, "val_loss": 3.0}\n')
    texts = [t.english for t in outcome_texts(outcome_of(mlx_probe.load_training_run(folder)))]
    assert texts == [
        "Training stopped early after 0 of 300 steps: the validation loss no longer improved."
    ]
