"""The report: what it says, that it is one file, and that no name in it can do harm."""

from __future__ import annotations

import io
import math
import re
from concurrent.futures import ThreadPoolExecutor

import matplotlib as mpl
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest

from report.pages import HOSTILE, WIDTHS, Page, opened
from vbase_py_utils import PanelError, fama_macbeth, fit_cross_sections, write_report
from vbase_py_utils.kernel.losses import Bisquare
from vbase_py_utils.report import page as report
from vbase_py_utils.report import pictures

EXPOSURES = ["x", "y", "z"]


def market(seed=5, n_periods=40, n_assets=30, *, days=True):
    """A panel whose periods 3, 17 and 30 end badly, and with rows that are left out."""
    rng = np.random.default_rng(seed)
    n = n_periods * n_assets
    number = np.repeat(np.arange(n_periods), n_assets)
    X = rng.standard_normal((n, 3))
    X[number == 17, 2] = X[number == 17, 0]
    returns = X @ [0.01, -0.02, 0.0] + 0.02 * rng.standard_t(2, n)
    returns[(number == 3) & (np.tile(np.arange(n_assets), n_periods) > 1)] = np.nan
    returns[number == 30] = (X @ [0.01, 0.0, 0.0])[number == 30]
    day = pl.date(2020, 1, 1) + pl.duration(days=pl.col("period"))
    frame = pl.DataFrame(
        {
            "period": number,
            "asset": [f"Asset {i}" for i in range(n_assets)] * n_periods,
            "return": returns,
            "w": rng.lognormal(0, 1, n),
            **dict(zip(EXPOSURES, X.T, strict=True)),
        }
    )
    return frame.with_columns(period=day) if days else frame


@pytest.fixture(scope="module")
def fits():
    return fit_cross_sections(market(), EXPOSURES, weights="w")


