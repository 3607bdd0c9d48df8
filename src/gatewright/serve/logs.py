"""What a server tells of itself: one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import datetime, timezone

log = logging.getLogger("gatewright.serve")


def _told_plainly(record: logging.LogRecord) -> bool:
    """Leave out the traceback of what a client did wrong: text that is none."""
    if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
        record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
    return True


class _Seldom(logging.Filter):
    """Lets the same complaint through once a second: a client must not be able to fill the disk."""

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


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        line.update(getattr(record, "with_", {}))
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def to_stderr(level: str) -> None:
    """Write our log, and the web server's complaints, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name, least in (("gatewright.serve", level.upper()), ("uvicorn.error", "WARNING"), ("asyncio", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)
        if name != log.name:
            logger.addFilter(_Seldom())
    logging.getLogger("uvicorn.error").addFilter(_told_plainly)


def say(event: str, *, level: int = logging.INFO, **with_: object) -> None:
    """Log an event with what belongs to it; names of sessions and tokens are secrets and do not."""
    log.log(level, event, extra={"with_": with_})
