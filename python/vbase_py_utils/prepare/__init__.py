"""What is done to a panel before it is fitted: exposures, lags, weights."""
