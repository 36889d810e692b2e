"""Which kernels are used, and what is said of those that are not."""

import threading

import pytest

from mlx_probe.compute import fortran, native


def test_the_fixture_switches_the_kernels(kernels):
    libraries = [native.library(name) for name in native.LIBRARIES]
    assert [library is None for library in libraries] == 2 * [kernels == "without"]
    assert native.used() == ({} if kernels == "without" else native.LIBRARIES)


def test_all_threads_are_switched_off_by_the_variable(monkeypatch):
    monkeypatch.setenv(native.VARIABLE, "0")
    seen = []
    thread = threading.Thread(target=lambda: seen.append(native.library("eigen")))
    thread.start()
    thread.join()
    assert seen == [None]
    for status in native.statuses():
        assert (status.reason, status.remedy) == ("MLX_PROBE_NATIVE is 0", "Unset MLX_PROBE_NATIVE")


@pytest.mark.usefixtures("kernels")
def test_without_holds_for_its_block():
    before = native.library("eigen")
    with native.without():
        assert native.library("eigen") is None
    assert native.library("eigen") is before


@pytest.fixture
def fresh(monkeypatch):
    """Libraries are loaded again, in this test and after it."""
    monkeypatch.delenv(native.VARIABLE, raising=False)
    native._load.cache_clear()
    yield monkeypatch
    native._load.cache_clear()


def test_a_library_that_was_not_compiled(fresh):
    fresh.setattr(native, "EXTENSION_SUFFIXES", [".none"])
    (eigen, _) = native.statuses()
    assert (eigen.handle, eigen.reason) == (None, "it was not compiled")
    assert "C compiler" in eigen.remedy


def broken(tmp_path, fresh, content):
    """The status of a library whose file has this content."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "eigen.broken").write_bytes(content)
    fresh.setattr(native, "EXTENSION_SUFFIXES", [".broken"])
    fresh.setattr(native, "__file__", str(tmp_path / "__init__.py"))
    return native.statuses()[0]


def test_a_file_that_is_no_library(fresh, tmp_path):
    status = broken(tmp_path, fresh, b"no library")
    assert status.handle is None
    assert status.reason.startswith("eigen.broken cannot be loaded: ")
    assert "again" in status.remedy


def test_a_library_of_another_version(fresh):
    if native.library("eigen") is None:
        pytest.skip("needs the compiled kernel")
    native._load.cache_clear()
    fresh.setitem(native.LIBRARIES, "eigen", native.LIBRARIES["eigen"] + 1)
    assert native.statuses()[0].reason.endswith("is of another version")


def test_a_blas_that_lacks_a_routine(fresh):
    if native.library("eigen") is None:
        pytest.skip("needs the compiled kernel")
    native._load.cache_clear()
    fresh.setattr(fortran, "is_available", lambda: False)
    solver, elements = native.statuses()
    assert "numpy's BLAS lacks routines" in solver.reason
    assert elements.handle is not None  # they call none
