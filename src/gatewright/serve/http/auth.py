"""Bearer tokens and their owners; the loopback rule for servers without tokens."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from gatewright.errors import GatewrightError

#: What a token is made of; it goes into a header as it is.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,512}")


class Tokens:
    """The tokens that a server knows, and whose they are.

    A token is compared by its digest, with all there are, in a time that says nothing about them.

    >>> tokens = Tokens({"0123456789abcdef": "ann"})
    >>> tokens.owner("0123456789abcdef"), tokens.owner("0123456789abcdeg")
    ('ann', None)
    """

    def __init__(self, owners: Mapping[str, str]) -> None:
        self._owners = [(_hashed(token), owner) for token, owner in owners.items()]

    def __len__(self) -> int:
        return len(self._owners)

    @classmethod
    def read(cls, variable: str | None, path: Path | None) -> Tokens:
        """Read them.

        Args:
            variable: the one token, or None: that of a server with one user.
            path: a file with a line ``name: token`` for each user, or None.

        Raises:
            GatewrightError: if a token is too short, or has characters that do not go into a header.
            OSError: if the file cannot be read.
        """
        try:
            lines = path.read_text("utf-8").splitlines() if path else []
        except UnicodeDecodeError:
            raise GatewrightError("--token-file", "lines of the form 'name: token'", "no text") from None
        owners: dict[str, str] = {}
        if variable is not None:
            owners[_checked(variable, "GATEWRIGHT_TOKEN")] = ""
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, colon, token = line.partition(":")
            where = f"line {number} of {path}"
            if not colon or not name.strip():
                raise GatewrightError(
                    "--token-file", "lines of the form 'name: token'", f"{where} without a name and a colon"
                )
            token = _checked(token.strip(), where)
            if token in owners:
                raise GatewrightError(
                    "--token-file", "a token for each user", f"the same token twice, again in {where}"
                )
            owners[token] = name.strip()
        if path is not None and not owners:
            raise GatewrightError("--token-file", "lines of the form 'name: token'", f"none in {path}")
        return cls(owners)

    def owner(self, token: str | None) -> str | None:
        """Return whose token it is; None if it is nobody's.  Without any tokens, all is one owner's."""
        if not self._owners:
            return ""
        given, found = _hashed(token or ""), None
        for digest, owner in self._owners:
            if hmac.compare_digest(digest, given):
                found = owner
        return found


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _checked(token: str, where: str) -> str:
    if not _TOKEN.fullmatch(token):
        # What came is not said: it may be a secret with a typing error.
        raise GatewrightError(where, "a token of 16 to 512 letters, digits and - . _ ~", "something else")
    return token


def require_loopback(host: str, tokens: Tokens) -> None:
    """Raise if a server without tokens is to listen to others than this machine.

    Raises:
        GatewrightError: says so.
    """
    if len(tokens):
        return
    try:
        found = {address[4][0] for address in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        raise GatewrightError("--host", "a name or an address of this machine", repr(host)[:80]) from None
    if not all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found):
        expected = "127.0.0.1 without a token (GATEWRIGHT_TOKEN or --token-file give one)"
        raise GatewrightError("--host", expected, repr(host)[:80])
