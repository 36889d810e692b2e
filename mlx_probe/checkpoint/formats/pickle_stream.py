"""Pickles read as descriptions of objects: nothing in them is imported, called or built.

A pickle is a program for a small stack machine. This machine knows plain data. For everything
else it makes a record, `Object`, of what would be called with which arguments. The pickle module
does not suit, even with find_class overridden: a pickle can ask for a memo array of any size, and
hashing a nested key overflows the C stack.

Source: Lib/pickletools.py of CPython 3.13, protocols 2 to 5. Older instructions are refused.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO

from mlx_probe.checkpoint.formats.header import MAX_HEADER
from mlx_probe.core.errors import CheckpointError, damaged

__all__ = ["PERSISTENT", "Global", "Object", "PickleStream", "read_pickle"]

# torch.save writes about 45 for a tensor. The limit bounds memory: one byte makes a container.
MAX_INSTRUCTIONS = 1 << 22
# Printing an integer takes the square of its length.
MAX_INTEGER_BYTES = 255
# Kind of the objects that are stored outside the pickle (storages).
PERSISTENT = "persistent"

_READ_AHEAD = 1 << 20
_MAX_LINE = 1 << 10
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # since Python 2


@dataclass(frozen=True, eq=False, slots=True)
class Global:
    """A class or function that the pickle names.

    Attributes:
        name: With its module: "torch.float32".
    """

    name: str


@dataclass(eq=False, slots=True)
class Object:
    """What the pickle would build by a call, or refers to outside of itself.

    Attributes:
        kind: Name of the function or class; `PERSISTENT` for what is outside the pickle.
        args: Arguments of the call, or the persistent id.
        state: State that would be set on the result.
        pairs: Keys and values that would be stored in it, in this order. Not a dictionary, since
            a hostile pickle can choose keys whose hashing takes forever. An empty tuple until
            something is stored, since a list would double the memory of an empty dictionary.
    """

    kind: str
    args: tuple[Any, ...] = ()
    state: Any = None
    pairs: list[tuple[Any, Any]] | tuple[()] = ()


class PickleStream:
    """The bytes of consecutive pickles in a file.

    Args:
        path: The file, for messages.
        file: That file, open at the first pickle.
        size: Bytes from there to the end of the file.

    Attributes:
        position: Bytes taken so far.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path, self.position = path, 0
        self._file, self._size = file, size
        self._buffer = bytearray()

    def take(self, count: int) -> bytes:
        """Take the next ``count`` bytes."""
        start, stop = self.position, self.position + count
        if stop > len(self._buffer):
            self._fill(stop)
        self.position = stop
        return bytes(self._buffer[start:stop])

    def line(self) -> str:
        """Take the bytes up to and including a line feed."""
        start = self.position
        while (byte := self.take(1)) != b"\n":
            if not byte or self.position - start > _MAX_LINE:
                raise damaged(self.path, f"the pickle has a name without an end at byte {start}")
        return self._buffer[start : self.position - 1].decode("utf-8", "replace")

    def _fill(self, stop: int) -> None:
        limit = min(self._size, MAX_HEADER)
        if stop <= limit:
            wanted = min(max(stop, len(self._buffer) + _READ_AHEAD), limit)
            self._buffer += self._file.read(wanted - len(self._buffer))
        if stop > len(self._buffer):
            too_long = self._size > MAX_HEADER
            fact = f"longer than {MAX_HEADER} bytes" if too_long else "truncated"
            raise damaged(self.path, f"the pickle is {fact}")


def read_pickle(stream: PickleStream, allowed: Container[str]) -> Any:
    """Read one pickle.

    Args:
        stream: At the beginning of the pickle; afterwards at its end.
        allowed: Classes and functions that it may name, with their modules.

    Returns:
        Plain data, lists for sets, and `Global` or `Object` for everything else, dictionaries
        included. It may contain itself, and it may be nested to any depth.

    Raises:
        CheckpointError: The pickle names something that is not allowed, is too long, or is not
            a pickle.
    """
    machine = _Machine(stream, allowed)
    try:
        for _ in range(MAX_INSTRUCTIONS):
            code = stream.take(1)
            if code == pickle.STOP:
                return machine.stack.pop()
            _INSTRUCTIONS[code](machine)
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        # An empty stack, an unknown memo entry, an unknown instruction, or no text.
        raise machine.damaged("does what no pickle does") from error
    raise machine.damaged(f"has more than {MAX_INSTRUCTIONS} instructions")


