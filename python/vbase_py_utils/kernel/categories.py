"""Fits in which every category of a column is a factor, and their weighted returns sum to zero.

In a period with m categories a family adds m - 1 columns to X, all but that of one category, which
is left out. Beside an intercept they are dummies: their coefficients are differences from the
category left out, from which the constraint makes factor returns, and an intercept. So a category
whose rows have next to no weight keeps its digits. Without an intercept the constraint must be in
the columns: of category j, 1 in its rows and -c_j / c_d in those of d, the category left out, with
c the weights. The columns depend on the period, and so does their number: periods with equal
numbers are fitted together. Arrays in, arrays out; the solver does not know of categories.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.covariance import CovType
from vbase_py_utils.kernel.estimators import estimate, estimate_and_assess
from vbase_py_utils.kernel.inference import Inference
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.period_fits import Done, PeriodFits, SolverOptions, fitted_values
from vbase_py_utils.kernel.stacks import Exposures, columns_of

# Periods are laid out for the solver together until they hold this many numbers, 64 MB.
PART_CELLS = 2**23


@dataclass(frozen=True, slots=True)
class Members:
    """Which of ``n_categories`` each row belongs to.

    ``codes`` (N,): the position of its category, -1 if it has none. ``weights`` (N,) >= 0: their
    sums weight the categories in the constraint; ``None`` weights all equally.
    """

    codes: NDArray[np.int64]
    n_categories: int
    weights: FloatArray | None


class Part(NamedTuple):
    """Periods (P,) of equal numbers of columns, as ``fit_periods`` wants them.

    ``X``: k columns (R,). ``starts`` (P + 1,). ``usable`` (R,): where their rows are among all
    usable ones, ``rows`` (R,): among all rows. The factor returns of the q factors ``present``
    (P, q) are ``combinations`` (P, q, k) of the coefficients; ``named`` (P, q, k): which factors
    are collinear when a column is.
    """

    periods: NDArray[np.intp]
    X: list[FloatArray]
    starts: NDArray[np.intp]
    usable: slice | NDArray[np.intp]
    rows: slice | NDArray[np.intp]
    present: NDArray[np.intp]
    combinations: FloatArray
    named: NDArray[np.bool_]


def fit_families(
    X: Exposures,
    families: Sequence[Members],
    y: FloatArray,
    w: FloatArray | None,
    starts: NDArray[np.intp],
    options: SolverOptions,
    rows: NDArray[np.intp] | None = None,
    done: Done | None = None,
    *,
    intercept: bool,
) -> PeriodFits:
    """Fit every period of a block.

    Arguments as for ``fit_periods``; ``intercept`` says that the first column of X is ones. The
    record's factors (K) are the columns of X, then the categories of each family; NaN for those
    that have no usable row in a period.
    """
    columns = columns_of(X)
    fits = PeriodFits.unanswered(len(starts) - 1, _n_factors(columns, families))
    for part in parts_of(columns, families, w, starts, rows, intercept=intercept):
        part_w = None if w is None else w[part.rows]
        part_fits = estimate(
            part.X, y[part.rows], part_w, part.starts, options, done=done, n_numeric=len(columns)
        )
        _put_fits(fits, part, part_fits)
    return fits


def fit_and_assess_families(
    X: Exposures,
    families: Sequence[Members],
    y: FloatArray,
    w: FloatArray | None,
    starts: NDArray[np.intp],
    options: SolverOptions,
    rows: NDArray[np.intp] | None = None,
    done: Done | None = None,
    *,
    intercept: bool,
    cov_type: CovType | None,
) -> tuple[PeriodFits, Inference]:
    """Fit every period of a block as ``fit_families``, and assess the fits."""
    columns = columns_of(X)
    n_periods, n_factors = len(starts) - 1, _n_factors(columns, families)
    fits = PeriodFits.unanswered(n_periods, n_factors)
    trust = Inference.unknown(n_periods, n_factors, starts[-1])
    for part in parts_of(columns, families, w, starts, rows, intercept=intercept):
        part_fits, part_trust = estimate_and_assess(
            part.X,
            y[part.rows],
            None if w is None else w[part.rows],
            part.starts,
            options,
            done=done,
            cov_type=cov_type,
            n_numeric=len(columns),
            combinations=part.combinations,
        )
        _put_fits(fits, part, part_fits)
        _put_trust(trust, part, part_trust)
    return fits, trust


def _n_factors(columns: Sequence[FloatArray], families: Sequence[Members]) -> int:
    return len(columns) + sum(family.n_categories for family in families)


def _put_fits(fits: PeriodFits, part: Part, part_fits: PeriodFits) -> None:
    """Put the fits of a part into the record of all periods, as factor returns."""
    at = part.periods[:, None], part.present
    fits.coefficients[at] = _combined(part.combinations, part_fits.coefficients)
    fits.collinear[at] = (part.named & part_fits.collinear[:, None, :]).any(axis=2)
    for name in ("scale", "n_iter", "status", "n_estimated", "only_start_deficient"):
        getattr(fits, name)[part.periods] = getattr(part_fits, name)


def _put_trust(trust: Inference, part: Part, part_trust: Inference) -> None:
    """Put the assessment of a part into the record of all periods."""
    for name in ("std_errors", "freedom"):
        getattr(trust, name)[part.periods[:, None], part.present] = getattr(part_trust, name)
    for name in ("robustness_weights", "leverages"):
        getattr(trust, name)[part.usable] = getattr(part_trust, name)
    for name in ("r_squared", "robust_r_squared", "condition_numbers", "n_downweighted"):
        getattr(trust, name)[part.periods] = getattr(part_trust, name)


def _combined(combinations: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Combine coefficients (P, k) to (P, q); NaN only where one that is in it is no number."""
    held = np.isfinite(coefficients)
    combined = (combinations @ np.where(held, coefficients, 0.0)[:, :, None])[:, :, 0]
    in_it = combinations != 0
    lost = (in_it & ~held[:, None, :]).any(axis=2) | ~held.any(axis=1, keepdims=True)
    return np.where(lost, np.nan, combined)


