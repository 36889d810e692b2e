import pytest

from mlx_probe.core.paths import cache_dir


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, ".cache/mlx-probe"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/mlx-probe"),
        ("darwin", {"XDG_CACHE_HOME": "/xdg"}, "Library/Caches/mlx-probe"),
        ("darwin", {"MLX_PROBE_CACHE": "~/mine"}, "mine"),
    ],
)
def test_cache_dir(tmp_path, monkeypatch, platform, environment, expected):
    monkeypatch.setattr("sys.platform", platform)
    for name in ("MLX_PROBE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(tmp_path), **environment}.items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == tmp_path / expected
