"""A small folder in the form of BFCL's data, and one of prepared function calls."""

import json

from bfcl_cases import BOIL, EGGS, MIX, TEA

__all__ = ["PREPARED", "RIGHT", "write_bfcl", "write_lines", "write_prepared"]


def question(name, functions, text="Boil it."):
    messages = [{"role": "user", "content": text}]
    return {"id": name, "question": [messages], "function": functions}


def call(name, **arguments):
    return json.dumps({"name": name, "arguments": arguments})


FILES = {
    "simple_python": (
        [question("simple_python_0", [BOIL]), question("simple_python_1", [BOIL])],
        [[EGGS], [{"kitchen.boil": {"what": ["tea"], "minutes": ["three"]}}]],
    ),
    "parallel": (
        [question("parallel_0", [BOIL])],
        [[EGGS, TEA]],
    ),
    "irrelevance": ([question(f"irrelevance_{n}", [MIX]) for n in range(4)], None),
}
# An answer to each question, right where one can be.
RIGHT = {
    "simple_python_0": call("kitchen.boil", what="eggs brown", minutes=8),
    "simple_python_1": call("kitchen.boil", what="tea", minutes=3),
    "parallel_0": call("kitchen.boil", what="tea", minutes=3)
    + "\n"
    + call("kitchen.boil", what="egg's", minutes=7, lid=True),
    "irrelevance_0": "None of them boils.",
    "irrelevance_1": '{"name": "kitchen.mix", "arguments": {"parts":',
    "irrelevance_2": "",
    "irrelevance_3": call("kitchen.mix", parts=[]),
}

WEATHER = {
    "name": "weather",
    "description": "The weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
TOOLS = [{"type": "function", "function": WEATHER}]


def asked(city):
    made = {"type": "function", "function": {"name": "weather", "arguments": {"city": city}}}
    return [
        {"role": "user", "content": f"Weather in {city}?"},
        {"role": "assistant", "content": "", "tool_calls": [made]},
    ]


PREPARED = [
    {"id": "a", "messages": asked("Paris"), "tools": TOOLS, "source": "test"},
    {
        "id": "b",
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello."},
        ],
        "tools": TOOLS,
    },
    {
        "id": "c",
        "messages": [
            *asked("Rome"),
            {"role": "tool", "content": "sunny"},
            {"role": "assistant", "content": "It is sunny."},
        ],
        "tools": TOOLS,
    },
]


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def write_bfcl(folder):
    for category, (questions, truths) in FILES.items():
        name = f"BFCL_v4_{category}.json"
        write_lines(folder / name, questions)
        if truths is not None:
            rows = [
                {"id": each["id"], "ground_truth": truth}
                for each, truth in zip(questions, truths, strict=True)
            ]
            write_lines(folder / "possible_answer" / name, rows)
    return folder


def write_prepared(folder):
    write_lines(folder / "test.jsonl", PREPARED)
    return folder
