"""Lagged exposures and weights from past specific returns: right, and blind to the future."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from panels import PERIOD_TYPES
from vbase_py_utils import (
    PanelError,
    cap_weights,
    fill_missing_by_group,
    fit_cross_sections,
    inverse_variance_weights,
    lag_exposures,
    neutralize,
    rank_normal,
    winsorize,
    zscore,
)

ENGINES = ["in-memory", "streaming"]
WEIGHT = "inverse_variance_weight"


def ragged(seed, n_periods=12, n_assets=8, present=0.7):
    """Panel in which assets come and go, in any order of rows."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "period": np.repeat(np.arange(n_periods), n_assets),
            "asset": [f"a{i}" for i in range(n_assets)] * n_periods,
            "return": rng.standard_t(3, n_periods * n_assets) * 0.01,
            "x": rng.standard_normal(n_periods * n_assets),
            "^c.*$": rng.choice(["u", "v"], n_periods * n_assets),
            "cap": rng.lognormal(0, 1, n_periods * n_assets),
        }
    )
    kept = pl.Series(rng.random(frame.height) < present)
    return frame.filter(kept).sample(fraction=1, shuffle=True, seed=seed)


def lagged_by_hand(panel, column, periods):
    order = panel["period"].unique().sort().to_list()
    keys = panel.select("period", "asset").rows()
    known = dict(zip(keys, panel.get_column(column), strict=True))
    answer = []
    for p, a in keys:
        i = order.index(p) - periods
        answer.append(known.get((order[i], a)) if i >= 0 else None)
    return answer


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), periods=st.integers(1, 4), kind=st.sampled_from([*PERIOD_TYPES])
)
def test_lags_are_those_of_the_panels_periods(seed, periods, kind):
    panel = ragged(seed).with_columns(PERIOD_TYPES[kind](pl.col("period")).alias("period"))
    # A period in which the panel has no row at all is none.
    panel = panel.filter(pl.col("period") != panel["period"].sort()[20])
    columns = ["x", "^c.*$"]
    expected = panel.with_columns(
        pl.Series(name, lagged_by_hand(panel, name, periods), panel[name].dtype) for name in columns
    )
    assert_frame_equal(lag_exposures(panel, columns, periods), expected, check_exact=True)
    for engine in ENGINES:
        query = lag_exposures(panel.lazy(), columns, periods)
        assert query.collect_schema() == panel.schema
        assert_frame_equal(query.collect(engine=engine), expected, check_exact=True)
        some = query.filter(pl.col("asset") == "a1").select("x").collect(engine=engine)
        assert_frame_equal(some, expected.filter(pl.col("asset") == "a1").select("x"))


def test_a_gap_gives_null_and_no_older_value():
    panel = pl.DataFrame(
        {
            "day": [date(2024, 1, d) for d in (2, 3, 5, 2, 5, 2, 3)],
            "id": ["A", "A", "A", "B", "B", "C", "C"],
            "bp": [1, 2, 3, 10, 30, 100, None],
        }
    )
    once = lag_exposures(panel, "bp", period="day", asset="id")
    assert once["bp"].to_list() == [None, 1, 2, None, None, None, 100]
    twice = lag_exposures(panel, "bp", 2, period="day", asset="id")
    assert twice["bp"].to_list() == [None, None, 1, None, 10, None, None]
    assert_frame_equal(lag_exposures(panel, [], period="day", asset="id"), panel)
    assert lag_exposures(panel.clear(), "bp", period="day", asset="id").is_empty()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"columns": ["y"]}, "lagged column 'y' is not in the panel"),
        ({}, {"columns": ["x", "x"]}, "named more than once: 'x'"),
        ({}, {"columns": ["asset"]}, "'asset' is named as asset and as lagged"),
        ({}, {"period": "month"}, "period column 'month' is not in the panel"),
        ({}, {"period": "asset"}, "'asset' is named as period and as asset"),
        ({"asset": ["A", "A", None]}, {}, "asset column 'asset' is null in 1 row"),
        ({"period": [None, 1, 1]}, {}, "period column 'period' is null in 1 row"),
        ({"asset": ["A", "B", "B"]}, {}, "2 rows share a .*key, for example .2, B."),
    ],
)
def test_bad_panels_say_what_is_wrong(change, arguments, message, lazy):
    columns = {"period": [1, 2, 2], "asset": ["A", "A", "B"], "x": [1.0, 2.0, 3.0]}
    panel = pl.DataFrame(columns | change)
    before = panel.clone()
    given = panel.lazy() if lazy else panel
    with pytest.raises(PanelError, match=message):
        lag_exposures(given, **{"columns": "x"} | arguments).lazy().collect()
    assert_frame_equal(panel, before)


