"""sink_file and the places it writes to: whole or not at all, and one sentence before the work."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from vbase_py_utils import PanelError, fit_cross_sections, sink_file, write_report
from vbase_py_utils.storage import places
from vbase_py_utils.storage.places import check_place, whole_file

FRAME = pl.DataFrame({"period": [1, 2], "beta": [0.5, None]})


def probe():
    """Give a query and the list of its runs."""
    runs = []

    def note(rows):
        runs.append(rows.height)
        return rows

    return FRAME.lazy().map_batches(note, schema=FRAME.schema), runs


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".CSV"])
@pytest.mark.parametrize("kind", ["eager", "lazy", "arrow"])
@pytest.mark.parametrize("as_given", [str, Path])
def test_any_frame_is_written(tmp_path, suffix, kind, as_given):
    target = tmp_path / f"answer{suffix}"
    frame = {"eager": FRAME, "lazy": FRAME.lazy(), "arrow": FRAME.to_arrow()}[kind]
    sink_file(frame, as_given(target))
    read = pl.read_parquet if suffix == ".parquet" else pl.read_csv
    assert_frame_equal(read(target), FRAME)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", [FRAME, FRAME.lazy()])
def test_a_file_that_is_replaced_keeps_its_mode_and_a_link_stays_one(tmp_path, kind):
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real.name)
    sink_file(kind, link)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert_frame_equal(pl.read_csv(real), FRAME)


def test_a_link_to_a_file_that_is_not_there_yet_is_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.csv").symlink_to("folder/real.csv")
    sink_file(FRAME, tmp_path / "link.csv")
    assert_frame_equal(pl.read_csv(tmp_path / "folder" / "real.csv"), FRAME)


def prepare(folder):
    (folder / "loop.csv").symlink_to("pool.csv")
    (folder / "pool.csv").symlink_to("loop.csv")
    (folder / "lost.csv").symlink_to("nowhere/real.csv")
    (folder / "dir.csv").mkdir()
    (folder / "file").write_text("in the way")
    os.mkfifo(folder / "pipe.csv")


# Given {folder}, what is said after the name of the target.
NO_PLACES = {
    "{folder}/loop.csv": "loop.csv cannot be written: it is a loop of links",
    "{folder}/loop.csv/a.csv": "a.csv cannot be written: it is a loop of links",
    "{folder}/lost.csv": "lost.csv cannot be written: it is a link to {folder}/nowhere/real.csv, "
    "but {folder}/nowhere does not exist",
    "{folder}/dir.csv": "dir.csv is a directory, expected a file to write",
    "{folder}/file/a.csv": "a.csv cannot be written: {folder}/file is a file, expected a directory",
    "{folder}/file/deep/a.csv": "{folder}/file is a file, expected a directory",
    "{folder}/none/a.csv": "a.csv cannot be written: {folder}/none does not exist",
    "{folder}/pipe.csv": "pipe.csv cannot be written: it is a device or a pipe, not a file",
    "/proc/a.csv": "/proc/a.csv cannot be written: its folder takes no new files",
    "{folder}/"
    + "n" * 300
    + ".csv": ".csv cannot be written: the name of the file or of a folder is too long",
    "": "path is empty, expected the name of a file",
    "{folder}/a\0b.csv": "b.csv has a NUL character, which no file name can",
    "{folder}/\ud800.csv": r"\ud800.csv has a character that no file name can",
}


@pytest.mark.parametrize("name", NO_PLACES)
@pytest.mark.parametrize("as_given", [str, Path])
def test_where_no_file_can_be_is_refused_before_the_work(tmp_path, monkeypatch, name, as_given):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "PATH_CHARACTERS", 400)
    prepare(tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    query, runs = probe()
    said = NO_PLACES[name].format(folder=tmp_path)
    if name == "" and as_given is Path:
        said = ". is neither a .parquet nor a .csv file"
    with pytest.raises(PanelError) as caught:
        sink_file(query, as_given(name.format(folder=tmp_path)))
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert runs == []
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", NO_PLACES)
def test_the_report_refuses_the_same_places(tmp_path, monkeypatch, name):
    monkeypatch.setattr(places, "PATH_CHARACTERS", 400)
    prepare(tmp_path)
    panel = pl.DataFrame(
        {"period": 1, "asset": ["a", "b"], "return": [0.1, 0.2], "x": [1.0, 2.0]}
    ).lazy()
    fits = fit_cross_sections(panel.map_batches(refuse, schema=panel.collect_schema()), "x")
    with pytest.raises(PanelError) as caught:
        write_report(fits, name.format(folder=tmp_path))
    assert NO_PLACES[name].format(folder=tmp_path) in str(caught.value)


def refuse(_):
    raise AssertionError("the query ran")


WRONG_KINDS = [None, b"a.csv", 5, True, 1.5, ["a.csv"], FRAME, object()]


@pytest.mark.parametrize("path", WRONG_KINDS, ids=lambda path: type(path).__name__)
def test_what_is_no_path_is_a_type_error(path):
    query, runs = probe()
    for call in (sink_file, lambda _, path: check_place(path)):
        with pytest.raises(
            TypeError, match=r"^path is .*, expected a string or a pathlib.Path$"
        ) as e:
            call(query, path)
        assert len(str(e.value)) < 120
    assert runs == []


@pytest.mark.parametrize("query", [None, "a.csv", 5, [1], pl.col("a"), {"a": [1]}])
def test_what_is_no_frame_is_a_type_error(tmp_path, query):
    with pytest.raises(TypeError, match=r"^query is ") as caught:
        sink_file(query, tmp_path / "a.csv")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.txt", r"a\.txt is neither a \.parquet nor a \.csv file$"),
        (".csv", r"\.csv is neither"),
        ("a", "a is neither"),
        ("a.csv.gz", r"\.csv\.gz files can only be read, write a \.csv file$"),
        ("a.gz", "neither"),
        ("a\nb.txt", r"a\\nb\.txt is neither"),
    ],
)
def test_another_kind_of_file_is_refused(tmp_path, name, said):
    query, runs = probe()
    with pytest.raises(PanelError, match=said):
        sink_file(query, tmp_path / name)
    assert runs == []


@pytest.mark.parametrize(
    "values",
    [
        [[1.0]],
        [{"a": 1}],
        [b"x"],
        pl.Series([1], dtype=pl.Duration),
        pl.Series([[1.0]], dtype=pl.Array(pl.Float64, 1)),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_what_csv_cannot_hold_is_refused_and_parquet_takes_it(tmp_path, values, lazy):
    frame = pl.DataFrame({"beta": values})
    with pytest.raises(
        PanelError, match=r"^column 'beta' is .*, which a \.csv file cannot hold: write \.parquet$"
    ):
        sink_file(frame.lazy() if lazy else frame, tmp_path / "a.csv")
    sink_file(frame, tmp_path / "a.parquet")
    assert_frame_equal(pl.read_parquet(tmp_path / "a.parquet"), frame)


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("ms"), pl.Datetime("ms", "Europe/Berlin")])
@pytest.mark.parametrize("lazy", [False, True])
def test_dates_that_text_cannot_hold_are_refused_and_parquet_takes_them(tmp_path, dtype, lazy):
    far = pl.Series("day", [2**31 - 1 if dtype == pl.Date else 2**62])
    frame = pl.DataFrame([far.cast(pl.Int32 if dtype == pl.Date else pl.Int64).cast(dtype)])
    with pytest.raises(PanelError, match=r"^.*a\.csv cannot be written: .*; write \.parquet$"):
        sink_file(frame.lazy() if lazy else frame, tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []
    sink_file(frame, tmp_path / "a.parquet")
    assert pl.read_parquet(tmp_path / "a.parquet").to_series().equals(frame.to_series())


def test_a_panic_of_the_query_itself_is_not_taken_for_a_date(tmp_path):
    def panic(_):
        raise pl.exceptions.PanicException("of its own")

    query = pl.LazyFrame({"a": [1]}).map_batches(panic, schema={"a": pl.Int64})
    with pytest.raises(BaseException, match="of its own") as caught:
        sink_file(query, tmp_path / "a.csv")
    assert not isinstance(caught.value, PanelError)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_files_is_named_not_a_temporary_one(tmp_path, monkeypatch):
    def no(**given):
        raise PermissionError(13, "Permission denied", f"{given['dir']}/tmp123")

    monkeypatch.setattr(places.tempfile, "mkdtemp", no)
    query, runs = probe()
    with pytest.raises(PanelError) as caught:
        sink_file(query, tmp_path / "a.csv")
    assert "a.csv cannot be written: its folder takes no new files (Permission denied)" in str(
        caught.value
    )
    assert "tmp123" not in str(caught.value)
    assert runs == []


FULL = """
import resource, signal, sys
import polars as pl
from vbase_py_utils import PanelError, sink_file

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
frame = pl.DataFrame({"a": range(100_000)}).with_columns(pl.col("a").hash())
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for given in (frame, frame.lazy()):
    try:
        sink_file(given, sys.argv[1])
    except PanelError as error:
        print(error)
