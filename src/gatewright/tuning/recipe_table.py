"""The recipes of a choice as a table for the terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from gatewright.tasks.tables import empty, written
from gatewright.tuning.auto import Choice, scores_of


def recipe_table(choice: Choice) -> Table:
    """Lay out the score of each recipe in each round; an asterisk marks the one that was chosen."""
    rounds = scores_of(choice.trials)
    heads = []
    for number in range(len(rounds)):
        own = [trial for trial in choice.trials if trial.round == number]
        folds = len({trial.fold for trial in own})  # a round that was cut may count fewer
        heads.append(f"{own[0].steps:,} steps\n{folds} fold{'' if folds == 1 else 's'}")
    table = empty("recipes by rolling validation, scaled quantile loss", ["options", *heads])
    table.columns[1].justify = "left"
    names = list(dict.fromkeys(trial.recipe for trial in choice.trials))
    columns = [_column([scores.get(name) for name in names]) for scores in rounds]
    for place, name in enumerate(names):
        first = next(trial for trial in choice.trials if trial.recipe == name)
        options = " ".join(f"--{option.replace('_', '-')} {value}" for option, value in first.options.items())
        mark = " *" if name == choice.recipe.name else ""
        figures = [column[place] for column in columns]
        table.add_row(escape(name + mark), escape(options), *figures)
    table.caption = f"* chosen: {choice.why}"
    table.caption_justify = "left"
    return table


def _column(scores: list[float | None]) -> list[str]:
    """Return scores as text; nothing for a recipe that was not in the round."""
    return ["" if score is None else text for score, text in zip(scores, written(scores), strict=True)]
