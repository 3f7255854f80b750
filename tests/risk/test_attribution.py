"""attribution: published numbers, a slow oracle, identities, linking, and what is refused."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal

from portfolio_market import FIRST, MODEL, N_PERIODS, SECTORS, market
from portfolio_oracle import attribution_of, exposures_of
from vbase_py_utils import PanelError, attribution, factor_exposures, fit_cross_sections
from vbase_py_utils.fit import one_pass
from vbase_py_utils.kernel.attribution import linked
from vbase_py_utils.kernel.linking import carino_factors

DATA = Path(__file__).parent / "data"
KEYS = ["period", "portfolio"]
FRAMES = ("returns", "factors", "linked")


@pytest.fixture
def given(rng):
    return market(rng)


@pytest.fixture
def whole(rng):
    """A market without gaps."""
    return market(rng, gaps=False)


def attributed(given, **changed):
    """The attribution of the portfolios; ``changed`` are frames and arguments."""
    frames = [changed.pop(name, getattr(given, name)) for name in ("fits", "weights", "panel")]
    return attribution(*frames, **changed)


def test_published_numbers():
    """skfolio 1.12.2, realised attribution of a portfolio with constant weights."""
    panel = pl.read_csv(DATA / "panel.csv", try_parse_dates=True)
    fits = fit_cross_sections(panel, ["beta", "value", "size"], huber_t=np.inf)
    periods = panel.select("period").unique(maintain_order=True)
    weights = periods.join(pl.read_csv(DATA / "weights.csv"), how="cross")
    answer = attribution(fits, weights, panel)
    volatility = [0.036645115935525, -0.000527850264488, 0.004824291462161, 0.0018160878235406633]
    assert_allclose(answer.linked["volatility_contribution"].head(4), volatility, atol=1e-14)
    assert_allclose(answer.returns["total"].std(), 0.04275764495673887, rtol=1e-14)
    means = answer.factors.group_by("factor", maintain_order=True).agg(pl.mean("contribution"))
    expected = [0.000520012231986, -0.00172858529696, 0.000705262509302]
    assert_allclose(means["contribution"], expected, rtol=0, atol=1e-14)
    assert_allclose(answer.returns["specific"].mean(), -0.0013858611099575836, rtol=1e-13)


def test_published_linking():
    """Carino's linking without a benchmark, by R."""
    table = pl.read_csv(DATA / "linking.csv")
    total = table["total"].to_numpy()
    answer = linked(table.drop("total").to_numpy(), total, np.zeros(len(total)))
    expected = [0.8447818504570397, -0.0491059831438902, 0.0556427328448900]
    assert_allclose(answer.contribution, expected, rtol=1e-13)
    compounded = math.prod(1 + r for r in total) - 1
    assert compounded == pytest.approx(0.851318600169044, rel=1e-14)
    factors = carino_factors(total, np.zeros(len(total)))
    assert factors @ total == pytest.approx(0.851318600169044, rel=1e-14)


def test_equal_returns_are_linked_like_nearly_equal_ones():
    one = np.array([0.1])
    assert carino_factors(one, one) == pytest.approx(1, rel=1e-15)
    returns, benchmark = np.array([0.3, -0.2, 0.1]), np.array([0.1, 0.4, 0.1])
    nearly = carino_factors(returns, benchmark + np.array([0, 0, 1e-9]))
    assert_allclose(carino_factors(returns, benchmark), nearly, rtol=1e-8)


@drawn(st.lists(st.tuples(st.floats(-0.9, 3), st.floats(-0.9, 3), st.booleans()), min_size=1))
def test_linked_differences_add_up_to_the_compounded_difference(rows):
    returns = np.array([r for r, _, _ in rows])
    benchmark = np.array([r if same else b for r, b, same in rows])
    whole = math.prod(1 + returns) - math.prod(1 + benchmark)
    size = math.prod(1 + returns) + math.prod(1 + benchmark)
    sums = carino_factors(returns, benchmark) @ (returns - benchmark)
    assert sums == pytest.approx(whole, abs=1e-9 * size)


