"""What can be wrong with a panel or a fit, each message written by one constructor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from vbase_py_utils.text import listed, one_line


def _rows(count: int, *, at_least: bool) -> str:
    return f"{'at least ' if at_least else ''}{count} row{'' if count == 1 else 's'}"


class VbaseError(Exception):
    """Base class of every error this library defines.

    Examples
    --------
    >>> from vbase_py_utils import FitError, PanelError, VbaseError
    >>> issubclass(PanelError, VbaseError), issubclass(FitError, VbaseError)
    (True, True)
    """


class PanelError(VbaseError, ValueError):
    """The panel, or the columns named for it, cannot be used.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import PanelError, factor_returns
    >>> panel = pl.DataFrame({"period": [1], "asset": ["A"], "return": [0.01], "beta": ["high"]})
    >>> try:
    ...     factor_returns(panel, "beta")
    ... except PanelError as error:
    ...     print(error)
    exposure column 'beta' is String, expected a numeric type: cast it first
    """

    @classmethod
    def missing_columns(
        cls, role: str, missing: Sequence[str], available: Sequence[str], frame: str = "the panel"
    ) -> Self:
        """Build the error for columns that are not in the frame."""
        return cls(
            f"{role} {listed(missing)} not in {frame}, whose columns are {listed(available)}"
        )

    @classmethod
    def not_numeric(cls, role: str, column: str, dtype: object) -> Self:
        """Build the error for a value column of another kind than numbers."""
        return cls(f"{role} column {column!r} is {dtype}, expected a numeric type: cast it first")

    @classmethod
    def no_numbers(cls, column: str, count: int, example: str) -> Self:
        """Build the error for text where numbers should be."""
        rows = _rows(count, at_least=False)
        return cls(f"column {column!r} holds no number in {rows}, for example {example!r}")

    @classmethod
    def bad_key_type(cls, role: str, column: str, dtype: object) -> Self:
        """Build the error for a key column that cannot be hashed and sorted."""
        return cls(
            f"{role} column {column!r} is {dtype}, "
            "expected a plain type such as a date, a string or an integer"
        )

    @classmethod
    def no_exposures(cls, *, or_intercept: bool = False) -> Self:
        """Build the error for an empty list of exposures."""
        instead = ", or intercept=True" if or_intercept else ""
        return cls(f"no exposures given, expected at least one column name{instead}")

    @classmethod
    def repeated_exposures(cls, names: Sequence[object]) -> Self:
        """Build the error for an exposure named more than once."""
        return cls(f"exposures named more than once: {listed(names)}; expected each name once")

    @classmethod
    def repeated_factors(cls, names: Sequence[object]) -> Self:
        """Build the error for factors of one name."""
        return cls(
            f"factors named more than once: {listed(names)}; expected exposures, intercept and "
            "categories to have different names"
        )

    @classmethod
    def no_categories(cls, column: str, dtype: object, *, text: bool) -> Self:
        """Build the error for a column whose categories are not known from its type."""
        if text:
            return cls(
                f"category column {column!r} is {dtype}, expected an Enum, since the factors of a "
                "lazy query must be known before it runs: cast it to pl.Enum(names)"
            )
        return cls(
            f"category column {column!r} is {dtype}, expected text or an Enum: cast it first"
        )

    @classmethod
    def shared_column(cls, column: str, roles: Sequence[str]) -> Self:
        """Build the error for one column in two roles that exclude each other."""
        return cls(
            f"column {column!r} is named as {' and as '.join(roles)}, expected a column for each"
        )

    @classmethod
    def taken_name(cls, role: str, column: str) -> Self:
        """Build the error for a key column named like a column of the answer."""
        return cls(
            f"{role} column {column!r} is named like a column of the answer: rename it first"
        )

    @classmethod
    def existing_column(cls, column: str) -> Self:
        """Build the error for a column to be added that is there already."""
        return cls(f"column {column!r} is in the panel already, expected a new name")

    @classmethod
    def other_key_type(
        cls, role: str, column: str, dtype: object, theirs: object, where: str = "the fits"
    ) -> Self:
        """Build the error for a key whose type differs from that of another frame."""
        return cls(
            f"{role} column {column!r} is {dtype}, expected {theirs} as in {where}: cast it first"
        )

    @classmethod
    def missing_keys(
        cls, role: str, column: str, count: int, example: str, *, at_least: bool = False
    ) -> Self:
        """Build the error for null periods or assets; ``example`` shows such a row."""
        return cls(
            f"{role} column {column!r} is null in {_rows(count, at_least=at_least)}, "
            f"for example where {example}; expected a value in every row"
        )

    @classmethod
    def duplicate_rows(
        cls, period: str, asset: str, count: int, example: str, *, at_least: bool = False
    ) -> Self:
        """Build the error for rows that share their period and asset."""
        return cls(
            f"columns ({period!r}, {asset!r}) repeat a key in {_rows(count, at_least=at_least)}, "
            f"for example {example}; expected one row per period and asset"
        )

    @classmethod
    def repeated_periods(cls, period: str, count: int, example: str) -> Self:
        """Build the error for a wide frame with several rows for a period."""
        return cls(
            f"period column {period!r} repeats a period in {_rows(count, at_least=False)}, "
            f"for example {example}; expected one row per period"
        )

    @classmethod
    def repeated_keys(cls, columns: Sequence[str], count: int, example: str) -> Self:
        """Build the error for rows of another frame than a panel that share their keys."""
        return cls(
            f"{listed(columns)} repeat a key in {_rows(count, at_least=False)}, for example "
            f"({example}); expected one row for each"
        )

    @classmethod
    def missing_factors(cls, missing: Sequence[str], available: Sequence[str]) -> Self:
        """Build the error for factors that were asked for and are not there, or for none."""
        asked = f"factors {listed(missing)} are not there" if missing else "no factors asked for"
        return cls(f"{asked}; those there are {listed(available)}")

    @classmethod
    def nothing_shared(cls, what: str, one: Sequence[str], other: Sequence[str]) -> Self:
        """Build the error for two frames without a common period or factor; some of either."""
        return cls(
            f"no {what} is in both frames: one has {listed(one, 3)}, the other {listed(other, 3)}"
        )

    @classmethod
    def not_sorted(
        cls, period: str, count: int, now: str, before: str, *, at_least: bool = False
    ) -> Self:
        """Build the error for a panel whose periods are not in the order that was promised."""
        return cls(
            f"period column {period!r} is not sorted: it goes back in "
            f"{_rows(count, at_least=at_least)}, for example to {now} after {before}; expected "
            "ascending periods with sorted_by_period=True"
        )

    @classmethod
    def not_in_time_order(cls, column: str, use: str, what: str, instead: str) -> Self:
        """Build the error for periods whose order is not that of time.

        ``use`` needs that order, ``what`` says what the periods are, ``instead`` what to write.
        """
        return cls(f"{one_line(use)} cannot go by period column {column}: {what}; {instead}")

    @classmethod
    def not_wide(cls, odd: Mapping[str, object]) -> Self:
        """Build the error for factor returns in another form; ``odd``: columns and their types."""
        found = [f"column {name!r} is {dtype}" for name, dtype in odd.items()]
        return cls(
            f"{found[0] if found else 'there is no column beside the period'}; expected factor "
            "returns as one row per period and one numeric column per factor"
        )

    @classmethod
    def negative_weights(
        cls, name: str, count: int, example: str, *, at_least: bool = False
    ) -> Self:
        """Build the error for negative regression weights; ``name`` says where they stand."""
        return cls(
            f"{name} is negative in {_rows(count, at_least=at_least)}, "
            f"for example {example}; expected weights >= 0"
        )


class FitError(VbaseError, ValueError):
    """A period has no answer or did not converge, and the caller asked to be told.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import FitError, factor_returns
    >>> panel = pl.DataFrame({"period": [1], "asset": ["A"], "return": [0.01], "b": 1.0, "c": 2.0})
    >>> try:
    ...     factor_returns(panel, ["b", "c"], on_failure="raise")
    ... except FitError as error:
    ...     print(str(error).partition(": ")[2])
    too_few_assets: 1 usable asset for 2 exposures
    """

    @classmethod
    def failed_periods(cls, count: int, n_periods: int | None, period: str, reason: str) -> Self:
        """Build the error for periods that failed, with the first one and its reason.

        ``n_periods`` None: others are still to be fitted.
        """
        which = f"{count} of {n_periods} periods"
        if n_periods is None:
            which = f"at least {count} period{'' if count == 1 else 's'}"
        return cls(f"the fit of {which} failed, for example period {period}: {reason}")