"""


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_disk_that_takes_no_more_names_the_target(tmp_path, suffix):
    target = tmp_path / f"a{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", FULL, target], capture_output=True, text=True, check=True
    )
    reason = os.strerror(27)
    assert done.stdout == f"{places.named(target)} cannot be written: {reason}\n" * 2
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_replaced_is_named(tmp_path):
    """A directory that appears there while the query runs."""
    target = tmp_path / "a.csv"

    def appear(rows):
        (target / "inside").mkdir(parents=True)
        return rows

    query = FRAME.lazy().map_batches(appear, schema=FRAME.schema)
    with pytest.raises(PanelError, match=r"a\.csv cannot be written: Is a directory$"):
        sink_file(query, target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("error", [FileNotFoundError(2, "no", "panel.csv"), OSError("odd")])
def test_what_the_work_raises_itself_passes(tmp_path, error):
    with pytest.raises(type(error)) as caught, whole_file(tmp_path / "a.csv"):
        raise error
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


def test_the_own_missing_file_of_a_query_is_not_taken_for_the_target(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"panel\.parquet"):
        sink_file(pl.scan_parquet(tmp_path / "panel.parquet"), tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("ms"), pl.Datetime("us", "UTC")])
def test_dates_that_text_cannot_hold_leave_no_csv_file(tmp_path, lazy, dtype):
    last = 2**31 - 1 if dtype == pl.Date else 2**63 - 1
    far = pl.DataFrame({"period": pl.Series([0, last], dtype=pl.Int64).cast(dtype)})
    frame = far.lazy() if lazy else far
    target = tmp_path / "o.csv"
    with pytest.raises(PanelError, match=r"o\.csv cannot be written: it holds a date or time bey"):
        sink_file(frame, target)
    assert list(tmp_path.iterdir()) == []
    sink_file(frame, target.with_suffix(".parquet"))
    assert_frame_equal(pl.read_parquet(target.with_suffix(".parquet")), far)
