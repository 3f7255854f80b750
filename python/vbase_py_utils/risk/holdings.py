"""Read frames of weights: what portfolios, or a benchmark, hold of each asset in every period."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import polars as pl

from vbase_py_utils.analyse.reading import AnyFrame, Fits
from vbase_py_utils.arguments import check_name
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.one_pass import collected_as, whole_periods
from vbase_py_utils.fit.results import CrossSectionFits
from vbase_py_utils.keys import ASSET, PERIOD, check_key_type, label, missing_keys
from vbase_py_utils.panel import as_frame, by_position, holds_numbers
from vbase_py_utils.text import counted, listed, one_line, quoted

PORTFOLIO, WEIGHT = "portfolio", "weight"
BENCHMARK = "benchmark"
# Characters of a list of names in a message.
HALF_LIST = 70


@dataclass(frozen=True, slots=True)
class KeyNames:
    """The user's names and types of the keys of fits, and the names in frames of weights."""

    period: str
    asset: str
    portfolio: str
    weight: str
    period_type: pl.DataType
    asset_type: pl.DataType

    @classmethod
    def of(cls, fits: Fits, portfolio: str, weight: str) -> KeyNames:
        """Check that fits are fits, and that the four column names differ."""
        if not isinstance(fits, CrossSectionFits):
            raise TypeError(
                f"fits is a {type(fits).__name__}, expected the result of fit_cross_sections"
            )
        own = fits.estimated
        names = {
            PERIOD: own.period,
            ASSET: own.asset,
            PORTFOLIO: check_name("portfolio", portfolio),
            WEIGHT: check_name("weight", weight),
        }
        for one, other in combinations(names, 2):
            if names[one] == names[other]:
                raise PanelError.shared_column(names[one], [one, other])
        schema = fits.specific_returns.collect_schema()
        types = schema[own.period], schema[own.asset]
        return cls(own.period, own.asset, names[PORTFOLIO], names[WEIGHT], *types)

    @property
    def keys(self) -> dict[str, str]:
        """Our names of period and asset, and the user's."""
        return {PERIOD: self.period, ASSET: self.asset}

    def check_types(self, argument: str, schema: pl.Schema, *roles: str) -> None:
        """Raise PanelError unless the keys are those of the fits, in name and type."""
        types = {PERIOD: self.period_type, ASSET: self.asset_type}
        for role in roles:
            name = self.keys[role]
            if name not in schema:
                raise PanelError.missing_columns(role, [name], schema.names(), argument)
            if schema[name] != types[role]:
                raise PanelError.other_key_type(role, name, schema[name], types[role], of=argument)


