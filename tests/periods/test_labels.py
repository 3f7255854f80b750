"""Columns of pandas periods: labels as pandas prints them, in every frame and on every way."""

from __future__ import annotations

import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
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
    sink_file,
    write_report,
)
from vbase_py_utils.__main__ import main
from vbase_py_utils.periods.labels import frequency_of, labels_of

WEEKS = [f"W-{day}" for day in ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")]
QUARTERS = ["Q-DEC", "Q-JAN", "Q-MAR", "Q-NOV"]
DAYS = ["D", "B"]
CLOCK = ["h", "min", "s", "ms", "us", "ns"]
FREQUENCIES = [
    *("Y-DEC", "Y-JUN", *QUARTERS, "M", *WEEKS, *DAYS, *CLOCK),
    *("2Y-DEC", "2Q-DEC", "3M", "2W-SUN", "7D", "2B", "6h", "15min", "30s", "250ms", "5us", "10ns"),
]
# As pandas named them before version 2.2, and since.
FORMER = {"A-DEC": "Y-DEC", "A-JUN": "Y-JUN", "H": "h", "2H": "2h", "T": "min", "15T": "15min"}
FORMER |= {"S": "s", "L": "ms", "U": "us", "N": "ns"}


def labelled(numbers, frequency):
    return labels_of(
        pl.Series(numbers, dtype=pl.Int64),
        "date",
        frequency_of("date", json.dumps({"freq": frequency})),
    )


def printed(number, frequency):
    return str(pd.Period(ordinal=number, freq=frequency))


def spans(frequency):
    """Numbers of periods from year 1000 on, before which pandas 2 prints fewer digits."""
    code = frequency.lstrip("0123456789")
    last = "2262-01-01" if code == "ns" else "9998-12-01"
    first = "1678-01-01" if code == "ns" else "1000-02-01"
    return st.integers(pd.Period(first, frequency).ordinal, pd.Period(last, frequency).ordinal)


@pytest.mark.filterwarnings("ignore:Period with BDay freq is deprecated:FutureWarning")
@pytest.mark.parametrize("frequency", FREQUENCIES)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_labels_are_what_pandas_prints(frequency, data):
    near = st.integers(-2000, 2000) if frequency[0] in "YQ2" else st.integers(-10_000, 10_000)
    near = near.filter(lambda n: "Y" not in frequency or n > -900)
    numbers = data.draw(st.lists(near | spans(frequency), min_size=1, max_size=20))
    assert labelled(numbers, frequency).to_list() == [printed(n, frequency) for n in numbers]


@pytest.mark.filterwarnings("ignore:Period with BDay freq is deprecated:FutureWarning")
@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_labels_of_ascending_periods_ascend(frequency):
    """From the first that is labelled to the last, and around 1970."""
    ends = frequency_of("date", json.dumps({"freq": frequency}))
    spread = np.linspace(ends.first, ends.last, 999, dtype=np.float64)[1:-1].astype(np.int64)
    near = [n for n in range(-400, 400) if ends.first <= n <= ends.last]
    numbers = sorted(
        {ends.first, ends.first + 1, *spread.tolist(), *near, ends.last - 1, ends.last}
    )
    labels = labelled(numbers, frequency)
    assert labels.is_sorted()
    assert labels.n_unique() == len(numbers)
    assert labels.dtype == pl.String


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_nothing_but_nulls(frequency):
    for numbers in ([], [None], [None, None]):
        assert labelled(numbers, frequency).to_list() == numbers
        assert labelled(numbers, frequency).dtype == pl.String


@pytest.mark.parametrize("former", FORMER)
def test_frequencies_by_their_former_names(former):
    numbers = [-1000, -1, 0, 1, 650]
    assert labelled(numbers, former).to_list() == labelled(numbers, FORMER[former]).to_list()


@pytest.mark.filterwarnings("ignore:Period with BDay freq is deprecated:FutureWarning")
@pytest.mark.parametrize("frequency", [f for f in FREQUENCIES if not f.endswith("ns")])
def test_years_of_another_length_are_refused(frequency):
    ends = frequency_of("date", json.dumps({"freq": frequency}))
    # They are the next ones on either side: pandas says so.
    assert "10000" in printed(ends.last + 1, frequency)
    assert not printed(ends.first - 1, frequency).startswith("0001-01")
    for number in (ends.first - 1, ends.last + 1, 2**62, -(2**62)):
        with pytest.raises(PanelError) as caught:
            labelled([0, number, number, None], frequency)
        assert str(caught.value) == (
            "column 'date' has pandas periods outside the years 1 to 9999 in at least 2 rows, for "
            f"example period number {number}; expected years whose labels sort in the order of time"
        )


@pytest.mark.parametrize("metadata", ['{"freq": "3X"}', '{"freq": "W-ODD"}', "", "{}", "[1]", None])
def test_an_unknown_frequency(metadata):
    with pytest.raises(PanelError, match="column 'date' has pandas periods of the unknown freq"):
        frequency_of("date", metadata)


# Panels -------------------------------------------------------------------------------------------

MONTHS = ["2023-11", "2023-12", "2024-01", "2024-02", "2024-03"]
USED = {
    "M": MONTHS,
    "Q-DEC": ["2023Q3", "2023Q4", "2024Q1", "2024Q2", "2024Q3"],
    "D": ["2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02", "2024-02-03"],
    "W-SUN": [
        "2023-12-18/2023-12-24",
        "2023-12-25/2023-12-31",
        "2024-01-01/2024-01-07",
        "2024-01-08/2024-01-14",
        "2024-01-15/2024-01-21",
    ],
}


def panels(frequency="M"):
    """A panel in pandas with periods, and the same one in Polars with text."""
    rng = np.random.default_rng(11)
    labels = np.repeat(USED[frequency], 6)
    first = pd.Period(USED[frequency][0].partition("/")[0], frequency)
    frame = pd.DataFrame(
        {
            "period": pd.PeriodIndex([first + t for t in range(5) for _ in range(6)]),
            "asset": list("ABCDEF") * 5,
            "return": rng.standard_normal(30),
            "x": rng.standard_normal(30),
            "since": pd.PeriodIndex(
                [pd.Period("1999Q4", "Q"), pd.NaT, pd.Period("2001Q1", "Q")] * 10
            ),
        }
    )
    right = pl.DataFrame(
        {
            "period": labels.tolist(),
            **{name: frame[name].to_list() for name in ("asset", "return", "x")},
            "since": ["1999Q4", None, "2001Q1"] * 10,
        }
    )
    return frame, right


def as_parquet(frame, folder):
    frame.to_parquet(folder / "panel.parquet")
    return folder / "panel.parquet"


WAYS = {
    "pandas": lambda frame, _: frame,
    "Arrow": lambda frame, _: pa.Table.from_pandas(frame),
    "Dataset": lambda frame, folder: pa.dataset.dataset(as_parquet(frame, folder)),
    "DataFrame": lambda frame, _: pl.DataFrame(frame),
    "LazyFrame": lambda frame, folder: pl.scan_parquet(as_parquet(frame, folder)),
}


def of_fits(fits):
    frames = [fits.factor_returns, fits.coefficients, fits.specific_returns]
    frames += [fits.diagnostics, fits.bad_periods, fits.factor_portfolios]
    return [frame.lazy().collect() for frame in frames]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("frequency", USED)
@pytest.mark.parametrize("one_pass", [False, True])
def test_every_frame_has_labels(frequency, way, one_pass, tmp_path):
    frame, right = panels(frequency)
    panel = WAYS[way](frame, tmp_path)
    answer = factor_returns(panel, "x", sorted_by_period=one_pass).lazy().collect()
    assert answer["period"].to_list() == USED[frequency]
    assert_frame_equal(answer, factor_returns(right, "x"))
    fits = fit_cross_sections(panel, "x", sorted_by_period=one_pass)
    wanted = of_fits(fit_cross_sections(right, "x"))
    for got, frame_right in zip(of_fits(fits), wanted, strict=True):
        assert_frame_equal(got, frame_right)


@pytest.mark.parametrize("way", WAYS)
def test_panels_that_come_back_have_labels(way, tmp_path):
    frame, right = panels()
    panel = WAYS[way](frame, tmp_path)
    for names in (["x"], ["since"], ["x", "since"]):
        answer = lag_exposures(panel, names)
        assert_frame_equal(answer.lazy().collect(), lag_exposures(right, names))
        assert answer.lazy().collect_schema()["since"] == pl.String
    first = fit_cross_sections(panel, "x")
    weighted = inverse_variance_weights(panel, first, min_periods=1)
    by_hand = inverse_variance_weights(right, fit_cross_sections(right, "x"), min_periods=1)
    assert_frame_equal(weighted.lazy().collect(), by_hand)


def test_a_lazy_frame_runs_nothing_before_it_is_collected(tmp_path):
    frame, right = panels()
    file = as_parquet(frame, tmp_path)
    query = factor_returns(pl.scan_parquet(file), "x")
    assert query.collect_schema()["period"] == pl.String
    # What is in the file when the query runs.
    frame.assign(x=2 * frame["x"]).to_parquet(file)
    doubled = right.with_columns(pl.col("x") * 2)
    assert_frame_equal(query.collect(), factor_returns(doubled, "x"))


CONDITIONS = {
    "one": pl.col("period") == "2024-01",
    "later": pl.col("period") > "2023-12",
    "between": pl.col("period").is_between(pl.lit("2023-12"), pl.lit("2024-02")),
    "text": pl.col("period").str.starts_with("2024"),
    "several": pl.col("period").is_in(["2023-11", "2024-03"]) & (pl.col("x") < math.inf),
    "none": pl.col("period") == "650",
}


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_conditions_on_labels_in_one_pass(condition, engine, tmp_path):
    frame, right = panels()
    query = factor_returns(
        pl.scan_parquet(as_parquet(frame, tmp_path)), "x", sorted_by_period=True
    ).filter(CONDITIONS[condition])
    wanted = factor_returns(right, "x").filter(CONDITIONS[condition])
    assert wanted.height == {"none": 0, "one": 1, "several": 2}.get(condition, 3)
    assert_frame_equal(query.collect(engine=engine), wanted)
    assert_frame_equal(query.head(1).collect(engine=engine), wanted.head(1))


def test_missing_periods(tmp_path):
    frame, _ = panels()
    frame.loc[3, "period"] = pd.NaT
    for way in WAYS.values():
        for one_pass in (False, True):
            with pytest.raises(
                PanelError, match=r"'period' is null in (at least )?1 row"
            ) as caught:
                factor_returns(
                    way(frame, tmp_path), "x", sorted_by_period=one_pass
                ).lazy().collect()
            assert str(caught.value).isprintable()


def test_years_that_have_no_label_are_refused_in_one_line(tmp_path):
    frame, _ = panels()
    frame["period"] = pd.PeriodIndex.from_ordinals(range(10**6, 10**6 + 30), freq="M")
    for way in WAYS.values():
        for one_pass in (False, True):
            with pytest.raises(PanelError, match="outside the years 1 to 9999 in") as caught:
                factor_returns(
                    way(frame, tmp_path), "x", sorted_by_period=one_pass
                ).lazy().collect()
            assert str(caught.value).isprintable()


def test_periods_as_exposures_and_returns_are_refused():
    frame, _ = panels()
    with pytest.raises(PanelError, match="exposure column 'since' is String"):
        factor_returns(frame, "since")


def test_premia_charts_and_the_report(tmp_path):
    frame, right = panels()
    wide, wide_right = (factor_returns(panel, "x") for panel in (frame, right))
    periods = wide.to_pandas().assign(period=pd.PeriodIndex(MONTHS, freq="M"))
    assert_frame_equal(fama_macbeth(periods), fama_macbeth(wide_right))
    fits = fit_cross_sections(frame, "x")
    for draw, table in (
        (plots.cumulative_returns, periods),
        (plots.fit_quality, fits.diagnostics),
        (plots.confidence_bands, fits.coefficients),
    ):
        ax = draw(table)
        ax.figure.canvas.draw()
        ticks = {text.get_text() for text in ax.get_xticklabels()} - {""}
        assert ticks
        assert ticks <= set(MONTHS)
        plt.close(ax.figure)
    coefficients = fits.coefficients.to_pandas()
    coefficients["period"] = pd.PeriodIndex(coefficients["period"], freq="M")
    one, other = (plots.confidence_bands(table) for table in (coefficients, fits.coefficients))
    assert [t.get_text() for t in one.get_xticklabels()] == [
        t.get_text() for t in other.get_xticklabels()
    ]
    write_report(fits, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "2023-11" in page
    assert "2024-03" in page


def test_files_and_the_command_line(tmp_path, capsys):
    frame, right = panels()
    file = as_parquet(frame, tmp_path)
    sink_file(factor_returns(pl.scan_parquet(file), "x"), tmp_path / "answer.csv")
    wanted = factor_returns(right, "x").write_csv()
    assert (tmp_path / "answer.csv").read_text(encoding="utf-8") == wanted
    assert main(["--panel", str(file), "--exposures", "x", "--returns", "return"]) == 0
    assert capsys.readouterr().out == wanted


def test_periods_in_an_index_of_columns(tmp_path):
    frame, right = panels()
    indexed = frame.set_index(["period", "asset"])
    with pytest.raises(PanelError, match="index holds 'period', 'asset': turn the index"):
        factor_returns(indexed, "x")
    assert_frame_equal(factor_returns(indexed.reset_index(), "x"), factor_returns(right, "x"))
    # Of a file too, where pandas writes the index as columns.
    indexed.to_parquet(tmp_path / "indexed.parquet")
    assert_frame_equal(
        factor_returns(pl.scan_parquet(tmp_path / "indexed.parquet"), "x").collect(),
        factor_returns(right, "x"),
    )


def test_unknown_frequencies_of_unused_columns_stop_nothing():
    _, right = panels()
    odd = pl.Extension("pandas.period", pl.Int64, '{"freq": "3X"}')
    panel = right.with_columns(pl.Series("odd", [1] * 30).ext.to(odd))
    assert_frame_equal(factor_returns(panel, "x"), factor_returns(right, "x"))
    kept = lag_exposures(panel, "x")
    assert_frame_equal(kept.drop("odd"), lag_exposures(right, "x"))
    assert kept.schema["odd"] == odd
    with pytest.raises(PanelError, match="column 'odd' has pandas periods of the unknown"):
        factor_returns(panel, "x", period="odd")
