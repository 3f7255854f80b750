"""The long panel: which column plays which role, and whether names, types and values allow it.

Checks of names and types read the schema alone and run when a function is called; checks of values
run on a block of whole periods, inside the query.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from vbase_py_utils.errors import PanelError

# Names inside the query, so that a user's names never meet each other or ours.
PERIOD, ASSET, RETURN, WEIGHT = "period", "asset", "return", "weight"


class ArrowStream(Protocol):
    """Anything that exports its rows as an Arrow stream: a pyarrow Table, a DuckDB relation."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give a capsule that holds an Arrow stream."""
        ...


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """The roles of the columns of a panel; ``weights`` None means equal weights."""

    period: str
    asset: str
    returns: str
    exposures: tuple[str, ...]
    weights: str | None = None

    @classmethod
    def from_names(
        cls,
        exposures: str | Iterable[str],
        *,
        returns: str,
        weights: str | None,
        period: str,
        asset: str,
    ) -> PanelSpec:
        """Check the names against each other; a single exposure may be given as a string.

        Raises PanelError for names that are repeated or in two roles, TypeError for no strings.
        """
        names = (exposures,) if isinstance(exposures, str) else tuple(exposures)
        for name in (*names, returns, period, asset, *([] if weights is None else [weights])):
            if not isinstance(name, str):
                raise TypeError(f"column names are strings, got {name!r}")
        if not names:
            raise PanelError.no_exposures()
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise PanelError.repeated_exposures(repeated)
        if period == asset:
            raise PanelError.shared_column(period, ["period", "asset"])
        for key, column in (("period", period), ("asset", asset)):
            if column in names:
                raise PanelError.shared_column(column, [key, "exposure"])
            if column == returns:
                raise PanelError.shared_column(column, [key, "returns"])
            if column == weights:
                raise PanelError.shared_column(column, [key, "weights"])
        return cls(period, asset, returns, names, weights)

    def check_names(self, schema: pl.Schema) -> None:
        """Raise PanelError when a column is not there."""
        for role, column in {**self._keys, **self._values}.items():
            if column not in schema:
                raise PanelError.missing_columns(role, [column], schema.names())
        absent = [name for name in self.exposures if name not in schema]
        if absent:
            raise PanelError.missing_columns("exposure", absent, schema.names())

    def check_schema(self, schema: pl.Schema) -> None:
        """Raise PanelError when a column is not there or has an unusable type."""
        self.check_names(schema)
        for role, column in self._keys.items():
            check_key_type(role, column, schema[column])
        for role, column in self._values.items():
            if not (schema[column].is_numeric() or schema[column] == pl.Null):
                raise PanelError.not_numeric(role, column, schema[column])
        for column in self.exposures:
            if not (schema[column].is_numeric() or schema[column] in (pl.Null, pl.Boolean)):
                raise PanelError.not_numeric("exposure", column, schema[column])

    def select(self, panel: pl.LazyFrame, schema: pl.Schema) -> pl.LazyFrame:
        """Only the columns needed, under the names inside, values Float64 with NaN for null."""
        # By position: a name such as "*" or "^x.*$" would be read as a pattern.
        positions = {name: i for i, name in enumerate(schema.names())}
        values = {
            RETURN: self.returns,
            **dict(zip(self.inner_exposures, self.exposures, strict=True)),
        }
        if self.weights is not None:
            values[WEIGHT] = self.weights
        return panel.select(
            pl.nth(positions[self.period]).alias(PERIOD),
            pl.nth(positions[self.asset]).alias(ASSET),
            *(
                pl.nth(positions[column]).cast(pl.Float64).fill_null(math.nan).alias(name)
                for name, column in values.items()
            ),
        )

    @property
    def columns(self) -> list[str]:
        """The columns of the panel that are used, each once."""
        return list(dict.fromkeys((*self._keys.values(), *self._values.values(), *self.exposures)))

    @property
    def inner_exposures(self) -> list[str]:
        """The exposures' names inside the query."""
        return [f"x{i}" for i in range(len(self.exposures))]

    @property
    def _keys(self) -> dict[str, str]:
        return {PERIOD: self.period, ASSET: self.asset}

    @property
    def _values(self) -> dict[str, str]:
        weights = {} if self.weights is None else {"weights": self.weights}
        return {"returns": self.returns, **weights}

    def check_values(self, rows: pl.DataFrame, *, partial: bool) -> None:
        """Raise PanelError for null keys, negative weights, repeated (period, asset).

        ``rows`` has the columns of ``select``; ``partial`` says that it is a part of the panel, so
        that the counts are lower bounds.
        """
        keys = self._keys
        for role, other in ((PERIOD, ASSET), (ASSET, PERIOD)):
            bad = rows.filter(missing_keys(rows[role]))
            if not bad.is_empty():
                example = f"{keys[other]} is {label(bad[other])}"
                raise PanelError.missing_keys(
                    role, keys[role], bad.height, example, at_least=partial
                )
        if self.weights is not None:
            negative = rows.filter(pl.col(WEIGHT).is_between(-math.inf, 0, closed="none"))
            if not negative.is_empty():
                raise PanelError.negative_weights(
                    f"weights column {self.weights!r}",
                    negative.height,
                    f"{negative[WEIGHT][0]} at {_key_of(negative)}",
                    at_least=partial,
                )
        if not _are_ordered(rows) and _has_repeats(rows):
            repeats = rows.filter(pl.struct(PERIOD, ASSET).is_duplicated())
            raise PanelError.duplicate_rows(
                self.period,
                self.asset,
                repeats.height,
                _key_of(repeats),
                at_least=partial,
            )

    def check_order(self, periods: pl.Series, *, partial: bool) -> None:
        """Raise PanelError when a period comes after a later one.

        ``partial`` as in ``check_values``, which complains of missing periods.
        """
        periods = periods.filter(~missing_keys(periods))
        if periods.is_sorted():
            return
        before = periods.shift(1)
        back = (periods < before).fill_null(value=False)
        raise PanelError.not_sorted(
            self.period,
            int(back.sum()),
            label(periods.filter(back)),
            label(before.filter(back)),
            at_least=partial,
        )


