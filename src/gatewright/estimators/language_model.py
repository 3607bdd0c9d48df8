"""The language model: texts in, more of them out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.data.sources import Text, TextFiles, Texts
from gatewright.data.text import text_of
from gatewright.data.tokens import tokenizer_of
from gatewright.errors import DataError, GatewrightError, shorten
from gatewright.estimators.base import Estimator
from gatewright.estimators.python_names import python_names
from gatewright.nn.model import Model
from gatewright.runtime.sampling import generate, require_drawable
from gatewright.spec import CellSpec
from gatewright.tasks.options import Options
from gatewright.train.callback import Callback

if TYPE_CHECKING:
    from typing_extensions import Self

    from gatewright.insight.recording import Recording
    from gatewright.tasks.inputs import InputBatch

#: Characters of a file's name; a text that is shorter may be meant as one.
_LONGEST_NAME = 256

#: What no text looks like: a single word with the ending of a file.
_LIKE_A_NAME = re.compile(r"\S{1,255}\.[A-Za-z][A-Za-z0-9]{0,4}")


_EXPECTED = "a text, or the Path of one"

#: A text or the path of one, or several of these.
Source = str | Path | Sequence[str] | Sequence[Path]


class LanguageModel(Estimator):
    """The next character, byte or token of a text.

    Parameters and fitted attributes follow scikit-learn's conventions.  None stands for the default, which
    `gatewright train --help` lists; the parameters are the options of the same name there.

    Args:
        tokens: "characters", "bytes" or "bpe": what a text is cut into (default: characters).
        vocabulary_size: maximum number of tokens of a byte pair encoding; 2048 if None.
        context: number of tokens before gradients are cut (default: 64).
        reset: share of the streams that start a chunk with a zero state (default: 0.1).
        hidden: units of each LSTM layer (default: 512); a list, such as
            ``[128, 64, 32]``, for layers of several sizes.
        layers: LSTM layers (default: 1), or as many as ``hidden`` lists.
        dropout: dropout rate (default: 0.1).
        proj: width of the projected hidden state; 0 for none.
        residual: whether each layer after the first adds its input to its output.
        cell: features of the LSTM cell (``docs/variants.md``): a dict such as
            ``{"layer_norm": True, "zoneout_cell": 0.1}``, a `gatewright.CellSpec`, or words of the command line,
            such as "layer_norm zoneout_cell=0.1" or "slstm heads=4"; the plain cell if None.
        embedding: width of the embedding of a token (default: 64).
        forget_bias: initial bias of the forget gates (default: 0.0).
        chrono: longest dependencies in steps, for chrono initialization in place of ``forget_bias``; 0 for none.
        valid: validation part: a share or a number of characters (default: 0.05).
        test: test part, at the end, which `evaluate` scores (default: 0.05).
        epochs: passes over the training part (default: 10).
        steps: optimizer steps, in place of epochs.
        batch: parallel streams of text in a step (default: 16).
        lr: maximum learning rate (default: 0.006).
        schedule: decay of the learning rate.
        warmup: steps of the linear warm-up.
        weight_decay: decoupled weight decay.
        clip: maximum norm of the gradient; 0 for no clipping.
        patience: validations without improvement before the training stops; 0 for no limit.
        validate_every: steps between validations.
        checkpoint_every: steps between checkpoints.
        seed: random seed for weights, order and dropout (default: 0).
        precision: of the products of the LSTM layers in training: "float32", or "bf16", which is faster on
            processors with bf16 instructions (default: float32).
        device: "auto", "cpu", "cuda", "mps" or "xpu".
        verbose: 0 prints nothing, 1 shows the progress.

    Attributes:
        symbols_: the characters that the model knows, of which the first one stands for all others; or its tokens.

    >>> import gatewright
    >>> model = gatewright.LanguageModel(hidden=8, context=8, batch=4, steps=5).fit("to be or not to be. " * 40)
    >>> len(model.generate("to ", length=10))
    10
    """

    _kind = "language"

    def __init__(
        self, *, tokens: str | None = None, vocabulary_size: int | None = None, context: int | None = None,
        reset: float | None = None, hidden: int | Sequence[int] | None = None,
        layers: int | None = None, dropout: float | None = None, proj: int | None = None,
        residual: bool | None = None,
        cell: CellSpec | Mapping[str, Any] | str | Sequence[str] | None = None,
        embedding: int | None = None, forget_bias: float | None = None, chrono: int | None = None,
        valid: float | str | None = None,
        test: float | str | None = None, epochs: int | None = None, steps: int | None = None,
        batch: int | None = None, lr: float | None = None, schedule: str | None = None,
        warmup: int | None = None, weight_decay: float | None = None, clip: float | None = None,
        patience: int | None = None, validate_every: int | None = None, checkpoint_every: int | None = None,
        seed: int | None = None, precision: str | None = None, device: str | None = None, verbose: int = 0,
    ) -> None:  # fmt: skip
        self.tokens, self.vocabulary_size = tokens, vocabulary_size
        self.context, self.reset, self.hidden, self.layers = context, reset, hidden, layers
        self.dropout, self.proj, self.residual = dropout, proj, residual
        self.cell, self.embedding = cell, embedding
        self.forget_bias, self.chrono = forget_bias, chrono
        self.valid, self.test, self.epochs, self.steps = valid, test, epochs, steps
        self.batch, self.lr, self.schedule, self.warmup = batch, lr, schedule, warmup
        self.weight_decay, self.clip, self.patience = weight_decay, clip, patience
        self.validate_every, self.checkpoint_every = validate_every, checkpoint_every
        self.seed, self.precision, self.device, self.verbose = seed, precision, device, verbose

    def fit(
        self,
        X: Source,
        y: None = None,
        *,
        run_dir: str | Path | None = None,
        resume: bool = False,
        init: LanguageModel | Model | str | Path | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> Self:
        """Train on a text or on several, and keep the best model.

        Ctrl-C ends the training and keeps the best model so far.

        Args:
            X: the text itself, or the `Path` of a file or of a directory with texts; or a list of texts, or of
                paths.
            y: None; is there for scikit-learn.
            run_dir: directory that keeps the run: checkpoints, metrics, the best model.
            resume: go on with the run in ``run_dir``, to the same bits as without the interruption.
            init: a fitted language model, or its file, to start from; characters that it does not know are read
                as the unknown one.
            callbacks: instances of `gatewright.train.callback.Callback`.

        Returns:
            The estimator.

        Raises:
            GatewrightError: at a parameter or a text that cannot be used, before anything is trained.
            NonFiniteError: at a NaN or infinity while training.
        """
        with python_names():
            source, options = self._learned_from(X, y, {})
            return self._train(source, options, run_dir=run_dir, resume=resume, init=init, callbacks=callbacks)

    def _learned_from(self, X: Any, y: Any, columns: Mapping[str, Any]) -> tuple[Any, Options]:
        _require_none(y)
        if columns:
            raise GatewrightError("columns", "none for a text", shorten(next(iter(columns))))
        return _source(X), self._options({})

    def _adopt(self, model: Model) -> None:
        super()._adopt(model)
        assert model.vocabulary is not None
        self.symbols_ = tokenizer_of(model.vocabulary).names

    @property
    def _reads_bytes(self) -> bool:
        vocabulary = self._fitted().vocabulary
        return vocabulary is not None and vocabulary.tokens == "bytes"

    def generate(self, prompt: str = "", *, length: int = 500, temperature: float = 1.0, seed: int = 0) -> str:
        """Continue a text; return what follows the prompt.

        Args:
            prompt: text to continue; characters that the model does not know are read as the unknown one.
            length: number of characters, bytes or tokens.
            temperature: 1 samples from the model's distribution, less favours likely characters, 0 takes the most
                likely one.
            seed: random seed; the same seed gives the same text.

        Raises:
            NotFittedError: before `fit`.
            GatewrightError: if an argument is out of range.
        """
        model = self._fitted()
        if not isinstance(prompt, str):
            raise GatewrightError("prompt", "a text", f"a value of type {type(prompt).__name__}")
        length, temperature, seed = map(_of_numpy, (length, temperature, seed))
        require_drawable(length, temperature, seed)
        return "".join(generate(model.stream(), prompt, length, temperature, seed))

    def evaluate(self, X: Source, y: None = None) -> dict[str, Any]:
        """Score a text that the training has not seen: nats a token, bits a byte.

        Args:
            X: as for `fit`.
            y: None; is there for scikit-learn.

        Returns:
            What a ``token`` is, the number of ``tokens`` that were scored, how many of these were ``unknown``,
            their ``bytes`` in UTF-8; ``nats_per_token``, ``perplexity`` per token, and ``bits_per_byte``, which
            does not depend on what a token is; for characters also ``characters``, ``nats_per_character`` and
            ``bits_per_character``.

        Raises:
            NotFittedError: before `fit`.
            GatewrightError: if the text cannot be scored.
        """
        from gatewright.tasks.language.evaluate import evaluate_text

        model = self._fitted()
        _require_none(y)
        with python_names(), self._waits().during("scoring the text"):
            return evaluate_text(model, text_of(_source(X), raw=self._reads_bytes))

    def score(self, X: Source, y: None = None) -> float:
        """Return the mean log-likelihood of a token of a text, in nats; higher is better."""
        return -float(self.evaluate(X, y)["nats_per_token"])

    def look(self, X: Source, *, start: int = 0, steps: int | None = None, title: str = "") -> Recording:
        """Run the model over a text and return a recording of every gate and state: `gatewright.look`.

        Args:
            X: as for `fit`.
            start: first token that is read.
            steps: maximum number of tokens; all if None.
            title: title of the recording.
        """
        from gatewright.insight.recorder import record

        return record(*self.look_inputs(X, start=start, steps=steps, title=title))

    def look_inputs(
        self, X: Source, *, start: int = 0, steps: int | None = None, title: str = ""
    ) -> tuple[Model, InputBatch]:
        """Return the model, and its inputs from a text; arguments as for `look`."""
        from gatewright.insight.recorder import prepare

        source = _source(X)
        text = source.content if isinstance(source, Text) else source
        _, batch = prepare(self._fitted(), text, start=start, steps=steps, title=title)
        return self.model_, batch


def _source(X: Any) -> Text | Path | Texts | TextFiles:
    """Return a text, the path of one, or several of the one or the other.

    Raises:
        DataError: if it is none of these, or is the name of a file.
    """
    if isinstance(X, Path):
        return TextFiles((X,)) if X.is_dir() else X
    if isinstance(X, Text | Texts | TextFiles):
        return X
    if isinstance(X, (list, tuple)) and len(X):
        if all(isinstance(each, Path) for each in X):
            return TextFiles(tuple(X))
        if all(isinstance(each, str) for each in X):
            return Texts(tuple(_text(each, f"X[{number}]") for number, each in enumerate(X)))
        kinds = " and ".join(sorted({type(each).__name__ for each in X}))
        raise DataError("X", "a list of texts, or a list of paths", f"a list with values of type {kinds}")
    if not isinstance(X, str):
        raise DataError("X", _EXPECTED, f"a value of type {type(X).__name__}")
    return Text(_text(X, "X"))


def _text(text: str, name: str) -> str:
    """Return a text.

    Raises:
        DataError: if it is the name of a file.
    """
    if len(text) < _LONGEST_NAME and "\n" not in text and _is_file(text):
        raise DataError(name, _EXPECTED, f"the name of a file: write Path({text!r})")
    if _LIKE_A_NAME.fullmatch(text):
        raise DataError(name, _EXPECTED, f"what looks like the name of a file, {text!r}; none is there")
    return text


def _of_numpy(value: Any) -> Any:
    """Return a number of NumPy as one of Python."""
    return value.item() if isinstance(value, np.number) else value


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _require_none(y: Any) -> None:
    if y is not None:
        raise GatewrightError("y", "None: a text is its own target", f"a value of type {type(y).__name__}")
