"""`download` and `verify` as commands: options, output, exit codes, kills."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hub_models import NEEDED, REPO, SHARDS, make_files
from hub_server import TOKEN, hub  # noqa: F401  a fixture
from models import invoke, refuses
from tinymodel import heed_ctrl_c

from mlx_probe.library.download import COMPANIONS

MAIN = "from mlx_probe.cli import main; main()"


@pytest.fixture
def published(hub, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mlx_probe.source.transfer.retry.time.sleep", lambda seconds: None)
    hub.repos[REPO] = {"main": make_files()}
    return hub


def test_a_download_then_its_verification(published, tmp_path):
    done = invoke("download", REPO, "--local-dir", tmp_path / "here")
    assert done.exit_code == 0, done.output
    assert "5 file(s), 60.1 kB, all verified\n" in done.stdout
    assert f"  folder    {tmp_path / 'here'}\n" in done.stdout
    for name in SHARDS:
        assert f"{name}: 30.0 kB, verified\n" in done.stderr
    again = invoke("download", REPO, "--local-dir", tmp_path / "here")
    assert "all verified, nothing had to be fetched" in again.stdout
    found = invoke("verify", tmp_path / "here")
    assert found.exit_code == 0
    assert "5 of 5 file(s) right" in found.stdout


def test_quiet_says_nothing(published, tmp_path):
    for arguments in (("download", REPO), ("verify", REPO)):
        done = invoke(*arguments, "--quiet")
        assert (done.exit_code, done.output) == (0, "")


@pytest.mark.parametrize("command", ["download", "verify"])
def test_a_rule_that_stops_is_an_exit_code_of_its_own(published, tmp_path, command):
    folder = tmp_path / "here"
    assert invoke("download", REPO, "--local-dir", folder).exit_code == 0
    spoiled = folder / SHARDS[0]
    spoiled.write_bytes(b"x" * spoiled.stat().st_size)
    target = (REPO, "--local-dir", folder) if command == "download" else (folder,)
    stopped = invoke(command, *target, "--alert", "memory above 1% stop")
    assert stopped.exit_code == 75
    assert 'stopped by the rule "memory above 1% stop"' in stopped.stderr
    assert invoke(command, *target).exit_code == (0 if command == "download" else 1)


def test_a_damaged_file_is_a_failure_until_it_is_repaired(published, tmp_path):
    folder = tmp_path / "here"
    invoke("download", REPO, "--local-dir", folder)
    (folder / SHARDS[1]).write_bytes(b"x")
    found = invoke("verify", folder)
    refuses(found, "1 of 5 file(s) are not right")
    assert f"damaged   {SHARDS[1]}: 1 bytes, not 30017" in found.stdout
    mended = invoke("verify", folder, "--repair", "--json")
    assert mended.exit_code == 0
    told = {file["name"]: file for file in json.loads(mended.stdout)["files"]}
    assert told[SHARDS[1]]["repaired"]
    assert not told["config.json"]["problem"]


def test_a_dry_run(published, tmp_path):
    plan = invoke("download", REPO, "--dry-run", "--local-dir", tmp_path / "here", COLUMNS="90")
    assert plan.exit_code == 0
    assert not (tmp_path / "here").exists()
    for name in NEEDED:
        assert name in plan.stdout
    assert "to fetch 60.1 kB" in plan.stdout
    told = json.loads(invoke("download", REPO, "--dry-run", "--json").stdout)
    assert {file["name"] for file in told["files"]} == set(NEEDED)
    assert {file["state"] for file in told["files"]} == {"missing", "unverified"}


def test_json_of_a_download(published, tmp_path):
    told = json.loads(invoke("download", REPO, "--json", "--local-dir", tmp_path).stdout)
    assert told["received"] == told["size"] == 60_140
    assert told["manifest"] == str(tmp_path / "mlx-probe-manifest.json")
    states = {file["name"]: file["state"] for file in told["files"]}
    assert [states[name] for name in SHARDS] == ["missing", "missing"]


def test_the_help_names_what_is_fetched():
    told = " ".join(invoke("download", "--help", COLUMNS="300").stdout.split())
    for name in COMPANIONS:
        assert name in told


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["owner/missing"], 1, ["has no model owner/missing", "HF_TOKEN"]),
        ([REPO, "--revision", "v9"], 1, ["has no revision 'v9'"]),
        ([REPO, "--include", "*.gguf"], 2, ["no file of owner/name is left"]),
        ([REPO, "--endpoint", "http://mirror.example"], 2, ["https:// address"]),
        (["./nowhere"], 1, ["does not exist"]),
        (["https://host.test/page"], 1, ["does not end in the name of a weight file"]),
        (["http://host.test/x.gguf"], 1, ["no https address"]),
    ],
)
def test_refusals(published, arguments, code, says):
    told = refuses(invoke("download", *arguments), *says, code=code)
    assert TOKEN not in told


def test_gated(published):
    published.gated.add(REPO)
    refuses(invoke("download", REPO), "owner/name is gated", "hf auth login")


def test_names_print_harmlessly(published):
    name = "[red]\x1b[2J\n.safetensors"
    published.repos[REPO]["main"] = {name: b"x", "config.json": b"{}"}
    told = invoke("download", REPO)
    assert told.exit_code == 1
    assert "\x1b" not in told.output
    assert all(c.isprintable() or c == "\n" for c in told.output)


def start(published, tmp_path, *arguments):
    environment = {
        **os.environ,
        "HF_ENDPOINT": published.url,
        "HF_HOME": str(tmp_path / "home"),
        "MLX_PROBE_CACHE": str(tmp_path / "cache"),
    }
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, "download", REPO, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )


def wait_for(published, count, process):
    """Until so many bytes were sent."""
    began = time.monotonic()
    while sum(published.sent.values()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < 60
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("local", [True, False])
def test_kill_9_again_and_again(published, tmp_path, local, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    files = make_files(3, 400_000)
    published.repos[REPO]["main"] = files
    total = sum(len(files[name]) for name in NEEDED)
    arguments = ("--local-dir", tmp_path / "here") if local else ()
    published.pace = 0.002
    for share in (0.2, 0.6):
        process = start(published, tmp_path, *arguments)
        wait_for(published, share * total, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    published.pace = 0.0
    process = start(published, tmp_path, *arguments)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "there already" in errors
    folder = tmp_path / "here" if local else next(tmp_path.glob("home/hub/*/snapshots/*"))
    for name in NEEDED:
        assert (folder / name).read_bytes() == files[name]
    assert not list(tmp_path.rglob("*.incomplete"))
    # All that three servings sent, with what was on its way when the process died.
    ratio = sum(published.sent.values()) / total
    print(f"kill -9 twice: {ratio:.4f} times the size")
    assert ratio <= 1.2


@pytest.mark.slow
def test_ctrl_c(published, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    published.repos[REPO]["main"] = make_files(3, 400_000)
    published.pace = 0.002
    process = start(published, tmp_path, "--local-dir", tmp_path / "here")
    wait_for(published, 200_000, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Error: interrupted; what is there is kept" in errors
    assert "Traceback" not in errors
    assert list((tmp_path / "here").glob(".mlx-probe/*.incomplete"))


@pytest.mark.slow
@pytest.mark.parametrize("local", [True, False])
def test_two_at_once_fetch_it_once(published, tmp_path, monkeypatch, local):
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    files = published.repos[REPO]["main"] = make_files(3, 200_000)
    published.pace = 0.002
    arguments = ("--local-dir", tmp_path / "here") if local else ()
    both = [start(published, tmp_path, *arguments) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    for name in NEEDED:
        assert published.sent[name] == len(files[name])
