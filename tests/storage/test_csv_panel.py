"""Csv files as people have them: what is read, and what is refused by its line."""

from __future__ import annotations

import gzip
from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from vbase_py_utils import PanelError
from vbase_py_utils.files import read_panel
from vbase_py_utils.panel import Roles
from vbase_py_utils.storage import csv_panel

ROLES = Roles.of("x", returns="r", period="p", asset="a")
EXPECTED = pl.DataFrame(
    {"p": ["2024-01", "2024-02"], "a": ["A", "B"], "r": [0.5, -1.0], "x": [1.0, None]}
)
GOOD = b"p,a,r,x\n2024-01,A,0.5,1\n2024-02,B,-1,\n"


def read(folder, data, name="p.csv", **options):
    (folder / name).write_bytes(data)
    return read_panel(folder / name, ROLES, **options)


SAME = {
    "as it is": GOOD,
    "no last line feed": GOOD.rstrip(b"\n"),
    "blank lines": b"\n \n" + GOOD.replace(b"\n", b"\n\n  \n\t\n") + b"\n\n",
    "blank lines of windows": b"\r\n" + GOOD.replace(b"\n", b"\r\n\r\n"),
    "crlf": GOOD.replace(b"\n", b"\r\n"),
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "semicolons": GOOD.replace(b",", b";"),
    "tabs": GOOD.replace(b",", b"\t"),
    "quotes": b'"p","a","r","x"\r\n"2024-01","A","0.5","1"\r\n"2024-02","B","-1",""\r\n',
    "other columns, one without a name, some of one name": (
        b',a,note,x,r,p,note,\n1,A,"a, b\n\n""c""",1,0.5,2024-01,,\n2,B,5" long,,-1,2024-02,,\n'
    ),
    "other columns in another encoding": (
        b"p,a,r,x,note\n2024-01,A,0.5,1,caf\xe9\n2024-02,B,-1,,\x00\n"
    ),
    "blanks around numbers": b"p,a,r,x\n2024-01,A, 0.5 ,1 \n2024-02,B,-1, NA \n",
    "fields longer than csv's limit": b"p,a,r,x,n\n2024-01,A,0.5,1,"
    + b"n" * 200_000
    + b"\n2024-02,B,-1,,\n",
}


@pytest.mark.parametrize("case", SAME)
@pytest.mark.parametrize("packed", [False, True])
def test_files_that_hold_the_same(tmp_path, case, packed):
    data = gzip.compress(SAME[case]) if packed else SAME[case]
    assert_frame_equal(read(tmp_path, data, "p.csv.gz" if packed else "p.csv"), EXPECTED)


def test_gzip_in_parts_and_under_another_name(tmp_path):
    data = gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:])
    assert_frame_equal(read(tmp_path, data, "P.CSV.GZ"), EXPECTED)
    assert_frame_equal(read(tmp_path, data, "p.csv"), EXPECTED)


@pytest.mark.parametrize("separator", ["|", ";", "\t", ":", " ", "x"])
def test_any_separator_that_is_given(tmp_path, separator):
    data = GOOD.replace(b",", separator.encode()).replace(b"x", b'"x"', 1)
    if separator == "x":
        data = b'pxaxrx"x"\n2024-01xAx0.5x1\n2024-02xBx-1x\n'
    assert_frame_equal(read(tmp_path, data, separator=separator), EXPECTED)


def test_many_rows_over_several_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_panel, "LONGEST_LINE", 4096)
    lines = [f'{i % 7},"a\n{i}",{i / 8},{i}' for i in range(5000)]
    answer = read(tmp_path, ("p,a,r,x\n" + "\n\n".join(lines)).encode())
    expected = pl.DataFrame(
        {
            "p": [i % 7 for i in range(5000)],
            "a": [f"a\n{i}" for i in range(5000)],
            "r": [i / 8 for i in range(5000)],
            "x": [float(i) for i in range(5000)],
        }
    )
    assert_frame_equal(answer, expected)


