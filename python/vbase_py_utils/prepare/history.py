"""Lagged exposures, and regression weights from past specific returns, without look-ahead."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypedDict, Unpack, overload

import numpy as np
import polars as pl

from vbase_py_utils.arguments import (
    check_name,
    check_names,
    check_number,
    check_optional_name,
    shown,
)
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.results import CrossSectionFits, inner_frame
from vbase_py_utils.fit.schema import ROBUSTNESS_WEIGHT, SPECIFIC_RETURN
from vbase_py_utils.kernel.specific_variance import AssetHistory, VarianceOptions
from vbase_py_utils.keys import ASSET, PERIOD, check_key_type, check_values
from vbase_py_utils.panel import WEIGHT, ArrowStream, as_frame, by_position, holds_numbers
from vbase_py_utils.periods.order import check_time_order, check_time_type

# Names inside the queries, besides those of the panel.
NUMBER, SPECIFIC, OWN = "number", "specific", "own"
# The function that needs the order of time, in messages.
WEIGHTS = "inverse_variance_weights"


class WeightArguments(TypedDict, total=False):
    """The keyword arguments of ``inverse_variance_weights``; meanings there."""

    weights: str | None
    shrinkage: float
    half_life: float | None
    min_periods: int
    max_ratio: float
    cut: float
    name: str


@overload
def lag_exposures(
    panel: pl.DataFrame | ArrowStream,
    columns: str | Iterable[str],
    periods: int = 1,
    *,
    period: str = "period",
    asset: str = "asset",
) -> pl.DataFrame: ...
@overload
def lag_exposures(
    panel: pl.LazyFrame,
    columns: str | Iterable[str],
    periods: int = 1,
    *,
    period: str = "period",
    asset: str = "asset",
) -> pl.LazyFrame: ...
def lag_exposures(
    panel: pl.DataFrame | pl.LazyFrame | ArrowStream,
    columns: str | Iterable[str],
    periods: int = 1,
    *,
    period: str = "period",
    asset: str = "asset",
) -> pl.DataFrame | pl.LazyFrame:
    """Replace columns of a panel by their values at the end of an earlier period.

    Regress the returns of a period on exposures known before it: exposures at the end of the period
    have already been moved by the same returns.

    Parameters
    ----------
    panel
        Long frame, a row per (period, asset), in any order and with any other columns, of any kind
        that ``factor_returns`` takes.
    columns
        Column name or names, of any type: exposures, categories, market values.
    periods
        Number of periods to lag by, >= 1. Whatever the calendar, the period before is the
        latest earlier one in the panel.
    period, asset
        Key columns.

    Returns
    -------
    DataFrame or LazyFrame, as given
        The panel, its rows and columns in their order, with the values that the asset had
        ``periods`` periods before. Null where it had no row then, even if it had an older one. In
        a frame of another library, columns not named here are left out, with a warning, if Polars
        cannot hold them or two share a name; pandas periods become text.

    Raises
    ------
    PanelError
        A column is missing, is a key, or is named twice; a period or asset is null, a (period,
        asset) is repeated; periods are text that does not sort as time, such as 01/31/2024 or
        "Jan-24". The values of a LazyFrame are checked when the query runs.
    ValueError, TypeError
        ``periods`` is not a whole number >= 1; ``panel`` is not a frame; a name is not a string.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import lag_exposures
    >>> panel = pl.DataFrame({
    ...     "period": [1, 2, 3, 1, 3],
    ...     "asset": ["A", "A", "A", "B", "B"],
    ...     "bp": [0.5, 0.6, 0.7, 0.9, 0.8],
    ... })
    >>> lag_exposures(panel, "bp")["bp"].to_list()
    [None, 0.5, 0.6, None, None]
    """
    names = list(check_names("columns", columns, "a list of column names"))
    period, asset = check_name("period", period), check_name("asset", asset)
    check_number("periods", periods, "a whole number >= 1", at_least=1, whole=True)
    frame = as_frame(panel, [period, asset, *names], others="keep")
    schema = frame.collect_schema()
    _check_columns("lagged", names, schema, period, asset)
    check_time_type(schema[period], period, "lag_exposures")
    rows = _checked_rows(frame.lazy(), period, asset, use="lag_exposures")
    rows = rows.with_columns(pl.col(PERIOD).rank("dense").cast(pl.Int64).alias(NUMBER))
    inner = dict(zip(schema.names(), rows.collect_schema().names(), strict=False))
    past = {name: f"past {inner[name]}" for name in names}
    before = rows.select(
        pl.col(NUMBER) + int(periods), ASSET, *(pl.col(inner[n]).alias(past[n]) for n in names)
    )
    answer = rows.join(before, on=[NUMBER, ASSET], how="left", maintain_order="left").select(
        pl.col(past.get(name, inside)).alias(name) for name, inside in inner.items()
    )
    return answer if isinstance(frame, pl.LazyFrame) else answer.collect(engine="in-memory")


@overload
def inverse_variance_weights(
    panel: pl.DataFrame | ArrowStream,
    fits: CrossSectionFits[pl.DataFrame] | CrossSectionFits[pl.LazyFrame],
    **arguments: Unpack[WeightArguments],
) -> pl.DataFrame: ...
@overload
def inverse_variance_weights(
    panel: pl.LazyFrame,
    fits: CrossSectionFits[pl.DataFrame] | CrossSectionFits[pl.LazyFrame],
    **arguments: Unpack[WeightArguments],
) -> pl.LazyFrame: ...
def inverse_variance_weights(
    panel: pl.DataFrame | pl.LazyFrame | ArrowStream,
    fits: CrossSectionFits[pl.DataFrame] | CrossSectionFits[pl.LazyFrame],
    *,
    weights: str | None = None,
    shrinkage: float = 0.5,
    half_life: float | None = None,
    min_periods: int = 12,
    max_ratio: float = 20.0,
    cut: float = 10.0,
    name: str = "inverse_variance_weight",
) -> pl.DataFrame | pl.LazyFrame:
    """Add regression weights for a second pass: 1 / the variance of past specific returns.

    The variance of an asset is the mean square of its specific returns in earlier periods, each cut
    at ``cut`` past standard deviations of the asset. Robustness weights are not used: their scale
    is that of the period, so they would hide how volatile an asset is. Nor are the period's own
    specific return, which would be down-weighted for being large, and any later ones.

    Parameters
    ----------
    panel
        Long frame, a row per (period, asset): the panel of the first pass, or other periods of it.
        Frames of other libraries are treated as in ``lag_exposures``.
    fits
        The first pass, from ``fit_cross_sections``, with the same key columns as the panel.
    weights
        Column of weights to shrink towards, such as the first pass's; ``None`` takes equal weights.
    shrinkage
        Share of ``weights`` in the answer, from 0 to 1.
    half_life
        Half-life of the mean, in specific returns of the asset. ``None`` counts all alike, but
        then an asset listed only in calm times seems more precise than others.
    min_periods
        An asset with fewer specific returns before a period keeps the given weight. Returns that
        are zero up to rounding, such as those of an asset alone in its category, do not count.
    max_ratio
        The largest inverse variance allowed, in units of the period's median.
    cut
        Cut specific returns at this many past standard deviations of the asset, so that a wrong one
        does not hide the others. While the asset has fewer than ``min_periods`` earlier ones, use a
        typical standard deviation of the period: 1.4826 times the median absolute specific return.
        Infinity cuts nothing.
    name
        Column to add.

    Returns
    -------
    DataFrame or LazyFrame, as the panel
        The panel, its rows in their order, and a Float64 column of weights that average one over
        the rows of a period whose given weight is positive. Null or zero where the given weight is.

    Raises
    ------
    PanelError
        A column is missing, of the wrong type or in two roles, or ``name`` is taken; a period or
        asset is null, a (period, asset) is repeated, a weight is negative; periods are text that
        does not sort as time. The values of a LazyFrame are checked when the query runs.
    ValueError, TypeError
        A number is out of range; ``panel`` is not a frame; ``fits`` is not a ``CrossSectionFits``.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import fit_cross_sections, inverse_variance_weights
    >>> panel = pl.DataFrame({
    ...     "period": [1] * 4 + [2] * 4,
    ...     "asset": ["A", "B", "C", "D"] * 2,
    ...     "return": [0.01, -0.01, 0.04, -0.04] * 2,
    ... })
    >>> first = fit_cross_sections(panel, [], intercept=True, huber_t=float("inf"))
    >>> second = inverse_variance_weights(panel, first, min_periods=1, shrinkage=0)
    >>> second["inverse_variance_weight"].round(3).to_list()
    [1.0, 1.0, 1.0, 1.0, 1.882, 1.882, 0.118, 0.118]
    """
    check_number("shrinkage", shrinkage, "a number from 0 to 1", at_least=0, at_most=1)
    if half_life is not None:
        check_number("half_life", half_life, "a finite number > 0 or None", at_least=math.ulp(0))
    check_number("min_periods", min_periods, "a whole number >= 1", at_least=1, whole=True)
    check_number("max_ratio", max_ratio, "a finite number >= 1", at_least=1)
    check_number("cut", cut, "a number >= 1", at_least=1, at_most=math.inf)
    if not isinstance(fits, CrossSectionFits):
        raise TypeError(f"fits is {shown(fits)}, expected the result of fit_cross_sections")
    weights, name = check_optional_name("weights", weights), check_name("name", name)
    specific = inner_frame(fits, "specific_returns").lazy()
    period, asset = fits.estimated.period, fits.estimated.asset
    frame = as_frame(panel, [period, asset, weights], others="keep")
    schema = frame.collect_schema()
    _check_columns("weights", [] if weights is None else [weights], schema, period, asset)
    if weights is not None and not holds_numbers(schema[weights]):
        raise PanelError.not_numeric("weights", weights, schema[weights])
    if name in schema:
        raise PanelError.existing_column(name)
    for role, key in ((PERIOD, period), (ASSET, asset)):
        theirs = specific.collect_schema()[role]
        if schema[key] != theirs:
            raise PanelError.other_key_type(role, key, schema[key], theirs)
    check_time_type(schema[period], period, WEIGHTS)
    rows = _checked_rows(frame.lazy(), period, asset, weights)
    inner = dict(zip(schema.names(), rows.collect_schema().names(), strict=False))
    half_life = math.inf if half_life is None else float(half_life)
    options = VarianceOptions(half_life, 0, int(min_periods), float(cut))
    precision = partial(_past_precision, options=options)
    answer = (
        _with_history(rows.with_row_index(NUMBER), specific, period, precision)
        .filter(pl.col(NUMBER).is_not_null())
        .with_columns(_shrunk(float(shrinkage), float(max_ratio)).over(PERIOD).alias(WEIGHT))
        .sort(NUMBER)
        .select(
            *(pl.col(inside).alias(name) for name, inside in inner.items()),
            pl.col(WEIGHT).alias(name),
        )
    )
    return answer if isinstance(frame, pl.LazyFrame) else answer.collect(engine="in-memory")


def _with_history(
    rows: pl.LazyFrame,
    specific: pl.LazyFrame,
    period: str,
    precision: Callable[[pl.DataFrame], pl.Series],
) -> pl.LazyFrame:
    """Add the past precision of each row; rows that only the fits have are added as history.

    ``specific``: the specific returns of the fits; only rows that the fits used count.
    """
    used = pl.when(pl.col(ROBUSTNESS_WEIGHT).is_not_null()).then(SPECIFIC_RETURN)
    returns = specific.select(PERIOD, ASSET, used.alias(SPECIFIC))
    history = rows.join(returns, on=[PERIOD, ASSET], how="full", coalesce=True)

    def with_own(rows: pl.DataFrame) -> pl.DataFrame:
        check_time_order(rows[PERIOD], period, WEIGHTS)
        return rows.with_columns(precision(rows))

    return history.map_batches(
        with_own,
        schema=pl.Schema({**history.collect_schema(), OWN: pl.Float64()}),
        predicate_pushdown=False,
        projection_pushdown=False,
        slice_pushdown=False,
    )


def _past_precision(rows: pl.DataFrame, options: VarianceOptions) -> pl.Series:
    """Give 1 / the mean of the asset's earlier squares, in any unit; null if there are too few."""
    order = rows[PERIOD].arg_sort()
    lengths = rows[PERIOD].gather(order).rle().struct.field("len")
    past = AssetHistory(options).past_variances(
        rows[SPECIFIC].gather(order).fill_null(math.nan).to_numpy(),
        rows[ASSET].rank("dense").gather(order).cast(pl.Int64).to_numpy() - 1,
        np.cumsum([0, *lengths]),
    )
    means = np.empty(rows.height)
    means[order.to_numpy()] = np.where(past.count >= options.min_periods, past.variance, math.nan)
    # Squares that overflow or underflow do not count.
    with np.errstate(divide="ignore"):
        precision = pl.Series(OWN, 1 / means, nan_to_null=True)
    return precision.set(~precision.is_between(0, math.inf, "none"), None)


