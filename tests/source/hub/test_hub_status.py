"""Whether the Hub answers and takes the token, asked of one on the loopback interface."""

import pytest
from hub_server import TOKEN, hub  # noqa: F401  fixture

from mlx_probe.source.hub import status as module
from mlx_probe.source.hub.status import hub_status


@pytest.fixture
def whoami(hub):  # noqa: F811
    """Sets the status that the Hub answers the question with."""

    def set_status(status, content=None):
        class Knowing(hub.server.RequestHandlerClass):
            def answer(self):
                host = self.headers["Host"].split(":")[0]
                hub.requests.append((self.command, self.path))
                hub.tokens.add((host, self.headers.get("Authorization")))
                account = b'{"name": "someone"}' if content is None else content
                self.send(status, {}, account if status == 200 else b"")

        hub.server.RequestHandlerClass = Knowing
        return hub

    return set_status


@pytest.mark.parametrize(
    ("status", "token"),
    [(200, "valid"), (401, "refused"), (403, "refused"), (404, "unknown"), (503, "unknown")],
)
def test_one_request_is_enough(whoami, status, token):
    hub = whoami(status)  # noqa: F811
    result = hub_status(5)
    assert (result.status, result.token, result.token_source) == (status, token, "HF_TOKEN")
    assert (result.endpoint, result.problem) == (hub.url, "")
    assert hub.requests == [("GET", "/api/whoami-v2")]
    assert hub.tokens == {("127.0.0.1", f"Bearer {TOKEN}")}
    assert TOKEN not in repr(result)


@pytest.mark.parametrize(
    "content", [b"<html>Please log in</html>", b"[]", b"{}", b"\xff", b"[" * 10**5]
)
def test_a_page_that_wants_a_login_is_not_the_hub(whoami, content):
    whoami(200, content)
    result = hub_status(5)
    assert (result.status, result.token) == (None, "unknown")
    assert result.problem == "something answers that is not the Hub"


def test_without_a_token(whoami, monkeypatch, tmp_path):
    from huggingface_hub import constants

    hub = whoami(401)  # noqa: F811
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    result = hub_status(5)
    assert (result.status, result.token, result.token_source) == (401, "none", "")
    assert hub.tokens == {("127.0.0.1", None)}


def test_a_token_from_the_stored_login(whoami, monkeypatch, tmp_path):
    from huggingface_hub import constants

    whoami(200)
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    result = hub_status(5)
    assert (result.token, result.token_source) == ("valid", "stored login")


def test_a_token_that_no_header_may_hold_is_not_sent(whoami, monkeypatch):
    hub = whoami(401)  # noqa: F811
    monkeypatch.setenv("HF_TOKEN", "hf_bad\ntoken\u00e9")
    assert hub_status(5).token == "malformed"
    assert hub.tokens == {("127.0.0.1", None)}


def test_offline_mode_asks_nobody(whoami, monkeypatch):
    from huggingface_hub import constants

    hub = whoami(200)  # noqa: F811
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    result = hub_status(5)
    assert (result.offline, result.status, result.problem) == (True, None, "")
    assert hub.requests == []


def test_nobody_there(hub):  # noqa: F811
    hub.stop()
    result = hub_status(5)
    assert result.status is None
    assert result.problem.startswith("no connection (")
    assert result.token == "unknown"


def test_nobody_who_answers_in_time(monkeypatch):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        assert hub_status(0.2).problem == "no answer within 0.2 s"


def test_a_complaint_of_the_library_is_not_passed_on(whoami, monkeypatch):
    import huggingface_hub.utils

    class OddError(Exception):
        pass

    def complain():
        raise OddError(f"illegal header Bearer {TOKEN}")

    whoami(200)
    monkeypatch.setattr(huggingface_hub.utils, "get_session", complain)
    assert hub_status(5).problem == "no connection (OddError)"


@pytest.mark.parametrize(
    "address", ["huggingface.co", "http://", "ftp://a", "http://a:b", "http://["]
)
def test_an_address_that_is_none(monkeypatch, address):
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert hub_status(1).problem == "the address is no http or https URL"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:secret@mirror.example:8080/hf", "https://mirror.example:8080/hf"),
        ("https://mirror.example?key=secret", "https://mirror.example"),
        ("user:secret@mirror.example", "mirror.example"),
        ("https://user:sec/ret@mirror.example", "https://mirror.example"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address, shown):
    assert module._without_credentials(address) == shown
