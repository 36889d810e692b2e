"""The doctor through its command."""

import json
from dataclasses import replace
from importlib import import_module

import pytest
from hub_server import TOKEN, hub  # noqa: F401  fixture
from machines import LINUX, MAC, but
from models import invoke, refuses
from tinymodel import run

from mlx_probe.doctor import CHECKS, disk, tools
from mlx_probe.doctor.facts import Tool


@pytest.fixture
def machine(monkeypatch):
    """Replaces this machine by given facts."""
    # Not by an import of the package's attribute: that is the command of the same name.
    module = import_module("mlx_probe.cli.doctor")

    def be(facts):
        def gathered(offline):
            return replace(facts, hub=None) if offline else facts

        monkeypatch.setattr(module, "gather", gathered)

    return be


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """This machine, with little to measure."""
    monkeypatch.setattr(disk, "MOST", disk.BLOCK)
    monkeypatch.setattr(tools, "_TORCH", "print('{}')")
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))


def words(result):
    return " ".join(result.stdout.split())


def test_a_good_machine(machine):
    machine(MAC)
    result = invoke("doctor", COLUMNS="100")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert "19 ok, 0 warnings, 0 errors" in words(result)
    for check in CHECKS:
        assert check in result.stdout


def test_warnings_are_no_failure(machine):
    machine(LINUX)
    result = invoke("doctor", COLUMNS="100")
    assert result.exit_code == 0
    assert "apt install libopenblas0-pthread" in words(result)
    assert " 2 warnings, 0 errors" in words(result)


def test_a_new_line_in_the_table_is_enough_for_a_check(machine, monkeypatch):
    monkeypatch.setitem(CHECKS, "made up", lambda facts: [("error", facts.system.cpu, "Do it")])
    machine(MAC)
    shown = words(invoke("doctor", COLUMNS="100"))
    assert "error made up Apple M3 Ultra Do it" in shown
    finding = json.loads(invoke("doctor", "--json").stdout)["checks"][-1]
    assert finding == {
        "check": "made up",
        "status": "error",
        "fact": "Apple M3 Ultra",
        "remedy": "Do it",
    }


def test_an_error_is_a_failure(machine):
    machine(but("hub", token="refused"))
    says = refuses(invoke("doctor", COLUMNS="100"), "errors in 1 of 19 findings")
    assert "Traceback" not in says
    machine(but("hub", token="refused"))
    assert invoke("doctor", "--offline").exit_code == 0


@pytest.mark.parametrize("width", [40, 80, 200])
def test_text_fits_and_is_harmless(machine, width):
    hostile = Tool("Ollama", "[red]/bin\x1b[2J\n[/] 1.0", "x" * 300)
    machine(but(tools=(hostile,)))
    text = invoke("doctor", COLUMNS=str(width)).stdout
    assert max(map(len, text.splitlines())) <= width
    assert not {c for c in text if not c.isprintable() and c != "\n"}
    if width == 200:
        assert "Ollama [red]/bin\\x1b[2J\\n[/] 1.0" in text


def test_json_has_findings_and_facts(machine):
    machine(LINUX)
    result = invoke("doctor", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    content = json.loads(result.stdout)
    assert list(content) == ["status", "checks", "facts", "differences"]
    assert (content["status"], content["differences"]) == ("warning", None)
    for finding in content["checks"]:
        assert list(finding) == ["check", "status", "fact", "remedy"]
        assert finding["check"] in CHECKS
        assert finding["status"] in ("ok", "warning", "error")
        assert bool(finding["remedy"]) == (finding["status"] != "ok")
    facts = content["facts"]
    assert facts["system"]["cpu"] == "AMD EPYC"
    assert facts["blas"]["mlx_rate"] == 6e9
    assert facts["packages"] == dict(LINUX.packages)


def test_json_of_an_error_is_json_still(machine):
    machine(but(requirements=()))
    result = invoke("doctor", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "error"


def test_a_snapshot_is_kept_and_compared(machine, tmp_path):
    machine(MAC)
    result = invoke("doctor", "--snapshot", tmp_path / "kept", COLUMNS="100")
    assert result.exit_code == 0
    assert str(tmp_path / "kept" / "environment.md") in result.stdout
    same = invoke("doctor", "--compare", tmp_path / "kept", COLUMNS="300")
    assert f"as in {tmp_path / 'kept'}: the same environment" in same.stdout
    machine(but(packages={"mlx": "0.33.0", "mlx-metal": "0.32.4", "new[bold]": "1"}))
    # Compared with what was there before it was replaced.
    both = ("--compare", tmp_path / "kept", "--snapshot", tmp_path / "kept")
    changed = words(invoke("doctor", *both, COLUMNS="300"))
    assert f"3 differences from {tmp_path / 'kept'}:" in changed
    for line in ("mlx 0.32.4 -> 0.33.0", "new[bold] absent -> 1", "numpy 2.4.0 -> absent"):
        assert line in changed
    again = json.loads(invoke("doctor", "--json", "--compare", tmp_path / "kept").stdout)
    assert again["differences"] == []


def test_nothing_to_compare_with(machine, tmp_path):
    machine(MAC)
    refuses(invoke("doctor", "--compare", tmp_path), "environment.md", "--snapshot")


@pytest.mark.slow
def test_this_machine_by_the_installed_command(tmp_path):
    kept = tmp_path / "kept"
    options = ("--offline", "--json", "--snapshot", kept)
    result = run("doctor", *options, MLX_PROBE_CACHE=str(tmp_path / "cache"), HF_TOKEN=TOKEN)
    content = json.loads(result.stdout)
    assert result.returncode == (content["status"] == "error")
    assert {"hub", "token"}.isdisjoint(finding["check"] for finding in content["checks"])
    assert content["facts"]["hub"] is None
    assert content["facts"]["blas"]["double_rate"] > 0
    rate = content["facts"]["blas"]["mlx_rate"]
    assert (rate is None) == (content["facts"]["mlx"] is None)
    texts = [path.read_text("utf-8") for path in kept.iterdir()]
    assert len(texts) == 2
    assert TOKEN not in "".join([result.stdout, result.stderr, *texts])
    # Files to measure with have no name.
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"calibration"}


@pytest.mark.parametrize("token", [TOKEN, f"{TOKEN}\x80"])
def test_the_hub_and_no_sight_of_the_token(quick, hub, tmp_path, token):  # noqa: F811
    class Refusing(hub.server.RequestHandlerClass):
        def answer(self):
            hub.tokens.add(("any", self.headers.get("Authorization")))
            self.send(401)

    hub.server.RequestHandlerClass = Refusing
    outputs = []
    for options in ((), ("--json", "--snapshot", tmp_path / "kept")):
        result = invoke("doctor", *options, HF_TOKEN=token, COLUMNS="300")
        assert result.exit_code == 1
        outputs.append(result.output)
    assert f"{hub.url} answers" in outputs[0]
    assert "token (HF_TOKEN)" in outputs[0]
    sent = {authorization for _, authorization in hub.tokens}
    assert sent == ({f"Bearer {TOKEN}"} if token == TOKEN else {None})
    outputs += [path.read_text("utf-8") for path in (tmp_path / "kept").iterdir()]
    assert not [text for text in outputs if TOKEN in text]


def test_offline_asks_nobody(quick, hub):  # noqa: F811
    invoke("doctor", "--offline")
    assert hub.requests == []
