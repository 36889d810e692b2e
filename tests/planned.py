"""The server with planned timings of the benchmarks, for tests."""

import importlib.util
import sys

from project import ROOT

_spec = importlib.util.spec_from_file_location(
    "planned_server", ROOT / "benchmarks" / "_planned_server.py"
)
planned_server = importlib.util.module_from_spec(_spec)
sys.modules["planned_server"] = planned_server
_spec.loader.exec_module(planned_server)