@pytest.mark.parametrize("periods", [0, -1, 1.5, True, "1", None, 10**400])
def test_a_lag_is_a_whole_number_of_periods(periods):
    kind = TypeError if isinstance(periods, bool | str | None) else ValueError
    with pytest.raises(kind, match=r"^periods is .*, expected a whole number >= 1$"):
        lag_exposures(ragged(1), "x", periods)


def cut_squares(fits, half_life, min_periods, cut):
    """Squares of specific returns, an asset at a time, each cut at its own mean before it."""
    used = {
        (p, a): abs(u)
        for p, a, _, u, r, _ in fits.specific_returns.rows()
        if u is not None and r is not None
    }
    typical = {
        p: (1.4826 * np.median([u for (q, _), u in used.items() if q == p])) ** 2
        for p in {p for p, _ in used}
    }
    decay = 1.0 if half_life is None else 0.5 ** (1 / half_life)
    squares = {}
    for p, a in sorted(used):
        past = [squares[q, b] for q, b in squares if b == a]
        enough = len(past) >= min_periods
        scale = np.average(past, weights=decay ** np.arange(len(past))[::-1]) if enough else None
        squares[p, a] = min(used[p, a] ** 2, cut**2 * (scale if enough else typical[p]))
    raw = {key: u**2 for key, u in used.items()}
    return squares, sum(squares[key] < raw[key] for key in raw)


def by_hand(panel, squares, given, shrinkage, half_life, min_periods, max_ratio):
    """The weights, row by row and period by period."""
    answer = {}
    for (period,), rows in panel.group_by("period"):
        own = {}
        for asset in rows["asset"]:
            past = [squares[p, asset] for p in sorted(set(panel["period"])) if p < period
                    and (p, asset) in squares]  # fmt: skip
            if len(past) >= min_periods:
                decay = 1.0 if half_life is None else 0.5 ** (1 / half_life)
                ages = np.arange(len(past))[::-1]
                variance = np.average(past, weights=decay**ages)
                if variance > 0:
                    own[asset] = 1 / variance
        base = dict(zip(rows["asset"], rows[given] if given else [1.0] * rows.height, strict=True))
        inside = [a for a, w in base.items() if w is not None and np.isfinite(w) and w > 0]
        own = {a: own[a] for a in inside if a in own}
        if own:
            ceiling = max_ratio * np.median(list(own.values()))
            own = {a: min(w, ceiling) for a, w in own.items()}
            unit = np.mean(list(own.values())) / np.mean([base[a] for a in own])
        blended = {
            a: (1 - shrinkage) * own[a] / unit + shrinkage * base[a] if a in own else base[a]
            for a in inside
        }
        mean = np.mean(list(blended.values())) if blended else None
        for a, w in base.items():
            missing = w is None or not np.isfinite(w)
            answer[period, a] = None if missing else blended[a] / mean if a in blended else 0.0
    return [answer[key] for key in panel.select("period", "asset").rows()]


