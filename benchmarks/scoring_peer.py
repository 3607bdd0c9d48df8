"""neuralforecast's LSTM on a Parquet file: seconds of reading and `predict`, CPU seconds, peak memory, as JSON.

``python -m benchmarks.scoring_peer FILE HORIZON CONTEXT UNITS``.  One layer, three quantiles; the training, of
one step on the first series, does not count.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
import warnings

import polars as pl


def main(path: str, horizon: int, context: int, units: int) -> None:
    """Train for a step, read and predict; print the figures."""
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import LSTM

    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    model = LSTM(
        h=horizon, input_size=context, inference_input_size=context, encoder_n_layers=1, encoder_hidden_size=units,
        decoder_layers=1, decoder_hidden_size=units, loss=MQLoss(quantiles=[0.1, 0.5, 0.9]), max_steps=1,
        valid_batch_size=1024, inference_windows_batch_size=1024, enable_progress_bar=False, logger=False,
        enable_checkpointing=False, accelerator="cpu",
    )  # fmt: skip
    fitted = NeuralForecast(models=[model], freq="1h")
    few = pl.scan_parquet(path).head(10 * 500).collect()
    fitted.fit(few)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    table = pl.read_parquet(path)
    forecasts = fitted.predict(table)
    forecasts.write_parquet(path + ".peer")
    after = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "megabytes": after.ru_maxrss * 1.024 / 1e3,
        "rows": len(forecasts),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
