"""What can be cut of a model at which error: `mlx-probe budget`.

plan.py       the whole flow: matrices, what each choice costs, the choice
matrices.py   the matrices of mlx-lm's model, and what may be done to each
ways.py       MLX's quantizations
tensors.py    the tensors of each choice, and so the bytes
measure.py    the error of each choice
rounding.py   that of quantizations
spectra.py    singular values of a finished analysis
measures.py   what was measured, in a file
options.py    the choices of a matrix with bytes and error
knapsack.py   one choice of each matrix: exact, or with a bound
choose.py     the choice for a goal
records.py    the records
document.py   the table's rows, the document of --json
run.py        the same with a run folder

export.py          the chosen model, written whole or not at all
rewrite.py         its tensors, through mlx-lm's own quantization
factors.py         the best factors of a rank
lowrank_model.py   the file that mlx-lm runs for them
lowrank_layout.py  what config.json says of them
verify.py          the error of the files that were written
perplexity.py      a text before and after, and by the uniform choice
"""
