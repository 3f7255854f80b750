"""The specific risk of assets, forecast for every period from the periods before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from typing import TypedDict, Unpack, overload

import numpy as np
import polars as pl

from vbase_py_utils.analyse.reading import AnyFrame, Fits, own_key, read_table
from vbase_py_utils.arguments import check_flag, check_name, check_number
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.one_pass import collected_as, from_generator, whole_periods
from vbase_py_utils.fit.results import CrossSectionFits, inner_frame
from vbase_py_utils.fit.schema import SPECIFIC_RETURN
from vbase_py_utils.kernel.specific_variance import (
    AssetHistory,
    Integers,
    PastVariances,
    VarianceOptions,
)
from vbase_py_utils.keys import ASSET, PERIOD, check_values, missing_keys
from vbase_py_utils.panel import ArrowStream, Exposures, as_frame, by_position
from vbase_py_utils.periods.order import check_time_order
from vbase_py_utils.risk.numbers import AssetNumbers, check_repeats
from vbase_py_utils.risk.options import as_labels, check_half_life, check_history, check_later
from vbase_py_utils.risk.structure import WIDTH, Structure

USE = "specific_risk"
SPECIFIC_RISK, N_PERIODS, SHRUNK = "specific_risk", "n_periods", "shrunk"


class SpecificRiskArguments(TypedDict, total=False):
    """The keyword arguments of ``specific_risk``; meanings there."""

    exposures: Exposures | None
    panel: AnyFrame | None
    half_life: float
    lags: int
    min_periods: int
    cut: float
    regime_half_life: float | None
    next_period: object
    sorted_by_period: bool
    period: str
    asset: str


@overload
def specific_risk(
    specific_returns: pl.DataFrame | ArrowStream | CrossSectionFits[pl.DataFrame],
    **arguments: Unpack[SpecificRiskArguments],
) -> pl.DataFrame: ...
@overload
def specific_risk(
    specific_returns: pl.LazyFrame | CrossSectionFits[pl.LazyFrame],
    **arguments: Unpack[SpecificRiskArguments],
) -> pl.LazyFrame: ...
def specific_risk(
    specific_returns: AnyFrame | Fits,
    *,
    exposures: Exposures | None = None,
    panel: AnyFrame | None = None,
    half_life: float = 84,
    lags: int = 0,
    min_periods: int = 20,
    cut: float = 10.0,
    regime_half_life: float | None = None,
    next_period: object = None,
    sorted_by_period: bool = False,
    period: str = "period",
    asset: str = "asset",
) -> pl.DataFrame | pl.LazyFrame:
    """Forecast the volatility of specific returns for every period, from earlier periods alone.

    The variance of an asset is the weighted mean square of its own earlier specific returns.
    Robustness weights play no part.

    Parameters
    ----------
    specific_returns
        The result of ``fit_cross_sections``, or a frame like its ``specific_returns``: period,
        asset and specific_return, rows in any order. Returns that are missing, or zero but for
        rounding (an asset alone in its category), are no information.
    exposures
        Columns of ``panel`` that specific risk depends on, such as size: numbers, or text and Enums
        as categories; names or a selector. The risk of an asset is then shrunk towards that of
        similar assets, the more the shorter its own history; a new asset gets theirs. Where an
        exposure is missing, the asset has only its own.
    panel
        Long frame of the exposures, known before the returns of their period, with the same keys.
    half_life
        Half-life of the weights, in returns of the asset; infinity weights all alike.
    lags
        How many autocovariances to include, by Newey and West's weights, over the asset's own
        returns.
    min_periods
        An asset with fewer earlier returns has no risk of its own.
    cut
        Cut returns at this many past standard deviations of the asset, so that a wrong one does
        little harm. With fewer than ``min_periods`` earlier ones, a typical standard deviation of
        the period is used, as in ``inverse_variance_weights``. Infinity cuts nothing.
    regime_half_life
        Multiply all variances by the mean of squared returns over their forecasts in the latest
        periods, with this half-life; ``None`` does not.
    next_period
        Label of a further period, after the last, to forecast for the assets of the last one, and
        with their exposures of the last one.
    sorted_by_period
        LazyFrames of returns and panel are sorted by period: read them in one pass, in little
        memory. Lazy fits always are; the panel is held in memory without this.
    period, asset
        Key columns; fits have their own.

    Returns
    -------
    DataFrame or LazyFrame, as given
        A row per row of the specific returns, and of the panel if there is one, sorted by period:
        period, asset, specific_risk (a standard deviation, in units of the returns), n_periods
        (earlier returns) and, with exposures, shrunk: the weight of similar assets, from 0 to 1.

    Raises
    ------
    PanelError
        A column is missing or of the wrong type; a key is null or repeats; periods are text that
        does not sort in the order of time; ``next_period`` is not later than all others. The values
        of a LazyFrame are checked when the query runs.
    ValueError, TypeError
        A number is out of range; one of ``exposures`` and ``panel`` is given without the other; the
        input is not a frame.
    RuntimeError
        As ``factor_returns``.

    Notes
    -----
    The page "A risk model" has all formulas, and what they are worth on simulated markets.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import specific_risk
    >>> returns = pl.DataFrame({
    ...     "period": [1, 1, 2, 2, 3, 3],
    ...     "asset": ["A", "B"] * 3,
    ...     "specific_return": [0.03, -0.01, 0.04, 0.01, None, None],
    ... })
    >>> risk = specific_risk(returns, half_life=float("inf"), min_periods=2)
    >>> risk["specific_risk"].round(4).to_list()
    [None, None, None, None, 0.0354, 0.01]
    """
    options = _options(half_life, lags, min_periods, cut, regime_half_life)
    in_order = check_flag("sorted_by_period", sorted_by_period)
    if (exposures is None) != (panel is None):
        given, other = ("exposures", "panel") if panel is None else ("panel", "exposures")
        raise ValueError(f"{given} is given without {other}, expected both or neither")
    names = {PERIOD: check_name("period", period), ASSET: check_name("asset", asset)}
    rows, names = _source(specific_returns, names)
    ours = isinstance(specific_returns, CrossSectionFits)
    schema = rows.collect_schema()
    for role, name in names.items():
        if name in (SPECIFIC_RISK, N_PERIODS, SHRUNK):
            raise PanelError.taken_name(role, name)
    further = None
    if next_period is not None:
        further = as_labels("next_period", [next_period], names[PERIOD], schema[PERIOD])
    structure = None
    if exposures is not None and panel is not None:
        structure = Structure.of(panel, exposures, names[PERIOD], names[ASSET], schema)
    out = {PERIOD: schema[PERIOD], ASSET: schema[ASSET]}
    out |= {SPECIFIC_RISK: pl.Float64(), N_PERIODS: pl.UInt32()}
    out |= {} if structure is None else {SHRUNK: pl.Float64()}
    forecast = _Forecast(options, names, structure, further, pl.Schema(out))
    if isinstance(rows, pl.DataFrame):
        answer: pl.DataFrame | pl.LazyFrame = forecast.of_frame(rows)
    elif ours or in_order:
        plain, inner = rows, {key: key for key in names}
        if isinstance(specific_returns, pl.LazyFrame):
            plain, inner = specific_returns, names
        inner = inner | {SPECIFIC_RETURN: SPECIFIC_RETURN}
        answer = forecast.in_one_pass(plain, inner, in_order=in_order)
    else:
        answer = forecast.of_query(rows)
    return answer.rename(names)


def _options(
    half_life: float, lags: int, min_periods: int, cut: float, regime_half_life: float | None
) -> VarianceOptions:
    """Check the numbers among the arguments."""
    check_half_life("half_life", half_life)
    check_half_life("regime_half_life", regime_half_life, optional=True)
    check_history({"lags": lags}, min_periods)
    check_number("cut", cut, "a number >= 1", at_least=1, at_most=float("inf"))
    return VarianceOptions(
        float(half_life),
        int(lags),
        int(min_periods),
        float(cut),
        None if regime_half_life is None else float(regime_half_life),
    )


def _source(
    specific_returns: AnyFrame | Fits, names: dict[str, str]
) -> tuple[pl.DataFrame | pl.LazyFrame, dict[str, str]]:
    """Give the keys and specific returns under inner names, and the user's names of the keys."""
    if isinstance(specific_returns, CrossSectionFits):
        estimated = specific_returns.estimated
        own = {PERIOD: estimated.period, ASSET: estimated.asset}
        for role, name in names.items():
            if name != role:
                own_key(role, name, own[role])
        frame = inner_frame(specific_returns, "specific_returns")
        return frame.select(PERIOD, ASSET, SPECIFIC_RETURN), own
    roles = {**names, "specific return": SPECIFIC_RETURN}
    for one, other in combinations(roles, 2):
        if roles[one] == roles[other]:
            raise PanelError.shared_column(roles[one], [one, other])
    frame = as_frame(specific_returns, [*names.values(), SPECIFIC_RETURN], "specific_returns")
    if isinstance(frame, pl.DataFrame):
        return _read(frame, names), names
    # The checks of names and types, before the query runs.
    schema = frame.collect_schema()
    _read(schema.to_frame(), names)
    column = by_position(schema.names())
    chosen = {**names, SPECIFIC_RETURN: SPECIFIC_RETURN}
    return frame.select(column[name].alias(inside) for inside, name in chosen.items()), names


