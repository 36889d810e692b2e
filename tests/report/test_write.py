import pytest

import mlx_probe
from mlx_probe.core.errors import ConfigError


def test_the_page_goes_beside_the_run_or_where_it_is_asked_for(copied, tmp_path):
    page = mlx_probe.write_report(copied)
    assert page == copied / "report.html"
    other = mlx_probe.write_report(copied, tmp_path / "new" / "a.htm")
    assert page.read_bytes() == other.read_bytes()


def test_two_runs_in_one_page(copied, whole, tmp_path):
    page = mlx_probe.write_report(whole, tmp_path / "a.html", other=copied)
    alone = mlx_probe.write_report(whole, tmp_path / "b.html")
    assert page.stat().st_size > alone.stat().st_size


def test_what_is_no_page_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match="does not name a page"):
        mlx_probe.write_report(tmp_path / "nowhere", tmp_path / "a.pdf")
