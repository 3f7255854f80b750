"""Fits with factors that are the categories of a family, whose returns sum to zero, with weights.

In a period with m categories of weights c, a family adds m - 1 columns to X: of category j, 1 in
its rows and -c_j / c_d in those of d, the category of greatest weight, whose factor return follows
from the others'. The columns depend on the period, and so does their number: periods with equal
numbers are fitted together. Arrays in, arrays out; the solver and its record know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.design import Exposures, columns_of
from vbase_py_utils.inference import CovType, Inference, assess_periods, fitted_values
from vbase_py_utils.irls import PeriodFits, SolverOptions, fit_periods
from vbase_py_utils.robust import FloatArray

# Periods are laid out for the solver until they have so many numbers, 64 MB.
PART_CELLS = 2**23


@dataclass(frozen=True, slots=True)
class Members:
    """Which of ``n_categories`` each row belongs to.

    ``codes`` (N,): its position, -1 for none. ``weights`` (N,) >= 0: summed, those of the
    categories in the constraint; None: equal ones.
    """

    codes: NDArray[np.int64]
    n_categories: int
    weights: FloatArray | None


class Part(NamedTuple):
    """Periods (P,) of equal numbers of columns, as ``fit_periods`` wants them.

    ``X``: k columns (R,). ``starts`` (P + 1,). ``places`` (R,): where their rows are among all
    usable ones, ``rows`` (R,): among all rows. The factor returns of the q factors ``present``
    (P, q) are ``combinations`` (P, q, k) of the coefficients.
    """

    periods: NDArray[np.intp]
    X: list[FloatArray]
    starts: NDArray[np.intp]
    places: slice | NDArray[np.intp]
    rows: slice | NDArray[np.intp]
    present: NDArray[np.intp]
    combinations: FloatArray


def fit_families(
    X: Exposures,
    families: Sequence[Members],
    y: FloatArray,
    w: FloatArray | None,
    starts: NDArray[np.intp],
    options: SolverOptions,
    rows: NDArray[np.intp] | None = None,
    done: Callable[[int], None] | None = None,
    cov_type: CovType | None = None,
) -> tuple[PeriodFits, Inference | None]:
    """Fit every period of a block, and assess the fits if ``cov_type`` says how.

    Arguments as for ``fit_periods``. The record's factors (K) are the columns of X, then the
    categories of each family; NaN for those that have no usable row in a period.
    """
    columns, n_periods = columns_of(X), len(starts) - 1
    n_factors = len(columns) + sum(family.n_categories for family in families)
    fits = PeriodFits.unanswered(n_periods, n_factors)
    trust = None if cov_type is None else Inference.unknown(n_periods, n_factors, starts[-1])
    for part in parts_of(columns, families, starts, rows):
        its_y, its_w = y[part.rows], None if w is None else w[part.rows]
        own = fit_periods(part.X, its_y, its_w, part.starts, options, done=done)
        at = part.periods[:, None], part.present
        fits.coefficients[at] = _combined(part.combinations, own.coefficients)
        fits.collinear[at] = ((part.combinations != 0) & own.collinear[:, None, :]).any(axis=2)
        for name in ("scale", "n_iter", "status"):
            getattr(fits, name)[part.periods] = getattr(own, name)
        if trust is None or cov_type is None:
            continue
        its = assess_periods(
            part.X,
            its_y,
            its_w,
            part.starts,
            own,
            huber_t=options.huber_t,
            cov_type=cov_type,
            combinations=part.combinations,
        )
        trust.std_errors[at] = its.std_errors
        trust.robustness_weights[part.places] = its.robustness_weights
        for name in ("r_squared", "robust_r_squared", "condition_numbers", "n_downweighted"):
            getattr(trust, name)[part.periods] = getattr(its, name)
    return fits, trust


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
    """Sum what its factors say for every row of a block, as ``fitted_values``.

    ``coefficients`` (T, K) as ``fit_families`` gives them. NaN also where a category is missing, or
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
    number of each usable row's. ``free`` (T,): number of columns. ``place`` (T, m): column of a
    category, -1 if it has none. ``dropped`` (T,): number of the one without, whose coefficient is
    minus ``ratios`` (T, m) of the others'.
    """

    present: NDArray[np.bool_]
    codes: NDArray[np.intp]
    free: NDArray[np.intp]
    place: NDArray[np.intp]
    dropped: NDArray[np.intp]
    ratios: FloatArray

    @classmethod
    def of(
        cls,
        family: Members,
        number: NDArray[np.intp],
        n_periods: int,
        rows: NDArray[np.intp] | None,
    ) -> _Columns:
        """Find the categories of every period; ``number`` (M,) is the period of a usable row."""
        codes = family.codes if rows is None else family.codes[rows]
        present = np.zeros((n_periods, family.n_categories), dtype=np.bool_)
        present[number, codes] = True
        sums: FloatArray = present.astype(np.float64)
        if family.weights is not None:
            weights = family.weights if rows is None else family.weights[rows]
            largest = np.zeros(n_periods)
            np.maximum.at(largest, number, weights)
            # In a unit of the period's, so that no sum is too large.
            weights = np.ldexp(weights, -np.frexp(largest)[1][number])
            sums = np.zeros_like(sums)
            np.add.at(sums, (number, codes), weights)
        dropped, every = _greatest(sums), np.arange(n_periods)
        greatest = sums.max(axis=1, initial=0.0)
        has_column, ratios = present.copy(), np.zeros_like(sums)
        # Where all weights are zero, nothing is constrained.
        bound = np.flatnonzero(greatest > 0)
        has_column[bound, dropped[bound]] = False
        ratios[bound] = sums[bound] / sums[bound, dropped[bound], None]
        place = np.where(has_column, np.cumsum(has_column, axis=1) - 1, -1)
        numbers = np.cumsum(present, axis=1) - 1
        return cls(
            present,
            numbers[number, codes],
            has_column.sum(axis=1),
            place,
            numbers[every, dropped] if sums.size else dropped,
            ratios,
        )

    def effects(self, periods: NDArray[np.intp]) -> FloatArray:
        """Effects of the columns' coefficients on the categories present (P, q, free)."""
        here = self.present[periods]
        shape = len(periods), int(here[0].sum())
        place = self.place[periods][here].reshape(shape)
        ratios = self.ratios[periods][here].reshape(shape)
        effects = np.zeros((*shape, int(self.free[periods[0]])))
        period, category = np.nonzero(place >= 0)
        column = place[period, category]
        effects[period, category, column] = 1.0
        effects[period, self.dropped[periods][period], column] -= ratios[period, category]
        return effects


