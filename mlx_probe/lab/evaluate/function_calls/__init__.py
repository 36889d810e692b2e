"""Six numbers that say how well a model calls functions.

values.py      whether two JSON values are the same
matching.py    which call of an answer stands for which call that was wanted
metrics.py     one answer -> its six values, and what went wrong first
execution.py   whether the calls do what the wanted ones do
data.py        a prepared data set -> questions
task.py        the task
"""
