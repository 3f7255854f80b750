"""specific_risk: frames in and out, one pass, exposures as a prior, and what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal

from panels import PERIOD_TYPES
from risk_oracle import specific_variances
from vbase_py_utils import PanelError, fit_cross_sections, specific_risk
from vbase_py_utils.fit import one_pass

OPTIONS = {"half_life": 8, "min_periods": 4}
KEYS = ["period", "asset"]


def ragged(rng, n_periods=30, n_assets=12, present=0.8):
    """Specific returns of assets that come and go, some missing."""
    n = n_periods * n_assets
    sd = rng.lognormal(-4, 0.7, n_assets)
    frame = pl.DataFrame(
        {
            "period": np.repeat(np.arange(n_periods), n_assets),
            "asset": [f"a{i}" for i in range(n_assets)] * n_periods,
            "specific_return": rng.standard_t(4, n) * np.tile(sd, n_periods),
            "size": np.tile(np.log(sd), n_periods) + rng.normal(0, 0.1, n),
            "sector": ["u", "v", "u", "w"] * (n // 4),
        }
    )
    frame = frame.filter(pl.Series(rng.random(n) < present))
    lost = pl.Series(rng.random(frame.height) < 0.05)
    return frame.with_columns(specific_return=pl.when(~lost).then("specific_return"))


@pytest.fixture
def returns(rng):
    return ragged(rng)


def by_hand(frame, **options):
    values = frame["specific_return"].fill_null(float("nan"))
    rows = dict(zip(frame.select(KEYS).rows(), values, strict=True))
    found = specific_variances(rows, **{"lags": 0, "cut": 10.0, **OPTIONS, **options})
    least = options.get("min_periods", 4)
    return [
        np.sqrt(found[key][0]) if found[key][1] >= least else np.nan
        for key in frame.select(KEYS).rows()
    ], [found[key][1] for key in frame.select(KEYS).rows()]


@pytest.mark.parametrize("lags", [0, 2])
def test_risk_is_that_of_a_loop(returns, lags):
    shuffled = returns.sample(fraction=1, shuffle=True, seed=3)
    before = shuffled.clone()
    answer = specific_risk(shuffled, **OPTIONS, lags=lags)
    assert_frame_equal(shuffled, before)
    assert answer.columns == ["period", "asset", "specific_risk", "n_periods"]
    in_order = shuffled.sort("period", maintain_order=True)
    assert_frame_equal(answer.select(KEYS), in_order.select(KEYS))
    risk, count = by_hand(in_order, lags=lags)
    assert answer["n_periods"].to_list() == count
    assert_allclose(answer["specific_risk"].to_numpy(), risk, rtol=1e-11)
    assert answer["specific_risk"].null_count() == np.isnan(risk).sum() > 20


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("cells", [40, 10**6])
def test_lazy_in_lazy_out_also_in_one_pass(returns, engine, in_order, cells, monkeypatch):
    monkeypatch.setattr(one_pass, "BLOCK_CELLS", cells)
    options = OPTIONS | {"regime_half_life": 6, "next_period": 30, "lags": 1}
    eager = specific_risk(returns, **options)
    query = specific_risk(returns.lazy(), **options, sorted_by_period=in_order)
    assert query.collect_schema() == eager.schema
    assert_frame_equal(query.collect(engine=engine), eager, check_exact=True)
    late = query.filter(pl.col("period") == 20).select("specific_risk")
    assert_frame_equal(late.collect(engine=engine), eager.filter(period=20).select("specific_risk"))
    assert_frame_equal(query.head(7).collect(engine=engine), eager.head(7))


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("next_period", [None, 30])
@pytest.mark.parametrize("cells", [40, 200, 10**6])
def test_with_a_prior_one_pass_gives_the_same(rng, engine, next_period, cells, monkeypatch):
    """The panel has periods and assets that the returns lack, the returns some it lacks."""
    everything = ragged(rng, present=1)
    monkeypatch.setattr(one_pass, "BLOCK_CELLS", cells)
    panel = everything.filter(~pl.col("period").is_in([0, 5, 6, 20]) & (pl.col("asset") != "a3"))
    returns = everything.filter(~pl.col("period").is_in([1, 6, 7, 29]) & (pl.col("asset") != "a7"))
    options = OPTIONS | {"exposures": ["size", "sector"], "next_period": next_period}
    options |= {"regime_half_life": 6, "lags": 1}
    eager = specific_risk(returns, panel=panel, **options)
    assert eager["shrunk"].is_between(0, 1, closed="none").any()
    query = specific_risk(returns.lazy(), panel=panel.lazy(), **options, sorted_by_period=True)
    assert query.collect_schema() == eager.schema
    assert_frame_equal(query.collect(engine=engine), eager, check_exact=True)
    assert_frame_equal(query.head(7).collect(engine=engine), eager.head(7))


@pytest.mark.parametrize("empty", ["returns", "panel", "both"])
def test_one_pass_over_empty_frames(returns, empty):
    frames = {"returns": returns, "panel": returns}
    frames = {n: f.clear() if empty in (n, "both") else f for n, f in frames.items()}
    options = OPTIONS | {"exposures": "size", "next_period": 99}
    eager = specific_risk(frames["returns"], panel=frames["panel"], **options)
    query = specific_risk(
        frames["returns"].lazy(), panel=frames["panel"].lazy(), **options, sorted_by_period=True
    )
    assert_frame_equal(query.collect(), eager)


def test_lazy_fits_take_a_panel_in_any_order(rng):
    panel = ragged(rng).rename({"specific_return": "return"})
    fits = fit_cross_sections(panel.lazy(), ["size"], intercept=True, sorted_by_period=True)
    options = OPTIONS | {"exposures": "size"}
    expected = specific_risk(fits.collect(), panel=panel, **options)
    mixed = panel.sample(fraction=1, shuffle=True, seed=4)
    keys = ["period", "asset"]
    answer = specific_risk(fits, panel=mixed.lazy(), **options).collect()
    assert_frame_equal(answer.sort(keys), expected.sort(keys), rel_tol=1e-12)
    ours = specific_risk(fits, panel=panel.lazy(), **options, sorted_by_period=True).collect()
    assert_frame_equal(ours, expected, check_exact=True)
    wrong = specific_risk(fits, panel=mixed.lazy(), **options, sorted_by_period=True)
    with pytest.raises(PanelError, match="period column 'period' is not sorted"):
        wrong.collect()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"asset": ["A", "B", "B"]}, r"2 rows share a .* key, for example \(2, B\)"),
        ({"asset": ["A", None, "B"]}, "asset column 'asset' is null in"),
        ({"period": [1, None, 2]}, "period column 'period' is null in"),
    ],
)
def test_one_pass_refuses_bad_keys_of_the_panel(change, message):
    panel = pl.DataFrame({"period": [1, 2, 2], "asset": ["A", "B", "C"], "size": [1.0, 2.0, 3.0]})
    returns = panel.rename({"size": "specific_return"}).lazy()
    bad = panel.with_columns(pl.Series(name, values) for name, values in change.items()).lazy()
    query = specific_risk(returns, exposures="size", panel=bad, sorted_by_period=True)
    with pytest.raises(PanelError, match=message):
        query.collect()


def test_fits_give_what_their_specific_returns_give(rng):
    panel = ragged(rng).rename({"specific_return": "ret", "period": "day", "asset": "id"})
    model = {"returns": "ret", "period": "day", "asset": "id", "intercept": True}
    fits = fit_cross_sections(panel, ["size"], **model)
    answer = specific_risk(fits, **OPTIONS)
    keys = {"period": "day", "asset": "id"}
    assert_frame_equal(answer, specific_risk(fits.specific_returns, **OPTIONS, **keys))
    for one_by_one in (False, True):
        lazy = fit_cross_sections(panel.lazy(), ["size"], **model, sorted_by_period=one_by_one)
        assert_frame_equal(specific_risk(lazy, **OPTIONS).collect(), answer)
    with pytest.raises(ValueError, match="asset='name' does not match the fits"):
        specific_risk(fits, asset="name")


def test_robustness_weights_play_no_part(rng):
    """The volatile half of the assets is down-weighted in every period, and as risky as it is."""
    n, n_periods = 60, 80
    sd = np.where(np.arange(n) < 30, 0.01, 0.1)
    panel = pl.DataFrame(
        {
            "period": np.repeat(np.arange(n_periods), n),
            "asset": np.tile(np.arange(n), n_periods),
            "return": (rng.standard_normal((n_periods, n)) * sd).ravel(),
        }
    )
    fits = fit_cross_sections(panel, [], intercept=True)
    assert fits.diagnostics["n_downweighted"].mean() > 20
    risk = specific_risk(fits, half_life=np.inf, cut=np.inf).filter(period=79)["specific_risk"]
    past = fits.specific_returns.filter(pl.col("period") < 79)["specific_return"].to_numpy()
    assert_allclose(risk, np.sqrt(np.mean(past.reshape(79, n) ** 2, axis=0)), rtol=1e-12)


@pytest.mark.parametrize("prior", [False, True])
def test_a_regime_multiplies_the_risk_of_all_assets(rng, prior):
    louder = pl.when(pl.col("period") >= 50).then(4.0).otherwise(1.0)
    frame = ragged(rng, n_periods=60, present=1)
    frame = frame.with_columns(specific_return=louder * pl.col("specific_return"))
    options = OPTIONS | ({"exposures": "size", "panel": frame} if prior else {})
    plain = specific_risk(frame, **options)
    ours = specific_risk(frame, **options, regime_half_life=5)
    ratios = ours.with_columns(ratio=ours["specific_risk"] / plain["specific_risk"])
    most, least = (
        ratios.group_by("period").agg(one("ratio")).drop_nulls().sort("period")["ratio"]
        for one in (pl.max, pl.min)
    )
    assert_allclose(most, least, rtol=1e-12)
    assert most[0] == 1
    assert most[-5] > 1.3


def test_an_asset_alone_in_its_category_has_no_information(rng):
    panel = ragged(rng, present=1).with_columns(
        sector=pl.when(pl.col("asset") == "a3").then(pl.lit("alone")).otherwise("sector")
    )
    fits = fit_cross_sections(
        panel, [], returns="specific_return", intercept=True, categories={"sector": None}
    )
    answer = specific_risk(fits, **OPTIONS).filter(asset="a3")
    assert answer["specific_risk"].null_count() == 30
    assert answer["n_periods"].to_list() == [0] * 30


def test_the_next_period_is_forecast_for_the_assets_of_the_last(returns):
    answer = specific_risk(returns, **OPTIONS, next_period=30)
    last = returns.filter(period=29)
    further = last.with_columns(period=pl.lit(30, pl.Int64), specific_return=None)
    both = pl.concat([returns, further.cast({"specific_return": pl.Float64})])
    assert_frame_equal(answer, specific_risk(both, **OPTIONS), check_exact=True)


@pytest.mark.parametrize("options", [{}, {"regime_half_life": 6, "lags": 2}, {"prior": True}])
def test_no_row_knows_its_own_or_a_later_period(rng, returns, options):
    if "prior" in options:
        options = {"exposures": ["size", "sector"]}
    for t in (0, 11, 29):
        noise = pl.Series(rng.standard_normal(returns.height) * 100)
        late = pl.col("period") >= t
        changed = returns.with_columns(specific_return=pl.when(late).then(noise)
                                       .otherwise("specific_return"))  # fmt: skip
        answers = []
        for frame in (returns, changed):
            panel = {"panel": returns} if "exposures" in options else {}
            answer = specific_risk(frame.select(*KEYS, "specific_return"), **OPTIONS, **options,
                                   **panel)  # fmt: skip
            answers.append(answer.filter(pl.col("period") <= t))
        assert_frame_equal(*answers, check_exact=True)


@pytest.mark.parametrize("kind", PERIOD_TYPES)
def test_periods_may_have_any_type_that_orders_time(returns, kind):
    typed = returns.with_columns(PERIOD_TYPES[kind](pl.col("period")).alias("period"))
    expected = specific_risk(returns, **OPTIONS).drop("period")
    assert_frame_equal(specific_risk(typed, **OPTIONS).drop("period"), expected)


def test_similar_assets_are_a_prior(rng):
    n_periods, n_assets = 120, 150
    size = rng.standard_normal(n_assets)
    sd = 0.02 * np.exp(0.5 * size + 0.1 * rng.standard_normal(n_assets))
    frame = pl.DataFrame(
        {
            "period": np.repeat(np.arange(n_periods), n_assets),
            "asset": np.tile(np.arange(n_assets), n_periods),
            "specific_return": (rng.standard_normal((n_periods, n_assets)) * sd).ravel(),
            "size": np.tile(size, n_periods),
            "one": 1.0,
        }
    )
    # Every tenth asset is listed in the last period.
    new = (pl.col("asset") % 10 == 0) & (pl.col("period") < n_periods - 1)
    specific = frame.filter(~new).select(*KEYS, "specific_return")
    answer = specific_risk(specific, exposures="size", panel=frame)
    assert answer.height == frame.height  # a row for each of the panel
    last = answer.filter(period=n_periods - 1).sort("asset")
    listed = last["asset"].to_numpy() % 10 == 0
    assert last["n_periods"].to_numpy()[listed].max() == 0
    assert_allclose(last["shrunk"].to_numpy()[listed], 1, rtol=0)
    assert (last["shrunk"].to_numpy()[~listed] < 0.8).all()
    errors = np.abs(np.log(last["specific_risk"].to_numpy() / sd))
    assert errors[listed].mean() < 0.15
    alone = specific_risk(specific).filter(period=n_periods - 1).sort("asset")
    own = np.abs(np.log(alone.filter(pl.col("asset") % 10 != 0)["specific_risk"].to_numpy()
                        / sd[~listed]))  # fmt: skip
    assert errors[~listed].mean() < own.mean()
    # A constant among the exposures is what the intercept is.
    same = specific_risk(specific, exposures=["size", "one"], panel=frame)
    assert_frame_equal(same, answer, rel_tol=1e-9)
    lazy = specific_risk(specific.lazy(), exposures="size", panel=frame.lazy())
    assert lazy.collect_schema() == answer.schema
    assert_frame_equal(lazy.collect(), answer)


def test_text_is_a_category_of_the_prior(returns):
    specific = returns.select(*KEYS, "specific_return")
    answer = specific_risk(specific, exposures=["size", "sector"], panel=returns, **OPTIONS)
    coded = returns.with_columns(pl.col("sector").cast(pl.Enum(["u", "v", "w"])))
    again = specific_risk(specific, exposures=["size", "sector"], panel=coded, **OPTIONS)
    assert_frame_equal(answer, again)
    late = answer.filter(pl.col("period") > 20)
    assert late["specific_risk"].null_count() == 0
    # Nobody has a history long enough, or to learn from.
    early = answer.filter(pl.col("period") < 4)
    assert early["n_periods"].max() > 1
    assert early.select(pl.col("specific_risk", "shrunk").count()).row(0) == (0, 0)
    assert late["shrunk"].is_between(0, 1).all()


def test_small_frames(returns):
    empty = returns.clear()
    assert specific_risk(empty, next_period=4).is_empty()
    assert specific_risk(empty.lazy(), sorted_by_period=True).collect().is_empty()
    one = specific_risk(returns.head(1), min_periods=1, next_period=1)
    assert one["n_periods"].to_list() == [0, 1]
    size = abs(returns["specific_return"][0])
    assert_allclose(one["specific_risk"][1], size, rtol=1e-14)
    nothing = returns.with_columns(specific_return=None)
    assert specific_risk(nothing, **OPTIONS)["n_periods"].max() == 0


def test_one_return_much_larger_than_all_before_leaves_numbers(returns):
    """The first period is 1e160 times smaller than all that follow: its squares are nothing."""
    tiny = pl.when(pl.col("period") == 0).then(1e-160).otherwise(1.0)
    frame = returns.with_columns(pl.col("specific_return") * tiny)
    answer = specific_risk(frame, **OPTIONS, lags=2, regime_half_life=5)
    without = returns.with_columns(
        specific_return=pl.when(pl.col("period") == 0).then(0.0).otherwise("specific_return")
    )
    risk, _ = by_hand(without, lags=2)
    plain = specific_risk(frame, **OPTIONS, lags=2)["specific_risk"]
    late = (frame["period"] > 12).to_numpy()
    assert plain.filter(late).null_count() == answer["specific_risk"].filter(late).null_count() == 0
    # The first return still counts as one of the history, with next to no variance.
    assert (plain.to_numpy()[late] <= np.array(risk)[late] * (1 + 1e-12)).all()
    assert (plain.to_numpy()[late] > np.array(risk)[late] * 0.9).all()


def test_a_short_history_without_a_prior_is_no_risk(rng):
    """An exposure is missing, or there are too few assets to learn from."""
    frame = ragged(rng, n_periods=40, present=1)
    young = (pl.col("asset") == "a3") & (pl.col("period") < 37)
    frame = frame.filter(~young).with_columns(size=pl.when(pl.col("asset") != "a3").then("size"))
    answer = specific_risk(frame, panel=frame, exposures="size", **OPTIONS)
    own = answer.filter(asset="a3")
    assert own["n_periods"].to_list() == [0, 1, 2]
    assert own["specific_risk"].null_count() == own["shrunk"].null_count() == 3
    assert answer.filter(pl.col("period") > 30, pl.col("asset") != "a3")["shrunk"].null_count() == 0


@pytest.mark.parametrize("one_by_one", [False, True])
def test_the_next_period_has_the_exposures_of_the_last(rng, one_by_one):
    frame = ragged(rng, n_periods=40, present=1)
    young = (pl.col("asset") == "a3") & (pl.col("period") < 38)
    frame = frame.filter(~young)
    last = frame.filter(period=39).with_columns(period=pl.lit(40, pl.Int64), specific_return=None)
    options = OPTIONS | {"exposures": ["size", "sector"], "next_period": 40}
    options |= {"sorted_by_period": one_by_one}
    given = frame.lazy() if one_by_one else frame
    both = pl.concat([frame, last])
    answer = specific_risk(given, panel=given, **options).lazy().collect()
    with_rows = specific_risk(frame, panel=both, **options)
    assert_frame_equal(answer, with_rows, check_exact=True)
    new = answer.filter(period=40, asset="a3")
    assert new["shrunk"].item() > 0.5
    assert new["n_periods"].item() == 2


@pytest.mark.parametrize("unit", [1e-150, 1e-9, 1e12, 1e140])
def test_any_unit(returns, unit):
    scaled = returns.with_columns(pl.col("specific_return") * unit)
    answer = specific_risk(scaled, **OPTIONS, regime_half_life=5)
    expected = specific_risk(returns, **OPTIONS, regime_half_life=5)
    assert_frame_equal(
        answer.with_columns(pl.col("specific_risk") / unit), expected, rel_tol=1e-12, abs_tol=0
    )


@pytest.mark.parametrize("how", ["eager", "lazy", "one pass"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"asset": ["A", "B", "B"]}, r"2 rows share a .* key, for example \(2, B\)"),
        ({"asset": ["A", None, "B"]}, "asset column 'asset' is null in"),
        ({"period": [1, None, 2]}, "period column 'period' is null in"),
        ({"period": ["01/31/2024", "02/29/2024", "12/31/2025"]}, "needs the order of time"),
        ({"specific_return": ["a", "b", "c"]}, "column 'specific_return' is String"),
        ({"specific_return": None}, "column 'specific_return' is not in specific_returns"),
    ],
)
def test_bad_rows_say_what_is_wrong(change, message, how):
    columns = {"period": [1, 2, 2], "asset": ["A", "B", "C"], "specific_return": [0.1, 0.2, 0.3]}
    columns = {name: v for name, v in (columns | change).items() if v is not None}
    frame = pl.DataFrame(columns)
    given = frame if how == "eager" else frame.lazy()
    with pytest.raises(PanelError, match=message) as caught:
        specific_risk(given, sorted_by_period=how == "one pass").lazy().collect()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("names", "roles"),
    [
        ({"period": "asset"}, "period and as asset"),
        ({"period": "specific_return"}, "period and as specific return"),
        ({"asset": "specific_return"}, "asset and as specific return"),
    ],
)
def test_no_column_has_two_roles(returns, names, roles, lazy):
    given = returns.lazy() if lazy else returns
    with pytest.raises(PanelError, match=f"column '.*' is named as {roles}, expected a column"):
        specific_risk(given, **names)


def test_one_pass_refuses_periods_that_go_back(returns):
    query = specific_risk(returns.reverse().lazy(), sorted_by_period=True)
    with pytest.raises(PanelError, match="period column 'period' is not sorted"):
        query.collect()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"half_life": -1}, "half_life is -1, expected a number of periods > 0"),
        ({"regime_half_life": 0}, "regime_half_life is 0"),
        ({"lags": 20}, "lags is 20, expected less than min_periods=20"),
        ({"cut": 0.5}, "cut is 0.5, expected a number >= 1"),
        ({"exposures": "size"}, "exposures is given without panel"),
        ({"panel": pl.DataFrame()}, "panel is given without exposures"),
    ],
)
def test_arguments_out_of_range(returns, arguments, message):
    with pytest.raises(ValueError, match=message):
        specific_risk(returns, **arguments)


@pytest.mark.parametrize(
    ("change", "exposures", "message"),
    [
        ({}, "weight", "exposure column 'weight' is not in the panel"),
        ({}, [], "no exposures given"),
        ({}, ["size", "size"], "exposures named more than once: 'size'"),
        (
            {"period": pl.col("period").cast(pl.Int32)},
            "size",
            "'period' of panel is Int32, expected Int64",
        ),
        ({"asset": pl.lit("a1")}, "size", "rows share a .* key"),
        ({"size": pl.lit(None, pl.Date)}, "size", "exposure column 'size' is Date"),
    ],
)
def test_bad_panels_say_what_is_wrong(returns, change, exposures, message):
    panel = returns.with_columns(**change)
    with pytest.raises(PanelError, match=message):
        specific_risk(returns, exposures=exposures, panel=panel)
