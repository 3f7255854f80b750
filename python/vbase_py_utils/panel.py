"""The long panel: which column plays which role, and whether names, types and values allow it.

Checks of names and types read the schema alone and run when a function is called; checks of values
run on a block of whole periods, inside the query.
"""

from __future__ import annotations

import contextlib
import math
import operator
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import polars as pl
from polars.selectors import Selector, expand_selector

from vbase_py_utils.arguments import check_flag, check_name, check_names, check_optional_name, shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.forks import check_process
from vbase_py_utils.sources import Columns, Others, read_frame
from vbase_py_utils.text import one_line, quoted

# Names inside the query, so that a user's names never meet each other or ours.
PERIOD, ASSET, RETURN, WEIGHT = "period", "asset", "return", "weight"
# Types of columns whose distinct values can be made the categories of an Enum.
TEXT_TYPES = (pl.String, pl.Categorical, pl.Null)
# The factor that every asset has an exposure of one to.
INTERCEPT = "intercept"


class ArrowStream(Protocol):
    """Anything that exports its rows as an Arrow stream: a pyarrow Table, a DuckDB relation."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give a capsule that holds an Arrow stream."""
        ...


@dataclass(frozen=True, slots=True)
class Family:
    """A column of categories, each of which is a factor.

    The factors' returns sum to zero, weighted by the sums of the column ``weights``, None: by one.
    ``categories`` are known once the type of the column is.
    """

    column: str
    weights: str | None = None
    categories: tuple[str, ...] = ()

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors, such as ``sector=Energy``."""
        return tuple(f"{self.column}={category}" for category in self.categories)


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """The roles of the columns of a panel; ``weights`` None means equal weights."""

    period: str
    asset: str
    returns: str
    exposures: tuple[str, ...]
    weights: str | None = None
    intercept: bool = False
    families: tuple[Family, ...] = ()

    @classmethod
    def from_names(
        cls,
        exposures: str | Iterable[str],
        *,
        returns: str,
        weights: str | None,
        period: str,
        asset: str,
        intercept: bool = False,
        categories: Mapping[str, str | None] | None = None,
    ) -> PanelSpec:
        """Check the names against each other; a single exposure may be given as a string.

        Raises PanelError for a name that is repeated or has two roles, TypeError for anything but
        names.
        """
        names = check_names("exposures", exposures, "a list of column names, or a selector")
        returns, weights = check_name("returns", returns), check_optional_name("weights", weights)
        period, asset = check_name("period", period), check_name("asset", asset)
        intercept, families = check_flag("intercept", intercept), _families(categories)
        roles: list[tuple[str, str | None]] = [("exposure", name) for name in names]
        roles += [("returns", returns), ("weights", weights)]
        for family in families:
            roles += [("category", family.column), ("category weights", family.weights)]
        if not (names or intercept):
            raise PanelError.no_exposures(or_intercept=bool(families))
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise PanelError.repeated_exposures(repeated)
        if period == asset:
            raise PanelError.shared_column(period, ["period", "asset"])
        for key, column in (("period", period), ("asset", asset)):
            for role, name in roles:
                if name == column:
                    raise PanelError.shared_column(column, [key, role])
        return cls(period, asset, returns, names, weights, intercept, families)

    def with_enums(self, panel: pl.DataFrame) -> pl.DataFrame:
        """Make columns of categories that are text Enums of their sorted distinct values."""
        self.check_names(panel.schema)
        enums = []
        for family in self.families:
            column = panel.get_column(family.column)
            if column.dtype in TEXT_TYPES:
                # Without its name, which Polars might read as a pattern.
                text = column.alias("").cast(pl.String)
                names = text.unique().drop_nulls().sort()
                enums.append(text.cast(pl.Enum(names)).alias(family.column))
        return panel.with_columns(enums) if enums else panel

    def with_categories(self, schema: pl.Schema) -> PanelSpec:
        """Learn the factors from the types of the columns of categories.

        Raises PanelError when a column is not there or no Enum, or a name would repeat.
        """
        self.check_names(schema)
        families = []
        for family in self.families:
            dtype = schema[family.column]
            if not isinstance(dtype, pl.Enum):
                text = dtype in TEXT_TYPES
                raise PanelError.no_categories(family.column, dtype, text=text)
            families.append(replace(family, categories=tuple(dtype.categories)))
        spec = replace(self, families=tuple(families))
        repeated = [name for name, count in Counter(spec.factors).items() if count > 1]
        if repeated:
            raise PanelError.repeated_factors(repeated)
        if spec.period in spec.factors:
            raise PanelError.shared_column(spec.period, ["period", "factor"])
        return spec

    def check_names(self, schema: pl.Schema) -> None:
        """Raise PanelError when a column is not there."""
        for role, column in {**self._keys, **self._values}.items():
            if column not in schema:
                raise PanelError.missing_columns(role, [column], schema.names())
        families = [family.column for family in self.families]
        for role, names in (("exposure", self.exposures), ("category", families)):
            absent = [name for name in names if name not in schema]
            if absent:
                raise PanelError.missing_columns(role, absent, schema.names())
        for column in self._category_weights.values():
            if column not in schema:
                raise PanelError.missing_columns("category weights", [column], schema.names())

    def check_schema(self, schema: pl.Schema) -> None:
        """Raise PanelError when a column is not there or has an unusable type."""
        self.check_names(schema)
        for role, column in self._keys.items():
            check_key_type(role, column, schema[column])
        category_weights = [("category weights", name) for name in self._category_weights.values()]
        for role, column in (*self._values.items(), *category_weights):
            if not holds_numbers(schema[column]):
                raise PanelError.not_numeric(role, column, schema[column])
        for column in self.exposures:
            if not holds_numbers(schema[column], or_booleans=True):
                raise PanelError.not_numeric("exposure", column, schema[column])

    def select(self, panel: pl.LazyFrame, schema: pl.Schema) -> pl.LazyFrame:
        """Only the columns needed, under the names inside, values Float64 with NaN for null.

        Categories are their positions, -1 for null.
        """
        # By position: a name such as "*" or "^x.*$" would be read as a pattern.
        positions = {name: i for i, name in enumerate(schema.names())}
        values = {
            RETURN: self.returns,
            **dict(zip(self.inner_exposures, self.exposures, strict=True)),
        }
        if self.weights is not None:
            values[WEIGHT] = self.weights
        values |= self._category_weights
        codes = zip(self.inner_categories, self.families, strict=True)
        return panel.select(
            pl.nth(positions[self.period]).alias(PERIOD),
            pl.nth(positions[self.asset]).alias(ASSET),
            *(
                pl.nth(positions[family.column])
                .to_physical()
                .cast(pl.Int64)
                .fill_null(-1)
                .alias(name)
                for name, family in codes
            ),
            *(
                pl.nth(positions[column]).cast(pl.Float64).fill_null(math.nan).alias(name)
                for name, column in values.items()
            ),
        )

    @property
    def columns(self) -> list[str]:
        """The columns of the panel that are used, each once."""
        own = (*self._keys.values(), *self._values.values(), *self.exposures)
        families = (family.column for family in self.families)
        return list(dict.fromkeys((*own, *families, *self._category_weights.values())))

    @property
    def factors(self) -> tuple[str, ...]:
        """What has a factor return, in the order of the answer."""
        families = (name for family in self.families for name in family.factors)
        return (*([INTERCEPT] if self.intercept else []), *self.exposures, *families)

    @property
    def inner_exposures(self) -> list[str]:
        """The exposures' names inside the query."""
        return [f"x{i}" for i in range(len(self.exposures))]

    @property
    def inner_factors(self) -> list[str]:
        """The names of the estimates inside the query."""
        return [f"x{i}" for i in range(len(self.factors))]

    @property
    def inner_categories(self) -> list[str]:
        """The names of the columns of categories inside the query."""
        return [f"c{i}" for i in range(len(self.families))]

    @property
    def inner_category_weights(self) -> list[str]:
        """The names inside the query of the columns that weight categories."""
        return list(self._category_weights)

    @property
    def _category_weights(self) -> dict[str, str]:
        weights = {f"m{i}": family.weights for i, family in enumerate(self.families)}
        return {inside: name for inside, name in weights.items() if name is not None}

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
                example = f"{one_line(keys[other])} is {one_line(label(bad[other]))}"
                raise PanelError.missing_keys(
                    role, keys[role], bad.height, example, at_least=partial
                )
        weights = {name: ("category weights", w) for name, w in self._category_weights.items()}
        if self.weights is not None:
            weights[WEIGHT] = ("weights", self.weights)
        for name, (role, column) in weights.items():
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


