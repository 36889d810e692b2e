"""Tune a model on conversations: LoRA, DoRA, or all of its weights.

tune.py         the whole flow
config.py       what can be set
rendering.py    a conversation -> tokens, and which of them are the assistant's
example.py      an example, all of them, and what is none
examples.py     files of conversations -> examples; what is left out, and why
batches.py      examples of about the same length -> batches, in an order that the seed decides
adapters.py     which modules get which adapter, and the files that mlx-lm loads
loss.py         nats of the assistant's tokens alone
evaluation.py   the same over the validation conversations
memory.py       how much memory a step takes, before it is made
differences.py  what tuning did to each matrix, by `compare`
"""
