"""The native module; `gatewright.kernels` says what each entry does."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from numpy.typing import NDArray

from gatewright.kernels import Forward, Inputs, Kept, OutputGradients, SequenceArgs
from gatewright.spec.cell import LayerWeights

_Array = NDArray[Any]
_Method = TypeVar("_Method", bound=Callable[..., Any])

interface: int
least_chunk_rows: int
chunk_bytes: int

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
        record: tuple[_Array, _Array] | None,
        threads: int,
    ) -> None: ...
    def state(self, session: int, /) -> tuple[_Array, _Array, _Array, int, _Array]: ...
    def set_state(
        self, session: int, hidden: _Array, cell: _Array, last: _Array, steps: int, recent: _Array, /
    ) -> None: ...
    def require(self, session: int, /) -> None: ...
    def reset(self, session: int, /) -> None: ...
    def copy(self) -> Stream: ...

class DirectSteps: ...

def direct_steps(stream: Stream, output_shape: tuple[int, ...], step: bool, step_into: bool, /) -> DirectSteps: ...
def native_step(function: _Method, /) -> _Method: ...
def native_step_into(function: _Method, /) -> _Method: ...
def model(
    layers: Sequence[LayerWeights],
    embedding: _Array | None,
    head_W: _Array | None,
    head_b: _Array | None,
    columns: tuple[Any, ...] | None,
    kept: str,
    features: tuple[int, Sequence[tuple[int, _Array]]] | None,
    pooling: str,
    pool_W: _Array | None,
    cell: int,
    rates: Sequence[float],
    residual: bool,
) -> Model: ...
def quantiles(outputs: _Array, family: int, levels: Sequence[float], units: Sequence[float]) -> _Array: ...
def transform(values: _Array, kinds: Sequence[int], numbers: Sequence[float], inverse: bool) -> _Array: ...
def in_windows(
    values: _Array,
    window: tuple[Any, ...],
    mean: Sequence[float],
    scale: Sequence[float],
    change_scale: Sequence[float],
) -> tuple[_Array, _Array, _Array, _Array, _Array]: ...
def linear(x: _Array, W: _Array, b: _Array | None, threads: int, out: _Array | None, compute: str) -> Any: ...
def forward(
    x: _Array,
    h_0: _Array | None,
    c_0: _Array | None,
    weights: LayerWeights,
    args: SequenceArgs,
    keep: bool,
    out: Sequence[_Array | None],
) -> tuple[Any, ...]: ...
def backward(
    d: OutputGradients,
    inputs: Inputs,
    kept: Forward | Kept,
    weights: LayerWeights,
    args: SequenceArgs,
    need_x: bool,
    need_weights: bool,
    out: Sequence[_Array | None],
    dpre: _Array | None,
) -> tuple[Any, ...]: ...
def memory(shape: list[int], single: bool, /) -> _Array: ...
def tensor_access(functions: Any, tensor: type, parameter: type, /) -> bool: ...
def tensor_forward(
    x: Any,
    h_0: Any,
    c_0: Any,
    weights: Sequence[Any],
    y: Any,
    h_n: Any,
    c_n: Any,
    kept: Any,
    D: int,
    H: int,
    P: int,
    layers: int,
    bias: bool,
    threads: int,
    compute: int,
    /,
) -> bool: ...
def tensor_backward(
    dy: Any,
    dh_n: Any,
    dc_n: Any,
    x: Any,
    h_0: Any,
    c_0: Any,
    y: Any,
    kept: Any,
    weights: Sequence[Any],
    dx: Any,
    dh_0: Any,
    dc_0: Any,
    d_weights: Sequence[Any] | None,
    D: int,
    H: int,
    P: int,
    layers: int,
    bias: bool,
    threads: int,
    compute: int,
    /,
) -> bool: ...
def room(size: int, /) -> _Array: ...
def pack(weights: LayerWeights, compute: str) -> Packed: ...
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
