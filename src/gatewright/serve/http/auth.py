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

#: Form of a token; it is sent in a header unquoted.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,512}")


class Tokens:
    """The valid tokens and their owners.

    A token is compared by its digest with all valid ones, in constant time.

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
        """Read tokens from the environment and a file.

        Args:
            variable: token of a server with one user, or None.
            path: file with a line ``name: token`` for each user, or None.

        Raises:
            GatewrightError: if a token is too short or has invalid characters.
            OSError: if the file cannot be read.
        """
        try:
            lines = path.read_text("utf-8").splitlines() if path else []
        except UnicodeDecodeError:
            raise GatewrightError(
                "--token-file", "lines of the form 'name: token'", "a file that is not text"
            ) from None
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
        """Return the owner of a token; None if the token is invalid.  Without tokens the only owner is ""."""
        if not self._owners:
            return ""
        candidate, match = _hashed(token or ""), None
        for digest, owner in self._owners:
            if hmac.compare_digest(digest, candidate):
                match = owner
        return match


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _checked(token: str, where: str) -> str:
    if not _TOKEN.fullmatch(token):
        # The value is not shown: it may be a secret with a typing error.
        raise GatewrightError(where, "a token of 16 to 512 letters, digits and - . _ ~", "something else")
    return token


def require_loopback(host: str, tokens: Tokens) -> None:
    """Raise if a server without tokens would be reachable from other machines.

    Raises:
        GatewrightError: if the host is not a loopback address.
    """
    if len(tokens):
        return
    try:
        addresses = {address[4][0] for address in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        raise GatewrightError("--host", "a name or an address of this machine", repr(host)[:80]) from None
    if not all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in addresses):
        expected = "127.0.0.1 without a token (GATEWRIGHT_TOKEN or --token-file give one)"
        raise GatewrightError("--host", expected, repr(host)[:80])
