"""Every way a panel can be unusable, with the text of its message, on the eager and lazy path."""

from __future__ import annotations

import polars as pl
import pytest

from vbase_py_utils import PanelError, VbaseError, factor_returns

PANEL = pl.DataFrame(
    {
        "period": [1, 1, 1, 2, 2, 2],
        "asset": ["A", "B", "C", "A", "B", "C"],
        "return": [0.1, 0.2, 0.3, 0.1, 0.2, 0.3],
        "weight": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        "beta": [1.0, 2.0, 3.0, 1.0, 2.0, 3.5],
    }
)
COLUMNS = "'period', 'asset', 'return', 'weight', 'beta'"


def changed(**columns):
    return PANEL.with_columns(**columns)


def at(row, value, column):
    """``column`` with ``value`` put into a row."""
    return pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value)).otherwise(column)


BAD_SCHEMAS = {
    "missing return": (
        PANEL,
        {"returns": "ret"},
        "returns column 'ret' is not in the panel (did you mean 'return'?); "
        f"it has 5 columns: {COLUMNS}",
    ),
    "missing period": (
        PANEL,
        {"period": "date"},
        f"period column 'date' is not in the panel; it has 5 columns: {COLUMNS}",
    ),
    "missing exposures": (
        PANEL,
        {"exposures": ["beta", "size", "value"]},
        f"exposure columns 'size', 'value' are not in the panel; it has 5 columns: {COLUMNS}",
    ),
    "missing weights": (
        PANEL,
        {"weights": "cap"},
        f"weights column 'cap' is not in the panel; it has 5 columns: {COLUMNS}",
    ),
    "no columns at all": (
        pl.DataFrame(),
        {},
        "period column 'period' is not in the panel; it has no columns",
    ),
    "text exposure": (
        changed(beta=pl.col("beta").cast(pl.String)),
        {},
        "exposure column 'beta' is String, expected a numeric type: cast it first",
    ),
    "text return": (
        changed(**{"return": pl.lit("x")}),
        {},
        "returns column 'return' is String, expected a numeric type: cast it first",
    ),
    "date weights": (
        changed(weight=pl.date(2020, 1, 1)),
        {"weights": "weight"},
        "weights column 'weight' is Date, expected a numeric type: cast it first",
    ),
    "Boolean return": (
        changed(**{"return": pl.lit(True)}),
        {},
        "returns column 'return' is Boolean, expected a numeric type: cast it first",
    ),
    "list period": (
        changed(period=pl.concat_list("period")),
        {},
        "period column 'period' is List(Int64), "
        "expected a plain type such as a date, a string or an integer",
    ),
    "no exposures": (PANEL, {"exposures": []}, "no exposures given, expected at least one column"),
    "repeated exposure": (
        PANEL,
        {"exposures": ["beta", "beta"]},
        "exposures named more than once: 'beta'; expected each name once",
    ),
    "exposure named like the period": (
        PANEL,
        {"exposures": ["beta", "period"]},
        "column 'period' is named as period and as exposure, expected a column for each",
    ),
    "exposure named like the asset": (
        PANEL,
        {"exposures": ["asset"]},
        "column 'asset' is named as asset and as exposure, expected a column for each",
    ),
    "one column for both keys": (
        PANEL,
        {"asset": "period"},
        "column 'period' is named as period and as asset, expected a column for each",
    ),
    "returns named like the period": (
        PANEL,
        {"returns": "period"},
        "column 'period' is named as period and as returns, expected a column for each",
    ),
    "weights named like the asset": (
        PANEL,
        {"weights": "asset"},
        "column 'asset' is named as asset and as weights, expected a column for each",
    ),
}


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize("case", BAD_SCHEMAS)
def test_names_and_types_are_checked_when_the_function_is_called(case, lazy):
    panel, arguments, message = BAD_SCHEMAS[case]
    with pytest.raises(PanelError) as caught:
        factor_returns(panel.lazy() if lazy else panel, **{"exposures": "beta", **arguments})
    assert str(caught.value).startswith(message)


BAD_VALUES = {
    "null period": (
        changed(period=at(4, None, pl.col("period"))),
        "period column 'period' is null in {}1 row, for example where asset is B; "
        "expected a value in every row",
    ),
    "null asset": (
        changed(asset=pl.when(pl.col("period") == 2).then(pl.col("asset"))),
        "asset column 'asset' is null in {}3 rows, for example where period is 1; "
        "expected a value in every row",
    ),
    "NaN period": (
        changed(period=at(0, float("nan"), pl.col("period").cast(pl.Float64))),
        "period column 'period' is null in {}1 row, for example where asset is A; "
        "expected a value in every row",
    ),
    "duplicate rows": (
        changed(asset=at(5, "A", pl.col("asset"))),
        "{}2 rows share a ('period', 'asset') key, for example (2, A); "
        "expected one row per period and asset",
    ),
    "negative weights": (
        changed(weight=at(2, -1.5, pl.col("weight"))),
        "weights column 'weight' is negative in {}1 row, for example -1.5 at (1, C); "
        "expected weights >= 0",
    ),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_values_are_checked_when_the_query_runs(case):
    panel, message = BAD_VALUES[case]
    with pytest.raises(PanelError) as caught:
        factor_returns(panel, "beta", weights="weight")
    assert str(caught.value) == message.format("")
    query = factor_returns(panel.lazy(), "beta", weights="weight")
    with pytest.raises(PanelError) as caught:
        query.collect()
    assert str(caught.value) == message.format("at least ")


def test_the_eager_count_is_of_the_whole_panel():
    panel = pl.concat([PANEL.with_columns(pl.col("period") + 10 * i) for i in range(50)])
    panel = panel.with_columns(weight=-pl.col("weight"))
    with pytest.raises(PanelError, match="is negative in 300 rows"):
        factor_returns(panel, "beta", weights="weight")


def test_errors_can_be_caught_as_their_own_kind_and_as_value_errors():
    assert issubclass(PanelError, VbaseError)
    assert issubclass(PanelError, ValueError)


@pytest.mark.parametrize("panel", [None, {"period": [1]}, [1, 2], "panel.parquet"])
def test_other_kinds_of_panel_are_refused(panel):
    with pytest.raises(
        TypeError,
        match=r"panel is (None|a \w+|'panel.parquet'), expected a Polars DataFrame or LazyFrame",
    ):
        factor_returns(panel, "beta")


def test_column_names_are_strings():
    with pytest.raises(TypeError, match=r"^exposures holds 3, expected a list of column names"):
        factor_returns(PANEL, ["beta", 3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_failure": "ignore"}, "on_failure is 'ignore', expected 'null' or 'raise'"),
        ({"cov_type": "HC3"}, "cov_type is 'HC3', expected 'HC2', 'sandwich' or 'H1'"),
        ({"huber_t": -1.0}, "huber_t is -1.0, expected a number > 0 or infinity"),
    ],
)
def test_options_out_of_range(arguments, message):
    with pytest.raises(ValueError, match="expected") as caught:
        factor_returns(PANEL, "beta", **arguments)
    assert str(caught.value) == message
