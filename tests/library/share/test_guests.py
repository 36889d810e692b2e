"""Tokens and guests: who is let in, and who no longer."""

import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.share.guests import Guests, invitations, invite, revoke
from mlx_probe.library.share.tokens import Token, load_secret, read_token, sign

SECRET = b"s" * 32


@given(text=st.text(max_size=200))
def test_no_text_is_a_token_that_nobody_signed(text):
    assert read_token(SECRET, text) is None


@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", fullmatch=True),
    expires=st.integers(0, 10**11),
    data=st.data(),
)
def test_a_token_reads_back_and_no_change_of_it_does(name, expires, data):
    token = Token(name, "0123456789abcdef", expires)
    text = sign(SECRET, token)
    assert read_token(SECRET, text) == token
    assert read_token(b"t" * 32, text) is None
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters())
    changed = text[:at] + other + text[at + 1 :]
    assert changed == text or read_token(SECRET, changed) is None
    for wrong in (text[:-1], text + "=", f" {text}", text + "\n", text.upper()):
        assert wrong == text or read_token(SECRET, wrong) is None


def test_secret_and_guests_are_their_users_alone(tmp_path):
    folder = tmp_path / "a" / "share"
    text, _ = invite("ada", 60, folder)
    for name in ("secret", "guests.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len((folder / "secret").read_bytes()) == 32
    # What is kept is not enough to make a token.
    assert text.rpartition(".")[2] not in (folder / "guests.json").read_text()
    assert load_secret(folder) == load_secret(folder)


@pytest.mark.parametrize("spoil", ["mode", "short", "link", "folder"])
def test_a_secret_that_others_may_know_is_refused(tmp_path, spoil):
    load_secret(tmp_path)
    path = tmp_path / "secret"
    if spoil == "mode":
        path.chmod(0o640)
    elif spoil == "short":
        path.write_bytes(b"x")
    else:
        path.unlink()
        path.symlink_to("/etc/hostname") if spoil == "link" else path.mkdir()
    with pytest.raises(ResultError, match="secret"):
        load_secret(tmp_path)


def test_who_is_admitted(tmp_path):
    good, made = invite("ada", 60, tmp_path)
    bob, _ = invite("bob", 60, tmp_path)
    guests, invited = Guests(tmp_path), Guests(tmp_path, ["ada"])
    assert guests.admit(good)[0] == Token("ada", made.id, made.expires)
    assert guests.admit(bob)[1] == ""
    assert invited.admit(bob) == (None, "guest not invited")
    assert guests.admit("x") == (None, "token forged")
    ended = sign(load_secret(tmp_path), Token("ada", made.id, int(time.time())))
    assert guests.admit(ended) == (None, "token expired")
    # Signed by us, but not one that was made.
    unknown = sign(load_secret(tmp_path), Token("ada", "f" * 16, made.expires))
    assert guests.admit(unknown) == (None, "token revoked")
    # What is taken back ends in a server that runs.
    second, _ = invite("ada", 60, tmp_path)
    assert guests.admit(second)[1] == ""
    assert len(revoke("ada", tmp_path)) == 2
    assert guests.admit(good) == guests.admit(second) == (None, "token revoked")
    assert guests.admit(bob)[1] == ""
    assert revoke("ada", tmp_path) == []
    (tmp_path / "guests.json").write_text("{")
    assert guests.admit(bob) == (None, "guests unreadable")
    (tmp_path / "guests.json").unlink()
    assert guests.admit(bob) == (None, "token revoked")


def test_what_is_refused(tmp_path):
    for name in ("", "-x", "a b", "a.b", "x" * 33, "é", "a\n"):
        with pytest.raises(ConfigError, match="no name for a guest"):
            invite(name, 60, tmp_path)
    for seconds in (0, -1, 400 * 86400):
        with pytest.raises(ConfigError, match="366 days"):
            invite("ada", seconds, tmp_path)
    invite("ada", 60, tmp_path)
    with pytest.raises(ConfigError, match=r"'adda'\s+Did you mean ada"):
        revoke("adda", tmp_path)


DAMAGED = [
    "{",
    "[]",
    '{"version": 2, "tokens": []}',
    '{"version": 1, "tokens": [{}]}',
    '{"version": 1, "tokens": [{"guest": "a", "id": 1, "created": 1, "expires": 2}]}',
    '{"version": 1, "tokens": [{"guest": "a", "id": "1", "created": 1, "expires": 1e9}]}',
    '{"version": 1, "tokens": [{"guest": "/", "id": "1", "created": 1, "expires": 2}]}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_list_is_refused_and_stays(tmp_path, content):
    (tmp_path / "guests.json").write_text(content)
    for use in (invitations, lambda folder: invite("ada", 60, folder)):
        with pytest.raises(ResultError, match=r"guests\.json is damaged"):
            use(tmp_path)
    assert (tmp_path / "guests.json").read_text() == content


def test_several_at_once_lose_nothing(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: invite(f"g{n}", 60, tmp_path), range(24)))
    assert {each.guest for each in invitations(tmp_path)} == {f"g{n}" for n in range(24)}
    assert json.loads((tmp_path / "guests.json").read_text())["version"] == 1


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResultError, match="MLX_PROBE_DATA"):
        invite("ada", 60, tmp_path / "file" / "share")
