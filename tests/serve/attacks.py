"""Attacks of one client on a server, and what its other clients notice: ``python -m tests.serve.attacks``.

Each attack is bounded, and goes to this machine alone.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import resource
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgpack

from tests.support.serving import Server, never_reads
from tests.support.stream_models import text_model

#: Bytes of one frame or body, as many as a server takes.
FULL = 1_048_576
#: Seconds that an attacker waits for a server that does not read, or does not answer.
PATIENCE = 2.0
MIB = 2**20


def opened(port: int, buffers: int = 0) -> socket.socket:
    """Connect; with small buffers, a server soon cannot send any more to who does not read."""
    raw = socket.socket()
    raw.settimeout(PATIENCE)
    if buffers:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
    raw.connect(("127.0.0.1", port))
    return raw


def flood(port: int, head: bytes, part: bytes, size: int, *, read: bool = True) -> str:
    """Send a head, then a part again and again; return what came, or that the server reads no more."""
    with opened(port, 0 if read else 4096) as raw:
        block = part * max(1, 65536 // len(part))
        sent = 0
        try:
            raw.sendall(head)
            while sent < size:
                raw.sendall(block)
                sent += len(block)
        except TimeoutError:
            return f"not read from after {sent / MIB:.1f} MiB"
        except OSError:
            pass  # it has closed
        return answer(raw) if read else f"{sent / MIB:.1f} MiB were read"


def answer(raw: socket.socket) -> str:
    """Return the status that came."""
    try:
        line = raw.recv(65536).partition(b"\r\n")[0].decode()
    except TimeoutError:
        return "no answer"
    except OSError:
        return "closed"
    return line.removeprefix("HTTP/1.1 ") or "closed"


def ask(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Ask as a good client does."""
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, body or None, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def session(port: int) -> str:
    return str(json.loads(ask(port, "POST", "/v1/sessions")[1])["session"])


def framed(data: bytes, opcode: int = 2, last: bool = True) -> bytes:
    """A WebSocket frame of a client, whose mask is 0."""
    size = len(data)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes([(0x80 if last else 0) | opcode]) + length + bytes(4) + data


def websocket(port: int, protocol: str = "gatewright.msgpack") -> socket.socket:
    raw = opened(port)
    key = base64.b64encode(bytes(16))
    raw.sendall(
        b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: " + key + b"\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: " + protocol.encode() + b"\r\n\r\n"
    )
    assert raw.recv(1000).startswith(b"HTTP/1.1 101")
    return raw


# ---- Bodies and frames of as many values as go into them.


def packed(part: bytes, *, op: str = "advance", name: str = "x", before: bytes = b"") -> bytes:
    """A frame in msgpack with one long array."""
    fields = {"op": op, "session": "A" * 32}
    count = (FULL - 200) // len(part)
    head = bytes([0x80 | len(fields) + 1])
    pairs = b"".join(msgpack.packb(each) for pair in fields.items() for each in pair)
    return head + pairs + msgpack.packb(name) + before + b"\xdd" + count.to_bytes(4, "big") + part * count


