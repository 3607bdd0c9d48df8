"""Files of tables and texts: supported formats and encodings, and remedies for others."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path

from gatewright.errors import DataError, unusable

#: Endings of the names of tables; those of text may be compressed.
_TABLES = (".csv", ".tsv", ".txt", ".parquet", ".csv.gz", ".tsv.gz", ".txt.gz")

#: Ending of the names of Parquet files.
PARQUET = ".parquet"

#: Endings of the names of texts in a directory.
TEXTS = (".txt", ".txt.gz")

#: Formats that other libraries read, by ending: their name, a function that reads them, and its verb for writing.
_OTHERS = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"), ("a spreadsheet", "pandas.read_excel", "to")),
    ".json": ("JSON", "polars.read_json", "write"),
    **dict.fromkeys((".jsonl", ".ndjson"), ("JSON lines", "polars.read_ndjson", "write")),
    **dict.fromkeys((".feather", ".arrow", ".ipc"), ("Arrow data", "polars.read_ipc", "write")),
    ".orc": ("ORC data", "pandas.read_orc", "to"),
    ".dta": ("Stata data", "pandas.read_stata", "to"),
    ".sas7bdat": ("SAS data", "pandas.read_sas", "to"),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), ("HDF5 data", "pandas.read_hdf", "to")),
}
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst")
_UNPACK = "an archive; unpack it and name the table in it"

#: First bytes of files that are not text, whatever their names say.
_SIGNATURES = (
    (b"PK\x03\x04", "a spreadsheet or a ZIP archive; save the sheet as CSV UTF-8, or unpack the archive"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet; save the sheet as CSV UTF-8"),
    (b"PAR1\x15", "a Parquet file; let its name end in .parquet"),
    (b"SQLite format 3\0", "a database; write its table as CSV"),
)

#: Byte order marks, UTF-32 first: one of them begins with one of UTF-16.
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def require_file(path: Path) -> None:
    """Require a file that a table or a text can be read from.

    Raises:
        DataError: names what the path is, and what to pass instead.
    """
    try:
        if path.is_dir():
            raise DataError(str(path), "a file", _directory(path))
        if not path.is_file():
            path.stat()  # raises the reason if nothing is there
            raise DataError(str(path), "a file", "a pipe or a device; write what comes from it into a file first")
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise unusable(DataError, path, error) from None


def is_run(path: Path) -> bool:
    """Say whether a directory belongs to a run."""
    return (path / "config.toml").is_file() and (path / "source.json").is_file()


def _directory(path: Path) -> str:
    """Return what a directory is, and the remedy."""
    if is_run(path):
        return "the directory of a run; name the table or the text to read"
    names = sorted(entry.name for entry in path.iterdir())
    tables = [name for name in names if name.lower().endswith(_TABLES)]
    return "a directory; name a file in it" + (f", such as {path / tables[0]}" if tables else "")


def has_shards(path: Path) -> bool:
    """Say whether a path is a directory with Parquet files in it, or below it, that is none of a run."""
    try:
        return path.is_dir() and not is_run(path) and any(path.rglob(f"*{PARQUET}"))
    except (OSError, ValueError):
        return False  # a name that no file can have, or no permission to look


def require_shards(path: Path) -> None:
    """Require that whatever writes a directory of Parquet files has finished.

    Raises:
        DataError: if not.
    """
    if (path / "_temporary").exists():
        got = "one with a directory _temporary, of a job that still writes it or has failed"
        raise DataError(str(path), "a directory of Parquet files that is complete", got)


def require_table(path: Path) -> None:
    """Require a file with the name of a table, or a directory of Parquet files.

    Raises:
        DataError: names a way to make a table of it.
    """
    if has_shards(path):
        require_shards(path)
        return
    require_file(path)
    if not path.name.lower().endswith(_TABLES):
        raise DataError(str(path), "a .csv, .tsv, .txt or .parquet file", other_format(path))


def other_format(path: Path) -> str:
    """Return what an unsupported file is, and a way to make a table of it.

    >>> other_format(Path("load.json"))
    "JSON; in Python: polars.read_json('load.json').write_parquet('load.parquet')"
    """
    ending = path.suffix.lower()
    if ending in _OTHERS:
        what, reader, verb = _OTHERS[ending]
        sheet = "save the sheet as CSV UTF-8, or " if what == "a spreadsheet" else ""
        new = path.with_suffix(".parquet")
        return f"{what}; {sheet}in Python: {reader}({str(path)!r}).{verb}_parquet({str(new)!r})"
    if ending in _ARCHIVES:
        return _UNPACK
    return f"a file named {path.name!r}"


def read_utf8(path: Path) -> bytes:
    """Return the text of a file, also compressed with gzip, as UTF-8 without a byte order mark.

    UTF-16 and UTF-32 are converted if the text begins with a byte order mark.

    Raises:
        DataError: if it cannot be read or has another encoding; it names byte and line.
    """
    require_file(path)
    try:
        raw = path.read_bytes()
        if raw.startswith(b"\x1f\x8b") or path.suffix.lower() == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error, ValueError, MemoryError) as error:
        raise unusable(DataError, path, error) from None
    require_text(path, raw)
    return _utf8(path, raw)


def require_text(path: Path, raw: bytes) -> None:
    """Require bytes of a file that do not begin as those of other formats do.

    Raises:
        DataError: names the other format, and the remedy.
    """
    for signature, what in _SIGNATURES:
        if raw.startswith(signature):
            raise DataError(str(path), "text", what)


def has_byte_order_mark(raw: bytes) -> bool:
    """Return whether text begins with a byte order mark of UTF-16 or UTF-32."""
    return any(raw.startswith(mark) for mark, _ in _ENCODINGS)


def _utf8(path: Path, raw: bytes) -> bytes:
    """Return text as UTF-8 without a byte order mark."""
    for mark, encoding in _ENCODINGS:
        if raw.startswith(mark):
            try:
                return raw.decode(encoding).encode("utf-8")
            except UnicodeError as error:
                got = f"something else at byte {getattr(error, 'start', 0)}"
                raise DataError(str(path), f"{encoding} text, as its byte order mark says", got) from None
    head = raw[:1000]
    if len(head) >= 8 and 0 in (
        head[::2].count(b"\0") - len(head[::2]),
        head[1::2].count(b"\0") - len(head[1::2]),
    ):
        got = "UTF-16 without a byte order mark; iconv -f utf-16le -t utf-8 converts it"
        raise DataError(str(path), "UTF-8 text", got)
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if raw.isascii():
        return raw
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        how = "save it as UTF-8 (in Excel: CSV UTF-8), or convert it: iconv -f windows-1252 -t utf-8"
        raise DataError(str(path), "UTF-8 text", f"byte 0x{raw[error.start]:02x} in line {line}; {how}") from None
    return raw
