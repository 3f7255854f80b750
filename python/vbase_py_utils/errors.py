"""Errors about a panel or a fit; each message is written by one constructor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Self

from vbase_py_utils.text import counted, listed, one_line, quoted, type_name

# Characters of an example in a message, and of each list of names if it has two.
EXAMPLE_CHARACTERS, HALF_LIST = 80, 70


def _example(text: str) -> str:
    """Write an example of keys or values on one line, shortened."""
    return one_line(text, EXAMPLE_CHARACTERS)


def _columns(names: Sequence[str]) -> str:
    """Count the columns of a frame, and name the first."""
    if not names:
        return "no columns"
    count = "the column" if len(names) == 1 else f"{len(names)} columns:"
    return f"{count} {listed(names, room=HALF_LIST)}"


def _closest(name: str, names: Sequence[str]) -> str | None:
    """Find the name that the caller probably meant."""
    lower = {other.lower(): other for other in reversed(names)}
    found = get_close_matches(str(name).lower(), lower, n=1)
    return lower[found[0]] if found else None


def _row_count(count: int, *, at_least: bool) -> str:
    return ("at least " if at_least else "") + counted(count, "row")


class VbaseError(Exception):
    """Base class of every error this library defines; the message is one line.

    If an expression raises the error, Polars appends where it was raised; that part is dropped.

    Examples
    --------
    >>> from vbase_py_utils import FitError, PanelError, VbaseError
    >>> issubclass(PanelError, VbaseError), issubclass(FitError, VbaseError)
    (True, True)
    """

    def __init__(self, *args: object) -> None:
        """Keep the message up to the first empty line, after which Polars appends text."""
        super().__init__(*(a.partition("\n\n")[0] if isinstance(a, str) else a for a in args))


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
        cls,
        role: str,
        missing: Sequence[str],
        available: Sequence[str],
        frame: str = "the panel",
    ) -> Self:
        """Build the error for columns that are not in the frame; ``role`` may be empty.

        The message suggests the column whose name is closest to the first.
        """
        noun, are = ("column", "is") if len(missing) == 1 else ("columns", "are")
        close = _closest(missing[0], available)
        hint = "" if close is None else f" (did you mean {quoted(close, HALF_LIST // 2)}?)"
        return cls(
            f"{role} {noun} {listed(missing, room=HALF_LIST)} {are} not in {frame}{hint}; "
            f"it has {_columns(available)}".lstrip()
        )

    @classmethod
    def nothing_selected(cls, argument: str, available: Sequence[str]) -> Self:
        """Build the error for a selector that matches no column, or names one that is missing."""
        return cls(
            f"{argument} is a selector whose columns are not in the panel; "
            f"it has {_columns(available)}"
        )

    @classmethod
    def not_numeric(cls, role: str, column: str, dtype: object) -> Self:
        """Build the error for a column of values that are not numbers; ``role`` may be empty."""
        what = f"{role} column {quoted(column)}".lstrip()
        return cls(f"{what} is {type_name(dtype)}, expected a numeric type: cast it first")

    @classmethod
    def unequal_lengths(cls, column: str, rows: int, first: str, expected: int) -> Self:
        """Build the error for a column that has not as many rows of a group as the ``first``."""
        return cls(
            f"column {quoted(column)} has {_row_count(rows, at_least=False)} of a group, expected "
            f"{expected} as in column {quoted(first)}, or a single number"
        )

    @classmethod
    def no_numbers(cls, column: str, count: int, example: str) -> Self:
        """Build the error for text where numbers should be."""
        rows = _row_count(count, at_least=False)
        shown = quoted(example)
        return cls(f"column {quoted(column)} holds no number in {rows}, for example {shown}")

    @classmethod
    def bad_key_type(cls, role: str, column: str, dtype: object) -> Self:
        """Build the error for a key column that cannot be hashed and sorted."""
        return cls(
            f"{role} column {quoted(column)} is {type_name(dtype)}, "
            "expected a plain type such as a date, a string or an integer"
        )

    @classmethod
    def no_exposures(cls, *, or_intercept: bool = False) -> Self:
        """Build the error for an empty list of exposures."""
        instead = ", or intercept=True" if or_intercept else ""
        return cls(f"no exposures given, expected at least one column name{instead}")

    @classmethod
    def repeated_exposures(cls, names: Sequence[object], argument: str = "exposures") -> Self:
        """Build the error for an exposure, or a column of another argument, named twice."""
        return cls(f"{argument} named more than once: {listed(names)}; expected each name once")

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
                f"category column {quoted(column)} is {type_name(dtype)}, "
                "expected an Enum, since the factors of a lazy query must be known before it runs: "
                "cast it to pl.Enum(names)"
            )
        return cls(
            f"category column {quoted(column)} is {type_name(dtype)}, "
            "expected text or an Enum: cast it first"
        )

    @classmethod
    def shared_column(cls, column: str, roles: Sequence[str]) -> Self:
        """Build the error for one column in two roles that exclude each other."""
        return cls(
            f"column {quoted(column)} is named as {' and as '.join(roles)}, "
            "expected a column for each"
        )

    @classmethod
    def taken_name(cls, role: str, column: str) -> Self:
        """Build the error for a key column named like a column of the answer."""
        return cls(
            f"{role} column {quoted(column)} is named like a column of the answer: rename it first"
        )

    @classmethod
    def existing_column(cls, column: str) -> Self:
        """Build the error for a new column whose name is taken."""
        return cls(f"column {quoted(column)} is in the panel already, expected a new name")

    @classmethod
    def other_key_type(
        cls,
        role: str,
        column: str,
        dtype: object,
        theirs: object,
        where: str = "the fits",
        *,
        of: str | None = None,
    ) -> Self:
        """Build the error for a key of another type than in ``where``; ``of``: its own frame."""
        frame = "" if of is None else f" of {of}"
        return cls(
            f"{role} column {quoted(column)}{frame} is {type_name(dtype)}, "
            f"expected {type_name(theirs)} as in {where}: cast it first"
        )

    @classmethod
    def missing_keys(
        cls, role: str, column: str, count: int, example: str, *, at_least: bool = False
    ) -> Self:
        """Build the error for null periods or assets; ``example`` shows such a row."""
        return cls(
            f"{role} column {quoted(column)} is null in {_row_count(count, at_least=at_least)}, "
            f"for example where {_example(example)}; expected a value in every row"
        )

    @classmethod
    def duplicate_rows(
        cls, period: str, asset: str, count: int, example: str, *, at_least: bool = False
    ) -> Self:
        """Build the error for rows that share their period and asset."""
        return cls(
            f"{_row_count(count, at_least=at_least)} share a ({quoted(period, HALF_LIST // 2)}, "
            f"{quoted(asset, HALF_LIST // 2)}) key, for example {_example(example)}; "
            "expected one row per period and asset"
        )

    @classmethod
    def repeated_periods(cls, period: str, count: int, example: str) -> Self:
        """Build the error for a wide frame with several rows for a period."""
        return cls(
            f"period column {quoted(period)} repeats a period in "
            f"{_row_count(count, at_least=False)}, for example {_example(example)}; "
            "expected one row per period"
        )

    @classmethod
    def repeated_keys(cls, columns: Sequence[str], count: int, example: str) -> Self:
        """Build the error for rows of another frame than a panel that share their keys."""
        return cls(
            f"{_row_count(count, at_least=False)} share a ({listed(columns, room=HALF_LIST)}) key, "
            f"for example ({_example(example)}); expected one row for each"
        )

    @classmethod
    def missing_factors(cls, missing: Sequence[str], available: Sequence[str]) -> Self:
        """Build the error for unknown factors, or for an empty list of factors."""
        asked = "no factors given"
        if missing:
            asked = f"no such factors: {listed(missing, room=HALF_LIST)}"
        return cls(f"{asked}; the factors are {listed(available, room=HALF_LIST)}")

    @classmethod
    def nothing_shared(cls, what: str, one: Sequence[str], other: Sequence[str]) -> Self:
        """Build the error for two frames without a common period or factor; shows some of each."""
        return cls(
            f"no {what} is in both frames: one has {listed(one, 3, HALF_LIST)}, "
            f"the other {listed(other, 3, HALF_LIST)}"
        )

    @classmethod
    def not_sorted(
        cls, period: str, count: int, now: str, before: str, *, at_least: bool = False
    ) -> Self:
        """Build the error for periods that are not sorted despite ``sorted_by_period=True``."""
        return cls(
            f"period column {quoted(period)} is not sorted: it goes back in "
            f"{_row_count(count, at_least=at_least)}, for example to {one_line(now)} after "
            f"{one_line(before)}; "
            "expected ascending periods with sorted_by_period=True"
        )

    @classmethod
    def not_in_time_order(cls, column: str, use: str, what: str, instead: str) -> Self:
        """Build the error for periods that do not sort as time.

        ``use`` needs that order, ``what`` describes the periods, ``instead`` suggests a fix.
        """
        return cls(
            f"{one_line(use)} needs the order of time, which period column {column} does not give: "
            f"{what}; {instead}"
        )

    @classmethod
    def not_wide(cls, odd: Mapping[str, object]) -> Self:
        """Build the error for factor returns that are not wide; ``odd``: columns and types."""
        found = [f"column {quoted(name)} is {type_name(dtype)}" for name, dtype in odd.items()]
        return cls(
            f"{found[0] if found else 'there is no column besides the period'}; expected factor "
            "returns as one row per period and one numeric column per factor"
        )

    @classmethod
    def odd_period(cls, argument: str, shown: str, column: str, dtype: object) -> Self:
        """Build the error for a period in an argument that has another type than the column."""
        return cls(
            f"{argument} is {_example(shown)}, expected {type_name(dtype)} as in period column "
            f"{quoted(column)}"
        )

    @classmethod
    def unknown_periods(cls, argument: str, count: int, example: str, column: str) -> Self:
        """Build the error for periods in an argument that the frame does not have."""
        return cls(
            f"{argument} has {counted(count, 'period')} that period column {quoted(column)} does "
            f"not have, for example {_example(example)}"
        )

    @classmethod
    def not_later(cls, label: str, last: str, column: str) -> Self:
        """Build the error for a next period that is not later than the last one."""
        return cls(
            f"next_period is {_example(label)}, expected a period later than {_example(last)}, the "
            f"last in period column {quoted(column)}"
        )

    @classmethod
    def taken_factor(cls, name: str) -> Self:
        """Build the error for a factor named like something else in the frames of risk."""
        return cls(f"a factor is named {quoted(name)}, which has another meaning here: rename it")

    @classmethod
    def other_factors(cls, argument: str, lacking: Sequence[str], unknown: Sequence[str]) -> Self:
        """Build the error for a frame of other factors than those of the fits."""
        what = f"has the factors {listed(unknown, room=HALF_LIST)}" if unknown else ""
        what += " and " if unknown and lacking else ""
        what += f"lacks {listed(lacking, room=HALF_LIST)}" if lacking else ""
        return cls(f"{argument} {what}, expected exactly the factors of the fits")

    @classmethod
    def no_risk(cls, column: str, count: int, example: str) -> Self:
        """Build the error for forecasts of risk that are zero or negative."""
        return cls(
            f"risk column {quoted(column)} is not above zero in "
            f"{_row_count(count, at_least=False)}, for example {_example(example)}; expected "
            "volatilities: filter out what has none"
        )

    @classmethod
    def no_values(cls, argument: str, known: Sequence[str], available: Sequence[str]) -> Self:
        """Build the error for a frame in which the column of values is not clear."""
        return cls(
            f"{argument} has {_columns(available)}; expected one column of floats beside the "
            f"keys, or one called {listed(known)}"
        )

    @classmethod
    def negative_weights(
        cls, name: str, count: int, example: str, *, at_least: bool = False
    ) -> Self:
        """Build the error for negative regression weights; ``name`` gives their column."""
        return cls(
            f"{name} is negative in {_row_count(count, at_least=at_least)}, "
            f"for example {_example(example)}; expected weights >= 0"
        )


class FitError(VbaseError, ValueError):
    """A period has no answer or did not converge, and the caller asked for an error.

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
    def failed_periods(
        cls, count: int, n_periods: int | None, period: str, status: str, reason: str
    ) -> Self:
        """Build the error for periods that failed, with the first one, its status and reason.

        ``n_periods`` is ``None`` if more are still to be fitted.
        """
        which = f"{count} of {n_periods} periods"
        if n_periods is None:
            which = f"at least {counted(count, 'period')}"
        return cls(
            f"the fit of {which} failed, for example period {one_line(period)}: {status}: {reason}"
        )
