import numpy as np
import pytest
from matrices import orthonormal

from mlx_probe.compute.spectrum import lanczos
from mlx_probe.compute.spectrum.quadrature import estimate, gauss_rule, radau_rule, ritz

EIGENVALUES = np.linspace(0, 1, 301)[1:] ** 4
TRACE = EIGENVALUES.sum()


def rules(monkeypatch, basis, single=0, seed=0):
    monkeypatch.setattr(lanczos, "BASIS", basis)
    q = orthonormal(np.random.default_rng(1), 300, 300)
    matrix = (q * EIGENVALUES) @ q.T
    rng = np.random.default_rng(seed)
    compression = lanczos.block_lanczos(lambda v: matrix @ v, 300, rng)
    gauss = gauss_rule(compression, ritz(compression), single, TRACE)
    return gauss, radau_rule(compression, single, TRACE)


def shifted_root(x):
    return np.sqrt(x + 1e-3)


@pytest.mark.parametrize("function", [np.sqrt, shifted_root])
def test_gauss_and_radau_hold_the_limit_between_them(monkeypatch, function):
    limit = rules(monkeypatch, 288)[0].total(function)
    widths = []
    for basis in (64, 96, 160, 224):
        gauss, radau = (rule.total(function) for rule in rules(monkeypatch, basis))
        assert radau < limit < gauss
        widths.append(gauss - radau)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.02 * limit


def test_chance_has_no_say_in_what_is_linear(monkeypatch):
    for rule in rules(monkeypatch, 96, single=5):
        assert rule.total(lambda x: 2 - 3 * x) == pytest.approx(600 - 3 * TRACE, rel=1e-12)
        assert rule.sampling(lambda x: 2 - 3 * x) < 1e-9 < rule.sampling(np.sqrt)


def test_known_eigenvalues_leave_less_to_chance(monkeypatch):
    without, with_some = (rules(monkeypatch, 192, single)[0] for single in (0, 20))
    assert with_some.sampling(np.sqrt) < 0.8 * without.sampling(np.sqrt)


def test_a_complete_basis_sums_what_there_is(monkeypatch):
    rule, _ = rules(monkeypatch, 640)
    assert rule.total(np.cbrt) == pytest.approx(np.cbrt(EIGENVALUES).sum(), rel=1e-10)
    assert rule.sampling(np.cbrt) == 0


def test_the_width_adds_up(monkeypatch):
    both = rules(monkeypatch, 96)

    def root_sum(rule):
        return 2 * rule.total(np.sqrt), lambda x: 2 * np.sqrt(x)

    result = estimate(both, root_sum)
    totals = [2 * rule.total(np.sqrt) for rule in both]
    errors = 2 * (both[0].sampling(np.sqrt) + both[0].rounding(np.sqrt))
    assert result.value == pytest.approx(sum(totals) / 2)
    assert result.half_width == pytest.approx((totals[0] - totals[1]) / 2 + errors)
    assert estimate(both[:1], root_sum).half_width == pytest.approx(errors)
