"""The records of TensorBoard's event files, made without TensorBoard.

Such a file is a sequence of records, each with its length and two check sums (TFRecord:
tensorflow/core/lib/io/record_writer.h), and each record a message of Protocol Buffers
(tensorflow/core/util/event.proto and framework/summary.proto). A scalar needs five fields of
them, a setting or a text some more.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlx_probe.core.files import replacing, write_error
from mlx_probe.runs.exporters.metrics import Values

__all__ = ["NAME", "begin", "crc32c", "described", "ended", "restart", "scalars", "write_file"]

# TensorBoard reads every file with "tfevents" in its name. Always the same name: another export
# replaces it, or each metric would be drawn twice.
NAME = "events.out.tfevents.mlx-probe"

# The first record of a file says which version of the format it has.
_VERSION = "brain.Event:2"

# Wire types of Protocol Buffers.
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5

# Enumerations: SessionLog.START; DT_FLOAT, DT_STRING and DATA_CLASS_TENSOR; Status of hparams.
_START = 1
_DT_FLOAT, _DT_STRING, _TENSOR = 1, 7, 2
_STATUS = {"finished": 1, "stopped early": 1, "damaged": 2, "running": 3}


def write_file(path: Path, records: Iterable[bytes]) -> None:
    """Write a file, and the folder that it lies in.

    Args:
        path: The file; replaced atomically.
        records: What it holds, `begin` first.

    Raises:
        ResultError: The disk refused.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path.parent, error) from error
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.writelines(records)


def begin(at: float) -> bytes:
    """The record that a file begins with."""
    return record(field(1, at) + field(3, _VERSION.encode()))


def restart(at: float, step: int) -> bytes:
    """What other files say of this step and later ones does not count.

    Event: wall_time = 1, step = 2, session_log = 7, in which status = 1.
    """
    return record(field(1, at) + field(2, step) + field(7, field(1, _START)))


def scalars(at: float, values: Values) -> bytes:
    """The numbers of a step; "seconds" is what ``at`` says.

    Event: wall_time = 1, step = 2, summary = 5, in which each value = 1: tag = 1,
    simple_value = 2.

    Args:
        at: When they were measured, in seconds since 1970.
        values: By name, with the step as "step".
    """
    summary = b"".join(
        field(1, field(1, _utf8(name)) + field(2, value, _FLOAT))
        for name, value in values.items()
        if value is not None and name not in ("step", "seconds")
    )
    step = values["step"]
    assert isinstance(step, int)
    return record(field(1, at) + field(2, step) + field(5, summary))


def described(at: float, params: Mapping[str, Any], texts: Mapping[str, str]) -> bytes:
    """Settings for the plugin of hyperparameters, and texts for that of texts.

    plugins/hparams/plugin_data.proto: hparams = 1 of session_start_info = 3, and
    start_time_secs = 5.

    Args:
        at: When the run began.
        params: Settings by name.
        texts: By tag, in Markdown.
    """
    entries = b"".join(
        field(1, field(1, _utf8(name)) + field(2, _value(value))) for name, value in params.items()
    )
    started = field(3, entries + field(5, at))
    shape = field(2, field(1, 1))
    values = field(1, _hparams("_hparams_/session_start_info", started)) + b"".join(
        field(1, _plugin(tag, "text", b"", field(1, _DT_STRING) + field(2, shape)
        + field(8, _utf8(text)), _TENSOR))
        for tag, text in texts.items()
    )  # fmt: skip
    return record(field(1, at) + field(5, values))


def ended(at: float, step: int, state: str) -> bytes:
    """How the run ended: session_end_info = 4 with status = 1 and end_time_secs = 2."""
    data = field(4, field(1, _STATUS.get(state, 0)) + field(2, at))
    values = field(1, _hparams("_hparams_/session_end_info", data))
    return record(field(1, at) + field(2, step) + field(5, values))


def _hparams(tag: str, data: bytes) -> bytes:
    # The version of the plugin's data is 0, which is not written. Its tensor is empty.
    return _plugin(tag, "hparams", data, field(1, _DT_FLOAT) + field(2, b""))


def _plugin(tag: str, name: str, data: bytes, tensor: bytes, data_class: int = 0) -> bytes:
    """Summary.Value: tag = 1, tensor = 8, metadata = 9."""
    metadata = field(1, field(1, _utf8(name)) + field(2, data))
    if data_class:
        metadata += field(4, data_class)
    return field(1, _utf8(tag)) + field(8, tensor) + field(9, metadata)


def _utf8(text: str) -> bytes:
    """Names of files may have what UTF-8 has not."""
    return text.encode("utf-8", "replace")


def _value(value: object) -> bytes:
    """google.protobuf.Value: number_value = 2, string_value = 3, bool_value = 4."""
    if isinstance(value, bool):
        return field(4, int(value))
    if isinstance(value, (int, float)):
        return field(2, float(value))
    return field(3, _utf8("none" if value is None else str(value)))


def field(number: int, value: float | bytes, wire: int | None = None) -> bytes:
    """A field of a message: its number and wire type, and the value.

    Args:
        number: As in the .proto file.
        value: Bytes, a whole number that is not negative, or another number.
        wire: The wire type; None for the one of the value's type.
    """
    if isinstance(value, bytes):
        return _varint(number << 3 | _BYTES) + _varint(len(value)) + value
    if wire == _FLOAT:
        return _varint(number << 3 | _FLOAT) + _float32(value)
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _DOUBLE) + struct.pack("<d", value)


def _float32(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", float("inf") if value > 0 else float("-inf"))


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def record(data: bytes) -> bytes:
    """TFRecord: length, its check sum, data, their check sum; all little-endian."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    """CRC32C, rotated and shifted: a sum of data that contain sums would be weak."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> Iterator[int]:
    for byte in range(256):
        crc = byte
        for _ in range(8):
            # Castagnoli's polynomial, bits reversed.
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        yield crc


_TABLE = tuple(_table())


def crc32c(data: bytes) -> int:
    """Castagnoli's cyclic redundancy check.

    Source: RFC 3720, appendix B.4.
    """
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
