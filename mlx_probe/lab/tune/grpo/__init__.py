"""GRPO: learning from the rewards of answers that the model draws.

prompts.py      what is asked, and what is right
rollouts.py     answers to prompts, drawn and judged
advantages.py   how much better an answer is than its group
batches.py      the answers of a round as arrays
scoring.py      probabilities by the model before tuning, and before the round's first update
loss.py         the clipped objective with its divergence
store.py        rollouts as Parquet
evaluation.py   the mean reward of held-out prompts
rounds.py       round after round; objective.py puts all of it together
"""