@pytest.fixture(scope="module")
def page(fits, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(fits, path, title="Three exposures")
    return Page(path)


def test_says_what_was_estimated_and_over_which_span(page, fits):
    text = page.text
    assert "Robust regressions on 3 factors, 40 periods from 2020-01-01 to 2020-02-09" in text
    assert "Returns return Exposures x , y , z Intercept no Regression weights w" in text
    assert "tuning constant 1.345" in text
    assert "HC2, valid for any regression weights, with degrees of freedom" in text
    assert "Assets 30 Used per period median 30, range 2 to 30" in text
    assert fits.diagnostics["n_excluded"].sum() == 28
    assert "28 of 1,200 (2.3 %)" in text


def test_says_so_of_another_model(tmp_path):
    panel = market().with_columns(
        sector=pl.when(pl.col("asset").str.len_chars() > 7).then(pl.lit("Tech")).otherwise(None),
        cap=pl.lit(2.0),
    )
    panel = panel.with_columns(pl.col("sector").fill_null("Oil"))
    fits = fit_cross_sections(
        panel,
        "x",
        intercept=True,
        categories={"sector": "cap"},
        huber_t=math.inf,
        cov_type="H1",
    )
    write_report(fits, tmp_path / "report.html")
    text = Page(tmp_path / "report.html").text
    assert "Least squares on 4 factors" in text
    assert "Intercept yes Categories of sector Oil , Tech" in text
    assert "their factor returns sum to zero, weighted by cap" in text
    assert "Regression weights equal Estimator weighted least squares" in text
    assert "H1" in text
    assert "No asset was down-weighted." in text
    assert "Robustness weights" not in text


def test_says_so_of_the_mm_estimate(tmp_path):
    fits = fit_cross_sections(market(), EXPOSURES, weights="w", estimator="mm", efficiency=0.9)
    write_report(fits, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert "Robust regressions on 3 factors" in page.text
    assert "MM estimator with a bounded effect of wrong exposures, efficiency 0.9" in page.text
    assert "Standard errors of the MM estimate" in page.text
    beyond = Bisquare.of(0.9).downweighted_beyond
    assert f"beyond {beyond:.4g} scales has a robustness weight below one half" in page.text
    # Assets are counted as the diagnostics count them.
    counted = sum(int(row[2]) for row in page.table("Asset"))
    weights = fits.specific_returns.filter(pl.col("robustness_weight") < 0.5)
    names = {row[0] for row in page.table("Asset")}
    assert counted == weights.filter(pl.col("asset").is_in(names)).height


def test_lists_the_highest_leverages(page, fits):
    rows = page.tables[-1][1:]
    leverages = fits.specific_returns.drop_nulls("leverage").sort("leverage", descending=True)
    assert len(rows) == 10
    assert [float(row[2]) for row in rows] == pytest.approx(
        leverages["leverage"].head(10).to_list(), rel=1e-3
    )


def test_lists_how_the_periods_ended(page, fits):
    counts = {row[0]: int(row[1]) for row in page.table("Status")}
    assert counts == {"converged": 37, "exact_fit": 1, "rank_deficient": 1, "too_few_assets": 1}
    meanings = {row[0]: row[2] for row in page.table("Status")}
    assert meanings["converged"] == "all results"
    assert meanings["exact_fit"].endswith("zero: estimates, but no standard errors")
    assert meanings["rank_deficient"] == "collinear exposures or categories: no estimate"
    assert meanings["too_few_assets"] == "fewer assets than factors to estimate: no estimate"
    bad = fits.bad_periods.rows()
    assert page.tables[1][1:] == [
        [str(day), status, reason.removeprefix(f"{status}: ")] for day, status, reason in bad
    ]
    assert [row[0] for row in page.tables[1][1:]] == ["2020-01-04", "2020-01-18", "2020-01-31"]


def test_the_premia_are_newey_wests(page, fits):
    premia = fama_macbeth(fits, lags="auto")
    rows = page.table("Factor")
    assert [row[0] for row in rows] == EXPOSURES
    for row, premium in zip(rows, premia.rows(named=True), strict=True):
        assert float(row[1]) == pytest.approx(premium["premium"], rel=1e-3)
        assert float(row[2]) == pytest.approx(premium["std_error"], rel=1e-3)
        assert float(row[3]) == pytest.approx(premium["t_stat"], abs=0.006)
        chance = "< 0.0001" if premium["p_value"] < 0.0001 else f"{premium['p_value']:.4f}"
        assert row[4] == chance
        assert row[5] == str(premium["n_periods"]) == "38"


@pytest.mark.parametrize(
    ("lags", "said"),
    [
        (0, "the textbook ones, for factor returns that are independent over time"),
        (1, "with 1 lag;"),
        (7, "with 7 lags;"),
        (10**6, "with 1000000 lags;"),
    ],
)
def test_the_lags_of_the_premia_arrive_and_are_named(fits, tmp_path, lags, said):
    write_report(fits, tmp_path / "report.html", lags=lags)
    page = Page(tmp_path / "report.html")
    assert said in page.text
    for row, premium in zip(
        page.table("Factor"), fama_macbeth(fits, lags=lags).rows(named=True), strict=True
    ):
        if lags == 10**6:  # more than there are periods
            assert row[2:5] == ["–"] * 3
        else:
            assert float(row[2]) == pytest.approx(premium["std_error"], rel=1e-3)
            assert float(row[3]) == pytest.approx(premium["t_stat"], abs=0.006)
    assert ("t-values of the premia" in page.text) == (lags != 10**6)


def lost_weight(fits, key):
    """Lost weights by a slow count: sum and number of each period or asset."""
    lost = {}
    for row in fits.specific_returns.rows(named=True):
        if row["robustness_weight"] is not None:
            lost.setdefault(str(row[key]), []).append(1 - row["robustness_weight"])
    return lost


def test_the_ten_periods_that_outliers_affected_most(page, fits):
    lost = {period: np.mean(values) for period, values in lost_weight(fits, "period").items()}
    worst = sorted(lost, key=lost.get, reverse=True)[:10]
    rows = page.tables[3][1:]
    assert [row[0] for row in rows] == worst
    for row in rows:
        assert row[1] == f"{100 * lost[row[0]]:.1f} %"
        day = pl.lit(row[0]).str.to_date()
        diagnostics = fits.diagnostics.filter(pl.col("period") == day).row(0, named=True)
        assert [int(row[2]), int(row[3])] == [
            diagnostics["n_downweighted"],
            diagnostics["n_assets"],
        ]
        assert float(row[4]) == pytest.approx(diagnostics["r_squared"], rel=1e-3)
        assert float(row[5]) == pytest.approx(diagnostics["robust_r_squared"], rel=1e-3)
        least = fits.specific_returns.filter(pl.col("period") == day).sort("robustness_weight")
        assert row[6] == least["asset"][0]
        assert float(row[7]) == pytest.approx(least["specific_return"][0], rel=1e-3)
        assert float(row[8]) == pytest.approx(least["robustness_weight"][0], rel=1e-3)


def test_the_ten_assets_that_outliers_affected_most(page, fits):
    lost = lost_weight(fits, "asset")
    worst = sorted(lost, key=lambda asset: sum(lost[asset]), reverse=True)[:10]
    rows = page.table("Asset")
    assert [row[0] for row in rows] == worst
    for row in rows:
        assert float(row[1]) == pytest.approx(sum(lost[row[0]]), rel=1e-3)
        assert int(row[2]) == sum(value > 0 for value in lost[row[0]])
        assert int(row[3]) == len(lost[row[0]])
        of_asset = fits.specific_returns.filter(asset=row[0]).sort("robustness_weight")
        of_asset = of_asset.filter(pl.col("robustness_weight").is_not_null())
        assert row[4] == str(of_asset["period"][0])
        assert float(row[5]) == pytest.approx(of_asset["specific_return"][0], rel=1e-3)
        assert float(row[6]) == pytest.approx(1 - max(lost[row[0]]), rel=1e-3)


def test_a_weight_just_below_one_is_counted(french_panel, tmp_path):
    betas = ["beta_MktRF", "beta_SMB", "beta_HML", "beta_Mom"]
    fits = fit_cross_sections(french_panel, betas)
    write_report(fits, tmp_path / "report.html")
    weight = pl.col("robustness_weight")
    expected = fits.specific_returns.group_by("asset").agg((weight < 1).sum())
    rows = Page(tmp_path / "report.html").table("Asset")
    counts = dict(expected.rows())
    assert [int(row[2].replace(",", "")) for row in rows] == [counts[row[0]] for row in rows]
    # The data have what this is about.
    shown = pl.col("asset").is_in([row[0] for row in rows])
    assert fits.specific_returns.filter(shown & weight.is_between(0.999, 1, "none")).height > 0


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(None, "–"), (0.0, "< 0.0001"), (0.00009, "< 0.0001"), (0.0001, "0.0001"), (0.004, "0.0040")],
)
def test_p_values(p_value, text):
    assert report._chance(p_value) == text