@pytest.mark.parametrize("rows", [b"", b"\n", b"\n\n \n", b"\r\n\r\n"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_header_alone_is_a_panel_without_rows(tmp_path, rows, end):
    answer = read(tmp_path, b"p,a,r,x" + (end + rows if end else b""))
    assert answer.shape == (0, 4)
    assert answer.columns == ROLES.columns
    assert answer["r"].dtype == pl.Float64


def test_empty_keys_are_null(tmp_path):
    answer = read(tmp_path, b'p,a,r,x\n,"",1,1\n')
    assert answer.select("p", "a").row(0) == (None, None)


HEAD = b"p,a,r,x\n"
ROW = b"1,A,1,1\n"
# What stands in the file, and the whole message.
REFUSED = {
    "too few": (HEAD + ROW + b"1,B,1\n", "line 3 of {} has 3 fields, expected 4 as in the header"),
    "too few after blanks": (
        b"\n" + HEAD + b"\n" + ROW + b"\n1,B\n" + ROW,
        "line 6 of {} has 2 fields, expected 4 as in the header",
    ),
    "too many": (HEAD + b"1,A,1,1,\n", "line 2 of {} has 5 fields, expected 4 as in the header"),
    "after a field of three lines": (
        HEAD + b'1,"A\n\nB",1,1\n1\n',
        "line 5 of {} has 1 field, expected 4 as in the header",
    ),
    "last line cut": (
        HEAD + ROW + b"1,B",
        "line 3 of {} has 2 fields, expected 4 as in the header",
    ),
    "decimal commas unquoted": (
        HEAD + b"1,A,0,5,1\n",
        "line 2 of {} has 5 fields, expected 4 as in the header",
    ),
    "an open quote": (
        HEAD + b'1,"A,1,1\n' + ROW,
        "line 2 of {} has 2 fields, expected 4 as in the header; "
        "it goes on to line 3: is a quote not closed?",
    ),
    "a name twice": (
        b"p,a,r,x,x\n1,A,1,1,2\n",
        "'x' stands 2 times in the header of {}, expected once",
    ),
    "empty": (b"", "{} cannot be read: it is empty"),
    "blank": (b"\n\n \n", "{} cannot be read: it is empty"),
    "open quote in the header": (
        b'p,a,"r,x\n1,2,3,4\n',
        "{} cannot be read: a quote in its header is never closed",
    ),
    "latin-1": (
        HEAD + ROW + b"1,\xe9,1,1\n",
        "line 3 of {} is not UTF-8 text (byte 0xe9): save the file as UTF-8",
    ),
    "latin-1 in a line with too few": (
        HEAD + b"\n  \n" + ROW + b"1,\xe9,1\n",
        "line 5 of {} is not UTF-8 text (byte 0xe9): save the file as UTF-8",
    ),
    "latin-1 in the header": (
        b"p,a,r,x,\xe9\n",
        "line 1 of {} is not UTF-8 text (byte 0xe9): save the file as UTF-8",
    ),
    "utf-16": (GOOD.decode().encode("utf-16"), "{} cannot be read: it is UTF-16, expected UTF-8"),
    "nul": (b"p\0,a,r,x\n", "{} cannot be read: its header has NUL characters, expected text"),
    "carriage returns": (
        GOOD.replace(b"\n", b"\r"),
        "{} cannot be read: its lines end in carriage returns without line feeds",
    ),
    "a carriage return inside": (
        HEAD + ROW + b"1,A\r,1,1\n",
        "line 3 of {} holds a carriage return outside quotes",
    ),
    "a ragged line after a long field": (
        HEAD + b"1," + b"n" * 200_000 + b",1,1\n1,2\n",
        "line 3 of {} has 2 fields, expected 4 as in the header",
    ),
    "a long name": (
        b"n" * 200_000 + b"\n",
        "{} cannot be read: its header begins a field that is too long: is a quote not closed?",
    ),
    "pipes": (
        GOOD.replace(b",", b"|"),
        "the columns of {} are separated by '|', not ',': give --separator '|'",
    ),
    "decimal commas": (
        b"p;a;r;x\n1;A;0,5;1\n1;B;1,5e-2;1\n1;C;2;1\n",
        "column 'r' has a decimal comma in 2 rows, for example '0,5'; "
        "expected a decimal point, 0.5",
    ),
    "the header again": (
        HEAD + ROW + HEAD + ROW,
        "column 'r' holds its own name in 1 row: the header is repeated, "
        "expected it only at the top of the file",
    ),
    "nul as a number": (
        HEAD + b"1,A,1\x00,1\n",
        r"column 'r' holds no number in 1 row, for example '1\\x00'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_how(tmp_path, capfd, case):
    data, message = REFUSED[case]
    with pytest.raises(PanelError) as caught:
        read(tmp_path, data)
    assert str(caught.value) == message.format(tmp_path / "p.csv")
    # Nor does Arrow say anything itself.
    assert capfd.readouterr() == ("", "")


def test_a_separator_that_is_wrong_is_named_with_the_right_one(tmp_path):
    with pytest.raises(PanelError, match=r"are separated by ';', not ',': give --separator ';'$"):
        read(tmp_path, GOOD.replace(b",", b";"), separator=",")
    with pytest.raises(PanelError, match=r"are separated by '\\t', not ',': give --separator tab$"):
        read(tmp_path, GOOD.replace(b",", b"\t"), separator=",")


def test_a_header_that_reads_with_two_separators_asks(tmp_path):
    roles = Roles.of([], returns="r", period="p", asset="a", intercept=True)
    (tmp_path / "p.csv").write_text("p,a,r,;p;a;r;\n")
    with pytest.raises(
        PanelError, match=r"with the separator ',' and with ';'.* with --separator$"
    ):
        read_panel(tmp_path / "p.csv", roles)


def test_a_missing_column_of_a_file_with_semicolons_lists_its_columns(tmp_path):
    with pytest.raises(PanelError, match=r"'x' .*'p', 'a', 'r', 'z'"):
        read(tmp_path, b"p;a;r;z\n")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(GOOD * 50)[:-4], "its gzip data is damaged or cut short"),
        (gzip.compress(GOOD * 50)[:30], "its gzip data is damaged or cut short"),
        (gzip.compress(GOOD)[:-8] + bytes(8), "CRC check failed"),
        (GOOD, "it is not a gzip file"),
        (b"", "it is not a gzip file"),
    ],
    ids=["no end", "half", "other check sum", "no gzip", "empty"],
)
def test_gzip_that_is_damaged_is_refused(tmp_path, data, reason):
    with pytest.raises(PanelError, match=f"p.csv.gz cannot be read: {reason}"):
        read(tmp_path, data, "p.csv.gz")


def test_huge_fields_and_headers_make_short_messages(tmp_path):
    huge = b"n" * 10_000_000
    files = [
        HEAD + b"1,A," + huge + b",1\n",
        huge + b"\n",
        b",".join(b"column %d" % i for i in range(10**6)) + b"\n",
        HEAD + b"1,A,1,1," + huge * 2 + b"\n",
        HEAD + huge * 2 + b"\n",
        huge * 2,
        HEAD + b'1,"' + ROW * 3_000_000,
    ]
    for data in files:
        with pytest.raises(PanelError) as caught:
            read(tmp_path, data)
        assert len(str(caught.value)) <= 300 + len(str(tmp_path))
        assert str(caught.value).isprintable()


def test_periods_of_a_format_in_csv(tmp_path):
    data = HEAD + b"01/31/2024,A,1,1\n10/31/2023,A,1,1\n"
    answer = read(tmp_path, data, period_format="%m/%d/%Y")
    assert answer["p"].to_list() == [date(2024, 1, 31), date(2023, 10, 31)]
    data = HEAD + b"012024,A,1,1\n112023,A,1,1\n"
    answer = read(tmp_path, data, period_format="%m%Y")
    assert answer["p"].to_list() == ["2024-01", "2023-11"]
