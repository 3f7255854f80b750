"""Frames of answers about portfolios: their keys, and how they are made lazily or at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
import polars as pl

from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.one_pass import from_generator
from vbase_py_utils.fit.results import CrossSectionFits
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.specific_variance import Integers
from vbase_py_utils.kernel.threads import one_blas_thread
from vbase_py_utils.keys import ASSET, PERIOD
from vbase_py_utils.risk.holdings import PORTFOLIO, Weights
from vbase_py_utils.risk.positions import Held, keys_of

# What the only portfolio is called if no column names it.
ONLY = "portfolio"
# Numbers of a block of answers, 8 MB.
MOST_NUMBERS = 2**20
LONG_RUN = 500

# Frames of an answer by name, for some periods, in the order of time.
Frames: TypeAlias = dict[str, pl.DataFrame]
Run: TypeAlias = Callable[[frozenset[str]], Iterator[Frames]]


def is_lazy(sources: Iterable[object]) -> bool:
    """Whether the answer is lazy: if any of its sources is."""
    frames = (s.factor_returns if isinstance(s, CrossSectionFits) else s for s in sources)
    return any(isinstance(frame, pl.LazyFrame) for frame in frames)


def no_run(_: frozenset[str]) -> Iterator[Frames]:
    """Give nothing: what is in memory needs no run, and keeps no frames for one."""
    return iter(())


def lazily(run: Run, schemas: Mapping[str, pl.Schema]) -> dict[str, pl.LazyFrame]:
    """Present each frame of a run as a query, which runs it for this frame alone."""

    def only(name: str) -> Callable[[], Iterator[pl.DataFrame]]:
        return lambda: (frames[name] for frames in run(frozenset([name])) if name in frames)

    return {name: from_generator(only(name), schema) for name, schema in schemas.items()}


def at_once(run: Run, schemas: Mapping[str, pl.Schema]) -> Frames:
    """Run once for all frames."""
    parts: dict[str, list[pl.DataFrame]] = {name: [s.to_frame()] for name, s in schemas.items()}
    for frames in run(frozenset(schemas)):
        for name, frame in frames.items():
            parts[name].append(frame)
    return {name: pl.concat(some) for name, some in parts.items()}


def schema_of(
    weights: Weights, keys: Sequence[str], columns: Mapping[str, pl.DataType]
) -> pl.Schema:
    """Give the schema of an answer: some keys, and other columns.

    Raises PanelError if a key has the user's name of a column.
    """
    names = weights.names
    known = {
        PERIOD: (names.period, names.period_type),
        PORTFOLIO: (names.portfolio, weights.portfolio_type or pl.String()),
        ASSET: (names.asset, names.asset_type),
    }
    for key in keys:
        if known[key][0] in columns:
            raise PanelError.taken_name(key, known[key][0])
    return pl.Schema({**dict(known[key] for key in keys), **columns})


def frame_of(columns: Iterable[pl.Series]) -> pl.DataFrame:
    """Put columns side by side; one may have an empty name."""
    return pl.DataFrame({column.name: column for column in columns})


class OfPeriod(Protocol):
    """What is kept of a period: its label (1,), and those of its portfolios, if they have any."""

    @property
    def period(self) -> pl.Series:
        """The label (1,)."""

    @property
    def portfolios(self) -> pl.Series | None:
        """The labels (p,)."""


Kept = TypeVar("Kept", bound=OfPeriod)


def key_columns(
    weights: Weights, kept: Sequence[OfPeriod], counts: Sequence[Integers]
) -> list[pl.Series]:
    """Give the columns of period and portfolio; ``counts``: the rows of each portfolio."""
    names = weights.names
    labels = [
        pl.Series([ONLY] * len(some)) if one.portfolios is None else one.portfolios
        for one, some in zip(kept, counts, strict=True)
    ]
    each = np.concatenate(counts)
    periods = repeated(pl.concat([one.period for one in kept]), [some.sum() for some in counts])
    portfolios = repeated(pl.concat(labels), each)
    return [periods.alias(names.period), portfolios.alias(names.portfolio)]


def as_columns(values: Mapping[str, FloatArray]) -> list[pl.Series]:
    """Make columns of numbers, null where NaN."""
    return [pl.Series(name, v, dtype=pl.Float64, nan_to_null=True) for name, v in values.items()]


def repeated(labels: pl.Series, counts: Sequence[int] | Integers) -> pl.Series:
    """Repeat each label ``counts`` times."""
    if sum(counts) < LONG_RUN * len(labels):
        return labels.gather(np.repeat(np.arange(len(labels)), counts))
    # A long run is much faster to fill than to gather.
    runs = [labels.new_from_index(i, int(n)) for i, n in enumerate(counts)]
    return pl.concat([labels[:0], *runs])


class PeriodIndex:
    """Finds the rows of periods in a sorted column of them, by label."""

    def __init__(self, periods: pl.Series) -> None:
        self.rows = {key: row for row, key in enumerate(keys_of(periods))}

    def of(self, held: Held) -> int | None:
        """Give the row of the period of holdings; ``None`` if it is not there."""
        return self.rows.get(held.key)


def with_factors(
    keys: list[pl.Series], factors: tuple[str, ...], values: dict[str, FloatArray]
) -> pl.DataFrame:
    """Put keys, the names of factors in turn, and values side by side."""
    n = len(keys[0])
    named = pl.Series("factor", list(factors), dtype=pl.String)
    turn = np.tile(np.arange(len(factors)), n // max(len(factors), 1))
    return frame_of([*keys, named.gather(turn), *as_columns(values)])


def in_blocks(kept: Iterator[Kept], size: Callable[[Kept], int]) -> Iterator[list[Kept]]:
    """Group what is kept of periods, so that a group holds not many more than MOST_NUMBERS."""
    while True:
        some: list[Kept] = []
        total = 0
        # Threads of BLAS would cost more than they save.
        with one_blas_thread():
            for one in kept:
                some.append(one)
                total += size(one)
                if total >= MOST_NUMBERS:
                    break
        if not some:
            return
        yield some
