"""The sections of portfolios: their numbers are those of the frames, and what lacks is said."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from functools import cache

import matplotlib.image
import numpy as np
import polars as pl
import pytest

from report.pages import HOSTILE, WIDTHS, Page, opened
from vbase_py_utils import (
    PanelError,
    attribution,
    bias_statistics,
    factor_covariance,
    fit_cross_sections,
    portfolio_risk,
    specific_risk,
    write_report,
)
from vbase_py_utils.report import portfolio_sections
from vbase_py_utils.risk.attribution import Attribution
from vbase_py_utils.risk.portfolio import PortfolioRisk

FACTORS = ["x", "y", "sector=Oil", "sector=Tech"]
YEAR = 252


class Sections(Page):
    """A page, its tables and words by the id of their section."""

    def __init__(self, path):
        self.section, self.of, self.said = "", {}, {}
        super().__init__(path)

    def handle_starttag(self, tag, attributes):
        super().handle_starttag(tag, attributes)
        if tag == "section":
            self.section = dict(attributes)["id"]
        elif tag == "table":
            self.of.setdefault(self.section, []).append(self.tables[-1])

    def handle_data(self, data):
        super().handle_data(data)
        if "style" not in self.open:
            self.said.setdefault(self.section, []).append(data)

    def words_of(self, number):
        return " ".join(" ".join(self.said[f"portfolio-{number}"]).split())

    def table_of(self, number, *columns, which=0):
        """Rows of the table whose headings begin so, by the first cell."""
        found = [
            t for t in self.of[f"portfolio-{number}"] if t[0][1:][: len(columns)] == [*columns]
        ]
        return {row[0]: row[1:] for row in found[which][1:]}


@dataclass
class Given:
    """A market, and the portfolios in it; the user's names of keys are his own."""

    panel: pl.DataFrame
    fits: object
    weights: pl.DataFrame
    benchmark: pl.DataFrame
    covariance: pl.DataFrame
    specific: pl.DataFrame

    def attribution(self, *, active=False, **arguments):
        benchmark = self.benchmark if active else None
        arguments = {"weights": self.weights, "panel": self.panel} | arguments
        return attribution(
            self.fits, returns="ret", portfolio="fund", benchmark=benchmark, **arguments
        )

    def risk(self, *, active=False, **arguments):
        arguments = {
            "weights": self.weights,
            "panel": self.panel,
            "fits": self.fits,
            "factor_covariance": self.covariance,
            "specific_risk": self.specific,
        } | arguments
        benchmark = self.benchmark if active else None
        return portfolio_risk(portfolio="fund", benchmark=benchmark, **arguments)


@cache
def market(n_periods=90, n_assets=12):
    """Portfolio "A" holds S03, without an exposure in the last five days; the others do not."""
    rng = np.random.default_rng(11)
    n = n_periods * n_assets
    number = np.repeat(np.arange(n_periods), n_assets)
    names = [f"S{i:02}" for i in range(n_assets)]
    day = (pl.date(2020, 1, 1) + pl.duration(days=pl.col("day"))).alias("day")
    panel = pl.DataFrame(
        {
            "day": number,
            "stock": names * n_periods,
            "ret": 0.02 * rng.standard_t(5, n),
            "x": rng.standard_normal(n),
            "y": rng.standard_normal(n),
            "sector": ["Oil", "Tech"] * (n // 2),
        }
    )
    lost = (pl.col("stock") == "S03") & (pl.col("day") >= n_periods - 5)
    panel = panel.with_columns(pl.when(~lost).then("x").alias("x"), day)
    fits = fit_cross_sections(
        panel, ["x", "y"], categories={"sector": None}, returns="ret", period="day", asset="stock"
    )
    keys = panel.select("day", "stock")
    held = {"A": rng.lognormal(0, 1, n_assets), "B": rng.lognormal(0, 1, n_assets)}
    held["B"][3] = 0
    weights = [
        keys.with_columns(fund=pl.lit(name), weight=pl.Series(np.tile(w / w.sum(), n_periods)))
        for name, w in held.items()
    ]
    return Given(
        panel,
        fits,
        pl.concat(weights),
        keys.filter(pl.col("stock") != "S03").with_columns(weight=pl.lit(1 / (n_assets - 1))),
        factor_covariance(fits, min_periods=5, half_life=20, correlation_half_life=None),
        specific_risk(fits, min_periods=5, half_life=20),
    )


def written(tmp_path, **arguments):
    path = tmp_path / "report.html"
    write_report(arguments.pop("fits", market().fits), path, **arguments)
    return Sections(path)


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "benchmark"])
def both(request, tmp_path_factory):
    """Whether there is a benchmark, the attribution, the risk, and their page."""
    held, active = market(), request.param
    parts = held.attribution(active=active)
    risk = held.risk(active=active, periods_per_year=YEAR)
    page = written(tmp_path_factory.mktemp("portfolios"), attribution=parts, risk=risk)
    return active, parts, risk, page


