"""The command that searches options: tune."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gatewright.cli import early_checks
from gatewright.cli.app import LOADING, UsageError, app, complain, errors, flat, print_table, say
from gatewright.progress import Waits
from gatewright.tasks.config_file import read_config
from gatewright.tasks.options import ALL_DEFAULTS, DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.search_space import space_of

if TYPE_CHECKING:
    from gatewright.tuning.study import Study


@app.command
def tune(
    *source: Path,
    study: Path | None = None,
    show: Path | None = None,
    trials: int | None = None,
    seconds: float | None = None,
    search: Sequence[str] = (),
    workers: int = 1,
    kind: str = "",
    config: Path | None = None,
    data: Annotated[DataOptions, flat("Data", 1)] = ALL_DEFAULTS.data,
    model: Annotated[ModelOptions, flat("Model", 2)] = ALL_DEFAULTS.model,
    training: Annotated[TrainingOptions, flat("Training", 3)] = ALL_DEFAULTS.training,
) -> None:
    """Search the options of a training: many trials, the best of which is a run like any other.

    Example: gatewright tune load.csv --target demand --horizon 24 --trials 40

    A trial is scored by its best validation, never by the test part; trials that are worse than most others at the
    same step are stopped. The same command goes on with its study, also in several processes at once. Options that
    are set are the same in all trials; the others of the search space vary.

    Args:
        source: What the trials learn from, as for `gatewright train`: one file, or several.
        study: Directory of the study: Optuna's storage study.db, trials.csv, and a run for each trial (default:
            studies/NAME).
        show: Print the trials of the study in a directory, and train none.
        trials: Number of trials of the study, earlier ones included (default: 20, without --seconds).
        seconds: Begin no trial after so much time.
        search: Options to search in place of the usual ones: hidden=32:256:log lr=1e-4:1e-2:log dropout=0,0.1,0.2;
            several texts of one value are joined by "+", as in season=none,24+168.
        workers: Number of processes (default: 1).
        kind: As for `gatewright train`.
        config: TOML file with options in the tables [data], [model] and [training]; the command line wins.
        data: Columns, parts and windows of the data.
        model: Size of the model.
        training: Optimization.
    """
    if bool(source) == (show is not None):
        got = "both" if source else "neither"
        raise UsageError("source", "a table or a text to learn from, or --show DIR", got)
    if workers < 1:
        raise UsageError("--workers", "a whole number of at least 1", str(workers))
    options = Options(data, model, training)
    if config:
        options = options.over(read_config(config))
    space = space_of(search) if search else None
    if source:
        early_checks.check_source(source, kind, options)
    waits = Waits(errors)
    with waits.during(LOADING):
        from gatewright.data.kept_sources import sources_kept
        from gatewright.train.launch import require_one_process
        from gatewright.tuning import results
        from gatewright.tuning.search import Job, Limits, described
        from gatewright.tuning.study import Study, quiet_optuna
        from gatewright.tuning.workers import search_with

    with quiet_optuna():
        if show is not None:
            _print_trials(Study.open(show), ended=True)
            return
        require_one_process("tune", "a single process; --workers starts more")
        limits = Limits(trials, seconds).bounded
        name = source[0].name
        with sources_kept():
            with waits.during(f"reading {name}"):
                job = Job.of(list(source), kind, options, space)
            if job.settled:
                say(f"all trials: {described(job.settled)}")
            opened = Study.begin(study or Path("studies", name.split(".")[0] or "study"), job.plan())
            try:
                ended, notes = search_with(workers, opened, job, limits, say)
            except KeyboardInterrupt:
                complain("interrupted", "the same command goes on with the study")
                sys.exit(130)
        for note in notes:
            complain("note", note)
        results.write_csv(opened.path / "trials.csv", results.results(opened))
        _print_trials(opened, ended)


def _print_trials(study: Study, ended: bool) -> None:
    """Print the trials of a study, and the best one; none may have finished in a search that was stopped."""
    from gatewright.tasks import registry
    from gatewright.tuning import results

    found = results.results(study)
    for table in results.tables(found, registry.kind(study.plan.kind).unit):
        print_table(table)
    if not ended:
        say("stopped; the same command goes on")
        if not any(result.state == "finished" for result in found):
            return
    best = study.run_of(results.best_trial(study))
    study.close()
    say(f"best: trial {int(best.name)}\nnext: gatewright evaluate {best}")
