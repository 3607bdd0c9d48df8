"""Data of published results: files with a checksum, from a folder, the network or the package that has them."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gatewright.errors import DataError, unusable
from gatewright.files.atomic import write_bytes

#: Environment variable that names the folder of data.
FOLDER = "GATEWRIGHT_DATA"
#: Seconds to wait for a server.
PATIENCE = 30


@dataclass(frozen=True)
class Download:
    """A file on the network.

    Attributes:
        name: name of the file.
        url: where it is.
        sha256: SHA-256 of its content.
    """

    name: str
    url: str
    sha256: str

    def path(self) -> Path:
        """Return the path of the file in `folder`; it is downloaded if it is not there.

        Raises:
            DataError: if it is another file, or cannot be downloaded.
        """
        path = folder() / self.name
        try:
            if path.exists():
                self._check(path.read_bytes(), str(path))
                return path
            path.parent.mkdir(parents=True, exist_ok=True)
            content = self._content(path)
            self._check(content, self.url)
            write_bytes(path, content)
        except OSError as error:
            raise unusable(DataError, path, error) from None
        return path

    def _content(self, path: Path) -> bytes:
        """Download the file."""
        try:
            with urllib.request.urlopen(self.url, timeout=PATIENCE) as answer:
                content: bytes = answer.read()
        except (OSError, http.client.HTTPException, urllib.error.URLError) as error:
            got = f"none there, and no download ({getattr(error, 'reason', error)}); get {self.url} by other means"
            raise DataError(
                str(path), f"the file, or a network to download it ({FOLDER} names its folder)", got
            ) from None
        return content

    def _check(self, content: bytes, place: str) -> None:
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise DataError(place, f"the file with SHA-256 {self.sha256}", f"{len(content):,} bytes with {digest}")


def folder() -> Path:
    """Return the folder of data: ``$GATEWRIGHT_DATA``, or ``gatewright`` in the user's cache."""
    if own := os.environ.get(FOLDER):
        return Path(own)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "gatewright"


def packaged(package: str, inside: str) -> Path:
    """Return a file from `folder`, or from the files of an installed package, which is not imported.

    Args:
        package: name of the package.
        inside: path of the file in the package; in `folder` its last part counts.

    Raises:
        DataError: if there is neither.
    """
    own = folder() / Path(inside).name
    if own.exists():
        return own
    spec = find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root) / inside
        if path.exists():
            return path
    got = "a version without it" if spec else "none"
    raise DataError(own.name, f"the package {package} (pip install {package}), or the file at {own}", got)


JSB_CHORALES = Download(
    "jsb-chorales-quarter.json",
    "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d/"
    "jsb-chorales-quarter.json",
    "2db9329f1881a1d3f49703ec556bf1d6f84b4f6c1d702c156536e93cf31e1c91",
)
ETTH1 = Download(
    "ETTh1.csv",
    "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/"
    "ETT-small/ETTh1.csv",
    "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
)
SHAKESPEARE = Download(
    "tinyshakespeare.txt",
    "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/"
    "data/tinyshakespeare/input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)
