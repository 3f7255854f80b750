"""Panels read once, in batches: the same answer, what is read for it, and what goes wrong."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from contextlib import nullcontext

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from panels import EXPOSURES, PERIOD_TYPES, by_the_oracle, panel_of, panels
from vbase_py_utils import FitError, PanelError, factor_returns, fit_cross_sections, sink_file
from vbase_py_utils.fit import one_pass
from vbase_py_utils.kernel import threads

ENGINES = ["streaming", "in-memory"]
FRAMES = ["factor_returns", "coefficients", "specific_returns", "diagnostics", "bad_periods"]
# Rows of a block in most tests: several periods, cut often.
SMALL = 7 * 60


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(one_pass, "BLOCK_CELLS", SMALL)


@pytest.fixture(scope="module")
def sorted_panel():
    return panel_of(5, [12, 30, 1, 17, 25, 3, 20] * 6)


@pytest.fixture(scope="module")
def eager(sorted_panel):
    return fit_cross_sections(sorted_panel, EXPOSURES, weights="w")


def read_once(panel, exposures=EXPOSURES, **options):
    return factor_returns(
        panel.lazy(), exposures, **({"weights": "w", "sorted_by_period": True} | options)
    )


def probed(panel):
    """The panel as a query, and a list that grows when the query runs."""
    runs = []

    def probe(frame):
        runs.append(frame.height)
        return frame

    return panel.lazy().map_batches(probe, schema=panel.schema), runs


# --- the same answer


@settings(max_examples=40, deadline=None)
@given(panel=panels(), cells=st.sampled_from([1, 100, 1000, 10**6]))
def test_the_same_as_a_panel_in_memory(panel, cells):
    expected = fit_cross_sections(panel, EXPOSURES, weights="w")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_pass, "BLOCK_CELLS", cells)
        fits = fit_cross_sections(panel.lazy(), EXPOSURES, weights="w", sorted_by_period=True)
        collected = fits.collect()
        for frame in FRAMES:
            answer = getattr(fits, frame)
            assert answer.collect_schema() == getattr(expected, frame).schema
            got = getattr(collected, frame)
            assert_frame_equal(got, getattr(expected, frame), rel_tol=1e-12, abs_tol=0)


def test_equals_the_oracle():
    panel = panel_of(21, [40, 25, 60, 33] * 5)
    fits = fit_cross_sections(panel.lazy(), EXPOSURES, weights="w", sorted_by_period=True).collect()
    coefficients, residuals = by_the_oracle(panel, "period")
    assert len(coefficients) > 12
    for period, b in coefficients.items():
        row = fits.factor_returns.filter(pl.col("period") == period).drop("period")
        np.testing.assert_allclose(row.row(0), b, rtol=1e-8)
    known = np.isfinite(residuals)
    specific = fits.specific_returns["specific_return"].to_numpy()
    np.testing.assert_allclose(specific[known], residuals[known], atol=1e-8)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("frame", FRAMES)
def test_every_frame_on_both_engines(sorted_panel, eager, engine, frame):
    fits = fit_cross_sections(sorted_panel.lazy(), EXPOSURES, weights="w", sorted_by_period=True)
    answer = getattr(fits, frame).collect(engine=engine)
    assert_frame_equal(answer, getattr(eager, frame), check_exact=True)


@pytest.mark.parametrize("period_type", PERIOD_TYPES)
def test_periods_of_any_type_are_cut_and_checked(period_type):
    panel = panel_of(1, [9, 5, 30, 2, 11], period_type=period_type)
    answer = factor_returns(panel, EXPOSURES, weights="w")
    assert_frame_equal(read_once(panel).collect(), answer, check_exact=True)
    third = answer["period"].slice(2, 1)
    filtered = read_once(panel).filter(pl.col("period") == pl.lit(third).first())
    assert_frame_equal(filtered.collect(), answer.slice(2, 1), check_exact=True)
    with pytest.raises(PanelError, match="is not sorted"):
        read_once(panel.reverse()).collect()


def test_a_period_of_many_batches_stays_whole(monkeypatch):
    monkeypatch.setattr(one_pass, "BLOCK_CELLS", 7 * 8)
    panel = panel_of(2, [5, 900, 4, 300], gaps=0.0)
    answer = factor_returns(panel, EXPOSURES, weights="w")
    assert_frame_equal(read_once(panel).collect(), answer, check_exact=True)


def test_a_filter_cannot_part_positive_and_negative_zero():
    panel = panel_of(2, [20], gaps=0.0).with_columns(
        period=pl.when(pl.int_range(pl.len()) < 9).then(0.0).otherwise(-0.0)
    )
    answer = factor_returns(panel, EXPOSURES, weights="w")
    positive = 1 / pl.col("period") > 0
    assert_frame_equal(read_once(panel).filter(positive).collect(), answer.filter(positive))


def test_names_are_names_and_no_patterns():
    panel = panel_of(3, [20] * 9).rename(
        {"x": "*", "z": "^x.*$", "period": "x0", "return": "period"}
    )
    names = {"returns": "period", "period": "x0", "weights": "w"}
    exposures = ["*", "^x.*$", "size of firm"]
    answer = factor_returns(panel, exposures, **names)
    once = read_once(panel, exposures, **names)
    assert_frame_equal(once.collect(), answer, check_exact=True)
    assert_frame_equal(
        once.filter(pl.col("x0") > 4).collect(), answer.filter(pl.col("x0") > 4), check_exact=True
    )


@pytest.mark.parametrize("rows", [0, 1])
def test_almost_nothing(sorted_panel, rows):
    panel = sorted_panel.head(rows)
    once = read_once(panel)
    answer = factor_returns(panel, EXPOSURES, weights="w")
    assert once.collect_schema() == answer.schema
    assert_frame_equal(once.collect(), answer)


def test_an_eager_panel_may_be_sorted_too(sorted_panel, eager):
    answer = factor_returns(sorted_panel, EXPOSURES, weights="w", sorted_by_period=True)
    assert isinstance(answer, pl.DataFrame)
    assert_frame_equal(answer, eager.factor_returns, check_exact=True)


# --- filters and selections after the call

ASKED = {
    "head": lambda answer: answer.head(5),
    "limit of nothing": lambda answer: answer.head(0),
    "slice": lambda answer: answer.slice(11, 5),
    "tail": lambda answer: answer.tail(3),
    "a period": lambda answer: answer.filter(pl.col("period") == 9),
    "periods": lambda answer: answer.filter(pl.col("period").is_in([3, 20, 99])),
    "filter, then head": lambda answer: answer.filter(pl.col("period") > 7).head(3),
    "head, then filter": lambda answer: answer.head(10).filter(pl.col("period") > 7),
    "a number": lambda answer: answer.filter(pl.col("x") > 0),
    "period and number": lambda answer: answer.filter(
        (pl.col("period") > 7) & (pl.col("x") > 0) & (pl.col("period") < 30)
    ),
    "period or number": lambda answer: answer.filter((pl.col("period") > 30) | (pl.col("x") > 0.5)),
    "a Python function": lambda answer: answer.filter(
        pl.col("period").map_batches(
            lambda t: t.is_between(20, 22), return_dtype=pl.Boolean, is_elementwise=True
        )
    ),
    "last period": lambda answer: answer.filter(pl.col("period") == pl.col("period").max()),
    "every other": lambda answer: answer.filter(pl.int_range(pl.len()) % 2 == 0),
    "nothing": lambda answer: answer.filter(pl.lit(value=False)),
    "columns": lambda answer: answer.select("z", "period"),
    "no exposure": lambda answer: answer.select(pl.col("period") * 2),
    "count": lambda answer: answer.select(pl.len()),
    "largest": lambda answer: answer.sort("x", descending=True, nulls_last=True).head(3),
    "latest": lambda answer: answer.sort("period", descending=True).head(3),
    "summary": lambda answer: answer.select(pl.col("x").mean(), pl.col("z").std()),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("sorted_by_period", [True, False])
def test_what_is_asked_of_the_answer(sorted_panel, eager, sorted_by_period, ask, engine):
    once = read_once(sorted_panel, sorted_by_period=sorted_by_period)
    expected = ask(eager.factor_returns)
    assert_frame_equal(ask(once).collect(engine=engine), expected, rel_tol=1e-12)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_filter_on_the_period_of_every_frame(sorted_panel, eager, frame):
    fits = fit_cross_sections(sorted_panel.lazy(), EXPOSURES, weights="w", sorted_by_period=True)
    wanted = pl.col("period").is_between(13, 20)
    answer = getattr(fits, frame).filter(wanted).collect()
    assert_frame_equal(answer, getattr(eager, frame).filter(wanted), check_exact=True)


def rows_fitted(monkeypatch, query):
    fitted = []
    whole_periods = one_pass.whole_periods

    def spy(*arguments):
        for block in whole_periods(*arguments):
            fitted.append(block.height)
            yield block

    monkeypatch.setattr(one_pass, "whole_periods", spy)
    query.collect()
    return sum(fitted)


def test_a_filter_on_the_period_limits_what_is_fitted_and_read(sorted_panel, monkeypatch, tmp_path):
    file = tmp_path / "panel.parquet"
    sorted_panel.write_parquet(file, row_group_size=50)
    wanted = (pl.col("period") >= 14) & (pl.col("period") < 17) & (pl.col("x") > -9)
    query = read_once(pl.scan_parquet(file)).filter(wanted)
    rows = sorted_panel.filter(pl.col("period").is_between(14, 16)).height
    assert rows_fitted(monkeypatch, query) == rows
    # A scan that gets the condition skips the parts of the file that are spoiled here.
    sizes = [2000, 2000, 2000]
    panel_of(7, sizes, gaps=0.0).write_parquet(
        file, row_group_size=2000, compression="uncompressed"
    )
    content = bytearray(file.read_bytes())
    content[100 : len(content) // 4] = bytes(len(content) // 4 - 100)
    file.write_bytes(content)
    answer = read_once(pl.scan_parquet(file)).filter(pl.col("period") == 2).collect()
    expected = factor_returns(panel_of(7, sizes, gaps=0.0), EXPOSURES, weights="w").tail(1)
    assert_frame_equal(answer, expected, rel_tol=1e-12)


def test_a_limit_ends_the_reading(sorted_panel, monkeypatch):
    assert rows_fitted(monkeypatch, read_once(sorted_panel).head(2)) < sorted_panel.height / 2


def test_other_filters_do_not_change_what_is_fitted(sorted_panel, monkeypatch):
    query = read_once(sorted_panel).filter(pl.col("x") > 0)
    assert rows_fitted(monkeypatch, query) == sorted_panel.height


# --- once


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sorted_by_period", [True, False])
@pytest.mark.parametrize("ask", [ASKED["head"], ASKED["a period"], lambda answer: answer])
def test_the_query_of_the_panel_runs_once_per_collect(sorted_panel, engine, sorted_by_period, ask):
    query, runs = probed(sorted_panel)
    once = ask(read_once(query, sorted_by_period=sorted_by_period))
    once.collect_schema()
    assert runs == []
    once.collect(engine=engine)
    assert len(runs) == 1
    fits = fit_cross_sections(query, EXPOSURES, weights="w", sorted_by_period=sorted_by_period)
    for frame in FRAMES:
        runs.clear()
        getattr(fits, frame).collect(engine=engine)
        assert len(runs) == 1, frame
    runs.clear()
    fits.collect()
    assert len(runs) == 1


@pytest.mark.parametrize("on_failure", ["null", "raise"])
def test_the_panel_is_left_alone(sorted_panel, on_failure):
    before = sorted_panel.clone()
    with pytest.raises(FitError) if on_failure == "raise" else nullcontext():
        read_once(sorted_panel, on_failure=on_failure).collect()
    assert_frame_equal(sorted_panel, before)


# --- what goes wrong


@pytest.mark.parametrize("engine", ENGINES)
def test_a_period_that_comes_back_is_named(sorted_panel, engine):
    again = sorted_panel.filter(pl.col("period") == 4).with_columns(asset="new " + pl.col("asset"))
    panel = pl.concat([sorted_panel, again])
    said = (
        "period column 'period' is not sorted: it goes back in at least 1 row, for example to 4 "
        "after 41; expected ascending periods with sorted_by_period=True"
    )
    with pytest.raises(PanelError) as error:
        read_once(panel).collect(engine=engine)
    assert str(error.value) == said
    with pytest.raises(PanelError) as error:
        factor_returns(panel, EXPOSURES, sorted_by_period=True)
    assert str(error.value) == said.replace("at least ", "")
    # Without the promise there is nothing wrong with it.
    assert factor_returns(panel.lazy(), EXPOSURES).collect().height == 42


def test_a_period_that_comes_back_between_two_batches(monkeypatch):
    monkeypatch.setattr(one_pass, "BLOCK_CELLS", 1)  # a batch is a row
    panel = panel_of(0, [1, 1, 1]).with_columns(period=pl.Series([1, 2, 1]))
    with pytest.raises(PanelError, match="for example to 1 after 2"):
        read_once(panel).collect()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"period": None}, "period column 'period' is null in at least 3 rows"),
        ({"asset": None}, "asset column 'asset' is null in at least 3 rows"),
        ({"asset": "twin"}, r"at least 3 rows share a .*key, for example \(40, twin\)"),
        ({"w": -1.0}, r"weights column 'w' is negative in at least 3 rows, .* at \(40, "),
    ],
)
def test_bad_values_in_a_late_block(sorted_panel, change, said):
    late = pl.col("period") == 40  # a period of three rows
    panel = sorted_panel.with_columns(
        pl.when(~late).then(name).otherwise(pl.lit(value)).alias(name)
        for name, value in change.items()
    )
    with pytest.raises(PanelError, match=said):
        read_once(panel).collect()


def test_a_failed_period_can_raise(sorted_panel, eager):
    failed = ["rank_deficient", "too_few_assets"]
    first = eager.diagnostics.filter(pl.col("status").is_in(failed))["period"][0]
    said = rf"the fit of at least \d+ periods? failed, for example period {first}: "
    with pytest.raises(FitError, match=said):
        read_once(sorted_panel, on_failure="raise").collect()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("error", [OSError("the disk is gone"), KeyboardInterrupt()])
def test_an_error_in_the_query_of_the_panel_comes_through(sorted_panel, engine, error):
    def fail(_):
        raise error

    broken = sorted_panel.lazy().map_batches(fail, schema=sorted_panel.schema)
    with pytest.raises(type(error)):
        read_once(broken).collect(engine=engine)


def test_a_stop_iteration_in_the_query_is_no_end(sorted_panel):
    """Polars ends its iterator by the same exception."""

    def buggy(rows):
        return rows if rows["period"].max() < 20 else next(iter([]))

    parts = [part.lazy() for part in sorted_panel.partition_by("period", maintain_order=True)]
    panel = pl.concat(parts).map_batches(buggy, schema=sorted_panel.schema, streamable=True)
    with pytest.raises(RuntimeError, match="a query raised StopIteration"):
        read_once(panel).collect()


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("there", [None, "what was there"])
def test_a_file_is_there_whole_or_not_at_all(sorted_panel, tmp_path, suffix, there):
    """Polars' own sink leaves one that reads as whole in about every second of these."""
    file = tmp_path / f"answer.{suffix}"
    if there is not None:
        file.write_text(there)
    spoiled = sorted_panel.with_columns(
        w=pl.when(pl.col("period") == 38).then(-1.0).otherwise("w"),
    )
    for _ in range(10):
        with pytest.raises(PanelError, match=r"negative in at least .* at \(38, "):
            sink_file(read_once(spoiled), file)
        assert [path.name for path in tmp_path.iterdir()] == [file.name] * (there is not None)
        assert there is None or file.read_text() == there
    sink_file(read_once(sorted_panel), str(file))
    read = pl.read_parquet if suffix == "parquet" else pl.read_csv
    assert_frame_equal(read(file), read_once(sorted_panel).collect(), rel_tol=1e-12)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("answer.xlsx", r"neither a \.parquet nor a \.csv file$"),
        ("folder.csv", "folder.csv is a directory, expected a file to write$"),
        ("nowhere/answer.csv", r"answer\.csv cannot be written: .*nowhere does not exist$"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_any_work(sorted_panel, tmp_path, name, said):
    (tmp_path / "folder.csv").mkdir()
    query, runs = probed(sorted_panel)
    with pytest.raises(PanelError, match=said):
        sink_file(read_once(query), tmp_path / name)
    assert runs == []


INTERRUPTED = """
import os, signal, sys, time
import polars as pl
from vbase_py_utils import factor_returns, sink_file
from vbase_py_utils.fit import one_pass
one_pass.BLOCK_CELLS = 1000

def interrupt(rows):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.3)
    return rows

panel = pl.scan_parquet(sys.argv[1])
panel = pl.concat([panel, panel.map_batches(interrupt, schema=panel.collect_schema())])
panel = panel.with_columns(period=pl.int_range(pl.len()) // 20, asset=pl.int_range(pl.len()))
sink_file(factor_returns(panel, ["x", "z"], sorted_by_period=True), sys.argv[2])
"""


def test_ctrl_c_while_a_file_is_written(sorted_panel, tmp_path):
    panel, answer = tmp_path / "panel.parquet", tmp_path / "answer.parquet"
    sorted_panel.write_parquet(panel)
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, panel, answer],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "KeyboardInterrupt" in run.stderr
    assert run.returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == [panel.name]