@pytest.mark.parametrize("half_life", [None, 4.0])
@pytest.mark.parametrize("given", [None, "cap"])
@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("cut", [1.5, 10.0, float("inf")])
def test_weights_are_those_of_a_loop(half_life, given, shrinkage, cut):
    panel = ragged(3, n_periods=16, n_assets=12)
    if given:
        odd = pl.Series(np.random.default_rng(1).random(panel.height))
        cap = pl.when(odd < 0.05).then(None).when(odd < 0.1).then(0.0).when(odd < 0.15)
        panel = panel.with_columns(cap=cap.then(float("nan")).otherwise(pl.col("cap")))
    fits = fit_cross_sections(panel, "x", weights=given)
    options = {"shrinkage": shrinkage, "half_life": half_life, "min_periods": 4, "max_ratio": 2.0}
    squares, n_cut = cut_squares(fits, half_life, 4, cut)
    assert (n_cut > 10) == (cut == 1.5)
    expected = by_hand(panel, squares, given, **options)
    options["cut"] = cut
    assert len(set(expected)) > 50 or (shrinkage == 1 and not given)
    before = panel.clone()
    answer = inverse_variance_weights(panel, fits, weights=given, **options)
    assert_frame_equal(panel, before)
    expected = panel.with_columns(pl.Series(WEIGHT, expected))
    assert_frame_equal(answer, expected, rel_tol=1e-12, abs_tol=0)
    lazy_fits = fit_cross_sections(panel.lazy(), "x", weights=given)
    for engine in ENGINES:
        query = inverse_variance_weights(panel.lazy(), lazy_fits, weights=given, **options)
        answer = query.collect(engine=engine)
        assert_frame_equal(answer, expected, rel_tol=1e-12, abs_tol=0)


def test_a_period_after_the_first_pass_has_weights_too():
    panel = ragged(5, n_periods=10, present=1.0)
    fits = fit_cross_sections(panel.filter(pl.col("period") < 9), "x")
    whole = fit_cross_sections(panel, "x")
    for_next = inverse_variance_weights(panel, fits, min_periods=3)
    assert_frame_equal(for_next, inverse_variance_weights(panel, whole, min_periods=3))
    assert for_next.filter(pl.col("period") == 9)[WEIGHT].std() > 0


def test_second_pass_is_more_precise_where_variances_differ():
    """Half the assets have ten times the noise: the second pass finds out which."""
    rng = np.random.default_rng(11)
    n_periods, n_assets = 60, 40
    noise = np.where(np.arange(n_assets) < 20, 0.01, 0.1)
    x = rng.standard_normal((n_periods, n_assets))
    returns = 0.02 * x + noise * rng.standard_normal((n_periods, n_assets))
    panel = pl.DataFrame(
        {
            "period": np.repeat(np.arange(n_periods), n_assets),
            "asset": np.tile(np.arange(n_assets), n_periods),
            "return": returns.ravel(),
            "x": x.ravel(),
        }
    )
    first = fit_cross_sections(panel, "x")
    weighted = inverse_variance_weights(panel, first, shrinkage=0.1)
    second = fit_cross_sections(weighted, "x", weights=WEIGHT)
    late = pl.col("period") >= 20
    one, two = (
        fits.factor_returns.filter(late).select(((pl.col("x") - 0.02) ** 2).mean().sqrt()).item()
        for fits in (first, second)
    )
    assert two < 0.7 * one


def by_robustness_weights(panel, fits):
    """The weights as they were made before, with defaults: squares cut by robustness weights."""
    options = {"shrinkage": 0.5, "half_life": None, "min_periods": 12, "max_ratio": 20.0}
    rows = fits.specific_returns.rows()
    squares = {(p, a): (u * r) ** 2 for p, a, _, u, r, _ in rows}
    return panel.with_columns(pl.Series(WEIGHT, by_hand(panel, squares, None, **options)))


