"""Prepare a panel for the fit: exposures, lags, weights."""
