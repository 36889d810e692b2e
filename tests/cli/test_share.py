"""`mlx-probe share` as a process and by its subcommands."""

import json
import os
import re
import signal
import subprocess
import urllib.request

import pytest
from guest_server import CANARY, made_run
from models import invoke, refuses
from tinymodel import COMMAND


@pytest.fixture
def kept(tmp_path):
    return {"MLX_PROBE_DATA": str(tmp_path / "kept"), "COLUMNS": "120"}


def test_it_shows_a_run_until_ctrl_c(tmp_path, kept):
    run = made_run(tmp_path)
    command = [COMMAND, "share", run, "--port", "0", "--guest", "ada", "--guest", "bob"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **kept},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        try:
            address = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=mps1\.ada\.\S+", address)
            second = process.stdout.readline()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=mps1\.bob\.\S+\n", second)
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with opener.open(address, timeout=10) as answer:
                assert "token" not in answer.url
                assert 'href="/tiny/"' in answer.read().decode()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert "Address 2 is for bob, until" in said
    assert "tiny: report and 4 files; left out:" in said
    shown = json.loads(invoke("share", "audit", "--json", **kept).stdout)
    assert [(each["guest"], each["status"]) for each in shown["requests"]] == [
        ("ada", 303),
        ("ada", 200),
    ]
    text = invoke("share", "audit", "--guest", "ada", "--last", "1", **kept).stdout
    assert "GET /?token" not in text
    assert re.search(r"ada +127\.0\.0\.1 +GET / +200", text)
    assert "ada" not in invoke("share", "audit", "--refused", **kept).stdout
    assert not (run / "report.html").exists()
    assert CANARY not in text


def test_tokens_are_made_listed_and_taken_back(kept):
    made = invoke("share", "token", "ada", "--expires", "2d", **kept)
    assert re.fullmatch(r"mps1\.ada\.\w+\.\d+\.[\w-]+\n", made.stdout)
    assert "Good until" in made.stderr
    listed = json.loads(invoke("share", "guests", "--json", **kept).stdout)
    assert [(each["guest"], each["good"]) for each in listed] == [("ada", True)]
    assert "valid" in invoke("share", "guests", **kept).stdout
    assert "1 tokens of ada were taken back" in invoke("share", "revoke", "ada", **kept).stdout
    assert "taken back" in invoke("share", "guests", **kept).stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["{none}"], 1, "/none"),
        (["tokne", "ada"], 2, "Did you mean 'token'?"),
        (["{run}", "--host", "0.0.0.0"], 2, "no guest has a token"),
        (["{run}", "--allow-host", "studio.ts.net"], 2, "no guest has a token"),
        (["{run}", "--guest", "a/b"], 2, "no name for a guest"),
        (["{run}", "--include", "secrets"], 2, "'metadata', 'logs', 'weights'"),
        (["{run}", "--audit", "{run}/audit.jsonl"], 2, "would lie in a shared folder"),
        (["{run}", "--audit", "{run}/link.txt/x"], 1, "nothing is served without"),
        (["{run}", "--expires", "7"], 2, "is not a time such as"),
        (["{run}", "--host", "nowhere.invalid"], 2, "there is no address"),
    ],
)
def test_what_is_refused(tmp_path, kept, words, code, says):
    run = made_run(tmp_path)
    named = [word.format(run=run, none=tmp_path / "none") for word in words]
    refuses(invoke("share", *named, **kept), says, code=code)


def test_a_run_beside_other_files_gives_its_own_only(tmp_path, kept):
    run = made_run(tmp_path)
    for path in (run / "run_meta.json", run / "params.csv"):
        path.rename(path.with_name(f"mine.{path.name}".replace("mine.params", "mine")))
    meta = run / "mine.run_meta.json"
    meta.write_text(meta.read_text().replace("params.csv", "mine.csv"))
    result = invoke("share", "start", meta, "--json", "--for", "1s", **kept)
    assert result.exit_code == 0, result.output
    [shown] = json.loads(result.stdout)["runs"]
    assert shown["files"] == 1
    assert shown["left_out"]["not of this run"] > 5


def test_a_run_by_the_name_that_the_catalog_has(tmp_path, kept):
    made_run(tmp_path)
    assert invoke("runs", "scan", tmp_path / "runs", **kept).exit_code == 0
    result = invoke("share", "tiny", "--json", "--for", "1s", **kept)
    assert result.exit_code == 0, result.output
    assert [each["name"] for each in json.loads(result.stdout)["runs"]] == ["tiny"]
    refuses(invoke("share", "tinny", **kept), "Did you mean tiny?")