def close(text, value):
    """Whether a cell shows a number."""
    if value is None:
        return text == "–"
    if text.endswith(" %"):
        return float(text[:-2].replace(",", "")) == pytest.approx(100 * value, abs=0.051)
    shown = float(text.replace(",", ""))
    return shown == pytest.approx(value, rel=1e-3, abs=1e-12)


def of(frame, fund, day=None):
    frame = frame.filter(fund=fund)
    return frame if day is None else frame.filter(day=day)


def test_exposures_are_those_of_the_last_period_and_their_means(both):
    active, _, risk, page = both
    names = ["exposure", "active_exposure"] if active else ["exposure"]
    for number, fund in enumerate("AB", 1):
        rows = of(risk.factors, fund).filter(pl.col("factor") != "specific")
        last = of(rows, fund, rows["day"].max())
        headings = ["Exposure", "Mean", *(["Active", "Active mean"] if active else [])]
        table = page.table_of(number, *headings)
        assert list(table) == FACTORS == last["factor"].to_list()
        for row in last.to_dicts():
            mean = rows.filter(factor=row["factor"])
            expected = [value for name in names for value in (row[name], mean[name].mean())]
            assert all(map(close, table[row["factor"]], expected))
        assert "Exposures at 2020-03-30 , and their mean over 90 periods" in page.words_of(number)


@pytest.mark.parametrize("active", [False, True])
def test_exposures_without_a_risk_are_those_of_the_attribution(tmp_path, active):
    parts = market().attribution(active=active)
    page = written(tmp_path, attribution=parts)
    headings = ["Active", "Active mean"] if active else ["Exposure", "Mean"]
    table = page.table_of(2, *headings)
    rows = of(parts.factors, "B")
    for row in of(rows, "B", rows["day"].max()).to_dicts():
        mean = rows.filter(factor=row["factor"])["exposure"].mean()
        assert all(map(close, table[row["factor"]], [row["exposure"], mean]))
    assert ("They are active: the portfolio less the benchmark." in page.words_of(2)) == active
    assert "No forecast of risk was given." in page.words_of(2)
    assert "That needs both the risk and the returns of the portfolio." in page.words_of(2)


def test_the_risk_by_factor_adds_up(both):
    active, _, risk, page = both
    columns = ["exposure", "volatility", "correlation", "contribution", "share"]
    day = risk.factors["day"].max()
    table = page.table_of(2, *(name.capitalize() for name in columns))
    rows = of(risk.factors, "B", day)
    assert list(table) == [*FACTORS, "specific", "Sum"]
    for row in rows.to_dicts():
        assert all(map(close, table[row["factor"]], [row[name] for name in columns]))
    summary = of(risk.summary, "B", day).to_dicts()[0]
    assert table["Sum"][:3] == [""] * 3
    assert close(table["Sum"][3], summary["risk"] / math.sqrt(YEAR))
    assert table["Sum"][4] == "100.0 %"
    words = page.words_of(2)
    assert f"in this list of {YEAR} periods, in the table of one" in words
    shown = words[words.index("Risk ") :]
    numbers = {"Risk": "risk", "Risk of factors": "factor_risk", "Specific risk": "specific_risk"}
    if active:
        numbers |= {"Active risk": "active_risk", "Beta to the benchmark": "beta"}
    for name, column in numbers.items():
        assert f"{name} {summary[column]:.4g}" in shown
    assert ("Active risk" in words) == active


