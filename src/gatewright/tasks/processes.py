"""What the processes of a training compute of their own rows, put together in each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from gatewright.tasks.base import Share


def gathered(own: Tensor) -> list[Tensor]:
    """Return the tensor of every process, in the order of their ranks; collective.

    Args:
        own: of this process (rows, ...); only the number of rows may differ between processes.
    """
    device = _device()
    mine = own.to(device)
    count = torch.tensor([len(own)], device=device)
    counts = [torch.empty_like(count) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, count)
    rows = [int(each) for each in counts]
    padded = mine.new_zeros(max(rows), *mine.shape[1:])
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in rows]
    distributed.all_gather(parts, padded)
    return [part[:count].to(own.device) for part, count in zip(parts, rows, strict=True)]


def divides(share: Share, count: int) -> bool:
    """Whether rows are divided among processes: there are several of them, and a row for each."""
    return share.world > 1 and count >= share.world and distributed.is_available() and distributed.is_initialized()


def computed(share: Share, rows: NDArray[np.int64], compute: Callable[[NDArray[np.int64]], Tensor]) -> Tensor:
    """Compute something of each of some rows, a part of them in each process; collective.

    Args:
        share: which process this is.
        rows: numbers of the rows, the same in all processes.
        compute: returns a tensor with one entry for each row that it gets, whatever the other rows are.

    Returns:
        The result for all rows in their order, in every process.

    >>> computed(Share(0, 1), np.array([3, 1]), lambda rows: torch.from_numpy(rows) * 10)
    tensor([30, 10])
    """
    if not divides(share, len(rows)):
        return compute(rows)
    own = compute(rows[share.rank :: share.world])
    whole = own.new_empty(len(rows), *own.shape[1:])
    for rank, part in enumerate(gathered(own)):
        whole[rank :: share.world] = part
    return whole


def summed(value: float) -> float:
    """Return the sum of a number over processes, added up in the order of their ranks; collective."""
    return sum(_of_each(value))


def of_the_first(value: float) -> float:
    """Return the number that the first process has; collective."""
    return _of_each(value)[0]


def _of_each(value: float) -> list[float]:
    return [float(part) for part in gathered(torch.tensor([value], dtype=torch.float64, device="cpu"))]


class Sum:
    """Numbers that are added up over processes while other work goes on; collective.

    Args:
        values: of this process.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self._values = torch.tensor(values, dtype=torch.float64, device=_device())
        self._work = distributed.all_reduce(self._values, async_op=True)

    def wait(self) -> list[float]:
        """Return the sums, which are the same in all processes."""
        self._work.wait()
        sums: list[float] = self._values.tolist()
        return sums


def _device() -> torch.device:
    """Return where tensors have to be to go from process to process."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or "gloo" in distributed.get_backend():
        return torch.device("cpu")
    return torch.device(accelerator.type, torch.accelerator.current_device_index())
