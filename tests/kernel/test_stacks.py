"""Periods side by side: the answer of a period is its own, whatever stands beside it."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

import oracle
import problems
from vbase_py_utils.kernel import irls, linalg, stacks, steps
from vbase_py_utils.kernel.inference import assess_periods
from vbase_py_utils.kernel.irls import fit_periods
from vbase_py_utils.kernel.losses import Huber
from vbase_py_utils.kernel.period_fits import SolverOptions, Status
from vbase_py_utils.kernel.scale import MAD_PER_SIGMA, Ranks, mad_about_zero

ALWAYS, NEVER = 0, 10**9


def ragged_block(rng, kind, k, count):
    """Periods of k + 2 to 8 k + 3 rows, end to end: X, y, w, starts."""
    periods = []
    for _ in range(count):
        n = int(rng.integers(k + 2, 8 * k + 4))
        hard = kind != "mild"
        periods.append(problems.hard(rng, kind, n, k) if hard else problems.mild(rng, n, k))
    starts = np.cumsum([0, *(len(y) for _, y, _ in periods)])
    X, y, w = (np.concatenate(part) for part in zip(*periods, strict=True))
    return X, y, w, starts


def fit(block, monkeypatch, *, stack_cells=stacks.STACK_CELLS, gather_cells=steps.GATHER_CELLS):
    with monkeypatch.context() as patch:
        patch.setattr(stacks, "STACK_CELLS", stack_cells)
        patch.setattr(steps, "GATHER_CELLS", gather_cells)
        return fit_periods(*block, SolverOptions())


@pytest.mark.parametrize("kind", ["mild", *problems.HARD_KINDS])
def test_stacked_products_and_one_long_period_at_a_time_agree(kind, monkeypatch):
    rng = np.random.default_rng([21, len(kind)])
    for k in (1, 3, 6, 7, 12):
        X, _, w, starts = block = ragged_block(rng, kind, k, 120)
        stacked = fit(block, monkeypatch, gather_cells=NEVER)
        alone = fit(block, monkeypatch, stack_cells=1, gather_cells=ALWAYS)
        np.testing.assert_array_equal(stacked.status, alone.status)
        converged = np.flatnonzero(stacked.status == Status.converged)
        assert len(converged) > 100
        for t in converged:
            rows = slice(starts[t], starts[t + 1])
            A = np.sqrt(w[rows])[:, None] * X[rows]
            moved = np.abs(A @ (stacked.coefficients[t] - alone.coefficients[t])).max()
            # Near collinear, a double cannot hold a coefficient to 1e-10 scales of its fit.
            held = np.finfo(float).eps * (np.abs(A) @ np.abs(alone.coefficients[t])).max()
            assert moved <= 1e-10 * alone.scale[t] + held, (k, t)
            assert stacked.scale[t] == pytest.approx(alone.scale[t], rel=1e-10)


@pytest.mark.parametrize("gather_cells", [ALWAYS, NEVER])
@pytest.mark.parametrize("kind", ["mild", *problems.HARD_KINDS])
def test_a_settled_phase_ends_where_a_last_step_would_lead(kind, gather_cells, monkeypatch):
    rng = np.random.default_rng([24, len(kind)])
    X, _, w, starts = block = ragged_block(rng, kind, 4, 300)
    settled = fit(block, monkeypatch, gather_cells=gather_cells)
    monkeypatch.setattr(irls, "settled", lambda live, *_: np.zeros(len(live.done), bool))
    stepped = fit(block, monkeypatch, gather_cells=gather_cells)
    np.testing.assert_array_equal(settled.status, stepped.status)
    saved = stepped.n_iter - settled.n_iter
    assert saved.min() == 0
    assert saved.max() == 1
    assert saved.mean() > (0.8 if kind == "mild" else 0.2)
    for t in np.flatnonzero(saved):
        rows = slice(starts[t], starts[t + 1])
        A = np.sqrt(w[rows])[:, None] * X[rows]
        moved = np.abs(A @ (settled.coefficients[t] - stepped.coefficients[t])).max()
        held = np.finfo(float).eps * (np.abs(A) @ np.abs(stepped.coefficients[t])).max()
        assert moved <= 1e-13 * stepped.scale[t] + 4 * held, t
        assert settled.scale[t] == pytest.approx(stepped.scale[t], rel=1e-12)


@pytest.mark.parametrize("n_periods", [6, 40, 400])
def test_periods_that_are_done_do_not_take_part_in_the_steps_of_a_slow_one(
    n_periods, rng, monkeypatch
):
    k, n = 8, 14  # so few rows that some periods take very many steps
    steps_taken = 0
    advance = irls._advance

    def counted(stack, live, options):
        nonlocal steps_taken
        steps_taken += len(live.done)
        return advance(stack, live, options)

    monkeypatch.setattr(irls, "_advance", counted)
    X, y = rng.standard_normal((n_periods * n, k)), rng.standard_normal(n_periods * n)
    fits = fit_periods(X, y, None, np.arange(n_periods + 1) * n, SolverOptions())
    assert fits.n_iter.max() > 3 * np.median(fits.n_iter)
    assert steps_taken <= 4 * fits.n_iter.sum()


@pytest.mark.parametrize("gather_cells", [ALWAYS, NEVER])
@pytest.mark.parametrize("kind", problems.HARD_KINDS)
def test_both_have_the_answer_of_plain_irls(kind, gather_cells, monkeypatch):
    rng = np.random.default_rng([22, len(kind)])
    X, y, w, starts = block = ragged_block(rng, kind, 4, 40)
    fits = fit(block, monkeypatch, gather_cells=gather_cells)
    checked = 0
    for t in range(40):
        rows = slice(starts[t], starts[t + 1])
        if starts[t + 1] - starts[t] < 10:
            continue  # close to an exact fit, where plain IRLS may not end
        slow = oracle.huber(X[rows], y[rows], w[rows])
        assert Status(fits.status[t]).name == slow.status
        difference = fits.coefficients[t] - slow.b
        assert np.abs(np.sqrt(w[rows]) * (X[rows] @ difference)).max() < 1e-8 * slow.s
        checked += 1
    assert checked > 25


@pytest.mark.parametrize(("kind", "seed"), [("cauchy", 2586), ("cauchy", 2988)])
def test_newton_out_of_reach_is_called_back(kind, seed):
    # Periods with several solutions, in which Newton alone ends on another one.
    rng = np.random.default_rng([77, seed])
    k = int(rng.integers(2, 9))
    X, y, w = problems.hard(rng, kind, int(rng.integers(2 * k + 2, 4 * k + 4)), k)
    fits = fit_periods(X, y, w, np.array([0, len(y)]), SolverOptions())
    slow = oracle.huber(X, y, w)
    difference = fits.coefficients[0] - slow.b
    assert np.abs(np.sqrt(w) * (X @ difference)).max() < 1e-7 * slow.s


@pytest.mark.parametrize("k", [3, 9])
@pytest.mark.parametrize("cores", ["1", "2"])
def test_a_period_has_the_same_bits_alone_and_in_any_company(k, cores, monkeypatch):
    monkeypatch.setenv("POLARS_MAX_THREADS", cores)
    rng = np.random.default_rng(23)
    blocks = [ragged_block(rng, kind, k, 25) for kind in ("mild", *problems.HARD_KINDS)]
    X, y, w = (np.concatenate([block[i] for block in blocks]) for i in range(3))
    starts = np.append(0, np.cumsum(np.concatenate([np.diff(block[3]) for block in blocks])))
    n_periods = len(starts) - 1
    X[starts[5] : starts[6], 1] = X[starts[5] : starts[6], 0]  # company that is rank deficient,
    y[starts[6] : starts[7]] = 0.0  # an exact fit,
    y[starts[7] : starts[8]] *= 1e250  # or of extreme units
    monkeypatch.setattr(stacks, "STACK_CELLS", 4000)

    def everything(X, y, w, starts):
        fits = fit_periods(X, y, w, starts, SolverOptions())
        trust = assess_periods(X, y, w, starts, fits, loss=Huber(1.345), cov_type="sandwich")
        return {
            field.name: getattr(part, field.name)
            for part in (fits, trust)
            for field in fields(part)
        }

    together = everything(X, y, w, starts)
    assert {0, 2, 3} <= set(together["status"].tolist())
    for t in range(0, n_periods, 3):
        rows = slice(starts[t], starts[t + 1])
        alone = everything(X[rows], y[rows], w[rows], np.array([0, starts[t + 1] - starts[t]]))
        for name, values in alone.items():
            own = rows if name in ("robustness_weights", "leverages") else slice(t, t + 1)
            np.testing.assert_array_equal(values, together[name][own], err_msg=f"{name} {t}")


def test_rows_may_be_anywhere(rng):
    X, y, w = problems.mild(rng, 90, 3)
    starts = np.array([0, 40, 90])
    reference = fit_periods(X, y, w, starts, SolverOptions())
    places = rng.permutation(200)[:90]
    scattered = [np.full((200, *values.shape[1:]), np.nan) for values in (X, y, w)]
    for target, values in zip(scattered, (X, y, w), strict=True):
        target[places] = values
    fits = fit_periods(*scattered, starts, SolverOptions(), places)
    np.testing.assert_array_equal(fits.coefficients, reference.coefficients)
    slow = oracle.huber(X[:40], y[:40], w[:40])
    np.testing.assert_allclose(fits.coefficients[0], slow.b, rtol=1e-8)
    columns = [np.ascontiguousarray(column) for column in scattered[0].T]
    again = fit_periods(columns, *scattered[1:], starts, SolverOptions(), places)
    np.testing.assert_array_equal(again.coefficients, reference.coefficients)


def test_padding_never_changes_the_median(rng):
    for width in range(2, 40, 2):
        sizes = rng.integers(1, width + 1, 50)
        u = np.round(rng.standard_normal((50, width)), int(rng.integers(0, 4)))  # with ties
        u[np.arange(width) >= sizes[:, None]] = 0.0
        scale = mad_about_zero(u, Ranks.of(sizes, width))
        for row, size, s in zip(u, sizes, scale, strict=True):
            assert s == pytest.approx(np.median(np.abs(row[:size])) / MAD_PER_SIGMA, rel=1e-15)


def test_widths_hold_their_periods():
    sizes = np.arange(1, 100_000)
    width = stacks.widths(sizes)
    assert np.all(width >= sizes)
    assert np.all(width % 2 == 0)
    assert np.all(width <= np.maximum(sizes + 1, 1.125 * sizes))
    assert np.all(np.diff(width) >= 0)


def test_every_period_with_enough_rows_is_in_one_stack(rng):
    sizes = rng.integers(0, 60, 500)
    planned = stacks.plan_stacks(sizes, 5)
    places = np.concatenate(planned)
    assert sorted(places) == np.flatnonzero(sizes >= 5).tolist()
    assert all(len(set(stacks.widths(sizes[stack]))) == 1 for stack in planned)


@pytest.mark.parametrize("k", [2, 6, 7, 20])
def test_solve_says_where_a_matrix_is_not_positive_definite(k, rng):
    A = rng.standard_normal((5, k, 3 * k))
    matrices = A @ A.transpose(0, 2, 1)
    matrices[1, 0] = matrices[1, :, 0] = 0.0
    matrices[3] = -matrices[3]
    right = rng.standard_normal((5, 2, k))
    with np.errstate(all="ignore"):
        pivots, solutions = linalg.solve(matrices, right)
    good = [0, 2, 4]
    expected = np.diagonal(np.linalg.cholesky(matrices[good]), axis1=1, axis2=2) ** 2
    np.testing.assert_allclose(pivots[good], expected, rtol=1e-9)
    for i in good:
        np.testing.assert_allclose(solutions[i] @ matrices[i], right[i], atol=1e-9)
    assert not np.any((pivots[[1, 3]] > 0).all(axis=1))


# --- what an attack on the first version of the stacks found


@pytest.mark.parametrize("kind", ["all dummies", "combination", "twice the same"])
def test_more_than_a_few_collinear_columns_raise_nothing(kind):
    n, k, found = 40, 12, []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        X, y, w = problems.mild(rng, n, k)
        if kind == "all dummies":
            groups = rng.permutation(np.r_[np.arange(k - 1), rng.integers(0, k - 1, n - k + 1)])
            X = np.column_stack([np.ones(n), np.eye(k - 1)[groups]])
        elif kind == "combination":
            X[:, -1] = X[:, :-1] @ rng.integers(-2, 3, k - 1)
        else:
            X[:, -1] = X[:, 3]
        good = problems.mild(rng, n, k)
        X, y, w = (np.concatenate(pair) for pair in zip((X, y, w), good, strict=True))
        starts = np.array([0, n, 2 * n])
        fits = fit_periods(X, y, w, starts, SolverOptions())
        assess_periods(X, y, w, starts, fits, loss=Huber(1.345), cov_type="sandwich")
        found.append(fits.status.tolist())
    assert found == [[Status.rank_deficient, Status.converged]] * 150


def test_a_singular_step_stays_in_its_period(rng):
    # Two rows far out carry the second column alone: the matrix of the step has a zero pivot.
    n = 20
    X, y = np.ones((n, 2)), np.random.default_rng(0).standard_normal(n)
    X[-2:, 1], y[-2:] = -1.0, (1e15, -0.999e15)
    others = [problems.mild(rng, n, 2)[:2] for _ in range(50)]
    X = np.concatenate([X, *(part[0] for part in others)])
    y = np.concatenate([y, *(part[1] for part in others)])
    alone = fit_periods(X[:n], y[:n], None, np.array([0, n]), SolverOptions())
    beside = fit_periods(X, y, None, np.arange(52) * n, SolverOptions())
    assert Status(alone.status[0]) is Status.converged
    for name in ("coefficients", "scale", "n_iter", "status"):
        np.testing.assert_array_equal(getattr(alone, name)[0], getattr(beside, name)[0])
    y[n - 2 : n] *= 1e-9  # no less far out for psi, but near enough for the oracle
    assert alone.scale[0] == pytest.approx(oracle.huber(X[:n], y[:n]).s, rel=1e-6)


@pytest.mark.parametrize("size", [1e8, 1e9, 1e10])
def test_rows_far_out_that_carry_a_factor_do_not_keep_a_period_from_its_end(size):
    ended = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = np.column_stack([np.ones(60), rng.standard_normal(60), np.zeros(60)])
        X[:2, 2] = 1.0
        y = 0.01 * X[:, 1] + 0.02 * rng.standard_normal(60)
        y[:2] = 0.02 * size, -0.02 * size * rng.random()
        fits = fit_periods(X, y, None, np.array([0, 60]), SolverOptions())
        ended.append(fits.status[0] == Status.converged)
    assert np.mean(ended) > 0.9


@pytest.mark.parametrize("huber_t", [1.345, np.inf])
def test_least_squares_that_fits_exactly_needs_no_step(huber_t):
    # At condition 300 the inverse of A A' alone leaves residuals far above rounding.
    for seed in range(20):
        rng = np.random.default_rng(seed)
        U, _, Vt = np.linalg.svd(rng.standard_normal((60, 4)), full_matrices=False)
        X = U @ np.diag(np.geomspace(1, 1 / 300, 4)) @ Vt
        b = np.array([1.0, -2.0, 0.5, 3.0])
        fits = fit_periods(X, X @ b, None, np.array([0, 60]), SolverOptions(huber_t=huber_t))
        assert fits.status[0] == Status.exact_fit
        assert fits.n_iter[0] == 0
        np.testing.assert_allclose(fits.coefficients[0], b, rtol=1e-11)
