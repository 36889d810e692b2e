"""Every check on a machine where all is well, and where it is not."""

from dataclasses import replace

import pytest
from machines import LINUX, MAC, but

from mlx_probe.compute.backends.mlx.status import MlxStatus
from mlx_probe.doctor import CHECKS, examine
from mlx_probe.doctor.facts import Kernel, Requirement, Tool


def verdicts(check, facts):
    return [(f.status, f.fact, f.remedy) for f in examine(facts) if f.check == check]


def disk(**changes):
    return but(disks=(replace(MAC.disks[0], **changes), MAC.disks[1]))


def hub(**changes):
    return but("hub", **changes)


def tool(name, **changes):
    return but(tools=(Tool(name, **changes),))


@pytest.mark.parametrize("check", CHECKS)
def test_all_is_well_on_a_good_machine(check):
    results = verdicts(check, MAC)
    assert results
    assert all((status, remedy) == ("ok", "") for status, _, remedy in results), results


NOT_COMPILED = but(kernels=(Kernel("elements", "not compiled", "Get a C compiler"),))

FAULTS = [
    ("python", but("system", python="3.9.7"), "error", "needs >=3.10", "Python >=3.10"),
    ("python", but("system", machine="x86_64"), "error", "emulated on Apple", "arm64"),
    ("packages", but(requirements=()), "error", "own metadata", "pip install mlx-probe"),
    (
        "packages",
        but(requirements=(Requirement("numpy", ">=1.26", None, "mlx-probe", False),)),
        "error",
        "mlx-probe needs numpy>=1.26: it is not installed",
        "pip install 'numpy>=1.26'",
    ),
    (
        "packages",
        but(requirements=(Requirement("mlx-metal", "==0.32.4", "0.31.0", "mlx", False),)),
        "error",
        "mlx needs mlx-metal==0.32.4: 0.31.0",
        "pip install 'mlx-metal==0.32.4'",
    ),
    ("language", but(asked_language="xx"), "warning", "MLX_PROBE_LANG=xx", "en, zh"),
    ("disk encryption", but("protection", encryption="off"), "warning", "off:", "System Settings"),
    (
        "disk encryption",
        but("protection", encryption="unknown", said="FileVault is Ok."),
        "warning",
        "unknown whether FileVault is on: FileVault is Ok.",
        "fdesetup status",
    ),
    ("account", but("protection", account="unknown"), "warning", "unknown what", "id -Gn"),
    ("mlx", but(mlx=None, mlx_problem="no MLX"), "error", "no MLX", "pip install"),
    ("mlx", replace(LINUX, mlx=None, mlx_problem="no"), "warning", "no", "'mlx[cpu]'"),
    ("mlx", LINUX, "warning", "sees no GPU", "Apple-Silicon"),
    ("mlx", but("mlx", gpu=False), "warning", "sees no GPU", "virtual machine"),
    (
        "device memory",
        but("mlx", working_set=9 << 30),
        "warning",
        "9.7 GB",
        "wired_limit_mb=349525",
    ),
    ("device memory", but("mlx", working_set=None), "warning", "does not say", "--memory-limit"),
    ("numpy blas", but("blas", double_rate=2e9), "warning", "2.0 GFLOP/s", "reinstall numpy"),
    ("numpy blas", but("blas", double_rate=None), "warning", "not be measured", "again"),
    ("mlx blas", LINUX, "warning", "reference BLAS", "libopenblas0-pthread"),
    (
        "mlx blas",
        replace(LINUX, blas=replace(LINUX.blas, mlx_library="/lib/libblas.so.3")),
        "warning",
        "/lib/libblas.so.3, which is slow",
        "MLX_PROBE_MLX_BLAS",
    ),
    ("mlx blas", but("blas", mlx_rate=6e9), "warning", "are slow: 6.0 GFLOP/s", "update MLX"),
    ("kernels", NOT_COMPILED, "warning", "elements: not compiled; numpy", "a C compiler"),
    ("disk", disk(free=None, problem="cannot be written"), "error", "/hub", "HF_HOME"),
    ("disk", disk(write_rate=None, problem="cannot be written"), "error", "cannot be", "HF_HOME"),
    ("disk", disk(free=10**8), "error", "100.0 MB free", "Free space"),
    ("disk", disk(free=6 * 10**8, write_rate=None, problem="no"), "error", "no", "Free space"),
    ("disk", disk(free=5 * 10**9), "warning", "little room", "Free space"),
    ("disk", disk(read_rate=9e7), "warning", "90.0 MB/s: slow", "HF_HOME"),
    ("disk", disk(write_rate=1e7), "warning", "writes 10.0 MB/s", "HF_HOME"),
    ("hub", hub(offline=True, status=None), "warning", "HF_HUB_OFFLINE", "Unset"),
    ("hub", hub(status=None, problem="no answer"), "error", "no answer", "--offline"),
    ("hub", hub(status=429), "warning", "answers 429", "again"),
    ("hub", hub(status=503), "warning", "answers 503", "mirror"),
    ("hub", hub(status=302), "warning", "elsewhere", "Log in"),
    ("token", hub(token="none", token_source=""), "warning", "no token", "hf auth login"),
    ("token", hub(token="refused"), "error", "refuses the token (HF_TOKEN)", "new one"),
    ("token", hub(token="malformed"), "error", "characters", "new one"),
    ("token", hub(token="unknown"), "warning", "nobody said", "again"),
    ("tools", tool("Ollama", found="/ollama", problem="fails"), "warning", "fails", "Repair"),
    ("tools", tool("torch", found="2.13.0", detail="cpu only"), "warning", "without MPS", "arm64"),
]


