"""The benchmark runs, in its quick form; nothing here asserts how long anything takes."""

from __future__ import annotations

import bench
import bench_memory
import contestants
import numpy as np
import polars as pl
import pytest
import workloads


def test_the_benchmark_runs_and_prints_its_tables(capsys):
    bench.main(["--quick", "--repetitions", "1"])
    printed = capsys.readouterr().out
    headings = ("factor_returns", "run_monthly_factor_returns", "usable row", "slope")
    headings += ("import vbase_py_utils", "one period", "`zscore`")
    for heading in (*headings, "factor_covariance", "specific_risk", "all frames"):
        assert heading in printed
    assert "nan" not in printed.lower().replace("nan |", "")


def test_the_benchmark_of_memory_runs_and_prints_its_tables(capsys, tmp_path):
    bench_memory.main(["--quick", "--repetitions", "1", "--folder", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.count("specific_returns") == printed.count("specific_risk") == 2
    assert "read, then eager" in printed
    assert list(tmp_path.iterdir()) == []
    bench_memory.main(["--quick", "--attribution", "--folder", str(tmp_path)])
    assert "60 x 3 x 60" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_panels_that_are_written_are_those_of_the_workload(tmp_path):
    exposures = bench_memory.write_panel(tmp_path / "panel.parquet", 7, 2, range(45, 155))
    panel = pl.read_parquet(tmp_path / "panel.parquet")
    assert panel["period"].to_list() == np.repeat(np.arange(45, 155), 7).tolist()
    assert exposures == ["f0", "f1"]


def test_contestants_that_estimate_the_same_agree():
    panel = workloads.balanced(60, 3, 5)
    least_squares = contestants.ours(panel, huber_t=np.inf)
    np.testing.assert_allclose(contestants.numpy_floor(panel), least_squares, rtol=1e-10)
    frames = workloads.as_pandas(panel)
    ours = contestants.pandas_function(frames)
    np.testing.assert_allclose(ours, contestants.ours(panel), rtol=1e-12)
    np.testing.assert_allclose(ours, contestants.statsmodels_loop(frames), atol=1e-8)
    np.testing.assert_array_equal(contestants.everything(panel), contestants.ours(panel))
    np.testing.assert_array_equal(contestants.expression(panel), contestants.ours(panel))
    month = workloads.balanced(60, 3, 1)
    one = contestants.one_period(workloads.as_pandas(month))
    np.testing.assert_allclose([one], contestants.ours(month), rtol=1e-12)


@pytest.mark.parametrize("name", ["ps.huber", "polars-ols", "polars-ds", "skfolio"])
def test_peers_agree_where_they_are_installed(name):
    package, call = contestants.PEERS[name]
    if contestants.version(package) is None:
        pytest.skip(f"{package} is in the dependency group bench")
    panel = workloads.balanced(60, 3, 5)
    options = {"weights": None, "huber_t": 1.35} if name == "ps.huber" else {"huber_t": np.inf}
    np.testing.assert_allclose(call(panel), contestants.ours(panel, **options), atol=1e-4)


def test_the_factor_model_is_the_one_that_toraniko_fits():
    panel = workloads.with_sectors(80, 1, 4, n_sectors=3)
    # Without styles, which it fits on what market and sectors leave, both are one model.
    bare = workloads.Panel(panel.name, panel.frame, [])
    ours = contestants.with_sectors(bare, huber_t=np.inf)
    assert ours.shape == (4, 4)
    assert contestants.sectors_by_hand(workloads.with_dummies(panel)).shape == (4, 5)
    if contestants.version("toraniko") is None:
        pytest.skip("toraniko is in the dependency group peers")
    theirs = contestants.toraniko(workloads.as_toraniko(panel)).sort("date")
    columns = ["market", *panel.frame["sector"].dtype.categories]
    np.testing.assert_allclose(ours, theirs.select(columns).to_numpy(), rtol=1e-9, atol=1e-13)


def test_the_ragged_panel_is_ragged_and_as_large_on_average():
    panel = workloads.ragged(100, 5, 200)
    sizes = panel.frame.drop_nulls().group_by("period").len()["len"]
    assert sizes.n_unique() > 10
    assert 0.85 < sizes.mean() / 100 < 1.15
    assert 0.03 < panel.frame["return"].null_count() / panel.frame.height < 0.07