def known_of(given, period, fits_returns="return", returns="return"):
    """What the oracle takes of a period."""
    own = given.fits.estimated
    rows = given.panel.filter(pl.col("period") == period).rows(named=True)
    exposures = {row["asset"]: exposures_of(row, own) for row in rows}
    fitted, total = (
        {row["asset"]: row[name] for row in rows if row[name] is not None}
        for name in (fits_returns, returns)
    )
    f = given.fits.coefficients.filter(period=period).drop_nulls("factor_return")
    return (
        {a: x for a, x in exposures.items() if x is not None},
        fitted,
        total,
        dict(f.select("factor", "factor_return").rows()),
    )


def weights_of(frame, **keys):
    return dict(frame.filter(**keys).select("asset", "weight").rows())


def check(answer, row, expected):
    """Compare a row of the returns, and its factors, with the oracle."""
    for name in ("total", "specific", "unattributed", "covered"):
        assert row[name] == pytest.approx(expected[name], abs=1e-15), name
    assert row["n_uncovered"] == expected["n_uncovered"]
    factors = answer.factors.filter(**{name: row[name] for name in KEYS})
    contributions = dict(factors.select("factor", "contribution").rows())
    for name, value in expected["factors"].items():
        assert contributions.pop(name) == pytest.approx(value, abs=1e-15)
    assert set(contributions.values()) <= {0.0}
    assert row["factors"] == pytest.approx(math.fsum(expected["factors"].values()), abs=1e-15)


@pytest.mark.parametrize("gaps", [True, False])
def test_it_is_that_of_a_loop(rng, gaps):
    given = market(rng, gaps)
    answer = attributed(given)
    assert answer.returns.height == 3 * (N_PERIODS - FIRST)
    for row in answer.returns.rows(named=True):
        own = weights_of(given.weights, period=row["period"], portfolio=row["portfolio"])
        check(answer, row, attribution_of(own, *known_of(given, row["period"])))
    uncovered = answer.returns["n_uncovered"]
    assert (uncovered.sum() > 10) == gaps


@pytest.mark.parametrize("gaps", [True, False])
def test_against_a_benchmark_it_is_that_of_the_difference(rng, gaps):
    given = market(rng, gaps)
    answer = attributed(given, benchmark=given.benchmark)
    for row in answer.returns.rows(named=True):
        own = weights_of(given.weights, period=row["period"], portfolio=row["portfolio"])
        bench = weights_of(given.benchmark, period=row["period"])
        active = {a: own.get(a, 0) - bench.get(a, 0) for a in [*own, *bench]}
        known = known_of(given, row["period"])
        check(answer, row, attribution_of(active, *known))
        for name, weights in (("portfolio_return", own), ("benchmark_return", bench)):
            expected = attribution_of(weights, *known)["total"]
            assert row[name] == pytest.approx(expected, abs=1e-15)
    exposures = factor_exposures(given.weights, given.panel, given.fits, benchmark=given.benchmark)
    if not gaps:
        assert_allclose(exposures["exposure"], answer.factors["exposure"], atol=1e-15)


def test_parts_add_up_to_the_total(given):
    for benchmark in (None, given.benchmark):
        returns = attributed(given, benchmark=benchmark).returns
        parts = returns.select(pl.sum_horizontal("factors", "specific", "unattributed"))
        assert_allclose(parts.to_series(), returns["total"], rtol=0, atol=1e-15)
        assert returns["total"].null_count() == 0


