"""Options: from a file, from the command line, checked, written into the run, and able to make it again."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import get_type_hints

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from gatewright.errors import GatewrightError
from gatewright.spec import QuantileHead
from gatewright.tasks import registry
from gatewright.tasks.config_file import read_config
from gatewright.tasks.forecast.dataset import SeriesSettings
from gatewright.tasks.language.dataset import LanguageSettings
from gatewright.tasks.language.task import StreamSettings
from gatewright.tasks.options import (
    ALL_DEFAULTS,
    DataOptions,
    ModelOptions,
    Options,
    TrainingOptions,
)
from gatewright.tasks.settings import BiasSettings, ModelSettings, PartSettings, TrainingSettings


def resolve(options: Options, kind: str) -> Options:
    return registry.kind(kind).resolve(options)


SAID = Options(
    DataOptions(target=("a", "b"), fill="mean", quantiles=(0.1, 0.5), horizon=3),
    ModelOptions(hidden=8, dropout=0.25),
    TrainingOptions(lr=0.5, seed=0, steps=7),
)


def config(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_says_what_it_says(tmp_path):
    path = config(
        tmp_path,
        """
        [data]
        target = ["load", "flow"]   # a list
        known = "wind"              # or one name
        id = 7
        valid = 0.2
        test = 2017-07-01
        quantiles = [0.1, 0.5, 0.9]
        [training]
        lr = 1
        seed = 4
        """,
    )
    data = DataOptions(
        target=("load", "flow"),
        known=("wind",),
        id=("7",),
        valid="0.2",
        test="2017-07-01",
        quantiles=(0.1, 0.5, 0.9),
    )
    assert read_config(path) == Options(data, ModelOptions(), TrainingOptions(lr=1.0, seed=4))
    assert type(read_config(path).training.lr) is float
    assert read_config(config(tmp_path, "")) == ALL_DEFAULTS
    assert read_config(config(tmp_path, "\N{ZERO WIDTH NO-BREAK SPACE}[data]\nfill = 'mean'")).data.fill == "mean"
    moment = read_config(config(tmp_path, "[data]\ntest = 2017-07-01T06:00:00")).data.test
    assert moment == "2017-07-01 06:00:00"


WRONG = {
    "[data]\nhorizont = 3": r"\[data\]: expected options out of .*, got 'horizont'; did you mean 'horizon'\?",
    "[data]\nlr = 3": r"\[data\]: expected options out of .*, got 'lr', which belongs in \[training\]",
    "[trainin]\nlr = 1": r"expected tables out of data, model, training, got 'trainin'; did you mean 'training'\?",
    "lr = 1": r"expected tables out of data, model, training, got 'lr', which belongs in \[training\]",
    "data = 3": r" data: expected a table \[data\], got 3",
    "[[data]]\nlr = 3": r" data: expected a table \[data\], got \[",
    "[training]\nlr = 'fast'": r"\[training\] lr: expected a number, got 'fast'",
    "[training]\nsteps = 1.5": r"\[training\] steps: expected a whole number, got 1.5",
    "[training]\nsteps = true": r"\[training\] steps: expected a whole number, got True",
    "[data]\nfill = true": r"\[data\] fill: expected a text, got True",
    "[data]\ntarget = [['a']]": r"\[data\] target: expected a text, got \['a'\]",
    "[data]\nquantiles = ['a']": r"\[data\] quantiles: expected a number, got 'a'",
    "[data]\ntarget = {a = 1}": r"\[data\] target: expected a text, got \{'a': 1\}",
    "[data\n": r"config.toml: expected TOML, got .*line 1",
    "[data]\na = 1\na = 2": r"config.toml: expected TOML, got a mistake: Cannot overwrite",
    "a = " + "[" * 5000: r"config.toml: expected TOML, got lists or tables nested too deeply",
    "a = 1" + "0" * 5000: r"config.toml: expected TOML, got ",
    b"[data]\nid = '\xff'": r"config.toml: expected a TOML file in UTF-8, got byte 0xff in line 2",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_file_is_named(tmp_path, text):
    with pytest.raises(GatewrightError, match=WRONG[text]) as caught:
        read_config(config(tmp_path, text))
    assert len(str(caught.value)) < 700


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(GatewrightError, match=r"none\.toml: the file does not exist"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(GatewrightError, match="it is a directory, not a file"):
        read_config(tmp_path)


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path):
    path = config(tmp_path, "[data]\nhorizon = 9\nfill = 'forward'\n[training]\nseed = 4\nlr = 0.1")
    told = resolve(SAID.over(read_config(path)), "forecast")
    assert (told.data.horizon, told.training.seed, told.training.lr) == (3, 0, 0.5)
    assert (told.data.fill, told.data.target) == ("mean", ("a", "b"))
    told = resolve(ALL_DEFAULTS.over(read_config(path)), "forecast")
    assert (told.data.horizon, told.data.fill, told.training.seed) == (9, "forward", 4)
    assert told.training.batch == registry.kind("forecast").defaults.training.batch


def test_steps_and_epochs_are_one_thing(tmp_path):
    steps, epochs = (Options(training=TrainingOptions(**{name: 3})) for name in ("steps", "epochs"))
    assert epochs.over(steps).training == TrainingOptions(epochs=3)
    assert steps.over(epochs).training == TrainingOptions(steps=3)
    for kind in registry.KINDS:
        assert (resolve(steps, kind).training.steps, resolve(steps, kind).training.epochs) == (3, None)
        assert (resolve(epochs, kind).training.steps, resolve(epochs, kind).training.epochs) == (None, 3)
    with pytest.raises(GatewrightError, match="--steps and --epochs: expected one of them, got both"):
        resolve(Options(training=TrainingOptions(steps=1, epochs=1)), "forecast")


@pytest.mark.parametrize("kind", registry.KINDS)
def test_resolving_gives_every_option_a_value_and_resolves_once(kind):
    told = resolve(ALL_DEFAULTS, kind)
    assert resolve(told, kind) == told
    for table in fields(told):
        for name, value in vars(getattr(told, table.name)).items():
            elsewhere = any(
                getattr(getattr(other.defaults, table.name), name) is not None or name in other.by_data
                for other in registry.KINDS.values()
                if other.name != kind
            )
            by_data = name in registry.kind(kind).by_data or name in ("epochs", "steps", "validate_every")
            assert value is not None or by_data or elsewhere


def test_what_a_run_writes_down_is_what_it_was_told(tmp_path):
    for said in (SAID, resolve(SAID, "forecast"), resolve(ALL_DEFAULTS, "language")):
        assert read_config(config(tmp_path, tomli_w.dumps(said.plain()))) == said


OUT_OF_RANGE = {
    "horizon": (0, "a whole number from 1 to 2147483647"),
    "context": (2**31, "a whole number from 1 to 2147483647"),
    "head": ("gamma", "one of quantiles, normal, student-t, mixture, negative-binomial"),
    "season": (("0", "1", "2"), "none, or different lengths from 1 to 1000000, at most 16"),
    "transform": (("log", "sqrt"), "auto, none, log, log1p, asinh, boxcox, or with a number: boxcox:POWER"),
    "scale": ("series", "one of auto, global, window"),
    "min": (("none", "nan"), "finite numbers, or none"),
    "max": ((), "finite numbers, or none"),
    "fill": ("backward", "one of forward, mean"),
    "precision": ("fp16", "one of float32, bf16"),
    "reads": ("all", "one of change, level, both, nothing"),
    "calendar": (("hour",), "none, or parts out of hour_of_day, day_of_week, day_of_year"),
    "quantiles": ((0.1, 0.9), "rising levels between 0 and 1 with 0.5 among them"),
    "hidden": (0, "a whole number from 1"),
    "layers": (257, "a whole number from 1 to 256"),
    "dropout": (1.0, "a rate from 0 up to, but not, 1"),
    "proj": (-1, "a whole number from 0"),
    "forget_bias": (float("nan"), "a number from -1000 to 1000"),
    "chrono": (1, "0, or a number of steps from 2"),
    "start": ("quantiles", "one of data, zero"),
    "loss": ("rmse", "one of quantile, mae, mse, huber, nse, mase, nll"),
    "calibrate": ("isotonic", "one of width, conformal, none"),
    "steps": (0, "a whole number from 1"),
    "batch": (0, "a whole number from 1"),
    "lr": (0.0, "a number above 0"),
    "schedule": ("step", "one of cosine, linear, constant"),
    "warmup": (-1, "a whole number from 0"),
    "weight_decay": (float("inf"), "a number of at least 0"),
    "clip": (-1.0, "a number of at least 0"),
    "patience": (-1, "a whole number from 0"),
    "validate_every": (0, "a whole number from 1"),
    "checkpoint_every": (0, "a whole number from 1"),
    "seed": (-1, "a whole number from 0"),
    "device": ("gpu", "one of auto, cpu, cuda, mps, xpu"),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_a_value_out_of_range_is_named(name):
    value, expected = OUT_OF_RANGE[name]
    home = next(table.name for table in fields(Options) if name in vars(table.default))
    told = replace(ALL_DEFAULTS, **{home: replace(getattr(ALL_DEFAULTS, home), **{name: value})})
    with pytest.raises(GatewrightError) as caught:
        resolve(told, "forecast")
    assert caught.value.argument == f"--{name.replace('_', '-')}"
    assert caught.value.expected.startswith(expected)
    assert caught.value.got == repr(value)


NO_SEASONS = [
    (), ("none", "none"), ("24", "none"), ("none", "7", "24"), ("24", "24"), ("1.5",), ("-1",), ("week",),
    ("0", "0"), ("1000001",), tuple(map(str, range(1, 18))),
]  # fmt: skip


@pytest.mark.parametrize("season", NO_SEASONS)
def test_seasons_are_different_lengths_or_none(season):
    with pytest.raises(GatewrightError, match="--season: expected none, or different lengths from 1 to 1000000"):
        resolve(Options(DataOptions(season=season)), "forecast")
    for good in (("none",), ("0",), ("none", "7"), ("24",), ("168", "24"), ("1000000",)):
        assert resolve(Options(DataOptions(season=good)), "forecast").data.season == good


@pytest.mark.parametrize("calendar", [("none", "hour_of_day"), ("hour_of_day", "hour_of_day"), ("none", "none")])
def test_a_calendar_says_each_part_once_or_none(calendar):
    with pytest.raises(GatewrightError, match="--calendar: expected none, or parts out of"):
        resolve(Options(DataOptions(calendar=calendar)), "forecast")


@given(st.lists(st.floats(allow_nan=True), max_size=4).map(tuple))
def test_quantiles_that_pass_are_levels_that_a_head_takes(levels):
    for tried in (levels, tuple(sorted({*levels, 0.5}))):
        try:
            resolve(Options(DataOptions(quantiles=tried)), "forecast")
        except GatewrightError:
            with pytest.raises(GatewrightError):
                QuantileHead(1, tried)
        else:
            assert QuantileHead(1, tried).quantiles == tried


def test_tokens_out_of_range_are_refused():
    with pytest.raises(GatewrightError, match="--tokens: expected one of characters, bytes, bpe, got 'words'"):
        resolve(Options(DataOptions(tokens="words")), "language")
    with pytest.raises(GatewrightError, match="--vocabulary-size: expected a whole number from 256 to 131072"):
        resolve(Options(DataOptions(tokens="bpe", vocabulary_size=3)), "language")


def test_an_option_of_the_other_kind_is_refused():
    with pytest.raises(GatewrightError, match=r"--horizon: expected no such option for a language model, got 3"):
        resolve(Options(DataOptions(horizon=3)), "language")
    with pytest.raises(GatewrightError, match=r"--start: expected no such option for a classify model, got"):
        resolve(Options(model=ModelOptions(start="data")), "classify")


SETTINGS = [PartSettings, ModelSettings, TrainingSettings, SeriesSettings, LanguageSettings, StreamSettings]


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_have_the_types_of_their_options_without_none(settings):
    options = {
        name: hint for table in fields(Options) for name, hint in get_type_hints(type(table.default)).items()
    }
    for setting in fields(settings):
        hint = get_type_hints(settings)[setting.name]
        assert options[setting.name] == hint | None
        assert (hint == hint | None) == (setting.default is None)


def test_settings_are_the_options_that_have_a_value():
    told = resolve(Options(training=TrainingOptions(epochs=3, lr=0.5)), "language")
    settings = TrainingSettings.of(told.training)
    assert (settings.epochs, settings.steps, settings.lr, settings.batch) == (3, None, 0.5, 16)
    assert {name: value for name, value in vars(settings).items() if value is not None} == told.plain()["training"]
    assert (settings.total(7), replace(settings, steps=4, epochs=None).total(7)) == (21, 4)
    with pytest.raises(GatewrightError, match="--steps or --epochs: expected one of them, got none"):
        replace(settings, epochs=None).total(7)
    assert (
        SeriesSettings.of(DataOptions(valid="1", test="2", horizon=3, quantiles=(0.5,), reads="level")).fill == ""
    )
    with pytest.raises(GatewrightError, match=r"^--proj: expected a value, got none$"):
        ModelSettings.of(ModelOptions(hidden=1, layers=1, dropout=0.0))


@pytest.mark.parametrize("kind", ["forecast", "language"])
def test_chrono_initialization_takes_the_place_of_a_forget_bias(kind: str):
    plain = BiasSettings.of(resolve(ALL_DEFAULTS, kind).model)
    assert (plain.forget_bias, plain.chrono) == (1.0 if kind == "forecast" else 0.0, 0)
    resolved = resolve(Options(model=ModelOptions(chrono=300)), kind)
    assert BiasSettings.of(resolved.model).chrono == 300
    assert resolve(resolved, kind) == resolved  # as a run that goes on does
    none = resolve(Options(model=ModelOptions(chrono=0, forget_bias=2.0)), kind)
    assert BiasSettings.of(none.model).forget_bias == 2.0
    with pytest.raises(GatewrightError, match=r"^--forget-bias and --chrono: expected one of them, got both$"):
        resolve(Options(model=ModelOptions(chrono=300, forget_bias=1.0)), kind)


def test_options_are_declared_as_they_are():
    """What a type checker reads is what the command line reads at run time."""
    for table in fields(Options):
        for option in fields(table.default):
            assert option.default is None
            assert (
                get_type_hints(type(table.default))[option.name] | None
                == get_type_hints(type(table.default))[option.name]
            )
            assert ("rule" in option.metadata) == (option.name in {*OUT_OF_RANGE, *OTHER_RULES})


#: Options with a rule that tests of reading cover.
OTHER_RULES = ("decimal", "aggregate", "time_zone", "embedding", "epochs", "reset", "pooling", "directions",
               "split_seed", "class_weights", "label_per", "noise", "shift", "tokens", "category_size",
               "vocabulary_size")  # fmt: skip