@dataclass(frozen=True, slots=True)
class Weights:
    """A frame of weights, whose blocks have PERIOD, PORTFOLIO if there are several, ASSET, WEIGHT.

    Attributes
    ----------
    frame
        The frame or query.
    inner
        Inner names of the columns, and the user's.
    argument
        What messages call it.
    names
        The user's names.
    portfolio_type
        Type of the column of portfolios, ``None`` without one.
    """

    frame: pl.DataFrame | pl.LazyFrame
    inner: dict[str, str]
    argument: str
    names: KeyNames
    portfolio_type: pl.DataType | None

    @classmethod
    def of(
        cls, weights: AnyFrame, argument: str, names: KeyNames, *, portfolios: bool = True
    ) -> Weights:
        """Check the names and types of a frame; ``portfolios``: it may have several."""

        def needed(columns: list[str]) -> list[str]:
            some = [names.portfolio] if portfolios and names.portfolio in columns else []
            return [names.period, *some, names.asset, names.weight]

        frame = as_frame(weights, needed, argument)
        schema = frame.collect_schema()
        names.check_types(argument, schema, PERIOD, ASSET)
        if names.weight not in schema:
            raise PanelError.missing_columns(WEIGHT, [names.weight], schema.names(), argument)
        if not holds_numbers(schema[names.weight]):
            raise PanelError.not_numeric(WEIGHT, names.weight, schema[names.weight])
        several = portfolios and names.portfolio in schema
        if portfolios and not several and names.portfolio != PORTFOLIO:
            raise PanelError.missing_columns(PORTFOLIO, [names.portfolio], schema.names(), argument)
        inner = {PERIOD: names.period, ASSET: names.asset}
        if several:
            check_key_type(PORTFOLIO, names.portfolio, schema[names.portfolio])
            inner[PORTFOLIO] = names.portfolio
        inner[WEIGHT] = names.weight
        portfolio_type = schema[names.portfolio] if several else None
        return cls(frame, inner, argument, names, portfolio_type)

    @property
    def schema(self) -> pl.Schema:
        """Names and types of the blocks."""
        given = self.frame.collect_schema()
        own = {inside: given[name] for inside, name in self.inner.items()}
        return pl.Schema({**own, WEIGHT: pl.Float64()})

    @property
    def roles(self) -> dict[str, str]:
        """Our names of all keys, and the user's."""
        keys = (PERIOD, PORTFOLIO, ASSET)
        return {key: self.inner[key] for key in keys if key in self.inner}

    def blocks(self, *, in_order: bool) -> Iterator[pl.DataFrame]:
        """Give checked rows in blocks of whole periods, sorted by period and portfolio."""
        return map(self._checked, sorted_blocks(self.frame, self.inner, in_order=in_order))

    def _checked(self, rows: pl.DataFrame) -> pl.DataFrame:
        rows = rows.with_columns(pl.col(WEIGHT).cast(pl.Float64))
        for role, name in self.roles.items():
            absent = rows.filter(missing_keys(rows[role]))
            if not absent.is_empty():
                other = ASSET if role == PERIOD else PERIOD
                example = f"{one_line(self.roles[other])} is {one_line(label(absent[other]))}"
                raise PanelError.missing_keys(role, name, absent.height, example)
        odd = rows.filter(~pl.col(WEIGHT).is_finite().fill_null(value=False))
        if not odd.is_empty():
            raise PanelError(
                f"weight column {quoted(self.names.weight)} of {self.argument} is "
                f"{one_line(str(odd[WEIGHT][0]).replace('None', 'null'))} in "
                f"{counted(odd.height, 'row')}, for example {self._key_of(odd)}; expected a finite "
                "number in every row; a missing weight is not taken as zero"
            )
        if PORTFOLIO in rows.columns and not _are_grouped(rows):
            rows = rows.sort(PERIOD, PORTFOLIO, maintain_order=True)
        return rows

    def _key_of(self, rows: pl.DataFrame) -> str:
        return ", ".join(one_line(label(rows[role])) for role in self.roles)

    def raise_repeats(self, rows: pl.DataFrame) -> None:
        """Raise PanelError for rows of one period of which some share their keys."""
        repeats = rows.filter(rows.select(*self.roles).is_duplicated())
        several = ""
        if self.portfolio_type is None:
            several = "; a benchmark is one portfolio: filter to it"
            if self.argument != BENCHMARK:
                several = "; several portfolios need a column, which portfolio= names"
        raise PanelError(
            f"at least {counted(repeats.height, 'row')} of {self.argument} share a "
            f"({listed(self.roles.values(), room=HALF_LIST)}) key, for example "
            f"({self._key_of(repeats)}); expected one row for each{several}"
        )


def _are_grouped(rows: pl.DataFrame) -> bool:
    """Whether portfolios are sorted in every period, the periods being sorted."""
    period, portfolio = pl.col(PERIOD), pl.col(PORTFOLIO)
    grouped = (portfolio >= portfolio.shift(1)) | (period != period.shift(1))
    return bool(rows.select(grouped.fill_null(value=True).all()).item())


def sorted_blocks(
    frame: pl.DataFrame | pl.LazyFrame,
    inner: Mapping[str, str],
    *,
    in_order: bool,
) -> Iterator[pl.DataFrame]:
    """Give rows in blocks of whole periods, sorted by period, under ``inner`` names.

    ``in_order``: a query is sorted, and is read in blocks; otherwise it is held in memory.
    ``inner``: these names, and the user's.
    """
    if isinstance(frame, pl.LazyFrame) and in_order:
        blocks = whole_periods(collected_as(frame, inner), inner[PERIOD])
    else:
        column = by_position(frame.collect_schema().names())
        rows = frame.select(column[name].alias(inside) for inside, name in inner.items())
        blocks = iter([rows.lazy().collect()])
    for block in blocks:
        ordered = block[PERIOD].is_sorted()
        yield block if ordered else block.sort(PERIOD, maintain_order=True)
