"""Curves of training runs: the numbers of metrics.jsonl, over what was asked for."""

import json

import numpy as np
import pytest
from training_runs import make_run, metric_lines, write_metrics

from mlx_probe.core.errors import ConfigError
from mlx_probe.report.figures import plot
from mlx_probe.report.figures.series import OVER

from .test_drawing import drawn, texts


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training run without snapshots. Read only."""
    return make_run(tmp_path_factory.mktemp("steps") / "run", snapshots=())


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("metric", ["train_loss", "val_loss", "val_bpb", "learning_rate"])
@pytest.mark.parametrize("over", OVER)
def test_each_number_is_that_of_the_file(run, metric, over):
    lines = [line for line in lines_of(run) if metric in line]
    made = plot(run, metric, over=over)
    assert [record["value"] for record in made.records()] == [line[metric] for line in lines]
    assert [record[over] for record in made.records()] == [line[over] for line in lines]
    assert {record["count"] for record in made.records()} == {1}
    (axes,) = drawn(made).axes
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [line[over] for line in lines])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [line[metric] for line in lines])


def test_labels_say_what_is_drawn(run):
    assert {"Validation bits per byte (bits/byte)", "Tokens"} <= {
        *texts(drawn(plot(run, "val_bpb", over="tokens")))
    }
    assert "Time (s)" in texts(drawn(plot(run, "train_loss", over="seconds")))


def test_a_long_run_keeps_its_jumps(tmp_path):
    folder = make_run(tmp_path / "long", snapshots=())
    lines = metric_lines(steps=9_000)
    lines[4_321]["train_loss"] = 99.0
    write_metrics(folder, lines)
    records = plot(folder, "train_loss").records()
    assert len(records) == 1_800
    assert max(record["high"] for record in records) == 99.0
    assert sum(record["count"] for record in records) == 9_000
    assert records[-1]["step"] == 9_000
    first = [line["train_loss"] for line in lines[1:6]]
    assert records[0]["value"] == pytest.approx(np.mean(first), rel=1e-12)
    assert (records[0]["low"], records[0]["high"]) == (min(first), max(first))
    assert len(drawn(plot(folder, "train_loss")).axes[0].collections) == 1


def test_several_runs_have_a_curve_each(run, tmp_path):
    other = make_run(tmp_path / "other", seed=1, snapshots=(), finished=False)
    figure = drawn(plot([run, other], "train_loss", width="column"))
    assert len(figure.axes[0].lines) == 2
    assert texts(figure)[-2:] == ["run", "other"]


def test_bits_per_byte_of_training_follow_from_the_text(run):
    records = plot(run, "train_bpb").records()
    loss = lines_of(run)[1]["train_loss"]
    assert records[0]["value"] == pytest.approx(loss / np.log(2) / 1.95, rel=1e-12)


@pytest.mark.parametrize("form", ["svg", "png", "pdf", "csv"])
def test_the_same_bytes_each_time(run, tmp_path, form):
    made = [
        plot(run, "train_loss").save(tmp_path / f"{n}.{form}", dpi=60).read_bytes() for n in (1, 2)
    ]
    assert made[0] == made[1]
    assert len(made[0]) > 1000


@pytest.mark.parametrize(
    ("metric", "choices", "says"),
    [
        (None, {}, "needs a metric"),
        ("val_bbp", {}, "Did you mean val_bpb"),
        ("stable_rank", {}, "Choose from val_loss, val_bpb, train_loss"),
        ("val_bpb", {"view": "map"}, "no view 'map'"),
        ("val_bpb", {"only": "q_proj"}, "no tensors, groups and tables"),
        ("val_bpb", {"over": "epochs"}, "cannot be drawn over 'epochs'"),
    ],
)
def test_what_has_no_meaning_is_refused(run, metric, choices, says):
    with pytest.raises(ConfigError) as raised:
        plot(run, metric, **choices)
    assert says in str(raised.value)


def test_a_measurement_has_no_steps(run, whole):
    for runs, choices in (([whole], {"over": "step"}), ([run, whole], {"over": "tokens"})):
        with pytest.raises(ConfigError, match="only training runs have steps"):
            plot(runs, "std", **choices)
