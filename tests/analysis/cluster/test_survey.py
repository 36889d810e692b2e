"""A look at workers that differ: processes of Dask on this machine."""

import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
from clusters import NO_PROBE, OLD, LoopbackCluster, preload
from distributed import Client
from models import write_single

from mlx_probe.analysis.cluster.asking import Silence, ask, no_answer
from mlx_probe.analysis.cluster.facts import BACKEND_VARIABLE, DEVICE_VARIABLE
from mlx_probe.analysis.cluster.fitness import cautions, lacks_memory
from mlx_probe.analysis.cluster.survey import Request, survey
from mlx_probe.analysis.opening import open_checkpoint

pytestmark = pytest.mark.slow
NAMES = {"good", "mac", "older", "bare"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A client of workers that differ, and their processes by name."""
    folder = tmp_path_factory.mktemp("dask")
    with LoopbackCluster(folder, workers=0) as started:
        started.start_worker("good")
        mlx = {BACKEND_VARIABLE: "mlx", DEVICE_VARIABLE: "cpu"}
        started.start_worker("mac", variables=mlx)
        started.start_worker("older", preload(folder / "older.py", OLD))
        started.start_worker("bare", preload(folder / "bare.py", NO_PROBE))
        with Client(started.address, timeout=30, set_as_default=False) as client:
            client.wait_for_workers(len(NAMES), timeout=60)
            yield client, started.workers


@pytest.fixture(scope="module")
def result(cluster):
    return survey(cluster[0], Request(calibrate=True))


def by_name(result):
    return {each.worker.name: each for each in result.workers}


def test_workers_that_may_take_part(result):
    there = by_name(result)
    assert not result.is_fit
    assert there.keys() == NAMES
    good, mac = there["good"], there["mac"]
    assert good.problem is mac.problem is None
    assert good.facts.backend == "numpy"
    assert mac.facts.backend == "mlx"
    assert good.worker.memory == 2_000_000_000
    assert good.worker.label.startswith(f"worker good ({good.facts.host}, tcp://127.0.0.1:")


def test_every_machine_has_rates(result):
    known = [each.facts for each in result.workers if each.facts is not None]
    assert len(known) == 2
    assert all(facts.calibration["copy_bandwidth"] > 0 for facts in known)


@pytest.mark.parametrize(
    ("name", "fact", "remedy"),
    [
        ("older", "it has mlx-probe 0.0.9, and this machine ", "pip install mlx-probe=="),
        ("bare", "it has no mlx-probe", "pip install 'mlx-probe[cluster]=="),
    ],
)
def test_workers_that_are_refused(result, name, fact, remedy):
    said = by_name(result)[name].problem
    assert fact in said[0]
    assert remedy in said[1]


def test_only_workers_that_may_take_part_are_compared(result):
    assert len(result.unlike) == 1
    assert result.unlike[0].startswith("backends differ: ")
    assert result.cautions == () or "cores" in result.cautions[0]


def test_a_backend_that_is_asked_for(cluster):
    there = by_name(survey(cluster[0], Request("mlx", "cpu", calibrate=False)))
    assert there["good"].problem is None
    assert there["good"].facts.backend == "mlx"
    there = by_name(survey(cluster[0], Request("mlx", "gpu", calibrate=False)))
    assert "GPU" in there["good"].problem[0]
    assert there["good"].facts.calibration is None


def test_copies_of_a_model(cluster, tmp_path):
    own = write_single(tmp_path / "own", {"w": np.ones((64, 64), np.float32)})
    other = shutil.copytree(own, tmp_path / "other")
    (file,) = other.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-4] + b"\1\2\3\4")
    with open_checkpoint(own) as checkpoint:
        request = Request(calibrate=False, checkpoint=checkpoint)
        same = survey(cluster[0], request)
        paths = (f"mac={other}", f"good={tmp_path / 'nowhere'}")
        there = by_name(survey(cluster[0], replace(request, model_paths=paths)))
    assert same.model == checkpoint.files.model_id
    assert {each.worker.name for each in same.refused} == {"older", "bare"}
    said = there["mac"].problem
    assert said[0] == f"it reads another copy of {same.model}: {file.name} holds other bytes"
    assert "--model-path-on-workers" in said[1]
    assert "nowhere" in there["good"].problem[0]


def test_a_frozen_worker_is_said_to_be_silent(cluster, result):
    client, named = cluster
    address = by_name(result)["bare"].worker.address
    os.kill(named["bare"].pid, signal.SIGSTOP)
    try:
        answer = ask(client, [address], os.getpid, timeout=0.3)[address]
    finally:
        os.kill(named["bare"].pid, signal.SIGCONT)
    assert isinstance(answer, Silence)
    assert "it gives no answer within 0.3 s" in no_answer(answer)[0]


def test_an_undeclared_memory_is_a_reason_to_refuse(result):
    worker = by_name(result)["good"].worker
    assert lacks_memory(worker) is None
    fact, remedy = lacks_memory(replace(worker, memory=None))
    assert fact == "it does not say how much memory it may take"
    assert '--resources "MEMORY=' in remedy


def test_workers_that_take_more_than_their_machine_has(result):
    good = by_name(result)["good"]
    half = good.facts.memory // 2 + 1
    free = replace(good.worker, dask_limit=None, memory=half, nthreads=good.facts.cores)
    pair = [free] * 2
    assert cautions(pair[:1], [good.facts]) == []
    memory, threads = cautions(pair, [good.facts] * 2)
    assert "lower their MEMORY" in memory
    assert "start fewer" in threads
    (limit,) = cautions([replace(free, dask_limit=half)], [good.facts])
    assert limit.startswith(f"{free.label} gets no more than ")
    assert limit.endswith("--memory-limit 0")


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        (ModuleNotFoundError("No module named 'safetensors'"), "it lacks the package safetensors"),
        (ModuleNotFoundError("No module named 'mlx_probe.analysis.cluster'"), "is another version"),
        (None, "it went away"),
        (AttributeError("Can't get attribute 'x' on <module>"), "is another version"),
        (ValueError("two\nlines"), "it does not answer: ValueError: two"),
    ],
)
def test_what_kept_a_worker_from_answering(answer, fact):
    assert fact in no_answer(answer)[0]


def test_dask_sends_the_text_of_some_exceptions():
    said = Exception(repr(ModuleNotFoundError("No module named 'mlx_probe'")))
    assert no_answer(said)[0] == "it has no mlx-probe"