def fitted_with_families(
    X: Exposures,
    families: Sequence[Members],
    coefficients: FloatArray,
    starts: NDArray[np.intp],
    rows: NDArray[np.intp] | None = None,
) -> FloatArray:
    """Compute the fitted value of every row of a block, as ``fitted_values``.

    ``coefficients`` (T, K) as ``fit_families`` gives them. NaN also where a category is missing or
    has no factor return.
    """
    columns = columns_of(X)
    first = len(columns)
    plain = np.ascontiguousarray(coefficients[:, :first])
    fitted = fitted_values(columns, plain, starts, rows)
    number = np.repeat(np.arange(len(coefficients)), np.diff(starts))
    for family in families:
        codes = family.codes if rows is None else family.codes[rows]
        own = np.append(
            coefficients[:, first : first + family.n_categories],
            np.full((len(coefficients), 1), np.nan),
            axis=1,
        )
        fitted += own[number, codes]
        first += family.n_categories
    return fitted


@dataclass(frozen=True, slots=True)
class _Columns:
    """What a family adds to the X of T periods, whose categories are numbered anew in each.

    ``present`` (T, m): whether a category has a row; only these have numbers. ``codes`` (M,): the
    number of each usable row's. ``column`` (T, m): column of a category, -1 if it has none.
    ``left_out`` (T,): number of the category without one. ``weights`` (T, m): those of the
    constraint, beside an intercept of sum one, else one for that category; zero where nothing is
    constrained.
    """

    intercept: bool
    present: NDArray[np.bool_]
    codes: NDArray[np.intp]
    column: NDArray[np.intp]
    left_out: NDArray[np.intp]
    weights: FloatArray

    @classmethod
    def of(
        cls,
        family: Members,
        w: FloatArray | None,
        number: NDArray[np.intp],
        n_periods: int,
        rows: NDArray[np.intp] | None,
        *,
        intercept: bool,
    ) -> _Columns:
        """Find the categories of every period; ``number`` (M,) is the period of a usable row."""
        codes = family.codes if rows is None else family.codes[rows]
        shape = n_periods, family.n_categories
        present = np.zeros(shape, dtype=np.bool_)
        present[number, codes] = True
        sums = present.astype(np.float64)
        if family.weights is not None:
            sums = _sums(family.weights, number, codes, shape, rows)
        # The category left out is the one with most information: beside an intercept the largest
        # by the weights of its rows, otherwise by its weight in the constraint, which the columns
        # are divided by.
        size = sums
        if intercept:
            size = _sums(np.ones(len(family.codes)) if w is None else w, number, codes, shape, rows)
        left_out = _greatest(size)
        has_column, weights = present.copy(), np.zeros(shape)
        bound = np.flatnonzero(sums.max(axis=1, initial=0.0) > 0)
        has_column[bound, left_out[bound]] = False
        unit = sums[bound].sum(axis=1) if intercept else sums[bound, left_out[bound]]
        weights[bound] = sums[bound] / unit[:, None]
        numbers = np.cumsum(present, axis=1) - 1
        return cls(
            intercept,
            present,
            numbers[number, codes],
            np.where(has_column, np.cumsum(has_column, axis=1) - 1, -1),
            np.take_along_axis(numbers, left_out[:, None], axis=1)[:, 0] if sums.size else left_out,
            weights,
        )

    def laid_out(self, periods: NDArray[np.intp]) -> _LaidOut:
        """Lay out the columns of ``periods``, which have equal numbers."""
        here = self.present[periods]
        shape = len(periods), int(here[0].sum())
        columns = self.column[periods][here].reshape(shape)
        weights = self.weights[periods][here].reshape(shape)
        values = np.zeros((*shape, np.count_nonzero(columns[0] >= 0)))
        period, category = np.nonzero(columns >= 0)
        column, left_out = columns[period, category], self.left_out[periods][period]
        values[period, category, column] = 1.0
        named = values != 0
        named[period, left_out, column] = True
        shares = np.zeros((len(periods), values.shape[2]))
        shares[period, column] = weights[period, category]
        if self.intercept:
            return _LaidOut(values, values - shares[:, None, :], shares, named)
        values[period, left_out, column] -= weights[period, category]
        return _LaidOut(values, values, shares, named)


