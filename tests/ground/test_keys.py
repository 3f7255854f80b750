"""Keys of every type: whether rows increase by them, where they change, and which are missing.

What takes no query here is compared with plain Python, or with a query that says the same.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from vbase_py_utils.fit.block_rows import BlockRows
from vbase_py_utils.keys import are_missing, check_values, increases, missing_keys
from vbase_py_utils.panel import PanelSpec

NUMBER = pl.col("number")
TEXT = pl.lit("k") + NUMBER.cast(pl.String).str.zfill(2)
START = pl.datetime(2024, 3, 30, 20)
# Distinct keys for 0 to 9, which ascend, except that Booleans are odd or even.
KEYS = {
    "Int8": NUMBER.cast(pl.Int8) - 5,
    "Int64": NUMBER,
    "UInt64": NUMBER.cast(pl.UInt64),
    "Int128": NUMBER.cast(pl.Int128),
    "Float32": NUMBER.cast(pl.Float32) / 3 - 1,
    "Float64": NUMBER / 7 - 1,
    "Decimal": NUMBER.cast(pl.Decimal(20, 3)) - 4,
    "Boolean": NUMBER % 2 == 1,
    "String": TEXT,
    "Binary": TEXT.cast(pl.Binary),
    "Categorical": TEXT.cast(pl.Categorical),
    "Enum": TEXT.cast(pl.Enum([f"k{i:02}" for i in range(10)])),
    "Enum, backwards": (pl.lit("k") + (9 - NUMBER).cast(pl.String)).cast(
        pl.Enum([f"k{i}" for i in range(9, -1, -1)])
    ),
    "Date": pl.date(2024, 2, 27) + pl.duration(days=NUMBER),
    "Datetime": START + pl.duration(hours=NUMBER),
    "with a time zone": (START + pl.duration(hours=NUMBER)).dt.replace_time_zone("UTC"),
    "Duration": pl.duration(minutes=NUMBER - 5),
    "Time": (START.dt.truncate("1d") + pl.duration(minutes=NUMBER)).dt.time(),
}
each_type = pytest.mark.parametrize("kind", KEYS)


def keys_of(numbers, kind):
    frame = pl.DataFrame({"number": pl.Series(numbers, dtype=pl.Int64)})
    return frame.select(KEYS[kind].alias(kind)).to_series()


def in_pieces(keys):
    """The same keys in two chunks, the first of a single key."""
    return keys.head(1).append(keys.tail(len(keys) - 1)) if len(keys) > 2 else keys


def frames(kind, rng):
    """Rows of two keys in order, with repeats, out of order, and hardly any; with their numbers."""
    for _ in range(40):
        size = int(rng.integers(0, 7))
        pairs = rng.integers(0, 1 + int(rng.integers(1, 10)), (size, 2)).tolist()
        for some in (pairs, sorted(pairs), sorted(map(list, set(map(tuple, pairs)))), pairs[::-1]):
            first, second = ([pair[i] for pair in some] for i in (0, 1))
            keys = in_pieces(keys_of(first, kind)), in_pieces(keys_of(second, kind))
            yield pl.DataFrame([keys[0].alias("period"), keys[1].alias("asset")]), some


@each_type
def test_rows_increase_if_every_pair_of_neighbours_does(kind, rng):
    seen = set()
    for frame, numbers in frames(kind, rng):
        pairs = [tuple(n % 2 if kind == "Boolean" else n for n in pair) for pair in numbers]
        expected = all(a < b for a, b in pairwise(pairs))
        assert increases(frame, "period", "asset") is expected
        seen.add(expected)
    assert seen == {True, False}


@each_type
def test_periods_begin_where_the_key_changes(kind, rng):
    _, spec = PanelSpec.resolve(
        pl.DataFrame({"period": [1], "asset": [1], "return": [1.0], "x": [1.0]}), "x"
    )
    for frame, _ in frames(kind, rng):
        values = pl.lit(1.0).alias("return"), pl.lit(1.0).alias("x0")
        block = BlockRows.of(frame.with_columns(*values), spec)
        runs = frame["period"].sort().rle().struct.unnest()
        assert block.periods.to_list() == runs["value"].to_list()
        assert block.periods.dtype == frame["period"].dtype
        assert np.diff(block.starts).tolist() == runs["len"].to_list()
        assert block.starts.dtype == np.intp
        assert (block.order is None) == frame["period"].is_sorted()
        assert block.usable is None


def test_minus_zero_and_zero_are_one_period():
    keys = pl.DataFrame({"period": [-1.0, -0.0, 0.0, 2.0], "asset": [1, 1, 2, 1]})
    assert increases(keys, "period", "asset")
    assert not increases(keys.with_columns(asset=1), "period", "asset")
    rows = keys.with_columns(pl.lit(1.0).alias("return"), pl.lit(1.0).alias("x0"))
    _, spec = PanelSpec.resolve(rows, "x0")
    assert BlockRows.of(rows, spec).starts.tolist() == [0, 1, 3, 4]


@each_type
@pytest.mark.parametrize("where", [0, 3, 5])
def test_a_null_is_missing_wherever_it_is(kind, where):
    keys = keys_of(list(range(6)), kind)
    assert not are_missing(keys)
    assert not are_missing(keys.head(0))
    spoilt = pl.concat([keys.head(where), keys.clear(1), keys.tail(5 - where)], rechunk=False)
    assert are_missing(spoilt)
    assert missing_keys(spoilt).arg_true().to_list() == [where]


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64])
def test_nan_is_missing_and_infinity_is_a_key(dtype):
    assert are_missing(pl.Series([1.0, math.nan], dtype=dtype))
    assert are_missing(pl.Series([1.0, math.nan, None], dtype=dtype))
    assert not are_missing(pl.Series([-math.inf, -0.0, math.inf], dtype=dtype))


def test_a_column_of_nulls_is_missing():
    assert are_missing(pl.Series([None, None]))
    assert not are_missing(pl.Series([], dtype=pl.Null))


@pytest.mark.parametrize(
    ("weight", "negative"),
    [(-0.0, 0), (0.0, 0), (-math.inf, 0), (math.nan, 0), (None, 0), (-5e-324, 1), (-1.0, 1)],
)
def test_only_a_finite_number_below_zero_is_a_negative_weight(weight, negative):
    weights = pl.Series([1.0, weight, 2.0], dtype=pl.Float64)
    rows = pl.DataFrame({"period": [1, 1, 1], "asset": [1, 2, 3], "w": weights})

    def check():
        check_values(rows, "t", "i", {"w": ("weights", "w")}, partial=False)

    if negative:
        with pytest.raises(ValueError, match=r"negative in 1 row, for example .* at \(1, 2\)"):
            check()
    else:
        check()