@pytest.mark.parametrize("benchmark", [False, True])
def test_linked_contributions_add_up_to_the_compounded_return(given, benchmark):
    answer = attributed(given, benchmark=given.benchmark if benchmark else None)
    for (name,), own in answer.returns.group_by("portfolio"):
        parts = answer.linked.filter(portfolio=name)
        if benchmark:
            compounded = math.prod(1 + own["portfolio_return"]) - math.prod(
                1 + own["benchmark_return"]
            )
        else:
            compounded = math.prod(1 + own["total"]) - 1
        assert parts["contribution"].sum() == pytest.approx(compounded, abs=1e-14)
        sd = own["total"].std()
        assert parts["volatility_contribution"].sum() == pytest.approx(sd, rel=1e-12)
        factors = [*given.fits.estimated.factors, "specific", "unattributed"]
        assert parts["factor"].to_list() == factors


def losing(n_periods, **columns):
    """An asset that loses a tenth in every period, held alone, beside others."""
    panel = pl.DataFrame(
        {
            "period": np.repeat(np.arange(n_periods), 3),
            "asset": ["A", "B", "C"] * n_periods,
            "value": np.tile([1.0, 2.0, 4.0], n_periods),
            "return": np.tile([-0.1, 0.05, 0.02], n_periods),
        }
    ).with_columns(**columns)
    weights = panel.filter(asset="A").select("period", "asset", weight=pl.lit(1.0))
    return fit_cross_sections(panel, ["value"], huber_t=np.inf), weights, panel


@pytest.mark.parametrize("n_periods", [300, 345, 400, 2000])
def test_linking_keeps_its_digits_when_everything_is_lost(n_periods):
    fits, weights, panel = losing(n_periods)
    sums = attribution(fits, weights, panel).linked["contribution"].sum()
    assert sums == pytest.approx(0.9**n_periods - 1, rel=1e-10)
    benchmark = weights.with_columns(asset=pl.lit("C"), weight=0.5)
    active = attribution(fits, weights, panel, benchmark=benchmark).linked["contribution"].sum()
    assert active == pytest.approx(0.9**n_periods - 1.01**n_periods, rel=1e-10)


def test_a_return_of_minus_one_is_seen_beside_any_benchmark():
    for other in (0.035, 0.1, -0.3, 1 / 3):
        fits, weights, panel = losing(
            4, **{"return": pl.when(asset="A").then(-1.0).otherwise(other)}
        )
        benchmark = weights.with_columns(asset=pl.lit("B"))
        with pytest.raises(PanelError, match="return of the portfolio is -1 or less in 4 periods"):
            attribution(fits, weights, panel, benchmark=benchmark)


@pytest.mark.parametrize("name", ["*", "^.*$", "^portfolio$", "^p.*$", "row", "x0", ""])
def test_a_column_of_portfolios_may_have_any_other_name(given, name):
    weights = given.weights.rename({"portfolio": name})
    answer = attributed(given, weights=weights, portfolio=name)
    plain = attributed(given)
    for frame in FRAMES:
        expected = getattr(plain, frame)
        ours = getattr(answer, frame)
        assert ours.columns == [name if c == "portfolio" else c for c in expected.columns]
        ours = pl.DataFrame(dict(zip(expected.columns, ours.get_columns(), strict=True)))
        assert_frame_equal(ours, expected)


def test_names_of_columns_of_the_answer_are_taken(given):
    for name in ("total", "factors", "n_uncovered", "factor", "exposure", "contribution"):
        weights = given.weights.rename({"portfolio": name})
        with pytest.raises(PanelError, match=f"portfolio column is named '{name}'|'{name}'"):
            attributed(given, weights=weights, portfolio=name)