def test_the_active_risk_by_factor_adds_up(both):
    active, _, risk, page = both
    headings = ["Exposure", "Correlation", "Contribution", "Share"]
    if not active:
        assert not [t for t in page.of["portfolio-2"] if t[0][1:] == headings]
        return
    columns = [f"active_{name.lower()}" for name in headings]
    day = risk.factors["day"].max()
    table = page.table_of(2, *headings)
    for row in of(risk.factors, "B", day).to_dicts():
        assert all(map(close, table[row["factor"]], [row[name] for name in columns]))
    expected = of(risk.summary, "B", day)["active_risk"][0] / math.sqrt(YEAR)
    assert close(table["Sum"][2], expected)


def test_a_risk_that_is_not_known_at_the_end_is_said_with_the_reason(both):
    _, _, risk, page = both
    summary = of(risk.summary, "A")
    assert summary["risk"].tail(6).is_null().to_list() == [False] + [True] * 5
    lost = 1 - summary["covered"][-1]
    words = page.words_of(1)
    assert "No risk is known at 2020-03-30 , the last period: assets with " in words
    assert f"{100 * lost:.1f} % of gross weight have no exposures or no specific risk." in words
    assert "At 2020-03-25 , the last period with a known risk." in words
    unknown = summary["risk"].null_count()
    assert f"The risk is unknown in {unknown} of 90 periods." in words
    table = page.table_of(1, "Exposure", "Volatility")
    assert close(table["Sum"][3], summary["risk"][-6] / math.sqrt(YEAR))
    assert "No risk is known" not in page.words_of(2)


def test_returns_add_up_to_the_compounded_one(both):
    active, parts, _, page = both
    for number, fund in enumerate("AB", 1):
        linked = of(parts.linked, fund)
        table = page.table_of(number, "Contribution", "Volatility contribution")
        assert list(table) == [*FACTORS, "specific", "unattributed", "Sum"]
        for row in linked.to_dicts():
            expected = [row["contribution"], row["volatility_contribution"]]
            assert all(map(close, table[row["factor"]], expected))
        returns = of(parts.returns, fund)
        names = ["portfolio_return", "benchmark_return"] if active else ["total"]
        compounded = [(1 + returns[name]).product() - 1 for name in names]
        total = compounded[0] - compounded[1] if active else compounded[0]
        assert close(table["Sum"][0], total)
        assert close(table["Sum"][1], returns["total"].std())
        whose = [" of the portfolio", " of the benchmark"] if active else [""]
        for who, value in zip(whose, compounded, strict=True):
            assert f"Compounded return{who} {value:.4g}" in page.words_of(number)


def test_what_is_not_covered_is_said(both):
    active, parts, _, page = both
    returns = of(parts.returns, "A")
    lost = 1 - returns.filter(pl.col("n_uncovered") > 0)["covered"]
    assert len(lost) == 5
    gross = "gross active weight" if active else "gross weight"
    expected = (
        "Not all is covered : in 5 of 90 periods, assets without exposures, a return or a specific "
        f"return had {100 * lost.mean():.1f} % of {gross} on average, at most "
        f"{100 * lost.max():.1f} % (at 2020-03-26 )."
    )
    assert expected in page.words_of(1)
    assert "Everything is covered: in all of 90 periods" in page.words_of(2)


def test_an_active_risk_that_is_not_known_is_said(tmp_path):
    held = market()
    benchmark = held.panel.select("day", "stock", weight=pl.lit(1 / 12))
    held = replace(held, benchmark=benchmark)
    risk = held.risk(active=True)
    words = written(tmp_path, risk=risk).words_of(2)
    lost = 1 - of(risk.summary, "B")["active_covered"][-1]
    assert f"No active risk is known at 2020-03-30 : assets with {100 * lost:.1f} % of" in words
    assert "No beta is known at 2020-03-30 : the risk of the benchmark is unknown or" in words
    assert "No risk is known" not in words
    assert "Active risk by factor" not in words


