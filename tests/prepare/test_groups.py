"""Groups of rows, and formulas that take many of them at a time."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from vbase_py_utils import PanelError, zscore
from vbase_py_utils.prepare.formulas import (
    normal_scores,
    weights_of_caps,
    within_deviations,
    z_scores,
)
from vbase_py_utils.prepare.groups import Groups, of_groups

SIZES = [3, 0, 1, 5, 0]
STARTS = np.append(0, np.cumsum(SIZES))


@pytest.fixture
def groups():
    return Groups(STARTS)


def by_loop(function, values):
    parts = (values[a:b] for a, b in pairwise(STARTS))
    return [function(part) if len(part) else math.nan for part in parts]


@pytest.mark.parametrize(
    ("method", "function"),
    [
        ("sums", np.sum),
        ("means", np.mean),
        ("least", np.min),
        ("greatest", np.max),
        ("medians", np.median),
    ],
)
def test_one_number_a_group(groups, rng, method, function):
    values = rng.standard_normal(9)
    np.testing.assert_allclose(getattr(groups, method)(values), by_loop(function, values))
    nothing = Groups(np.zeros(3, dtype=np.intp))
    assert np.isnan(getattr(nothing, method)(np.empty(0))).all()


def test_ranks_are_of_the_group(groups):
    values = np.array([2.0, 1.0, 2.0, 7.0, 0.0, -0.0, 9.0, 9.0, 9.0])
    assert groups.ranks(values).tolist() == [2.5, 1.0, 2.5, 1.0, 1.5, 1.5, 4.0, 4.0, 4.0]


def test_only_some_rows(groups):
    which = np.array([True, False, True, False, True, True, False, False, True])
    own, rows = groups.only(which)
    assert own.sizes.tolist() == [2, 0, 0, 3, 0]
    assert rows is which
    assert groups.only(np.ones(9, dtype=bool)) == (groups, slice(None))


@pytest.mark.parametrize("most", [1, 2, 3, 4, 8, 100])
def test_runs_are_all_rows_once_in_whole_groups(groups, most):
    runs = list(groups.runs(most))
    assert [rows.start for rows, _ in runs] == [0, *(rows.stop for rows, _ in runs[:-1])]
    assert runs[-1][0].stop == 9
    assert np.concatenate([some.sizes for _, some in runs]).tolist() == SIZES
    assert list(Groups(np.zeros(1, dtype=np.intp)).runs(most)) == []


@pytest.mark.parametrize(
    "formula",
    [
        z_scores,
        normal_scores,
        lambda groups, x: within_deviations(groups, x, k=1.0),
        lambda groups, x: weights_of_caps(groups, x**2, power=0.5, share=0.2),
    ],
)
def test_how_many_rows_are_taken_at_a_time_does_not_matter(formula, rng):
    x = rng.standard_t(3, 300).round(1)
    x[rng.random(300) < 0.1] = np.nan
    frame = pl.DataFrame({"g": rng.integers(0, 40, 300), "x": x})
    expected = frame.select(of_groups(formula, {"column": "x"}).over("g"))
    assert expected["x"].count() > 200
    for together in (1, 7, 64):
        answer = frame.select(of_groups(formula, {"column": "x"}, together).over("g"))
        assert_frame_equal(answer, expected, check_exact=True)


def test_the_cut_of_weights_that_fall_by_halves():
    """Every step cuts a few weights more."""
    w = 0.5 ** np.arange(60)
    for share in (0.9, 0.3, 0.1, 1 / 40, 1 / 59):
        groups = Groups(np.array([0, 60]))
        cut = weights_of_caps(groups, w, power=1.0, share=share)
        assert cut.max() / cut.sum() <= share * (1 + 1e-12)
        uncut = cut < cut.max() * (1 - 1e-12)
        assert not uncut.any() or (cut[uncut] / w[uncut]).max() == pytest.approx(
            (cut[uncut] / w[uncut]).min()
        )
        # A larger ceiling would be too large: the largest share is the limit.
        assert cut.max() / cut.sum() == pytest.approx(share) or share > 1 / 2


# --- columns of other lengths

EMPTY = pl.DataFrame({"g": [1, 1, 2], "x": [1.0, 2.0, 3.0]}).head(0)
ONE_NUMBER = {"literal": pl.lit(2.0), "sum": pl.col("x").sum(), "first": pl.col("x").first()}


@pytest.mark.parametrize("number", ONE_NUMBER)
def test_one_number_counts_for_all_rows_however_many_they_are(number):
    frame = pl.DataFrame({"g": [1, 1, 1, 2, 3, 3], "x": [1.0, 2.0, 4.0, 3.0, 5.0, 5.0]})
    weighted, plain = (zscore("x", weights=w) for w in (ONE_NUMBER[number], None))
    for query in (pl.DataFrame.select, pl.DataFrame.with_columns):
        assert_frame_equal(query(frame, weighted.over("g")), query(frame, plain.over("g")))
        assert_frame_equal(query(EMPTY, weighted), query(EMPTY, plain))
    none = pl.col("x").filter(pl.col("x") > 9)
    answer = frame.group_by("g").agg(zscore(none, weights=ONE_NUMBER[number]))
    assert answer["x"].to_list() == [[], [], []]


WRONG = {
    "none of a group": (pl.col("w").filter("k"), "column 'w' has 0 rows of a group, expected 2"),
    "more than the group": (pl.col("w").append(pl.col("w")), "column 'w' has 4 rows of a group"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("lazy", [False, True])
def test_columns_of_other_lengths_are_refused(what, lazy):
    frame = pl.DataFrame(
        {"g": [1, 1, 2, 2], "x": [1.0, 2.0, 3.0, 5.0], "w": [1.0, 9.0, 2.0, 1.0],
         "k": [True, True, False, False]}
    )  # fmt: skip
    weights, message = WRONG[what]
    query = frame.lazy().group_by("g").agg(zscore("x", weights=weights))
    with pytest.raises(PanelError, match=message):
        query.collect(engine="streaming" if lazy else "in-memory")


@pytest.mark.parametrize(
    "code",
    ["zscore('x')", "rank_normal('x')", "neutralize('x', ['x'])", "huber_residuals('x', 'y')"],
)
def test_frames_of_answers_can_be_pickled(code):
    # In a process that is killed: Polars waits for itself if the lists are in memory of Arrow.
    script = f"""
import pickle, numpy as np, polars as pl
from vbase_py_utils import huber_residuals, neutralize, rank_normal, zscore
x = np.random.default_rng(0).standard_normal(60)
frame = pl.DataFrame({{"x": x, "y": x[::-1]}})
for _ in range(500):
    pickle.dumps(frame.with_columns({code}.shift(1)))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
