import io

from rich.console import Console

from mlx_probe.compute.calibration import Calibration
from mlx_probe.report.terminal.cost import cost_text
from mlx_probe.runs.cost import stage_costs
from mlx_probe.runs.monitor import Work


def test_a_line_for_each_stage_and_the_limit():
    stages = {
        "read": Work(2.0, 4 * 10**9),
        "gram": Work(4.0, 10**9, 1e11),
        "solve": Work(8.0, 0, 2e10),
    }
    costs = stage_costs(stages, Calibration({}, copy_bandwidth=1e10, product_rate=5e10))
    limit = {"name": "eigen-solver", "share": 0.5432, "of": "worker time"}
    file = io.StringIO()
    console = Console(file=file, width=80, highlight=False)
    console.print(cost_text({"stages": costs, "limit": limit}))
    lines = [" ".join(line.split()) for line in file.getvalue().splitlines() if line.strip()]
    assert lines[0] == "stage worker s data GB/s of a copy GFLOP/s of a product"
    assert lines[2:] == [
        "read 2.00 4.0 GB 2.00 20% - -",
        "gram 4.00 1.0 GB 0.25 2% 25.0 50%",
        "solve 8.00 - - - 2.5 5%",
        "limit: eigen-solver (54% of worker time)",
    ]
