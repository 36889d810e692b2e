"""Answers to BFCL's questions with one thing changed: what a checker has to tell apart."""

import copy
import random

__all__ = ["MUTATIONS", "mutated", "python_text"]

_WRONG = {str: "nothing of the kind", int: -987, float: -98.75, bool: None, list: ["wrong"]}


def _argument(calls, rng, wanted=object):
    """A call's arguments, and the name of one of them that has a type; None for none."""
    places = [
        (arguments, name)
        for call in calls
        for arguments in call.values()
        for name, value in arguments.items()
        if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))
    ]
    return rng.choice(places) if places else None


def _changed(calls, rng, change, wanted=object):
    place = _argument(calls, rng, wanted)
    if place is None:
        return None
    arguments, name = place
    arguments[name] = change(arguments[name])
    return calls


def wrong_value(calls, rng, functions):
    def other(value):
        if isinstance(value, bool):
            return not value
        if isinstance(value, dict):
            return {**value, **dict.fromkeys(list(value)[:1], "wrong")}
        return _WRONG.get(type(value), "wrong")

    return _changed(calls, rng, other)


def bool_for_int(calls, rng, functions):
    return _changed(calls, rng, lambda value: True, int) or _changed(calls, rng, lambda v: True)


def int_for_bool(calls, rng, functions):
    return _changed(calls, rng, int, bool)


def int_for_float(calls, rng, functions):
    return _changed(calls, rng, int, float)


def float_for_int(calls, rng, functions):
    return _changed(calls, rng, float, int)


def text_for_value(calls, rng, functions):
    return _changed(calls, rng, str)


def number_for_text(calls, rng, functions):
    return _changed(calls, rng, len, str)


def none_for_value(calls, rng, functions):
    return _changed(calls, rng, lambda value: None)


def extra_unknown(calls, rng, functions):
    rng.choice([a for call in calls for a in call.values()])["of_no_function"] = 1
    return calls


def extra_known(calls, rng, functions):
    for call in calls:
        for name, arguments in call.items():
            for function in functions:
                known = function["parameters"]["properties"]
                free = [each for each in known if each not in arguments]
                if function["name"] == name and free:
                    parameter = rng.choice(free)
                    kind = known[parameter].get("type")
                    values = {"integer": 3, "float": 0.5, "boolean": True, "array": [], "dict": {}}
                    arguments[parameter] = values.get(kind, "some")
                    return calls
    return None


def missing(calls, rng, functions):
    place = _argument(calls, rng)
    if place is None:
        return None
    del place[0][place[1]]
    return calls


def no_arguments(calls, rng, functions):
    rng.choice([a for call in calls for a in call.values()]).clear()
    return calls


def reordered(calls, rng, functions):
    return [
        {name: dict(reversed(list(arguments.items()))) for name, arguments in call.items()}
        for call in reversed(calls)
    ]


def other_case(calls, rng, functions):
    return _changed(calls, rng, str.swapcase, str)


def other_marks(calls, rng, functions):
    def marked(text):
        return f" {text.replace(' ', '-').replace('x', 'X')}*^_,./'".replace("''", '"')

    return _changed(calls, rng, marked, str)


def trimmed_marks(calls, rng, functions):
    return _changed(calls, rng, lambda text: text.replace(",", "").replace(" ", "  "), str)


def nested_text(calls, rng, functions):
    return _changed(calls, rng, lambda values: [str(value) for value in values], list)


def nested_number(calls, rng, functions):
    return _changed(calls, rng, lambda values: [7, *values[1:]], list)


def nested_list(calls, rng, functions):
    return _changed(calls, rng, lambda values: [values], list)


def other_order(calls, rng, functions):
    return _changed(calls, rng, lambda values: values[::-1], list)


def shorter(calls, rng, functions):
    return _changed(calls, rng, lambda values: values[:-1], list)


def longer(calls, rng, functions):
    return _changed(calls, rng, lambda values: values + values[-1:], list)


def tuple_for_list(calls, rng, functions):
    return _changed(calls, rng, tuple, list)


def list_for_value(calls, rng, functions):
    return _changed(calls, rng, lambda value: [value])


def dict_for_value(calls, rng, functions):
    return _changed(calls, rng, lambda value: {"value": value})


def empty_value(calls, rng, functions):
    return _changed(calls, rng, lambda value: type(value)())


def key_missing(calls, rng, functions):
    return _changed(calls, rng, lambda value: dict(list(value.items())[1:]), dict)


def key_extra(calls, rng, functions):
    return _changed(calls, rng, lambda value: {**value, "one_more": "key"}, dict)


def key_wrong(calls, rng, functions):
    return _changed(calls, rng, lambda value: dict.fromkeys(value, "wrong"), dict)


def key_case(calls, rng, functions):
    def swapped(value):
        return {k: v.swapcase() if isinstance(v, str) else v for k, v in value.items()}

    return _changed(calls, rng, swapped, dict)


def key_in_list(calls, rng, functions):
    return _changed(
        calls,
        rng,
        lambda values: [{**v, "one_more": 1} if isinstance(v, dict) else v for v in values],
        list,
    )


def duplicate_call(calls, rng, functions):
    return [*calls, copy.deepcopy(rng.choice(calls))]


def call_missing(calls, rng, functions):
    calls.pop(rng.randrange(len(calls)))
    return calls


def call_twice(calls, rng, functions):
    """One call in place of another one."""
    if len(calls) < 2:
        return None
    first, second = rng.sample(range(len(calls)), 2)
    calls[first] = copy.deepcopy(calls[second])
    return calls


def shuffled(calls, rng, functions):
    rng.shuffle(calls)
    return calls


def swapped_arguments(calls, rng, functions):
    if len(calls) < 2:
        return None
    (one, a), (two, b) = (next(iter(call.items())) for call in calls[:2])
    calls[:2] = [{one: b}, {two: a}]
    return calls


def wrong_name(calls, rng, functions):
    index = rng.randrange(len(calls))
    (name, arguments) = next(iter(calls[index].items()))
    others = [f["name"] for f in functions if f["name"] != name]
    calls[index] = {rng.choice([*others, name.replace(".", "_") + "_x", name.upper()]): arguments}
    return calls


def underscored_name(calls, rng, functions):
    return [{name.replace(".", "_"): a for name, a in call.items()} for call in calls]


def unchanged(calls, rng, functions):
    return calls


MUTATIONS = {
    make.__name__: make
    for make in (
        unchanged, wrong_value, bool_for_int, int_for_bool, int_for_float, float_for_int,
        text_for_value, number_for_text, none_for_value, extra_unknown, extra_known, missing,
        no_arguments, reordered, other_case, other_marks, trimmed_marks, nested_text,
        nested_number, nested_list, other_order, shorter, longer, tuple_for_list, list_for_value,
        dict_for_value, empty_value, key_missing, key_extra, key_wrong, key_case, key_in_list,
        duplicate_call, call_missing, call_twice, shuffled, swapped_arguments, wrong_name,
        underscored_name,
    )
}  # fmt: skip


def mutated(functions, truth, seed):
    """All mutations that a truth has, as (name, calls); each begins with other accepted values."""
    from mlx_probe.lab.evaluate.bfcl.sample import sample_calls

    for name, change in MUTATIONS.items():
        rng = random.Random(f"{seed} {name}")
        calls = change(sample_calls(truth, rng.randrange), rng, functions)
        if calls is not None:
            yield name, calls


def python_text(calls):
    """Calls as BFCL's prompting mode writes them."""
    texts = [
        f"{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
        for call in calls
        for name, arguments in call.items()
    ]
    return f"[{', '.join(texts)}]"