def _read(frame: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    """Check a frame of specific returns but for keys that repeat, and give inner names."""
    values = (SPECIFIC_RETURN,)
    return read_table(frame, "specific_returns", names, values, may_repeat=True)


class _Forecast:
    """The query from specific returns to specific risk, under inner names."""

    def __init__(
        self,
        options: VarianceOptions,
        names: dict[str, str],
        structure: Structure | None,
        further: pl.Series | None,
        out: pl.Schema,
    ) -> None:
        self.options, self.names, self.structure = options, names, structure
        self.further, self.out = further, out

    def of_frame(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Forecast for rows in memory whose keys have been checked."""
        check_time_order(rows[PERIOD], self.names[PERIOD], USE)
        if self.structure is not None:
            rows = self.structure.beside(rows)
        elif not rows[PERIOD].is_sorted():
            rows = rows.sort(PERIOD, maintain_order=True)
        blocks = self._with_further(iter([rows]))
        return pl.concat(map(self._pass(partial=False), blocks))

    def of_query(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Plan the same for a query, which is held in memory."""
        return rows.map_batches(
            lambda rows: self.of_frame(_read(rows.rename(self.names), self.names)),
            schema=self.out,
            predicate_pushdown=False,
            projection_pushdown=False,
            slice_pushdown=False,
        )

    def in_one_pass(
        self, rows: pl.LazyFrame, inner: dict[str, str], *, in_order: bool
    ) -> pl.LazyFrame:
        """Plan the same for a query that is sorted by period, block by block.

        ``inner``: names inside, and those of the query. ``in_order``: the panel is sorted, too.
        """

        def blocks() -> Iterator[pl.DataFrame]:
            width = None if self.structure is None else WIDTH
            batches = collected_as(rows, inner)
            own = self._checked(whole_periods(batches, self.names[PERIOD], width))
            if self.structure is not None:
                given = rows.collect_schema()
                schema = pl.Schema({inside: given[name] for inside, name in inner.items()})
                own = self.structure.beside_each(own, schema, in_order=in_order)
            yield from map(self._pass(partial=True), self._with_further(own))

        return from_generator(blocks, self.out)

    def _checked(self, blocks: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Give blocks of a query whose keys are there."""
        for rows in blocks:
            if any(missing_keys(rows[role]).any() for role in self.names):
                check_values(rows, self.names[PERIOD], self.names[ASSET], {}, partial=True)
            yield rows

    def _pass(self, *, partial: bool) -> Callable[[pl.DataFrame], pl.DataFrame]:
        """Start a pass: what it gives is called on blocks of whole periods, in their order.

        ``partial``: a block is a part of the rows.
        """
        history, numbers = AssetHistory(self.options), AssetNumbers(self.out[ASSET])

        def forecast(rows: pl.DataFrame) -> pl.DataFrame:
            lengths = rows[PERIOD].rle().struct.field("len")
            starts = np.cumsum([0, *lengths])
            assets = numbers.of(rows[ASSET])
            check_repeats(rows, assets, starts, self.names, partial=partial)
            returns = rows[SPECIFIC_RETURN].cast(pl.Float64).to_numpy()
            effective = self.structure is not None
            past = history.past_variances(returns, assets, starts, effective=effective)
            return self._as_frame(rows, past, starts)

        return forecast

    def _as_frame(self, rows: pl.DataFrame, past: PastVariances, starts: Integers) -> pl.DataFrame:
        columns = {}
        if self.structure is None:
            variance = past.variance
            variance[past.count < self.options.min_periods] = np.nan
        else:
            variance, weight = self.structure.blend(rows, past, starts, self.options.min_periods)
            columns[SHRUNK] = pl.Series(SHRUNK, weight, nan_to_null=True)
        if self.options.regime_half_life is not None:
            for regime, (start, end) in zip(past.regime, pairwise(starts), strict=True):
                variance[start:end] *= regime
        sd = np.sqrt(variance, out=variance)
        for unit, (start, end) in zip(past.unit, pairwise(starts), strict=True):
            np.ldexp(sd[start:end], unit, out=sd[start:end])
        risk = pl.Series(SPECIFIC_RISK, sd, nan_to_null=True)
        return rows.select(
            PERIOD,
            ASSET,
            risk.set(risk.is_infinite(), None),
            pl.Series(N_PERIODS, past.count),
            **columns,
        )

    def _with_further(self, blocks: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Add the next period: the last without returns, unless the panel has rows of its own."""
        last = None
        for block in blocks:
            if self.further is not None and not block.is_empty():
                last = block.filter(block[PERIOD] == block[PERIOD].tail(1))
            yield block
        if self.further is None or last is None:
            return
        if self.structure is not None and (last[PERIOD] == self.further).all():
            return
        check_later(self.further, last[PERIOD], self.names[PERIOD], USE)
        yield last.with_columns(
            self.further.alias(PERIOD).new_from_index(0, last.height),
            pl.lit(None, last.schema[SPECIFIC_RETURN]).alias(SPECIFIC_RETURN),
        )
