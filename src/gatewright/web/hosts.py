"""Checks of the Host and Origin headers of a request."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_allowed_host(header: str, allowed: Collection[str]) -> bool:
    """Return whether a Host header names this server (protection against DNS rebinding).

    Addresses are always allowed: only names can be rebound.

    >>> [is_allowed_host(host, ()) for host in ("127.0.0.1:8765", "localhost", "evil.example")]
    [True, True, False]
    """
    name = _name(header)
    if name is None:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in _LOOPBACK or name in allowed
    return True


def is_allowed_origin(origin: str | None, host: str, allowed: Collection[str]) -> bool:
    """Return whether an Origin header is absent, allowed, or the server's own.

    >>> is_allowed_origin(None, "localhost", ()), is_allowed_origin("https://evil.example", "localhost", ())
    (True, False)
    """
    if origin is None or origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _name(header: str) -> str | None:
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # raises if it is invalid
    except ValueError:
        return None
    return None if parts.path or parts.username is not None else parts.hostname


#: Headers that other parsers may read differently if they occur twice.
_UNIQUE = ("Host", "Origin", "Authorization")


def duplicate_header(headers: Headers) -> str | None:
    """Return the name of a security-relevant header that occurs more than once, or None.

    >>> duplicate_header(Headers(raw=[(b"host", b"localhost"), (b"host", b"evil.example")]))
    'Host'
    """
    return next((name for name in _UNIQUE if len(headers.getlist(name)) > 1), None)
