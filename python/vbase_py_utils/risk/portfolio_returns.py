"""Returns of portfolios that are known better than from their weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.analyse.reading import AnyFrame, floats
from vbase_py_utils.errors import PanelError
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.keys import PERIOD, label, missing_keys
from vbase_py_utils.panel import as_frame, by_position, holds_numbers
from vbase_py_utils.risk.holdings import PORTFOLIO, Weights
from vbase_py_utils.risk.positions import Held, keys_of
from vbase_py_utils.text import counted, one_line

ARGUMENT = "portfolio_returns"
VALUE = "value"


@dataclass(frozen=True, slots=True)
class PortfolioReturns:
    """A frame of returns under inner names: PERIOD, PORTFOLIO if there are several, VALUE.

    ``found`` maps keys to returns once the frame has been collected.
    """

    rows: pl.DataFrame | pl.LazyFrame
    roles: dict[str, str]
    found: dict[tuple[object, ...], float] | None = None

    @classmethod
    def of(cls, given: AnyFrame, returns: str, weights: Weights) -> PortfolioReturns:
        """Check names and types; the keys are those of the weights."""
        frame = as_frame(given, list, ARGUMENT, others="need")
        schema = frame.collect_schema()
        names = weights.names
        names.check_types(ARGUMENT, schema, PERIOD)
        roles = {PERIOD: names.period}
        if weights.portfolio_type is not None:
            roles[PORTFOLIO] = names.portfolio
            if names.portfolio not in schema:
                raise PanelError.missing_columns(
                    PORTFOLIO, [names.portfolio], schema.names(), ARGUMENT
                )
            if schema[names.portfolio] != weights.portfolio_type:
                raise PanelError.other_key_type(
                    PORTFOLIO,
                    names.portfolio,
                    schema[names.portfolio],
                    weights.portfolio_type,
                    weights.argument,
                    of=ARGUMENT,
                )
        numbers = [n for n, d in schema.items() if holds_numbers(d) and n not in roles.values()]
        if returns not in numbers and len(numbers) != 1:
            raise PanelError.no_values(ARGUMENT, [returns], schema.names())
        value = returns if returns in numbers else numbers[0]
        column = by_position(schema.names())
        rows = frame.select(
            *(column[name].alias(inside) for inside, name in roles.items()),
            column[value].alias(VALUE),
        )
        return cls(rows, roles)

    def collect(self) -> PortfolioReturns:
        """Read the returns; raises PanelError for keys that are missing or repeat."""
        rows = self.rows.lazy().collect()
        for role, name in self.roles.items():
            absent = rows.filter(missing_keys(rows[role]))
            if not absent.is_empty():
                example = f"the return is {absent[VALUE][0]}"
                raise PanelError.missing_keys(role, name, absent.height, example)
        repeats = rows.filter(rows.select(*self.roles).is_duplicated())
        if not repeats.is_empty():
            example = ", ".join(one_line(label(repeats[role])) for role in self.roles)
            raise PanelError.repeated_keys(list(self.roles.values()), repeats.height, example)
        keys = zip(*(keys_of(rows[role]) for role in self.roles), strict=True)
        values = floats(rows[VALUE]).tolist()
        return replace(self, found=dict(zip(keys, values, strict=True)))

    def known(self, held: Held, there: NDArray[np.bool_]) -> FloatArray:
        """Give the returns (p,) of a period, NaN for a portfolio whose assets have none.

        ``there`` (n,): which assets have returns.
        """
        found = self.found or {}
        keys: list[tuple[object, ...]] = [(held.key,)]
        if held.portfolios is not None:
            keys = [(held.key, one) for one in keys_of(held.portfolios)]
        values = np.array([found.get(key, np.nan) for key in keys])
        lost = np.isnan(values)
        needed = lost & ((held.weights != 0) & there).any(axis=1)
        if needed.any():
            example = one_line(label(held.period))
            if held.portfolios is not None:
                name = label(held.portfolios.filter(pl.Series(needed)))
                example = f"{one_line(name)} at {example}"
            raise PanelError(
                f"portfolio_returns has no return for {counted(int(needed.sum()), 'portfolio')} of "
                f"a period whose assets have returns, for example {example}; expected one for each"
            )
        return values
