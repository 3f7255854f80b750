"""The order of time: whether sorting the keys of periods sorts time, and what to write if not."""

from __future__ import annotations

import polars as pl


def check_time_order(keys: pl.Series, column: str, use: str) -> None:
    """Raise PanelError unless the order in which Polars sorts the keys is that of time.

    ``keys``: periods, in any order, repeated or not; nulls are skipped. ``column``: their name in
    the user's frame. ``use``: what needs the order, as the subject of a sentence, such as "lags".
    """


def warn_unless_time_order(keys: pl.Series, column: str) -> None:
    """Warn once if the keys are text that reads as dates whose order is not that of the text."""
