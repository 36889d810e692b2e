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
"""
