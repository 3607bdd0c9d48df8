"""Accuracy of forecasts on real series, next to simple forecasts and models of other packages."""
