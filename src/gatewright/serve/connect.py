"""Connections of the client: to which address, with which token, certificate and headers."""

from __future__ import annotations

import os
import re
import secrets
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gatewright.errors import GatewrightError

#: How a server's certificate is verified: by the system's authorities, not at all, by a PEM file, by a context.
Verify = bool | str | os.PathLike[str] | ssl.SSLContext

#: Form of the key that load balancers choose a replica by.
_AFFINITY = re.compile(r"[A-Za-z0-9._~-]{1,128}")
#: Statuses of a handshake that may succeed later.
_LATER = (429, 502, 503, 504)


class Target:
    """A server, and a model of it.

    Args:
        address: URL of the server.
        token: bearer token, or None.
        model: name of the model; None for the server's default.
        affinity: key by which load balancers choose a replica; None for a random one.
        verify: what is verified of the server's certificate.

    Attributes:
        address: URL of the server.
        replica: name of the replica that the last connection is to; empty if it has none.

    Raises:
        GatewrightError: names the invalid argument.
    """

    def __init__(
        self, address: str, *, token: str | None, model: str | None, affinity: str | None, verify: Verify
    ) -> None:
        parts = urlsplit(address if isinstance(address, str) else "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GatewrightError("address", "a URL such as http://127.0.0.1:8765", repr(address)[:80])
        if model is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", model):
            raise GatewrightError("model", "a name of 1 to 64 letters, digits and . _ -", repr(model)[:80])
        if affinity is not None and not _AFFINITY.fullmatch(affinity):
            raise GatewrightError("affinity", "1 to 128 letters, digits and . _ ~ -", repr(affinity)[:80])
        path = "/v1/ws" if model is None else f"/v1/models/{model}/ws"
        secure = parts.scheme == "https"
        self.address, self.replica, self._model = address, "", model
        self._url = f"{'wss' if secure else 'ws'}://{parts.netloc}{parts.path.rstrip('/')}{path}"
        self._ssl = _context(verify) if secure else None
        # The same for all connections: a load balancer that hashes it leads them to the same replica.
        self._headers = {"Gatewright-Affinity": affinity or secrets.token_urlsafe(12)}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def connect(self) -> ClientConnection:
        """Return a new connection.

        Raises:
            InvalidStatus: if the server refuses the handshake for now.
            GatewrightError: if it refuses it for good.
            OSError: if it cannot be reached.
        """
        try:
            connection = connect(
                self._url,
                subprotocols=[Subprotocol("gatewright.msgpack")],
                additional_headers=self._headers,
                compression=None,
                max_size=None,
                ssl=self._ssl,
            )
        except InvalidURI as error:
            raise GatewrightError("address", "a URL such as http://127.0.0.1:8765", str(error)) from None
        except ssl.SSLCertVerificationError as error:
            expected = "a server whose certificate is valid, or verify= with the file of its authority"
            raise GatewrightError("address", expected, f"{self.address}: {error.verify_message}") from None
        except InvalidStatus as error:
            if error.response.status_code in _LATER:
                raise
            raise self._refused(error.response.status_code) from None
        assert connection.response is not None
        self.replica = connection.response.headers.get("Gatewright-Replica", "")
        return connection

    def _refused(self, status: int) -> GatewrightError:
        """Return the error for a refused handshake."""
        hints = {
            401: ("token", "a token that the server accepts", "another one or none"),
            421: ("address", "an allowed host name of the server", "another name"),
        }
        if self._model is not None:
            hints[404] = ("model", "a model of the server: GET /v1/models lists them", repr(self._model))
        return GatewrightError(*hints.get(status, ("address", "a Gatewright server", f"status {status}")))


def _context(verify: Any) -> ssl.SSLContext:
    """Return the TLS settings of a client.

    Raises:
        GatewrightError: if the file of the authority cannot be used.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    if isinstance(verify, bool):
        context = ssl.create_default_context()
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=Path(verify))
    except (OSError, TypeError) as error:  # an SSLError is an OSError
        got = f"{verify!r}: {getattr(error, 'reason', None) or error}"
        raise GatewrightError("verify", "True, False, an SSLContext, or a PEM file", got[:200]) from None
