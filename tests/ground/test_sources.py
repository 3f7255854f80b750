"""Frames of other libraries: columns nobody named stop nothing, needed ones are converted or named.

The columns here are of kinds that Polars has no type for, or another one than pandas or Arrow.
"""

from __future__ import annotations

import copy
import datetime as dt
import io
import re
import uuid
import warnings
from decimal import Decimal
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet
import pytest
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

N = 24
# Of a pandas frame: each gives a column of N values. The lists are of objects.
ODD_PANDAS = {
    "mixed objects": lambda: [1, "a", None, 2.5] * 6,
    "Python objects": lambda: [object()] * N,
    "DateOffset": lambda: [pd.DateOffset(months=1)] * N,
    "functions": lambda: [len] * N,
    "sets": lambda: [{1, 2}] * N,
    "ragged": lambda: [[1], "a", {}, None] * 6,
    "Decimals": lambda: [Decimal("1.5")] * N,
    "large Decimals": lambda: [Decimal(10) ** 50] * N,
    "large integers": lambda: [2**80] * N,
    "UUIDs": lambda: [uuid.UUID(int=7)] * N,
    "dates out of range": lambda: [dt.datetime(1, 1, 1), "9999"] * 12,
    "pandas frames": lambda: [pd.DataFrame({"a": [1]})] * N,
    "interval": lambda: pd.array(pd.interval_range(0, N)),
    "period": lambda: pd.period_range("2024-01", periods=N, freq="M"),
    "offset": lambda: pd.date_range("2024-01-01", periods=N, tz="+05:30"),
    "offset of seconds": lambda: pd.date_range(
        "2024-01-01", periods=N, tz=dt.timezone(dt.timedelta(seconds=3661))
    ),
    "complex": lambda: np.full(N, 1j),
    "long double": lambda: np.ones(N, dtype=np.longdouble),
    "sparse": lambda: pd.arrays.SparseArray([0.0, 1.0] * 12),
    "categories of intervals": lambda: pd.cut(np.arange(N), 3),
    "categories of anything": lambda: pd.Categorical([1, "a", None, 2.5] * 6),
    "timedelta": lambda: pd.to_timedelta(np.arange(N), unit="s"),
    "far seconds": lambda: np.full(N, "300000000-01-01", dtype="datetime64[s]"),
}
ODD_ARROW = {
    "decimal256": lambda: pa.array([Decimal(1)] * N, pa.decimal256(50, 2)),
    "list of decimal256": lambda: pa.array([[Decimal(1)]] * N, pa.list_(pa.decimal256(50, 2))),
    "run ends": lambda: pa.RunEndEncodedArray.from_arrays([10, N], [1.0, 2.0]),
    "month_day_nano": lambda: pa.array(
        [pa.MonthDayNano([1, 2, 3])] * N, pa.month_day_nano_interval()
    ),
    "offset": lambda: pa.array(range(N), pa.timestamp("us", "+05:30")),
    "unknown zone": lambda: pa.array(range(N), pa.timestamp("us", "Mars/Olympus")),
    "offset in a struct": lambda: pa.StructArray.from_arrays(
        [pa.array(range(N), pa.timestamp("us", "+05:30"))], ["t"]
    ),
    "dictionary of numbers": lambda: pa.array([1.5, 2.5] * 12).dictionary_encode(),
    "union": lambda: pa.UnionArray.from_sparse(
        pa.array([0, 1] * 12, pa.int8()), [pa.array(range(N)), pa.array(["a"] * N)]
    ),
    "list view": lambda: pa.array([[1]] * N, pa.list_view(pa.int8())),
    "opaque": lambda: pa.ExtensionArray.from_storage(
        pa.opaque(pa.int32(), "a", "b"), pa.array(range(N), pa.int32())
    ),
    "map": lambda: pa.array([[(1, 2)]] * N, pa.map_(pa.int8(), pa.int8())),
    "nulls": lambda: pa.nulls(N),
    "far seconds": lambda: pa.array([2**62] * N, pa.timestamp("s")),
    "fixed bytes": lambda: pa.array([b"ab"] * N, pa.binary(2)),
    "half": lambda: pa.array(np.ones(N, dtype="float16")),
}