def error_of(fits, truth):
    """Root mean square error of the factor returns, from the period on that history is long."""
    late = fits.factor_returns.filter(pl.col("period") >= 30)["x"].to_numpy()
    return np.sqrt(np.mean((late - truth[30:]) ** 2))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_own_cut_knows_volatile_assets_better_than_robustness_weights(seed):
    """Returns with t4 noise, of assets whose volatility is spread and 0.1 % of them wrong."""
    rng = np.random.default_rng(seed)
    n_periods, n_assets = 72, 150
    sd = 0.02 * np.exp(0.8 * rng.standard_normal(n_assets))
    truth = 0.01 * rng.standard_normal(n_periods)
    x = rng.standard_normal((n_periods, n_assets))
    noise = sd * rng.standard_t(4, (n_periods, n_assets)) / np.sqrt(2)
    returns = (truth[:, None] * x + noise) * np.where(rng.random(x.shape) < 0.001, 10, 1)
    panel = pl.DataFrame(
        {
            "period": np.repeat(np.arange(n_periods), n_assets),
            "asset": np.tile(np.arange(n_assets), n_periods),
            "return": returns.ravel(),
            "x": x.ravel(),
            "true": np.tile(1 / sd**2, n_periods),
        }
    )
    first = fit_cross_sections(panel, "x")
    own, before = inverse_variance_weights(panel, first), by_robustness_weights(panel, first)
    equal, old, new, best = (
        error_of(fit, truth)
        for fit in (
            first,
            fit_cross_sections(before, "x", weights=WEIGHT),
            fit_cross_sections(own, "x", weights=WEIGHT),
            fit_cross_sections(panel, "x", weights="true"),
        )
    )
    assert best < new < 0.95 * old
    assert old < equal


def test_one_wrong_return_does_not_hide_an_asset():
    """A return that is a thousand times too large counts as ten standard deviations."""
    panel = ragged(4, n_periods=40, n_assets=30, present=1.0)
    wrong = (pl.col("asset") == "a3") & (pl.col("period") == 25)
    spoilt = panel.with_columns(pl.when(wrong).then(1e3).otherwise("return").alias("return"))

    def last(frame, **options):
        weights = inverse_variance_weights(frame, fit_cross_sections(frame, "x"), **options)
        return weights.filter(period=39, asset="a3")[WEIGHT].item()

    true = last(panel, shrinkage=0)
    assert true / 10 < last(spoilt, shrinkage=0) < true
    assert last(spoilt, shrinkage=0, cut=float("inf")) < true / 1000


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), last=st.integers(0, 10), half=st.sampled_from([None, 3.0]))
def test_the_future_changes_nothing(seed, last, half):
    """Whatever comes after a period, up to it all lags and weights stay as they are."""
    panel = ragged(seed)
    rng = np.random.default_rng(seed + 1)
    later = pl.col("period") > last
    other = panel.with_columns(
        pl.when(later).then(pl.Series(name, rng.lognormal(0, 3, panel.height))).otherwise(name)
        for name in ("return", "x", "cap")
    ).filter(~later | pl.Series(rng.random(panel.height) < 0.5))

    def known(frame):
        first = fit_cross_sections(frame, "x", weights="cap")
        frame = inverse_variance_weights(frame, first, weights="cap", min_periods=2, half_life=half)
        return lag_exposures(frame, ["x", "cap"]).filter(~later)

    assert_frame_equal(known(other), known(panel), check_exact=True)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), last=st.integers(4, 10))