def test_forecasts_are_tested_as_by_bias_statistics(both):
    active, parts, _, page = both
    risk = market().risk(active=active)
    columns = ["bias", "lower", "upper", "mrad", "qlike", "n_periods"]
    whole = "portfolio_return" if active else "total"
    pairs = {"Return": (whole, "risk")} | (
        {"Active return": ("total", "active_risk")} if active else {}
    )
    for number, fund in enumerate("AB", 1):
        table = page.table_of(number, "Bias", "Lower limit")
        assert list(table) == list(pairs)
        for name, (value, forecast) in pairs.items():
            expected = bias_statistics(
                of(parts.returns, fund).select("day", pl.col(value).alias("return")),
                of(risk.summary, fund).select("day", pl.col(forecast).alias("risk")),
                window=63,
            ).to_dicts()[0]
            assert all(map(close, table[name], [expected[column] for column in columns]))
            low, high = expected["lower"], expected["upper"]
            verdict = (
                f"The bias of the {name.lower()} is within its limits"
                if low <= expected["bias"] <= high
                else f"The risk of the {name.lower()} was forecast too "
                + ("low" if expected["bias"] > high else "high")
            )
            assert verdict in page.words_of(number)


def test_the_charts_of_both(both):
    active, _, _, page = both
    headings = [picture["alt"] for picture in page.pictures()]
    own = [
        "Exposures over time",
        "Contributions to risk",
        *(["Active and total risk"] if active else []),
        "Cumulative attribution",
        "Bias over time",
        "Return: forecast and realised volatility",
        *(["Active return: forecast and realised volatility"] if active else []),
    ]
    assert headings[-2 * len(own) :] == own * 2
    assert all(picture["src"].startswith("data:") for picture in page.pictures())


def test_links_lead_to_every_portfolio(both):
    *_, page = both
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    assert links == ["#portfolio-1", "#portfolio-2"]
    ids = [a.get("id") for tag, a in page.elements if tag == "section"]
    assert ids[-2:] == ["portfolio-1", "portfolio-2"]
    assert len(ids) == len(set(ids))


def test_a_single_portfolio_needs_no_link(tmp_path):
    held = market(8)
    page = written(tmp_path, fits=held.fits, attribution=held.attribution(
        weights=held.weights.filter(fund="B")
    ))  # fmt: skip
    assert not [tag for tag, _ in page.elements if tag in {"a", "nav"}]
    assert "Portfolio B" in page.words_of(1)


def test_without_portfolios_the_page_is_as_it_was(tmp_path):
    page = written(tmp_path)
    assert "portfolio" not in page.text.lower()
    assert not [tag for tag, _ in page.elements if tag in {"a", "nav"}]


def test_of_many_portfolios_the_first_ten_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(portfolio_sections, "pictures_of_holdings", lambda *_: [])
    monkeypatch.setattr(portfolio_sections, "pictures_of_returns", lambda *_: [])
    held = market(8)
    one = held.weights.filter(fund="B").drop("fund")
    weights = pl.concat([one.with_columns(fund=pl.lit(number)) for number in range(12)])
    page = written(tmp_path, fits=held.fits, attribution=held.attribution(weights=weights))
    assert "The first 10 portfolios, in their order; 2 more are left out." in page.text
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    assert links == [f"#portfolio-{number}" for number in range(1, 11)]
    assert "Portfolio 9" in page.words_of(10)


def lazy_given(held, *, active):
    weights, panel = held.weights.lazy(), held.panel.lazy()
    return (
        held.attribution(active=active, weights=weights, panel=panel),
        held.risk(active=active, weights=weights, panel=panel, periods_per_year=YEAR),
    )


def test_lazy_and_eager_give_the_same_page_and_run_once(both, tmp_path):
    active, _, _, page = both
    parts, risk = lazy_given(market(), active=active)
    runs = []

    def counted(given):
        def run(wanted):
            runs.append(type(given).__name__)
            return given._run(wanted)

        return replace(given, _run=run)

    lazy = written(tmp_path, attribution=counted(parts), risk=counted(risk))
    assert lazy.source == page.source
    assert sorted(runs) == ["Attribution", "PortfolioRisk"]