class _LaidOut(NamedTuple):
    """Columns of a family in P periods of q categories present.

    ``values`` (P, q, f): of a column in the rows of a category. ``effects`` (P, q, f): what its
    coefficient adds to the factor return of a category, ``shares`` (P, f) beside an intercept to
    that. ``named`` (P, q, f) as in ``Part``.
    """

    values: FloatArray
    effects: FloatArray
    shares: FloatArray
    named: NDArray[np.bool_]


def _sums(
    weights: FloatArray,
    number: NDArray[np.intp],
    codes: NDArray[np.int64],
    shape: tuple[int, int],
    rows: NDArray[np.intp] | None,
) -> FloatArray:
    """Sum weights (N,) by period and category (T, m), in a unit of each period's."""
    own = weights if rows is None else weights[rows]
    largest, sums = np.zeros(shape[0]), np.zeros(shape)
    np.maximum.at(largest, number, own)
    np.add.at(sums, (number, codes), np.ldexp(own, -np.frexp(largest)[1][number]))
    return sums


def _greatest(sums: FloatArray) -> NDArray[np.intp]:
    """Position (T,) of the first of the greatest values of each row of sums (T, m)."""
    return sums.argmax(axis=1) if sums.size else np.zeros(len(sums), dtype=np.intp)


def parts_of(
    columns: Sequence[FloatArray],
    families: Sequence[Members],
    w: FloatArray | None,
    starts: NDArray[np.intp],
    rows: NDArray[np.intp] | None,
    *,
    intercept: bool,
) -> Iterator[Part]:
    """Group the periods by their numbers of categories and lay out their columns, part by part."""
    sizes = np.diff(starts)
    number = np.repeat(np.arange(len(sizes)), sizes)
    added = [
        _Columns.of(family, w, number, len(sizes), rows, intercept=intercept) for family in families
    ]
    counts = [np.zeros(len(sizes), dtype=np.intp)]
    counts += [count.sum(axis=1) for own in added for count in (own.column >= 0, own.present)]
    kinds, kind = np.unique(np.stack(counts, axis=1), axis=0, return_inverse=True)
    for k in range(len(kinds)):
        alike = np.flatnonzero(kind == k)
        n_columns = len(columns) + int(kinds[k, 1::2].sum())
        cells = np.cumsum(sizes[alike]) * n_columns
        for periods in np.split(alike, np.flatnonzero(np.diff(cells // PART_CELLS)) + 1):
            yield _part(periods, columns, added, starts, rows)


def _part(
    periods: NDArray[np.intp],
    columns: Sequence[FloatArray],
    added: Sequence[_Columns],
    starts: NDArray[np.intp],
    rows: NDArray[np.intp] | None,
) -> Part:
    sizes = np.diff(starts)[periods]
    own_starts = np.append(0, np.cumsum(sizes))
    # A run of periods, as nearly always, stands in a slice.
    usable: slice | NDArray[np.intp] = slice(starts[periods[0]], starts[periods[-1] + 1])
    if len(periods) != periods[-1] - periods[0] + 1:
        usable = np.arange(own_starts[-1]) + np.repeat(starts[periods] - own_starts[:-1], sizes)
    own_rows = usable if rows is None else rows[usable]
    number = np.repeat(np.arange(len(periods)), sizes)
    X = [column[own_rows] for column in columns]
    laid_out = [own.laid_out(periods) for own in added]
    for own, columns_of_family in zip(added, laid_out, strict=True):
        codes = own.codes[usable]
        X += [column[number, codes] for column in columns_of_family.values.transpose(2, 0, 1)]
    factors = _layout_of_factors(periods, len(columns), added, laid_out)
    return Part(periods, X, own_starts, usable, own_rows, *factors)


def _layout_of_factors(
    periods: NDArray[np.intp],
    n_plain: int,
    added: Sequence[_Columns],
    laid_out: Sequence[_LaidOut],
) -> tuple[NDArray[np.intp], FloatArray, NDArray[np.bool_]]:
    """Lay out which factors are present, their combinations of coefficients, and their names."""
    n_periods = len(periods)
    n_columns = n_plain + sum(new.values.shape[2] for new in laid_out)
    plain = np.tile(np.eye(n_plain, n_columns), (n_periods, 1, 1))
    present, combinations = [np.tile(np.arange(n_plain), (n_periods, 1))], [plain]
    named = [plain != 0]
    n_factors = column = n_plain
    for own, new in zip(added, laid_out, strict=True):
        here, (_, q, free) = own.present[periods], new.values.shape
        new_columns = slice(column, column + free)
        present.append(np.nonzero(here)[1].reshape(n_periods, q) + n_factors)
        effects, names = np.zeros((n_periods, q, n_columns)), np.zeros((n_periods, q, n_columns))
        effects[:, :, new_columns], names[:, :, new_columns] = new.effects, new.named
        combinations.append(effects)
        named.append(names != 0)
        if own.intercept:
            plain[:, 0, new_columns] = new.shares
        n_factors += here.shape[1]
        column += free
    return (
        np.concatenate(present, axis=1),
        np.concatenate(combinations, axis=1),
        np.concatenate(named, axis=1),
    )
