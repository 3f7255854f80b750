"""Numbers as the report writes them."""

from __future__ import annotations


def number(value: float | None) -> str:
    """Write four digits; a dash for ``None``."""
    return "–" if value is None else f"{value:,.4g}"


def percent(share: float | None) -> str:
    """Write a share of one with one decimal; a dash for ``None``."""
    return "–" if share is None else f"{100 * share:,.1f} %"
