"""Settings: options that have a value, as the code that depends on them reads them.

An option may be unset.  `gatewright.tasks.options.resolve` sets all that a kind of model has; a class of settings
names those that one piece of code reads, with types without None.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import TypeVar

from gatewright.errors import GatewrightError
from gatewright.spec import StackSpec
from gatewright.tasks.cell_words import features_of
from gatewright.tasks.options import DataOptions, ModelOptions, TrainingOptions

S = TypeVar("S", bound="Settings")


@dataclass(frozen=True)
class Settings:
    """Base of the classes of settings.  A field with a default need not be set."""

    @classmethod
    def of(cls: type[S], options: DataOptions | ModelOptions | TrainingOptions) -> S:
        """Return the settings of resolved options.

        Raises:
            GatewrightError: names an option without a value.

        >>> PartSettings.of(DataOptions(valid="0.2", test="0.1", horizon=3))
        PartSettings(valid='0.2', test='0.1')
        """
        values = {}
        for setting in fields(cls):
            value = getattr(options, setting.name)
            if value is not None:
                values[setting.name] = value
            elif setting.default is MISSING:
                raise GatewrightError(f"--{setting.name.replace('_', '-')}", "a value", "none")
        return cls(**values)


@dataclass(frozen=True)
class PartSettings(Settings):
    """Sizes of the validation and the test part."""

    valid: str
    test: str


@dataclass(frozen=True)
class StartSettings(Settings):
    """Where the weights of a forecaster start from."""

    start: str = "zero"


@dataclass(frozen=True)
class LossSettings(Settings):
    """What a forecaster minimises, and how its quantiles are calibrated then."""

    loss: str = "quantile"
    calibrate: str = "none"

    @property
    def unit(self) -> str:
        """What values of the loss are measured in."""
        names = {"quantile": "quantile loss", "nll": "negative log-likelihood"}
        return names.get(self.loss, self.loss.upper())


@dataclass(frozen=True)
class RefitSettings(Settings):
    """Whether a model is trained once more, on the validation part too."""

    refit: bool = False


@dataclass(frozen=True)
class NoiseSettings(Settings):
    """Noise on the inputs of a classifier or a tagger while training."""

    noise: float
    shift: float = 0.0


@dataclass(frozen=True)
class ModelSettings(Settings):
    """Size of the layers, and their cell."""

    hidden: int | tuple[int, ...]
    layers: int
    dropout: float
    proj: int
    cell: tuple[str, ...] = field(default=(), kw_only=True)
    residual: bool = field(default=False, kw_only=True)

    def stack(self, directions: str = "forward") -> StackSpec:
        """Return the layers, in one direction or "both"."""
        cell = features_of(self.cell, self.proj)
        features = {name: getattr(cell, name) for name in cell.features()}
        sizes = (self.hidden, self.layers, self.dropout, self.proj)
        return StackSpec(*sizes, directions == "both", self.residual, **features)


@dataclass(frozen=True)
class BiasSettings(Settings):
    """Initial biases of the gates: that of the forget gates, or those for dependencies of ``chrono`` steps."""

    forget_bias: float = 0.0
    chrono: int = 0


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """Optimization.  The data decides on the length and the validations where no option does."""

    batch: int
    lr: float
    schedule: str
    warmup: int
    weight_decay: float
    clip: float
    patience: int
    checkpoint_every: int
    seed: int
    device: str
    precision: str = "float32"
    epochs: int | None = None
    steps: int | None = None
    validate_every: int | None = None

    @property
    def compute(self) -> str:
        """The arithmetic of the LSTM layers while training, as `gatewright.LSTM` names it."""
        return "full" if self.precision == "float32" else self.precision

    def total(self, steps_per_epoch: int) -> int:
        """Return the number of optimizer steps.

        Raises:
            GatewrightError: if neither steps nor epochs are set.
        """
        if self.steps is not None:
            return self.steps
        if self.epochs is None:
            raise GatewrightError("--steps or --epochs", "one of them", "none")
        return self.epochs * steps_per_epoch
