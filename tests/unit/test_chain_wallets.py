from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tip_exchange.chain.wallets import Wallet, create_wallet, list_wallets, read_password, unlock
from tip_exchange.errors import WalletError


def test_a_wallet_opens_with_its_password_and_no_other(tmp_path: Path) -> None:
    address = create_wallet(tmp_path, "clinic", "correct horse")
    assert unlock(tmp_path, "clinic", "correct horse").address == address
    with pytest.raises(WalletError, match=r"password of wallet 'clinic'.*is wrong"):
        unlock(tmp_path, "clinic", "correct horse ")


def test_keystore_is_private_and_does_not_hold_the_key(tmp_path: Path) -> None:
    create_wallet(tmp_path, "clinic", "pw")
    path = tmp_path / "keystore" / "clinic.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert unlock(tmp_path, "clinic", "pw").key.hex() not in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == ["clinic.json"]


def test_work_factor_is_the_strong_default_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIP_SCRYPT_N")
    create_wallet(tmp_path, "strong", "pw")
    keystore = json.loads((tmp_path / "keystore" / "strong.json").read_text())
    assert keystore["crypto"]["kdfparams"]["n"] == 2**18
    monkeypatch.setenv("TIP_SCRYPT_N", "1024")
    with pytest.raises(WalletError, match="power of two"):
        create_wallet(tmp_path, "weak", "pw")


def test_a_taken_name_keeps_its_key(tmp_path: Path) -> None:
    address = create_wallet(tmp_path, "clinic", "pw")
    with pytest.raises(WalletError, match="exists already"):
        create_wallet(tmp_path, "clinic", "pw")
    assert unlock(tmp_path, "clinic", "pw").address == address


@pytest.mark.parametrize("name", ["", "../evil", "Clinic", "a/b", ".hidden", "x" * 65, "white space"])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WalletError, match="not a wallet name"):
        create_wallet(tmp_path, name, "pw")


def test_a_missing_wallet_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="known: none yet"):
        unlock(tmp_path, "nobody", "pw")
    address = create_wallet(tmp_path, "clinic", "pw")
    with pytest.raises(WalletError, match="known: clinic"):
        unlock(tmp_path, "nobody", "pw")
    assert list_wallets(tmp_path) == [Wallet("clinic", address)]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"address": "zz"}', b'{"address": 5}'])
def test_a_damaged_keystore_is_said_to_be_one(tmp_path: Path, damage: bytes) -> None:
    create_wallet(tmp_path, "clinic", "pw")
    (tmp_path / "keystore" / "clinic.json").write_bytes(damage)
    with pytest.raises(WalletError, match=r"clinic\.json"):
        unlock(tmp_path, "clinic", "pw")


def test_a_keystore_with_another_address_is_refused(tmp_path: Path) -> None:
    create_wallet(tmp_path, "clinic", "pw")
    path = tmp_path / "keystore" / "clinic.json"
    keystore = json.loads(path.read_text())
    path.write_text(json.dumps(keystore | {"address": "00" * 20}))
    with pytest.raises(WalletError, match="holds the key of"):
        unlock(tmp_path, "clinic", "pw")


def test_empty_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="password is empty"):
        create_wallet(tmp_path, "clinic", "")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_password_file_may_end_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(b" with space " + ending.encode())
    assert read_password(file) == " with space "
    monkeypatch.setenv("TIP_PASSWORD_FILE", str(file))
    assert read_password() == " with space "


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\xff\xfe"])
def test_password_file_without_one_line_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(WalletError, match="password file"):
        read_password(file)
    with pytest.raises(WalletError, match="cannot read the password file"):
        read_password(tmp_path / "missing")


def test_without_file_or_terminal_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIP_PASSWORD_FILE", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(WalletError, match="--password-file"):
        read_password()
