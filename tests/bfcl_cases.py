"""Questions in BFCL's form, one or more of each category, with every type that it declares."""

__all__ = ["CASES", "RAISES", "READ", "bfcl_eval"]

# The leaderboard's checker ends with an exception: a number where a dictionary is wanted. Ours is
# a verdict.
RAISES = "raises"


def function(name, required, **properties):
    return {
        "name": name,
        "description": name,
        "parameters": {"type": "dict", "properties": properties, "required": required},
    }


def of(kind, items=None, **more):
    return {"type": kind, **({"items": {"type": items}} if items else {}), **more}


BOIL = function(
    "kitchen.boil", ["what", "minutes"], what=of("string"), minutes=of("integer"), lid=of("boolean")
)
MIX = function(
    "kitchen.mix", ["parts"], parts=of("array", "string"), shares=of("array", "float"),
    speed=of("float"), note=of("any"),
)  # fmt: skip
PLACE = function(
    "shelf.place", ["at"], at=of("tuple", "integer"), label=of("dict"),
    boxes=of("array", "dict"), grid=of("array", "array"),
)  # fmt: skip
ALL = [BOIL, MIX, PLACE]
EGGS = {"kitchen.boil": {"what": ["Eggs, brown", "egg's"], "minutes": [7, 8], "lid": [True, ""]}}
TEA = {"kitchen.boil": {"what": ["tea"], "minutes": [3], "lid": [""]}}
DOUGH = {
    "kitchen.mix": {
        "parts": [["Flour", "water"], ["water", "flour"]],
        "shares": ["", [0.5, 0.25]],
        "speed": [2, 2.5],
        "note": ["slowly", 3, ""],
    }
}
JARS = {
    "shelf.place": {
        "at": [[1, 2], "corner"],
        "label": [{"text": ["Plum jam", "plums"], "year": [2024, ""]}, ""],
        "boxes": [[{"size": [1], "lid": ["Tin"]}, {"size": [2], "lid": ["tin", ""]}], ""],
        "grid": [[["a"], ["b"]], ""],
    }
}
CORNER = {"shelf.place": {"at": [[3], [3, 3]], "label": [""], "boxes": [[], ""], "grid": [""]}}

# Category, functions, accepted answers.
CASES = {
    "one call": ("simple_python", [BOIL], [EGGS]),
    "a list": ("live_simple", [MIX], [DOUGH]),
    "dictionaries": ("simple_python", [PLACE], [JARS]),
    "empty lists": ("live_simple", [PLACE], [CORNER]),
    "one of several": ("multiple", ALL, [DOUGH]),
    "one of several, live": ("live_multiple", ALL, [JARS]),
    "twice the same": ("parallel", [BOIL], [EGGS, TEA]),
    "in any order": ("parallel_multiple", ALL, [EGGS, DOUGH, TEA]),
    "three kinds": ("live_parallel_multiple", ALL, [JARS, CORNER, EGGS]),
    "alike": ("live_parallel", [MIX], [DOUGH, DOUGH]),
}

# Answers of the prompting mode, and what bfcl-eval 2026.3.23 reads; None: it cannot.
READ = [
    ("[f(a=1)]", [{"f": {"a": 1}}]),
    ("f(a=1)", [{"f": {"a": 1}}]),
    ("f(a=1), g(b=2)", [{"f": {"a": 1}}, {"g": {"b": 2}}]),
    ("```\n[f(a=1)]\n```", [{"f": {"a": 1}}]),
    ("```python\n[f(a=1)]```", None),
    ("'[f(a=1)]'", None),
    ("[f(1)]", [{"f": {}}]),
    ("[f(1, a=2)]", [{"f": {"a": 2}}]),
    ("[a.b.c(d=1)]", [{"a.b.c": {"d": 1}}]),
    ("[f(a=-1)]", [{"f": {"a": -1}}]),
    ("[f(a=+5)]", [{"f": {"a": -5}}]),
    ("[f(a=1+2*3)]", [{"f": {"a": 7}}]),
    ("[f(a='x'*3)]", [{"f": {"a": "xxx"}}]),
    ("[f(a=1/0)]", None),
    ("[f(a=true)]", [{"f": {"a": "true"}}]),
    ("[f(a=...)]", [{"f": {"a": "..."}}]),
    ("[f(a=g(b=1))]", [{"f": {"a": {"g": {"b": 1}}}}]),
    ("[f(a=g(1))]", [{"f": {"a": "g(1)"}}]),
    ("[f(a=x[0:2])]", [{"f": {"a": "x[0:2]"}}]),
    ("[f(a=x.y)]", None),
    ("[f(a=(1, 2))]", [{"f": {"a": (1, 2)}}]),
    ("[f(a={'k': [1, {'z': 2}]})]", [{"f": {"a": {"k": [1, {"z": 2}]}}}]),
    ("[f(**{'a': 1})]", [{"f": {None: {"a": 1}}}]),
    ("[f(a=1, a=2)]", [{"f": {"a": 2}}]),
    ("[f(a=lambda: 1)]", None),
    ("[f(a=f'{x}')]", None),
    ("[f(a='\\d')]", [{"f": {"a": "\\d"}}]),
    ("[]", []),
    ("", []),
    ("I cannot do that.", None),
    ('{"name": "f", "arguments": {"a": 1}}', None),
    ("[f(a=1)] is the call", None),
    ("[[f(a=1)]]", None),
    ("[f(a='x\x00')]", None),
]


def bfcl_eval():
    """Its checker as (functions, calls, truth, category, underscores) -> error type or None.

    `RAISES` if it does.

    The package is made for whole runs of the leaderboard; its table of models needs all their
    clients, and the checker only asks it how names of functions are written.
    """
    import sys
    from types import ModuleType, SimpleNamespace

    import pytest

    pytest.importorskip("bfcl_eval", exc_type=ImportError)
    models = ModuleType("bfcl_eval.constants.model_config")
    models.MODEL_CONFIG_MAPPING = {
        "dots": SimpleNamespace(underscore_to_dot=False),
        "underscores": SimpleNamespace(underscore_to_dot=True),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, models.__name__, models)
        from bfcl_eval.constants.enums import Language
        from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    def check(functions, calls, truth, category, underscores=False):
        name = "underscores" if underscores else "dots"
        try:
            result = ast_checker(functions, calls, truth, Language.PYTHON, category, name)
        except AttributeError:
            return RAISES
        return None if result["valid"] else result["error_type"]

    return check
