"""The tensors in a pickle of torch.save: their names and their positions in storages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from mlx_probe.checkpoint.formats.header import check_shape
from mlx_probe.checkpoint.formats.pickle_stream import PERSISTENT, Global, Object
from mlx_probe.checkpoint.formats.torch_names import (
    DICTIONARIES,
    FROM_TYPE,
    LEAVES,
    NUMPY_ARRAYS,
    STORAGES,
    TORCH_DTYPES,
    WITH_STATE,
    WRAPPERS,
)
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import CheckpointError, damaged

__all__ = [
    "MAX_NAME",
    "Storage",
    "Stored",
    "describe",
    "extents",
    "find_tensors",
    "parts_of",
]

# Far above any model. They bound the memory of names, which nesting makes long.
MAX_TENSORS = 1 << 18
MAX_NAME = 1 << 12
MAX_NAMES = 1 << 26
# A view can repeat elements, which costs nothing in the file but much in an analysis.
MAX_REPEATED = 1 << 24
# Most wrappers around one tensor: a parameter in a device tensor with attributes has three.
_MAX_WRAPPERS = 8


@dataclass(frozen=True)
class Storage:
    """Consecutive elements that are stored outside the pickle.

    Attributes:
        key: Name of the storage.
        dtype: Element type, key of `TORCH_DTYPES`.
        numel: Number of elements.
    """

    key: str
    dtype: str
    numel: int

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel * TORCH_DTYPES[self.dtype][1]


@dataclass(frozen=True)
class Stored:
    """A tensor as its pickle describes it.

    Attributes:
        dtype: As in `TensorInfo`, like shape, problem and strides.
        shape: Extents.
        problem: Why it cannot be read; None if it can.
        strides: None for C order.
        storage: Storage of its elements; None for a tensor without readable elements.
        start: First byte in the storage.
        stop: One past the last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    problem: str | None = None
    strides: tuple[int, ...] | None = None
    storage: Storage | None = None
    start: int = 0
    stop: int = 0


def find_tensors(path: Path, root: Any) -> Iterator[tuple[str, Object]]:
    """The tensors in what a pickle describes, by name.

    A name is the path to the tensor: keys of dictionaries, indices of lists and attributes,
    joined by dots ("model.layers.0.weight" in {"model": {"layers.0.weight": ...}}). No tensor is
    left out: those that an optimizer or a trainer adds have names too. A tensor with several
    names is listed under each. A container that is used several times counts once, at its first
    use.

    Args:
        path: The file, for messages.
        root: Result of `read_pickle`. If it is a tensor, its name is "tensor".

    Raises:
        CheckpointError: More than `MAX_TENSORS`, a name that is too long or used twice.
    """
    names: set[str] = set()
    characters = 0
    visited: set[int] = set()
    # Not recursive: a pickle can be nested deeper than Python's stack.
    pending = [("", iter([("tensor" if _is_tensor(root) else "", root)]))]
    while pending:
        prefix, children = pending[-1]
        for key, value in children:
            if not isinstance(value, Object | list | tuple):
                continue
            name = f"{prefix}.{key}" if prefix else key
            if len(name) > MAX_NAME or any("\ud800" <= character <= "\udfff" for character in name):
                raise damaged(path, f"the name {name[:80]!r} is too long or no Unicode text")
            if isinstance(value, Object) and _is_tensor(value):
                characters += len(name)
                if name in names:
                    raise damaged(path, f"two tensors are called {name!r}")
                if len(names) >= MAX_TENSORS or characters > MAX_NAMES:
                    raise damaged(path, f"more than {MAX_TENSORS} tensors, or too long names")
                names.add(name)
                yield name, value
            if id(value) not in visited:
                visited.add(id(value))
                pending.append((name, parts_of(path, value)))
                break
        else:
            pending.pop()


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Object) and (value.kind == PERSISTENT or value.kind in LEAVES)


