"""Questions to a model and its answers, kept line by line, so that a stopped run goes on.

question.py     what is asked
prompting.py    how functions are shown: PROMPTING
prediction.py   what was answered, and its calls
local.py        a model on this machine answers
address.py      a model behind an OpenAI-compatible address answers
ask.py          questions -> predictions, in a file that grows
folder.py       what a result's folder holds
"""