@pytest.mark.parametrize("active", [False, True])
def test_one_period(tmp_path, active):
    held = market()
    weights = held.weights.filter(pl.col("day") == pl.date(2020, 3, 1))
    parts = held.attribution(active=active, weights=weights)
    page = written(tmp_path, attribution=parts, risk=held.risk(active=active, weights=weights))
    table = page.table_of(1, "Contribution", "Volatility contribution")
    assert close(table["Sum"][0], of(parts.returns, "A")["total"][0])
    assert {row[1] for row in table.values()} == {"–"}
    words = page.words_of(1)
    assert "the standard deviation of the" in words
    assert "which needs two periods" in words
    assert "The bias of the return needs two periods." in words
    assert "of which there are not enough for it or for charts" in words
    assert page.table_of(1, "Bias")["Return"][0] == "–"
    assert page.table_of(1, "Bias")["Return"][-1] == "1"
    assert "None" not in page.text
    assert "nan" not in page.text.lower()


def test_the_risk_is_nowhere_known(tmp_path):
    held = market(20)
    nothing = held.specific.with_columns(pl.lit(None, pl.Float64).alias("specific_risk"))
    for active in (False, True):
        page = written(
            tmp_path,
            fits=held.fits,
            attribution=held.attribution(active=active),
            risk=held.risk(active=active, specific_risk=nothing),
        )
        words = page.words_of(2)
        assert "No risk is known at 2020-01-20 , the last period: assets with 100.0 % of" in words
        assert "Nor is it known at any other of 20 periods." in words
        assert "No period has both a return and a known risk above zero: returns are from" in words
        assert "2020-01-01 to 2020-01-20 , and no risk is known." in words
        assert page.table_of(2, "Exposure")["x"]


def test_factors_without_a_covariance_are_named(tmp_path):
    held = market(20)
    gone = held.covariance.with_columns(
        pl.when(pl.col("factor") != "y").then(name).alias(name) for name in FACTORS
    ).with_columns(pl.when(pl.col("factor") == "never").then("y").alias("y"))
    page = written(tmp_path, fits=held.fits, risk=held.risk(factor_covariance=gone))
    words = page.words_of(2)
    assert "the portfolio is exposed to factors without a covariance: y ." in words
    assert "No attribution of returns was given." in words


def test_the_two_share_no_period(tmp_path):
    held = market()
    early = held.weights.filter(pl.col("day") < pl.date(2020, 2, 10))
    late = held.weights.filter(pl.col("day") > pl.date(2020, 2, 20))
    page = written(
        tmp_path, attribution=held.attribution(weights=early), risk=held.risk(weights=late)
    )
    assert (
        "No period has both a return and a known risk above zero: returns are from 2020-01-01 to "
        "2020-02-09 , and the last known risk is of 2020-03-30 ."
    ) in page.words_of(2)


def test_a_portfolio_that_only_one_of_both_has(tmp_path):
    held = market(20)
    page = written(
        tmp_path,
        fits=held.fits,
        attribution=held.attribution(weights=held.weights.filter(fund="A")),
        risk=held.risk(weights=held.weights.filter(fund="B")),
    )
    assert "The risk that was given has no such portfolio." in page.words_of(1)
    assert "The attribution that was given has no such portfolio." in page.words_of(2)
    for number in (1, 2):
        assert "That needs both the risk and the returns" in page.words_of(number)


@pytest.mark.parametrize("which", ["attribution", "risk"])
def test_only_one_of_both_has_a_benchmark(tmp_path, which):
    held = market(20)
    page = written(
        tmp_path,
        fits=held.fits,
        attribution=held.attribution(active=which == "attribution"),
        risk=held.risk(active=which == "risk"),
    )
    assert "Only one of the risk and the attribution has a benchmark" in page.words_of(2)
    assert list(page.table_of(2, "Bias")) == ["Return"]