def _greatest(sums: FloatArray) -> NDArray[np.intp]:
    """Position (T,) of the first of the greatest values of each row of sums (T, m)."""
    return sums.argmax(axis=1) if sums.size else np.zeros(len(sums), dtype=np.intp)


def parts_of(
    columns: Sequence[FloatArray],
    families: Sequence[Members],
    starts: NDArray[np.intp],
    rows: NDArray[np.intp] | None,
) -> Iterator[Part]:
    """Group the periods by their numbers of categories and lay out their columns, part by part."""
    sizes = np.diff(starts)
    number = np.repeat(np.arange(len(sizes)), sizes)
    added = [_Columns.of(family, number, len(sizes), rows) for family in families]
    counts = [np.zeros(len(sizes), dtype=np.intp)]
    counts += [count for own in added for count in (own.free, own.present.sum(axis=1))]
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
    places: slice | NDArray[np.intp] = slice(starts[periods[0]], starts[periods[-1] + 1])
    if len(periods) != periods[-1] - periods[0] + 1:
        places = np.arange(own_starts[-1]) + np.repeat(starts[periods] - own_starts[:-1], sizes)
    own_rows = places if rows is None else rows[places]
    number = np.repeat(np.arange(len(periods)), sizes)
    X = [column[own_rows] for column in columns]
    effects = [own.effects(periods) for own in added]
    for own, effect in zip(added, effects, strict=True):
        codes = own.codes[places]
        X += [column[number, codes] for column in effect.transpose(2, 0, 1)]
    present, combinations = _combinations(periods, len(columns), added, effects)
    return Part(periods, X, own_starts, places, own_rows, present, combinations)


def _combinations(
    periods: NDArray[np.intp],
    n_plain: int,
    added: Sequence[_Columns],
    effects: Sequence[FloatArray],
) -> tuple[NDArray[np.intp], FloatArray]:
    """Which factors are present (P, q), and how they follow from the coefficients (P, q, k)."""
    n_periods = len(periods)
    present = [np.tile(np.arange(n_plain), (n_periods, 1))]
    n_columns = n_plain + sum(effect.shape[2] for effect in effects)
    blocks = [np.tile(np.eye(n_plain, n_columns), (n_periods, 1, 1))]
    n_factors = column = n_plain
    for own, effect in zip(added, effects, strict=True):
        here, q = own.present[periods], effect.shape[1]
        present.append(np.nonzero(here)[1].reshape(n_periods, q) + n_factors)
        block = np.zeros((n_periods, q, n_columns))
        block[:, :, column : column + effect.shape[2]] = effect
        blocks.append(block)
        n_factors += here.shape[1]
        column += effect.shape[2]
    return np.concatenate(present, axis=1), np.concatenate(blocks, axis=1)
