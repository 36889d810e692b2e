"""Values beside accepted values: text without small differences, lists, dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from mlx_probe.lab.evaluate.bfcl.types import Declared
from mlx_probe.lab.evaluate.bfcl.verdict import Mismatch

__all__ = ["comparison", "folded"]

# "April 1, 2024" is "april 1 2024"; quotes of both kinds are the same.
_FOLD = {**dict.fromkeys(map(ord, " ,./-_*^")), ord("'"): '"'}

Compare = Callable[[str, Any, Sequence[Any]], None]


def folded(value: Any) -> Any:
    """Text without spaces, marks and capitals; other values as they are."""
    return value.translate(_FOLD).lower() if type(value) is str else value


def comparison(declared: Declared | None) -> Compare:
    """How values of a type are compared; None compares them as they are."""
    if declared is None:
        return _as_they_are
    if declared.kind is list and declared.element is dict:
        return _dictionaries
    compare: dict[type, Compare] = {str: _text, list: _list, dict: _dictionary}
    return compare.get(declared.kind, _as_they_are)


def _as_they_are(parameter: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        _refuse("others", parameter, value, choices)


def _text(parameter: str, value: str, choices: Sequence[Any]) -> None:
    if folded(value) not in [folded(choice) for choice in choices if type(choice) is str]:
        _refuse("string", parameter, value, choices)


def _list(parameter: str, value: list[Any], choices: Sequence[Any]) -> None:
    # "" for a list that may be left out accepts the empty one, too.
    if _folded_list(value) not in [_folded_list(choice) for choice in choices]:
        _refuse("list/tuple", parameter, value, choices)


def _folded_list(values: Sequence[Any]) -> list[Any]:
    return [folded(value) for value in values]


def _dictionary(parameter: str, value: dict[Any, Any], choices: Sequence[Any]) -> None:
    """One of the dictionaries must accept the value; the last one's reason is told."""
    reason = Mismatch("dict_checker:unclear")
    for choice in choices:
        if choice == "":
            continue
        try:
            _keys(parameter, value, choice)
        except Mismatch as mismatch:
            reason = mismatch
        else:
            return
    raise reason


def _keys(parameter: str, value: Any, accepted: Mapping[Any, Any]) -> None:
    if not isinstance(value, Mapping):
        # The leaderboard's checker ends with an exception here.
        raise Mismatch("type_error:nested", f"{parameter}: {value!r} is no dict")
    # A key that is missing outweighs a value that is wrong.
    missing = [key for key in accepted if key not in value and "" not in accepted[key]]
    if missing:
        raise Mismatch("value_error:dict_key", f"{parameter}: {missing[0]} is missing")
    for key, each in value.items():
        if key not in accepted:
            raise Mismatch("value_error:dict_key", f"{parameter}: {key} is not expected")
        if folded(each) not in [folded(choice) for choice in accepted[key]]:
            _refuse("dict_value", f"{parameter}.{key}", each, accepted[key])


def _dictionaries(parameter: str, value: list[Any], choices: Sequence[Any]) -> None:
    """The dictionaries of one of the lists, in their order; the last list's reason is told."""
    reason = Mismatch("list_dict_checker:unclear")
    for choice in choices:
        if len(value) != len(choice):
            reason = Mismatch(
                "value_error:list_dict_count",
                f"{parameter}: {len(value)} dictionaries, {len(choice)} wanted",
            )
            continue
        try:
            for each, accepted in zip(value, choice, strict=True):
                _dictionary(parameter, each, [accepted])
        except Mismatch as mismatch:
            reason = mismatch
        else:
            return
    raise reason


def _refuse(kind: str, parameter: str, value: Any, choices: Sequence[Any]) -> NoReturn:
    raise Mismatch(f"value_error:{kind}", f"{parameter}: {value!r} is none of {list(choices)!r}")