def parts_of(path: Path, value: Any) -> Iterator[tuple[str, Any]]:
    """Parts of a container, or attributes of a tensor, with their names."""
    if not isinstance(value, Object):
        yield from ((str(index), item) for index, item in enumerate(value))
        return
    pairs: list[Any] = list(value.pairs)
    if value.kind in WITH_STATE:
        yield from _attributes(value.args[3] if len(value.args) > 3 else None)
    elif value.kind in DICTIONARIES:
        for items in value.args:
            # Python 2 calls it with its items: OrderedDict([[key, value], ...]).
            if isinstance(items, list):
                pairs = [item for item in items if isinstance(item, list | tuple)] + pairs
            elif isinstance(items, Object):
                pairs = [*items.pairs, *pairs]
    elif not _is_tensor(value):
        yield from ((str(index), item) for index, item in enumerate(value.args))
    for pair in pairs:
        if len(pair) != 2 or not isinstance(pair[0], str | int | float | bytes | None):
            if isinstance(pair[-1] if pair else None, Object | list | tuple):
                raise damaged(path, "a dictionary of the pickle has a key that is not plain")
            continue
        key = pair[0].decode("latin-1") if isinstance(pair[0], bytes) else str(pair[0])
        yield key, pair[1]
    if value.kind not in NUMPY_ARRAYS:
        yield from _attributes(value.state)


def _attributes(state: Any) -> Iterator[tuple[str, Any]]:
    # For classes with slots it is a pair of dictionaries.
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, Object) and part.kind in DICTIONARIES:
            yield from ((str(key), value) for key, value in part.pairs if isinstance(key, str))
        else:
            yield "state", part


def describe(path: Path, name: str, tensor: Object) -> Stored:
    """How and where a tensor of `find_tensors` is stored.

    Raises:
        CheckpointError: It reaches beyond its storage, or torch could not build it.
    """
    value = _unwrapped(path, name, tensor)
    match value.kind.removeprefix("torch._utils._rebuild_"), value.args:
        case "persistent", _:
            storage, first, count = _storage(path, value)
            return _strided(path, name, storage, storage.dtype, first, (count,), (1,))
        case ("tensor", (Object() as source, offset, size, steps)) | (
            "tensor_v2",
            (Object() as source, offset, size, steps, _, _),
        ):
            return _view(path, name, source, None, offset, size, steps)
        case "tensor_v2", (Object() as source, offset, size, steps, _, _, flags):
            return _view(path, name, source, None, offset, size, steps, flags)
        case "tensor_v3", (Object() as source, offset, size, steps, _, _, Global(dtype), *rest):
            return _view(path, name, source, dtype, offset, size, steps, *rest[:1])
        case "qtensor", (Object() as source, offset, size, steps, *_):
            stored = _view(path, name, source, None, offset, size, steps)
            # Its elements are codes, whatever their stored type.
            return replace(stored, problem="a quantized tensor is not supported")
        case "meta_tensor_no_storage", (Global(dtype), size, *_):
            return _without_values(path, name, dtype, size, "a meta tensor: it has no values")
        case "wrapper_subclass", (_, Global(dtype), size, *_):
            return _without_values(path, name, dtype, size, "a tensor subclass is not supported")
        case "sparse_tensor", (_, (_, _, size) | (_, _, size, bool() | None)):
            return _without_values(path, name, "sparse", size, "a sparse tensor is not supported")
        case "sparse_tensor", (_, (_, _, _, size)):
            return _without_values(path, name, "sparse", size, "a sparse tensor is not supported")
        case "nested_tensor", _:
            return Stored("nested", (), "a nested tensor is not supported")
    if value.kind in NUMPY_ARRAYS:
        return Stored("numpy", (), "a numpy array inside the pickle is not supported")
    raise _misbuilt(path, name)


