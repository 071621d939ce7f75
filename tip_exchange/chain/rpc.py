"""JSON-RPC connections to a node, over HTTP or IPC, with a limit on time and on bytes.

A node is not trusted: it may hang, send endless replies or garbage. Whatever goes wrong below JSON-RPC is raised as
ConnectionFailed, so callers of web3 need not know about sockets.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from eth_abi.exceptions import DecodingError
from web3 import Web3
from web3.exceptions import Web3Exception
from web3.middleware import AttributeDictMiddleware
from web3.providers import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from tip_exchange.errors import ChainError, ConnectionFailed, InputError, TipError, WrongChain

LOCAL_CHAIN = 31337
"""Chain id of Anvil and Hardhat nodes; time travel and free coin exist only there."""

REPLY_LIMIT = 64 * 2**20
"""Most bytes one reply of a node may have."""

TIMEOUT = 60.0
"""Seconds one request may take, from first byte sent to last byte received."""

_PIECE = 64 * 1024
_LONGEST_REASON = 300
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def shown(url: str) -> str:
    """``url`` as messages show it: passwords, queries and long path parts (API keys) left out."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    path = "/".join("…" if re.fullmatch(r"[\w-]{16,}", piece) else piece for piece in parts.path.split("/"))
    return urlunsplit((parts.scheme, host, path, "…" if parts.query else "", ""))


class _Provider(JSONBaseProvider):
    # CCIP read would let any contract make this process fetch URLs.
    global_ccip_read_enabled = False

    def __init__(self, place: str, timeout: float) -> None:
        super().__init__()
        self.place = place
        self.timeout = timeout

    def _exchange(self, request: bytes) -> bytes:
        """Send one request and return the bytes of its reply."""
        raise TypeError("a provider needs a transport")

    def _failed(self, why: str) -> ConnectionFailed:
        return ConnectionFailed(
            f"no usable answer from the node at {self.place}: {why}; check the URL, or start a local node with "
            "`tip chain start`"
        )

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        raw = self._exchange(self.encode_rpc_request(method, params))
        try:
            reply = self.decode_rpc_response(raw)
        except (ValueError, RecursionError) as error:
            raise self._failed(f"its reply to {method} is not JSON") from error
        if not isinstance(reply, dict) or not ("result" in reply or "error" in reply):
            raise self._failed(f"its reply to {method} is not a JSON-RPC reply")
        return reply


class HttpProvider(_Provider):
    """JSON-RPC over HTTP(S): no redirects, bounded time and size."""

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        super().__init__(shown(url), timeout)
        self._url = url
        self._session = requests.Session()
        if urlsplit(url).hostname in _LOOPBACK:
            self._session.trust_env = False  # a proxy cannot reach this machine's loopback

    def _exchange(self, request: bytes) -> bytes:
        try:
            return self._post(request)
        except requests.exceptions.ConnectionError as error:
            if isinstance(error, requests.exceptions.Timeout) or "Connection aborted" not in str(error):
                raise self._failed(_reason(error)) from error
        except requests.exceptions.RequestException as error:
            raise self._failed(_reason(error)) from error
        # A kept-alive connection that the node had closed meanwhile: every request may be sent again (reads, and raw
        # transactions, which a node takes once).
        try:
            return self._post(request)
        except requests.exceptions.RequestException as error:
            raise self._failed(_reason(error)) from error

    def _post(self, request: bytes) -> bytes:
        deadline = time.monotonic() + self.timeout
        headers = {"Content-Type": "application/json"}
        with self._session.post(
            self._url,
            data=request,
            headers=headers,
            timeout=(min(10.0, self.timeout), self.timeout),
            stream=True,
            allow_redirects=False,
        ) as response:
            pieces, size = [], 0
            for piece in response.iter_content(_PIECE):
                size += len(piece)
                if size > REPLY_LIMIT:
                    raise self._failed(f"its reply has more than {REPLY_LIMIT} bytes")
                if time.monotonic() > deadline:
                    raise self._failed(f"its reply took longer than {self.timeout:g} s")
                pieces.append(piece)
            body = b"".join(pieces)
            # Nodes send JSON-RPC errors with status 400 or 500 too; anything else than JSON is not for us.
            if response.status_code != 200 and not body.lstrip().startswith(b"{"):
                raise self._failed(f"HTTP status {response.status_code} {response.reason}")
            return body


