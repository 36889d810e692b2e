"""Hostile pickles: nothing of them runs, and memory stays bounded."""

import os
import pickle
import sys
import tracemalloc
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_files import LAYOUTS, Unknown, archived, refusal, save, tensor_pickle, tensors_of

from mlx_probe.checkpoint.formats import pickle_stream as restricted
from mlx_probe.checkpoint.formats import read_header, torch_objects
from mlx_probe.checkpoint.formats.torch_names import ALLOWED
from mlx_probe.core.errors import CheckpointError

MEMORY = 32 << 20


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("function", "args"),
    [
        (os.system, ("touch {}",)),
        (eval, ("open('{}', 'w')",)),
        (exec, ("open('{}', 'w')",)),
        (open, ("{}", "w")),
        (torch.load, ("{}",)),
        (torch.storage._load_from_bytes, (b"",)),
        (getattr, ({}, "clear")),
        (torch.nn.Linear, (1, 1)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_code_is_refused_and_not_run(tmp_path, layout, function, args):
    victim = tmp_path / "victim"
    args = [arg.format(victim) if isinstance(arg, str) else arg for arg in args]
    path = save(tmp_path / "m.bin", {"w": torch.ones(2), "x": Unknown(function, *args)}, layout)
    with pytest.raises(CheckpointError, match=r"nothing of it was run") as e:
        read_header(path)
    assert function.__name__ in e.value.fact
    assert "safetensors" in e.value.remedy
    assert not victim.exists()


def test_tensors_of_other_packages_are_refused_by_name(tmp_path, monkeypatch):
    """torchao and quanto pickle classes of their own, whose values only they know."""
    module = ModuleType("torchao.quantization")
    module.Float8Tensor = type("Float8Tensor", (), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, "torchao", ModuleType("torchao"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    path = save(tmp_path / "m.bin", {"w": torch.ones(2), "x": module.Float8Tensor()})
    with pytest.raises(CheckpointError, match=r"names 'torchao\.quantization\.Float8Tensor'"):
        read_header(path)


def test_nothing_is_allowed_that_could_run_code():
    # The list is of data; what it names is never looked up, but a reader need not know that.
    modules = {name.rpartition(".")[0] for name in ALLOWED}
    assert modules.isdisjoint({"os", "posix", "nt", "sys", "subprocess", "shutil", "importlib"})
    risky = {"eval", "exec", "open", "getattr", "setattr", "compile", "__import__", "input"}
    assert not {name for name in ALLOWED if name.rpartition(".")[2] in risky}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pickled", "fact"),
    [
        (b"\x80\x02" + b"Nr\xff\xff\xff\xff.", None),
        (b"\x80\x02X\xff\xff\xff\xff", "truncated"),
        (b"\x80\x04\x8d" + b"\xff" * 8, "truncated"),
        (b"\x80\x02\x8b\0\0\0\1", "integer of 16777216 bytes"),
        (b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".", "too long"),
        (b"\x80\x02)" + b"\x85" * 50_000 + b".", "too long"),
        (b"\x80\x02)" + b"2\x86" * 1_000 + b".", None),
        (b"\x80\x02]q\0h\0a.", None),
        (b"\x80\x02}q\0)" + b"\x85" * 50_000 + b"]s.", "not plain"),
        (b"\x80\x02c" + b"x" * 5_000, "without an end"),
        (b"\x80\x02(.", "no pickle does"),
        (b"\x80\x02h\0.", "no pickle does"),
        (b"\x80\x02I1\n.", "no pickle does"),
        (b"\x80\x02NNR.", "not a function"),
        (b"\x80\x02NNb.", "that has none"),
        (b"\x80\x02NNa.", "not a list"),
        (b"\x80\x02NNNs.", "has none"),
        (b"\x80\x02N\x86.", "takes more"),
        (b"\x80\x02NQ.", "by no tuple"),
        (b"\x80\x04NN\x93.", "not text"),
        (b"\x80\x02X\1\0\0\0\xff.", "no pickle does"),
        (b"\x80\x02cposix\nsystem\n.", "'posix.system'"),
        (b"\x80\x02c__builtin__\neval\n.", "'builtins.eval'"),
        (b"\x80\x04\x8c\2os\x8c\6system\x93.", "'os.system'"),
        (b"\x80\x02)" + b"20" * 60_000 + b".", "more than 100000 instructions"),
    ],
    ids=range(25),
)
def test_hostile_pickles(tmp_path, monkeypatch, pickled, fact):
    if "instructions" in (fact or ""):
        monkeypatch.setattr(restricted, "MAX_INSTRUCTIONS", 100_000)
    path = tmp_path / "m.pt"
    data = archived(pickled)
    tracemalloc.start()
    try:
        if fact is None:
            path.write_bytes(data)
            assert not read_header(path).tensors
        else:
            assert fact in refusal(path, data)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("limit", "value"), [("MAX_TENSORS", 2), ("MAX_NAMES", 2), ("MAX_NAME", 0)]
)
def test_names_and_tensors_are_bounded(tmp_path, monkeypatch, limit, value):
    path = save(tmp_path / "m.pt", dict.fromkeys("abc", torch.ones(1)))
    assert len(tensors_of(path)) == 3
    monkeypatch.setattr(torch_objects, limit, value)
    with pytest.raises(CheckpointError):
        read_header(path)


def test_one_name_for_two_tensors(tmp_path):
    save(tmp_path / "m.pt", {"a": {"b": torch.ones(1)}, "a.b": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"two tensors are called 'a\.b'"):
        read_header(tmp_path / "m.pt")


INSTRUCTIONS = st.sampled_from([*restricted._INSTRUCTIONS, pickle.STOP, b"\0", b"\1", b"w", b"\n"])


@pytest.mark.slow
@settings(max_examples=500, deadline=1000)
@given(st.lists(INSTRUCTIONS | st.sampled_from([tensor_pickle()[2:-1]]), max_size=40))
def test_any_pickle_is_understood_or_refused(tmp_path_factory, instructions):
    path = tmp_path_factory.getbasetemp() / "pickled.pt"
    path.write_bytes(archived(b"\x80\x02" + b"".join(instructions) + b".", bytes(8)))
    try:
        read_header(path)
    except CheckpointError as error:
        assert str(path) in error.fact  # noqa: PT017 - a valid file is as good
