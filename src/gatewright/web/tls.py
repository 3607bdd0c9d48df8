"""Certificate of a server."""

from __future__ import annotations

import ssl
from pathlib import Path

from gatewright.errors import GatewrightError, reason


def require_certificate(certificate: Path, key: Path | None) -> None:
    """Raise if a certificate and its key cannot be used.

    Args:
        certificate: PEM file of the certificate, and of those that signed it.
        key: PEM file of its private key; None if the certificate's file has it.

    Raises:
        GatewrightError: names the file.
    """
    reload_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)


def reload_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Use the files as they are now for new connections; a context keeps its certificate if they are invalid.

    Raises:
        GatewrightError: names the file.
    """
    for option, path in (("--ssl-certfile", certificate), ("--ssl-keyfile", key)):
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            raise GatewrightError(option, "a PEM file that can be read", f"{path}: {reason(error)}") from None
    try:
        for each in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
            # Without a password OpenSSL would ask for one at the terminal.
            each.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        expected = "a certificate and its private key in PEM, the key without a passphrase"
        got = f"{certificate}{'' if key is None else f' and {key}'}: {error.reason or error}"
        raise GatewrightError("--ssl-certfile, --ssl-keyfile", expected, got) from None
