"""Tests of forecasts of risk: whether returns were as large as they said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from vbase_py_utils.analyse.reading import floats
from vbase_py_utils.arguments import check_names, check_number, shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.forks import check_process
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.specific_variance import Integers
from vbase_py_utils.keys import PERIOD, check_key_type, label, missing_keys
from vbase_py_utils.panel import ArrowStream, as_frame, by_position, holds_numbers
from vbase_py_utils.periods.order import check_time_order

USE = "bias_statistics"
# The columns of values that are looked for, in this order, in frames with several.
RETURNS = ("return", "total", "specific_return", "factor_return")
RISKS = ("risk", "specific_risk", "volatility")
BIAS, LOWER, UPPER, MRAD, QLIKE, N_PERIODS = (
    "bias", "lower", "upper", "mrad", "qlike", "n_periods",
)  # fmt: skip
RETURN, RISK = "r", "s"
# Numbers of windows that are held at once, 8 MB.
MOST_NUMBERS = 2**20

AnyFrame: TypeAlias = pl.DataFrame | pl.LazyFrame | ArrowStream


def bias_statistics(
    returns: AnyFrame | pl.Series | ArrayLike,
    risk: AnyFrame | pl.Series | ArrayLike,
    *,
    window: int | None = None,
    by: str | Iterable[str] | None = None,
) -> pl.DataFrame | pl.LazyFrame:
    """Test forecasts of volatility against the returns of the periods they were made for.

    Parameters
    ----------
    returns, risk
        Two frames that share key columns, the first of which is the period, and have one column of
        values each; of several, returns are called "return", "total", "specific_return" or
        "factor_return", and risk "risk", "specific_risk" or "volatility". Or two Series or arrays
        of one length, in the order of time. Pairs of which one is missing do not count.
    window
        Periods in a window, at least two; ``None`` takes all periods as one.
    by
        Key columns, such as "portfolio" or "asset", to give a row for each of their values;
        ``None`` takes all rows together.

    Returns
    -------
    DataFrame or LazyFrame, as given
        The columns of ``by``, sorted, and

        - bias: standard deviation of returns over risk. Above one, risk was too low;
        - lower, upper: limits within which it is in 95 of 100 cases if the forecasts are right and
          returns are normal and independent over time, 1 -+ sqrt(2 / n_periods);
        - mrad: mean distance of the bias from one over all windows, each of so many periods in a
          row; null with fewer periods;
        - qlike: mean of z^2 - ln(z^2) - 1 with z the return over its risk, smallest when forecasts
          are right; returns of zero do not count;
        - n_periods: periods with a pair.

    Raises
    ------
    PanelError
        A frame shares no key with the other, or has no column of values; a risk is not above zero;
        a key repeats; periods are text that does not sort in the order of time. The values of a
        LazyFrame are checked when the query runs.
    ValueError, TypeError
        ``window`` is out of range; ``by`` has no frames, or is not in them; Series differ in
        length.

    Notes
    -----
    Sources: Menchero, Orr and Wang (2011), The Barra US Equity Model (USE4), appendix; Patton
    (2011), Journal of Econometrics 160, 246-256, for QLIKE.

    Examples
    --------
    >>> from vbase_py_utils import bias_statistics
    >>> test = bias_statistics([0.02, -0.02, 0.02, -0.02], [0.01, 0.02, 0.01, 0.02])
    >>> test.select("bias", "n_periods").row(0)
    (1.7320508075688772, 4)
    """
    if window is not None:
        expected = "a whole number of periods >= 2, or None"
        check_number("window", window, expected, at_least=2, whole=True)
    groups = [] if by is None else list(check_names("by", by, "names of key columns, or None"))
    pairs = read_pairs(returns, risk, groups)
    inner = pairs.rows.collect_schema()
    keys = {name: inner[f"g{i}"] for i, name in enumerate(groups)}
    numbers = dict.fromkeys((BIAS, LOWER, UPPER, MRAD, QLIKE), pl.Float64())
    out = pl.Schema({**keys, **numbers, N_PERIODS: pl.UInt32()})
    clashes = [name for name in groups if name in (*numbers, N_PERIODS)]
    if clashes:
        raise PanelError.taken_name("group", clashes[0])

    def test(rows: pl.DataFrame) -> pl.DataFrame:
        parts = pairs.by_group(rows)
        tested = [{**dict(zip(groups, k, strict=True)), **_statistics(p, window)} for k, p in parts]
        return pl.DataFrame(tested, schema=out, orient="row").fill_nan(None)

    if isinstance(pairs.rows, pl.DataFrame):
        return test(pairs.rows)
    return pairs.rows.map_batches(
        test,
        schema=out,
        predicate_pushdown=False,
        projection_pushdown=False,
        slice_pushdown=False,
    )


@dataclass(frozen=True, slots=True)
class Pairs:
    """Returns beside their risk.

    Attributes
    ----------
    rows
        PERIOD, the groups as g0, g1, ..., RETURN and RISK; null where missing.
    period
        What messages call the period, and the column of the risk.
    risk
        The same of the risk.
    n_groups
        How many columns of groups there are.
    """

    rows: pl.DataFrame | pl.LazyFrame
    period: str
    risk: str
    n_groups: int

    def by_group(self, rows: pl.DataFrame) -> Iterator[tuple[tuple[object, ...], pl.DataFrame]]:
        """Check values, and give the rows of each group in the order of time, groups sorted."""
        bad = rows.filter(pl.col(RISK) <= 0)
        if not bad.is_empty():
            example = f"{bad[RISK][0]} at {label(bad[PERIOD])}"
            raise PanelError.no_risk(self.risk, bad.height, example)
        check_time_order(rows[PERIOD], self.period, USE)
        groups = [f"g{i}" for i in range(self.n_groups)]
        ordered = rows.drop_nulls([RETURN, RISK]).sort(*groups, PERIOD, maintain_order=True)
        if not groups:
            yield (), ordered
            return
        yield from ordered.group_by(groups, maintain_order=True)


def read_pairs(
    returns: AnyFrame | pl.Series | ArrayLike,
    risk: AnyFrame | pl.Series | ArrayLike,
    groups: Sequence[str],
) -> Pairs:
    """Put returns and risk side by side; raises as ``bias_statistics``."""
    check_process()
    repeated = [name for name, count in Counter(groups).items() if count > 1]
    if repeated:
        raise PanelError.repeated_exposures(repeated, "by")
    framed = [_is_frame(returns), _is_frame(risk)]
    if not any(framed):
        if groups:
            raise ValueError(f"by is {shown(groups[0])}, which needs frames of returns and risk")
        return Pairs(_of_arrays(returns, risk), PERIOD, "risk", 0)
    if not all(framed):
        name, value = ("risk", risk) if framed[0] else ("returns", returns)
        raise TypeError(f"{name} is {shown(value)}, expected a frame like the other")
    one = _read(returns, "returns", RETURNS, groups)
    other = _read(risk, "risk", RISKS, groups)
    return _joined(one, other, groups)


def _is_frame(value: object) -> bool:
    if isinstance(value, pl.DataFrame | pl.LazyFrame):
        return True
    # Series of pandas have a stream, too.
    one_column = isinstance(value, pl.Series) or getattr(value, "ndim", 2) == 1
    return not one_column and (
        hasattr(type(value), "columns") or hasattr(value, "__arrow_c_stream__")
    )


def _of_arrays(returns: object, risk: object) -> pl.DataFrame:
    columns = {}
    for name, argument, value in ((RETURN, "returns", returns), (RISK, "risk", risk)):
        column = _numbers(value)
        if column is None:
            raise TypeError(
                f"{argument} is {shown(value)}, expected a frame, or a Series or list of numbers"
            )
        columns[name] = pl.Series(name, floats(column), nan_to_null=True)
    lengths = [len(column) for column in columns.values()]
    if lengths[0] != lengths[1]:
        raise ValueError(f"returns has {lengths[0]} values and risk {lengths[1]}, expected as many")
    return pl.DataFrame({PERIOD: pl.int_range(lengths[0], eager=True), **columns})


def _numbers(value: object) -> pl.Series | None:
    """Make a column of a Series or list of numbers; ``None`` if it is something else."""
    if value is None or isinstance(value, str | bytes | bytearray):
        return None
    try:
        column = pl.Series("", value, strict=False)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return None
    return column if holds_numbers(column.dtype) or column.dtype == pl.Null else None


@dataclass(frozen=True, slots=True)
class _Table:
    """A frame of one argument: its columns that may be keys, and that of its values."""

    frame: pl.DataFrame | pl.LazyFrame
    argument: str
    keys: list[str]
    value: str


def _read(source: object, argument: str, known: Sequence[str], groups: Sequence[str]) -> _Table:
    frame = as_frame(source, list, argument, others="need")  # type: ignore[arg-type]
    schema = frame.collect_schema()
    numbers = [name for name, dtype in schema.items() if holds_numbers(dtype)]
    found = [name for name in known if name in numbers]
    # Floats are no keys.
    others = [name for name in numbers if name not in (PERIOD, *groups)]
    values = [name for name in others if schema[name].is_float()]
    if not found and len(values) != 1:
        raise PanelError.no_values(argument, known, schema.names())
    value = found[0] if found else values[0]
    keys = [n for n in schema if n != value and (n == PERIOD or not schema[n].is_float())]
    absent = [name for name in groups if name not in keys]
    if absent:
        raise PanelError.missing_columns("by", absent, schema.names(), argument)
    return _Table(frame, argument, keys, value)


def _joined(one: _Table, other: _Table, groups: Sequence[str]) -> Pairs:
    """Join two frames on the keys that both have."""
    shared = [name for name in one.keys if name in other.keys]
    if not shared:
        raise PanelError.nothing_shared("key", one.keys, other.keys)
    schemas = [table.frame.collect_schema() for table in (one, other)]
    for name in shared:
        if schemas[0][name] != schemas[1][name]:
            raise PanelError.other_key_type(
                "key", name, schemas[1][name], schemas[0][name], one.argument
            )
        check_key_type("key", name, schemas[0][name])
    period = PERIOD if PERIOD in shared else next((n for n in shared if n not in groups), shared[0])
    if period in groups:
        raise PanelError.shared_column(period, ["period", "by"])
    inner = {period: PERIOD} | {name: f"g{i}" for i, name in enumerate(groups)}
    inner |= {name: f"k{i}" for i, name in enumerate(shared) if name not in inner}
    parts = []
    for table, name, schema in ((one, RETURN, schemas[0]), (other, RISK, schemas[1])):
        column = by_position(schema.names())
        number = column[table.value].cast(pl.Float64)
        finite = pl.when(number.is_finite()).then(number).alias(name)
        inside = [inner[key] for key in shared]
        part = table.frame.lazy().select(*(column[key].alias(inner[key]) for key in shared), finite)
        check = partial(_checked, keys=inside, names=shared, period=period)
        parts.append(part.map_batches(check, predicate_pushdown=False, slice_pushdown=False))
    both = parts[0].join(
        parts[1], on=[inner[key] for key in shared], nulls_equal=True, maintain_order="left"
    )
    rows: pl.DataFrame | pl.LazyFrame = both.select(
        PERIOD, *(f"g{i}" for i in range(len(groups))), RETURN, RISK
    )
    if isinstance(one.frame, pl.DataFrame) and isinstance(other.frame, pl.DataFrame):
        rows = both.select(rows.collect_schema().names()).collect(engine="in-memory")
    return Pairs(rows, period, other.value, len(groups))


def _checked(rows: pl.DataFrame, keys: list[str], names: list[str], period: str) -> pl.DataFrame:
    """Raise PanelError if a period is missing, or a key repeats."""
    absent = rows.filter(missing_keys(rows[PERIOD]))
    if not absent.is_empty():
        value = rows.columns[-1]
        what = "return" if value == RETURN else "risk"
        example = f"the {what} is {absent[value][0]}"
        raise PanelError.missing_keys("period", period, absent.height, example)
    repeats = rows.filter(rows.select(keys).is_duplicated())
    if not repeats.is_empty():
        example = ", ".join(label(repeats[key]) for key in keys)
        raise PanelError.repeated_keys(names, repeats.height, example)
    return rows


def _statistics(pairs: pl.DataFrame, window: int | None) -> dict[str, float | int]:
    """Test the pairs of one group, in the order of time."""
    z = floats(pairs[RETURN] / pairs[RISK])
    starts = period_starts(pairs[PERIOD])
    n_periods = len(starts)
    bounds = np.sqrt(2 / n_periods) if n_periods else np.nan
    square = np.square(z[z != 0])
    biases = rolling_bias(z, starts, n_periods if window is None else window)
    there = biases[np.isfinite(biases)]
    return {
        BIAS: float(z.std(ddof=1)) if len(z) > 1 else np.nan,
        LOWER: 1 - bounds,
        UPPER: 1 + bounds,
        MRAD: float(np.abs(there - 1).mean()) if len(there) else np.nan,
        QLIKE: float((square - np.log(square) - 1).mean()) if len(square) else np.nan,
        N_PERIODS: n_periods,
    }


def period_starts(periods: pl.Series) -> Integers:
    """Give the row at which each period begins; rows of a period are neighbours."""
    return np.flatnonzero(periods.rle_id().diff().fill_null(1).to_numpy())


def rolling_bias(z: FloatArray, starts: Integers, window: int) -> FloatArray:
    """Take the standard deviation of z (rows,) in every ``window`` periods in a row.

    ``starts`` (periods,): where each period begins. The answer has periods - window + 1 numbers,
    NaN where there are fewer than two rows.
    """
    if len(starts) < max(window, 1):
        return np.empty(0)
    count = np.diff([*starts, len(z)])
    mean = np.add.reduceat(z, starts) / count
    square = np.add.reduceat((z - np.repeat(mean, count)) ** 2, starts)
    # In every window anew: what has left it leaves no trace.
    counts, means, squares = (sliding_window_view(one, window) for one in (count, mean, square))
    at_once = max(1, MOST_NUMBERS // window)
    biases = [
        _pooled(counts[first:][:at_once], means[first:][:at_once], squares[first:][:at_once])
        for first in range(0, len(counts), at_once)
    ]
    return np.concatenate(biases)


def _pooled(count: Integers, mean: FloatArray, square: FloatArray) -> FloatArray:
    """Take the standard deviation of rows that are given in periods.

    All are (windows, periods): how many rows, their mean, and their sum of squares about it.
    """
    n = count.sum(axis=1)
    middle = (count * mean).sum(axis=1) / n
    total = (square + count * (mean - middle[:, None]) ** 2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias: FloatArray = np.sqrt(total / (n - 1))
    return np.where(n > 1, bias, np.nan)
