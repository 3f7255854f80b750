"""python -m vbase_py_utils: the demo, files in and out, and one line for what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from vbase_py_utils import factor_returns
from vbase_py_utils.__main__ import main
from vbase_py_utils.demo import FACTORS

JOB = ["--exposures", ",".join(FACTORS), "--returns", "return"]


@pytest.fixture
def file(panel, tmp_path):
    """Write the demo's panel to a file of the suffix given."""

    def write(suffix, frame=panel):
        path = tmp_path / f"panel{suffix}"
        frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
        return str(path)

    return write


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


def test_what_csv_cannot_hold_is_one_line(panel, file, capsys):
    binary = panel.with_columns(pl.col("period").cast(pl.Binary))
    assert main(["--panel", file(".parquet", binary), *JOB]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_periods_that_did_not_converge_are_listed(panel, file, capsys):
    spoilt = panel.with_columns(
        pl.when(pl.col("period") != "2023-02").then(pl.col("return")).alias("return")
    )
    assert main(["--panel", file(".parquet", spoilt), *JOB]) == 0
    captured = capsys.readouterr()
    assert "\n2023-02,,,\n" in captured.out
    assert captured.err == (
        "11 of 12 periods converged\n  2023-02: too_few_assets: 0 usable assets for 3 exposures\n"
    )


# Arguments, with {job} for exposures and returns and {folder}/panel.csv for a good file.
WRONG = {
    "unknown argument": ("--pannel x", "unrecognized arguments: --pannel x"),
    "argument without panel": ("--returns r", "--returns needs --panel FILE"),
    "period without panel": ("--period p", "--period needs --panel FILE"),
    "abbreviation": ("--panel {folder}/panel.csv --exp a --ret r", "--exp a --ret r"),
    "no exposures": ("--panel {folder}/panel.csv", "--panel needs --exposures"),
    "no returns": ("--panel {folder}/panel.csv --exposures a", "--panel needs --returns"),
    "value missing": ("--panel", "argument --panel: expected one argument"),
    "no such file": ("--panel {folder}/no.csv {job}", "no.csv does not exist"),
    "kind of file": (
        "--panel {folder}/broken.xlsx {job}",
        "broken.xlsx is neither a .parquet nor a .csv file",
    ),
    "kind of output": (
        "--panel {folder}/panel.csv {job} --out {folder}/o.txt",
        "o.txt is neither a .parquet nor a .csv file",
    ),
    "no folder for output": (
        "--panel {folder}/panel.csv {job} --out {folder}/none/o.csv",
        "none is not a directory",
    ),
    "output is a folder": (
        "--panel {folder}/panel.csv {job} --out {folder}/dir.csv",
        "dir.csv is a directory, expected a file to write",
    ),
    "panel is a folder": ("--panel {folder}/dir.csv {job}", "dir.csv is not a file"),
    "empty name of a column": (
        "--panel {folder}/panel.csv {job} --period=",
        "period column '' is not in the panel; it has 7 columns: 'period'",
    ),
    "no parquet": ("--panel {folder}/broken.parquet {job}", "broken.parquet cannot be read: "),
    "empty file": ("--panel {folder}/empty.csv {job}", "empty.csv cannot be read: "),
    "missing column": (
        "--panel {folder}/panel.csv --exposures beta --returns return",
        "exposure column 'beta' is not in the panel; it has 7 columns: 'period', 'asset', 'return'",
    ),
    "text column": (
        "--panel {folder}/panel.csv --exposures Factor_0 --returns period --period weight",
        "column 'period' holds no number in 600 rows, for example '2023-01'",
    ),
    "empty exposure": (
        "--panel {folder}/panel.csv --exposures Factor_0, --returns return",
        "exposure column '' is not in the panel",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_and_status_2(case, file, tmp_path, capsys):
    file(".csv")
    for name in ("broken.xlsx", "broken.parquet"):
        (tmp_path / name).write_bytes(b"not a panel")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "dir.csv").mkdir()
    arguments, message = WRONG[case]
    assert main(arguments.format(folder=tmp_path, job=" ".join(JOB)).split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("vbase_py_utils: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_bad_values_are_one_line(panel, file, capsys):
    twice = pl.concat([panel, panel.head(2)])
    assert main(["--panel", file(".csv", twice), *JOB]) == 2
    assert capsys.readouterr().err == (
        "vbase_py_utils: 4 rows share a ('period', 'asset') key, for example "
        "(2023-01, Asset_0); expected one row per period and asset\n"
    )


def test_a_failed_write_leaves_nothing(file, tmp_path, monkeypatch, capsys):
    def fail(_, path):
        path.write_bytes(b"half")
        raise OSError("No space\nleft on device")

    monkeypatch.setattr(pl.DataFrame, "write_csv", fail)
    source = file(".parquet")
    assert main(["--panel", source, *JOB, "--out", str(tmp_path / "o.csv")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["panel.parquet"]
    assert capsys.readouterr().err == "vbase_py_utils: No space left on device\n"


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m vbase_py_utils | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
