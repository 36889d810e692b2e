"""Calls in an answer of BFCL's prompting mode: ``[f(a=1), g(b="x")]``.

Nothing of the answer is run. Where the leaderboard evaluates arithmetic in an argument, numbers,
texts and lists are computed here with the same result; arithmetic on names or calls, which would
need them to be run, is not readable.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["decode_prompted"]

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
# An answer must not fill the memory: 9**9**9, 1 << 10**9, "x" * 10**9, "%999999999d" % 1.
_LARGEST_POWER, _LARGEST = 1000, 1_000_000
_WIDE = re.compile(r"\*|\d{5}")


def decode_prompted(text: str) -> list[dict[Any, dict[Any, Any]]]:
    """The calls of an answer, as the leaderboard reads them.

    Code fences and missing brackets around the calls are forgiven; arguments without a name are
    not seen. A name stands for its text.

    Args:
        text: What the model wrote.

    Raises:
        ValueError: It is not readable.
    """
    text = text.strip("`\n ")
    text = text if text.startswith("[") else f"[{text}"
    text = text if text.endswith("]") else f"{text}]"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            tree = ast.parse(text.strip().strip("'"), mode="eval").body
            calls = getattr(tree, "elts", None)
            if calls is None:
                raise ValueError("no list of calls")
            return [_call(call) for call in calls]
    except (SyntaxError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _call(node: ast.expr) -> dict[Any, dict[Any, Any]]:
    if not isinstance(node, ast.Call):
        raise ValueError(f"no call: {ast.unparse(node)[:80]}")
    parts = []
    function = node.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if isinstance(function, ast.Name):
        parts.append(function.id)
    return {".".join(reversed(parts)): {word.arg: _value(word.value) for word in node.keywords}}


def _value(node: ast.expr | None) -> Any:
    if isinstance(node, ast.Constant):
        return "..." if node.value is Ellipsis else node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        # The leaderboard takes every sign for a minus.
        return -node.operand.value  # type: ignore[operator]
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_value(each) for each in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_value(key): _value(value) for key, value in pairs}
    if isinstance(node, ast.BinOp):
        return _computed(node)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call):
        return _call(node) if node.keywords else ast.unparse(node)
    if isinstance(node, ast.Subscript):
        return f"{ast.unparse(node.value)}[{ast.unparse(node.slice)}]"
    raise ValueError(f"no value: {'**' if node is None else ast.unparse(node)[:80]}")


def _computed(node: ast.expr) -> Any:
    """Arithmetic on constants, by Python's own rules."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _computed(node.left), _computed(node.right)
        _refuse_large(node.op, left, right)
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _computed(node.operand)
        return -value if isinstance(node.op, ast.USub) else +value
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ValueError(f"no constant: {ast.unparse(node)[:80]}") from error


def _refuse_large(op: ast.operator, left: Any, right: Any) -> None:
    numbers = [each for each in (left, right) if isinstance(each, (int, float))]
    if isinstance(op, (ast.Pow, ast.LShift)) and any(abs(n) > _LARGEST_POWER for n in numbers):
        raise ValueError("a number too large")
    if isinstance(op, ast.Mult) and numbers:
        texts = [each for each in (left, right) if isinstance(each, (str, bytes, list, tuple))]
        if texts and len(texts[0]) * numbers[0] > _LARGEST:
            raise ValueError("a text too long")
    if isinstance(op, ast.Mod) and isinstance(left, (str, bytes)):
        text = left if isinstance(left, str) else left.decode("latin-1")
        if _WIDE.search(text):
            raise ValueError("a text too long")