def listed(part: bytes, name: str = "x") -> bytes:
    """A body in JSON with one long array."""
    other = b"" if name == "x" else b'"x": "a", '
    return b"{" + other + b'"' + name.encode() + b'": [' + part * ((FULL - 200) // len(part)) + b"0]}"


def members(count: int = 80_000) -> bytes:
    return b'{"x": "a", ' + b",".join(b'"%05d":0' % number for number in range(count)) + b"}"


FRAMES: dict[str, bytes] = {
    "nil": packed(b"\xc0"),
    "empty arrays": packed(b"\x90"),
    "arrays of nil": packed(b"\x91\xc0"),
    "empty maps": packed(b"\x80"),
    "extensions": packed(b"\xd4\x05x"),
    "timestamps": packed(b"\xd6\xff\0\0\0\x05"),
    "texts": packed(b"\xa2ab"),
    "numbers": packed(b"\x01"),
    "bad times": packed(b"\xa1a", name="times"),
    "a row of nil": packed(b"\xc0", before=b"\x91"),
    "rows of texts": b"\x83"
    + packed(b"\xa1a" * 1000, before=b"")[1:].replace(b"\xa1a" * 1000, b"\xdc\x03\xe8" + b"\xa1a" * 1000, 1),
    "nested arrays": b"\x82\xa2op\xa7advance\xa1x" + b"\xdd\x00\x0f\x00\x00" * 500 + bytes(FULL - 3000),
    "nested maps": b"\x82\xa2op\xa7advance\xa1x" + b"\xdf\x00\x0f\x00\x00\xa1a" * 400 + bytes(FULL - 4000),
    "an array as a name": b"\x81" + packed(b"\x90")[1:],
    "members": b"\xdf\x00\x01\x86\xa0" + b"".join(b"\xa6m%05d\x00" % number for number in range(100_000)),
    "many prompts": packed(b"\xa1a", op="generate", name="prompt"),
    "many names": packed(b"\xa1a", op="list", name="after"),
    "an array as id": packed(b"\x90", op="model", name="id"),
}
BODIES: dict[str, bytes] = {
    "empty texts": listed(b'"",'),
    "empty arrays": listed(b"[],"),
    "arrays in arrays": listed(b"[[]],"),
    "empty objects": listed(b"{},"),
    "numbers": listed(b"0,"),
    "rows of a text": listed(b'["a"],'),
    "bad times": listed(b'"",', "times"),
    "80,000 members": members(),
    "an object as x": b'{"x": ' + members() + b"}",
    "long numbers": listed(b"1" * 4000 + b","),
    "one row": b'{"x": [' + b"[" + b"0," * ((FULL - 50) // 2) + b"0]]}",
    "rows of nulls": b'{"x": [' + (b"[" + b"null," * 200 + b"null],") * 1040 + b"[0]]}",
}


def inferred(data: bytes, shape: str = "[9]", datatype: str = "FP64", more: bytes = b"") -> bytes:
    """A body of the Open Inference Protocol with one tensor, and with more members."""
    parameters = '{"sequence_id": 1, "sequence_start": true}'
    head = f'{{"parameters": {parameters}, "inputs": [{{"name": "x", "shape": {shape}, "datatype": "{datatype}", '
    return head.encode() + b'"data": ' + data + b"}" + more + b"]}"


def many(part: bytes, open_: bytes = b"[", close: bytes = b"0]") -> bytes:
    """As many values as go into a body."""
    return open_ + part * ((FULL - 1000) // len(part)) + close


#: Bodies of the Open Inference Protocol.
INFERENCES: dict[str, bytes] = {
    "numbers": inferred(many(b"0,"), "[524041]"),
    "rows": inferred(many(b"[0],"), "[262020, 1]"),
    "arrays in arrays": inferred(many(b"[[[]]],"), "[9]"),
    "arrays without end": inferred(b"[" * (FULL - 1000)),
    "objects": inferred(many(b"{},"), "[9]"),
    "texts": inferred(many(b'"",'), "[349360]", "BYTES"),
    "one text": inferred(b'["' + b"a" * (FULL - 1000) + b'"]', "[1]", "BYTES"),
    "a huge shape": inferred(b"[]", "[2147483647, 2147483647]"),
    "a huge shape of nothing": inferred(b"[]", "[2147483647, 0]"),
    "a shape of many axes": inferred(b"[]", "[" + "1," * 250_000 + "1]"),
    "tensors": inferred(b"[1]", more=many(b',{"name":"x","shape":[1],"datatype":"BOOL","data":[]}', b"", b"")),
    "parameters": b'{"inputs": [], "parameters": {' + many(b'"a":1,', b"", b'"b":1}}'),
    "outputs": b'{"inputs": [], "outputs": ' + many(b'{"name":"y"},', b"[", b'{"name":"y"}]}'),
    "long numbers": inferred(many(b"1" * 4000 + b","), "[9]"),
}


def infer(data: bytes, times: int = 3) -> Callable[[int], str]:
    def attack(port: int) -> str:
        return str([ask(port, "POST", "/v2/models/default/infer", data)[0] for _ in range(times)])

    return attack


def frame(data: bytes, protocol: str = "gatewright.msgpack", times: int = 3) -> Callable[[int], str]:
    def attack(port: int) -> str:
        with websocket(port, protocol) as raw:
            raw.settimeout(60)
            came = b""
            with contextlib.suppress(ConnectionError):  # the server may have closed it after the frame before
                for _ in range(times):
                    raw.sendall(framed(data, 2 if protocol.endswith("msgpack") else 1))
                    came = raw.recv(65536)
            return repr(came[:60])

    return attack


def body(data: bytes, what: str = "advance", times: int = 3) -> Callable[[int], str]:
    def attack(port: int) -> str:
        status = 0
        name = session(port)
        for _ in range(times):
            status, _ = ask(port, "POST", f"/v1/sessions/{name}/{what}", data)
        return str(status)

    return attack


# ---- Heads, and what comes with a body, of any length.

_HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
_CHUNKED = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
HEADS: dict[str, tuple[bytes, bytes]] = {
    "headers": (_HEAD, b"a: b\r\n"),
    "headers without a value": (_HEAD, b"a:\r\n"),
    "a header": (_HEAD + b"a: ", b"b"),
    "a header's name": (_HEAD, b"a"),
    "a request line": (b"GET /", b"a"),
    "a method": (b"", b"G"),
    "trailers": (_CHUNKED + b"0\r\n", b"a: b\r\n"),
    "a trailer": (_CHUNKED + b"0\r\na: ", b"b"),
    "a chunk's extension": (_CHUNKED + b"1;", b"a"),
    "a chunk's size": (_CHUNKED, b"0"),
    "chunks of a byte": (_CHUNKED, b"1\r\na\r\n"),
    "chunks of a byte for nobody": (_CHUNKED.replace(b"POST /v1/sessions", b"GET /healthz"), b"1\r\na\r\n"),
    "lines before the request": (b"", b"\r\n"),
    "a handshake's headers": (_HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"a: b\r\n"),
}


def head(name: str, size: int = 40 * MIB, path: str = "/healthz") -> Callable[[int], str]:
    first, part = HEADS[name]
    return lambda port: flood(port, first.replace(b"/healthz", path.encode()), part, size)


# ---- Answers that nobody reads.


def pipelined(path: str = "/healthz", size: int = 18 * MIB) -> Callable[[int], str]:
    """Requests that are cut in their middle, where the server's reads end."""
    part = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()
    cut = len(part) // 2
    return lambda port: flood(port, part[:cut], part[cut:] + part[:cut], size, read=False)


def unread_answers(port: int, sessions: int = 64) -> str:
    """Every frame is small, and its answer is large."""
    names = [session(port) for _ in range(sessions)]
    sent = 0
    with never_reads(port) as raw:
        raw.settimeout(PATIENCE)
        try:
            for _ in range(40):
                for name in names:
                    data = json.dumps({"op": "advance", "session": name, "x": "abc" * 333}).encode()
                    raw.sendall(framed(data, 1))
                    sent += 1
        except OSError:
            pass
        return f"{sent} frames were read"


def small_frames(data: bytes, size: int = 20 * MIB, protocol: str = "gatewright.json") -> Callable[[int], str]:
    """Frames whose answers nobody reads, or that have none."""

    def attack(port: int) -> str:
        with websocket(port, protocol) as raw:
            block, sent = data * max(1, 65536 // len(data)), 0
            try:
                while sent < size:
                    raw.sendall(block)
                    sent += len(block)
            except TimeoutError:
                return f"not read from after {sent / MIB:.1f} MiB"
            except OSError:
                return f"closed after {sent / MIB:.1f} MiB"
            return f"{sent / MIB:.1f} MiB were read"

    return attack


def fragments(data: bytes) -> Callable[[int], str]:
    """One message of parts without end."""

    def attack(port: int) -> str:
        with websocket(port) as raw:
            raw.sendall(framed(data, 2, last=False))
            part, sent = framed(data, 0, last=False), 0
            block = part * (65536 // len(part))
            try:
                while sent < 40 * MIB:
                    raw.sendall(block)
                    sent += len(block)
            except OSError:
                pass
            return f"{sent / MIB:.1f} MiB were read"

    return attack


# ---- Connections that only stay.


def silent(count: int = 300, first: bytes = b"") -> Callable[[int], str]:
    """Sockets that say nothing, or begin to: is a good client answered meanwhile?"""

    def attack(port: int) -> str:
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                raw = stack.enter_context(opened(port))
                if first:
                    raw.sendall(first)
            began = time.perf_counter()
            try:
                status, _ = ask(port, "GET", "/healthz")
            except OSError as error:
                return f"a good client: {error}"
            return f"a good client: {status} after {(time.perf_counter() - began) * 1e3:.0f} ms"

    return attack


ATTACKS: dict[str, Callable[[int], str]] = {
    **{f"msgpack: {name}": frame(data) for name, data in FRAMES.items()},
    **{f"HTTP: {name}": body(data) for name, data in BODIES.items()},
    **{
        f"JSON frame: {name}": frame(
            b'{"op": "advance", "session": "' + b"A" * 32 + b'", ' + data[1:], "gatewright.json"
        )
        for name, data in BODIES.items()
    },
    **{f"/v2: {name}": infer(data) for name, data in INFERENCES.items()},
    **{f"40 MiB of {name}": head(name) for name in HEADS},
    "18 MiB of GET /healthz": pipelined(),
    "18 MiB of GET /v1/model": pipelined("/v1/model"),
    "64 sessions' answers unread": unread_answers,
    "20 MiB of pings": small_frames(framed(b"", 9)),
    "20 MiB of large pings": small_frames(framed(b"a" * 125, 9)),
    "20 MiB of empty frames": small_frames(framed(b"", 1)),
    "20 MiB of small frames": small_frames(framed(b'{"op":"model"}', 1)),
    "20 MiB of pongs": small_frames(framed(b"", 10)),
    "a message of empty parts": fragments(b""),
    "a message of parts of a byte": fragments(b"a"),
    "300 silent sockets": silent(),
    "300 half heads": silent(first=b"GET /healthz HTTP/1.1\r\nHost: loc"),
    "300 idle connections": silent(first=b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
}


@dataclass
class Effect:
    """What others notice of an attack.

    Attributes:
        told: what the attacker was told.
        growth: bytes by which the server's memory grew at most.
        slowest: seconds of the slowest answer to another client.
        answered: how many answers that client got meanwhile.
    """

    told: str
    growth: int
    slowest: float
    answered: int


def effect(server: Server, attack: Callable[[int], str]) -> Effect:
    """Attack, and look at the server meanwhile."""
    ask(server.port, "GET", "/healthz")
    before, over = server.memory, threading.Event()
    memory, seconds = [before], [0.0]

    def watch() -> None:
        while not over.wait(0.005):
            memory.append(server.memory)

    def probe() -> None:
        while not over.wait(0.01):
            began = time.perf_counter()
            with contextlib.suppress(OSError):
                ask(server.port, "GET", "/healthz")
            seconds.append(time.perf_counter() - began)

    threads = [threading.Thread(target=watch), threading.Thread(target=probe)]
    for thread in threads:
        thread.start()
    try:
        told = attack(server.port)
    finally:
        time.sleep(0.2)
        over.set()
        for thread in threads:
            thread.join()
    return Effect(told, max(memory) - before, max(seconds), len(seconds) - 1)


@contextlib.contextmanager
def few_files(count: int) -> Iterator[None]:
    """Let processes that are started here open so many files only."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of attacks (default: all)")
    names = parser.parse_args().names
    print(f"{'attack':42}{'memory':>12}{'/healthz':>12}   what the attacker was told")
    for name, attack in ATTACKS.items():
        if names and not any(part in name for part in names):
            continue
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model.safetensors"
            text_model().save(model)
            server = Server(model, Path(folder), fresh=True)
            with few_files(128) if name.startswith("300") else contextlib.nullcontext():
                server.start()
            with contextlib.closing(contextlib.ExitStack()) as stack:
                stack.callback(server.kill)
                found = effect(server, attack)
                log = server.log.stat().st_size / MIB
        growth, slowest = f"{found.growth / MIB:+.1f} MiB", f"{found.slowest * 1e3:.0f} ms"
        logged = f", log {log:.1f} MiB" if log > 1 else ""
        print(f"{name:42}{growth:>12}{slowest:>12}   {found.told}{logged}", flush=True)


if __name__ == "__main__":
    main()
