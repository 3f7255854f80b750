"""The long panel: the roles of its columns, and checks of their names, types and values.

``PanelSpec.resolve`` checks names and types, once and from the schema alone, when a public function
is called; values are checked inside the query, on blocks of whole periods: null keys, negative
weights and repeated rows are errors. Missing values are not: ``select`` makes them NaN, and
``fit/block_rows`` leaves their rows out.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol, TypeAlias, TypedDict, Unpack

import polars as pl
from polars.selectors import Selector, expand_selector

from vbase_py_utils.arguments import check_flag, check_name, check_names, check_optional_name, shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.forks import check_process
from vbase_py_utils.frames import Columns, Others, read_polars
from vbase_py_utils.keys import ASSET, PERIOD, check_key_type, check_values

# Names inside the query, like PERIOD and ASSET.
RETURN, WEIGHT = "return", "weight"
# Types of columns whose distinct values can become the categories of an Enum.
TEXT_TYPES = (pl.String, pl.Categorical, pl.Null)
# The factor to which every asset has an exposure of one.
INTERCEPT = "intercept"


class ArrowStream(Protocol):
    """Anything that exports its rows as an Arrow stream: a pyarrow Table, a DuckDB relation."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give a capsule that holds an Arrow stream."""
        ...


# Exposure columns: a name, names in the order of the answer, or a selector.
Exposures: TypeAlias = str | Iterable[str] | Selector
PolarsFrame: TypeAlias = pl.DataFrame | pl.LazyFrame


class RoleNames(TypedDict, total=False):
    """The arguments besides the exposures; meanings in ``factor_returns``."""

    intercept: bool
    categories: Mapping[str, str | None] | None
    returns: str
    weights: str | None
    period: str
    asset: str


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of columns by name, before the panel is seen.

    ``categories`` maps columns of categories to columns of weights; ``None`` weights equally.
    """

    period: str
    asset: str
    returns: str
    exposures: tuple[str, ...]
    weights: str | None = None
    intercept: bool = False
    categories: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        exposures: str | Iterable[str],
        *,
        returns: str = "return",
        weights: str | None = None,
        period: str = "period",
        asset: str = "asset",
        intercept: bool = False,
        categories: Mapping[str, str | None] | None = None,
    ) -> Roles:
        """Check the names against each other; a single exposure may be given as a string.

        Raises PanelError for a name that is repeated or has two roles, TypeError for anything but
        names.
        """
        roles = Roles(
            check_name("period", period),
            check_name("asset", asset),
            check_name("returns", returns),
            check_names("exposures", exposures, "a list of column names, or a selector"),
            check_optional_name("weights", weights),
            check_flag("intercept", intercept),
            _checked_categories(categories),
        )
        if not (roles.exposures or roles.intercept):
            raise PanelError.no_exposures(or_intercept=bool(roles.categories))
        repeated = [name for name, count in Counter(roles.exposures).items() if count > 1]
        if repeated:
            raise PanelError.repeated_exposures(repeated)
        if roles.period == roles.asset:
            raise PanelError.shared_column(roles.period, ["period", "asset"])
        for key, column in (("period", roles.period), ("asset", roles.asset)):
            for role, name in roles._values:
                if name == column:
                    raise PanelError.shared_column(column, [key, role])
        return roles

    @property
    def _values(self) -> list[tuple[str, str]]:
        """Role and name of every column that is not a key."""
        categories = self.categories.items()
        several = [
            ("returns", self.returns),
            ("weights", self.weights),
            *(("exposure", name) for name in self.exposures),
            *(("category", column) for column, _ in categories),
            *(("category weights", weights) for _, weights in categories),
        ]
        return [(role, name) for role, name in several if name is not None]

    @property
    def columns(self) -> list[str]:
        """The columns of the panel that are used, each once."""
        return list(dict.fromkeys((self.period, self.asset, *(name for _, name in self._values))))

    def check_present(self, names: Sequence[str]) -> None:
        """Raise PanelError if columns are missing; it names those of the first such role."""
        absent: dict[str, list[str]] = {}
        there = set(names)
        for role, name in (("period", self.period), ("asset", self.asset), *self._values):
            if name not in there:
                absent.setdefault(role, []).append(name)
        for role, missing in absent.items():
            raise PanelError.missing_columns(role, missing, names)

    def check_types(self, schema: pl.Schema) -> None:
        """Raise PanelError when a column has a type that its role does not allow."""
        for role, name in (("period", self.period), ("asset", self.asset)):
            check_key_type(role, name, schema[name])
        for role, name in self._values:
            if role == "category":
                continue  # its type gives the categories, see PanelSpec._of
            if not holds_numbers(schema[name], or_booleans=role == "exposure"):
                raise PanelError.not_numeric(role, name, schema[name])


def _checked_categories(categories: object) -> Mapping[str, str | None]:
    """Take a dictionary of names; raise TypeError for anything else."""
    if categories is None:
        return {}
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
    return {check_name("categories", column): weights for column, weights in categories.items()}


@dataclass(frozen=True, slots=True)
class Family:
    """A column of categories, each of which is a factor.

    The factor returns sum to zero, weighted by the sums of ``weights``; ``None`` weights equally.
    """

    column: str
    weights: str | None
    categories: tuple[str, ...]

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors, such as ``sector=Energy``."""
        return tuple(f"{self.column}={category}" for category in self.categories)