class Stream:
    """Another library's frame, which is read once."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


WAYS_OF_ARROW = {
    "Table": lambda table: table,
    "RecordBatch": lambda table: table.combine_chunks().to_batches()[0],
    "RecordBatchReader": lambda table: table.to_reader(5),
    "Dataset": pa.dataset.dataset,
    "Scanner": lambda table: pa.dataset.dataset(table).scanner(),
    "any stream": Stream,
}


def column_of(values):
    return pd.Series(values, dtype=object) if isinstance(values, list) else pd.Series(values)


def panel():
    rng = np.random.default_rng(5)
    return pl.DataFrame(
        {
            "period": pl.Series(
                [dt.datetime(2024, month, 28) for month in (1, 2, 3) for _ in range(8)],
                dtype=pl.Datetime("ms"),
            ),
            "asset": list("ABCDEFGH") * 3,
            "asset2": list("ABCDEFGH") * 3,
            "return": rng.standard_normal(N),
            "x": rng.standard_normal(N),
            "w": rng.lognormal(0, 1, N),
        }
    )


ROWS = panel()
PLACE = ROWS.columns.index("x")
FITS = fit_cross_sections(ROWS, "x", weights="w")


def of_fits(fits):
    return [
        fits.factor_returns,
        fits.coefficients,
        fits.specific_returns,
        fits.diagnostics,
        fits.bad_periods,
        fits.factor_portfolios,
    ]


FUNCTIONS = {
    "factor_returns": lambda frame: [factor_returns(frame, "x", weights="w")],
    "sorted": lambda frame: [factor_returns(frame, "x", weights="w", sorted_by_period=True)],
    "categories": lambda frame: [factor_returns(frame, "x", categories={"asset2": "w"})],
    "fit_cross_sections": lambda frame: of_fits(fit_cross_sections(frame, "x", weights="w")),
    "lag_exposures": lambda frame: [lag_exposures(frame, ["x", "w"])],
    "inverse_variance_weights": lambda frame: [
        inverse_variance_weights(frame, FITS, weights="w", min_periods=1)
    ],
}
KEEP = {"lag_exposures", "inverse_variance_weights"}


def answers(function, frame):
    """Call a function of a panel; what is left out of a panel that comes back may be warned of."""
    with warnings.catch_warnings():
        if function in KEEP:
            warnings.filterwarnings("ignore", "columns that cannot be converted", UserWarning)
        return FUNCTIONS[function](frame)


RIGHT = {function: answers(function, ROWS) for function in FUNCTIONS}


def assert_as_without(function, frame):
    """The columns of the answer that does not know of others are there, bit for bit."""
    for got, right in zip(answers(function, frame), RIGHT[function], strict=True):
        assert_frame_equal(got.select(right.columns), right, rel_tol=0, abs_tol=0)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("kind", ODD_PANDAS)
def test_a_pandas_column_that_nobody_named(kind, function):
    frame = ROWS.to_pandas()
    frame.insert(1, "odd", column_of(ODD_PANDAS[kind]()))
    before = copy.copy(frame)
    assert_as_without(function, frame)
    for name in before:
        assert frame[name].dtype == before[name].dtype
    assert list(frame) == list(before)
    assert all(a is b for a, b in zip(frame["odd"].array, before["odd"].array, strict=True)) or (
        frame["odd"].equals(before["odd"])
    )


@pytest.mark.parametrize("way", WAYS_OF_ARROW)
@pytest.mark.parametrize("kind", ODD_ARROW)
def test_an_arrow_column_that_nobody_named(kind, way):
    table = ROWS.to_arrow().add_column(1, "odd", ODD_ARROW[kind]())
    for function in FUNCTIONS:
        try:
            given = WAYS_OF_ARROW[way](table)
        except pa.ArrowException:
            pytest.skip(f"pyarrow makes no {way} of {kind}")
        assert_as_without(function, given)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "library", ["pandas", "Table", "RecordBatch", "RecordBatchReader", "any stream"]
)
def test_a_name_that_stands_twice(library, function):
    wide = ROWS
    if library == "pandas":
        frame = wide.to_pandas().assign(a=1, b="text").rename(columns={"b": "a"})
    else:
        table = wide.to_arrow().append_column("a", pa.nulls(N)).append_column("a", pa.nulls(N))
        frame = WAYS_OF_ARROW[library](table)
    assert_as_without(function, frame)


def test_a_dataset_in_which_a_name_stands_twice():
    table = ROWS.to_arrow().append_column("a", pa.nulls(N)).append_column("a", pa.nulls(N))
    dataset = pa.dataset.dataset(table)
    with pytest.raises(pa.ArrowInvalid, match="Multiple matches"):
        dataset.to_table(columns=["x"])
    with pytest.raises(PanelError) as caught:
        factor_returns(dataset, "x")
    assert str(caught.value) == (
        "panel is a pyarrow Dataset with 2 columns named 'a', which pyarrow cannot read: "
        "rename one, or pass a Table"
    )


def test_a_column_left_out_of_the_answer_is_warned_of_once():
    frame = ROWS.to_pandas().assign(note=[object()] * N, far=ODD_PANDAS["complex"](), kept=1)
    frame = pd.concat([frame, pd.DataFrame({"twice": [1] * N})], axis=1)
    frame = pd.concat([frame, pd.DataFrame({"twice": [2] * N})], axis=1)
    for call in (
        lambda: lag_exposures(frame, "x"),
        lambda: inverse_variance_weights(frame, FITS, min_periods=1),
    ):
        with pytest.warns(UserWarning, match="are left out of the answer") as caught:
            answer = call()
        (warning,) = caught
        message = str(warning.message)
        assert message == (
            "columns that cannot be converted, or share a name, are left out of the "
            "answer: 'note' (object), 'far' (complex128), 'twice' (int64) and 1 more"
        )
        assert len(message) <= 300
        assert warning.filename == __file__
        assert answer.columns[:7] == [*ROWS.columns, "kept"]
        assert answer["kept"].to_list() == [1] * N
        assert not {"note", "far", "twice"} & set(answer.columns)


def test_columns_that_convert_come_back():
    table = ROWS.to_arrow()
    kept = {
        "n": pa.array(range(N)),
        "text": pa.array(["t"] * N),
        "list": pa.array([[1, 2]] * N),
        "day": pa.array(range(N), pa.date32()),
        "opaque": ODD_ARROW["opaque"](),
    }
    for name, values in kept.items():
        table = table.append_column(name, values)
    answer = lag_exposures(table, "x")
    assert answer.columns == table.column_names
    for name in kept:
        assert answer[name].to_list() == table[name].to_pylist()


NEEDED = ["mixed objects", "Python objects", "DateOffset", "complex", "sparse", "far seconds"]


@pytest.mark.parametrize("role", ["period", "asset", "return", "x", "w"])
@pytest.mark.parametrize("kind", NEEDED)
def test_a_needed_pandas_column_that_cannot_be_converted(kind, role):
    frame = ROWS.to_pandas()
    frame[role] = column_of(ODD_PANDAS[kind]())
    for function in ("factor_returns", "fit_cross_sections", "lag_exposures"):
        if function == "lag_exposures" and role == "return":
            continue
        with pytest.raises(PanelError) as caught:
            answers(function, frame)
        assert_one_line(caught.value)
        dtype = re.escape(str(frame[role].dtype))
        assert re.match(f"^panel column '{role}' is {dtype}, which cannot", str(caught.value))


@pytest.mark.parametrize("way", WAYS_OF_ARROW)
@pytest.mark.parametrize(
    "kind", ["decimal256", "run ends", "month_day_nano", "union", "list view", "far seconds"]
)
def test_a_needed_arrow_column_that_cannot_be_converted(kind, way):
    table = ROWS.to_arrow()
    odd = ODD_ARROW[kind]()
    table = table.set_column(PLACE, "x", odd)
    for function in ("factor_returns", "fit_cross_sections", "lag_exposures"):
        try:
            given = WAYS_OF_ARROW[way](table)
        except pa.ArrowException:
            pytest.skip(f"pyarrow makes no {way} of {kind}")
        with pytest.raises(PanelError) as caught:
            answers(function, given)
        assert_one_line(caught.value)
        assert str(caught.value).startswith(f"panel column 'x' is {str(odd.type)[:20]}")


def assert_one_line(error):
    message = str(error)
    assert message.isprintable()
    assert len(message) <= 300


def test_a_needed_name_that_stands_twice():
    frame = ROWS.to_pandas()
    twice = pd.concat([frame, frame[["x"]]], axis=1)
    table = ROWS.to_arrow().append_column("x", pa.nulls(N))
    for given in (twice, table):
        for function in ("factor_returns", "fit_cross_sections", "lag_exposures"):
            with pytest.raises(PanelError, match=r"^panel has 2 columns named 'x', expected one$"):
                answers(function, given)


@pytest.mark.parametrize("storage", [pa.int8(), pa.float64()])
def test_an_extension_type_is_what_it_stores(storage):
    values = pa.array([0, 1, 0, 1, 1, 0, 0, 1] * 3, storage)
    odd = pa.ExtensionArray.from_storage(pa.opaque(storage, "kind", "maker"), values)
    table = ROWS.to_arrow()
    plain = table.set_column(PLACE, "x", values)
    assert_frame_equal(
        factor_returns(table.set_column(PLACE, "x", odd), "x"), factor_returns(plain, "x")
    )


def test_an_interval_as_a_needed_column_is_refused():
    frame = ROWS.to_pandas().assign(i=ODD_PANDAS["interval"]())
    for given in (frame, pl.DataFrame(frame), pl.LazyFrame(pl.DataFrame(frame))):
        with pytest.raises(PanelError, match="exposure column 'i' is Extension"):
            factor_returns(given, "i")
        with pytest.raises(PanelError, match="period column 'i' is Extension"):
            factor_returns(given, "x", period="i")
        with pytest.raises(PanelError, match="period column 'i' is Extension"):
            lag_exposures(given, "x", period="i")


@pytest.mark.parametrize("library", ["pandas", *WAYS_OF_ARROW, "Polars"])
def test_missing_columns_list_what_there_is(library):
    if library == "Polars":
        given = ROWS
    elif library == "pandas":
        given = ROWS.to_pandas()
    else:
        given = WAYS_OF_ARROW[library](ROWS.to_arrow())
    with pytest.raises(PanelError) as caught:
        factor_returns(given, "no such")
    assert "'no such'" in str(caught.value)
    for name in ("period", "asset", "return"):
        assert repr(name) in str(caught.value)


LABELS = {1: "whole number", None: "None", ("a", "b"): "tuple", dt.date(2024, 1, 1): "date"}


@pytest.mark.parametrize("label", LABELS, ids=list(LABELS.values()))
def test_labels_of_pandas_columns_are_named_by_their_text(label):
    frame = ROWS.to_pandas()
    frame.columns = pd.Index([*frame.columns[:4], label, "w"], dtype=object, tupleize_cols=False)
    right = ROWS.rename({"x": str(label)})
    assert_frame_equal(factor_returns(frame, str(label)), factor_returns(right, str(label)))
    assert_frame_equal(lag_exposures(frame, str(label)), lag_exposures(right, str(label)))


def test_labels_of_the_same_text_are_one_name_twice():
    frame = ROWS.to_pandas().rename(columns={"x": 1, "w": "1"})
    with pytest.raises(PanelError, match=r"^panel has 2 columns named '1', expected one$"):
        factor_returns(frame, "1")


@pytest.mark.parametrize(
    ("index", "holds"),
    [
        (["period"], "holds 'period'"),
        (["period", "asset"], "holds 'period', 'asset'"),
    ],
)
def test_keys_in_a_pandas_index(index, holds):
    frame = ROWS.to_pandas().set_index(index)
    missing = ("column " if len(index) == 1 else "columns ") + ", ".join(map(repr, index))
    for function in ("factor_returns", "fit_cross_sections", *KEEP):
        with pytest.raises(PanelError) as caught:
            answers(function, frame)
        assert str(caught.value) == (
            f"panel has no {missing}, but its pandas index {holds}: "
            "turn the index into columns with reset_index()"
        )
        assert_as_without(function, frame.reset_index()[ROWS.columns])


def test_keys_in_a_pandas_index_of_another_name():
    frame = ROWS.to_pandas().set_index(["period", "asset"])
    with pytest.raises(PanelError, match="index holds 'date', 'id': turn the index"):
        factor_returns(frame.rename_axis(["date", "id"]), "x")
    with pytest.raises(PanelError, match="index has no name: turn the index"):
        factor_returns(frame.rename_axis([None, None]), "x")
    # A frame with its keys as columns is not asked about its index.
    counted = frame.reset_index().set_index(pd.Index(range(100, 100 + N), name="row"))
    with pytest.raises(PanelError, match="exposure column 'y' is not in the panel"):
        factor_returns(counted, "y")


def test_only_the_named_columns_of_a_dataset_are_read(tmp_path):
    """The csv file is not one that could be read whole: another column is no number as it says."""
    file = tmp_path / "panel.csv"
    text = ROWS.with_columns(pl.lit("no number").alias("n")).write_csv()
    file.write_text(text, encoding="utf-8")
    schema = ROWS.to_arrow().schema.append(pa.field("n", pa.int64()))
    dataset = pa.dataset.dataset(file, schema=schema, format="csv")
    assert_frame_equal(
        factor_returns(dataset, "x", weights="w"),
        factor_returns(ROWS, "x", weights="w"),
        rel_tol=1e-9,
    )
    with pytest.raises(PanelError, match=r"^panel cannot be read: ") as caught:
        factor_returns(dataset, "n")
    assert_one_line(caught.value)


def test_a_dataset_of_several_files_with_strange_names(tmp_path):
    names = {"x": "a.b", "w": "^w.*$"}
    for number, part in enumerate(ROWS.rename(names).iter_slices(8)):
        part.write_parquet(tmp_path / f"{number}.parquet")
    dataset = pa.dataset.dataset(tmp_path)
    right = factor_returns(ROWS, "x", weights="w").rename({"x": "a.b"})
    assert_frame_equal(factor_returns(dataset, "a.b", weights="^w.*$"), right)


def test_an_empty_reader_and_one_that_fails():
    schema = ROWS.to_arrow().schema
    empty = pa.RecordBatchReader.from_batches(schema, [])
    assert factor_returns(empty, "x").is_empty()

    def batches():
        yield ROWS.to_arrow().to_batches()[0]
        raise pa.ArrowInvalid("torn\nin two")

    failing = pa.RecordBatchReader.from_batches(schema, batches())
    with pytest.raises(PanelError, match=r"^panel cannot be read: .*torn") as caught:
        factor_returns(failing, "x")
    assert_one_line(caught.value)


def test_a_reader_that_has_been_read_is_no_empty_panel():
    """Arrow gives no rows the second time, which would look like an answer."""
    reader = ROWS.to_arrow().to_reader(5)
    with pytest.raises(PanelError, match="exposure column 'y' is not in the panel"):
        factor_returns(reader, "y")
    # That read nothing: the rows are still there.
    fits = fit_cross_sections(reader, "x", weights="w")
    for got, right in zip(of_fits(fits), RIGHT["fit_cross_sections"], strict=True):
        assert_frame_equal(got, right)
    for function in FUNCTIONS:
        with pytest.raises(
            PanelError, match=r"^panel is a RecordBatchReader that .* read"
        ) as caught:
            answers(function, reader)
        assert_one_line(caught.value)
        # Its traceback would keep the reader until a garbage collection. If that happens inside a
        # function that Polars calls, Python 3.13 crashes: pyarrow frees the reader without the
        # interpreter's lock, and Polars then frees an array of NumPy.
        del caught
    wide = fits.factor_returns.to_arrow().to_reader()
    with pytest.raises(PanelError, match=r"^estimated is a RecordBatchReader that .* read"):
        plots.true_against_estimated(wide, wide)


@pytest.mark.parametrize("library", ["pandas", *WAYS_OF_ARROW])
@pytest.mark.parametrize("role", ["period", "asset", "x"])
def test_a_column_whose_name_is_empty(library, role):
    """Polars calls a column without a name "column_0" in some ways to make a frame."""
    renamed = ROWS.rename({role: ""})
    names = {"period": "period", "asset": "asset", "x": "x"} | {role: ""}
    keys = {"period": names["period"], "asset": names["asset"]}

    def given():
        if library == "pandas":
            return renamed.to_pandas()
        return WAYS_OF_ARROW[library](renamed.to_arrow())

    assert_frame_equal(
        factor_returns(given(), names["x"], **keys), factor_returns(renamed, names["x"], **keys)
    )
    assert_frame_equal(lag_exposures(given(), "w", **keys), lag_exposures(renamed, "w", **keys))


def test_numbers_that_pandas_changes_later_change_no_answer():
    frame = ROWS.drop("x").to_pandas().assign(x=ROWS["x"].to_numpy(writable=True))
    fits = fit_cross_sections(frame, "x", weights="w")
    back = lag_exposures(frame, "return")
    lazy = fit_cross_sections(frame, cs.by_name("x"), weights="w")
    frame.loc[:, ["x", "w", "return"]] = -7.0
    assert (frame["x"] == -7).all()
    for changed in (fits, lazy):
        for got, right in zip(of_fits(changed), RIGHT["fit_cross_sections"], strict=True):
            assert_frame_equal(got, right)
    assert_frame_equal(back, lag_exposures(ROWS, "return"), check_column_order=False)


def test_types_of_polars_in_a_stream():
    """Enums stay such, and a type that pyarrow does not know stops nothing."""
    frame = ROWS.with_columns(
        pl.col("asset2").cast(pl.Enum([*"HGFEDCBA"])), pl.lit(1).cast(pl.Int128).alias("big")
    )
    assert_frame_equal(
        factor_returns(Stream(frame), "x", categories={"asset2": None}),
        factor_returns(frame, "x", categories={"asset2": None}),
    )
    assert_frame_equal(lag_exposures(Stream(frame), "x"), lag_exposures(frame, "x"))


# Time zones -------------------------------------------------------------------------------------


def instants():
    """The instants of the periods, as at midnight in +05:30."""
    return ROWS["period"].cast(pl.Datetime("us")).dt.offset_by("-5h30m").dt.replace_time_zone("UTC")


@pytest.mark.parametrize("zone", ["+05:30", "-03:30", "+0530", "UTC+05:30", "Mars/Olympus"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_arrow_keys_at_an_offset_are_the_same_instants_in_utc(zone, unit):
    right = ROWS.with_columns(instants().alias("period"))
    plain = pa.array(right["period"].dt.epoch("s").to_list(), pa.timestamp("s"))
    keys = plain.cast(pa.timestamp(unit)).cast(pa.int64()).cast(pa.timestamp(unit, zone))
    table = ROWS.to_arrow().set_column(0, "period", keys)
    kept = "ms" if unit == "s" else unit
    answer = factor_returns(table, "x")
    assert answer.schema["period"] == pl.Datetime(kept, "UTC")
    assert_frame_equal(
        answer, factor_returns(right.cast({"period": pl.Datetime(kept, "UTC")}), "x")
    )
    assert lag_exposures(table, "x")["period"].dtype == pl.Datetime(kept, "UTC")


@pytest.mark.parametrize(
    "zone",
    ["+05:30", dt.timezone(dt.timedelta(hours=-3.5)), dt.timezone(dt.timedelta(seconds=3661))],
)
def test_pandas_keys_at_an_offset_are_the_same_instants_in_utc(zone):
    times = pd.to_datetime(ROWS["period"].to_pandas()).dt.tz_localize(zone)
    frame = ROWS.to_pandas().assign(period=times)
    answer = factor_returns(frame, "x")
    assert answer.schema["period"].time_zone == "UTC"
    assert answer["period"].to_list() == sorted(
        {t.tz_convert("UTC").to_pydatetime() for t in times}
    )
    assert answer["x"].to_list() == factor_returns(ROWS, "x")["x"].to_list()


def test_an_offset_of_whole_hours_is_the_zone_that_polars_has_for_it():
    times = pa.array(ROWS["period"].dt.epoch("us").to_list(), pa.timestamp("us", "-03:00"))
    answer = factor_returns(ROWS.to_arrow().set_column(0, "period", times), "x")
    assert answer.schema["period"] == pl.Datetime("us", "Etc/GMT+3")
    plain = answer["period"].dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    assert plain.to_list() == ROWS["period"].unique().sort().to_list()


def test_a_file_at_an_offset_is_read_as_a_dataset(tmp_path):
    times = pa.array(ROWS["period"].dt.epoch("us").to_list(), pa.timestamp("us", "+05:30"))
    table = ROWS.to_arrow().set_column(0, "period", times)
    pa.parquet.write_table(table, tmp_path / "panel.parquet")
    with pytest.raises(PanelError, match=r"open the file as a pyarrow Dataset$") as caught:
        factor_returns(pl.scan_parquet(tmp_path / "panel.parquet"), "x")
    assert_one_line(caught.value)
    assert_frame_equal(
        factor_returns(pa.dataset.dataset(tmp_path / "panel.parquet"), "x"),
        factor_returns(table, "x"),
    )


def test_a_zone_that_polars_knows_stays():
    times = pd.to_datetime(ROWS["period"].to_pandas()).dt.tz_localize("Asia/Kolkata")
    answer = factor_returns(ROWS.to_pandas().assign(period=times), "x")
    assert answer.schema["period"].time_zone == "Asia/Kolkata"


# Frames of factor returns, and of charts ----------------------------------------------------------


@pytest.mark.parametrize("kind", ODD_PANDAS)
def test_each_column_beside_factor_returns_counts(kind):
    """A frame of factor returns holds nothing else: a column that is no number is no factor."""
    frame = factor_returns(ROWS, "x").to_pandas()
    frame["odd"] = column_of(ODD_PANDAS[kind]())[:3]
    for call in (fama_macbeth, plots.cumulative_returns, plots.correlations):
        if kind == "Decimals":
            call(frame)
            continue
        with pytest.raises(PanelError, match="column 'odd' is ") as caught:
            call(frame)
        assert_one_line(caught.value)


def drawn(ax):
    """Draw a chart, as bytes."""
    file = io.BytesIO()
    ax.figure.savefig(file, format="raw", dpi=40)
    plt.close(ax.figure)
    return file.getvalue()


CHARTS = {
    "confidence_bands": "coefficients",
    "fit_quality": "diagnostics",
    "robustness_weights": "specific_returns",
}


@pytest.mark.parametrize("kind", ["mixed objects", "complex", "offset", "DateOffset", "interval"])
@pytest.mark.parametrize("chart", CHARTS)
def test_a_column_of_a_table_that_nobody_named(chart, kind):
    draw = getattr(plots, chart)
    table = getattr(FITS, CHARTS[chart]).to_pandas()
    odd = column_of(ODD_PANDAS[kind]()).head(len(table))
    assert drawn(draw(table.assign(odd=odd))) == drawn(draw(getattr(FITS, CHARTS[chart])))


def test_a_column_of_premia_that_nobody_named():
    premia = fama_macbeth(FITS).to_pandas().assign(odd=[object()])
    assert drawn(plots.t_values(premia)) == drawn(plots.t_values(fama_macbeth(FITS)))


def test_a_report_of_a_panel_with_odd_columns(tmp_path):
    """Its pictures hold no time of writing, so that the pages are the same."""
    frame = ROWS.to_pandas().assign(odd=ODD_PANDAS["mixed objects"](), other=[object()] * N)
    pages = []
    for given in (frame, ROWS):
        write_report(fit_cross_sections(given, "x"), tmp_path / "report.html")
        pages.append((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1]


# Spark --------------------------------------------------------------------------------------------


def spark_like(module, name="DataFrame"):
    """A frame as Spark's, which would export a stream; nothing of it may be read."""

    def pulled(*_):
        raise AssertionError("the frame is pulled")

    methods = dict.fromkeys(["__arrow_c_stream__", "toArrow", "toPandas", "collect"], pulled)
    return type(name, (), {"__module__": module, **methods})()