def test_a_period_to_come_is_not_linked_for_the_benchmark_itself():
    """What is held is judged by itself, not by the difference, which is nothing."""
    fits, weights, panel = losing(4, **{"return": pl.when(period=3).then(None).otherwise("return")})
    answer = attribution(fits, weights, panel, benchmark=weights)
    last = answer.returns.filter(period=3)
    returns = ["total", "portfolio_return", "benchmark_return"]
    assert last.select(returns).null_count().row(0) == (1, 1, 1)
    # Only one of two assets of each has a return.
    some = pl.DataFrame({"period": [0] * 2, "asset": ["A", "B"], "weight": [0.5, 0.5]})
    bench = some.with_columns(asset=pl.Series(["A", "C"]))
    lost = panel.with_columns(pl.when(pl.col("asset") == "A").then("return").alias("return"))
    row = attribution(fits, some, lost, benchmark=bench).returns.select(returns).row(0)
    assert row == pytest.approx((0, -0.05, -0.05))


def test_a_benchmark_without_returns_leaves_no_difference(given):
    known = attributed(given).returns.select(*KEYS, "total")
    lost = pl.when(pl.col("period") != 20).then("return").alias("return")
    answer = attributed(
        given,
        panel=given.panel.with_columns(lost),
        portfolio_returns=known,
        benchmark=given.benchmark,
    )
    rows = answer.returns.filter(period=20).select("total", "benchmark_return", "portfolio_return")
    assert rows.null_count().row(0) == (3, 3, 0)


def test_a_benchmark_has_rows_in_every_period(given):
    bench = given.benchmark.filter(pl.col("period") != 20)
    for weights in (given.weights, given.weights.lazy()):
        with pytest.raises(
            PanelError, match="benchmark has no rows at 20, a period of the weights"
        ):
            attributed(given, weights=weights, benchmark=bench).collect()


def test_results_can_be_sent_to_another_process(given):
    answer = pickle.loads(pickle.dumps(attributed(given)))
    assert_frame_equal(answer.linked, attributed(given).linked)
    assert answer.collect() is answer


def test_later_periods_change_no_bit_of_earlier_ones(rng):
    """Many assets, in another order in every period."""
    panel = market(rng, gaps=False).panel
    big = pl.concat(
        panel.with_columns(pl.col("asset") + f"-{i}", pl.col("return") * (1 + i / 10))
        for i in range(20)
    )
    fits = fit_cross_sections(big, ["value", "size"], **MODEL)
    weights = big.select("period", "asset", weight=pl.col("size") / 280)
    weights = weights.sample(fraction=0.6, shuffle=True, seed=3).sort("period", maintain_order=True)
    bench = big.select("period", "asset", weight=pl.lit(1 / 280))
    whole = attribution(fits, weights, big, benchmark=bench)
    for t in (0, 3, 12):
        early = weights.filter(pl.col("period") <= t)
        part = attribution(fits, early, big, benchmark=bench)
        for frame in ("returns", "factors"):
            before = getattr(whole, frame).filter(pl.col("period") <= t)
            assert_frame_equal(getattr(part, frame), before, check_exact=True)


def test_a_factor_portfolio_has_the_return_of_the_factor(whole):
    fits = fit_cross_sections(whole.panel, ["value", "size"], intercept=True, weights="cap")
    holdings = fits.factor_portfolios.rename({"factor": "of", "holding": "weight"})
    answer = attribution(fits, holdings, whole.panel, portfolio="of")
    own = fits.coefficients.rename({"factor": "of"})
    both = answer.returns.join(own, on=["period", "of"], validate="1:1")
    assert_allclose(both["total"], both["factor_return"], atol=1e-14)
    assert_allclose(both["factors"], both["factor_return"], atol=1e-14)
    assert_allclose(both["specific"], 0, atol=1e-14)
    assert set(both["unattributed"]) == {0}


def test_two_portfolios_together_have_the_sum(given):
    first, second = (given.weights.filter(portfolio=p).drop("portfolio") for p in ("b", "growth"))
    both = pl.concat([first, second]).group_by("period", "asset").agg(pl.sum("weight"))
    one, other, sums = (attributed(given, weights=w).returns for w in (first, second, both))
    for name in ("total", "factors", "specific", "unattributed"):
        assert_allclose(one[name] + other[name], sums[name], atol=1e-14)


