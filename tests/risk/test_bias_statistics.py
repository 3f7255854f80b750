"""bias_statistics: by its definitions, from frames and from numbers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal

from vbase_py_utils import PanelError, bias_statistics, plots


@pytest.fixture
def frames(rng):
    """Returns and risk of three portfolios over 80 periods, with rows and numbers missing."""
    n = 240
    keys = {"period": np.repeat(np.arange(80), 3), "portfolio": ["a", "b", "c"] * 80}
    risk = pl.DataFrame({**keys, "risk": rng.lognormal(-4, 0.2, n)})
    z = rng.standard_normal(n)
    returns = pl.DataFrame({**keys, "total": z * risk["risk"].to_numpy(), "other": 0.0})
    lost = pl.Series(rng.random(n) < 0.1)
    returns = returns.with_columns(total=pl.when(~lost).then("total"))
    return returns, risk.sample(fraction=0.95, seed=1)


def defined(z, window):
    """The statistics of one series."""
    biases = [z[i : i + window].std(ddof=1) for i in range(len(z) - window + 1)]
    square = z[z != 0] ** 2
    return {
        "bias": z.std(ddof=1),
        "lower": 1 - np.sqrt(2 / len(z)),
        "upper": 1 + np.sqrt(2 / len(z)),
        "mrad": np.mean(np.abs(np.array(biases) - 1)),
        "qlike": np.mean(square - np.log(square) - 1),
        "n_periods": len(z),
    }


@pytest.mark.parametrize("window", [2, 12, None])
def test_a_row_for_each_group(frames, window):
    returns, risk = frames
    answer = bias_statistics(returns, risk, window=window, by="portfolio")
    assert answer["portfolio"].to_list() == ["a", "b", "c"]
    both = returns.join(risk, on=["period", "portfolio"]).drop_nulls().sort("period")
    for row in answer.rows(named=True):
        pairs = both.filter(portfolio=row.pop("portfolio"))
        z = (pairs["total"] / pairs["risk"]).to_numpy()
        expected = defined(z, window or len(z))
        assert_allclose(list(row.values()), list(expected.values()), rtol=1e-12)


def test_a_window_keeps_its_digits_about_a_large_mean(rng):
    z = 1e7 + rng.standard_normal(30)
    ours = bias_statistics(z, np.ones(30), window=10)["mrad"].item()
    assert_allclose(ours, defined(z, 10)["mrad"], rtol=1e-6)


def test_what_has_left_a_window_leaves_no_trace(rng):
    z = rng.standard_normal(200) * 0.01
    risk = np.full(200, 0.01)
    risk[0] = 1e-14
    ax = plots.rolling_bias(z, risk, window=20)
    expected = [(z / risk)[i : i + 20].std(ddof=1) for i in range(181)]
    assert_allclose(ax.lines[0].get_ydata(), expected, rtol=1e-12)
    tests = bias_statistics(z, risk, window=20)
    assert_allclose(tests["mrad"].item(), np.abs(np.array(expected) - 1).mean(), rtol=1e-12)


def test_windows_of_periods_with_several_rows(rng):
    """More windows than are held at once."""
    counts = rng.integers(1, 4, 5000)
    periods = np.repeat(np.arange(5000), counts)
    z = rng.standard_normal(len(periods)) + 3
    frame = pl.DataFrame({"period": periods, "asset": pl.int_range(len(z), eager=True)})
    tests = bias_statistics(
        frame.with_columns(pl.Series("return", z)), frame.with_columns(risk=1.0), window=400
    )
    starts = np.r_[0, np.cumsum(counts)]
    expected = [abs(z[starts[i] : starts[i + 400]].std(ddof=1) - 1) for i in range(4601)]
    assert_allclose(tests["mrad"].item(), np.mean(expected), rtol=1e-12)


def test_missing_groups_are_a_group_and_missing_periods_an_error():
    returns = pl.DataFrame(
        {"period": [1, 2, 3, 4], "sector": ["a", None, None, None], "return": [1.0, 2, -1, 5]}
    )
    risk = returns.select("period", "sector", risk=1.0)
    assert bias_statistics(returns, risk)["n_periods"].item() == 4
    tests = bias_statistics(returns, risk, by="sector")
    assert dict(tests.select("sector", "n_periods").rows()) == {None: 3, "a": 1}
    for first, other in ((1, 0), (0, 1)):
        frames = [returns, risk]
        lost = pl.when(pl.col("period") != 2).then("period")
        frames[first] = frames[first].with_columns(period=lost)
        with pytest.raises(PanelError, match="period column 'period' is null in 1 row") as caught:
            bias_statistics(frames[first] if first == 0 else frames[0], frames[1])
        assert ("risk" if first else "return") in str(caught.value)
        assert other != first


def test_periods_may_be_numbers_with_a_fraction():
    returns = pl.DataFrame({"period": [0.5, 1.5], "p": ["a", "a"], "return": [1.0, -1.0]})
    risk = returns.select("period", "p", risk=1.0)
    assert bias_statistics(returns, risk, by="p")["n_periods"].to_list() == [2]


def test_a_lazy_test_has_the_same_bits_every_time(rng):
    n = 120_000
    frame = pl.DataFrame({"period": np.arange(n) // 100, "asset": np.arange(n) % 100})
    returns = frame.with_columns(pl.Series("return", rng.standard_t(3, n)))
    risk = frame.with_columns(pl.Series("risk", rng.uniform(0.5, 2, n)))
    returns, risk = (
        f.sample(fraction=1, shuffle=True, seed=s) for s, f in ((1, returns), (2, risk))
    )
    expected = bias_statistics(returns, risk, window=20)
    for engine in ("in-memory", "streaming") * 4:
        query = bias_statistics(returns.lazy(), risk.lazy(), window=20)
        assert_frame_equal(query.collect(engine=engine), expected, check_exact=True)


def test_without_by_all_rows_count(frames):
    returns, risk = frames
    row = bias_statistics(returns, risk, window=5).row(0, named=True)
    both = returns.join(risk, on=["period", "portfolio"]).drop_nulls()
    both = both.with_columns(z=pl.col("total") / pl.col("risk"))
    assert row["n_periods"] == both["period"].n_unique()
    assert_allclose(row["bias"], both["z"].std(), rtol=1e-12)
    periods = both["period"].unique().sort()
    windows = [
        abs(both.filter(pl.col("period").is_in(periods[i : i + 5].implode()))["z"].std() - 1)
        for i in range(len(periods) - 4)
    ]
    assert_allclose(row["mrad"], np.mean(windows), rtol=1e-12)


def test_numbers_and_series_give_what_frames_give(frames):
    returns, risk = frames
    one = returns.filter(portfolio="a").join(risk, on=["period", "portfolio"]).sort("period")
    expected = bias_statistics(returns.filter(portfolio="a"), risk, window=9)
    r, s = one["total"], one["risk"]
    for pair in ((r, s), (r.to_list(), s.to_list()), (r.to_numpy(), s.to_numpy())):
        assert_frame_equal(bias_statistics(*pair, window=9), expected)


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_lazy_in_lazy_out(frames, engine):
    returns, risk = frames
    expected = bias_statistics(returns, risk, window=9, by=["portfolio"])
    query = bias_statistics(returns.lazy(), risk.lazy(), window=9, by=["portfolio"])
    assert query.collect_schema() == expected.schema
    assert_frame_equal(query.collect(engine=engine), expected)


def test_right_forecasts_are_within_the_limits_in_95_of_100_cases():
    rng = np.random.default_rng(9)
    n, groups = 250, 800
    frame = pl.DataFrame(
        {
            "period": np.repeat(np.arange(n), groups),
            "asset": np.tile(np.arange(groups), n),
            "return": rng.standard_normal(n * groups),
        }
    )
    risk = frame.select("period", "asset", risk=pl.lit(1.0))
    answer = bias_statistics(frame, risk, by="asset")
    within = answer.select(pl.col("bias").is_between("lower", "upper").mean()).item()
    assert 0.93 < within < 0.97


def test_few_pairs():
    none = bias_statistics([None, 0.1], [0.1, None]).row(0, named=True)
    assert none == {
        "bias": None, "lower": None, "upper": None, "mrad": None, "qlike": None, "n_periods": 0,
    }  # fmt: skip
    one = bias_statistics([0.1], [0.1]).row(0, named=True)
    assert one["bias"] is None
    assert one["qlike"] == 0
    assert one["n_periods"] == 1
    two = bias_statistics([0.1, 0.0], [0.1, 0.1], window=3).row(0, named=True)
    assert two["mrad"] is None
    assert two["qlike"] == 0  # of the first alone
    assert_allclose(two["bias"], np.sqrt(0.5))
    frame = pl.DataFrame(schema={"period": pl.Int64, "asset": pl.String, "return": pl.Float64})
    risk = frame.rename({"return": "risk"})
    assert bias_statistics(frame, risk, by="asset").is_empty()


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"risk": [0.1, 0.0, -0.1]}, {}, "risk column 'risk' is not above zero in 2 rows"),
        ({"period": [1, 1, 2]}, {}, "2 rows share a .*key, for example .1."),
        ({"period": ["a", "b", "c"]}, {}, "period"),
        ({}, {"by": "portfolio"}, "by column 'portfolio' is not in returns"),
        ({"more": [0.1, 0.1, 0.1], "risk": None, "x": [1.0, 1.0, 1.0]}, {},
         "risk has 3 columns: .* expected one column of floats beside the keys"),
    ],
)  # fmt: skip
def test_bad_frames_say_what_is_wrong(change, arguments, message):
    returns = pl.DataFrame({"period": [1, 2, 3], "return": [0.1, 0.2, 0.3]})
    columns = {"period": [1, 2, 3], "risk": [0.1, 0.1, 0.1]} | change
    risk = pl.DataFrame({name: values for name, values in columns.items() if values is not None})
    with pytest.raises(PanelError, match=message):
        bias_statistics(returns, risk, **arguments)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (([1.0], [1.0, 2.0]), ValueError, "returns has 1 values and risk 2, expected as many"),
        ((["a"], [1.0]), TypeError, "returns is a list, expected a frame, or a Series"),
        ((pl.DataFrame({"period": [1], "r": [0.1]}), [1.0]), TypeError, "risk is a list, expected"),
    ],
)
def test_wrong_arguments(arguments, kind, message):
    with pytest.raises(kind, match=message):
        bias_statistics(*arguments)
    with pytest.raises(ValueError, match="window is 1, expected a whole number of periods >= 2"):
        bias_statistics([1.0], [1.0], window=1)
    with pytest.raises(ValueError, match="by is 'x', which needs frames"):
        bias_statistics([1.0], [1.0], by="x")