@pytest.mark.parametrize(("check", "facts", "status", "fact", "remedy"), FAULTS)
def test_a_fault_has_a_fact_and_a_remedy(check, facts, status, fact, remedy):
    first = verdicts(check, facts)[0]
    assert first[0] == status
    assert fact in first[1]
    assert remedy in first[2]


def test_every_check_has_a_fault():
    assert {check for check, *_ in FAULTS} == set(CHECKS)


def test_kernels_that_are_used_and_one_that_is_not():
    both = (Kernel("eigen"), *NOT_COMPILED.kernels)
    used, unused = verdicts("kernels", but(kernels=both))
    assert used == ("ok", "compiled kernels are used: eigen", "")
    assert unused[0] == "warning"


def test_the_language_is_said_with_who_chose_it():
    assert verdicts("language", but(language="zh"))[0][1].endswith("MLX_PROBE_LANG sets it")
    chosen = but(language="zh", asked_language="zh_CN.UTF-8")
    ((status, fact, _),) = verdicts("language", chosen)
    assert (status, fact) == ("ok", "messages are in the language zh, by MLX_PROBE_LANG")


def test_unknown_facts_have_no_findings():
    checks = {finding.check for finding in examine(but(hub=None))}
    assert checks == set(CHECKS) - {"hub", "token"}
    assert not verdicts("device memory", LINUX)
    assert not verdicts("mlx blas", but("blas", mlx_rate=None))


def test_memory_of_a_gpu_of_its_own_is_not_compared_with_main_memory():
    cuda = replace(LINUX, mlx=MlxStatus("0.32.4", True, "a GPU", 24 * 10**9))
    assert verdicts("device memory", cuda) == [("ok", "24.0 GB on the GPU", "")]


@pytest.mark.parametrize("library", ["/lib/libopenblas.so.0", None])
def test_the_library_that_mlx_calls_is_named(library):
    blas = replace(LINUX.blas, mlx_rate=90e9, mlx_library=library)
    ((status, fact, _),) = verdicts("mlx blas", replace(LINUX, blas=blas))
    assert status == "ok"
    assert fact.startswith(f"MLX calls {library}: 90" if library else "MLX has a tuned BLAS: 90")


def test_a_wrong_setting_has_a_remedy_of_its_own():
    facts = but(mlx=None, mlx_problem="a wrong setting", mlx_remedy="Unset it")
    assert verdicts("mlx", facts) == [("error", "a wrong setting", "Unset it")]


def test_every_lacking_package_is_named():
    lacking = tuple(
        Requirement(name, ">=1", None, "mlx-probe", False) for name in ("click", "rich")
    )
    assert len(verdicts("packages", but(requirements=(*lacking, *MAC.requirements)))) == 2


@pytest.mark.parametrize("status", [401, 404, 501])
def test_any_word_from_the_endpoint_is_an_answer(status):
    assert verdicts("hub", hub(status=status))[0][0] == "ok"


def test_optional_tools_may_be_absent():
    assert verdicts("tools", tool("Ollama")) == [("ok", "Ollama not found (optional)", "")]
    assert verdicts("tools", replace(LINUX, tools=(Tool("torch", "2", "cpu only"),)))[0][0] == "ok"