def test_a_portfolio_that_is_the_benchmark(tmp_path):
    held = market(20)
    weights = held.benchmark.with_columns(fund=pl.lit("index"))
    page = written(
        tmp_path,
        fits=held.fits,
        attribution=held.attribution(active=True, weights=weights),
        risk=held.risk(active=True, weights=weights),
    )
    words = page.words_of(1)
    assert "Active risk 0 Beta" in words or "No active risk" in words
    assert "No period has both an active return and a known active risk above zero." in words
    assert list(page.table_of(1, "Bias")) == ["Return"]


def test_no_asset_has_a_return(tmp_path):
    held = market(20)
    empty = held.panel.with_columns(pl.lit(None, pl.Float64).alias("other"))
    parts = attribution(held.fits, held.weights, empty, returns="other", portfolio="fund")
    page = written(tmp_path, fits=held.fits, attribution=parts)
    words = page.words_of(1)
    assert "There is no return in 20 periods: nothing that the portfolio held has one." in words


def test_periods_without_factor_returns_or_returns_are_counted(tmp_path):
    held = market(20)
    first, second = pl.date(2020, 1, 5), pl.date(2020, 1, 6)
    panel = held.panel.with_columns(
        pl.when(pl.col("day") != first).then("ret").alias("ret"),
        pl.when(pl.col("day") != second).then("x").alias("x"),
    )
    fits = fit_cross_sections(
        panel, ["x", "y"], categories={"sector": None}, returns="ret", period="day", asset="stock"
    )
    parts = attribution(fits, held.weights, panel, returns="ret", portfolio="fund")
    words = written(tmp_path, fits=fits, attribution=parts).words_of(2)
    assert "In 1 period without factor returns, all of the return is unattributed." in words
    assert "1 period without any return is left out." in words
    assert "in 2 of 20 periods, assets without" in words
    assert "at most 100.0 % (at 2020-01-05 )" in words


def test_frames_without_rows(tmp_path):
    held = market(20)
    nothing = held.weights.clear()
    page = written(tmp_path, fits=held.fits, attribution=held.attribution(weights=nothing),
                   risk=held.risk(weights=nothing))  # fmt: skip
    assert "What was given has no portfolio: its frames have no rows." in page.text


def test_only_rounding_is_written_as_zero(tmp_path):
    risk = market(20).risk(active=True)
    tiny = pl.when(factor="x").then(1e-18).otherwise("exposure").alias("exposure")
    changed = replace(risk, factors=risk.factors.with_columns(tiny))
    page = written(tmp_path, fits=market(20).fits, risk=changed)
    assert page.table_of(2, "Exposure")["x"][:2] == ["0", "0"]
    assert page.table_of(2, "Exposure")["y"][0] != "0"


PERIODS = {
    "whole numbers": pl.col("day").cast(pl.Int32),
    "text": pl.col("day").cast(pl.String),
    "times in a zone": pl.col("day").cast(pl.Datetime("ns", "UTC")),
    "dates beyond Python's": (pl.col("day").cast(pl.Int32) + 4_000_000).cast(pl.Date),
}


@pytest.mark.parametrize("kind", PERIODS)
def test_other_periods_and_keys_that_swap_their_names(tmp_path, kind):
    held, swapped = market(20), {"day": "portfolio", "fund": "period"}
    panel, weights, benchmark = (
        frame.with_columns(PERIODS[kind].alias("day")).rename(swapped, strict=False)
        for frame in (held.panel, held.weights, held.benchmark)
    )
    names = {"period": "portfolio", "asset": "stock"}
    fits = fit_cross_sections(panel, ["x", "y"], returns="ret", **names)
    forecasts = factor_covariance(fits, min_periods=5), specific_risk(fits, min_periods=5)
    arguments = {"portfolio": "period", "benchmark": benchmark}
    parts = attribution(fits, weights, panel, returns="ret", **arguments)
    risk = portfolio_risk(weights, panel, fits, *forecasts, **arguments)
    page = written(tmp_path, fits=fits, attribution=parts, risk=risk)
    table = page.table_of(2, "Exposure", "Volatility")
    assert close(table["Sum"][3], risk.summary.filter(period="B")["risk"][-1])
    assert page.words_of(1).startswith("Portfolio A")


