import pytest

from mlx_probe.compute.backends import BACKENDS, choose_backend
from mlx_probe.core.errors import BackendError


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_is_taken_by_name(name):
    backend, why = choose_backend(name, "cpu")
    assert (backend.name, backend.device) == (name, "cpu")
    assert name in why
    assert backend.default_workers >= 1


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_auto_never_runs_mlx_on_a_cpu(device, monkeypatch):
    monkeypatch.setattr("mlx_probe.compute.backends.mlx.backend.has_gpu", lambda: False)
    backend, why = choose_backend("auto", device)
    assert (backend.name, backend.device) == ("numpy", "cpu")
    assert why.startswith("numpy on cpu: ")


@pytest.mark.parametrize("name", ["auto", *BACKENDS])
def test_a_gpu_that_is_not_there_is_an_error_with_a_remedy(name, monkeypatch):
    monkeypatch.setattr("mlx_probe.compute.backends.mlx.backend.has_gpu", lambda: False)
    with pytest.raises(BackendError) as caught:
        choose_backend(name, "gpu")
    assert caught.value.remedy


def test_auto_falls_back_without_mlx(monkeypatch):
    def missing(device):
        raise BackendError("MLX cannot be imported", "install it")

    monkeypatch.setitem(BACKENDS, "mlx", missing)
    backend, why = choose_backend("auto", "auto")
    assert backend.name == "numpy"
    assert "cannot be imported" in why


def test_working_sets_grow_with_the_matrix(backend):
    small = backend.working_set(1 << 20, 2, 1024)
    assert 0 < backend.working_set(1 << 20, 2, 0) < small
    assert backend.working_set(1 << 24, 2, 1024) > small
    assert min(backend.device_memory()) >= 0
