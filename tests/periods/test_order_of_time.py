"""Whatever orders periods is right by the calendar, or refuses: over many ways to write a date."""

from __future__ import annotations

import calendar
import warnings
from datetime import date

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from vbase_py_utils import (
    PanelError,
    factor_returns,
    fama_macbeth,
    fit_cross_sections,
    inverse_variance_weights,
    lag_exposures,
    plots,
    write_report,
)
from vbase_py_utils.fit import one_pass
from vbase_py_utils.fit.query import fit_query
from vbase_py_utils.kernel.period_fits import SolverOptions
from vbase_py_utils.panel import PanelSpec
from vbase_py_utils.periods.order import check_time_order, check_time_type, order_warning

WEIGHT = "inverse_variance_weight"
# From the last month of a century's seventies on, so that years of two digits turn too.
FIRST = {"months": (1998, 11), "later months": (2022, 10), "quarters": (1998, 3)}


def month_end(year, month):
    return date(year, month, calendar.monthrange(year, month)[1])


def month_ends(first, count, step=1):
    """Ends of months by the calendar, one after the other."""
    year, month = first
    places = (year * 12 + month - 1 + step * i for i in range(count))
    return [month_end(place // 12, place % 12 + 1) for place in places]


def quarter(text):
    return lambda day: text.format(y=day.year, s=day.year % 100, q=(day.month + 2) // 3)


def written(form):
    return lambda day: day.strftime(form)


def bare(text):
    return lambda day: text.format(y=day.year, m=day.month, d=day.day)


# How a period is written, and whether sorting it is sorting time.
SORTED = {
    "2024-01-31": written("%Y-%m-%d"),
    "2024-01": written("%Y-%m"),
    "2024/01": written("%Y/%m"),
    "2024.01.31": written("%Y.%m.%d"),
    "202401": written("%Y%m"),
    "20240131": written("%Y%m%d"),
    "2024M01": written("%YM%m"),
    "2024-01-31T00:00:00": written("%Y-%m-%dT%H:%M:%S"),
    "2024-01-31 05:00": written("%Y-%m-%d 05:00"),
    "2024-01-31 05:00:00+01:00": written("%Y-%m-%d 05:00:00+01:00"),
    "2024-01-31/2024-02-06": written("%Y-%m-%d/%Y-%m-%d"),
    "2024-W05": written("%G-W%V"),
    "2024031": written("%Y%j"),
    "20240131050000": written("%Y%m%d050000"),
}
SORTED_QUARTERS = {"2024Q1": quarter("{y}Q{q}"), "2024-Q1": quarter("{y}-Q{q}")}
OTHER = {
    "01/31/2024": written("%m/%d/%Y"),
    "31.01.2024": written("%d.%m.%Y"),
    "31/01/2024": written("%d/%m/%Y"),
    "01-31-2024": written("%m-%d-%Y"),
    "1/31/2024": bare("{m}/{d}/{y}"),
    "01/31/24": written("%m/%d/%y"),
    "31.01.24": written("%d.%m.%y"),
    "99-12-31": written("%y-%m-%d"),
    "99-12": written("%y-%m"),
    "Jan-24": written("%b-%y"),
    "Jan 2024": written("%b %Y"),
    "2024-Jan": written("%Y-%b"),
    "January 2024": written("%B %Y"),
    "31-Jan-2024": written("%d-%b-%Y"),
    "31JAN2024": lambda day: day.strftime("%d%b%Y").upper(),
    "January 31, 2024": written("%B %d, %Y"),
    "Wed 31 Jan 2024": written("%a %d %b %Y"),
    "2024-1": bare("{y}-{m}"),
    "1/2024": bare("{m}/{y}"),
    "01/2024": written("%m/%Y"),
    "01.2024": written("%m.%Y"),
    "012024": written("%m%Y"),
    "0124": written("%m%y"),
    "9912": written("%y%m"),
    "991231": written("%y%m%d"),
    "01312024": written("%m%d%Y"),
    "31012024": written("%d%m%Y"),
    "1312024": bare("{m}{d:02}{y}"),
    "2024-31-01": written("%Y-%d-%m"),
    "20243101": written("%Y%d%m"),
    "2024M1": bare("{y}M{m}"),
    "31012024050000": written("%d%m%Y050000"),
    "01/31/2024 05:00 PM": written("%m/%d/%Y 05:00 PM"),
    "2024年1月31日": bare("{y}年{m}月{d}日"),
}
OTHER_QUARTERS = {
    "Q1 2024": quarter("Q{q} {y}"),
    "1Q24": quarter("{q}Q{s:02}"),
    "24Q1": quarter("{s:02}Q{q}"),
    "Quarter 1, 2024": quarter("Quarter {q}, {y}"),
}
# The charts over time, and the frame of a fit that each draws.
CHARTS = {
    "cumulative_returns": "factor_returns",
    "confidence_bands": "coefficients",
    "fit_quality": "diagnostics",
    "robustness_weights": "specific_returns",
}
QUARTERS = [*SORTED_QUARTERS, *OTHER_QUARTERS]
FORMS = SORTED | SORTED_QUARTERS | OTHER | OTHER_QUARTERS
TYPES = ["String", "Categorical", "Binary", "Enum in order", "Enum as text sorts"]
# Two digits of a year need a turn of the century to be out of order, four or five need it too.
LONG = 30


def days_of(form, count=LONG, first=None):
    if form in QUARTERS:
        return month_ends(first or FIRST["quarters"], count, step=3)
    return month_ends(first or FIRST["months"], count)


def labels_of(form, days, kind="String"):
    texts = [FORMS[form](day) for day in days]
    assert len(set(texts)) == len(days)
    if kind == "Binary":
        return pl.Series([text.encode() for text in texts])
    if kind.startswith("Enum"):
        order = texts if kind == "Enum in order" else sorted(texts)
        return pl.Series(texts, dtype=pl.Enum(order))
    return pl.Series(texts, dtype=getattr(pl, kind))


def is_right(form, kind):
    return kind == "Enum in order" or form in SORTED or form in SORTED_QUARTERS


def panel_of(labels, seed=0, n_assets=9):
    """A panel in random order, whose column ``t`` is the number of the period."""
    rng = np.random.default_rng(seed)
    t = np.repeat(np.arange(len(labels)), n_assets)
    panel = pl.DataFrame(
        {
            "asset": np.tile(np.arange(n_assets), len(labels)),
            "t": t,
            "x": rng.standard_normal(len(t)),
            "return": rng.standard_normal(len(t)),
        }
    ).with_columns(labels.gather(t).alias("date"))
    return panel.sample(fraction=1, shuffle=True, seed=seed)


def ways(panel):
    return [panel, panel.lazy()]


def quiet(call, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return call(*arguments, **options)


def refused(call, *, or_unsorted=False):
    """Check that an order is refused because it is not that of time, and give the message.

    ``or_unsorted``: or because the periods are not even in the order of their type.
    """
    with pytest.raises(PanelError) as error:
        call()
    message = str(error.value)
    assert "'date'" in message
    of_time = "needs the order of time" in message
    assert of_time or (or_unsorted and "is not sorted" in message)
    assert len(message) <= 300
    assert message.isprintable()
    return message


by_form = pytest.mark.parametrize("form", FORMS)
# Every form as text; some, of each kind, as the other types too.
SOME = ["2024-01", "2024Q1", "20240131", "01/31/2024", "Jan-24", "991231", "012024", "Q1 2024"]
CASES = [(form, kind) for form in FORMS for kind in TYPES if kind == "String" or form in SOME]
by_case = pytest.mark.parametrize(("form", "kind"), CASES)


def test_there_are_enough_forms():
    assert len(FORMS) >= 50
    days = days_of("01/31/2024")
    for form in [*OTHER, *OTHER_QUARTERS]:
        texts = labels_of(form, days_of(form)).to_list()
        assert sorted(texts) != texts, form
    assert days == sorted(days)


# --- the functions whose numbers depend on the order


@by_case
def test_lags_are_those_of_the_calendar_or_refused(form, kind):
    panel = panel_of(labels_of(form, days_of(form), kind))
    for given_ in ways(panel):

        def lagged(frame=given_):
            return lag_exposures(frame, "x", 2, period="date").lazy().collect()

        if not is_right(form, kind):
            refused(lagged)
            continue
        known = {(t, a): x for t, a, x in panel.select("t", "asset", "x").rows()}
        expected = [known.get((t - 2, a)) for t, a in panel.select("t", "asset").rows()]
        assert lagged()["x"].to_list() == expected


@by_case
def test_past_variances_are_those_of_the_calendar_or_refused(form, kind):
    panel = panel_of(labels_of(form, days_of(form), kind))
    numbered = panel.drop("date").rename({"t": "date"})
    options = {"period": "date"}
    expected = inverse_variance_weights(numbered, fit_cross_sections(numbered, "x", **options))
    for given_ in ways(panel):
        fits = quiet(fit_cross_sections, panel, "x", **options)

        def weights(frame=given_, fits=fits):
            return inverse_variance_weights(frame, fits).lazy().collect()

        if is_right(form, kind):
            assert_frame_equal(weights().select(WEIGHT), expected.select(WEIGHT), rel_tol=1e-12)
        else:
            refused(weights)


@by_case
@pytest.mark.parametrize("cells", [50, 10**6])
def test_one_pass_is_in_order_of_time_or_refused(form, kind, cells, monkeypatch):
    monkeypatch.setattr(one_pass, "BLOCK_CELLS", cells)
    panel = panel_of(labels_of(form, days_of(form), kind))
    for in_order in (panel.sort("date"), panel.sort("t")):
        for frame in ways(in_order):

            def read(frame=frame):
                fits = factor_returns(frame, "x", period="date", sorted_by_period=True)
                return fits.lazy().collect()

            if not is_right(form, kind):
                refused(read, or_unsorted=True)
                continue
            expected = factor_returns(panel.drop("date").rename({"t": "date"}), "x", period="date")
            assert_frame_equal(read().select("x"), expected.select("x"), rel_tol=1e-12)


def drawn(ax):
    """What a chart shows over its periods, from left to right."""
    if ax.images:
        return [np.ma.filled(ax.images[0].get_array(), np.nan)]
    return [line.get_ydata() for line in ax.lines]


@by_form
@pytest.mark.parametrize("kind", ["String", "Enum in order"])
def test_premia_and_charts_are_those_of_the_calendar_or_refused(form, kind):
    panel = panel_of(labels_of(form, days_of(form), kind))
    fits = quiet(fit_cross_sections, panel, "x", period="date")
    numbered = panel.drop("date").rename({"t": "date"})
    expected = fit_cross_sections(numbered, "x", period="date")
    for call in (
        lambda f: fama_macbeth(f, lags=1),
        fama_macbeth,
        lambda f: fama_macbeth(f.factor_returns, lags=3),
    ):
        if is_right(form, kind):
            assert_frame_equal(call(fits), call(expected), rel_tol=1e-12)
        else:
            refused(lambda call=call: call(fits))
    assert "lags=0" in (
        refused(lambda: fama_macbeth(fits)) if not is_right(form, kind) else "lags=0"
    )
    for needs_no_order in (
        lambda f: fama_macbeth(f, lags=0),
        lambda f: f.coefficients.select("t_stat"),
    ):
        some, same = (needs_no_order(f) for f in (fits, expected))
        names = some.columns[-1:] if some.width == 1 else ["premium", "std_error"]
        assert_frame_equal(
            some.select(names).sort(names), same.select(names).sort(names), rel_tol=1e-9
        )
    for chart, frame in CHARTS.items():
        draw = getattr(plots, chart)
        for given_ in (fits, getattr(fits, frame)):
            if is_right(form, kind):
                for ours, theirs in zip(drawn(draw(given_)), drawn(draw(expected)), strict=True):
                    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
            else:
                refused(lambda draw=draw, given_=given_: draw(given_))
            plt.close("all")
    plots.correlations(fits)
    plots.true_against_estimated(fits, fits.factor_returns)


@pytest.mark.parametrize("form", ["2024-01", "20240131", "2024Q1", *OTHER, *OTHER_QUARTERS])
def test_reports_are_in_the_order_of_time_or_refused(form, tmp_path):
    panel = panel_of(labels_of(form, days_of(form, 12)))
    fits = quiet(fit_cross_sections, panel, "x", period="date")
    path = tmp_path / "report.html"
    try:
        check_time_order(panel["date"], "date", "this test")
    except PanelError:
        for lags in ("auto", 0):
            message = refused(lambda lags=lags: write_report(fits, path, lags=lags))
            assert message.startswith("a report needs the order of time")
        assert not list(tmp_path.iterdir())
        return
    assert is_right(form, "String") or panel.sort("t")["date"].is_sorted()
    write_report(fits, path)
    assert path.exists()


def test_newey_west_of_the_issue():
    """Six months of month ends as Americans write them: 0.935414 by the calendar."""
    texts = ["10/31/2023", "11/30/2023", "12/31/2023", "01/31/2024", "02/29/2024", "03/31/2024"]
    wide = pl.DataFrame({"date": texts, "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
    refused(lambda: fama_macbeth(wide, lags=1))
    dated = wide.with_columns(pl.col("date").str.to_date("%m/%d/%Y"))
    assert fama_macbeth(dated, lags=1)["std_error"].item() == pytest.approx(0.935414, abs=5e-7)
    assert fama_macbeth(wide, lags=0)["premium"].item() == 3.5


@settings(max_examples=40, deadline=None)
@given(
    form=st.sampled_from([*FORMS]),
    kind=st.sampled_from(TYPES),
    year=st.integers(1971, 2060),
    count=st.integers(3, 60),
    last=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_nothing_later_is_ever_in_a_row(form, kind, year, count, last, seed):
    """All after a month is changed: earlier lags and weights are the same to the last bit."""
    days = days_of(form, count, (year, 3))
    panel = panel_of(labels_of(form, days, kind), seed)
    later = pl.col("t") > last
    other = panel.with_columns(
        pl.when(later).then(pl.col(name) * 7 + 1).otherwise(name).alias(name)
        for name in ("x", "return")
    )

    def known(frame):
        fits = quiet(fit_cross_sections, frame, "x", period="date")
        frame = inverse_variance_weights(frame, fits, min_periods=2)
        return lag_exposures(frame, "x", period="date").filter(~later)

    try:
        expected = known(panel)
    except PanelError:
        undecided = kind == "Enum in order" and panel["date"].dtype.categories.is_sorted()
        assert not is_right(form, kind) or (undecided and not is_right(form, "String"))
        return
    assert_frame_equal(known(other), expected, check_exact=True)
    before = panel.filter(later.not_()).height
    assert expected.height == before


def test_an_enum_that_is_sorted_text_of_two_readings_is_refused():
    """Its order says nothing: three month ends of 2001, or days of January 2030 and 2031."""
    texts = ["01-03-31", "01-04-30", "01-05-31"]
    panel = panel_of(pl.Series(texts, dtype=pl.Enum(texts)))
    message = refused(lambda: lag_exposures(panel, "x", period="date"))
    assert 'str.to_date("%y-%m-%d"), or with "%m-%d-%y"' in message
    for form in ("%y-%m-%d", "%m-%d-%y"):
        dated = panel.with_columns(pl.col("date").cast(pl.String).str.to_date(form))
        lagged = lag_exposures(dated, "x", period="date")
        first = dated["date"].min()
        assert lagged.filter(pl.col("date") == first)["x"].is_null().all()
        assert lagged.filter(pl.col("date") != first)["x"].is_not_null().all()


# --- those whose numbers do not


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer = call()
    assert all(issubclass(warning.category, UserWarning) for warning in caught)
    return answer, caught


@by_case
def test_factor_returns_are_right_and_say_in_which_order(form, kind):
    panel = panel_of(labels_of(form, days_of(form), kind))
    numbers = {r[0]: r[1] for r in panel.select("date", "t").unique().rows()}
    expected = factor_returns(panel.drop("date").rename({"t": "date"}), "x", period="date")
    for frame in ways(panel):
        for call in (factor_returns, fit_cross_sections):
            fits, at_call = warned(lambda f=frame, c=call: c(f, "x", period="date"))
            answer = fits if call is factor_returns else fits.factor_returns
            answer, at_collect = warned(lambda a=answer: a.lazy().collect())
            assert len(at_call) == (not is_right(form, kind) and frame is panel)
            assert len(at_call) + len(at_collect) == (not is_right(form, kind))
            for warning in (*at_call, *at_collect):
                assert "'date'" in str(warning.message)
                assert len(str(warning.message)) <= 300
            for warning in at_call:
                assert warning.filename == __file__
            assert answer["date"].is_sorted()
            order = [numbers[label] for label in answer["date"]]
            assert order == sorted(order) or not is_right(form, kind)
            assert_frame_equal(
                answer.select("x"), expected[order].select("x"), rel_tol=1e-9, abs_tol=1e-12
            )


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("on_failure", ["null", "raise"])
def test_several_blocks_warn_once(engine, on_failure):
    panel = panel_of(labels_of("01/31/2024", days_of("01/31/2024")))
    _, spec = PanelSpec.resolve(panel, "x", period="date")
    query = fit_query(panel.lazy(), spec, SolverOptions(), n_blocks=5, on_failure=on_failure)
    answer, caught = warned(lambda: query.filter(pl.col("x0") > 0).collect(engine=engine))
    assert len(caught) == 1
    assert 0 < answer.height < LONG


def test_all_frames_of_a_fit_warn_once():
    panel = panel_of(labels_of("Jan-24", days_of("Jan-24")))
    lazy = fit_cross_sections(panel.lazy(), "x", period="date")
    fits, caught = warned(lazy.collect)
    assert len(caught) == 1
    frames, caught = warned(lambda: (fits.coefficients, fits.diagnostics, repr(fits)))
    assert (len(frames), len(caught)) == (3, 0)
    eager = quiet(fit_cross_sections, panel, "x", period="date")
    _, caught = warned(lambda: eager.factor_portfolios)
    assert not caught
    _, caught = warned(lazy.factor_portfolios.collect)
    assert len(caught) == 1


@pytest.mark.parametrize("labels", [["A", "B"], ["period_1", "period_2"], ["1", "10"], ["", "x"]])
def test_text_that_is_no_date_does_not_warn_and_is_no_time(labels):
    panel = panel_of(pl.Series(labels))
    factor_returns(panel, "x", period="date")
    factor_returns(panel.lazy(), "x", period="date").collect()
    message = refused(lambda: lag_exposures(panel, "x", period="date"))
    assert "cast it" in message


# --- the cast that a message names


@by_form
@pytest.mark.parametrize("start", [(1998, 11), (2022, 10), (1985, 1)])
@pytest.mark.parametrize("kind", ["String", "Categorical", "Binary"])
def test_the_cast_that_is_named_gives_the_order_of_the_calendar(form, start, kind):
    first = (start[0], 3) if form in QUARTERS else start
    days = days_of(form, first=first)
    labels = labels_of(form, days, kind).alias("date")
    message = order_warning(labels, "date")
    if is_right(form, kind) or message is None:
        check_time_order(labels, "date", "lags")
        assert labels.is_sorted()
        return
    if "cast it first: " not in message:
        # Too long to write where quarters, years and centuries need an expression each.
        assert form in OTHER_QUARTERS
        return
    cast, _, other = message.split("cast it first: ")[1].partition(", or with ")
    casts = [cast]
    if other:
        # Where days and years of two digits look alike the reader knows which is which.
        casts.append(f"{cast.rpartition('(')[0]}({other})")
    readings = [
        labels.to_frame().select(eval(cast, {"pl": pl}).alias("date"))["date"] for cast in casts
    ]
    [times] = [times for times in readings if times.is_sorted()]
    check_time_order(times, "date", "lags")
    assert times.n_unique() == len(days)
    if times.dtype == pl.Date:
        assert [(d.year, d.month) for d in times] == [(d.year, d.month) for d in days]


def test_a_name_is_written_into_the_cast():
    message = order_warning(pl.Series(["01/31/2024", "02/29/2024"]), 'my "date"')
    cast = message.split("cast it first: ")[1]
    assert eval(cast, {"pl": pl}).meta.root_names() == ['my "date"']


# --- the rule


@pytest.mark.parametrize(
    "labels",
    [
        ["0001", "0002", "0003"],
        [f"{i:04}" for i in range(240)],
        [f"{i:06}" for i in range(3000)],
        ["01", "12"],
        ["1999", "2000", "2024"],
        ["2024-01-01/2024-01-07", "2024-01-08/2024-01-14"],
        [" 2024-01", " 2024-02"],
        ["9999-12-31", "2024-01-31"],
        ["1704067200", "1706745600"],
        [],
        [None, "2024-01"],
        ["A", "A", None],
    ],
)
def test_text_that_sorts_as_time_is_taken(labels):
    keys = pl.Series(labels, dtype=pl.String)
    check_time_order(keys, "date", "lags")
    assert order_warning(keys, "date") is None


@pytest.mark.parametrize(
    ("labels", "dates"),
    [
        (["991231", "000131"], True),
        (["01312024", "02292024"], True),
        (["011999", "022000"], True),
        (["2024-01", "2024-01-31"], True),
        (["2024-01", "2024/02"], True),
        (["2024-01", " 2024-02"], True),
        (["2024Q1", "2024q2"], True),
        (["2024-01-31 05:00+01:00", "2024-06-30 05:00+02:00"], True),
        (["2024-10-27 02:30+02:00", "2024-10-27 02:15+01:00"], True),
        (["01/31/2024", "02/29/2024", "total"], True),
        (["2024-01", "2024-02", ""], True),
        (["1", "2", "10"], False),
        (["Jan", "Feb"], False),
        (["   ", "    "], False),
        (["A", "B"], False),
    ],
)
def test_text_that_does_not_is_refused(labels, dates):
    keys = pl.Series(labels)
    refused(lambda: check_time_order(keys, "date", "lags"))
    assert (order_warning(keys, "date") is not None) == dates


@pytest.mark.parametrize(
    "keys",
    [
        pl.Series([3, 1, 2]),
        pl.Series([1.5, float("nan"), None]),
        pl.Series([date(2024, 1, 1)]),
        pl.Series([date(2024, 1, 1)], dtype=pl.Datetime("us", "Europe/Berlin")),
        pl.Series([5], dtype=pl.Duration),
        pl.Series([5], dtype=pl.Time),
        pl.Series(["1.5"]).cast(pl.Decimal(10, 2)),
        pl.Series([None, None]),
        pl.Series(["late", "early"], dtype=pl.Enum(["early", "late"])),
        pl.Series([b"2024-02", b"2024-01"]),
    ],
)
def test_what_is_ordered_is_taken(keys):
    check_time_order(keys, "date", "lags")


def test_bytes_that_are_no_text_are_no_time():
    refused(lambda: check_time_order(pl.Series([b"\xff", b"\xfe"]), "date", "lags"))


@pytest.mark.parametrize("categories", [["2024-02", "2024-01"], ["01/31/2024", "02/28/2023"]])
def test_an_enum_in_another_order_is_refused_at_the_call(categories):
    kind = pl.Enum(categories)
    panel = panel_of(pl.Series(categories, dtype=kind)).lazy()
    refused(lambda: check_time_type(kind, "date", "lags"))
    refused(lambda: lag_exposures(panel, "x", period="date"))
    refused(lambda: factor_returns(panel, "x", period="date", sorted_by_period=True))
    fits = fit_cross_sections(panel, "x", period="date")
    refused(lambda: inverse_variance_weights(panel, fits))


@pytest.mark.parametrize("form", [*OTHER, *OTHER_QUARTERS])
@pytest.mark.parametrize("start", [(1998, 12), (2022, 12)])
@pytest.mark.parametrize("count", [12, 75])
def test_an_enum_of_sorted_text_is_taken_only_where_that_is_time(form, start, count):
    labels = labels_of(form, days_of(form, count, start), "Enum as text sorts")
    if sorted(labels.to_list()) != labels.to_list():
        refused(lambda: check_time_order(labels, "date", "lags"))
        check_time_order(
            labels_of(form, days_of(form, count, start), "Enum in order"), "date", "lags"
        )


@pytest.mark.parametrize("in_order", [True, False])
def test_where_years_may_be_days_either_cast_is_named(in_order):
    """Read as days, months and years, these span fewer years than the three that they do."""
    texts = ["22-10-31", "22-11-30", "22-12-31", "23-01-31", "24-02-29", "25-03-31"]
    message = order_warning(pl.Series(texts if in_order else texts[::-1]), "date")
    first, other = "%y-%m-%d", "%d-%m-%y"
    if not in_order:
        first, other = other, first
    assert message.endswith(f'str.to_date("{first}"), or with "{other}"')


def test_periods_of_the_fits_alone_are_seen_too():
    """History that the panel no longer has is ordered as well."""
    panel = panel_of(pl.Series(["2024-01", "2024-02", "12/2023"]))
    fits = quiet(fit_cross_sections, panel, "x", period="date")
    rest = panel.filter(pl.col("t") < 2)
    refused(lambda: inverse_variance_weights(rest, fits))


@pytest.mark.parametrize("cells", [4, 100])
def test_one_pass_sees_another_form_in_a_later_batch(cells, monkeypatch):
    monkeypatch.setattr(one_pass, "BLOCK_CELLS", cells)
    panel = panel_of(pl.Series(["2024-01", "2024-02", "2024-02-15"])).sort("date")
    query = factor_returns(panel.lazy(), "x", period="date", sorted_by_period=True)
    refused(query.collect)


def test_one_pass_refuses_before_a_limit_ends_it(monkeypatch):
    """The order is checked as periods come, so that the first rows are not given out first."""
    monkeypatch.setattr(one_pass, "BLOCK_CELLS", 4)
    texts = [f"{month:02}/28/{year}" for month in range(1, 13) for year in (2023, 2024)]
    panel = panel_of(pl.Series(texts)).sort("date")
    query = factor_returns(panel.lazy(), "x", period="date", sorted_by_period=True)
    refused(query.head(1).collect)


def test_long_names_and_labels_make_short_messages():
    for label in ("01/31/2024", "x" * 500, "a\nb"):
        with pytest.raises(PanelError) as error:
            check_time_order(pl.Series([label, label + "!"]), "c" * 400, "a use" * 100)
        assert len(str(error.value)) <= 300
        assert str(error.value).isprintable()


def test_the_cases_of_the_issue():
    """Six months of month ends as Americans write them, and as dates."""
    texts = ["10/31/2023", "11/30/2023", "12/31/2023", "01/31/2024", "02/29/2024", "03/31/2024"]
    panel = pl.DataFrame({"date": texts, "asset": ["A"] * 6, "x": [1, 2, 3, 4, 5, 6]})
    message = refused(lambda: lag_exposures(panel, "x", period="date"))
    assert 'pl.col("date").str.to_date("%m/%d/%Y")' in message
    dated = panel.with_columns(pl.col("date").str.to_date("%m/%d/%Y"))
    assert lag_exposures(dated, "x", period="date")["x"].to_list() == [None, 1, 2, 3, 4, 5]
