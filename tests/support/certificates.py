"""Certificates that are made for a test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def certificate(path: Path, name: str = "127.0.0.1") -> Path:
    """Write a certificate of an address, signed by itself, and its key into one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key = path.with_suffix(".key")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    more = ["-subj", "/CN=test", "-addext", f"subjectAltName=IP:{name}", "-keyout", str(key), "-out", str(path)]
    subprocess.run([openssl, *words, *more], check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path
