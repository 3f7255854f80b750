"""From a Polars panel to the fits of its periods."""