def test_returns_may_be_others_than_those_that_were_fitted(given):
    """Excess returns were fitted; what they lack is nobody's."""
    panel = given.panel.with_columns(total=pl.col("return") + 0.001)
    answer = attributed(given, panel=panel, returns="total")
    for row in answer.returns.rows(named=True):
        own = weights_of(given.weights, period=row["period"], portfolio=row["portfolio"])
        known = known_of(given._replace(panel=panel), row["period"], "return", "total")
        check(answer, row, attribution_of(own, *known))
    covered = answer.returns.filter(pl.col("n_uncovered") == 0)
    held = given.weights.group_by(KEYS).agg(pl.sum("weight"))
    both = covered.join(held, on=KEYS)
    assert both.height > 3
    assert_allclose(both["unattributed"], 0.001 * both["weight"], atol=1e-15)


def test_known_returns_of_portfolios_leave_the_rest_unattributed(given):
    plain = attributed(given)
    costs = plain.returns.select(*KEYS, pl.col("total").alias("net") - 0.0003)
    for lazy in (False, True):
        shuffled = costs.sample(fraction=1, shuffle=True, seed=2)
        answer = attributed(given, portfolio_returns=shuffled.lazy() if lazy else shuffled)
        returns = answer.collect().returns
        assert_allclose(returns["total"], costs["net"], atol=1e-16)
        apart = returns["unattributed"] - plain.returns["unattributed"]
        assert_allclose(apart, -0.0003, atol=1e-15)
        same = ["factors", "specific", "covered", "n_uncovered"]
        assert_frame_equal(returns.select(same), plain.returns.select(same))
    bench = attributed(given, portfolio_returns=costs, benchmark=given.benchmark).returns
    assert_allclose(bench["portfolio_return"], costs["net"], atol=1e-15)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_return_that_is_no_number_is_missing(given, value):
    one = (pl.col("period") == 15) & (pl.col("asset") == "a01")
    frames = [
        attributed(
            given,
            panel=given.panel.with_columns(
                pl.when(one).then(v).otherwise("return").alias("return")
            ),
        )
        for v in (value, None)
    ]
    for name in FRAMES:
        assert_frame_equal(*(getattr(frame, name) for frame in frames))


def test_a_period_without_an_answer_is_unattributed(given):
    """Two assets cannot show five factors."""
    few = (pl.col("period") != 20) | pl.col("asset").is_in(["a00", "a01"])
    panel = given.panel.filter(few)
    fits = fit_cross_sections(panel, ["value", "size"], **MODEL)
    assert fits.diagnostics.filter(period=20)["status"].item() == "too_few_assets"
    answer = attributed(given, panel=panel, fits=fits)
    rows = answer.returns.filter(period=20)
    assert rows.select("factors", "specific").null_count().row(0) == (3, 3)
    assert rows["unattributed"].to_list() == rows["total"].to_list()
    assert set(rows["covered"]) == {0}
    assert answer.linked.null_count().sum_horizontal().item() == 0
    exposures = factor_exposures(given.weights, panel, fits).filter(period=20)
    assert_allclose(answer.factors.filter(period=20)["exposure"], exposures["exposure"], atol=1e-15)
    # A period that the fits do not know.
    late = fit_cross_sections(panel.filter(pl.col("period") > 22), ["value", "size"], **MODEL)
    early = attributed(given, panel=panel, fits=late).returns.filter(pl.col("period") <= 22)
    assert early["factors"].null_count() == early.height


