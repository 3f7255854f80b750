"""Keys of rows: the types they can have, and whether the rows form a panel."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import polars as pl

from vbase_py_utils.errors import PanelError
from vbase_py_utils.text import one_line, quoted

# Names inside queries, so that users' names never clash with each other or ours.
PERIOD, ASSET = "period", "asset"


def check_key_type(role: str, column: str, dtype: pl.DataType) -> None:
    """Raise PanelError when a key cannot be hashed and sorted."""
    odd = isinstance(dtype, pl.BaseExtension) or dtype in (pl.Object, pl.Unknown)
    if odd or dtype.is_nested():
        raise PanelError.bad_key_type(role, column, dtype)


def are_missing(keys: pl.Series) -> bool:
    """Whether any key is null or NaN."""
    if keys.has_nulls():
        return True
    return keys.dtype.is_float() and bool(np.isnan(keys.to_numpy()).any())


def missing_keys(keys: pl.Series) -> pl.Series:
    """Whether each key is null or NaN."""
    missing = keys.is_null()
    return missing | keys.is_nan().fill_null(value=False) if keys.dtype.is_float() else missing


def label(keys: pl.Series) -> str:
    """Write the first key as text; a date beyond Python's range, as its number of days."""
    try:
        return str(keys[0])
    except (ValueError, OverflowError, pl.exceptions.PanicException):
        return str(keys.to_physical()[0])


def check_values(
    rows: pl.DataFrame,
    period: str,
    asset: str,
    weights: Mapping[str, tuple[str, str]],
    *,
    partial: bool,
) -> None:
    """Raise PanelError for null keys, negative weights, repeated (period, asset).

    ``rows`` has the keys as PERIOD and ASSET, which messages call ``period`` and ``asset``;
    ``weights`` maps columns of weights to their role and name. ``partial``: the rows are a part of
    the panel, so that the counts are lower bounds.
    """
    keys = {PERIOD: period, ASSET: asset}
    for role, other in ((PERIOD, ASSET), (ASSET, PERIOD)):
        if are_missing(rows[role]):
            bad = rows.filter(missing_keys(rows[role]))
            example = f"{one_line(keys[other])} is {one_line(label(bad[other]))}"
            raise PanelError.missing_keys(role, keys[role], bad.height, example, at_least=partial)
    for name, (role, column) in weights.items():
        # -inf is missing, not negative; the filter, which takes longer, tells them apart.
        if not (rows[name] < 0).any():
            continue
        negative = rows.filter(pl.col(name).is_between(-math.inf, 0, closed="none"))
        if not negative.is_empty():
            raise PanelError.negative_weights(
                f"{role} column {quoted(column)}",
                negative.height,
                f"{negative[name][0]} at {_key_of(negative)}",
                at_least=partial,
            )
    if not _are_ordered(rows) and _has_repeats(rows):
        repeats = rows.filter(pl.struct(PERIOD, ASSET).is_duplicated())
        raise PanelError.duplicate_rows(
            period, asset, repeats.height, _key_of(repeats), at_least=partial
        )


def check_order(periods: pl.Series, column: str, *, partial: bool) -> None:
    """Raise PanelError when a period comes after a later one.

    ``partial`` as in ``check_values``, which reports missing periods.
    """
    periods = periods.filter(~missing_keys(periods))
    if periods.is_sorted():
        return
    before = periods.shift(1)
    back = (periods < before).fill_null(value=False)
    raise PanelError.not_sorted(
        column,
        int(back.sum()),
        label(periods.filter(back)),
        label(before.filter(back)),
        at_least=partial,
    )


def _key_of(rows: pl.DataFrame) -> str:
    return f"({one_line(label(rows[PERIOD]))}, {one_line(label(rows[ASSET]))})"


def _are_ordered(rows: pl.DataFrame) -> bool:
    """Whether (period, asset), or (asset, period), strictly increases; then no key repeats."""
    return increases(rows, PERIOD, ASSET) or increases(rows, ASSET, PERIOD)


def increases(rows: pl.DataFrame, *keys: str) -> bool:
    """Whether rows strictly increase by their keys, the first key first; then none repeats.

    No key is null. Compares columns, which on a small frame is much faster than a query.
    """
    n_pairs = max(0, rows.height - 1)
    order = pl.Series(np.zeros(n_pairs, dtype=np.bool_))
    for key in reversed(keys):
        before, after = rows[key].head(n_pairs), rows[key].tail(n_pairs)
        order = (after > before) | ((after == before) & order)
    return bool(order.all())


def _has_repeats(rows: pl.DataFrame) -> bool:
    """Whether a (period, asset) repeats; much faster than finding which rows do."""
    distinct = rows.group_by(PERIOD).agg(pl.col(ASSET).n_unique() != pl.len())
    return bool(distinct[ASSET].any())