def test_no_step_of_a_model_sees_the_future(seed, last):
    """From raw characteristics to factor returns, with everything after a period changed."""
    panel = ragged(seed, n_assets=30, present=0.9).rename({"^c.*$": "sector"})
    rng = np.random.default_rng(seed + 1)
    later = pl.col("period") > last
    other = panel.with_columns(
        *(
            pl.when(later).then(pl.Series(name, rng.lognormal(0, 3, panel.height))).otherwise(name)
            for name in ("return", "x", "cap")
        ),
        pl.when(later & (pl.col("x") > 0)).then(pl.lit("new")).otherwise("sector").alias("sector"),
    ).filter(~later | pl.Series(rng.random(panel.height) < 0.7))

    def model(frame):
        one = pl.lit(1.0).alias("one")
        raw = frame.with_columns(
            fill_missing_by_group(winsorize("x", quantiles=(0.05, 0.95)), "sector").over("period"),
            rank=rank_normal("x").over("period"),
        )
        raw = raw.with_columns(rank=neutralize("rank", [one, "x"]).over("period"))
        raw = raw.with_columns(zscore("x", weights="cap").over("period"))
        known = lag_exposures(raw, ["x", "rank", "sector", "cap"])
        known = known.with_columns(w=cap_weights("cap", max_share=0.2).over("period"))
        options = {"intercept": True, "categories": {"sector": "cap"}}
        first = fit_cross_sections(known, ["x", "rank"], weights="w", **options)
        second = inverse_variance_weights(known, first, weights="w", min_periods=2)
        return fit_cross_sections(second, ["x", "rank"], weights=WEIGHT, **options)

    fits, others = model(panel), model(other)
    names = fits.factor_returns.columns
    assert "sector=u" in names
    assert set(names) <= {*others.factor_returns.columns}
    for name in ("factor_returns", "specific_returns", "diagnostics"):
        one, its = (getattr(x, name).filter(~later) for x in (fits, others))
        assert_frame_equal(its.select(one.columns), one, rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shrinkage": 1.1}, "shrinkage is 1.1, expected a number from 0 to 1"),
        ({"half_life": 0}, "half_life is 0, expected a finite number > 0 or None"),
        ({"half_life": float("nan")}, "half_life is nan"),
        ({"min_periods": 0}, "min_periods is 0, expected a whole number >= 1"),
        ({"max_ratio": 0.5}, "max_ratio is 0.5, expected a finite number >= 1"),
        ({"cut": 0.5}, "cut is 0.5, expected a number >= 1"),
        ({"cut": float("nan")}, "cut is nan, expected a number >= 1"),
        ({"weights": "^c.*$"}, "weights column '^c.*\\$' is String, expected a numeric type"),
        ({"weights": "asset"}, "'asset' is named as asset and as weights"),
        ({"weights": "nowhere"}, "weights column 'nowhere' is not in the panel"),
        ({"name": "x"}, "column 'x' is in the panel already, expected a new name"),
    ],
)
def test_bad_arguments_say_what_is_wrong(arguments, message):
    panel = ragged(1)
    fits = fit_cross_sections(panel, "x")
    with pytest.raises(ValueError, match=message.replace("^", "\\^")):
        inverse_variance_weights(panel, fits, **arguments)
    with pytest.raises(TypeError, match="shrinkage is 'x', expected a number from 0 to 1"):
        inverse_variance_weights(panel, fits, shrinkage="x")


@pytest.mark.parametrize("columns", [3, [None], ["x", 3]])
def test_names_that_are_no_strings_are_refused(columns):
    with pytest.raises(
        TypeError, match=r"^columns (is|holds) (3|None), expected a list of column names$"
    ):
        lag_exposures(ragged(1), columns)


def test_a_new_name_that_is_no_string_is_refused():
    fits = fit_cross_sections(ragged(1), "x")
    with pytest.raises(TypeError, match=r"^name is 3, expected a column name$"):
        inverse_variance_weights(ragged(1), fits, name=3)


@pytest.mark.parametrize("lazy", [False, True])
def test_negative_weights_and_foreign_fits_are_refused(lazy):
    panel = ragged(1)
    fits = fit_cross_sections(panel, "x")
    negative = panel.with_columns(-pl.col("cap"))
    given = negative.lazy() if lazy else negative
    with pytest.raises(PanelError, match="weights column 'cap' is negative in"):
        inverse_variance_weights(given, fits, weights="cap").lazy().collect()
    with pytest.raises(TypeError, match=r"^fits is a DataFrame, expected the result of fit_"):
        inverse_variance_weights(panel, panel)
    renamed = panel.rename({"period": "month"})
    with pytest.raises(PanelError, match="period column 'period' is not in the panel"):
        inverse_variance_weights(renamed.lazy() if lazy else renamed, fits)


