"""Sessions in a Valkey or Redis server, for several replicas behind a load balancer."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from gatewright.errors import StoreError
from gatewright.serve.logs import log_event
from gatewright.serve.sessions.store import StoredModel, StoredSession

T = TypeVar("T")
#: Format version of the keys that this build reads and writes.
FORMAT = 1
_SCHEMES = {"valkey": "redis", "valkeys": "rediss", "redis": "redis", "rediss": "rediss"}
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
#: Prefix of all keys; the braces keep them in one slot of a cluster.
_PREFIX = "{gatewright}:"
#: Timeouts for a connection and for a reply, in seconds.
_CONNECT, _ANSWER = 3.0, 5.0
#: After a failure that took longer than _SLOW seconds, requests fail at once for _REST seconds.
_SLOW, _REST = 0.5, 1.0

# Keys: the count, then of each session itself, the index of its owner, the bytes of its owner and its model.
# Values of each: the parent's version ("" for none) and its tag, whether its model has to be there,
# its size, a `StoredSession`, and the replica.
_SAVE = """
local done = {}
for n = 1, (#KEYS - 1) / 4 do
  local key, at = 4 * n - 3, 15 * (n - 1)
  local session, owner, bytes, model = KEYS[key + 1], KEYS[key + 2], KEYS[key + 3], KEYS[key + 4]
  local kept = redis.call('HMGET', session, 'version', 'tag', 'size')
  local before, size = ARGV[at + 1], ARGV[at + 4]
  done[n] = 0
  if (kept[1] or '') == before and (kept[2] or '') == ARGV[at + 2] then
    if ARGV[at + 3] == '1' and redis.call('EXISTS', model) == 0 then
      done[n] = 2
    else
      redis.call('HSET', session, 'size', size, 'id', ARGV[at + 5], 'owner', ARGV[at + 6], 'model', ARGV[at + 7],
        'version', ARGV[at + 8], 'steps', ARGV[at + 9], 'snapshot', ARGV[at + 10], 'first', ARGV[at + 11],
        'request', ARGV[at + 12], 'answer', ARGV[at + 13], 'tag', ARGV[at + 14],
        'replica', ARGV[at + 15])
      local grown = size - (kept[3] or 0)
      if grown ~= 0 then
        redis.call('INCRBY', bytes, grown)
      end
      if before == '' then
        redis.call('ZADD', owner, 0, ARGV[at + 5])
        redis.call('INCR', KEYS[1])
      end
      done[n] = 1
    end
  end
end
return done
"""
# Keys: the count, the session, its owner's index, its owner's bytes.  Values: its name, its owner.
_DELETE = """
local kept = redis.call('HMGET', KEYS[2], 'owner', 'size')
if kept[1] == ARGV[2] then
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('DECR', KEYS[1])
  if kept[2] then
    redis.call('DECRBY', KEYS[4], kept[2])
  end
end
"""
#: The script's result for a session whose model is missing.
_MODEL_MISSING = 2
#: Names of a session's fields.
_FIELDS = (*StoredSession._fields[:10], "replica")


class ValkeyStore:
    """Sessions in a Valkey or Redis server, for any number of processes.

    Durability depends on the server: to survive a crash of its machine it needs ``appendonly yes`` and
    ``appendfsync always``.  No command is sent twice: if a reply is lost, a `StoreError` is raised although the
    server may have executed the command; the sessions' tags tell.

    Args:
        url: of the server, as ``valkey://user:password@host:port/database``; ``valkeys`` is with TLS, and
            ``redis`` and ``rediss`` mean the same.  Options may follow, as ``?socket_timeout=1``: seconds to wait
            for an answer, or ``socket_connect_timeout``, for a connection; of TLS ``ssl_ca_certs``,
            ``ssl_certfile``, ``ssl_keyfile`` and ``ssl_check_hostname``.
        replica: name of this process, stored with each commit; empty for none.

    Raises:
        StoreError: if the URL cannot be used, the server does not answer or lets nobody in, or its sessions are of
            another version.
    """

    shared = True

    def __init__(self, url: str, replica: str = "") -> None:
        self._replica = replica
        parts, self._name = _split(url)
        options = _options(parts, self._name)
        self._password = options.get("password")
        self._closed, self._rest = False, (0.0, "")
        self._failed = False  # whether the last write failed
        self._models: dict[str, StoredModel] = {}  # the last saved model of each name
        # No retries: a command sent again after its execution would be refused without notice.
        fixed = {"decode_responses": False, "protocol": 2, "retry": Retry(NoBackoff(), 0)}
        defaults = {
            "socket_connect_timeout": _CONNECT,
            "socket_timeout": _ANSWER,
            "socket_keepalive": True,
            **options,
        }
        self._pool = redis.ConnectionPool(**{**defaults, **fixed})
        self._client = redis.Redis(connection_pool=self._pool)
        self._saving = self._client.register_script(_SAVE)
        self._deleting = self._client.register_script(_DELETE)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self._do("PING")
        self._do("SET", _PREFIX + "format", FORMAT, "NX")
        stored_format = self._do("GET", _PREFIX + "format")
        if stored_format != str(FORMAT).encode():
            raise StoreError(self._name, f"sessions in format {FORMAT}", f"format {stored_format!r}"[:80])
        self._warn("appendonly", "no", "store may lose what it has when it stops")
        self._warn("maxmemory-policy", "allkeys-.*", "store may forget sessions when its memory is full")

    def _warn(self, setting: str, risky: str, event: str) -> None:
        try:
            value = str(self._ask(self._client.config_get, setting)[setting])
        except (StoreError, KeyError):  # not permitted by many hosted servers
            return
        if re.fullmatch(risky, value):
            log_event(event, level=logging.WARNING, store=self._name, **{setting: value})

    def save(self, sessions: Sequence[StoredSession]) -> list[bool]:
        """Write sessions in one round trip, except those that another process has changed.

        If the server has lost the model of a new session, the model is saved again.

        Returns:
            For each whether it was written: whether it succeeds the stored commit.

        Raises:
            StoreError: if writing fails; if the reply was lost, they may have been written.
        """
        if not sessions:
            return []
        done = self._save(sessions)
        if _MODEL_MISSING in done:
            again = [place for place, code in enumerate(done) if code == _MODEL_MISSING]
            missing = {sessions[place].model for place in again}
            for name, model in list(self._models.items()):
                if model.fingerprint in missing:
                    self.save_model(model, name)
            for place, code in zip(again, self._save([sessions[place] for place in again]), strict=True):
                done[place] = code
        return [code == 1 for code in done]

    def _save(self, sessions: Sequence[StoredSession]) -> list[int]:
        keys, values = [_key("count")], []
        served = {model.fingerprint for model in list(self._models.values())}
        for saved in sessions:
            keys += [_key("session:", saved.id), _key("owner:", saved.owner), _key("bytes:", saved.owner)]
            keys += [_key("model:", saved.model)]
            ours = saved.model in served
            follows = saved.version - 1 if saved.version else b""
            values += [follows, saved.parent_tag, int(ours and saved.version == 0), saved.size]
            values += [
                _bytes(value) if isinstance(value, str) else value for value in (*saved[:10], self._replica)
            ]
        return list(self._write(self._saving, keys, values))

    def delete(self, name: str, owner: str) -> None:
        """Delete a session; idempotent.

        Raises:
            StoreError: if it cannot be deleted.
        """
        keys = [_key("count"), _key("session:", name), _key("owner:", owner), _key("bytes:", owner)]
        self._write(self._deleting, keys, [_bytes(name), _bytes(owner)])

    def load(self, name: str) -> StoredSession | None:
        """Return a session, or None if it does not exist.

        Raises:
            StoreError: if it cannot be read, or is damaged.
        """
        values = self._do("HMGET", _key("session:", name), *_FIELDS)
        if all(value is None for value in values):
            return None
        try:
            if None in values[:9]:
                raise ValueError("a field is missing")
            _, owner, model, version, steps, snapshot, first, request, answer, tag, replica = values
            numbers = int(version), int(steps), snapshot, int(first), request, answer, tag or b""
            stored = StoredSession(name, _text(owner), _text(model), *numbers, replica=_text(replica or b""))
            return stored.validated()
        except ValueError as error:
            raise StoreError(self._name, "an intact session", f"a damaged one: {error}"[:200]) from None

    def names(self, owner: str, after: str = "", most: int = 1000) -> list[str]:
        """Return names of an owner's sessions in order: at most ``most`` of those after ``after``."""
        after_ = b"(" + _bytes(after)
        names = self._do("ZRANGEBYLEX", _key("owner:", owner), after_, "+", "LIMIT", 0, most)
        return [_text(name) for name in names]

    def count(self, owner: str | None = None) -> int:
        """Return the number of an owner's sessions, or of all sessions."""
        if owner is not None:
            return int(self._do("ZCARD", _key("owner:", owner)))
        return int(self._do("GET", _key("count")) or 0)

    def size(self, owner: str) -> int:
        """Return the approximate size of an owner's sessions, in bytes, without those of earlier builds."""
        return int(self._do("GET", _key("bytes:", owner)) or 0)

    def save_model(self, model: StoredModel, name: str = "") -> None:
        """Store a model if it is not stored yet.

        Raises:
            StoreError: if the model cannot be written.
        """
        value = _bytes(model.weights) + b"\n" + model.file
        self._write(
            self._client.execute_command, "SET", _PREFIX + "format", FORMAT, "NX"
        )  # in case the server lost all data
        self._write(self._client.execute_command, "SET", _key("model:", model.fingerprint), value, "NX")
        self._models[name] = model

    def load_model(self, fingerprint: str) -> StoredModel | None:
        """Return a model, or None if it is not stored."""
        value = self._do("GET", _key("model:", fingerprint))
        if value is None:
            return None
        weights, _, file = value.partition(b"\n")
        return StoredModel(fingerprint, _text(weights), file)

    def ping(self) -> None:
        """Raise a `StoreError` if reading fails, or the last write failed and a probe still does."""
        self._do("GET", _PREFIX + "format")
        if self._failed:
            self._write(self._client.execute_command, "SET", _PREFIX + "probe", 1)

    def _write(self, function: Callable[..., T], *arguments: Any) -> T:
        """Execute a write and record whether it succeeded."""
        self._failed = True
        reply = self._ask(function, *arguments)
        self._failed = False
        return reply

    def _do(self, *command: str | bytes | int) -> Any:
        return self._ask(self._client.execute_command, *command)

    def _ask(self, function: Callable[..., T], *arguments: Any) -> T:
        """Execute a command.

        Raises:
            StoreError: if the server does not reply, or replies with an error.
        """
        if self._closed:
            raise StoreError(self._name, "an open store", "a closed one")
        until, why = self._rest
        began = time.monotonic()
        if began < until:
            raise StoreError(self._name, "a server that answers", why)
        try:
            return function(*arguments)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            message, now = self._message(error), time.monotonic()
            if now - began > _SLOW:
                self._rest = now + _REST, message
            raise StoreError(self._name, "a server that answers", message) from None
        except (redis.RedisError, ValueError) as error:
            raise StoreError(self._name, "a server that accepts the command", self._message(error)) from None

    def _message(self, error: Exception) -> str:
        """Return an error's message without secrets."""
        text = " ".join(str(error).split()) or type(error).__name__
        if self._password:
            text = text.replace(self._password, "***")
        return text[:200]

    def close(self) -> None:
        """Close the connections; idempotent."""
        self._closed = True
        self._pool.disconnect()

    def __enter__(self) -> ValkeyStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _split(url: str) -> tuple[SplitResult, str]:
    """Return a URL's parts, and its text without secrets.

    Raises:
        StoreError: if the URL is invalid; the message contains no password.
    """
    expected = "valkey://host:port, valkeys://, redis:// or rediss://"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Any part of it may be the password.
        raise StoreError("store", expected, "a URL that cannot be read") from None
    if "@" in parts.path + parts.query + parts.fragment:
        raise StoreError(
            "store", "a URL whose password has %2F, %3F and %23 for /, ? and #", "an @ after its host"
        )
    name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0 or parts.fragment:
        raise StoreError(name, expected, "another URL")
    if not re.fullmatch(r"/?[0-9]*", parts.path):
        raise StoreError(name, "the number of a database after it", repr(parts.path)[:80])
    return parts, name + parts.path.rstrip("/")


def _options(parts: SplitResult, name: str) -> dict[str, Any]:
    """Return the connection options of a URL.

    Raises:
        StoreError: if an option is unknown or invalid.
    """
    scheme = _SCHEMES[parts.scheme]
    known = _TIMEOUTS + (_TLS if scheme == "rediss" else ())
    for option in parse_qs(parts.query, keep_blank_values=True):
        if option not in known:
            raise StoreError(name, f"options that are among {', '.join(known)}", repr(option)[:80])
    try:
        options = dict(parse_url(parts._replace(scheme=scheme).geturl()))
    except ValueError as error:  # the message names only the option
        raise StoreError(name, "options with valid values", str(error)) from None
    for option in _TIMEOUTS:
        if not 0 < options.get(option, 1.0) <= 3600:
            raise StoreError(name, f"{option} in seconds, 3600 at most", str(options[option]))
    return options


def _key(kind: str, name: str = "") -> bytes:
    return _bytes(_PREFIX + kind + name)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
