"""Eigenvalues of float64 matrices to far more digits than float64 has, and matrices to try."""

from functools import lru_cache

import numpy as np
from matrices import FAMILIES, orthonormal

EPS = np.finfo(np.float64).eps
Exact = np.longdouble

# Neighbours this near, relative to the largest eigenvalue, form a cluster.
NEAR = 1e-9


def exact_eigenvalues(matrix):
    """Eigenvalues of a symmetric float64 matrix in long double, ascending; see `_exact`."""
    return _exact(matrix.tobytes(), len(matrix))


@lru_cache(maxsize=512)
def _exact(content, size):
    """Long double through nearly diagonal form.

    Eigenvectors in float64 make it nearly diagonal, H = V^T A V in long double; what they lack of
    orthogonality, V^T V = I + E, is taken out of H to first order. Its elements off the diagonal
    are then some 1e-15, and move separated eigenvalues by their squares over the gaps: nothing.
    Clusters are solved for themselves, by their differences from their mean.
    """
    matrix = np.frombuffer(content).reshape(size, size)
    a = matrix.astype(Exact)
    v = np.linalg.eigh(matrix)[1].astype(Exact)
    defect = v.T @ v - np.eye(len(a), dtype=Exact)
    h = v.T @ (a @ v)
    h -= (defect @ h + h @ defect) / 2
    order = np.argsort(np.diagonal(h))
    h = h[np.ix_(order, order)]
    values = np.diagonal(h).copy()
    near = np.diff(values) <= NEAR * np.abs(values).max()
    for cluster in np.split(np.arange(len(values)), np.flatnonzero(~near) + 1):
        if len(cluster) > 1:
            mean = values[cluster].mean()
            block = h[np.ix_(cluster, cluster)] - mean * np.eye(len(cluster), dtype=Exact)
            values[cluster] = mean + np.linalg.eigvalsh(block.astype(np.float64))
    return np.sort(values)


def error(values, exact):
    """Largest error, in eps of the largest magnitude."""
    largest = float(np.abs(exact).max())
    off = float(np.abs(values - exact).max())
    return off / (EPS * largest) if largest else off


def gram(family, size, seed=0):
    """The Gram matrix of one of `FAMILIES`."""
    x = FAMILIES[family](np.random.default_rng(seed), size + size // 2, size).astype(np.float64)
    return x.T @ x


def _with_eigenvalues(values, rng):
    q = orthonormal(rng, len(values), len(values))
    product = (q * values) @ q.T
    return (product + product.T) / 2


def _wilkinson(size, rng):
    """Pairs of neighbours that agree to all digits (Wilkinson's W+, glued to any even order)."""
    beside = np.diag(np.ones(size - 1), 1)
    return np.diag(np.abs(np.arange(size) - (size - 1) / 2)) + beside + beside.T


def _block_diagonal(size, rng):
    matrix = np.zeros((size, size))
    half = size // 2
    matrix[:half, :half] = _with_eigenvalues(np.linspace(-1, 1, half), rng)
    matrix[half:, half:] = _with_eigenvalues(np.linspace(-1, 1, size - half), rng)
    return matrix


def _graded(size, rng):
    scale = np.logspace(0, -8, size)
    x = rng.standard_normal((size, size))
    return scale[:, None] * (x @ x.T) * scale


# Symmetric matrices that are no Gram matrices of weights: (size, rng) to a matrix.
SYMMETRIC = {
    "zero": lambda n, rng: np.zeros((n, n)),
    "identity": lambda n, rng: np.eye(n),
    "diagonal": lambda n, rng: np.diag(rng.standard_normal(n)),
    "ones": lambda n, rng: np.ones((n, n)),
    "indefinite": lambda n, rng: _with_eigenvalues(np.linspace(-1, 1, n), rng),
    "negative": lambda n, rng: _with_eigenvalues(-np.logspace(0, -3, n), rng),
    "logarithmic": lambda n, rng: _with_eigenvalues(np.logspace(0, -16, n), rng),
    "one cluster": lambda n, rng: _with_eigenvalues(1 + 1e-14 * rng.standard_normal(n), rng),
    "two clusters": lambda n, rng: _with_eigenvalues(np.sign(np.arange(n) - n / 3 + 0.1), rng),
    "one outlier": lambda n, rng: _with_eigenvalues(np.append(np.full(n - 1, 1e-9), 1.0), rng),
    "wilkinson": _wilkinson,
    "repeated blocks": _block_diagonal,
    "graded": _graded,
    "graded backwards": lambda n, rng: _graded(n, rng)[::-1, ::-1].copy(),
    "huge": lambda n, rng: 1e300 * _with_eigenvalues(np.linspace(0.1, 1, n), rng),
    "tiny": lambda n, rng: 1e-290 * _with_eigenvalues(np.linspace(0.1, 1, n), rng),
}
