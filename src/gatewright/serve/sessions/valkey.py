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
#: The version of the keys that this build writes, and the only one that it reads.
FORMAT = 1
_SCHEMES = {"valkey": "redis", "valkeys": "rediss", "redis": "redis", "rediss": "rediss"}
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
#: Before all our keys; the braces keep them together in one slot of a cluster.
_OURS = "{gatewright}:"
#: Seconds to wait for a connection, and for an answer.
_CONNECT, _ANSWER = 3.0, 5.0
#: A server that took so many seconds to fail is left alone for so many: a batch would wait again and again.
_SLOW, _REST = 0.5, 1.0

# Keys: the count, then of each session itself, the index of its owner, the bytes of its owner and its model.
# Values of each: the version that it follows upon ("" for none) and its tag, whether its model has to be there,
# its size, and a `StoredSession`.
_SAVE = """
local done = {}
for n = 1, (#KEYS - 1) / 4 do
  local key, at = 4 * n - 3, 14 * (n - 1)
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
        'request', ARGV[at + 12], 'answer', ARGV[at + 13], 'tag', ARGV[at + 14])
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
#: What a script says of a session whose model is gone.
_NO_MODEL = 2
#: What the fields of a session are called.
_FIELDS = StoredSession._fields[:10]


class ValkeyStore:
    """Sessions in a Valkey or Redis server, for any number of processes.

    What `save` wrote is kept as well as the server keeps it: to survive its machine it needs ``appendonly yes``
    and ``appendfsync always``.  Nothing is sent twice: where an answer was lost on the way, a `StoreError` is
    raised though the server may have done what it was told; the tags of the sessions tell.

    Args:
        url: of the server, as ``valkey://user:password@host:port/database``; ``valkeys`` is with TLS, and
            ``redis`` and ``rediss`` mean the same.  Options may follow, as ``?socket_timeout=1``: seconds to wait
            for an answer, or ``socket_connect_timeout``, for a connection; of TLS ``ssl_ca_certs``,
            ``ssl_certfile``, ``ssl_keyfile`` and ``ssl_check_hostname``.

    Raises:
        StoreError: if the URL cannot be used, the server does not answer or lets nobody in, or its sessions are of
            another version.
    """

    shared = True

    def __init__(self, url: str) -> None:
        parts, self._name = _split(url)
        options = _options(parts, self._name)
        self._password = options.get("password")
        self._closed, self._rest = False, (0.0, "")
        self._failed = False  # whether the last write did
        self._model: StoredModel | None = None  # the one that was saved last
        # One that is sent again after it was carried out would be refused, and nobody would know.
        fixed = {"decode_responses": False, "protocol": 2, "retry": Retry(NoBackoff(), 0)}
        given = {
            "socket_connect_timeout": _CONNECT,
            "socket_timeout": _ANSWER,
            "socket_keepalive": True,
            **options,
        }
        self._pool = redis.ConnectionPool(**{**given, **fixed})
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
        self._do("SET", _OURS + "format", FORMAT, "NX")
        found = self._do("GET", _OURS + "format")
        if found != str(FORMAT).encode():
            raise StoreError(self._name, f"sessions in format {FORMAT}", f"format {found!r}"[:80])
        self._warn("appendonly", "no", "store may lose what it has when it stops")
        self._warn("maxmemory-policy", "allkeys-.*", "store may forget sessions when its memory is full")

    def _warn(self, setting: str, risky: str, event: str) -> None:
        try:
            value = str(self._ask(self._client.config_get, setting)[setting])
        except (StoreError, KeyError):  # not permitted, as with many that are hosted
            return
        if re.fullmatch(risky, value):
            log_event(event, level=logging.WARNING, store=self._name, **{setting: value})

    def save(self, sessions: Sequence[StoredSession]) -> list[bool]:
        """Write sessions in one round trip, those that nobody else has changed meanwhile.

        A server that has forgotten the model of a new session is given it again, if it was saved here.

        Returns:
            For each whether it was written: whether it follows upon the commit that is kept.

        Raises:
            StoreError: if they cannot be written; if the answer got lost, they may have been.
        """
        if not sessions:
            return []
        done = self._save(sessions)
        if _NO_MODEL in done and self._model is not None:
            self.save_model(self._model)
            again = [place for place, code in enumerate(done) if code == _NO_MODEL]
            for place, code in zip(again, self._save([sessions[place] for place in again]), strict=True):
                done[place] = code
        return [code == 1 for code in done]

    def _save(self, sessions: Sequence[StoredSession]) -> list[int]:
        keys, values = [_key("count")], []
        for saved in sessions:
            keys += [_key("session:", saved.id), _key("owner:", saved.owner), _key("bytes:", saved.owner)]
            keys += [_key("model:", saved.model)]
            ours = self._model is not None and saved.model == self._model.fingerprint
            follows = saved.version - 1 if saved.version else b""
            values += [follows, saved.parent_tag, int(ours and saved.version == 0), saved.size]
            values += [_bytes(value) if isinstance(value, str) else value for value in saved[:10]]
        return list(self._write(self._saving, keys, values))

    def delete(self, name: str, owner: str) -> None:
        """Forget a session; twice is fine.

        Raises:
            StoreError: if it cannot be deleted.
        """
        keys = [_key("count"), _key("session:", name), _key("owner:", owner), _key("bytes:", owner)]
        self._write(self._deleting, keys, [_bytes(name), _bytes(owner)])

    def load(self, name: str) -> StoredSession | None:
        """Return a session, or None if there is none of that name.

        Raises:
            StoreError: if it cannot be read, or is damaged.
        """
        values = self._do("HMGET", _key("session:", name), *_FIELDS)
        if all(value is None for value in values):
            return None
        try:
            if None in values[:9]:
                raise ValueError("something is missing")
            _, owner, model, version, steps, snapshot, first, request, answer, tag = values
            numbers = int(version), int(steps), snapshot, int(first), request, answer, tag or b""
            return StoredSession(name, _text(owner), _text(model), *numbers).validated()
        except ValueError as error:
            raise StoreError(self._name, "a whole session", f"a damaged one: {error}"[:200]) from None

    def names(self, owner: str, after: str = "", most: int = 1000) -> list[str]:
        """Return names of an owner's sessions in order, the first so many after one."""
        after_ = b"(" + _bytes(after)
        found = self._do("ZRANGEBYLEX", _key("owner:", owner), after_, "+", "LIMIT", 0, most)
        return [_text(name) for name in found]

    def count(self, owner: str | None = None) -> int:
        """Return how many sessions an owner has, or how many there are."""
        if owner is not None:
            return int(self._do("ZCARD", _key("owner:", owner)))
        return int(self._do("GET", _key("count")) or 0)

    def size(self, owner: str) -> int:
        """Return about how many bytes the sessions of an owner take; those of earlier builds do not count."""
        return int(self._do("GET", _key("bytes:", owner)) or 0)

    def save_model(self, model: StoredModel) -> None:
        """Keep a model, if it is not there.

        Raises:
            StoreError: if it cannot be written.
        """
        value = _bytes(model.weights) + b"\n" + model.file
        self._write(self._client.execute_command, "SET", _OURS + "format", FORMAT, "NX")  # if all was forgotten
        self._write(self._client.execute_command, "SET", _key("model:", model.fingerprint), value, "NX")
        self._model = model

    def load_model(self, fingerprint: str) -> StoredModel | None:
        """Return a model, or None if it is not there."""
        value = self._do("GET", _key("model:", fingerprint))
        if value is None:
            return None
        weights, _, file = value.partition(b"\n")
        return StoredModel(fingerprint, _text(weights), file)

    def ping(self) -> None:
        """Raise a `StoreError` if nothing can be read, or the last write failed and one still does."""
        self._do("GET", _OURS + "format")
        if self._failed:
            self._write(self._client.execute_command, "SET", _OURS + "probe", 1)

    def _write(self, function: Callable[..., T], *arguments: Any) -> T:
        """Ask the server for a change, and take note of whether it was made."""
        self._failed = True
        found = self._ask(function, *arguments)
        self._failed = False
        return found

    def _do(self, *command: str | bytes | int) -> Any:
        return self._ask(self._client.execute_command, *command)

    def _ask(self, function: Callable[..., T], *arguments: Any) -> T:
        """Ask the server.

        Raises:
            StoreError: if it does not answer, or answers with an error.
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
            told, now = self._told(error), time.monotonic()
            if now - began > _SLOW:
                self._rest = now + _REST, told
            raise StoreError(self._name, "a server that answers", told) from None
        except (redis.RedisError, ValueError) as error:
            raise StoreError(self._name, "a server that does what it is told", self._told(error)) from None

    def _told(self, error: Exception) -> str:
        """Return what an error says, without secrets."""
        text = " ".join(str(error).split()) or type(error).__name__
        if self._password:
            text = text.replace(self._password, "***")
        return text[:200]

    def close(self) -> None:
        """Close the connections; twice is fine."""
        self._closed = True
        self._pool.disconnect()

    def __enter__(self) -> ValkeyStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _split(url: str) -> tuple[SplitResult, str]:
    """Return a URL's parts, and what may be shown of it.

    Raises:
        StoreError: if it is no URL of a server; what might be a password is not in its text.
    """
    expected = "valkey://host:port, valkeys://, redis:// or rediss://"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Which part of it is the password, nobody knows then.
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
    """Return what a URL says of the connection.

    Raises:
        StoreError: if it cannot be used.
    """
    scheme = _SCHEMES[parts.scheme]
    known = _TIMEOUTS + (_TLS if scheme == "rediss" else ())
    for option in parse_qs(parts.query, keep_blank_values=True):
        if option not in known:
            raise StoreError(name, f"options that are among {', '.join(known)}", repr(option)[:80])
    try:
        options = dict(parse_url(parts._replace(scheme=scheme).geturl()))
    except ValueError as error:  # tells the option only
        raise StoreError(name, "options with values that fit", str(error)) from None
    for option in _TIMEOUTS:
        if not 0 < options.get(option, 1.0) <= 3600:
            raise StoreError(name, f"{option} in seconds, 3600 at most", str(options[option]))
    return options


def _key(kind: str, name: str = "") -> bytes:
    return _bytes(_OURS + kind + name)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