def test_an_asset_without_exposure_is_unattributed_where_there_is_no_answer():
    """Its exposures are all zero, so no factor return is needed to explain it."""
    panel = pl.DataFrame(
        {
            "period": np.repeat([0, 1, 2], 3),
            "asset": ["A", "B", "C"] * 3,
            "return": [0.1, 0.2, 0.3, -0.1, 0.05, 0.02, 0.01, 0.02, 0.03],
            "x": [1.0, 2.0, 0.0] * 3,
            "y": [1.0, 2.0, 0.0, 1.0, -1.0, 0.0, 2.0, 1.0, 0.0],
        }
    )
    fits = fit_cross_sections(panel, ["x", "y"])
    assert fits.diagnostics["status"][0] == "rank_deficient"
    answer = attribution(fits, panel.select("period", "asset", weight=pl.lit(0.25)), panel)
    first = answer.returns.row(0, named=True)
    assert first["unattributed"] == pytest.approx(0.15, rel=1e-15) == first["total"]
    assert (first["covered"], first["n_uncovered"], first["specific"]) == (0, 3, None)
    compounded = math.prod(1 + answer.returns["total"]) - 1
    assert answer.linked["contribution"].sum() == pytest.approx(compounded, rel=1e-13)


def test_a_period_to_come_has_no_total_and_is_not_linked(given):
    label = N_PERIODS
    rows = given.panel.filter(period=N_PERIODS - 1).with_columns(
        period=pl.lit(label, pl.Int64), **{"return": pl.lit(None, pl.Float64)}
    )
    weights = given.weights.filter(period=N_PERIODS - 1)
    weights = weights.with_columns(period=pl.lit(label, pl.Int64))
    more = {
        "panel": pl.concat([given.panel, rows]),
        "weights": pl.concat([given.weights, weights]),
    }
    answer, plain = attributed(given, **more), attributed(given)
    last = answer.returns.filter(period=label)
    assert last.select("total", "unattributed").null_count().row(0) == (3, 3)
    assert_frame_equal(answer.linked, plain.linked)
    known = plain.returns.select(*KEYS, "total")
    beside = attributed(given, **more, portfolio_returns=known)
    assert beside.returns.filter(period=label)["total"].null_count() == 3
    # Nor where factors have returns, but nothing that is held has.
    lost = pl.when((pl.col("asset") != "a00") | (pl.col("period") != 20)).then("return")
    one = pl.DataFrame({"period": [20], "asset": ["a00"], "weight": [1.0]})
    returns = attributed(
        given, weights=one, panel=given.panel.with_columns(lost.alias("return"))
    ).returns
    parts = ["total", "factors", "specific", "unattributed"]
    assert returns.select(parts).null_count().row(0) == (1, 1, 1, 1)


@pytest.mark.parametrize("lazy", ["weights", "panel", "fits", "benchmark", "portfolio_returns"])
def test_lazy_if_anything_is(given, lazy):
    known = attributed(given).returns.select(*KEYS, "total")
    frames = {"benchmark": given.benchmark, "portfolio_returns": known}
    eager = attributed(given, **frames)
    if lazy == "fits":
        panel = given.panel.with_columns(pl.col("sector").cast(pl.Enum(sorted(SECTORS))))
        frames["fits"] = fit_cross_sections(panel.lazy(), ["value", "size"], **MODEL)
    else:
        frames[lazy] = (frames | given._asdict())[lazy].lazy()
    query = attributed(given, **frames)
    assert repr(query) == "Attribution, lazy: collect() computes it"
    for name in FRAMES:
        own = getattr(query, name)
        assert own.collect_schema() == getattr(eager, name).schema
        assert_frame_equal(own.collect(), getattr(eager, name))
        assert_frame_equal(getattr(query.collect(), name), getattr(eager, name))
    assert eager.collect() is eager


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("cells", [60, 500, 10**6])
def test_one_pass_gives_the_same(given, engine, cells, monkeypatch):
    monkeypatch.setattr(one_pass, "BLOCK_CELLS", cells)
    eager = attributed(given, benchmark=given.benchmark)
    panel = given.panel.with_columns(pl.col("sector").cast(pl.Enum(sorted(SECTORS)))).lazy()
    fits = fit_cross_sections(panel, ["value", "size"], **MODEL, sorted_by_period=True)
    weights = given.weights.sort("period", maintain_order=True).lazy()
    query = attributed(
        given, fits=fits, panel=panel, weights=weights, benchmark=given.benchmark.lazy(),
        sorted_by_period=True,
    )  # fmt: skip
    for name in FRAMES:
        ours = getattr(query, name).collect(engine=engine)
        assert_frame_equal(ours, getattr(eager, name), check_exact=True)
    some = query.factors.filter(pl.col("factor") == "value").head(3).collect(engine=engine)
    assert_frame_equal(some, eager.factors.filter(pl.col("factor") == "value").head(3))