def _shrunk(shrinkage: float, max_ratio: float) -> pl.Expr:
    """Express the weights of a period from the given weights and the assets' precision."""
    largest = pl.col(WEIGHT).max()
    given = pl.when(largest > 0).then(pl.col(WEIGHT) / largest).otherwise(pl.col(WEIGHT))
    inside = given > 0
    precision = pl.when(inside).then(pl.col(OWN))
    own = precision.clip(upper_bound=max_ratio * precision.median())
    both = pl.when(own.is_not_null()).then(given)
    # In units of the given weights, which assets without a history keep.
    blend = (1 - shrinkage) * own / own.mean() * both.mean() + shrinkage * given
    weights = pl.when(inside).then(pl.when(own.is_not_null()).then(blend).otherwise(given))
    return pl.when(inside).then(weights / weights.mean()).otherwise(given)


def _checked_rows(
    rows: pl.LazyFrame, period: str, asset: str, weights: str | None = None, use: str | None = None
) -> pl.LazyFrame:
    """Give all columns, in their order, names that no query misreads, and check the keys.

    ``use``: what needs the order of the periods, if anything does.

    The keys become PERIOD and ASSET. The last column is WEIGHT: Float64, null where a weight is
    missing, or 1 without ``weights``.
    """
    column_of = by_position(rows.collect_schema().names())
    weight = pl.lit(1.0)
    if weights is not None:
        values = column_of[weights].cast(pl.Float64)
        weight = pl.when(values.is_finite()).then(values)
    keys = {period: PERIOD, asset: ASSET}
    named = (
        column.alias(keys.get(name, f"column {i}"))
        for i, (name, column) in enumerate(column_of.items())
    )
    checked = {} if weights is None else {WEIGHT: ("weights", weights)}

    def check(frame: pl.DataFrame) -> pl.DataFrame:
        check_values(frame, period, asset, checked, partial=False)
        if use is not None:
            check_time_order(frame[PERIOD], period, use)
        return frame

    return rows.select(*named, weight.alias(WEIGHT)).map_batches(
        check, predicate_pushdown=False, slice_pushdown=False
    )


def _check_columns(role: str, names: list[str], schema: pl.Schema, period: str, asset: str) -> None:
    """Raise PanelError unless all columns are there, each once, and none is a key."""
    if period == asset:
        raise PanelError.shared_column(period, ["period", "asset"])
    for key, column in ((PERIOD, period), (ASSET, asset)):
        if column not in schema:
            raise PanelError.missing_columns(key, [column], schema.names())
        check_key_type(key, column, schema[column])
        if column in names:
            raise PanelError.shared_column(column, [key, role])
    absent = [name for name in names if name not in schema]
    if absent:
        raise PanelError.missing_columns(role, absent, schema.names())
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise PanelError.repeated_exposures(repeated, "columns")
