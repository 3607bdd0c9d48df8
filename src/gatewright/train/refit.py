"""The refit of a run: training once more, on the validation part too, without validations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate.accelerator import Accelerator

from gatewright.files import model_file
from gatewright.runs.run import Run
from gatewright.tasks.base import Task
from gatewright.tasks.settings import TrainingSettings
from gatewright.train import checkpoint
from gatewright.train.callback import Callback
from gatewright.train.trainer import Loop


class RefitLoop(Loop):
    """The steps of a refit: the order, dropout and learning rates of the run, without validations.

    Args:
        task: a new model, and the task whose training part has the validation part in it.
        settings: those of the run.
        run: the run; its best model gives way to the refitted one after the last step.
        accelerator: device and processes.
        callbacks: are called after each step.
        steps: number of steps.
    """

    def __init__(
        self,
        task: Task,
        settings: TrainingSettings,
        run: Run,
        accelerator: Accelerator,
        callbacks: Sequence[Callback],
        steps: int,
    ) -> None:
        super().__init__(task, settings, run, accelerator, callbacks)
        self.last = steps
        self._checkpoint = run.refit(steps, self.total)

    @property
    def done(self) -> bool:
        """Whether the refitted model is there."""
        return self.progress.step == self.last and self._checkpoint.exists()

    def resume(self) -> None:
        """Go on from the checkpoint of the refit, if there is one."""
        if self._checkpoint.exists():
            shapes = self._carried_shapes()
            carried, self.progress = checkpoint.load(
                self._checkpoint, self._task.model, self._optimizer, shapes, self._told
            )
            self._task.carry(self._own(carried))
        self._saved_step = self.progress.step

    def _begin(self) -> None:
        """Keep a checkpoint, or the model, where the best one was not trained at all."""
        if self.last:
            self._save()
        else:
            self._task.start(forecasting=True)
            self._validate()

    def _validate(self) -> None:
        """Keep the model after the last step, then a checkpoint: there is nothing to validate on."""
        if self.progress.step == self.last:
            file = self._task.refitted(model_file.read(self._run.best))  # all processes compute it
            if self._accelerator.is_main_process:
                model_file.write(self._run.model, file)
        self._save()

    def _open_tensorboard(self) -> None:
        """Write no events, which would take the place of those of the steps that found the best model."""

    def _log(self, more: dict[str, float | None]) -> float:  # noqa: ARG002
        """Write nothing: the metrics are those of the steps that found the best model."""
        self.progress.loss_sum, self.progress.loss_steps = 0.0, 0
        return 0.0


def refit(
    prepare: Callable[[], Task],
    settings: TrainingSettings,
    run: Run,
    accelerator: Accelerator,
    callbacks: Sequence[Callback],
    steps: int,
) -> bool:
    """Train a new model on training and validation part, and let it take the place of the best model.

    The best model is kept next to it, for a refit that is done again.

    Args:
        prepare: returns the task, with a model as new as that of the run was.
        settings: those of the run.
        run: the run, whose steps are all taken.
        accelerator: device and processes.
        callbacks: are called as the training goes.
        steps: number of steps.

    Returns:
        Whether it came to its end; a later call goes on from where it stopped, to the same bits.
    """
    loop = RefitLoop(prepare(), settings, run, accelerator, callbacks, steps)
    if accelerator.is_main_process:
        _delete_checkpoints(run, run.refit(steps, loop.total))
    loop.resume()
    if loop.done:
        return True
    if accelerator.is_main_process and not run.best.exists():
        model_file.write(run.best, model_file.read(run.model))
    accelerator.wait_for_everyone()  # all of them read it
    for callback in callbacks:
        how = f"{steps} step{'s' * (steps > 1)}" if steps else "as it starts, since step 0 is the best"
        callback.note(
            f"refit: a new model learns training and validation part, {how} (--no-refit leaves this out)"
        )
    return bool(loop.run().finished)


def without_refit(run: Run) -> None:
    """Let the best model of the validations be the run's model again."""
    if run.best.exists():
        run.best.replace(run.model)
        _delete_checkpoints(run)


def forget_refit(run: Run) -> None:
    """Delete what a refit kept next to the model."""
    run.best.unlink(missing_ok=True)
    _delete_checkpoints(run)


def _delete_checkpoints(run: Run, but: Path | None = None) -> None:
    """Delete the checkpoints of earlier refits, all but one."""
    for path in run.path.glob("refit-*.safetensors"):
        if path != but:
            path.unlink()