def _unwrapped(path: Path, name: str, value: Any) -> Object:
    for _ in range(_MAX_WRAPPERS):
        match value:
            case Object(kind, (inner, *_)) if kind in WRAPPERS:
                value = inner
            case Object(kind, (Global(called), _, tuple(args), *_)) if kind in FROM_TYPE:
                value = Object(called, args)
            case Object():
                return value
            case _:
                break
    raise _misbuilt(path, name)


def _view(
    path: Path,
    name: str,
    source: Object,
    dtype: str | None,
    offset: Any,
    size: Any,
    steps: Any,
    flags: Any = None,
) -> Stored:
    if source.kind != PERSISTENT:
        raise _misbuilt(path, name)
    storage, first, _ = _storage(path, source)
    shape, strides = extents(size), extents(steps)
    if shape is None or strides is None or len(shape) != len(strides) or not _is_size(offset):
        raise _misbuilt(path, name)
    kind = storage.dtype if dtype is None else dtype.removeprefix("torch.")
    stored = _strided(path, name, storage, kind, first + offset, shape, strides)
    if isinstance(flags, Object) and any(value is True for _, value in flags.pairs):
        return Stored(stored.dtype, shape, "a negated or conjugated view is not supported")
    return stored


def _strided(
    path: Path,
    name: str,
    storage: Storage,
    dtype: str,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> Stored:
    if dtype not in TORCH_DTYPES:
        raise _misbuilt(path, name)
    check_shape(path, name, shape)
    kind, itemsize = TORCH_DTYPES[dtype]
    problem = None if kind in DTYPES else f"dtype {kind} is not supported"
    if not prod(shape):
        return Stored(kind, shape, problem, None, storage)
    span = 1 + sum((extent - 1) * step for extent, step in zip(shape, strides, strict=True))
    start, stop = offset * itemsize, (offset + span) * itemsize
    if stop > storage.nbytes:
        raise damaged(
            path,
            f"tensor {name!r} ends at byte {stop} of a storage of {storage.nbytes}",
        )
    if prod(shape) > max(span, MAX_REPEATED):
        problem = f"a view that repeats {span} elements up to {prod(shape)} is not supported"
    order = None if _is_c_order(shape, strides) else strides
    return Stored(kind, shape, problem, order, storage, start, stop)


def _without_values(path: Path, name: str, dtype: str, size: Any, problem: str) -> Stored:
    shape = extents(size)
    if shape is None:
        raise _misbuilt(path, name)
    check_shape(path, name, shape)
    dtype = dtype.removeprefix("torch.")
    return Stored(TORCH_DTYPES[dtype][0] if dtype in TORCH_DTYPES else dtype, shape, problem)


def _storage(path: Path, value: Object) -> tuple[Storage, int, int]:
    """A storage, the first element that is used, and the number of elements."""
    match value.args:
        case ("storage", Global(kind), str(key), str(_), int(numel), *rest) if (
            kind in STORAGES and _is_size(numel)
        ):
            storage = Storage(key, STORAGES[kind], numel)
        case _:
            raise damaged(path, "the pickle refers to a storage in a way that torch does not know")
    match rest:
        case [] | [None]:
            return storage, 0, numel
        case [(_, int(first), int(count))] if _is_size(first) and _is_size(count):
            return storage, first, count  # PyTorch before 0.4
    raise damaged(path, f"storage {key[:80]!r} has a view that torch does not know")


def extents(size: Any) -> tuple[int, ...] | None:
    """A shape in the pickle; None if it is none."""
    if isinstance(size, Object) and size.kind == "torch.Size" and size.args:
        size = size.args[0]
    if isinstance(size, list | tuple) and all(_is_size(extent) for extent in size):
        return tuple(size)
    return None


def _is_size(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 63


def _is_c_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for extent, step in zip(reversed(shape), reversed(strides), strict=True):
        # The stride of an axis of one element does not matter.
        if extent != 1 and step != expected:
            return False
        expected *= extent
    return True


def _misbuilt(path: Path, name: str) -> CheckpointError:
    return damaged(path, f"tensor {name!r} is built in a way that torch does not know")
