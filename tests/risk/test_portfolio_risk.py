"""factor_exposures and portfolio_risk: published numbers, a dense oracle, identities, bad input."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal

from portfolio_market import FIRST, N_PERIODS, SECTORS, market
from portfolio_oracle import exposures_of, risk_of
from vbase_py_utils import (
    PanelError,
    factor_exposures,
    fit_cross_sections,
    portfolio_risk,
)
from vbase_py_utils.fit import one_pass
from vbase_py_utils.risk import answers, portfolio

DATA = Path(__file__).parent / "data"
KEYS = ["period", "portfolio"]


@pytest.fixture
def given(rng):
    return market(rng)


@pytest.fixture
def whole(rng):
    """A market without gaps."""
    return market(rng, gaps=False)


def risk_with(given, **changed):
    """The risk of the portfolios; ``changed`` are frames and arguments in place of the usual."""
    names = ("weights", "panel", "fits", "covariance", "specific")
    frames = [changed.pop(name, getattr(given, name)) for name in names]
    return portfolio_risk(*frames, **changed)


def test_published_numbers():
    """facmodCS 1.0.5 in R, portfolio risk with sample covariances; skfolio 1.12.2 for assets."""
    panel = pl.read_csv(DATA / "panel.csv", try_parse_dates=True)
    last = panel["period"].max()
    fits = fit_cross_sections(panel, ["beta", "value", "size"], huber_t=np.inf)
    factors = list(fits.estimated.factors)
    sample = np.cov(fits.factor_returns.drop("period").to_numpy().T)
    covariance = pl.DataFrame({"period": [last] * 3, "factor": factors}).hstack(
        [pl.Series(name, column) for name, column in zip(factors, sample, strict=True)]
    )
    specific = fits.specific_returns.group_by("asset").agg(
        specific_risk=pl.col("specific_return").std(), period=pl.lit(last)
    )
    weights = pl.read_csv(DATA / "weights.csv").with_columns(period=pl.lit(last))
    risk = portfolio_risk(weights, panel, fits, covariance, specific)
    assert_allclose(risk.summary["risk"].item(), 0.0450040784662737, rtol=1e-14)
    contributions = [
        0.039375318094385256, 0.001213325372879950, 0.000512643104341122, 0.003902791894667345,
    ]  # fmt: skip
    assert_allclose(risk.factors["contribution"], contributions, rtol=0, atol=1e-14)
    correlations = [0.951427616018583, -0.366777497254954, 0.200520272455472]
    assert_allclose(risk.factors["correlation"].head(3), correlations, rtol=0, atol=1e-14)
    assets = [
        0.004921932713033, -0.001291641410118, 0.008889527796297, 0.005116036428055,
        0.003535042767105, 0.007504800779873, 0.004702024083206, 0.000857024073344,
        0.004211582468243, 0.000461506914024, 0.001326561964537, 0.004769679888674,
    ]  # fmt: skip
    assert risk.assets["asset"].to_list() == weights["asset"].to_list()
    assert_allclose(risk.assets["contribution"], assets, rtol=0, atol=1e-14)


def of_period(given, period):
    """What the oracle takes of a period."""
    own = given.fits.estimated
    rows = given.panel.filter(pl.col("period") == period).rows(named=True)
    exposures = {row["asset"]: exposures_of(row, own) for row in rows}
    exposures = {a: x for a, x in exposures.items() if x is not None}
    block = given.covariance.filter(pl.col("period") == period).drop("period", "factor")
    covariance = block.to_numpy() if block.height else np.full((len(own.factors),) * 2, np.nan)
    risks = given.specific.filter(pl.col("period") == period)
    specific = dict(risks.select("asset", "specific_risk").rows())
    return exposures, specific, covariance, own.factors


def weights_of(frame, **keys):
    return dict(frame.filter(**keys).select("asset", "weight").rows())


@pytest.mark.parametrize("gaps", [True, False])
def test_risk_is_that_of_a_dense_matrix(rng, gaps):
    given = market(rng, gaps)
    risk = risk_with(given)
    n_unknown = 0
    for row in risk.summary.rows(named=True):
        key = {name: row[name] for name in KEYS}
        known = of_period(given, row["period"])
        expected = risk_of(weights_of(given.weights, **key), *known)
        assert row["covered"] == pytest.approx(expected["covered"], abs=1e-15)
        factors = risk.factors.filter(**key)
        exposures = dict(factors.select("factor", "exposure").rows())
        assert exposures.pop("specific") is None
        assert exposures == pytest.approx(expected["exposures"], abs=1e-14)
        if expected["risk"] is None:
            n_unknown += 1
            assert row["risk"] is row["factor_risk"] is row["specific_risk"] is None
            assert factors["contribution"].null_count() == factors.height
            continue
        assert row["risk"] == pytest.approx(expected["risk"], rel=1e-13)
        contributions = dict(factors.select("factor", "contribution").rows())
        assert contributions.pop("specific") == pytest.approx(expected["specific"], rel=1e-13)
        assert contributions == pytest.approx(expected["factors"], abs=1e-15)
        assets = risk.assets.filter(**key)
        found = dict(assets.filter(pl.col("weight") != 0).select("asset", "contribution").rows())
        assert found == pytest.approx(expected["assets"], abs=1e-15)
    assert n_unknown > 5 if gaps else n_unknown == 0
    assert risk.summary.height == 3 * (N_PERIODS - FIRST)


def test_active_risk_and_beta_are_those_of_a_dense_matrix(whole):
    risk = risk_with(whole, benchmark=whole.benchmark)
    plain = risk_with(whole)
    for name in ("summary", "factors", "assets"):
        ours = getattr(risk, name).select(getattr(plain, name).columns)
        if name == "assets":
            ours = ours.join(plain.assets, on=[*KEYS, "asset"], how="semi", maintain_order="left")
        assert_frame_equal(ours, getattr(plain, name))
    for row in risk.summary.rows(named=True):
        key = {name: row[name] for name in KEYS}
        known = of_period(whole, row["period"])
        bench = weights_of(whole.benchmark, period=row["period"])
        own = weights_of(whole.weights, **key)
        active = {a: own.get(a, 0) - bench.get(a, 0) for a in {*own, *bench}}
        expected = risk_of(active, *known)
        assert row["active_risk"] == pytest.approx(expected["risk"], rel=1e-13)
        assert row["active_covered"] == 1
        factors = risk.factors.filter(**key)
        contributions = dict(factors.select("factor", "active_contribution").rows())
        assert contributions.pop("specific") == pytest.approx(expected["specific"], rel=1e-12)
        assert contributions == pytest.approx(expected["factors"], abs=1e-15)
        assets = risk.assets.filter(**key)
        found = dict(assets.select("asset", "active_contribution").rows())
        assert found == pytest.approx(expected["assets"], abs=1e-15)
        # By polarisation: 2 cov = var of the sum - var of each.
        both = {a: own.get(a, 0) + bench.get(a, 0) for a in active}
        v_both, v_own, v_bench = (risk_of(w, *known)["risk"] ** 2 for w in (both, own, bench))
        beta = (v_both - v_own - v_bench) / 2 / v_bench
        assert row["beta"] == pytest.approx(beta, abs=1e-12)


@pytest.mark.parametrize("benchmark", [False, True])
def test_contributions_add_up_to_the_risk(whole, benchmark):
    risk = risk_with(whole, benchmark=whole.benchmark if benchmark else None)
    for prefix in ("", "active_") if benchmark else ("",):
        sums = [
            getattr(risk, name)
            .group_by(KEYS, maintain_order=True)
            .agg(pl.sum(f"{prefix}contribution"))[f"{prefix}contribution"]
            for name in ("factors", "assets")
        ]
        total = risk.summary[f"{prefix}risk"].to_numpy()
        for one in sums:
            assert_allclose(one, total, rtol=1e-14)
        shares = risk.factors.group_by(KEYS, maintain_order=True).agg(pl.sum(f"{prefix}share"))
        assert_allclose(shares[f"{prefix}share"], 1, rtol=1e-14)
    parts = risk.summary.select(
        (pl.col("factor_risk") ** 2 + pl.col("specific_risk") ** 2).sqrt()
    ).to_series()
    assert_allclose(parts, risk.summary["risk"], rtol=1e-14)
    product = risk.factors.select(
        pl.col("exposure").fill_null(1) * pl.col("volatility") * pl.col("correlation")
    ).to_series()
    assert_allclose(product, risk.factors["contribution"], atol=1e-16)


def test_of_the_benchmark_itself_nothing_is_active(whole):
    risk = risk_with(whole, weights=whole.benchmark, benchmark=whole.benchmark)
    assert_allclose(risk.summary["beta"], 1, rtol=1e-13)
    assert risk.summary["active_risk"].unique().to_list() == [0]
    assert risk.factors["active_contribution"].unique().to_list() == [0]
    assert set(risk.summary["portfolio"]) == {"portfolio"}


def test_periods_per_year_multiplies_the_summary_alone(whole):
    plain = risk_with(whole, benchmark=whole.benchmark)
    yearly = risk_with(whole, benchmark=whole.benchmark, periods_per_year=252)
    assert_frame_equal(plain.factors, yearly.factors)
    assert_frame_equal(plain.assets, yearly.assets)
    risks = ["risk", "factor_risk", "specific_risk", "active_risk"]
    scaled = plain.summary.with_columns(pl.col(risks) * np.sqrt(252))
    assert_frame_equal(yearly.summary, scaled)


def test_factor_portfolios_have_one_exposure(whole):
    """The holdings behind a factor return: an exposure of one to the factor, none to others."""
    styles = fit_cross_sections(whole.panel, ["value", "size"], intercept=True)
    holdings = styles.factor_portfolios.rename({"factor": "of", "holding": "weight"})
    exposures = factor_exposures(holdings, whole.panel, styles, portfolio="of")
    expected = (exposures["of"] == exposures["factor"]).cast(pl.Float64)
    assert_allclose(exposures["exposure"], expected, atol=1e-12)
    assert exposures.height == N_PERIODS * 9


def test_two_portfolios_together_have_the_sum_of_exposures(given):
    first, second = (given.weights.filter(portfolio=p).drop("portfolio") for p in ("b", "growth"))
    both = pl.concat([first, second]).group_by("period", "asset").agg(pl.sum("weight"))
    one, other, sums = (
        factor_exposures(w, given.panel, given.fits)["exposure"] for w in (first, second, both)
    )
    assert_allclose(one + other, sums, atol=1e-14)


@pytest.mark.parametrize(
    "lazy", ["weights", "panel", "fits", "covariance", "specific", "benchmark"]
)
def test_lazy_if_anything_is(given, lazy):
    eager = risk_with(given, benchmark=given.benchmark)
    frame = getattr(given, lazy)
    if lazy == "fits":
        model = {"intercept": True, "categories": {"sector": "cap"}, "weights": "cap"}
        panel = given.panel.with_columns(pl.col("sector").cast(pl.Enum(sorted(SECTORS))))
        frame = fit_cross_sections(panel.lazy(), ["value", "size"], **model)
    else:
        frame = frame.lazy()
    query = risk_with(given, **{"benchmark": given.benchmark} | {lazy: frame})
    assert repr(query) == "PortfolioRisk, lazy: collect() computes it"
    for name in ("summary", "factors", "assets"):
        own = getattr(query, name)
        assert own.collect_schema() == getattr(eager, name).schema
        assert_frame_equal(own.collect(), getattr(eager, name))
        assert_frame_equal(getattr(query.collect(), name), getattr(eager, name))
    assert eager.collect() is eager


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("cells", [60, 500, 10**6])
def test_one_pass_gives_the_same(given, engine, cells, monkeypatch):
    monkeypatch.setattr(one_pass, "BLOCK_CELLS", cells)
    eager = risk_with(given, benchmark=given.benchmark)
    frames = {
        name: getattr(given, name).sort("period", maintain_order=True).lazy()
        for name in ("weights", "panel", "specific", "covariance")
    }
    query = risk_with(given, **frames, benchmark=given.benchmark.lazy(), sorted_by_period=True)
    for name in ("summary", "factors"):
        assert_frame_equal(
            getattr(query, name).collect(engine=engine), getattr(eager, name), check_exact=True
        )
    order = [*KEYS, "asset"]
    assert_frame_equal(query.assets.collect(engine=engine).sort(order), eager.assets.sort(order))
    late = query.summary.filter(pl.col("period") > 20).select("risk").collect(engine=engine)
    assert_frame_equal(late, eager.summary.filter(pl.col("period") > 20).select("risk"))
    wrong = risk_with(given, weights=frames["weights"].reverse(), sorted_by_period=True)
    with pytest.raises(PanelError, match="period column 'period' is not sorted"):
        wrong.summary.collect()


def test_what_is_not_known_is_null_and_covered_says_so(whole):
    period = N_PERIODS - 1
    weights = pl.DataFrame(
        {"period": [period] * 2, "asset": ["a00", "a01"], "weight": [0.25, -0.75]}
    )
    known = risk_with(whole, weights=weights)
    assert known.summary["covered"].item() == 1

    def lose(name, column, asset="a01"):
        lost = (pl.col("asset") == asset) & (pl.col("period") == period)
        return getattr(whole, name).with_columns(pl.when(~lost).then(column).alias(column))

    for change in (
        {"panel": lose("panel", "value")},
        {"panel": lose("panel", "sector")},
        {"panel": whole.panel.filter(pl.col("asset") != "a01")},
        {"specific": lose("specific", "specific_risk")},
        {"specific": whole.specific.filter(pl.col("asset") != "a01")},
    ):
        risk = risk_with(whole, weights=weights, **change)
        assert risk.summary.row(0)[2:] == (None, None, None, 0.25)
        assert risk.assets["contribution"].null_count() == 2
    # An asset that nobody holds, and one whose weight is zero, do not matter.
    nothing = weights.with_columns(weight=pl.Series([0.25, 0.0]))
    for own, change in ((weights, "a05"), (nothing, "a01")):
        risk = risk_with(whole, weights=own, panel=lose("panel", "value", change))
        assert_allclose(risk.summary["covered"].item(), 1)
        assert risk.summary["risk"].null_count() == 0
    # A factor without covariance, to which it is exposed or not.
    sector = "sector=tech"
    unknown = whole.covariance.with_columns(
        pl.when(pl.col("factor") != sector).then(pl.exclude("period", "factor", sector)),
        pl.lit(None, pl.Float64).alias(sector),
    ).select(whole.covariance.columns)
    risk = risk_with(whole, weights=weights, covariance=unknown)
    assert risk.summary.row(0)[2:] == (None, None, None, 1.0)
    other = weights.with_columns(asset=pl.Series(["a02", "a01"]))
    risk = risk_with(whole, weights=other, covariance=unknown)
    assert_frame_equal(risk.summary, risk_with(whole, weights=other).summary)
    # Neither the period of the covariance nor that of the panel.
    early = whole.covariance.filter(pl.col("period") < period)
    assert risk_with(whole, weights=weights, covariance=early).summary["risk"].item() is None
    late = weights.with_columns(period=pl.lit(99, pl.Int64))
    assert risk_with(whole, weights=late).summary.row(0)[2:] == (None, None, None, 0.0)


def test_a_matrix_that_is_not_a_covariance_has_no_risk():
    keys = {"period": [1, 1], "asset": ["A", "B"]}
    panel = pl.DataFrame({**keys, "return": [0.1, 0.2], "x": [1.0, 0.0], "y": [0.0, 1.0]})
    fits = fit_cross_sections(panel, ["x", "y"])
    matrix = {"period": [1, 1], "factor": ["x", "y"], "x": [1e-4, 2e-4], "y": [2e-4, 1e-4]}
    specific = pl.DataFrame({**keys, "specific_risk": [0.02, 0.02]})
    weights = pl.DataFrame({**keys, "weight": [1.0, -1.0]})
    risk = portfolio_risk(weights, panel, fits, pl.DataFrame(matrix), specific)
    assert risk.summary.row(0)[2:] == (None, None, None, 1.0)
    assert risk.factors["contribution"].null_count() == 3
    # A factor that never moves, and yet moves with another, has no correlation.
    matrix |= {"x": [0.0, 1e-4], "y": [1e-4, 1e-4]}
    both = weights.with_columns(weight=1.0)
    risk = portfolio_risk(both, panel, fits, pl.DataFrame(matrix), specific)
    assert risk.factors["correlation"].is_null().to_list() == [True, False, False]


def test_next_to_nothing_that_is_not_known_is_not_nothing(whole):
    weights = pl.DataFrame({"period": [20] * 2, "asset": ["a00", "gone"], "weight": [1.0, 1e-30]})
    summary = risk_with(whole, weights=weights).summary
    assert summary["risk"].item() is None
    assert 1 - 1e-15 < summary["covered"].item() < 1


def test_what_has_no_risk_has_no_beta(whole):
    weights = pl.DataFrame({"period": [20], "asset": ["a01"], "weight": [1.0]})
    others = whole.benchmark.filter(pl.col("asset") != "a01")
    specific = whole.specific.filter(pl.col("asset") != "a01")
    risk = risk_with(whole, weights=weights, benchmark=others, specific=specific)
    assert risk.summary.select("risk", "beta", "active_risk").row(0) == (None, None, None)


def test_a_benchmark_of_nothing_has_no_beta(whole):
    risk = risk_with(whole, benchmark=whole.benchmark.with_columns(weight=0.0))
    assert risk.summary["beta"].null_count() == risk.summary.height
    assert_frame_equal(risk.summary["active_risk"].alias("risk").to_frame(),
                       risk.summary.select("risk"))  # fmt: skip


def test_an_exposure_that_is_rounding_needs_no_covariance(whole):
    unknown = whole.covariance.with_columns(
        pl.when(pl.col("factor") != "intercept").then(pl.exclude("period", "factor", "intercept")),
        pl.lit(None, pl.Float64).alias("intercept"),
    ).select(whole.covariance.columns)
    keys = {"period": [20] * 3, "asset": ["a00", "a03", "a06"]}  # of one sector
    weights = pl.DataFrame({**keys, "weight": [0.1, 0.2, -0.3]})
    assert sum(weights["weight"]) != 0
    risk = risk_with(whole, weights=weights, covariance=unknown)
    assert risk.summary["risk"].null_count() == 0


def test_what_nobody_asks_for_is_not_kept(whole, monkeypatch):
    """The summary in one pass keeps a few numbers of each period, not its assets."""
    kept = []
    original = answers.in_blocks

    def spy(stream, size):
        for some in original(stream, size):
            kept.extend(some)
            yield some

    monkeypatch.setattr(portfolio, "in_blocks", spy)
    risk_with(whole, weights=whole.weights.lazy(), benchmark=whole.benchmark).summary.collect()
    assert len(kept) == N_PERIODS - FIRST
    for one in kept:
        arrays = [one.positions, one.numbers, one.own.weights, one.active.weights]
        assert all(array.size == 0 and array.base is None for array in arrays[1:])
        assert one.positions.size == 0


def test_results_can_be_sent_to_another_process(whole):
    risk = pickle.loads(pickle.dumps(risk_with(whole)))
    assert_frame_equal(risk.factors, risk_with(whole).factors)


@pytest.mark.parametrize("name", ["share", "risk", "beta", "marginal", "covered", "volatility"])
def test_names_of_columns_of_the_answer_are_taken(whole, name):
    weights = whole.weights.rename({"portfolio": name})
    with pytest.raises(PanelError, match=f"'{name}'"):
        risk_with(whole, weights=weights, portfolio=name, benchmark=whole.benchmark)


def test_small_frames(whole):
    empty = risk_with(whole, weights=whole.weights.clear(), benchmark=whole.benchmark)
    full = risk_with(whole, benchmark=whole.benchmark)
    for name in ("summary", "factors", "assets"):
        assert getattr(empty, name).is_empty()
        assert getattr(empty, name).schema == getattr(full, name).schema
    nothing = whole.weights.with_columns(weight=0.0)
    risk = risk_with(whole, weights=nothing)
    assert set(risk.summary["risk"]) == {0.0}
    assert set(risk.factors["contribution"]) == {0.0}
    assert risk.factors["correlation"].null_count() == risk.factors.height
    assert factor_exposures(whole.weights.clear(), whole.panel, whole.fits).is_empty()


@pytest.mark.parametrize("unit", [1e-120, 1e-9, 1e9, 1e120])
def test_any_unit(whole, unit):
    factors = pl.exclude("period", "factor")
    risk = risk_with(
        whole,
        covariance=whole.covariance.with_columns(factors * unit**2),
        specific=whole.specific.with_columns(pl.col("specific_risk") * unit),
    )
    expected = risk_with(whole)
    assert_allclose(risk.summary["risk"] / unit, expected.summary["risk"], rtol=1e-12)


@pytest.mark.parametrize("dtype", [pl.Categorical(), pl.Enum(["growth", "b", "long-short"])])
def test_portfolios_may_be_categories(given, dtype):
    weights = given.weights.with_columns(pl.col("portfolio").cast(dtype))
    risk = risk_with(given, weights=weights)
    assert risk.summary.schema["portfolio"] == dtype
    plain = risk_with(given).summary.with_columns(pl.col("portfolio").cast(dtype))
    assert_frame_equal(risk.summary.sort("period", pl.col("portfolio").cast(pl.String)),
                       plain.sort("period", pl.col("portfolio").cast(pl.String)))  # fmt: skip


def test_names_of_the_user(given):
    names = {"period": "day", "asset": "id"}
    panel, specific = given.panel.rename(names), given.specific.rename(names)
    fits = fit_cross_sections(
        panel, ["value", "size"], intercept=True, categories={"sector": "cap"}, weights="cap",
        period="day", asset="id",
    )  # fmt: skip
    weights = given.weights.rename({**names, "portfolio": "fund", "weight": "w"})
    risk = portfolio_risk(
        weights, panel, fits, given.covariance.rename({"period": "day"}), specific,
        weight="w", portfolio="fund",
    )  # fmt: skip
    expected = risk_with(given)
    back = {"day": "period", "fund": "portfolio"}
    assert_frame_equal(risk.summary.rename(back), expected.summary)
    assert risk.assets.columns[:3] == ["day", "fund", "id"]


def test_frames_that_are_given_stay_as_they_are(given):
    before = market(np.random.default_rng(20260101))
    risk_with(given, benchmark=given.benchmark)
    assert given.panel.equals(before.panel)
    assert given.weights.equals(before.weights)
    assert given.specific.equals(before.specific)


BAD = [
    ({"weights": {"weight": None}}, "weight column 'weight' of weights is null in 1 row"),
    ({"weights": {"weight": float("nan")}}, "weight column 'weight' of weights is nan in 1 row"),
    ({"weights": {"asset": None}}, "asset column 'asset' is null in 1 row"),
    ({"weights": {"portfolio": None}}, "portfolio column 'portfolio' is null in 1 row"),
    ({"weights": {"period": None}}, "period column 'period' is null in 1 row"),
    ({"benchmark": {"weight": None}}, "weight column 'weight' of benchmark is null in 1 row"),
    ({"panel": {"asset": None}}, "asset column 'asset' is null in 1 row"),
]  # fmt: skip


@pytest.mark.parametrize("how", ["eager", "lazy", "one pass"])
@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_values_say_what_is_wrong(given, change, message, how):
    frames = {"benchmark": given.benchmark}
    for name, values in change.items():
        frame = getattr(given, name).sort("period", maintain_order=True)
        row = pl.int_range(pl.len()) == frame.height - 1
        frames[name] = frame.with_columns(
            pl.when(row).then(pl.lit(value, frame.schema[column])).otherwise(column).alias(column)
            for column, value in values.items()
        )
    if how != "eager":
        frames = {
            name: getattr(given, name).sort("period", maintain_order=True).lazy()
            for name in ("weights", "panel", "specific")
        } | {name: frame.lazy() for name, frame in frames.items()}
    with pytest.raises(PanelError, match=message) as caught:
        risk_with(given, **frames, sorted_by_period=how == "one pass").collect()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["weights", "benchmark", "panel", "specific"])
def test_keys_that_repeat_say_so(given, name):
    frame = getattr(given, name)
    twice = pl.concat([frame, frame.filter(pl.col("period") == 20).head(1)])
    with pytest.raises(PanelError, match=r"2 rows (of \w+ )?share a .*, for example") as caught:
        risk_with(given, **{"benchmark": given.benchmark, name: twice})
    assert "20" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("weights", pl.col("period").cast(pl.Int32), "period column 'period' .* Int32"),
        ("weights", pl.col("asset").cast(pl.Categorical), "asset column 'asset' .* Categorical"),
        ("weights", pl.col("weight").cast(pl.String), "weight column 'weight' is String"),
        ("benchmark", pl.col("weight").cast(pl.String), "weight column 'weight' is String"),
        ("panel", pl.col("value").cast(pl.String), "exposure column 'value' is String"),
        ("panel", pl.col("period").cast(pl.Int16), "period column 'period' .* Int16"),
        ("panel", pl.lit(1).alias("sector"), "sector"),
        ("specific", pl.col("specific_risk").cast(pl.String), "'specific_risk' is String"),
        ("specific", pl.col("asset").cast(pl.Binary), "asset column 'asset' .* Binary"),
        ("covariance", pl.col("period").cast(pl.UInt8), "period column 'period' .* UInt8"),
    ],
)
def test_types_that_do_not_fit_say_so(given, name, change, message):
    frames = {"benchmark": given.benchmark, name: getattr(given, name).with_columns(change)}
    for lazy in (False, True):
        if lazy:
            frames[name] = frames[name].lazy()
        with pytest.raises(PanelError, match=message):
            risk_with(given, **frames).collect()


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("weights", "period", "period column 'period' is not in weights"),
        ("weights", "asset", "asset column 'asset' is not in weights"),
        ("weights", "weight", "weight column 'weight' is not in weights"),
        ("panel", "size", "exposure column 'size' is not in the panel"),
        ("panel", "sector", "category column 'sector' is not in the panel"),
        ("specific", "specific_risk", "column 'specific_risk' is not in specific_risk"),
        ("covariance", "size", "factor_covariance lacks 'size', expected exactly the factors"),
        ("covariance", "factor", "factor column 'factor' is not in factor_covariance"),
    ],
)
def test_columns_that_are_missing_say_so(given, name, column, message):
    with pytest.raises(PanelError, match=message):
        risk_with(given, **{name: getattr(given, name).drop(column)})


def test_a_covariance_of_other_factors_says_so(given):
    fewer = given.covariance.filter(pl.col("factor") != "size").drop("size")
    with pytest.raises(PanelError, match="factor_covariance lacks 'size', expected exactly"):
        risk_with(given, covariance=fewer)
    other = given.covariance.with_columns(factor=pl.col("factor").replace("size", "volume"))
    other = other.rename({"size": "volume"})
    with pytest.raises(PanelError, match="has the factors 'volume' and lacks 'size', expected"):
        risk_with(given, covariance=other)
    skewed = given.covariance.with_columns(pl.col("size") * 2)
    with pytest.raises(PanelError, match="expected symmetric blocks"):
        risk_with(given, covariance=skewed)


def test_several_portfolios_without_a_column_say_so(given):
    plain = given.weights.drop("portfolio")
    with pytest.raises(PanelError, match=r"rows of weights share .*portfolios need a column"):
        factor_exposures(plain, given.panel, given.fits)
    with pytest.raises(PanelError, match=r"rows of benchmark share .*a benchmark is one portfolio"):
        factor_exposures(given.weights, given.panel, given.fits, benchmark=given.weights)


def test_risk_below_zero_says_so(given):
    minus = given.specific.with_columns(-pl.col("specific_risk"))
    with pytest.raises(PanelError, match=r"'specific_risk' is negative in \d+ rows, for example -"):
        risk_with(given, specific=minus)


def test_a_covariance_without_periods_says_so(given):
    with pytest.raises(PanelError, match="period column 'period' is not in factor_covariance"):
        risk_with(given, covariance=given.covariance.drop("period"))


def test_an_absent_asset_is_not_covered_by_an_intercept_alone(whole):
    fits = fit_cross_sections(whole.panel, [], intercept=True)
    weights = pl.DataFrame({"period": [20] * 2, "asset": ["a00", "gone"], "weight": [0.5, 0.5]})
    assert factor_exposures(weights, whole.panel, fits).row(0)[3:] == (0.5, 0.5)


def test_names_that_mean_something_else_say_so(given):
    panel = given.panel.rename({"value": "specific"})
    fits = fit_cross_sections(panel, ["specific", "size"])
    with pytest.raises(PanelError, match="a factor is named 'specific'"):
        factor_exposures(given.weights, panel, fits)
    with pytest.raises(PanelError, match="'factor'"):
        factor_exposures(
            given.weights.rename({"portfolio": "factor"}), given.panel, given.fits,
            portfolio="factor",
        )  # fmt: skip
    with pytest.raises(PanelError, match="column 'asset' is named as asset and as weight"):
        factor_exposures(given.weights, given.panel, given.fits, weight="asset")
    with pytest.raises(TypeError, match="fits is"):
        factor_exposures(given.weights, given.panel, given.panel)
    with pytest.raises(ValueError, match="periods_per_year is 0, expected a number of periods > 0"):
        risk_with(given, periods_per_year=0)
