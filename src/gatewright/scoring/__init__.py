"""Predictions of a trained model for many series at once, without torch: tables in, tables out."""

try:
    import polars as polars
except ModuleNotFoundError as error:
    needs = "gatewright.Scorer needs polars: pip install 'gatewright[score]'"
    raise ModuleNotFoundError(needs, name=error.name) from None
