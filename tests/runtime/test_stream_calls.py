"""`Stream.step` and `step_into` begin in native code: with the results and errors of the general way."""

from __future__ import annotations

import array
import copy
import gc
import inspect
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gatewright import Stream, _kernels
from gatewright.errors import GatewrightError

D, H = 3, 5
Array = NDArray[Any]


def stream(sessions: int = 1, kind: type[Stream] = Stream) -> Stream:
    draw = np.random.default_rng(0)
    shapes = {"weight_ih_l0": (4 * H, D), "weight_hh_l0": (4 * H, H)}
    weights = {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return kind.from_weights(weights, sessions=sessions)


ROWS = np.random.default_rng(1).standard_normal((4, D)).astype(np.float32)


class _Own(np.ndarray):
    """A class of a user's."""


#: The same numbers as other objects: what a step may be given in place of a plain array.
SAME: list[Callable[[Array], Any]] = [
    lambda x: x,
    list,
    tuple,
    lambda x: x.astype(">f4"),
    lambda x: np.repeat(x, 2)[::2],
    lambda x: x[::-1].copy()[::-1],
    lambda x: x.view(_Own),
    memoryview,
    lambda x: array.array("f", x),
]


@pytest.mark.parametrize("made", SAME)
def test_a_step_has_the_bits_of_the_general_way(made: Callable[[Array], Any]) -> None:
    ours, theirs = stream(), stream()
    for x in ROWS:
        expected = theirs.run(x[None])[0]
        given = made(x)
        if isinstance(given, np.ndarray):
            given.setflags(write=False)
        y = ours.step(given)
        assert type(y) is np.ndarray
        assert (y.tobytes(), y.shape, y.dtype) == (expected.tobytes(), expected.shape, expected.dtype)
        assert y.flags.owndata
        assert ours.state() == theirs.state()


@pytest.mark.parametrize("made", [SAME[0], SAME[6], SAME[7], SAME[8]])
def test_step_into_has_them_too(made: Callable[[Array], Any]) -> None:
    ours, theirs = stream(), stream()
    for x in ROWS:
        for out in (np.empty(H, np.float32), array.array("f", bytes(4 * H)), np.empty(H, np.float32).view(_Own)):
            assert ours.step_into(made(x), out) is None
            assert bytes(memoryview(out).cast("B")) == theirs.step(x).tobytes()


def locked(size: int) -> Array:
    out = np.empty(size, np.float32)
    out.setflags(write=False)
    return out


X: Array = ROWS[0]
OUT: Array = np.empty(H, np.float32)
WRONG_ROWS: list[Any] = [
    X[1:],
    X[None],
    X[:, None],
    X.astype(np.float64),
    np.array(1.0, np.float32),
    X.astype(object),
    X * np.nan,
    None,
]
WRONG_ROWS += [
    np.array([0, np.inf, 0], np.float32),
    X.astype(complex),
    "text",
    X.astype(np.int64) + 10**17,
    [X, X],
]
WRONG_OUT: list[Any] = [OUT[1:], OUT.astype(np.float64), locked(H), np.empty(2 * H, "f4")[::2], None]


def failure(call: Callable[[], object]) -> tuple[type, str]:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever is raised is compared
        call()
    return type(caught.value), str(caught.value)


def test_wrong_input_has_the_errors_of_the_general_way_and_changes_nothing() -> None:
    own = stream()
    own.step(X)
    before = own.state()
    step, into = inspect.unwrap(Stream.step), inspect.unwrap(Stream.step_into)
    for x in WRONG_ROWS:
        assert failure(lambda x=x: own.step(x)) == failure(lambda x=x: step(own, x))
        assert failure(lambda x=x: own.step_into(x, OUT)) == failure(lambda x=x: into(own, x, OUT))
    for out in WRONG_OUT:
        assert failure(lambda out=out: own.step_into(X, out)) == failure(lambda out=out: into(own, X, out))
    assert failure(lambda: own.step(X, 1)) == failure(lambda: step(own, X, 1))
    assert failure(lambda: own.step(X, time="2020-01-01")) == failure(lambda: step(own, X, time="2020-01-01"))
    assert failure(lambda: own.step())[0] is failure(lambda: own.step(X, 0, X))[0] is TypeError  # type: ignore[call-arg]
    assert failure(lambda: stream(2).step(X)) == failure(lambda: step(stream(2), X))
    assert failure(lambda: stream(2).step_into(X, OUT)) == failure(lambda: into(stream(2), X, OUT))
    with pytest.raises(GatewrightError, match="finite numbers"):
        own.step(X * np.nan)
    assert own.state() == before


def test_the_methods_are_those_of_a_class_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    own = stream()
    for name in ("step", "step_into"):
        method, function = getattr(Stream, name), inspect.unwrap(getattr(Stream, name))
        assert inspect.isfunction(function)
        assert inspect.isroutine(method)
        assert inspect.signature(method) == inspect.signature(function)
        assert inspect.getdoc(method) == inspect.getdoc(getattr(own, name)) == inspect.getdoc(function)
        assert (method.__name__, method.__qualname__, method.__module__) == (
            name,
            f"Stream.{name}",
            Stream.__module__,
        )
        assert pickle.loads(pickle.dumps(method)) is method
        assert inspect.ismethod(getattr(own, name))
        assert getattr(own, name).__self__ is own

    class Louder(Stream):
        def step(self, x: Any, *more: Any, **named: Any) -> Any:
            return 2 * super().step(x, *more, **named)

    expected = stream().step(X)
    assert np.array_equal(stream(kind=Louder).step(X), 2 * expected)
    assert np.array_equal(Stream.step(stream(), X), expected)
    assert np.array_equal(stream().step(x=X), expected)
    assert np.array_equal(stream().step(X, record=True)[0], expected)
    assert np.array_equal(next(map(stream().step, [X])), expected)
    monkeypatch.setattr(Stream, "step", lambda _self, _x: "another")
    assert own.step(X) == "another"


def test_copies_step_by_themselves() -> None:
    own = stream()
    own.step(X)
    others = [own.copy(), copy.copy(own), copy.deepcopy(own)]
    results = [other.step(ROWS[1]).tobytes() for other in others]
    own.reset()
    own.step(X)
    assert results == 3 * [own.step(ROWS[1]).tobytes()]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(own)


def test_a_step_leaves_no_references_behind() -> None:
    own = stream()
    wrong = X * np.nan
    held = [own, own._native, own._direct, X, OUT, wrong]  # type: ignore[attr-defined]
    gc.collect()  # what earlier tests left in cycles refers to X and OUT, too
    counts = [sys.getrefcount(each) for each in held]
    for _ in range(100):
        own.step(X)
        own.step_into(X, OUT)
        with pytest.raises(GatewrightError):
            own.step(wrong)
    assert [sys.getrefcount(each) for each in held] == counts
    native = own._native
    before = sys.getrefcount(native)
    del own, held
    gc.collect()
    assert sys.getrefcount(native) == before - 3  # of the stream, of its calls, and of the list


def test_what_belongs_to_a_stream_is_made_of_one() -> None:
    own = stream()
    with pytest.raises(TypeError):
        type(own._direct)()  # type: ignore[misc]
    with pytest.raises(TypeError, match="takes a stream"):
        _kernels.direct_steps(X, (H,), True, True)  # type: ignore[arg-type]
    for shape in ((H + 1,), (H, H), (-1, -H)):
        with pytest.raises(ValueError, match="another size"):
            _kernels.direct_steps(own._native, shape, True, True)
