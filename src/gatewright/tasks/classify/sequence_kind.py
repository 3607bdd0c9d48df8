"""What classifiers and taggers share: sequences in, one or several classes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gatewright.spec import NO_CATEGORY
from gatewright.tasks.base import Kind

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor

    from gatewright.data.table import TrainingSource
    from gatewright.data.text_sources import TextFiles
    from gatewright.nn.model import Model
    from gatewright.tasks.classify.dataset import LabelledData
    from gatewright.tasks.inputs import InputBatch
    from gatewright.tasks.options import DataOptions, Options

Data = TypeVar("Data", bound="LabelledData")


class SequenceKind(Kind[Data]):
    """A kind of model that gives classes, of sequences or of their steps."""

    plot = "evaluation.png"
    classifies = True
    # Few sequences hardly say which step is best, and weights of a small learning rate decide better.
    refit_anneals = True
    several = True

    def files(self, paths: tuple[Path, ...]) -> TextFiles:
        """Return several tables as a source: each file is a sequence."""
        from gatewright.data.table_files import TableFiles

        return TableFiles(paths)

    def check_head(self, path: Path, options: DataOptions, fixed: bool = False) -> None:
        """Check the format of a table, and that its header has the columns that options name."""
        from gatewright.data.head import check_head
        from gatewright.data.roles import NO_TIME
        from gatewright.tasks.classify.dataset import is_ts, notation_of

        if is_ts(path) or path.is_dir():
            return
        named = [("id", name) for name in options.id or ()]
        named += [("label", options.label or "")] if not fixed else []
        named += [("features", name) for name in options.features or ()]
        named += [("time", options.time)] if options.time and options.time != NO_TIME else []
        check_head(path, notation_of(options), named, fixed)

    def source_of(self, value: Any) -> TrainingSource | None:
        """Return sequences in memory, a data frame or an Arrow table."""
        from gatewright.tasks.classify.dataset import source_of

        return source_of(value)

    def of_earlier(self, options: Options) -> Options:
        """Return the options of a run of an earlier version: without ``category``, true and false were numbers."""
        if options.data.category is not None:
            return options
        return replace(options, data=replace(options.data, category=(NO_CATEGORY,)))

    def require_sizes(self, model: Model, options: Options) -> None:
        """Check the widths of the vectors of categories."""
        from gatewright.tasks.category_sizes import require_sizes_of

        assert model.spec.labeller is not None
        require_sizes_of(model.spec.labeller[0].categories, options.model)

    def agrees(self, option: str, value: Any, fixed: Any) -> bool:
        """Whether a value of an option fits that of an initial model: of categories, some of them do."""
        if option == "category":
            return set(value) <= set(fixed)
        return super().agrees(option, value, fixed)

    def with_validation(self, data: Data) -> Data:
        """Return the sequences with those of the validation part in the training part."""
        return data.with_validation()

    def tables(self, figures: dict[str, Any]) -> Iterator[Table]:
        """Lay out the measures of each method, and the confusion matrix."""
        from gatewright.tasks.classify.tables import tables

        return tables(figures)

    def inputs(
        self, model: Model, data: Any, span: slice, title: str, fill: str, options: DataOptions | None = None
    ) -> InputBatch:
        """Return sequences in memory or those of a path."""
        from gatewright.tasks.classify.inputs import of_source

        return of_source(model, data, span, title, fill, options)

    def part_inputs(self, model: Model, data: Data, part: str, span: slice, title: str) -> InputBatch:
        """Return the first sequences of a part."""
        from gatewright.tasks.classify.inputs import of_part

        return of_part(model, data, part, span, title)

    def predictions(self, model: Model, batch: InputBatch, output: Tensor) -> Tensor:  # noqa: ARG002
        """Return probabilities of the classes at each step, (T, B, classes)."""
        return output.softmax(dim=-1)
