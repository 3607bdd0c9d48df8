"""What the measures of an evaluation mean, a line each: for `gatewright evaluate --help` and the documents."""

from __future__ import annotations

#: A line for each measure, by its name in the tables.
MEASURES = {
    "MAE": "mean absolute error; MAE/σ in standard deviations of the training part; lower is better",
    "RMSE, MSE": "root mean squared, mean squared error; MSE/σ² in variances of the training; lower is better",
    "MASE": "MAE over the mean absolute change from one season before; below 1 beats that; lower is better",
    "sMAPE": "symmetric mean absolute percentage error, 0 to 200; lower is better",
    "NSE": "Nash-Sutcliffe efficiency: 1 is perfect, 0 as good as the mean of the values; higher is better",
    "KGE": "Kling-Gupta efficiency, of correlation, spread and mean: 1 is perfect; higher is better",
    "quantile loss": "mean pinball loss of all quantiles, in units; lower is better",
    "scaled q. loss": "sQL: the quantile loss over the scale of MASE, to compare series; lower is better",
    "WQL": "weighted quantile loss: twice the quantile loss over the mean absolute value; lower is better",
    "inside, width": "share of values inside the interval, to be near its nominal share; mean width",
    "balanced": "balanced accuracy: the mean over the classes of the share found; higher is better",
    "macro F1": "mean over the classes of F1, the harmonic mean of precision and recall; higher is better",
    "ROC AUC": "how often one of a class gets a higher score for it than one of another; 0.5 is chance, 1 perfect",
    "log loss": "mean of -log of the probability of the true class, in nats; lower is better",
    "ECE": "expected calibration error: how far probability and accuracy differ; 0 is perfect",
    "nats, bits, perplexity": "-log of the probability of the next token: to base e, to base 2, and e to the nats",
}


def help_text() -> str:
    """Return the lines as the end of a help text."""
    return "\n".join(["Measures in the tables:", "", *(f"- {name}: {text}" for name, text in MEASURES.items())])
