"""The table of methods: what each says of its work, and that nobody uses another."""

import ast
import re

import pytest
from project import ROOT

from mlx_probe.analysis.stages import STAGES
from mlx_probe.compute.spectrum import METHODS, flops_of, gram_flops
from mlx_probe.core.records import RankCount


def count(method, rows, cols):
    return flops_of(RankCount(0, rows, cols, method, 0.0))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_is_described_and_counted(method):
    assert METHODS[method.name] is method
    assert method.stage in STAGES
    assert method.description
    assert method.gives
    assert count(method.name, 300, 200) == count(method.name, 200, 300) >= 0
    assert count(method.name, 300, 200) <= count(method.name, 300, 250)


@pytest.mark.parametrize(
    ("method", "square", "tall"),
    [
        ("gram_f64", 36e6, 36e6),
        ("gram_2stage_f64", 36e6, 36e6),
        ("qr_svd_f64", 72e6, 72e6 + 2 * 1000 * 300**2),
        ("cholesky_f64", 9e6, 9e6),
        ("inertia_f64", 27e6, 27e6),
        # All 300 dimensions fit into the basis.
        ("block_lanczos", 4 * 300**3, 4 * 300**2 * 1000),
        ("zero_matrix", 0, 0),
    ],
)
def test_flops(method, square, tall):
    assert count(method, 300, 300) == pytest.approx(square)
    assert count(method, 1000, 300) == pytest.approx(tall)


def test_a_basis_bounds_the_products_of_a_sketch():
    assert count("block_lanczos", 10_000, 10_000) < 4 * 10_000**3 / 10


def test_a_gram_matrix_is_half_a_product():
    assert gram_flops(1000 * 300, 300) == pytest.approx(2 * 1000 * 300**2 / 2, rel=1e-2)


def test_results_name_methods_of_the_table():
    named = set()
    for path in (ROOT / "mlx_probe" / "compute" / "spectrum").glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        words = {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
        named |= {word for word in words if re.fullmatch(r"\w+_(f64|lanczos|matrix)", word)}
    assert named == set(METHODS)
