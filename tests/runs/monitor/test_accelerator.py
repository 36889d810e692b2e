"""Parsers on recorded text, and adapters that are other programs: no Mac was at hand."""

import sys
import threading

import pytest

from mlx_probe.runs.monitor.accelerator import (
    ADAPTERS,
    Accelerator,
    Adapter,
    parse_ioreg,
    parse_macmon,
)
from mlx_probe.runs.monitor.columns import SAMPLE_COLUMNS

IOREG = """+-o AGXAcceleratorG15X  <class AGXAcceleratorG15X, id 0x1000004a3, registered, active>
    {
      "IOClass" = "AGXAcceleratorG15X"
      "PerformanceStatistics" = {"In use system memory (driver)"=0,\
"Alloc system memory"=9263054848,\
"Tiler Utilization %"=17,"recoveryCount"=0,"lastRecoveryTime"=0,"Renderer Utilization %"=16,\
"TiledSceneBytes"=524288,"Device Utilization %"=42,"SplitSceneCount"=0,"In use system memory"=8}
      "model" = "Apple M3 Ultra"
    }

"""
MACMON = (
    '{"timestamp":"2025-02-24T20:38:15.427569+00:00","temp":{"cpu_temp_avg":43.73,'
    '"gpu_temp_avg":36.95},"memory":{"ram_total":25769803776,"ram_usage":20985479168,'
    '"swap_total":4294967296,"swap_usage":2602434560},"ecpu_usage":[1181,0.082],'
    '"pcpu_usage":[1974,0.015],"gpu_usage":[461,0.0251],"cpu_power":0.2,"gpu_power":0.0137,'
    '"ane_power":0.0,"all_power":0.22,"sys_power":5.87,"ram_power":0.11,"gpu_ram_power":0.0009}\n'
)


def test_recorded_output():
    assert parse_ioreg(IOREG) == {"gpu_percent": 42.0}
    assert parse_macmon(MACMON) == {"gpu_power": 0.0137, "gpu_percent": pytest.approx(2.51)}
    assert parse_ioreg(IOREG + IOREG.replace("=42", "=80")) == {"gpu_percent": 80.0}


@pytest.mark.parametrize("parse", [parse_ioreg, parse_macmon])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "Error",
        "[]",
        "{}",
        '{"gpu_power": null}',
        '{"gpu_power": NaN}',
        '{"gpu_power": -1}',
        '"Device Utilization %"=',
        '"Device Utilization %"=99999',
        '{"a":' * 50_000,
    ],
)
def test_output_without_values(parse, text):
    assert parse(text) == {}


def test_the_values_of_a_program(tmp_path):
    asked = threading.Event()

    def parse(text):
        asked.set()
        return parse_macmon(text)

    program = tmp_path / "macmon"
    program.write_text(MACMON)
    with Accelerator({"macmon": Adapter(("cat", str(program)), parse)}) as accelerator:
        assert asked.wait(30)
        while not accelerator.latest():
            pass
        assert accelerator.latest()["gpu_power"] == 0.0137


@pytest.mark.parametrize("command", ["false", "/no/such/program"])
def test_a_program_that_fails_is_left_out(command):
    asked = threading.Event()

    def parse(text):
        asked.set()
        return parse_macmon(text)

    with Accelerator({"macmon": Adapter((command,), parse)}) as accelerator:
        assert asked.wait(30)
        assert accelerator.latest() == {}


@pytest.mark.skipif(sys.platform == "darwin", reason="there are such programs")
def test_nothing_is_called_but_on_a_mac():
    before = threading.active_count()
    with Accelerator() as accelerator:
        assert threading.active_count() == before
        assert accelerator.latest() == {}


def test_adapters_give_columns():
    columns = {column.name for column in SAMPLE_COLUMNS}
    parsed = [ADAPTERS["ioreg"].parse(IOREG), ADAPTERS["macmon"].parse(MACMON)]
    assert all(set(each) <= columns and each for each in parsed)
