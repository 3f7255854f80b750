"""python -m vbase_py_utils: the demo, files in and out, and one line for what is wrong."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import warnings

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from vbase_py_utils import __main__ as command
from vbase_py_utils import factor_returns
from vbase_py_utils.__main__ import main
from vbase_py_utils.demo import FACTORS

JOB = ["--exposures", ",".join(FACTORS), "--returns", "return"]


def test_demo_compares_truth_and_estimate(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if "2023-" in line and "Factor_" in line]
    assert len(rows) == 12 * 3 + 1  # and the line of the largest error
    assert "largest error 0.001485 (Factor_0, 2023-02)" in out
    assert out.splitlines()[-1] == "12 of 12 periods converged"


def test_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "vbase_py_utils"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "12 of 12 periods converged" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("out", [".csv", ".parquet"])
def test_file_in_file_out(panel, file, tmp_path, suffix, out, capsys):
    target = tmp_path / f"answer{out}"
    arguments = ["--panel", file(suffix), *JOB, "--weights", "weight", "--out", str(target)]
    assert main(arguments) == 0
    answer = pl.read_csv(target) if out == ".csv" else pl.read_parquet(target)
    expected = factor_returns(panel, FACTORS, weights="weight")
    assert_frame_equal(answer, expected, rel_tol=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {f"panel{suffix}", f"answer{out}"}
    )
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "12 of 12 periods converged\n"


def test_without_out_the_answer_is_printed_as_csv(panel, file, capsys):
    assert main(["--panel", file(".parquet"), *JOB]) == 0
    answer = pl.read_csv(capsys.readouterr().out.encode())
    assert_frame_equal(answer, factor_returns(panel, FACTORS), rel_tol=1e-12)


def test_weights_arrive(panel, file, tmp_path):
    weighted = panel.with_columns(weight=pl.col("Factor_0").exp())
    target = tmp_path / "answer.parquet"
    source = file(".parquet", weighted)
    assert main(["--panel", source, *JOB, "--weights", "weight", "--out", str(target)]) == 0
    expected = factor_returns(weighted, FACTORS, weights="weight")
    assert_frame_equal(pl.read_parquet(target), expected, check_exact=True)


def test_blanks_after_commas_and_a_column_in_two_roles(panel, file, capsys):
    arguments = ["--exposures", "Factor_0, weight", "--returns", "return", "--weights", "weight"]
    assert main(["--panel", file(".csv"), *arguments]) == 0
    answer = pl.read_csv(capsys.readouterr().out.encode())
    expected = factor_returns(panel, ["Factor_0", "weight"], weights="weight")
    assert_frame_equal(answer, expected, rel_tol=1e-12)


def test_names_of_columns(panel, file, capsys):
    renamed = panel.rename({"period": "month", "asset": "id", "return": "r"})
    arguments = ["--period", "month", "--asset", "id", "--returns", "r", "--exposures", "Factor_1"]
    assert main(["--panel", file(".csv", renamed), *arguments]) == 0
    assert capsys.readouterr().out.startswith("month,Factor_1\n2023-01,")


def test_dates_in_csv_are_read_as_dates(panel, file, tmp_path):
    dated = panel.with_columns(period=pl.col("period") + "-15")
    assert main(["--panel", file(".csv", dated), *JOB, "--out", str(tmp_path / "o.parquet")]) == 0
    answer = pl.read_parquet(tmp_path / "o.parquet")
    assert answer["period"].dtype == pl.Date
    assert str(answer["period"][0]) == "2023-01-15"


def test_ten_periods_that_did_not_converge_are_spelled_out(panel, file, capsys):
    assert main(["--panel", file(".csv", panel.with_columns(Factor_1=0.0)), *JOB]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "0 of 12 periods converged"
    assert len(lines) == 12
    assert lines[-1] == "  and 2 more"


CSV_JOB = ["--exposures", "x", "--returns", "r"]


def csv_answer(tmp_path, capsys, lines, name="p.csv"):
    (tmp_path / name).write_text("\n".join(["period,asset,r,x", *lines]) + "\n", encoding="utf-8")
    status = main(["--panel", str(tmp_path / name), *CSV_JOB])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_csv_types_do_not_depend_on_the_first_rows(tmp_path, capsys):
    # Nothing, then whole numbers, then fractions; numeric identifiers, then letters.
    lines = [f"2023-01,{i},," for i in range(300)]
    lines += [f"2023-02,{i},3,1" for i in range(300)]
    lines += ["2023-03,38259P508,0.75,1.5", "2023-03,2,0.5,1.0"]
    status, out, _ = csv_answer(tmp_path, capsys, lines)
    assert (status, out) == (0, "period,x\n2023-01,\n2023-02,3.0\n2023-03,0.5\n")


@pytest.mark.parametrize("sign", ["", "NA", "N/A", "nan", "NaN", "null", "None", " ", ".", "-"])
def test_csv_signs_for_a_missing_number(tmp_path, capsys, sign):
    lines = [f"1,a{i},{2 * i},{i}" for i in range(1, 6)]
    status, out, _ = csv_answer(tmp_path, capsys, [*lines, f"1,b,{sign},3", f"1,c,4,{sign}"])
    assert (status, out) == (0, "period,x\n1,2.0\n")


def test_csv_text_where_numbers_should_be(tmp_path, capsys):
    status, out, err = csv_answer(tmp_path, capsys, ["1,a,0.1,low", "1,b,0.2,high", "1,c,0.3,3"])
    assert (status, out) == (2, "")
    assert err == "vbase_py_utils: column 'x' holds no number in 2 rows, for example 'low'\n"


@pytest.mark.parametrize(
    ("periods", "answers"),
    [
        (["10", "9"], ["9", "10"]),
        (["0010", "0009"], ["0009", "0010"]),
        (["2023-02-01", "2023-01-31"], ["2023-01-31", "2023-02-01"]),
        (["2023-02-01", "spring"], ["2023-02-01", "spring"]),
        (
            ["2023-02-01T10:00:00", "2023-01-31T09:30:00.5"],
            ["2023-01-31T09:30:00.500000", "2023-02-01T10:00:00.000000"],
        ),
    ],
)
def test_csv_periods_come_back_and_are_sorted_as_what_they_are(tmp_path, capsys, periods, answers):
    lines = [f"{period},{asset},1,1" for period in periods for asset in ("001", "01", "1")]
    status, out, _ = csv_answer(tmp_path, capsys, lines)
    assert status == 0
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == answers


def test_csv_with_a_header_alone(tmp_path, capsys):
    assert csv_answer(tmp_path, capsys, [])[:2] == (0, "period,x\n")


@pytest.mark.parametrize("name", ["p[1].csv", "p*.csv", "P.CSV"])
def test_names_of_files_are_no_patterns(tmp_path, capsys, name):
    (tmp_path / "p1.csv").write_text("period,asset,r,x\n7,a,1,1\n", encoding="utf-8")
    assert csv_answer(tmp_path, capsys, ["1,a,2,1"], name)[:2] == (0, "period,x\n1,2.0\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_encoding_of_the_terminal(tmp_path, encoding):
    (tmp_path / "p.csv").write_text("period,asset,r,x\nI\u2082,a,1,1\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for arguments in ([], ["--panel", str(tmp_path / "p.csv"), *CSV_JOB]):
        done = subprocess.run(
            [sys.executable, "-m", "vbase_py_utils", *arguments],
            capture_output=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_periods_that_did_not_converge_are_listed(panel, file, capsys):
    spoilt = panel.with_columns(
        pl.when(pl.col("period") != "2023-02").then(pl.col("return")).alias("return")
    )
    assert main(["--panel", file(".parquet", spoilt), *JOB]) == 0
    captured = capsys.readouterr()
    assert "\n2023-02,,,\n" in captured.out
    assert captured.err == (
        "50 of 600 rows left out: 'return' missing in 50\n"
        "11 of 12 periods converged\n  2023-02: too_few_assets: 0 usable assets for 3 exposures\n"
    )


def test_rows_that_no_fit_uses_are_counted_by_what_they_lack(panel, file, capsys):
    spoilt = panel.with_row_index("i").with_columns(
        pl.when(pl.col("i") % 50 != 0).then("return").alias("return"),
        pl.when(pl.col("i") % 60 != 0).then("Factor_1").otherwise(float("inf")).alias("Factor_1"),
        pl.when(pl.col("i") % 100 != 1).then("weight").otherwise(0.0).alias("weight"),
    )
    for suffix in (".csv", ".parquet"):
        assert main(["--panel", file(suffix, spoilt), *JOB, "--weights", "weight"]) == 0
        # Row 0, 300 lack both.
        assert capsys.readouterr().err == (
            "26 of 600 rows left out: 'return' missing in 12, 'Factor_1' missing in 10, "
            "'weight' zero in 6\n12 of 12 periods converged\n"
        )


def test_gzip_and_separators(panel, tmp_path, capsys):
    expected = factor_returns(panel, FACTORS).write_csv()
    for separator, given in [(";", []), ("\t", []), ("|", ["--separator", "|"])] + [
        ("\t", ["--separator", text]) for text in ("tab", "\\t", "\t")
    ]:
        source = tmp_path / "panel.csv.gz"
        source.write_bytes(gzip.compress(panel.write_csv(separator=separator).encode()))
        assert main(["--panel", str(source), *JOB, *given]) == 0
        answer = pl.read_csv(capsys.readouterr().out.encode())
        assert_frame_equal(answer, pl.read_csv(expected.encode()), rel_tol=1e-12)


def test_names_with_commas_and_quotes(panel, file, capsys):
    renamed = panel.rename({"Factor_0": "a,b", "Factor_1": 'c"d', "Factor_2": "e f"})
    exposures = '"a,b", c"d , e f'
    assert main(["--panel", file(".csv", renamed), "--exposures", exposures, *JOB[2:]]) == 0
    assert capsys.readouterr().out.splitlines()[0] == 'period,"a,b","c""d",e f'


MONTHS = ["10/31/2023", "11/30/2023", "12/31/2023", "01/31/2024"]


def dated(tmp_path, months, suffix=".csv"):
    rows = [(month, asset, i + 1.0, 1.0) for i, month in enumerate(months) for asset in "ab"]
    frame = pl.DataFrame(rows, schema=["period", "asset", "r", "x"], orient="row")
    path = tmp_path / f"dated{suffix}"
    frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("form", "months", "labels"),
    [
        ("%m/%d/%Y", MONTHS, ["2023-10-31", "2023-11-30", "2023-12-31", "2024-01-31"]),
        ("%m/%Y", [m[:3] + m[-4:] for m in MONTHS], ["2023-10", "2023-11", "2023-12", "2024-01"]),
        (
            "%b-%y",
            ["Oct-23", "Nov-23", "Dec-23", "Jan-24"],
            ["2023-10", "2023-11", "2023-12", "2024-01"],
        ),
    ],
)
def test_rows_are_in_the_order_of_time_with_a_format(
    tmp_path, capsys, suffix, form, months, labels
):
    source = dated(tmp_path, months, suffix)
    assert main(["--panel", source, *CSV_JOB, "--period-format", form]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["period,x", *(f"{text},{i}.0" for i, text in enumerate(labels, 1))]


def test_a_warning_of_the_order_is_a_line(tmp_path, capsys, monkeypatch):
    seen = []

    def warn(keys, column):
        seen.append((keys.to_list(), column))
        warnings.warn("rows are in the order of\ntext", UserWarning, stacklevel=1)

    monkeypatch.setattr(command, "warn_unless_time_order", warn)
    assert main(["--panel", dated(tmp_path, MONTHS), *CSV_JOB]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        "vbase_py_utils: warning: rows are in the order of text; on the command line, "
        "--period-format reads dates and months",
        "0 of 4 periods converged",
    ]
    assert seen == [([month for month in MONTHS for _ in "ab"], "period")]
    # Whole numbers that may be dates are looked at as text, others as they are.
    for numbers, shown in (["102023", "112023"], ["102023", "112023"]), (["9", "10"], [9, 10]):
        assert main(["--panel", dated(tmp_path, numbers), *CSV_JOB]) == 0
        assert seen[-1][0] == [period for period in shown for _ in "ab"]


def test_times_at_midnight_are_written_as_dates(tmp_path, capsys):
    path = tmp_path / "times.parquet"
    frame = pl.read_csv(dated(tmp_path, MONTHS))
    frame.with_columns(pl.col("period").str.to_datetime("%m/%d/%Y", time_unit="ns")).write_parquet(
        path
    )
    assert main(["--panel", str(path), *CSV_JOB]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "2023-10-31,1.0"
    target = tmp_path / "o.parquet"
    assert main(["--panel", str(path), *CSV_JOB, "--out", str(target)]) == 0
    assert pl.read_parquet(target)["period"].dtype == pl.Datetime("ns")


def test_help_lists_what_can_be_given(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    for text in ("--period-format F", "--separator S", "%m/%d/%Y", ".csv.gz", "'\"a,b\",c'"):
        assert text in out
