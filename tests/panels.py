"""Random panels with everything in them that a panel may have: for tests that compare ways in."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import strategies as st

import oracle

EXPOSURES = ("x", "size of firm", "z")
# Each gives distinct, ascending periods for 0, 1, 2, ...
PERIOD_TYPES = {
    "Int64": lambda t: t,
    "UInt8": lambda t: t.cast(pl.UInt8),
    "Float32": lambda t: (t - 3).cast(pl.Float32),
    "Date": lambda t: pl.date(1999, 12, 30) + pl.duration(days=t),
    "Datetime with time zone": lambda t: (
        pl.datetime(2024, 3, 30, time_zone="Europe/Berlin") + pl.duration(hours=t)
    ),
    "String": lambda t: (
        (1999 + t // 12).cast(pl.String) + "-" + pl.format("{}", t % 12 + 1).str.zfill(2)
    ),
    "Categorical": lambda t: t.cast(pl.String).str.zfill(4).cast(pl.Categorical),
    "Enum": lambda t: (100 - t).cast(pl.String).cast(pl.Enum([f"{100 - i}" for i in range(100)])),
    "Duration": lambda t: pl.duration(minutes=t),
    "Decimal": lambda t: t.cast(pl.Decimal(12, 3)),
}


def panel_of(seed, sizes, *, period_type="Int64", kind="Float64", gaps=0.1, unit=1.0):
    """A panel sorted by period with ``sizes[t]`` rows in period t, assets in any order.

    Columns: period, asset, return, w, EXPOSURES. A share ``gaps`` of the numbers is null, NaN or
    infinite, of the weights also zero; some periods are collinear.
    """
    rng = np.random.default_rng(seed)
    n = int(sum(sizes))
    X = rng.standard_normal((n, len(EXPOSURES)))
    number = np.repeat(np.arange(len(sizes)), np.asarray(sizes, dtype=int))
    collinear = rng.random(len(sizes)) < 0.15
    X[collinear[number], 2] = 2 * X[collinear[number], 0]
    noise = rng.standard_t(3, n)
    columns = {
        "return": unit * (X @ [0.5, -1.0, 0.2] + noise),
        "w": rng.lognormal(0, 1, n),
        **dict(zip(EXPOSURES, X.T, strict=True)),
    }
    for name, values in columns.items():
        bad = rng.random(n) < gaps
        signs = [np.nan, np.inf, -np.inf, 0.0] if name == "w" else [np.nan, np.inf, -np.inf]
        values[bad] = rng.choice(signs, bad.sum())
    frame = pl.DataFrame(
        {
            "period": number,
            "asset": np.concatenate([[0][:0], *(rng.permutation(size) for size in sizes)]).astype(
                int
            ),
            **columns,
        }
    )
    nulls = {name: pl.Series(rng.random(n) < gaps / 2) for name in ("return", "w", *EXPOSURES)}
    return frame.with_columns(
        PERIOD_TYPES[period_type](pl.col("period")).alias("period"),
        pl.col("asset").cast(pl.String),
        *(
            pl.when(~pl.lit(mask)).then(pl.col(name).cast(getattr(pl, kind))).alias(name)
            for name, mask in nulls.items()
        ),
    )


def by_the_oracle(panel, group, huber_t=1.345):
    """Coefficients by group and residuals by row from the oracle; groups it cannot fit are absent.

    ``panel`` as ``panel_of`` makes it; its rows with weight w that are wholly there take part.
    """
    coefficients, residuals = {}, np.full(panel.height, np.nan)
    for (key,), rows in panel.with_row_index().group_by(group):
        X = rows.select(EXPOSURES).to_numpy().astype(float)
        y, w = (rows[name].to_numpy().astype(float) for name in ("return", "w"))
        usable = np.isfinite(np.column_stack([X, y, w])).all(axis=1) & (w > 0)
        if usable.sum() < 3 * X.shape[1] or np.linalg.cond(X[usable]) > 1e6:
            continue
        b = oracle.huber(X[usable], y[usable], w[usable], huber_t).b
        coefficients[key] = b
        with np.errstate(invalid="ignore"):  # infinite numbers are missing ones
            residuals[rows["index"]] = y - X @ b
    return coefficients, residuals


@st.composite
def panels(draw):
    """Panels of ``panel_of`` with 0 to 12 periods of 1 to 30 rows."""
    return panel_of(
        draw(st.integers(0, 2**32 - 1)),
        draw(st.lists(st.integers(1, 30), max_size=12)),
        period_type=draw(st.sampled_from(list(PERIOD_TYPES))),
        kind=draw(st.sampled_from(["Float64", "Float32"])),
        gaps=draw(st.sampled_from([0.0, 0.05, 0.3])),
        unit=draw(st.sampled_from([1.0, 1e-9, 1e9])),
    )
