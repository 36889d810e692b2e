"""Disk encryption and account of a Mac, from what its programs say."""

import pytest
from machines import LINUX, but

from mlx_probe.doctor import examine, protection
from mlx_probe.doctor.protection import look_at_protection, read_account, read_encryption

SAID = {
    "FileVault is On.\n": "on",
    "FileVault is Off.\n": "off",
    "FileVault is On, but needs to be restarted to finish.\n": "changing",
    "FileVault is Off, but will be enabled after the next restart.\n": "changing",
    "Encryption in progress: Percent completed = 12\n": "changing",
    "FileVault is On.\nEncryption in progress: Percent completed = 12\n": "changing",
    "FileVault is Off.\nDecryption in progress: Percent completed = 99.5\n": "changing",
    "FileVault is Off.\nDeferred enablement appears to be active for user 'ada'.\n": "changing",
    "": "unknown",
    "FileVault is Ok.\n": "unknown",
    "FileVault is On": "unknown",
    "Error: FileVault is On.": "unknown",
    "fdesetup: Error.\n": "unknown",
}


@pytest.mark.parametrize(("said", "state"), SAID.items())
def test_what_is_said_of_the_disk(said, state):
    assert read_encryption(said) == state


@pytest.mark.parametrize(
    ("groups", "account"),
    [
        ("staff everyone localaccounts _appserverusr admin\n", "administrator"),
        ("staff everyone localaccounts\n", "standard"),
        ("staff administrators _lpadmin", "standard"),
        ("", "unknown"),
        ("wheel", "unknown"),
    ],
)
def test_what_the_groups_are(groups, account):
    assert read_account(groups) == account


def test_a_mac_is_asked_and_nothing_is_changed(monkeypatch):
    asked = []
    answers = {"fdesetup": ("FileVault is On.\n", ""), "id": ("", "fails: no such user")}

    def ask(command):
        asked.append(command)
        return answers[command[0].rpartition("/")[2]]

    monkeypatch.setattr(protection, "ask", ask)
    monkeypatch.setattr(protection.platform, "system", lambda: "Linux")
    assert look_at_protection() is None
    assert asked == []
    monkeypatch.setattr(protection.platform, "system", lambda: "Darwin")
    seen = look_at_protection()
    assert (seen.encryption, seen.said, seen.account) == ("on", "FileVault is On.", "unknown")
    assert asked == [["/usr/bin/fdesetup", "status"], ["/usr/bin/id", "-Gn"]]
    answers["fdesetup"] = ("", "no answer within 4 s")
    assert look_at_protection().said == "no answer within 4 s"
    assert look_at_protection().encryption == "unknown"


def test_nothing_is_said_on_linux():
    said = {finding.check for finding in examine(LINUX)}
    assert not said & {"disk encryption", "account"}
    changing = but("protection", encryption="changing", said="Encryption in progress")
    [finding] = [each for each in examine(changing) if each.check == "disk encryption"]
    assert (finding.status, finding.fact) == (
        "ok",
        "FileVault is changing: Encryption in progress",
    )
