"""TensorBoard's event files, written without TensorBoard.

Such a file is a sequence of records, each with its length and two check sums (TFRecord:
tensorflow/core/lib/io/record_writer.h), and each record a message of Protocol Buffers
(tensorflow/core/util/event.proto and framework/summary.proto). Of these messages a scalar needs
five fields.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from mlx_probe.core.files import replacing, write_error
from mlx_probe.runs.exporters.metrics import METRICS, Values, read_metrics

__all__ = ["crc32c", "export"]

# TensorBoard reads every file with "tfevents" in its name. Always the same name: another export
# replaces it, or each metric would be drawn twice.
_NAME = "events.out.tfevents.mlx-probe"

# The first record of a file says which version of the format it has.
_VERSION = "brain.Event:2"

# Wire types of Protocol Buffers.
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5


def export(run: Path, out: Path) -> None:
    """Write every number of every step as a scalar.

    The wall time of a step is that of the run: what the metrics call "seconds", from the moment
    on that lies so long before their last change. TensorBoard keeps scalars in float32.

    Args:
        run: The run folder.
        out: The folder for ``tensorboard --logdir``.

    Raises:
        ResultError: The metrics cannot be read, or the disk refused.
    """
    steps = list(read_metrics(run))
    last = next((_seconds(values) for values in reversed(steps)), 0.0)
    began = (run / METRICS).stat().st_mtime - last
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from error
    with replacing(out / _NAME) as temporary, temporary.open("wb") as file:
        file.write(_record(_field(1, began) + _field(3, _VERSION.encode())))
        for values in steps:
            file.write(_record(_event(began, values)))


def _seconds(values: Values) -> float:
    return float(values.get("seconds") or 0.0)


def _event(began: float, values: Values) -> bytes:
    """Event: wall_time = 1, step = 2, summary = 5, in which each value = 1."""
    summary = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value, _FLOAT))
        for name, value in values.items()
        if value is not None and name not in ("step", "seconds")
    )
    step = values["step"]
    assert isinstance(step, int)
    return _field(1, began + _seconds(values)) + _field(2, step) + _field(5, summary)


def _field(number: int, value: float | bytes, wire: int | None = None) -> bytes:
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


def _record(data: bytes) -> bytes:
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
