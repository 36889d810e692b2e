"""Function calls: read from what a model wrote, and checked against the function's schema.

call.py          what a call and an answer are
reading.py       the text of an answer -> its calls
json_calls.py    a JSON value -> the calls in it
python_calls.py  f(a=1), g(b=[1, 2]) -> calls, read and never run
schema.py        arguments against a function's JSON Schema
"""
