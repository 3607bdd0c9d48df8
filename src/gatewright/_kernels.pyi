"""The native module; `gatewright.kernels` says what each entry does."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

class Packed:
    def step(self, x: _Array, h: _Array, c: _Array, /) -> tuple[_Array, _Array]: ...

class Model:
    @property
    def input_width(self) -> int: ...
    @property
    def output_width(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...

class Stream:
    def __init__(self, model: Model, sessions: int, /) -> None: ...
    def step(self, x: Any, out: Any) -> bool: ...
    def run(
        self,
        x: _Array,
        out: _Array,
        sessions: _Array,
        T: int,
        B: int,
        gates: _Array | None,
        cell: _Array | None,
        threads: int,
    ) -> None: ...
    def state(self, session: int, /) -> tuple[_Array, _Array, _Array, int]: ...
    def set_state(self, session: int, hidden: _Array, cell: _Array, last: _Array, steps: int, /) -> None: ...
    def require(self, session: int, /) -> None: ...
    def reset(self, session: int, /) -> None: ...
    def copy(self) -> Stream: ...

def model(
    layers: Sequence[tuple[_Array | None, ...]],
    embedding: _Array | None,
    head_W: _Array | None,
    head_b: _Array | None,
    columns: tuple[Any, ...] | None,
    kept: str,
) -> Model: ...
def linear(x: _Array, W: _Array, b: _Array | None, threads: int, out: _Array | None) -> Any: ...
def forward(
    x: _Array,
    h_0: _Array | None,
    c_0: _Array | None,
    W_ih: _Array,
    W_hh: _Array,
    b_ih: _Array | None,
    b_hh: _Array | None,
    W_hr: _Array | None,
    batch_sizes: Sequence[int] | None,
    reverse: bool,
    keep: bool,
    checkpoint: int,
    threads: int,
    split: str,
    out: Sequence[_Array | None],
) -> tuple[Any, ...]: ...
def backward(
    dy: _Array | None,
    dh_n: _Array | None,
    dc_n: _Array | None,
    dgates: _Array | None,
    dcell: _Array | None,
    x: _Array,
    h_0: _Array,
    c_0: _Array,
    y: _Array,
    gates: _Array | None,
    cell: _Array | None,
    W_ih: _Array,
    W_hh: _Array,
    b_ih: _Array | None,
    b_hh: _Array | None,
    W_hr: _Array | None,
    batch_sizes: Sequence[int] | None,
    reverse: bool,
    checkpoint: int,
    need_x: bool,
    need_weights: bool,
    threads: int,
    split: str,
    out: Sequence[_Array | None],
) -> tuple[Any, ...]: ...
def pack(W_ih: _Array, W_hh: _Array, b_ih: _Array | None, b_hh: _Array | None, W_hr: _Array | None) -> Packed: ...
def activation(x: _Array, sigmoid: bool, /) -> _Array: ...
def chunk_steps(B: int, H: int, element: int, /) -> int: ...
def fma_peak(single: bool, threads: int, seconds: float, /) -> float: ...
def target() -> str: ...
def targets() -> list[tuple[str, bool]]: ...
def forced() -> bool: ...
def select(name: str, /) -> bool: ...
def refused_target() -> str: ...
def share_openmp() -> bool: ...
def shares_openmp() -> bool: ...
def pool_size() -> int: ...
def kept_memory() -> int: ...
def release_memory() -> None: ...