SPARK = ["pyspark.sql.dataframe", "pyspark.sql.connect.dataframe", "pyspark.pandas.frame"]


@pytest.mark.parametrize("module", SPARK)
def test_a_spark_frame_is_refused(module):
    frame = spark_like(module)
    sub = type("Mine", (type(frame),), {"__module__": "mine"})()
    calls = {
        "panel": [
            lambda given: factor_returns(given, "x"),
            lambda given: fit_cross_sections(given, "x"),
            lambda given: lag_exposures(given, "x"),
            lambda given: inverse_variance_weights(given, FITS),
        ],
        "factor_returns": [fama_macbeth, plots.cumulative_returns, plots.correlations],
        "coefficients": [plots.confidence_bands],
        "premia": [plots.t_values],
        "diagnostics": [plots.fit_quality],
        "specific_returns": [plots.robustness_weights],
    }
    for argument, functions in calls.items():
        for call in functions:
            for given in (frame, sub):
                with pytest.raises(TypeError) as caught:
                    call(given)
                message = str(caught.value)
                assert message.startswith(f"{argument} is a Spark ")
                assert "toArrow()" in message
                assert "pl.scan_parquet" in message
                assert_one_line(message)


def test_spark_frames_to_charts_of_two_and_the_report(tmp_path):
    frame = spark_like(SPARK[0])
    for draw in (plots.true_against_estimated, plots.robust_against_least_squares):
        for given in ((frame, FITS), (FITS, frame)):
            with pytest.raises(TypeError, match="is a Spark DataFrame"):
                draw(*given)
    with pytest.raises(TypeError, match="fits is a DataFrame"):
        write_report(frame, tmp_path / "report.html")


def test_other_modules_of_that_beginning_are_no_spark():
    other = SimpleNamespace(frame=spark_like("pysparkling.frame"))
    with pytest.raises(AssertionError, match="the frame is pulled"):
        factor_returns(other.frame, "x")


@pytest.mark.parametrize("call", [factor_returns, fit_cross_sections])
def test_a_selector_is_not_disturbed_by_columns_that_nobody_named(call):
    # Warnings are errors here: of a column that is in no answer there is nothing to say.
    polars = pl.DataFrame(
        {
            "period": np.repeat([1, 2], 10),
            "asset": np.tile(np.arange(10), 2),
            "return": np.random.default_rng(1).standard_normal(20),
            "x": np.random.default_rng(2).standard_normal(20),
        }
    )
    frame = polars.to_pandas()
    frame["odd"] = [object()] * 20
    found, expected = (call(given, cs.by_name("x")) for given in (frame, polars))
    if call is fit_cross_sections:
        found, expected = found.coefficients, expected.coefficients
    assert_frame_equal(found, expected, check_exact=True)
    with pytest.raises(PanelError, match=r"^exposures is a selector whose columns are not"):
        call(frame, cs.by_name("odd"))