def other_fits(**arguments):
    held = market(20)
    panel = held.panel.with_columns(arguments.pop("change", []))
    arguments = {"exposures": ["x", "y"], "categories": {"sector": None}} | arguments
    return fit_cross_sections(panel, returns="ret", period="day", asset="stock", **arguments)


WRONG = {
    "another type of period": (
        {"change": pl.col("day").cast(pl.Datetime("us"))},
        "the periods of {} are Date, expected Datetime.* as in the fits",
    ),
    "fewer factors": ({"categories": None}, "{} has the factors 'sector=Oil', 'sector=Tech', exp"),
    "more factors": (
        {"intercept": True},
        "{} lacks 'intercept', expected exactly the factors of the fits",
    ),
}


@pytest.mark.parametrize("argument", ["attribution", "risk"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_of_other_fits_is_refused_and_leaves_no_file(tmp_path, wrong, argument):
    arguments, message = WRONG[wrong]
    given = getattr(market(20), argument)()
    with pytest.raises(PanelError, match=message.format(argument)):
        written(tmp_path, fits=other_fits(**arguments), **{argument: given})
    assert not list(tmp_path.iterdir())


def test_portfolios_of_two_types_are_refused(tmp_path):
    held = market(20)
    numbered = held.weights.with_columns(fund=pl.lit(1))
    with pytest.raises(PanelError, match="portfolios are String in attribution and Int32 in risk"):
        written(
            tmp_path,
            fits=held.fits,
            attribution=held.attribution(weights=held.weights),
            risk=held.risk(weights=numbered.unique(["day", "stock"])),
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", ["no", 1, pl.DataFrame({"a": [1]}), Attribution, PortfolioRisk])
def test_something_else_is_a_type_error(tmp_path, wrong):
    for argument, expected in (
        ("attribution", "expected the result of attribution, or None"),
        ("risk", "expected the result of portfolio_risk, or None"),
    ):
        with pytest.raises(TypeError, match=rf"^{argument} is .*, {expected}"):
            written(tmp_path, **{argument: wrong})
    with pytest.raises(TypeError, match="attribution is a PortfolioRisk"):
        written(tmp_path, attribution=market(20).risk())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", [None, "what was there"])
@pytest.mark.parametrize("failure", ["lazy", "picture"])
def test_a_failure_leaves_no_half_file(tmp_path, monkeypatch, failure, there):
    held, path = market(20), tmp_path / "report.html"
    if there:
        path.write_text(there)
    given, expected = held.attribution(), RuntimeError
    if failure == "lazy":
        twice = pl.concat([held.weights, held.weights]).lazy()
        given, expected = held.attribution(weights=twice), PanelError
    else:
        monkeypatch.setattr(portfolio_sections, "pictures_of_returns", fail)
    with pytest.raises(expected):
        write_report(held.fits, path, attribution=given)
    assert [file.name for file in tmp_path.iterdir()] == (["report.html"] if there else [])
    if there:
        assert path.read_text() == there


def fail(*_):
    raise RuntimeError("no ink")


# --- names that could do harm


@cache
def hostile():
    """Fits and portfolios in which all names are hostile."""
    day, stock, fund = HOSTILE[0], HOSTILE[1], HOSTILE[8]
    names = {"day": day, "stock": stock, "x": HOSTILE[2], "y": HOSTILE[5], "sector": HOSTILE[7]}
    held = market(70)
    panel = held.panel.with_columns(
        pl.col("stock").replace_strict(
            {f"S{i:02}": f"{HOSTILE[i % len(HOSTILE)]}{i}" for i in range(12)}
        ),
        pl.col("sector").replace_strict({"Oil": HOSTILE[6], "Tech": HOSTILE[3]}),
    ).rename(names)
    fits = fit_cross_sections(
        panel,
        [names["x"], names["y"]],
        categories={names["sector"]: None},
        returns="ret",
        period=day,
        asset=stock,
    )
    keys = panel.select(day, stock)
    weights = pl.concat(
        [keys.with_columns(pl.lit(name).alias(fund), weight=pl.lit(0.1)) for name in HOSTILE]
    )
    covariance = factor_covariance(fits, min_periods=5)
    specific = specific_risk(fits, min_periods=5)
    benchmark = keys.with_columns(weight=pl.lit(1 / 12))
    arguments = {"portfolio": fund, "benchmark": benchmark}
    return fits, {
        "attribution": attribution(fits, weights, panel, returns="ret", **arguments),
        "risk": portfolio_risk(weights, panel, fits, covariance, specific, **arguments),
    }


@pytest.fixture(scope="module")
def hostile_path(tmp_path_factory):
    fits, given = hostile()
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    write_report(fits, path, **given)
    return path


def test_hostile_names_are_words_and_no_more(hostile_path):
    page = Sections(hostile_path)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "svg"}
    assert all(picture["src"].startswith("data:") for picture in page.pictures())
    assert not [1 for _, attributes in page.elements if "onerror" in attributes]
    assert not set("\u202e\x00\x1b") & set(page.source)
    shown = {page.words_of(number).partition(" What it holds")[0] for number in range(1, 10)}
    assert f"Portfolio {HOSTILE[0]}" in shown
    assert f"Portfolio {HOSTILE[3]}" in shown
    assert f"Portfolio {HOSTILE[8]}" in shown
    assert "Portfolio line\\nbreak\\ttab\\x00\\x1b[31m" in shown
    assert max(map(len, shown)) <= 10 + 60
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    assert links == [f"#portfolio-{number}" for number in range(1, 10)]
    rows = page.table_of(1, "Contribution")
    assert HOSTILE[2] in rows
    assert len(rows) == 4 + 3


# --- in a browser


@pytest.fixture(scope="module", params=["names", "hostile names"])
def page_file(request, hostile_path, tmp_path_factory):
    if request.param == "hostile names":
        return hostile_path
    held = market()
    path = tmp_path_factory.mktemp("browser") / "report.html"
    given = {"attribution": held.attribution(active=True), "risk": held.risk(active=True)}
    write_report(held.fits, path, **given)
    return path


@pytest.mark.browser
@WIDTHS
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(chromium, page_file, viewport, scheme):
    phone = viewport["width"] < 500
    with opened(
        chromium, page_file, viewport=viewport, is_mobile=phone, color_scheme=scheme
    ) as tab:
        assert tab.evaluate("window.innerWidth") == viewport["width"]
        # The page does not scroll sideways: what is wide scrolls in its own box.
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        if not phone:
            boxes = "[...document.querySelectorAll('.wide')]"
            assert tab.evaluate(f"{boxes}.every(e => e.scrollWidth <= e.clientWidth)")
        links = tab.locator("nav a")
        for number in (0, links.count() - 1):
            links.nth(number).click()
            heading = tab.locator(f"#portfolio-{number + 1} h2")
            assert abs(heading.bounding_box()["y"]) < viewport["height"]
        # Names of rows stay where a table scrolls.
        box = tab.locator("#portfolio-1 .wide", has=tab.locator("tfoot")).first
        box.evaluate("e => { e.scrollLeft = e.scrollWidth; }")
        name, frame = box.locator("tbody td").first.bounding_box(), box.bounding_box()
        assert name["x"] == pytest.approx(frame["x"], abs=1)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_line_of_the_total_stands_out(chromium, both, tmp_path, scheme):
    *_, page = both
    path = tmp_path / "report.html"
    path.write_text(page.source, encoding="utf-8")
    with opened(chromium, path, color_scheme=scheme) as tab:
        picture = tab.locator("img[alt='Cumulative attribution']").first.screenshot()
        pixels = matplotlib.image.imread(io.BytesIO(picture))[..., :3]
        ink = pixels.max(axis=2) < 0.25 if scheme == "light" else pixels.min(axis=2) > 0.75
        # Of the legend's line, which is on the page's ground.
        assert ink[:60, :120].any()