def _families(categories: object) -> tuple[Family, ...]:
    """Take a dictionary of names as families; raise TypeError for anything else."""
    if categories is None:
        return ()
    if not isinstance(categories, Mapping):
        raise TypeError(
            f"categories is {shown(categories)}, expected a dictionary from columns to the columns "
            "that weight them, or None"
        )
    for column, weights in categories.items():
        if not (isinstance(column, str) and isinstance(weights, str | None)):
            odd = weights if isinstance(column, str) else column
            raise TypeError(
                f"categories holds {shown(odd)}, expected column names, or None for equal weights"
            )
    return tuple(Family(check_name("categories", c), w) for c, w in categories.items())


def _key_of(rows: pl.DataFrame) -> str:
    return f"({one_line(label(rows[PERIOD]))}, {one_line(label(rows[ASSET]))})"


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
    odd = isinstance(dtype, pl.BaseExtension) or dtype in (pl.Object, pl.Unknown)
    if odd or dtype.is_nested():
        raise PanelError.bad_key_type(role, column, dtype)


def holds_numbers(dtype: pl.DataType, *, or_booleans: bool = False) -> bool:
    """Whether a column of values holds numbers; one of nothing but nulls does."""
    return dtype.is_numeric() or dtype == pl.Null or (or_booleans and dtype == pl.Boolean)


def selected(argument: str, selector: Selector, schema: pl.Schema) -> list[str]:
    """List the columns that a selector matches, in the order of the schema; PanelError if none."""
    names = []
    with contextlib.suppress(pl.exceptions.ColumnNotFoundError):
        names = list(expand_selector(schema, selector))
    if not names:
        raise PanelError.nothing_selected(argument, schema.names())
    return names


def missing_keys(keys: pl.Series) -> pl.Series:
    """Whether each key is null or NaN."""
    missing = keys.is_null()
    return missing | keys.is_nan().fill_null(value=False) if keys.dtype.is_float() else missing


def as_frame(
    panel: pl.DataFrame | pl.LazyFrame | ArrowStream,
    columns: Columns,
    argument: str = "panel",
    *,
    others: Others = "drop",
) -> pl.DataFrame | pl.LazyFrame:
    """Make a Polars frame of any frame that is accepted; see ``read_frame``.

    Raises also RuntimeError in a process that was forked after Polars had started threads.
    """
    check_process()
    return read_frame(panel, columns, argument, others)
