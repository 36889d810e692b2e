"""What every training keeps of its metrics, and the event files of TensorBoard."""

import json
import math
import struct

import pytest
from exported_runs import PARAMS, STEPS, exported, points
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.exporters import tensorboard as exporter
from mlx_probe.runs.exporters.events import crc32c
from mlx_probe.runs.exporters.kept import KEPT


@pytest.mark.parametrize("name", KEPT)
def test_each_replaces_its_own_file_and_leaves_the_run_alone(name, run, tmp_path):
    export, before = KEPT[name], (run / "metrics.jsonl").read_bytes()
    out = tmp_path / "elsewhere" / name
    out.parent.mkdir()
    for _ in range(2):
        export(run, out)
    made = [path for path in out.parent.rglob("*") if path.is_file()]
    assert len(made) == 1
    assert (run / "metrics.jsonl").read_bytes() == before
    first = made[0].read_bytes()
    export(run, out)
    assert made[0].read_bytes() == first


@pytest.mark.parametrize("name", KEPT)
def test_what_cannot_be_exported_has_one_message(name, run, tmp_path):
    export, out = KEPT[name], tmp_path / "out"
    with pytest.raises(ResultError, match=r"none/metrics.jsonl cannot be read: No such file"):
        export(tmp_path / "none", out)
    for line in ("{", '{"tokens": 1}', '{"step": "a"}', "[]"):
        (run / "metrics.jsonl").write_text(json.dumps(STEPS[0]) + f"\n{line}\n")
        with pytest.raises(ResultError, match=r"metrics.jsonl, line 2, is damaged"):
            export(run, out)
    assert not out.is_file()


def test_the_table_has_types(run):
    KEPT["metrics.parquet"](run, run / "metrics.parquet")
    table = parquet.read_table(run / "metrics.parquet")
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds == {
        "step": "int64", "tokens": "int64", "val_loss": "double", "val_bpb": "double",
        "seconds": "double", "train_loss": "double", "grad_norm": "double",
    }  # fmt: skip
    assert [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()] == [
        {k: v for k, v in step.items() if v is not None} for step in STEPS[:4]
    ]


def events_of(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_every_scalar(run):
    KEPT["tensorboard"](run, run / "tensorboard")
    events = events_of(run / "tensorboard")
    names = {name for step in STEPS[:4] for name in step} - {"step", "seconds"}
    assert set(events.Tags()["scalars"]) == names
    began = events.Scalars("tokens")[0].wall_time - 0.5
    for name in names:
        read = [(event.step, event.value, event.wall_time) for event in events.Scalars(name)]
        assert read == [
            (step["step"], as_float32(step[name]), pytest.approx(began + step["seconds"], abs=1e-5))
            for step in STEPS[:4]
            if step.get(name) is not None
        ]


def scalars_of(folder):
    events = events_of(folder)
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def expected_scalars(run):
    return {
        name: [(step, as_float32(value)) for step, value in values]
        for name, values in points(run).items()
        if name != "seconds"
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_an_export_of_a_run(tmp_path):
    from tensorboard.plugins.hparams import metadata

    run = exported()
    for _ in range(2):
        folder = exporter.write(run, tmp_path)
    assert repr(scalars_of(folder)) == repr(expected_scalars(run))
    events = events_of(folder)
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    info = metadata.parse_session_start_info_plugin_data(start)
    read = {name: getattr(each, each.WhichOneof("kind")) for name, each in info.hparams.items()}
    assert read == {"kind": "train", **PARAMS, "model.window": "none"}
    assert info.start_time_secs == run.began
    end = events.summary_metadata["_hparams_/session_end_info"].plugin_data.content
    assert metadata.parse_session_end_info_plugin_data(end).status == 1
    text = events.Tensors("run/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| note | The first one.\\nLearns. |" in text.replace("\\\\", "\\")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_follows_a_run_that_is_killed(tmp_path):
    """The steps after the last checkpoint are made again, with other numbers."""
    begun = exported(state="running", ended=None, finals={}, steps=STEPS[:1])
    log = exporter.open_log(begun, tmp_path)
    log.log(STEPS[1])
    log.log({"step": 2, "train_loss": 7.75})
    log._file.close()
    killed = tmp_path / begun.slug
    assert scalars_of(killed)["train_loss"] == [(1, as_float32(6.9)), (2, 7.75)]
    again = exporter.open_log(exported(ended=None, finals={}, steps=STEPS[:2]), tmp_path)
    for values in STEPS[2:]:
        again.log(values)
    again.close(exported())
    assert len(list(killed.iterdir())) == 1
    assert repr(scalars_of(killed)) == repr(expected_scalars(exported()))
    exporter.write(exported(), tmp_path)
    assert [path.name for path in killed.iterdir()] == ["events.out.tfevents.mlx-probe"]


def as_float32(value):
    return math.inf if value > 3.5e38 else struct.unpack("<f", struct.pack("<f", value))[0]


def test_a_damaged_record_is_noticed(run):
    """By the check sums, as TensorBoard does."""
    KEPT["tensorboard"](run, run / "tensorboard")
    data = next((run / "tensorboard").iterdir()).read_bytes()
    assert len(list(records(data))) == 1 + 4
    for place in (3, 9, 20, len(data) - 30):
        spoilt = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        with pytest.raises(AssertionError):
            list(records(spoilt))


def records(data):
    def checked(part, masked):
        crc = (masked - 0xA282EAD8) & 0xFFFFFFFF
        assert (crc >> 17 | crc << 15) & 0xFFFFFFFF == crc32c(part)

    while data:
        length, masked = struct.unpack_from("<QI", data)
        checked(data[:8], masked)
        (last,) = struct.unpack_from("<I", data, 12 + length)
        checked(data[12 : 12 + length], last)
        yield data[12 : 12 + length]
        data = data[16 + length :]


def test_known_check_sums():
    # RFC 3720, appendix B.4.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(max_size=64), st.integers(0, 511))
def test_a_changed_bit_changes_the_check_sum(data, bit):
    place = bit // 8 % max(len(data), 1)
    if data:
        changed = data[:place] + bytes([data[place] ^ 1 << bit % 8]) + data[place + 1 :]
        assert crc32c(changed) != crc32c(data)