def sole(n_lone, n_periods=24, n_assets=20):
    """Assets of equal variance, ``n_lone`` of them alone in their sectors, the last one new."""
    rng = np.random.default_rng(0)
    n = n_periods * n_assets
    panel = pl.DataFrame(
        {
            "period": np.repeat(np.arange(n_periods), n_assets),
            "asset": np.tile(np.arange(n_assets), n_periods),
            "return": rng.standard_normal(n) * 0.01,
            "sector": [f"{a if a < n_lone else 's'}" for a in range(n_assets)] * n_periods,
        }
    )
    return panel.filter((pl.col("asset") < n_assets - 1) | (pl.col("period") >= 20))


@pytest.mark.parametrize("n_lone", [1, 6])
def test_residuals_that_are_rounding_are_no_history(n_lone):
    """An asset alone in its sector fits exactly: that is not to say that it has no variance."""
    panel = sole(n_lone)
    fits = fit_cross_sections(panel, [], intercept=True, categories={"sector": None})
    lone = pl.col("asset") < n_lone
    residuals = fits.specific_returns.filter(lone)["specific_return"].abs()
    assert 0 < residuals.max() < 1e-15
    weights = inverse_variance_weights(panel, fits).filter(period=23).sort("asset")
    newcomer = weights[WEIGHT][-1]
    assert weights.filter(lone)[WEIGHT].to_list() == pytest.approx([newcomer] * n_lone)
    others = weights.filter(~lone)[WEIGHT]
    assert others.median() == pytest.approx(newcomer, rel=0.2)


def test_a_period_without_weights_has_none():
    panel = ragged(9)
    fits = fit_cross_sections(panel, "x")
    for value in (0.0, None):
        cap = pl.when(pl.col("period") == 8).then(value).otherwise("cap").alias("cap")
        weights = inverse_variance_weights(panel.with_columns(cap), fits, weights="cap")
        assert set(weights.filter(period=8)[WEIGHT]) == {value}
        assert weights.filter(period=7)[WEIGHT].mean() == pytest.approx(1)


def test_history_is_that_of_the_fits():
    panel = ragged(6, n_periods=16)
    fits = fit_cross_sections(panel, "x")
    options = {"min_periods": 3, "half_life": 5.0}
    whole = inverse_variance_weights(panel, fits, **options)
    late = pl.col("period") >= 14
    assert_frame_equal(
        inverse_variance_weights(panel.filter(late), fits, **options), whole.filter(late)
    )


@pytest.mark.parametrize("unit", [1e-200, 1e-160, 1e160, 1e200])
def test_units_of_returns_and_weights_do_not_matter(unit):
    panel = ragged(7, n_periods=16)
    options = {"weights": "cap", "min_periods": 3}
    expected = inverse_variance_weights(panel, fit_cross_sections(panel, "x"), **options)
    assert expected[WEIGHT].std() > 0.1
    scaled = panel.with_columns(pl.col("return") * unit, pl.col("cap") * unit**1.5)
    answer = inverse_variance_weights(scaled, fit_cross_sections(scaled, "x"), **options)
    assert_frame_equal(answer.select(WEIGHT), expected.select(WEIGHT), rel_tol=1e-9)


@pytest.mark.parametrize("key", ["period", "asset"])
@pytest.mark.parametrize("lazy", [False, True])
def test_keys_of_another_type_are_refused(key, lazy):
    panel = ragged(8)
    fits = fit_cross_sections(panel, "x")
    other = panel.with_columns(pl.col(key).cast(pl.Categorical if key == "asset" else pl.String))
    with pytest.raises(PanelError, match=f"{key} column '{key}' is .*, expected .* as in the fits"):
        inverse_variance_weights(other.lazy() if lazy else other, fits)
