"""Sizes are written as rich writes them, which lower rooms may not import."""

import pytest
from rich.filesize import decimal

from mlx_probe.core.units import format_size, parse_size


@pytest.mark.parametrize("power", range(28))
def test_sizes_read_as_those_of_rich(power):
    for count in (10**power - 1, 10**power, 10**power + 1, 4 * 10**power // 3, 9.995 * 10**power):
        assert format_size(count) == decimal(count)


@pytest.mark.parametrize(("text", "count"), [("1 byte", 1), ("999 bytes", 999), ("2.5 GB", 2.5e9)])
def test_examples(text, count):
    assert format_size(count) == text


def test_a_written_size_can_be_given_back():
    assert parse_size(format_size(1_500_000)) == 1_500_000