class IpcProvider(_Provider):
    """JSON-RPC over a Unix socket, one connection per request."""

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        super().__init__(str(path), timeout)
        self._path = path

    def _exchange(self, request: bytes) -> bytes:
        deadline = time.monotonic() + self.timeout
        reply = bytearray()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self.timeout)
                connection.connect(str(self._path))
                connection.sendall(request + b"\n")
                while time.monotonic() < deadline:
                    piece = connection.recv(_PIECE)
                    if not piece:
                        raise self._failed("it closed the connection")
                    reply += piece
                    if len(reply) > REPLY_LIMIT:
                        raise self._failed(f"its reply has more than {REPLY_LIMIT} bytes")
                    if piece.rstrip().endswith(b"}") and _complete(reply):
                        return bytes(reply)
        except OSError as error:
            raise self._failed(_reason(error)) from error
        raise self._failed(f"its reply took longer than {self.timeout:g} s")


def _complete(reply: bytearray) -> bool:
    # The socket has no framing: a reply is over when it parses, or will not be parsed anyway.
    try:
        json.loads(reply)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, requests.exceptions.Timeout | TimeoutError):
        return "it did not answer in time"
    if "refused" in str(error):
        return "connection refused"
    if "resolve" in str(error) or "resolution" in str(error):
        return "its host name is not known"
    return str(error) if isinstance(error, OSError) and error.strerror else type(error).__name__


@contextmanager
def node_errors(doing: str) -> Iterator[None]:
    """Turn what web3 raises about a node's answers into ChainError.

    Args:
        doing: what was being asked, for the message ("reading order 0x…").
    """
    try:
        yield
    except TipError:
        raise
    except Web3Exception as error:
        raise ChainError(f"the node failed while {doing}: {_brief(error)}") from error
    except (DecodingError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        # A lying or broken node: fields missing or of the wrong type.
        raise ChainError(
            f"the node's answer makes no sense while {doing}: {_brief(error)}; use another node"
        ) from error


def _brief(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"


def connect(rpc_url: str, expected_chain_id: int | None = None, *, timeout: float = TIMEOUT) -> Web3:
    """A checked connection to a node.

    Args:
        rpc_url: ``http(s)://…`` or the path of an IPC socket.
        expected_chain_id: refuse a node of any other chain.
        timeout: seconds per request.

    Raises:
        InputError: the URL is neither of the two.
        ConnectionFailed: no node answers there.
        WrongChain: it serves another chain.
    """
    provider: _Provider
    scheme = urlsplit(rpc_url).scheme if "://" in rpc_url else ""
    if scheme in ("http", "https"):
        if not urlsplit(rpc_url).hostname:
            raise InputError(f"the RPC URL {rpc_url!r} names no host; give one like http://127.0.0.1:8545")
        provider = HttpProvider(rpc_url, timeout)
    elif not scheme and (rpc_url.endswith(".ipc") or Path(rpc_url).is_socket()):
        provider = IpcProvider(Path(rpc_url), timeout)
    else:
        raise InputError(f"the RPC URL {shown(rpc_url)!r} is not http://, https:// or the path of an IPC socket")
    # Only this middleware: the others resolve names over the network or refuse blocks of some chains.
    w3 = Web3(provider, middleware=[AttributeDictMiddleware])
    with node_errors(f"asking {provider.place} for its chain id"):
        actual = int(w3.eth.chain_id)
    if expected_chain_id is not None and actual != expected_chain_id:
        raise WrongChain(
            f"the node at {provider.place} serves chain {actual}, but chain {expected_chain_id} is needed; "
            "give the RPC URL of a node of that chain"
        )
    return w3


def place(w3: Web3) -> str:
    """Where ``w3`` is connected to, for messages."""
    return str(getattr(w3.provider, "place", w3.provider))
