"""Encrypted wallets: one keystore V3 file per name, readable by its owner only.

Keys never appear on a command line: a password comes from a file, from the file that ``TIP_PASSWORD_FILE`` names, or
from a prompt. Scrypt's work factor is eth-account's default (N = 2¹⁸, about a second). ``TIP_SCRYPT_N`` lowers it for
tests and demonstrations, where a dozen processes unlock wallets that hold nothing; a stolen keystore is then cheaper to
guess, so leave it unset for real money.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount as LocalAccount
from eth_utils.address import to_checksum_address

from tip_exchange.errors import WalletError
from tip_exchange.files import sync_folder, temporary_beside, write_atomic

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KEYSTORE_LIMIT = 64 * 1024
_LEAST_SCRYPT_N = 4096


@dataclass(frozen=True, slots=True)
class Wallet:
    """A keystore file that needs a password to be used."""

    name: str
    address: str


def _path(home: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise WalletError(
            f"{name!r} is not a wallet name; use up to 64 lower-case letters, digits, '-' and '_', like 'clinic-2'"
        )
    return home / "keystore" / f"{name}.json"


def _work_factor() -> int | None:
    text = os.environ.get("TIP_SCRYPT_N")
    if text is None:
        return None
    factor = int(text) if text.isdecimal() else 0
    if factor < _LEAST_SCRYPT_N or factor & (factor - 1):
        raise WalletError(f"TIP_SCRYPT_N is {text!r}; unset it, or give a power of two of at least {_LEAST_SCRYPT_N}")
    return factor


def create_wallet(home: Path, name: str, password: str) -> str:
    """Make a new key and keep it encrypted in ``<home>/keystore/<name>.json``.

    Returns:
        Its address (EIP-55).

    Raises:
        WalletError: the name is taken or cannot be one, the password is empty, or the file cannot be written.
    """
    path = _path(home, name)
    if not password:
        raise WalletError("the password is empty; a keystore without one protects nothing")
    if path.exists():
        raise _taken(name, path)
    account: LocalAccount = Account.create()
    keystore = Account.encrypt(account.key, password, kdf="scrypt", iterations=_work_factor())
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(temporary, json.dumps(keystore).encode())
        try:
            os.link(temporary, path)  # unlike rename, never replaces a key that another process has just made
        finally:
            temporary.unlink()
        sync_folder(path.parent)
    except FileExistsError as error:
        raise _taken(name, path) from error
    except OSError as error:
        raise WalletError(f"cannot write the keystore {path}: {error.strerror}") from error
    return str(account.address)


def _taken(name: str, path: Path) -> WalletError:
    return WalletError(f"a wallet {name!r} exists already ({path}); choose another name, its key is never overwritten")


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        with path.open("rb") as file:
            keystore: dict[str, Any] = json.loads(file.read(_KEYSTORE_LIMIT))
        return keystore, to_checksum_address("0x" + str(keystore["address"]).removeprefix("0x"))
    except OSError as error:
        raise WalletError(f"cannot read the keystore {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise WalletError(f"{path} is not a keystore (JSON, version 3); restore it from a copy") from error


def list_wallets(home: Path) -> list[Wallet]:
    """The wallets of a home directory by name; none where there is no keystore folder.

    Raises:
        WalletError: a file there is not a keystore.
    """
    files = sorted((home / "keystore").glob("[a-z0-9]*.json"))
    return [Wallet(path.stem, _read(path)[1]) for path in files if _NAME.fullmatch(path.stem)]


def unlock(home: Path, name: str, password: str) -> LocalAccount:
    """Decrypt a wallet.

    Raises:
        WalletError: there is none of that name, its file is damaged, or the password is wrong.
    """
    path = _path(home, name)
    if not path.exists():
        known = ", ".join(wallet.name for wallet in list_wallets(home)) or "none yet"
        raise WalletError(
            f"there is no wallet {name!r} in {path.parent} (known: {known}); create it with `tip wallet new`"
        )
    keystore, address = _read(path)
    try:
        account: LocalAccount = Account.from_key(Account.decrypt(keystore, password))
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        if "MAC mismatch" in str(error):
            raise WalletError(f"the password of wallet {name!r} ({path}) is wrong") from error
        raise WalletError(f"the keystore {path} is damaged ({error}); restore it from a copy") from error
    if account.address != address:
        raise WalletError(f"the keystore {path} says address {address} but holds the key of {account.address}")
    return account


def read_password(password_file: Path | None = None, *, prompt: str = "Password: ") -> str:
    """The password from ``password_file``, from the file ``TIP_PASSWORD_FILE`` names, or typed at a terminal.

    One line end after the password in a file is not part of it.

    Raises:
        WalletError: a file cannot be read or holds nothing, or there is neither a file nor a terminal.
    """
    named = os.environ.get("TIP_PASSWORD_FILE")
    if password_file is None and named:
        password_file = Path(named)
    if password_file is not None:
        try:
            with password_file.open(encoding="utf-8") as file:
                text = file.read(4097)
        except (OSError, UnicodeDecodeError) as error:
            raise WalletError(f"cannot read the password file {password_file}: {error}") from error
        password = text.removesuffix("\n").removesuffix("\r")
        if not password or len(text) > 4096 or "\n" in password:
            raise WalletError(f"the password file {password_file} must hold one line with the password, nothing else")
        return password
    if not sys.stdin.isatty():
        raise WalletError("a wallet password is needed: give --password-file, set TIP_PASSWORD_FILE, or use a terminal")
    password = getpass.getpass(prompt)
    if not password:
        raise WalletError("no password was typed")
    return password