class _Machine:
    """The pickle machine: a stack, the stacks below the marks, and a memo."""

    def __init__(self, stream: PickleStream, allowed: Container[str]) -> None:
        self.stream, self.allowed = stream, allowed
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def damaged(self, fact: str) -> CheckpointError:
        return damaged(self.stream.path, f"the pickle {fact}, at byte {self.stream.position}")

    def number(self, width: int) -> int:
        return int.from_bytes(self.stream.take(width), "little")

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def pop(self) -> None:
        # If the stack is empty, the mark below it is removed.
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def join(self, count: int) -> None:
        if len(self.stack) < count:
            raise self.damaged("takes more from its stack than there is")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def integer(self, width: int) -> None:
        length = self.number(width)
        if length > MAX_INTEGER_BYTES:
            raise self.damaged(f"has an integer of {length} bytes")
        self.stack.append(int.from_bytes(self.stream.take(length), "little", signed=True))

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise self.damaged("appends to something that is not a list")
        target += items

    def store(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not Object or len(items) % 2:
            raise self.damaged("stores keys in something that has none")
        if not isinstance(target.pairs, list):
            target.pairs = []
        target.pairs += zip(items[::2], items[1::2], strict=True)

    def store_one(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.store([key, value])

    def find(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise self.damaged("names a class or function by something that is not text")
        full = f"{_RENAMED.get(module, module)}.{name}"
        if full not in self.allowed:
            raise damaged(
                self.stream.path,
                f"the pickle names {full[:200]!r}, which weights do not need and which could "
                "run code; nothing of it was run",
                "If you trust the file, load it with torch.load and save its tensors as "
                "safetensors",
            )
        self.stack.append(Global(full))

    def call(self, count: int) -> None:
        arguments = [self.stack.pop() for _ in range(count)][::-1]
        called = self.stack.pop()
        if type(called) is not Global or type(arguments[0]) is not tuple:
            raise self.damaged("calls what is not a function")
        self.stack.append(Object(called.name, (*arguments[0], *arguments[1:])))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is not Object or target.state is not None:
            raise self.damaged("sets the state of something that has none")
        target.state = state

    def persistent(self) -> None:
        key = self.stack.pop()
        if type(key) is not tuple:
            raise self.damaged("refers to something outside by no tuple")
        self.stack.append(Object(PERSISTENT, key))

    def push(self, value: Any) -> None:
        self.stack.append(value)


_Instruction = Callable[[_Machine], object]


def _packed(form: Struct) -> _Instruction:
    return lambda m: m.push(form.unpack(m.stream.take(form.size))[0])


def _sized(width: int, decode: Callable[[bytes], Any]) -> _Instruction:
    return lambda m: m.push(decode(m.stream.take(m.number(width))))


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _old_text(content: bytes) -> str:
    # Python 2 uses one type for text and bytes.
    return content.decode("latin-1")


_INSTRUCTIONS: dict[bytes, _Instruction] = {
    pickle.PROTO: lambda m: m.stream.take(1),
    pickle.FRAME: lambda m: m.stream.take(8),
    pickle.MARK: _Machine.mark,
    pickle.POP: _Machine.pop,
    pickle.POP_MARK: _Machine.since_mark,
    pickle.DUP: lambda m: m.push(m.stack[-1]),
    # Plain values.
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.BININT: _packed(Struct("<i")),
    pickle.BININT1: _packed(Struct("<B")),
    pickle.BININT2: _packed(Struct("<H")),
    pickle.BINFLOAT: _packed(Struct(">d")),
    pickle.LONG1: lambda m: m.integer(1),
    pickle.LONG4: lambda m: m.integer(4),
    pickle.BINUNICODE: _sized(4, _text),
    pickle.SHORT_BINUNICODE: _sized(1, _text),
    pickle.BINUNICODE8: _sized(8, _text),
    pickle.BINSTRING: _sized(4, _old_text),
    pickle.SHORT_BINSTRING: _sized(1, _old_text),
    pickle.BINBYTES: _sized(4, bytes),
    pickle.SHORT_BINBYTES: _sized(1, bytes),
    pickle.BINBYTES8: _sized(8, bytes),
    pickle.BYTEARRAY8: _sized(8, bytes),
    # Containers.
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.TUPLE1: lambda m: m.join(1),
    pickle.TUPLE2: lambda m: m.join(2),
    pickle.TUPLE3: lambda m: m.join(3),
    pickle.TUPLE: lambda m: m.push(tuple(m.since_mark())),
    pickle.FROZENSET: lambda m: m.push(tuple(m.since_mark())),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.EMPTY_SET: lambda m: m.push([]),
    pickle.APPEND: lambda m: m.append([m.stack.pop()]),
    pickle.APPENDS: lambda m: m.append(m.since_mark()),
    pickle.ADDITEMS: lambda m: m.append(m.since_mark()),
    pickle.EMPTY_DICT: lambda m: m.push(Object("builtins.dict")),
    pickle.SETITEM: _Machine.store_one,
    pickle.SETITEMS: lambda m: m.store(m.since_mark()),
    # The memo.
    pickle.BINPUT: lambda m: m.memo.__setitem__(m.number(1), m.stack[-1]),
    pickle.LONG_BINPUT: lambda m: m.memo.__setitem__(m.number(4), m.stack[-1]),
    pickle.MEMOIZE: lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    pickle.BINGET: lambda m: m.push(m.memo[m.number(1)]),
    pickle.LONG_BINGET: lambda m: m.push(m.memo[m.number(4)]),
    # Calls: recorded, not made.
    pickle.GLOBAL: lambda m: m.find(m.stream.line(), m.stream.line()),
    pickle.STACK_GLOBAL: lambda m: m.find(*reversed([m.stack.pop(), m.stack.pop()])),
    pickle.REDUCE: lambda m: m.call(1),
    pickle.NEWOBJ: lambda m: m.call(1),
    pickle.NEWOBJ_EX: lambda m: m.call(2),
    pickle.BUILD: _Machine.build,
    pickle.BINPERSID: _Machine.persistent,
}