def _key_of(rows: pl.DataFrame) -> str:
    return f"({label(rows[PERIOD])}, {label(rows[ASSET])})"


def label(keys: pl.Series) -> str:
    """Write the first key as text; a date that Python cannot hold as its number of days."""
    try:
        return str(keys[0])
    except (ValueError, OverflowError, pl.exceptions.PanicException):
        return str(keys.to_physical()[0])


def _are_ordered(rows: pl.DataFrame) -> bool:
    """Whether (period, asset), or (asset, period), only ever increases; then none can repeat."""
    up, level = (
        {key: compare(pl.col(key), pl.col(key).shift(1)) for key in (PERIOD, ASSET)}
        for compare in (operator.gt, operator.eq)
    )
    return any(
        bool(rows.select((up[one] | (level[one] & up[other])).all()).item())
        for one, other in ((PERIOD, ASSET), (ASSET, PERIOD))
    )


def _has_repeats(rows: pl.DataFrame) -> bool:
    """Whether a (period, asset) repeats; much faster than finding which rows do."""
    distinct = rows.group_by(PERIOD).agg(pl.col(ASSET).n_unique() != pl.len())
    return bool(distinct[ASSET].any())


def check_key_type(role: str, column: str, dtype: pl.DataType) -> None:
    """Raise PanelError when a key cannot be hashed and sorted."""
    if dtype.is_nested() or dtype in (pl.Object, pl.Unknown):
        raise PanelError.bad_key_type(role, column, dtype)


def missing_keys(keys: pl.Series) -> pl.Series:
    """Whether each key is null or NaN."""
    missing = keys.is_null()
    return missing | keys.is_nan().fill_null(value=False) if keys.dtype.is_float() else missing


def as_frame(
    panel: pl.DataFrame | pl.LazyFrame | ArrowStream, argument: str = "panel"
) -> pl.DataFrame | pl.LazyFrame:
    """Take any accepted frame as Polars'; raise TypeError for other kinds given as ``argument``."""
    if isinstance(panel, pl.DataFrame | pl.LazyFrame):
        return panel
    if hasattr(panel, "__arrow_c_stream__"):
        return pl.DataFrame(panel)
    raise TypeError(
        f"{argument} is {type(panel).__name__}, "
        "expected a Polars DataFrame or LazyFrame, or an object that exports an Arrow stream"
    )
