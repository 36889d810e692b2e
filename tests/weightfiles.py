"""Weight files for the tests, written by the formats' own libraries or byte by byte."""

import json
import re
import struct

import numpy as np
import pytest
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.dtypes import decode
from mlx_probe.core.errors import CheckpointError
from mlx_probe.core.records import ModelFiles


def model_files(*weights, index=None, config=None):
    return ModelFiles("test", "local", weights[0].parent, tuple(weights), index, config)


def safetensors_bytes(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), begin=0, end=8):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write_safetensors(path, arrays, dtype="F32", metadata=None):
    """Little-endian arrays back to back: name -> array, or (array, dtype name)."""
    header, parts, end = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    for name, array in arrays.items():
        array, kind = array if isinstance(array, tuple) else (array, dtype)
        begin, end = end, end + array.nbytes
        header[name] = entry(kind, array.shape, begin, end)
        parts.append(array.tobytes())
    path.write_bytes(safetensors_bytes(header, b"".join(parts)))
    return path


def write_gguf(path, tensors, alignment=32, architecture="llama", **scalars):
    """Stored arrays with their types: name -> (array, type name)."""
    writer = GGUFWriter(path, architecture)
    writer.add_custom_alignment(alignment)
    for key, value in scalars.items():
        writer.add_uint32(key.replace("__", "."), value)
    writer.add_array("tokenizer.ggml.tokens", ["a", "bc", ""] * 50)
    writer.add_array("tokenizer.ggml.scores", [0.5] * 150)
    writer.add_string("general.name", "tiny")
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, array, raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(value)) + value


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def listed(name="w", dims=(8,), kind=0, offset=0):
    sizes = struct.pack(f"<{len(dims)}Q", *dims)
    return text(name) + struct.pack("<I", len(dims)) + sizes + struct.pack("<IQ", kind, offset)


def gguf_bytes(pairs=(), entries=(), data=b"", version=3, counts=None):
    tensors, values = counts or (len(entries), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, values)
    head += b"".join(pairs) + b"".join(entries)
    return head + bytes(-len(head) % 32) + data


def edited(original, edits, cut):
    """A file cut off and overwritten: edits are (position, bytes), wherever they fall."""
    content = bytearray(original[:cut])
    for position, patch in edits:
        start = position % (len(content) + 1)
        content[start : start + len(patch)] = patch
    return bytes(content)


def whole(weight):
    """All chunks put together along the long side; a block of rows has to be a part of it."""
    chunks = [np.array(chunk) for chunk in weight.chunks()]
    wide = weight.rows is not None and weight.rows < weight.cols
    elements = np.concatenate(chunks, axis=1 if wide else 0)
    if weight.rows is not None:
        first, last = weight.rows // 3, weight.rows // 3 + 1
        values = decode(elements[first:last], weight.chunk_dtype)
        np.testing.assert_array_equal(weight.block(first, last), values)
    return elements


def check_refused(path, content, fact):
    """A file with this content is one message that names the file and the fact, and a remedy."""
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))}: .*{fact}") as error:
        open_checkpoint(model_files(path))
    assert error.value.remedy
