"""A file that is shortened between the look at its size and the mapping of it."""

import os

import pytest

from mlx_probe.checkpoint.mapping import MappedFile
from mlx_probe.core.errors import CheckpointError


def test_a_file_shortened_at_the_last_moment_is_named(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(10_000))
    look = os.fstat

    def look_and_shorten(fileno):
        status = look(fileno)
        os.truncate(path, 100)
        return status

    file = MappedFile(path, 10_000)
    monkeypatch.setattr(os, "fstat", look_and_shorten)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: changed its size"):
        file.map(0, 10_000)
    monkeypatch.undo()