# --- threads and things left over


def test_given_up_early_nothing_is_left_over(sorted_panel):
    for _ in range(3):
        read_once(sorted_panel).slice(3, 4).collect()
        read_once(sorted_panel).join(read_once(sorted_panel), on="period").head(2).collect()
    gc.collect()
    ours = [t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")]
    for thread in ours:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert threads.idle_cores() == threads._cores() - 1


def test_several_at_once(sorted_panel, eager):
    once = read_once(sorted_panel)
    both = pl.collect_all([once, once.select("period", "x"), once.filter(pl.col("period") > 20)])
    assert_frame_equal(both[0], eager.factor_returns, check_exact=True)
    assert_frame_equal(both[1], eager.factor_returns.select("period", "x"), check_exact=True)
    joined = once.join(once.select("period", again="x"), on="period").sort("period").collect()
    assert_frame_equal(joined.drop("again"), eager.factor_returns, check_exact=True)
    assert joined["x"].equals(joined["again"])


def test_one_in_the_other(sorted_panel):
    """Factor returns of panels that are themselves answers."""
    fits = fit_cross_sections(sorted_panel.lazy(), EXPOSURES, weights="w", sorted_by_period=True)
    residuals = fits.specific_returns.drop_nulls()
    again = factor_returns(residuals, "fitted", returns="specific_return", sorted_by_period=True)
    expected = factor_returns(residuals.collect(), "fitted", returns="specific_return")
    assert_frame_equal(again.collect(), expected, check_exact=True)


def test_on_one_thread(sorted_panel, eager, tmp_path):
    file = tmp_path / "panel.parquet"
    sorted_panel.write_parquet(file)
    code = (
        "import sys, polars as pl; from vbase_py_utils import factor_returns; "
        "from vbase_py_utils.fit import one_pass; "
        "one_pass.BLOCK_CELLS = 500; assert pl.thread_pool_size() == 1; "
        "panel = pl.scan_parquet(sys.argv[1]).sort('period', maintain_order=True); "
        f"answer = factor_returns(panel, {list(EXPOSURES)}, weights='w', sorted_by_period=True); "
        "answer.sink_parquet(sys.argv[2])"
    )
    out = tmp_path / "out.parquet"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code, file, out],
        env=os.environ | {"POLARS_MAX_THREADS": "1"},
        check=True,
        timeout=120,
    )
    assert_frame_equal(pl.read_parquet(out), eager.factor_returns, check_exact=True)


def test_a_period_column_may_have_any_name():
    panel = panel_of(3, [5, 6, 7], gaps=0.0).rename({"period": "^x.*$"})
    options = {"period": "^x.*$", "sorted_by_period": True}
    eager = factor_returns(panel, "z", **options)
    assert_frame_equal(factor_returns(panel.lazy(), "z", **options).collect(), eager)