@dataclass(frozen=True, slots=True)
class PanelSpec(Roles):
    """The roles of the columns of a panel, checked against it, and its categories."""

    families: tuple[Family, ...] = ()

    @classmethod
    def resolve(
        cls, panel: PolarsFrame | ArrowStream, exposures: Exposures, **names: Unpack[RoleNames]
    ) -> tuple[PolarsFrame, PanelSpec]:
        """Read the columns of a panel, and check their names and types.

        A selector takes the columns that have no other role. In memory, a text column of categories
        becomes an Enum of its sorted distinct values. Raises PanelError and TypeError for names and
        types, as ``factor_returns`` does.
        """
        if isinstance(exposures, Selector):
            names_beside: RoleNames = {**names, "intercept": True}
            beside = Roles.of((), **names_beside).columns
            panel = as_frame(panel, beside, others="offer")
            matched = selected("exposures", exposures, panel.collect_schema())
            exposures = [name for name in matched if name not in beside]
        roles = Roles.of(exposures, **names)
        frame = as_frame(panel, roles.columns)
        schema = frame.collect_schema()
        roles.check_present(schema.names())
        if roles.categories and isinstance(frame, pl.DataFrame):
            frame = _with_enums(frame, roles.categories)
            schema = frame.schema
        spec = cls._of(roles, schema)
        roles.check_types(schema)
        return frame, spec

    @classmethod
    def _of(cls, roles: Roles, schema: pl.Schema) -> PanelSpec:
        """Take the factors from the Enum types of the columns of categories."""
        families = []
        for column, weights in roles.categories.items():
            dtype = schema[column]
            if not isinstance(dtype, pl.Enum):
                raise PanelError.no_categories(column, dtype, text=dtype in TEXT_TYPES)
            families.append(Family(column, weights, tuple(dtype.categories)))
        given = {own.name: getattr(roles, own.name) for own in fields(roles)}
        spec = cls(**given, families=tuple(families))
        repeated = [name for name, count in Counter(spec.factors).items() if count > 1]
        if repeated:
            raise PanelError.repeated_factors(repeated)
        if spec.period in spec.factors:
            raise PanelError.shared_column(spec.period, ["period", "factor"])
        return spec

    def select(self, panel: pl.LazyFrame) -> pl.LazyFrame:
        """Select the needed columns, under inner names, values Float64 with NaN for null.

        Categories become their positions, -1 for null.
        """
        column = by_position(panel.collect_schema().names())
        codes = zip(self.inner_categories, self.families, strict=True)
        return panel.select(
            column[self.period].alias(PERIOD),
            column[self.asset].alias(ASSET),
            *(
                column[family.column].to_physical().cast(pl.Int64).fill_null(-1).alias(name)
                for name, family in codes
            ),
            *(
                column[name].cast(pl.Float64).fill_null(math.nan).alias(inside)
                for inside, name in self._inner_values.items()
            ),
        )

    def rows_of(self, panel: pl.DataFrame) -> pl.DataFrame:
        """Do as ``select`` on a panel in memory; without a query if no value is null."""
        keys = {PERIOD: self.period, ASSET: self.asset}
        values = {inside: panel.get_column(name) for inside, name in self._inner_values.items()}
        if self.families or any(column.has_nulls() for column in values.values()):
            return self.select(panel.lazy()).collect(engine="in-memory")
        columns = {inside: panel.get_column(name) for inside, name in keys.items()}
        columns |= {inside: column.cast(pl.Float64) for inside, column in values.items()}
        return pl.DataFrame(columns)

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of all factors, in the order of the answer."""
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
    def _inner_values(self) -> dict[str, str]:
        """The columns of numbers, by their names inside the query."""
        values = {RETURN: self.returns}
        values |= dict(zip(self.inner_exposures, self.exposures, strict=True))
        if self.weights is not None:
            values[WEIGHT] = self.weights
        return values | self._category_weights

    @property
    def _category_weights(self) -> dict[str, str]:
        weights = {f"m{i}": family.weights for i, family in enumerate(self.families)}
        return {inside: name for inside, name in weights.items() if name is not None}

    def check_values(self, rows: pl.DataFrame, *, partial: bool) -> None:
        """Check the values of ``rows``, the result of ``select``; see ``keys.check_values``."""
        weights = {name: ("category weights", w) for name, w in self._category_weights.items()}
        if self.weights is not None:
            weights[WEIGHT] = ("weights", self.weights)
        check_values(rows, self.period, self.asset, weights, partial=partial)


def _with_enums(panel: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """Turn text columns of categories into Enums of their sorted distinct values."""
    enums = []
    for name in columns:
        column = panel.get_column(name)
        if column.dtype in TEXT_TYPES:
            # Without its name, which Polars might read as a pattern.
            text = column.alias("").cast(pl.String)
            categories = text.unique().drop_nulls().sort()
            enums.append(text.cast(pl.Enum(categories)).alias(name))
    return panel.with_columns(enums) if enums else panel


def by_position(names: Iterable[str]) -> dict[str, pl.Expr]:
    """Express every column of a frame by its position.

    Polars would read a name such as "*" or "^x$" as a pattern.
    """
    return {name: pl.nth(i) for i, name in enumerate(names)}


def holds_numbers(dtype: pl.DataType, *, or_booleans: bool = False) -> bool:
    """Whether a column of values holds numbers; a column of nulls does."""
    return dtype.is_numeric() or dtype == pl.Null or (or_booleans and dtype == pl.Boolean)


def selected(argument: str, selector: Selector, schema: pl.Schema) -> list[str]:
    """List the columns that a selector matches, in the order of the schema; PanelError if none."""
    names = []
    with contextlib.suppress(pl.exceptions.ColumnNotFoundError):
        names = list(expand_selector(schema, selector))
    if not names:
        raise PanelError.nothing_selected(argument, schema.names())
    return names


def as_frame(
    panel: PolarsFrame | ArrowStream,
    columns: Columns,
    argument: str = "panel",
    *,
    others: Others = "drop",
) -> PolarsFrame:
    """Make a Polars frame of any accepted frame; see ``read_foreign``.

    Also raises RuntimeError in a process that was forked after Polars had started threads.
    """
    check_process()
    if isinstance(panel, pl.DataFrame | pl.LazyFrame):
        return read_polars(panel, columns, argument, others)
    from vbase_py_utils.sources import read_foreign  # noqa: PLC0415 - loads pyarrow

    return read_foreign(panel, columns, argument, others)