def test_small_frames(given):
    empty = attributed(given, weights=given.weights.clear())
    full = attributed(given)
    for name in FRAMES:
        assert getattr(empty, name).is_empty()
        assert getattr(empty, name).schema == getattr(full, name).schema
    one = attributed(given, weights=given.weights.filter(period=20, portfolio="b"))
    assert one.linked["volatility_contribution"].null_count() == one.linked.height
    total = one.returns["total"].item()
    assert one.linked["contribution"].sum() == pytest.approx(total, abs=1e-16)


@pytest.mark.parametrize("where", ["portfolio", "benchmark"])
def test_returns_that_cannot_be_linked_say_so(whole, where):
    period = 20
    frame = whole.weights if where == "portfolio" else whole.benchmark
    much = pl.when(period=period).then(1e4 * pl.col("weight").abs()).otherwise("weight")
    minus = pl.when(period=period).then(-0.5).otherwise("return").alias("return")
    name = "weights" if where == "portfolio" else "benchmark"
    frames = {"benchmark": whole.benchmark, name: frame.with_columns(weight=much)}
    with pytest.raises(PanelError, match=rf"return of the {where} is -1 or less in .* at 20"):
        attributed(whole, **frames, panel=whole.panel.with_columns(minus))


def test_bad_returns_of_portfolios_say_what_is_wrong(given):
    known = attributed(given).returns.select(*KEYS, "total")
    lost = known.filter((pl.col("period") != 20) | (pl.col("portfolio") != "b"))
    twice = pl.concat([known, known.head(1)])
    null = known.with_columns(pl.when(pl.col("period") != 20).then("total").alias("total"))
    for frame, message in (
        (lost, "portfolio_returns has no return for 1 portfolio of a period .* b at 20"),
        (null, "portfolio_returns has no return for 3 portfolios of a period .* at 20"),
        (twice, "2 rows share a"),
        (known.drop("portfolio"), "portfolio column 'portfolio' is not in portfolio_returns"),
        (known.drop("period"), "period column 'period' is not in portfolio_returns"),
        (known.with_columns(other=1.0), "portfolio_returns has 4 columns.*'return'"),
        (known.drop("total"), "portfolio_returns has 2 columns"),
        (known.with_columns(pl.col("period").cast(pl.Int8)), "'period' .* Int8"),
        (known.with_columns(period=None).cast({"period": pl.Int64}), "'period' is null in"),
    ):
        with pytest.raises(PanelError, match=message):
            attributed(given, portfolio_returns=frame)


def test_columns_of_returns_that_are_missing_say_so(given):
    with pytest.raises(PanelError, match="returns column 'total' is not in the panel"):
        attributed(given, returns="total")
    without = given.panel.drop("return").with_columns(total=0.0)
    with pytest.raises(PanelError, match="returns column 'return' is not in the panel"):
        attributed(given, panel=without, returns="total")
    text = given.panel.with_columns(total=pl.lit("x"))
    with pytest.raises(PanelError, match="returns column 'total' is String"):
        attributed(given, panel=text, returns="total")
    panel = given.panel.rename({"value": "unattributed"})
    fits = fit_cross_sections(panel, ["unattributed", "size"])
    with pytest.raises(PanelError, match="a factor is named 'unattributed'"):
        attributed(given, panel=panel, fits=fits)