def test_it_is_one_file_that_asks_for_nothing(page):
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "video", "form", "base"}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in {"src", "href", "srcset"} & set(attributes):
            assert attributes[name].startswith("data:"), (tag, attributes[name][:50])
    assert "http:" not in page.source
    assert "https:" not in page.source
    assert "url(" not in page.source
    assert "@import" not in page.source
    policy = [a["content"] for _, a in page.elements if "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_pictures_are_charts_with_their_words(page, fits):
    from base64 import b64decode

    words = [b64decode(p["src"].partition(",")[2]).decode() for p in page.pictures()]
    assert [p["alt"] for p in page.pictures()] == [
        "Cumulative factor returns",
        "Factor returns and their confidence bands",
        "t-values of the premia",
        "Fit over time",
        "Robustness weights",
        "Correlations of factor returns",
    ]
    returns = fits.factor_returns.drop_nulls()
    cell = f"{returns.select(pl.corr('x', 'z')).item():.2f}".replace("-", "−")
    shown = [re.findall(r"<text[^>]*>([^<]*)</text>", svg) for svg in words]
    for expected, texts in zip(
        ["sum of factor returns", "95 % band", "t-value", "robust R squared", "Asset 1", cell],
        shown,
        strict=True,
    ):
        assert any(expected in text for text in texts), expected
    # Factors stand in their order, the first on top of the bars and of the correlations.
    for number in (0, 2, 5):
        assert [text for text in shown[number] if text in EXPOSURES][-3:] == EXPOSURES
    for svg in words:
        assert "prefers-color-scheme:dark" in svg
        assert not re.search(r"(href|src)=\"(?!#|data:)", svg)


def test_how_many_normal_residuals_would_be_down_weighted(tmp_path):
    for huber_t, expected in ((1.345, "would be 18 %"), (2.0, "would be 5 %"), (9.0, "assets.")):
        fits = fit_cross_sections(market(n_periods=3), "x", huber_t=huber_t)
        write_report(fits, tmp_path / "report.html")
        text = Page(tmp_path / "report.html").text
        assert expected in text[text.index("share of down-weighted assets") :][:90]


def test_ties_are_in_the_order_of_the_keys(tmp_path):
    one = market(n_periods=8).filter(pl.col("period") == pl.date(2020, 1, 1))
    again = [one.with_columns(period=pl.date(2020, 1, day)) for day in (9, 5, 7)]
    write_report(fit_cross_sections(pl.concat(again), EXPOSURES), tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert [row[0] for row in page.tables[2][1:]] == ["2020-01-05", "2020-01-07", "2020-01-09"]
    assert {row[4] for row in page.table("Asset")} == {"2020-01-05"}


def test_an_asset_that_was_never_used_is_counted(tmp_path):
    panel = market().with_columns(
        pl.when(pl.col("asset") != "Asset 3").then(pl.col("w")).otherwise(0.0).alias("w")
    )
    write_report(fit_cross_sections(panel, EXPOSURES, weights="w"), tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert "Assets 30 Used per period median 29," in page.text


def test_reasons_with_many_names_stay_short(tmp_path):
    # Every dummy of a family and an intercept: collinear in every period.
    names = [f"industry: metals and mining, number {j:02}" + "x" * 200 for j in range(60)]
    dummies = np.tile(np.eye(60), (40, 1))
    panel = pl.DataFrame(dummies, schema=names).with_columns(
        period=pl.Series(np.repeat(np.arange(20), 120)),
        asset=pl.Series(np.tile(np.arange(120), 20)),
        **{"return": pl.Series(np.random.default_rng(1).standard_normal(2400))},
    )
    fits = fit_cross_sections(panel, names, intercept=True)
    assert set(fits.bad_periods["status"]) == {"rank_deficient"}
    assert fits.bad_periods["reason"].str.len_chars().max() < 200
    assert fits.bad_periods["reason"].str.contains(" and 59 more are linearly dependent").all()
    write_report(fits, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 100_000


def test_the_zone_of_matplotlib_does_not_matter(tmp_path):
    fits = fit_cross_sections(market(), "x")
    write_report(fits, tmp_path / "one.html")
    with mpl.rc_context({"timezone": "America/New_York"}):
        write_report(fits, tmp_path / "other.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()


def test_a_title_is_text_and_is_not_cut(fits, tmp_path):
    title = "Weekly factor returns of " + "very " * 60 + "large stocks\n\x07"
    write_report(fits, tmp_path / "report.html", title=title)
    page = Page(tmp_path / "report.html")
    assert "very " * 60 + "large stocks\\n\\x07" in page.text
    for wrong in (None, 5):
        with pytest.raises(TypeError, match=f"title is {wrong}, expected text"):
            write_report(fits, tmp_path / "other.html", title=wrong)


def test_a_link_stays_a_link_and_a_secret_a_secret(fits, tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target.html", tmp_path / "link.html"
    target.write_text("before")
    target.chmod(0o600)
    link.symlink_to(target)
    write_report(fits, link)
    assert link.is_symlink()
    assert "<title>" in target.read_text(encoding="utf-8")
    assert target.stat().st_mode & 0o777 == 0o600


def test_the_same_from_lazy_and_one_pass_fits(page, tmp_path):
    panel = market().lazy()
    for sorted_by_period in (False, True):
        fits = fit_cross_sections(panel, EXPOSURES, weights="w", sorted_by_period=sorted_by_period)
        write_report(fits, str(tmp_path / "report.html"), title="Three exposures")
        assert Page(tmp_path / "report.html").source == page.source


def test_a_style_of_the_user_changes_nothing_and_is_kept(page, fits, tmp_path):
    with plt.style.context("dark_background"), mpl.rc_context({"font.size": 30}):
        before = dict(mpl.rcParams)
        write_report(fits, tmp_path / "report.html", title="Three exposures")
        assert dict(mpl.rcParams) == before
    assert Page(tmp_path / "report.html").source == page.source
    assert plt.get_fignums() == []


def test_from_several_threads(page, fits, tmp_path):
    before = dict(mpl.rcParams)
    paths = [tmp_path / f"{number}.html" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: write_report(fits, path, title="Three exposures"), paths))
    assert {path.read_text(encoding="utf-8") for path in paths} == {page.source}
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("there", [None, "what was there"])
@pytest.mark.parametrize("failure", ["panel", "picture", "disk"])
def test_a_failure_leaves_no_half_file(fits, tmp_path, monkeypatch, failure, there):
    path = tmp_path / "report.html"
    if there:
        path.write_text(there)
    expected = RuntimeError
    if failure == "panel":
        bad = market().with_columns(w=-pl.col("w")).lazy()
        fits, expected = fit_cross_sections(bad, EXPOSURES, weights="w"), PanelError
    elif failure == "picture":
        monkeypatch.setattr(pictures, "pictures_of", fail)
    else:
        monkeypatch.setattr(type(path), "write_text", write_half)
    with pytest.raises(expected):
        write_report(fits, path)
    assert [file.name for file in tmp_path.iterdir()] == (["report.html"] if there else [])
    if there:
        assert path.read_text() == there


def fail(*_):
    raise RuntimeError("no ink")


def write_half(path, text, **_):
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
    raise RuntimeError("disk full")


def test_a_path_that_is_none(fits, tmp_path):
    with pytest.raises(PanelError, match="is a directory, expected a file to write"):
        write_report(fits, tmp_path)
    with pytest.raises(PanelError, match="nowhere does not exist"):
        write_report(fits, tmp_path / "nowhere" / "report.html")


def test_something_else_than_fits(fits, tmp_path):
    with pytest.raises(TypeError, match="fits is a DataFrame, expected the result of fit_cross_"):
        write_report(fits.coefficients, tmp_path / "report.html")


EDGES = {
    "no row": (lambda p: p.clear(), EXPOSURES),
    "one row": (lambda p: p.head(1), ["x"]),
    "one period": (lambda p: p.head(30), EXPOSURES),
    "one asset": (lambda p: p.filter(asset="Asset 1"), ["x"]),
    "all null": (lambda p: p.with_columns(pl.lit(None, pl.Float64).alias("return")), EXPOSURES),
    "too few everywhere": (lambda p: p.filter(asset="Asset 1"), EXPOSURES),
    "tiny": (lambda p: p.with_columns(pl.col("return") * 1e-200), EXPOSURES),
    "huge": (lambda p: p.with_columns(pl.col("return") * 1e200), EXPOSURES),
    "no weights at all": (lambda p: p.with_columns(w=0.0), EXPOSURES),
}


@pytest.mark.parametrize("edge", EDGES)
def test_panels_at_the_edge(tmp_path, edge):
    change, exposures = EDGES[edge]
    panel = change(market())
    fits = fit_cross_sections(panel, exposures, weights="w")
    write_report(fits, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert f"{panel['period'].n_unique()} period" in page.text
    assert len(page.table("Factor")) == len(exposures)
    if edge in {"no row", "all null", "too few everywhere", "no weights at all"}:
        assert "No period has an estimate to draw." in page.text
        assert page.pictures() == []
    else:
        assert page.pictures()
    assert "nan" not in page.text.lower()
    assert "None" not in page.text


def test_of_a_thousand_assets_it_is_below_3_mb(tmp_path):
    rng = np.random.default_rng(2)
    T, n, k = 250, 1000, 20
    X = rng.standard_normal((T * n, k))
    names = [f"factor {j}" for j in range(k)]
    panel = pl.DataFrame(X, schema=names).with_columns(
        period=pl.Series(np.repeat(np.arange(T), n)),
        asset=pl.Series(np.tile(np.arange(n), T)),
        **{"return": X @ rng.normal(0, 0.01, k) + 0.05 * rng.standard_t(2, T * n)},
    )
    write_report(fit_cross_sections(panel, names), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def hostile_fits():
    """Fits in which every name of the data is hostile, some periods end badly."""
    n = len(HOSTILE)
    rng = np.random.default_rng(4)
    panel = pl.DataFrame(
        {
            HOSTILE[0]: [name + str(t) for name in HOSTILE for t in range(3) for _ in range(4 * n)],
            HOSTILE[1]: [f"{name}{i}" for i in range(4) for name in HOSTILE] * (3 * n),
            HOSTILE[2]: rng.standard_t(2, 12 * n * n),
            HOSTILE[6]: rng.lognormal(0, 1, 12 * n * n),
            HOSTILE[7]: rng.choice(HOSTILE[:3], 12 * n * n),
            **{name: rng.standard_normal(12 * n * n) for name in (HOSTILE[3], HOSTILE[4])},
        }
    )
    first = pl.col(HOSTILE[0]).str.ends_with("0")
    panel = panel.with_columns(pl.when(~first).then(pl.col(HOSTILE[2])).alias(HOSTILE[2]))
    # Of a type that has an order.
    periods = panel[HOSTILE[0]].unique(maintain_order=True)
    panel = panel.with_columns(panel[HOSTILE[0]].cast(pl.Enum(periods)))
    return fit_cross_sections(
        panel,
        [HOSTILE[3], HOSTILE[4]],
        intercept=True,
        categories={HOSTILE[7]: HOSTILE[6]},
        returns=HOSTILE[2],
        weights=HOSTILE[6],
        period=HOSTILE[0],
        asset=HOSTILE[1],
    )


def test_hostile_names_are_words_and_no_more(tmp_path):
    fits = hostile_fits()
    assert fits.bad_periods.height == len(HOSTILE)
    write_report(fits, tmp_path / "report.html", title=HOSTILE[0])
    page = Page(tmp_path / "report.html")
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "svg"}
    assert all(picture["src"].startswith("data:") for picture in page.pictures())
    assert not [1 for _, attributes in page.elements if "onerror" in attributes]
    assert len(page.pictures()) == 6
    # Nothing was lost on the way: the names are there to read, cut where they are long.
    shown = {row[0] for row in page.tables[1][1:]}
    assert len(shown) == len(HOSTILE)
    assert HOSTILE[0] + "0" in shown
    assert "😀 emoji 🏦0" in shown
    assert "תשואה عائد \\u202e reversed0" in shown
    assert "line\\nbreak\\ttab\\x00\\x1b[31m0" in shown
    assert max(map(len, shown)) <= 60
    assert "{{ 7 * 7 }}" in page.text
    assert not set("\u202e\x00\x1b") & set(page.source)


# --- in a browser


@pytest.fixture(scope="module", params=["names", "hostile names"])
def written(request, fits, tmp_path_factory):
    """A file, the fits in it, and how many pictures it has."""
    path = tmp_path_factory.mktemp("browser") / "report.html"
    given = hostile_fits() if request.param == "hostile names" else fits
    write_report(given, path, title=HOSTILE[0])
    return path, given


@pytest.mark.browser
@WIDTHS
def test_in_a_browser(chromium, written, viewport):
    path, fits = written
    phone = viewport["width"] < 500
    with opened(chromium, path, viewport=viewport, is_mobile=phone) as tab:
        assert tab.evaluate("window.innerWidth") == viewport["width"]
        assert tab.title() == HOSTILE[0]
        # The page does not scroll sideways: what is wide scrolls in its own box.
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        pictures = tab.evaluate(
            "[...document.images].map(i => [i.naturalWidth, i.naturalHeight, i.width, i.height])"
        )
        assert len(pictures) == 6
        for width, height, shown_width, shown_height in pictures:
            room = min(viewport["width"], 960) - 32
            assert shown_width == min(width, max(room, 600))
            assert shown_height == pytest.approx(height * shown_width / width, abs=1)
        if not phone:
            # On a desk nothing is out of sight.
            boxes = "[...document.querySelectorAll('.wide')]"
            assert tab.evaluate(f"{boxes}.every(e => e.scrollWidth <= e.clientWidth)")
        rows = tab.locator("#bad-periods tbody tr")
        assert rows.count() == fits.bad_periods.height > 0
        for number, (_, status, reason) in enumerate(fits.bad_periods.rows()):
            row = rows.nth(number)
            row.scroll_into_view_if_needed()
            assert row.is_visible()
            assert status in row.inner_text()
            why = reason.removeprefix(f"{status}: ")
            assert " ".join(why.split()) in " ".join(row.inner_text().split())


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(chromium, fits, tmp_path, scheme):
    write_report(fits, tmp_path / "report.html")
    with opened(chromium, tmp_path / "report.html", color_scheme=scheme) as tab:
        page = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (page == "rgb(255, 255, 255)") == (scheme == "light")
        picture = tab.locator("img").first.screenshot()
        grey = mpl.image.imread(io.BytesIO(picture))[..., :3].mean(axis=2)
        # Mostly the page, and ink that stands out from it.
        paper, ink = (grey.max(), grey.min()) if scheme == "light" else (grey.min(), grey.max())
        assert abs(np.median(grey) - paper) < 0.02
        assert abs(ink - paper) > 0.7


@pytest.mark.browser
def test_prints_in_light_whatever_the_screen_is(chromium, fits, tmp_path):
    write_report(fits, tmp_path / "report.html")
    with opened(chromium, tmp_path / "report.html", color_scheme="dark") as tab:
        assert tab.pdf(format="A4").startswith(b"%PDF")
        tab.emulate_media(media="print")
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        tab.set_viewport_size({"width": 700, "height": 1000})
        widest = tab.evaluate("Math.max(...[...document.images].map(i => i.width))")
        assert widest <= 700


@pytest.mark.parametrize("n_factors", [1, 2])
def test_correlations_are_drawn_if_there_are_two_factors(n_factors, tmp_path):
    write_report(fit_cross_sections(market(), EXPOSURES[:n_factors]), tmp_path / "report.html")
    headings = [picture["alt"] for picture in Page(tmp_path / "report.html").pictures()]
    assert "Cumulative factor returns" in headings
    assert ("Correlations of factor returns" in headings) == (n_factors > 1)
