"""Listening socket of a server."""

from __future__ import annotations

import socket

from gatewright.errors import GatewrightError, reason
from gatewright.web.connection_limit import LimitedSocket


def listen(host: str, port: int) -> LimitedSocket:
    """Return a listening socket; call it first, so that an address in use costs nothing.

    Raises:
        GatewrightError: if the address is not one of this machine, or in use.
    """
    if not 0 <= port < 2**16:
        raise GatewrightError("--port", "a number from 0 to 65535", str(port))
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        plain = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        unknown = isinstance(error, UnicodeError | socket.gaierror)
        detail = "no such host is known" if unknown else reason(error, writing=None)
        raise GatewrightError("--host, --port", "an address that is free", f"{host}:{port}: {detail}") from None
    listening = LimitedSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
    # Connections inherit it: without it an answer's body waits 40 ms for the acknowledgement of its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def address_of(listening: socket.socket, *, tls: bool = False) -> str:
    """Return the URL of a listening socket.

    >>> with listen("127.0.0.1", 0) as listening:
    ...     address_of(listening).rpartition(":")[0]
    'http://127.0.0.1'
    """
    host, port = listening.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
