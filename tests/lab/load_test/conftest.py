"""A server with planned timings, and a test against it."""

import pytest
from planned import planned_server

from mlx_probe.lab.load_test.address import parse_address
from mlx_probe.lab.load_test.config import LoadTestConfig
from mlx_probe.lab.load_test.prompts import Prompt
from mlx_probe.lab.load_test.session import run_session
from mlx_probe.lab.load_test.statistics import measure


@pytest.fixture(scope="session")
def port():
    with planned_server.running() as port:
        yield port


@pytest.fixture(scope="session")
def ask(port):
    """Send plans, and get what each took, by name; at once, or as settings say."""

    def ask(*plans, tokenizer=None, **settings):
        config = LoadTestConfig(model="planned", num_prompts=len(plans), **settings)
        prompts = [Prompt(plan.prompt(), None, 8, {}) for plan in plans]
        address = parse_address(f"http://127.0.0.1:{port}", config.backend)
        session = run_session(address, "planned", prompts, config)
        assert len(session.requests) == len(plans)
        names = [plan.name for plan in plans]
        measured = (measure(request, tokenizer) for request in session.requests)
        return dict(zip(names, measured, strict=True))

    return ask
