"""Examples of function calls from published data sets, checked, as one kind of chat data.

prepare.py     the job: rows of all sources -> train.jsonl, valid.jsonl, test.jsonl
rows.py        files -> rows, broken ones among them
formats/       a row -> an example (FORMATS)
check.py       what an example must hold
rendering.py   the example by a model's chat template, and its length in tokens
groups.py      examples that share a function, and their split
items.py       which rows of which files
"""
