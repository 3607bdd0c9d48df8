"""Structured logs: one JSON object per line."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import datetime, timezone

log = logging.getLogger("gatewright.serve")


def _without_client_traceback(record: logging.LogRecord) -> bool:
    """Drop the traceback of a client's fault: text that is not UTF-8."""
    if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
        record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
    return True


class _RepeatFilter(logging.Filter):
    """Passes each message at most once a second: a client must not be able to fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        message = str(record.msg)
        if record.created < self._last.get(message, 0.0) + 1.0:
            return False
        self._last = (
            {**self._last, message: record.created} if len(self._last) < 100 else {message: record.created}
        )
        return True


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def log_to_stderr(level: str) -> None:
    """Write Gatewright's log, and the warnings of uvicorn and asyncio, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    for name, least in (("gatewright.serve", level.upper()), ("uvicorn.error", "WARNING"), ("asyncio", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)
        if name != log.name:
            logger.addFilter(_RepeatFilter())
    logging.getLogger("uvicorn.error").addFilter(_without_client_traceback)


def log_event(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log an event with its fields; names of sessions and tokens are secrets and must not be among them."""
    log.log(level, event, extra={"fields": fields})
