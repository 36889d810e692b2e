"""Metrics in other formats: read back by the tools that they are for."""

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.exporters import EXPORTERS
from mlx_probe.runs.exporters.tensorboard import crc32c

STEPS = [
    {"step": 0, "tokens": 0, "val_loss": 6.93, "val_bpb": 4.25, "seconds": 0.5},
    {"step": 1, "tokens": 1024, "train_loss": 6.9, "grad_norm": 1, "seconds": 1.0},
    {"step": 2, "tokens": 2048, "train_loss": 6.5, "grad_norm": 0.7, "seconds": 1.5},
    {"step": 300, "tokens": 3 << 40, "train_loss": 1e300, "grad_norm": None, "seconds": 2.0},
]  # fmt: skip


@pytest.fixture
def run(tmp_path):
    lines = [json.dumps(step) for step in STEPS]
    # The last line is being written just now.
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 301, "tok']))
    return tmp_path


@pytest.mark.parametrize("name", EXPORTERS)
def test_each_replaces_its_own_file_and_leaves_the_run_alone(name, run, tmp_path):
    exporter, before = EXPORTERS[name], (run / "metrics.jsonl").read_bytes()
    out = tmp_path / "elsewhere" / exporter.name
    out.parent.mkdir()
    for _ in range(2):
        exporter.export(run, out)
    made = [path for path in out.parent.rglob("*") if path.is_file()]
    assert len(made) == 1
    assert (run / "metrics.jsonl").read_bytes() == before
    first = made[0].read_bytes()
    exporter.export(run, out)
    assert made[0].read_bytes() == first


@pytest.mark.parametrize("name", EXPORTERS)
def test_what_cannot_be_exported_has_one_message(name, run, tmp_path):
    export, out = EXPORTERS[name].export, tmp_path / "out"
    with pytest.raises(ResultError, match=r"none/metrics.jsonl cannot be read: No such file"):
        export(tmp_path / "none", out)
    for line in ("{", '{"tokens": 1}', '{"step": "a"}', "[]"):
        (run / "metrics.jsonl").write_text(json.dumps(STEPS[0]) + f"\n{line}\n")
        with pytest.raises(ResultError, match=r"metrics.jsonl, line 2, is damaged"):
            export(run, out)
    assert not out.is_file()


def test_the_table_has_types(run):
    EXPORTERS["parquet"].export(run, run / "metrics.parquet")
    table = parquet.read_table(run / "metrics.parquet")
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds == {
        "step": "int64", "tokens": "int64", "val_loss": "double", "val_bpb": "double",
        "seconds": "double", "train_loss": "double", "grad_norm": "double",
    }  # fmt: skip
    assert [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()] == [
        {k: v for k, v in step.items() if v is not None} for step in STEPS
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_every_scalar(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    EXPORTERS["tensorboard"].export(run, run / "tensorboard")
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    names = {name for step in STEPS for name in step} - {"step", "seconds"}
    assert set(events.Tags()["scalars"]) == names
    began = events.Scalars("tokens")[0].wall_time - 0.5
    for name in names:
        read = [(event.step, event.value, event.wall_time) for event in events.Scalars(name)]
        assert read == [
            (step["step"], as_float32(step[name]), pytest.approx(began + step["seconds"], abs=1e-5))
            for step in STEPS
            if step.get(name) is not None
        ]


def as_float32(value):
    return math.inf if value > 3.5e38 else struct.unpack("<f", struct.pack("<f", value))[0]


def test_a_damaged_record_is_noticed(run):
    """By the check sums, as TensorBoard does."""
    EXPORTERS["tensorboard"].export(run, run / "tensorboard")
    data = next((run / "tensorboard").iterdir()).read_bytes()
    assert len(list(records(data))) == 1 + len(STEPS)
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
