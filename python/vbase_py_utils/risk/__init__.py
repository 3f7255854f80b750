"""Risk: what factor returns and specific returns forecast, and how good the forecasts were."""
