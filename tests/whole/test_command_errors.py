"""What is wrong with a call of the command: one line on standard error, and status 2."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from vbase_py_utils import files
from vbase_py_utils.__main__ import main
from vbase_py_utils.demo import FACTORS

JOB = ["--exposures", ",".join(FACTORS), "--returns", "return"]


@pytest.mark.parametrize("dtype", [pl.Binary, pl.Duration("us")])
def test_what_csv_cannot_hold_is_one_line(panel, file, tmp_path, capsys, dtype):
    """The same line for what is printed and for a file, and none of Polars' own."""
    text = panel["period"]
    keys = text.cast(pl.Binary) if dtype == pl.Binary else text.rank("dense").cast(pl.Int64)
    path = file(".parquet", panel.with_columns(keys.cast(dtype).alias("period")))
    lines = []
    for out in ([], ["--out", str(tmp_path / "o.csv")]):
        assert main(["--panel", path, *JOB, *out]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        lines.append(captured.err)
    kind = re.escape(str(dtype if isinstance(dtype, pl.Duration) else dtype()))
    for line in lines:
        assert re.fullmatch(
            rf"vbase_py_utils: column 'period' is {kind}, which a \.csv file cannot hold: "
            r"write \.parquet\n",
            line,
        )


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("ms"), pl.Datetime("ms", "UTC")])
def test_dates_that_text_cannot_hold_are_one_line(panel, file, tmp_path, capsys, dtype):
    number = panel["period"].rank("dense").cast(pl.Int64)
    far = (2**31 - 1 - number).cast(pl.Int32) if dtype == pl.Date else 2**62 - number
    path = file(".parquet", panel.with_columns(far.cast(dtype).alias("period")))
    for out, name in ([], "the answer"), (["--out", str(tmp_path / "o.csv")], "o.csv|the answer"):
        assert main(["--panel", path, *JOB, *out]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        # Polars writes of its own what it did not expect.
        last = captured.err.splitlines()[-1]
        assert re.fullmatch(
            rf"vbase_py_utils: .*({name}) cannot be written: .*; write \.parquet", last
        )
    assert main(["--panel", path, *JOB, "--out", str(tmp_path / "o.parquet")]) == 0
    assert pl.read_parquet(tmp_path / "o.parquet").schema["period"] == dtype


# Arguments, with {job} for exposures and returns and {folder}/panel.csv for a good file.
WRONG = {
    "unknown argument": ("--pannel x", "unrecognized arguments: --pannel x"),
    "argument without panel": ("--returns r", "--returns needs --panel FILE"),
    "period without panel": ("--period p", "--period needs --panel FILE"),
    "abbreviation": ("--panel {folder}/panel.csv --exp a --ret r", "--exp a --ret r"),
    "no exposures": ("--panel {folder}/panel.csv", "--panel needs --exposures"),
    "no returns": ("--panel {folder}/panel.csv --exposures a", "--panel needs --returns"),
    "format without panel": ("--period-format %Y", "--period-format needs --panel FILE"),
    "separator without panel": ("--separator ;", "--separator needs --panel FILE"),
    "value missing": ("--panel", "argument --panel: expected one argument"),
    "no such file": ("--panel {folder}/no.csv {job}", "no.csv does not exist"),
    "kind of file": (
        "--panel {folder}/broken.xlsx {job}",
        "broken.xlsx is not a .parquet, .csv or .csv.gz file",
    ),
    "kind of output": (
        "--panel {folder}/panel.csv {job} --out {folder}/o.txt",
        "o.txt is neither a .parquet nor a .csv file",
    ),
    "no folder for output": (
        "--panel {folder}/panel.csv {job} --out {folder}/none/o.csv",
        "o.csv cannot be written: {folder}/none does not exist",
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
    "no exposure at all": (
        "--panel {folder}/panel.csv --exposures= --returns return",
        "--exposures '' has an empty name, expected names of columns with commas between them",
    ),
    "an exposure between": (
        "--panel {folder}/panel.csv --exposures a,,b --returns return",
        "--exposures 'a,,b' has an empty name",
    ),
    "an exposure twice": (
        "--panel {folder}/panel.csv --exposures a,a --returns return",
        "exposures named more than once: 'a'",
    ),
    "a return that is an exposure's key": (
        "--panel {folder}/panel.csv --exposures a --returns asset",
        "column 'asset' is named as asset and as returns",
    ),
    "no panel's name": ("--panel= {job}", "--panel is empty, expected the name of a file"),
    "panel with NUL": ("--panel a\0.csv {job}", "has a NUL character"),
    "panel in a file": ("--panel {folder}/panel.csv/a.csv {job}", "a.csv does not exist"),
    "panel with a long name": (
        "--panel {folder}/" + "n" * 300 + ".csv {job}",
        ".csv cannot be read: File name too long",
    ),
    "no output's name": (
        "--panel {folder}/panel.csv {job} --out=",
        "--out is empty, expected the name of a file",
    ),
    "output over the panel": (
        "--panel {folder}/panel.csv {job} --out {folder}/../{name}/panel.csv",
        "panel.csv is the file of --panel, expected another one",
    ),
    "output in gzip": (
        "--panel {folder}/panel.csv {job} --out {folder}/o.csv.gz",
        "o.csv.gz: .csv.gz files can only be read, write a .csv file",
    ),
    "output in a folder that takes no files": (
        "--panel {folder}/panel.csv {job} --out /proc/o.csv",
        "/proc/o.csv cannot be written: its folder takes no new files",
    ),
    "output in a file": (
        "--panel {folder}/panel.csv {job} --out {folder}/panel.csv/o.csv",
        "o.csv cannot be written: {folder}/panel.csv is a file, expected a directory",
    ),
    "a longer separator": (
        "--panel {folder}/panel.csv {job} --separator ;;",
        "--separator ';;' is not a separator, expected one character or tab",
    ),
    "a quote as separator": (
        '--panel {folder}/panel.csv {job} --separator "',
        """--separator '"' is not a separator""",
    ),
    "another separator": (
        "--panel {folder}/panel.csv {job} --separator ;",
        "panel.csv are separated by ',', not ';': give --separator ','",
    ),
    "a format without a year": (
        "--panel {folder}/none.csv {job} --period-format %m",
        "--period-format '%m' has no year",
    ),
    "another format": (
        "--panel {folder}/panel.csv {job} --period-format %m/%Y",
        "period column 'period' does not match --period-format '%m/%Y' in 600 rows, "
        "for example '2023-",
    ),
    "exposure on two lines": (
        "--panel {folder}/panel.csv --exposures a\nb --returns return",
        r"--exposures 'a\nb' cannot be read, expected names of columns with commas between them",
    ),
    "empty exposure": (
        "--panel {folder}/panel.csv --exposures Factor_0, --returns return",
        "--exposures 'Factor_0,' has an empty name",
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
    words = arguments.format(folder=tmp_path, name=tmp_path.name, job=" ".join(JOB))
    # A word with a line feed or a NUL cannot come from a shell, but from code.
    assert main(words.split(" ")) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("vbase_py_utils: ")
    assert message.format(folder=tmp_path) in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.rstrip("\n").isprintable()
    assert len(captured.err) <= 320


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
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_csv", fail)
    source = file(".parquet")
    assert main(["--panel", source, *JOB, "--out", str(tmp_path / "o.csv")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["panel.parquet"]
    assert capsys.readouterr().err == (
        f"vbase_py_utils: {tmp_path}/o.csv cannot be written: No space left on device\n"
    )


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m vbase_py_utils | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_a_last_line_cut_inside_is_refused_or_counted(panel, tmp_path, capsys):
    columns = ["period", "asset", "return", *FACTORS]
    text = panel.select(columns).write_csv().rstrip("\n")
    last = text.rsplit("\n", 1)[1]
    for cut in range(1, len(last)):
        (tmp_path / "cut.csv").write_text(text[:-cut])
        status = main(["--panel", str(tmp_path / "cut.csv"), *JOB])
        err = capsys.readouterr().err
        fields = last[:-cut].count(",") + 1
        if fields < len(columns):
            assert (status, f"line 601 of {tmp_path}/cut.csv has {fields} field" in err) == (
                2,
                True,
            )
        elif last[:-cut].endswith((",", ",-")):
            assert (status, "1 of 600 rows left out" in err) == (0, True)
        else:
            # A number that lost digits is a number: nothing can tell.
            assert (status, err) == (0, "12 of 12 periods converged\n")


def test_an_answer_that_is_a_link_to_the_panel_is_refused(file, tmp_path, capsys):
    source = file(".csv")
    before = (tmp_path / "panel.csv").read_bytes()
    (tmp_path / "link.csv").symlink_to("panel.csv")
    assert main(["--panel", source, *JOB, "--out", str(tmp_path / "link.csv")]) == 2
    assert "is the file of --panel" in capsys.readouterr().err
    assert (tmp_path / "panel.csv").read_bytes() == before


def test_negative_weights_are_one_line(panel, file, capsys):
    source = file(".csv", panel.with_columns(weight=-pl.col("weight")))
    assert main(["--panel", source, *JOB, "--weights", "weight"]) == 2
    err = capsys.readouterr().err
    assert "weights column 'weight' is negative in 600 rows" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "the panel does not fit into memory"),
        (PermissionError(13, "Permission denied", "p.csv"), 2, "Permission denied"),
        (OSError(5, "Input/output error"), 2, "Input/output error"),
    ],
)
def test_what_the_system_refuses_is_one_line(file, monkeypatch, capsys, error, status, said):
    def fail(*_, **__):
        raise error

    source = file(".csv")
    monkeypatch.setattr(files, "read_csv_panel", fail)
    assert main(["--panel", source, *JOB]) == status
    err = capsys.readouterr().err
    assert err.startswith("vbase_py_utils: ")
    assert err.endswith(f"{said}\n")
    assert err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_an_output_that_takes_no_more_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vbase_py_utils"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, "vbase_py_utils: No space left on device\n")


def test_a_damaged_parquet_file_is_one_line(file, capsys):
    source = Path(file(".parquet"))
    whole = source.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for data, reason in [
        (whole[:-1], "it does not begin and end as a .parquet file does"),
        (b"", "it does not begin and end as a .parquet file does"),
        (b"PAR1", "it is damaged, or of a kind that Polars does not know ("),
        (
            whole[:footer] + b"\xff" * (len(whole) - 8 - footer) + whole[-8:],
            "it is damaged, or of a kind that Polars does not know (",
        ),
    ]:
        source.write_bytes(data)
        assert main(["--panel", str(source), *JOB]) == 2
        err = capsys.readouterr().err
        assert f"{source} cannot be read: {reason}" in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("out", ["o.txt", "none/o.csv", "dir.csv", "panel.parquet"])
def test_where_the_answer_cannot_be_is_refused_before_the_panel_is_read(
    file, tmp_path, monkeypatch, capsys, out
):
    source = file(".parquet")
    (tmp_path / "dir.csv").mkdir()

    def read(*_, **__):
        raise AssertionError("the panel is read")

    monkeypatch.setattr("vbase_py_utils.__main__.read_panel", read)
    assert main(["--panel", source, *JOB, "--out", str(tmp_path / out)]) == 2
    assert out in capsys.readouterr().err
