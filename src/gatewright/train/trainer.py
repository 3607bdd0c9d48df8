"""The training loop: steps, validations, checkpoints, and an end that loses nothing."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.accelerator import Accelerator
from accelerate.utils.dataclasses import DistributedType
from torch import Tensor

from gatewright.errors import RunError
from gatewright.files import model_file
from gatewright.nn.initial_state import tensors_of
from gatewright.nn.model import State
from gatewright.runs.run import Run
from gatewright.spec import StackSpec
from gatewright.tasks.base import Loss, Share, Task
from gatewright.tasks.processes import Sum, gathered, of_the_first
from gatewright.tasks.settings import TrainingSettings
from gatewright.train import checkpoint, nonfinite
from gatewright.train.callback import Callback
from gatewright.train.checkpoint import Progress
from gatewright.train.optimizer import learning_rate, new_optimizer, set_rate

#: Steps between lines of metrics.
LOG_EVERY = 50


class Loop:
    """The training loop of a task, to the end or until a signal stops it.

    Everything random is drawn from (seed, step, process), so a run that goes on from a checkpoint takes the
    very steps that it would have taken.

    Args:
        task: what to learn.
        settings: how.
        run: where checkpoints, metrics and the best model go.
        accelerator: device and processes.
        callbacks: are called as the training goes.
    """

    def __init__(
        self,
        task: Task,
        settings: TrainingSettings,
        run: Run,
        accelerator: Accelerator,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self._task, self._settings, self._run, self._accelerator = task, settings, run, accelerator
        self._callbacks = callbacks
        #: Steps of the schedule of the learning rate, and the last one of them that is taken.
        self.total = self.last = settings.total(task.steps_per_epoch)
        self._validate_every = min(settings.validate_every or min(task.steps_per_epoch, 500), self.total)
        self._share = Share(accelerator.process_index, accelerator.num_processes)
        self._parameters = list(task.model.parameters())
        optimizer = new_optimizer(task.model, settings)
        # The model is on its device already; where it is not to be moved, no module of torch is loaded for that.
        self._model, self._optimizer = accelerator.prepare(task.model, optimizer, device_placement=[False, False])
        # Alone, steps are torch's own: each of Accelerate's looks for packages first, and does the same.
        self._alone = accelerator.distributed_type == DistributedType.NO and accelerator.scaler is None
        if self._alone:
            self._optimizer = optimizer
        stack = task.model.spec.lstm
        self._draws_dropout = stack.dropout > 0 or stack.is_random
        self._told, self._checkpoint = run.told(), run.checkpoint
        self._tensorboard: Any = None
        self._saved_step = 0
        self.progress = Progress()

    def resume(self) -> None:
        """Go on from the run's checkpoint; from the start, if the run was stopped before its first one.

        Raises:
            GatewrightError: if the checkpoint or the best model is damaged, missing or of another run.
        """
        best, path = self._run.model, self._checkpoint
        if path.exists():
            shapes = self._carried_shapes()
            carried, progress = checkpoint.load(path, self._task.model, self._optimizer, shapes, self._told)
            if progress.best < math.inf:
                self._require_best(best)
            self.progress = progress
            self._task.carry(self._own(carried))
            self.progress.finished = self._out_of_patience()
        elif best.exists():
            raise RunError(str(path), f"the checkpoint that belongs to {best.name}", "nothing there")
        self._saved_step = self.progress.step
        if self._accelerator.is_main_process:
            # The score of the start is in the metrics before it is in a checkpoint.
            self._run.forget_after(self.progress.step if self.progress.best < math.inf else -1)

    def _carried_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return names and shapes of the states that all processes carry."""
        if not self._task.carries:
            return {}
        stack, batch = self._task.model.spec.lstm, self._task.batch
        if stack.is_unequal:
            widths = (*stack.output_sizes, *stack.cell_state_sizes)
            return {name: (1, batch, width) for name, width in zip(_names(stack), widths, strict=True)}
        width = stack.cell.cell_state_size(stack.hidden_sizes[0])
        hidden, cell = (stack.num_layers, batch, stack.output_size), (stack.num_layers, batch, width)
        return {"hidden": hidden, "cell": cell}

    def _require_best(self, path: Path) -> None:
        """Hold that the best model so far is there: if no better one comes, it is what the run leaves.

        Raises:
            ModelFileError: if it is missing or damaged.
            RunError: if it is of another run.
        """
        file, model = model_file.read(path), self._task.model
        if (file.spec, file.scaler, file.vocabulary) != (model.spec, model.scaler, model.vocabulary):
            raise RunError(str(path), "the best model of this run", "a model of another run")

    def run(self) -> Progress:
        """Take all steps that are left; return how far it came.

        Raises:
            NonFiniteError: at a loss or gradient that is NaN or infinite; the last checkpoint is kept.
        """
        self._tensorboard = self._open_tensorboard()
        try:
            self._take_steps()
        finally:  # also after an error: the writer has a thread of its own
            if self._tensorboard:
                self._tensorboard.close()
        return self.progress

    def _take_steps(self) -> None:
        progress = self.progress
        self._task.model.train()
        with _stop_on_signals(again=self._share.world == 1) as stop_requested:
            if progress.step == 0:
                self._begin()
            while progress.step < self.last and not progress.finished:
                with self._in_precision():
                    loss, stop = self._step(stop_requested())
                self._count(loss)
                if progress.step % self._validate_every == 0 or progress.step == self.last:
                    self._validate()
                elif progress.step % self._settings.checkpoint_every == 0:
                    self._save()
                if stop:
                    break
            if progress.step >= self.last:
                progress.finished = progress.finished or "steps"
            elif progress.best == math.inf and progress.step > 0:
                self._validate()  # stopped before the first validation: there is no model yet
            if self._saved_step < progress.step:
                self._save()

    def _begin(self) -> None:
        """Keep a checkpoint, and score the weights that forecast best without training, if there are any."""
        self._save()  # no best model without a checkpoint
        if self._task.starts_ready:
            if self.progress.best == math.inf:  # not where a run goes on from its start
                self._task.start(forecasting=True)
                self._validate()
            self._task.start(forecasting=False)
            self._save()

    @contextmanager
    def _in_precision(self) -> Iterator[None]:
        """Let the layers compute in the precision of the training, which only its steps have."""
        layers = self._task.model.lstm
        before, layers.compute = layers.compute, self._settings.compute
        try:
            yield
        finally:
            layers.compute = before

    def _step(self, stop: bool) -> tuple[float, bool]:
        """Take one optimizer step; return its loss and whether any process was asked to stop."""
        step = self.progress.step
        began = time.perf_counter()
        self._seed(step)
        rate = learning_rate(step, self.total, self._settings)
        set_rate(self._optimizer, rate)
        loss = self._task.loss(self._model, step)
        value, stop = (self._backward_of_all if self._share.world > 1 else self._backward)(loss, stop)
        norm = self._clip()
        if not math.isfinite(norm):
            raise nonfinite.error(self._task, step, "gradient norm", norm, self._saved_step)
        self._optimizer.step()
        self.progress.step += 1
        self.progress.seconds += time.perf_counter() - began
        return value, stop

    def _backward(self, loss: Loss, stop: bool) -> tuple[float, bool]:
        """Compute the gradients of the mean loss; return it."""
        mean = loss.total * (1 / loss.predictions)
        value = float(mean.detach())
        if not math.isfinite(value):
            raise nonfinite.error(self._task, self.progress.step, "loss", value, self._saved_step)
        self._optimizer.zero_grad()
        if self._alone:
            mean.backward()
        else:
            self._accelerator.backward(mean)
        return value, stop

    def _backward_of_all(self, loss: Loss, stop: bool) -> tuple[float, bool]:
        """Compute the gradients of the mean loss over all processes; return it, and whether any is to stop.

        How much all of them predict is added up during the backward pass, and divides the gradients after it: a
        step has one moment at which processes wait for each other, the end of its backward pass.
        """
        total, step, batch = loss.total, self.progress.step, self._task.batch
        sums = Sum([float(total.detach()), loss.predictions, int(stop)])
        self._optimizer.zero_grad()
        self._accelerator.backward(total * (self._share.world / batch))  # gradients are averaged over processes
        every_total, count, stops = sums.wait()
        value = every_total / count
        if not math.isfinite(value):
            self._optimizer.zero_grad()
            if math.isfinite(float(total.detach())):
                raise nonfinite.elsewhere(step, value, self._saved_step)
            raise nonfinite.error(self._task, step, "loss", value, self._saved_step)
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(batch / count)
        return value, stops > 0

    def _clip(self) -> float:
        """Clip the gradients, and return their norm before."""
        most = self._settings.clip or math.inf
        if self._alone:
            return float(torch.nn.utils.clip_grad_norm_(self._parameters, most))
        return float(self._accelerator.clip_grad_norm_(self._parameters, most))

    def _seed(self, step: int) -> None:
        """Make this step's dropout, and the random choices of its cell, a function of seed, step and process."""
        if not self._draws_dropout:
            return
        number = ((self._settings.seed << 40) + (step << 12) + self._share.rank) % 2**63
        torch.default_generator.manual_seed(number)
        if self._accelerator.device.type != "cpu":
            torch.manual_seed(number)

    def _count(self, loss: float) -> None:
        progress = self.progress
        progress.loss_sum += loss
        progress.loss_steps += 1
        for callback in self._callbacks:
            callback.step(progress.step, loss, progress.step / max(progress.seconds, 1e-9))
        if progress.step % LOG_EVERY == 0 and progress.step % self._validate_every and progress.step < self.last:
            self._log({})

    def _log(self, more: dict[str, float | None]) -> float:
        """Write a line of metrics; return the mean training loss since the last one."""
        progress = self.progress
        loss = progress.loss_sum / progress.loss_steps if progress.loss_steps else math.nan
        progress.loss_sum, progress.loss_steps = 0.0, 0
        line = {
            "step": progress.step,
            "epoch": round(progress.step / self._task.steps_per_epoch, 4),
            "train": loss if progress.step else None,
            **more,
            "lr": learning_rate(max(progress.step - 1, 0), self.total, self._settings),
            "seconds": round(progress.seconds, 3),
            "steps_per_second": round(progress.step / max(progress.seconds, 1e-9), 2),
        }
        if self._accelerator.is_main_process:
            self._run.log(line)
            if self._tensorboard:
                for name in ("train", "lr", *more):
                    if line[name] is not None:
                        self._tensorboard.add_scalar(name, line[name], progress.step)
        return loss

    def _validate(self) -> None:
        """Score the validation part; keep the model if it is the best, and a checkpoint."""
        progress = self.progress
        score = self._task.validate()
        if self._share.world > 1:
            score = of_the_first(score)  # all have to decide the same
        if not math.isfinite(score):
            raise nonfinite.error(self._task, progress.step - 1, "validation loss", score, self._saved_step)
        better = score < progress.best
        if better:
            progress.best, progress.best_step, progress.validations_since_best = score, progress.step, 0
            if self._accelerator.is_main_process:
                self._run.best.unlink(missing_ok=True)  # of a refit of an earlier best model
                model_file.write(self._run.model, self._task.file())
        else:
            progress.validations_since_best += 1
        measures = {f"valid_{name}": value for name, value in self._task.measures(score).items()}
        loss = self._log({"valid": score, **measures})
        for callback in self._callbacks:
            callback.validation(progress.step, progress.step / self._task.steps_per_epoch, loss, score, better)
        progress.finished = self._out_of_patience()
        self._save()
        for callback in self._callbacks:
            callback.validated(self._task.model, progress.step)

    def _out_of_patience(self) -> str:
        """Return "patience" if too many validations brought nothing better, else ""."""
        patience = self._settings.patience
        return "patience" if patience and self.progress.validations_since_best >= patience else ""

    def _save(self) -> None:
        """Write a checkpoint, if the weights are good.

        The best model is on disk before it, so a checkpoint never promises a lost one.
        """
        if not all(bool(value.isfinite().all()) for value in self._parameters):
            step = self.progress.step - 1
            raise nonfinite.error(self._task, step, "a weight after the update", math.nan, self._saved_step)
        carried = self._all(self._task.carried)
        if self._accelerator.is_main_process:
            parts = (self._task.model, self._optimizer, carried, self.progress, self._told)
            checkpoint.save(self._checkpoint, *parts)
        self._saved_step = self.progress.step

    def _all(self, state: State | None) -> dict[str, Tensor]:
        """Gather the carried states of all processes, (layers, B, H)."""
        if state is None:
            return {}
        parts = tensors_of(state)
        if self._share.world > 1:
            every = [gathered(part.transpose(0, 1).contiguous()) for part in parts]
            parts = [torch.cat(rows).transpose(0, 1) for rows in every]
        return dict(zip(_names(self._task.model.spec.lstm), parts, strict=True))

    def _own(self, carried: dict[str, Tensor]) -> State | None:
        """Take this process's rows of carried states."""
        if not carried:
            return None
        rows, device = self._share.of(self._task.batch), self._accelerator.device
        stack = self._task.model.spec.lstm
        parts = tuple(carried[name][:, rows].contiguous().to(device) for name in _names(stack))
        if stack.is_unequal:
            return parts[: stack.num_layers], parts[stack.num_layers :]  # type: ignore[return-value]
        hidden, cell = parts
        return hidden, cell

    def _open_tensorboard(self) -> Any:
        if not self._accelerator.is_main_process or self._run.temporary:
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        return SummaryWriter(self._run.tensorboard, purge_step=self.progress.step + 1)


def _names(stack: StackSpec) -> tuple[str, ...]:
    """Return the names of carried states in a checkpoint."""
    if stack.is_unequal:
        return tuple(f"{name}.{layer}" for name in ("hidden", "cell") for layer in range(stack.num_layers))
    return ("hidden", "cell")


@contextmanager
def _stop_on_signals(again: bool) -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM end the loop after the step at hand.

    Args:
        again: whether a second one ends it at once.  Of several processes each may get one from the terminal and
            another one from the launcher, which kills them if they take too long.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped.is_set
        return

    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: object) -> None:
        stopped.set()
        if again:
            signal.signal(number, before[number])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stopped.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
