"""Messages stay short and on their line whatever columns, periods and assets are called."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import date

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
from polars.testing import assert_frame_equal

from vbase_py_utils import (
    FitError,
    PanelError,
    VbaseError,
    cap_weights,
    factor_returns,
    fama_macbeth,
    fill_missing_by_group,
    fit_cross_sections,
    huber_regression,
    huber_residuals,
    inverse_variance_weights,
    lag_exposures,
    neutralize,
    plots,
    rank_normal,
    winsorize,
    zscore,
)
from vbase_py_utils.__main__ import main
from vbase_py_utils.text import listed

PANEL = pl.DataFrame(
    {
        "period": ["Jan"] * 4 + ["Feb"] * 4,
        "asset": ["A", "B", "C", "D"] * 2,
        "return": [0.01, 0.03, -0.02, 0.04, 0.05, -0.01, 0.02, 0.0],
        "beta": [1.0, 2.0, -1.0, 3.0, 2.0, -1.0, 1.0, 0.5],
        "size": [0.5, -1.0, 2.0, 1.0, 0.0, 1.0, -1.0, 2.0],
        "w": [1.0] * 8,
    }
)
ODD = {"lines": "two\nlines\r\n\n", "long": "x" * 5000, "nul": "a\0b\x1b[31m"}


def is_one_sentence(error):
    text = str(error)
    assert text.isprintable(), text
    assert len(text) <= 300, (len(text), text)
    return text


# --- keys and names with line breaks, or of thousands of characters


def row(*values):
    return pl.when(pl.int_range(pl.len()).is_in(values))


# What is wrong with the values of a panel, for every message that shows a key of it.
BAD_VALUES = {
    "null asset": lambda p: p.with_columns(row(1).then(None).otherwise("asset").alias("asset")),
    "null period": lambda p: p.with_columns(row(1).then(None).otherwise("period").alias("period")),
    "twice": lambda p: pl.concat([p, p.head(1)]),
    "negative weight": lambda p: p.with_columns(row(2).then(-1.0).otherwise("w").alias("w")),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("fault", BAD_VALUES)
def test_a_bad_value_of_a_panel_with_odd_keys(odd, fault):
    name = ODD[odd]
    keys = (pl.col(key) + name for key in ("period", "asset"))
    panel = BAD_VALUES[fault](PANEL.with_columns(keys))
    renamed = panel.rename({column: column + name for column in panel.columns})
    columns = {"period": "period", "asset": "asset", "weights": "w", "returns": "return"}
    for frame, role in (
        (panel, columns),
        (renamed, {key: column + name for key, column in columns.items()}),
    ):
        exposure = frame.columns[3]
        for call in (
            lambda f, e=exposure, r=role: factor_returns(f, e, **r),
            lambda f, e=exposure, r=role: fit_cross_sections(f, e, **r),
            lambda f, e=exposure, r=role: factor_returns(f.lazy(), e, **r).collect(),
        ):
            with pytest.raises(PanelError) as caught:
                call(frame)
            is_one_sentence(caught.value)
        if fault != "negative weight":
            keys = {key: role[key] for key in ("period", "asset")}
            with pytest.raises(PanelError) as caught:
                lag_exposures(frame, exposure, **keys)
            is_one_sentence(caught.value)


@pytest.mark.parametrize("odd", ODD)
def test_periods_in_no_order_and_periods_that_fail(odd):
    name = ODD[odd]
    panel = PANEL.with_columns(pl.col("period") + name, twice=2 * pl.col("beta"))
    with pytest.raises(PanelError, match=r"^sorted_by_period=True needs the order of") as caught:
        factor_returns(panel, "beta", sorted_by_period=True)
    is_one_sentence(caught.value)
    ordered = panel.with_columns(panel["period"].cast(pl.Enum(panel["period"].unique().sort())))
    with pytest.raises(PanelError, match=r"^period column 'period' is not sorted: ") as caught:
        factor_returns(ordered, "beta", sorted_by_period=True)
    is_one_sentence(caught.value)
    for given in (panel, panel.lazy()):
        with pytest.raises(FitError, match=r"^the fit of 2 of 2 periods failed, for ") as caught:
            factor_returns(given, ["beta", "twice"], on_failure="raise").lazy().collect()
        assert is_one_sentence(caught.value).count("rank_deficient") == 1
    many = panel.with_columns(pl.col("beta").alias(f"{name}{i}") for i in range(20))
    with pytest.raises(FitError) as caught:
        factor_returns(many, cs.starts_with(name), on_failure="raise")
    is_one_sentence(caught.value)
    rows = pl.concat([panel, many.select(panel.columns).with_columns(pl.col("period") + "!")])
    twins = [f"{name}{i}" for i in range(2)]
    twice = rows.with_columns(pl.lit("a").cast(pl.Enum(["a"])).alias(twin) for twin in twins)
    with pytest.raises(FitError) as caught:
        fit_cross_sections(
            twice.with_columns(pl.lit(None, pl.Float64).alias("return")),
            [],
            intercept=True,
            categories=dict.fromkeys(twins),
            on_failure="raise",
        )
    is_one_sentence(caught.value)


@pytest.mark.parametrize("odd", ODD)
def test_names_of_columns_that_are_wrong(odd):
    name = ODD[odd]
    names = [f"{name}{i}" for i in range(30)]
    wide = PANEL.with_columns(pl.lit("text").alias(n) for n in names)
    absent = [f"{name} and {i}" for i in range(30)]
    fits = fit_cross_sections(PANEL, "beta")
    for call in (
        lambda: factor_returns(PANEL, absent),
        lambda: factor_returns(wide, absent),
        lambda: factor_returns(wide, names),
        lambda: factor_returns(wide, names * 2),
        lambda: factor_returns(wide, "beta", returns=names[0]),
        lambda: factor_returns(wide, "beta", period=names[0], asset=names[0]),
        lambda: factor_returns(wide, "beta", period=absent[0]),
        lambda: factor_returns(wide, [], categories={names[0]: names[0]}),
        lambda: factor_returns(wide.lazy(), [], categories=dict.fromkeys(names)),
        lambda: factor_returns(wide, [], categories={names[0]: absent[0]}),
        lambda: factor_returns(wide, cs.by_name(absent)),
        lambda: lag_exposures(wide, absent),
        lambda: lag_exposures(wide, names * 2),
        lambda: inverse_variance_weights(wide, fits, weights=names[0]),
        lambda: inverse_variance_weights(wide, fits, name=names[0]),
        lambda: fama_macbeth(wide.select("period", *names)),
        lambda: plots.cumulative_returns(wide.select("size", *names[:0]), period=absent[0]),
        lambda: plots.cumulative_returns(
            PANEL.select("period", "beta").unique("period").rename({"beta": name}), factors=absent
        ),
        lambda: plots.t_values(wide),
    ):
        with pytest.raises(PanelError) as caught:
            call()
        is_one_sentence(caught.value)


def test_types_of_thousands_of_categories_are_cut():
    enum = pl.Enum([f"category {i}" for i in range(5000)])
    panel = PANEL.with_columns(pl.lit("category 3").cast(enum).alias("beta"))
    with pytest.raises(PanelError, match=r"^exposure column 'beta' is Enum") as caught:
        factor_returns(panel, "beta")
    is_one_sentence(caught.value)
    with pytest.raises(PanelError, match=r"^asset column 'asset' is Struct") as caught:
        factor_returns(panel.with_columns(pl.struct(pl.all()).alias("asset")), "size")
    is_one_sentence(caught.value)


def test_the_command_line_keeps_labels_on_their_line(tmp_path, capsys):
    path = tmp_path / "panel.parquet"
    PANEL.with_columns(pl.col("period") + "\nnext", twice=2 * pl.col("beta")).write_parquet(path)
    assert main(["--panel", str(path), "--exposures", "beta,twice", "--returns", "return"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "0 of 2 periods converged"
    assert [line.split(": ")[1] for line in lines[1:]] == ["rank_deficient"] * 2
    assert lines[1].startswith(r"  Feb\nnext: rank_deficient: exposures 'beta', 'twice' are lin")


def test_pandas_labels_keep_their_line():
    pd = pytest.importorskip("pandas")
    from vbase_py_utils.stats.cross_section_regression import (
        run_cross_sectional_regression,
        run_monthly_factor_returns,
    )

    assets = ["A\nB" + "x" * 5000, "C\n"]
    returns = pd.Series([0.1, np.nan], index=assets)
    loadings = pd.DataFrame({"b\n" + "c" * 5000: [1.0, 2.0]}, index=assets)
    weights = pd.Series([1.0, -1.0], index=assets)
    for y, w in ((returns, weights), (returns, weights.abs()), (returns.iloc[:1], weights)):
        with pytest.raises(ValueError, match="expected") as caught:
            run_cross_sectional_regression(y, loadings, w)
        is_one_sentence(caught.value)
    other = weights.abs().set_axis(["Z\n" * 999, "C\n"])
    with pytest.raises(ValueError, match="expected") as caught:
        run_cross_sectional_regression(returns.fillna(0.0), loadings, other)
    is_one_sentence(caught.value)
    both = pd.MultiIndex.from_product([["Jan\n2024"], assets])
    with pytest.warns(RuntimeWarning) as warned:
        run_monthly_factor_returns(
            returns.to_frame("Jan\n2024"),
            loadings.set_axis(both),
            weights.abs().set_axis(both) * 0,
        )
    assert str(warned[0].message) == (
        r"1 of 1 periods without a converged answer. Jan\n2024: "
        "too_few_assets: 0 usable assets for 1 exposure"
    )


def test_a_list_of_names_has_room_for_so_many_characters():
    names = ["n" * 30 + str(i) for i in range(9)]
    for room in (20, 70, 140):
        text = listed(names, room=room)
        first, _, rest = text.partition(" and ")
        assert len(first) <= max(room, room // 2)
        shown = first.count(", ") + 1
        assert rest == f"{9 - shown} more"
    assert listed(["a", "b"], room=1000) == "'a', 'b'"
    assert listed([]) == "none"


# --- a column that is not there


def test_a_missing_column_suggests_the_closest():
    message = (
        r"^exposure column 'Beta' is not in the panel \(did you mean 'beta'\?\); it has 6 columns: "
        "'period', 'asset', 'return', 'beta', 'size', 'w'$"
    )
    with pytest.raises(PanelError, match=message):
        factor_returns(PANEL, "Beta")
    with pytest.raises(PanelError, match=r"'retrun' is not .*\(did you mean 'return'\?\)"):
        factor_returns(PANEL, "beta", returns="retrun")
    with pytest.raises(PanelError, match=r"^exposure column 'momentum' is not in the panel; it "):
        factor_returns(PANEL, "momentum")
    with pytest.raises(PanelError, match=r"'beta' is not in the panel; it has no columns$"):
        factor_returns(PANEL.select(), "size", period="beta")
    with pytest.raises(PanelError, match=r"; it has the column 'w'$"):
        factor_returns(PANEL.select("w"), "beta")


# --- lists of columns


def test_a_set_has_no_order():
    for names in ({"beta", "size"}, frozenset({"beta"})):
        for call in (
            lambda n: factor_returns(PANEL, n),
            lambda n: fit_cross_sections(PANEL.lazy(), n),
            lambda n: huber_regression("return", n),
        ):
            with pytest.raises(TypeError, match=r"^exposures is a (frozen)?set, which has no ord"):
                call(names)


def test_the_order_of_exposures_is_that_of_the_list_in_every_process():
    code = (
        "import polars as pl; from vbase_py_utils import factor_returns\n"
        "p = pl.DataFrame({'period': 1, 'asset': ['A', 'B', 'C'], 'return': [0.1, 0.3, 0.2]})\n"
        "p = p.with_columns(pl.int_range(3).pow(i).alias(n) for i, n in enumerate('abc'))\n"
        "try:\n    print(factor_returns(p, {'a', 'b', 'c'}).columns)\n"
        "except TypeError:\n    print(factor_returns(p, ['c', 'a', 'b']).columns)"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert answers == {"['period', 'c', 'a', 'b']\n"}


def test_lists_of_names_of_every_kind():
    pd = pytest.importorskip("pandas")
    expected = factor_returns(PANEL, ["size", "beta"])
    names = ["size", "beta"]
    for given in (
        tuple(names),
        iter(names),
        (name for name in names),
        dict.fromkeys(names).keys(),
        pl.Series(names),
        np.array(names),
        pd.Index(names),
        pd.Series(names),
    ):
        assert_frame_equal(factor_returns(PANEL, given), expected, check_exact=True)
    for given in (np.array(names).reshape(1, 2), np.array("beta"), dict.fromkeys(names)):
        with pytest.raises(
            TypeError, match=r"^exposures is a (ndarray|dict), expected a list of c"
        ):
            factor_returns(PANEL, given)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_selector_is_the_columns_without_another_role(lazy):
    panel = PANEL.with_columns(period=pl.int_range(8) // 4, sector=pl.lit("a").cast(pl.Enum(["a"])))
    given = panel.lazy() if lazy else panel
    expected = factor_returns(panel, ["beta", "size"], weights="w")
    for selector in (cs.numeric(), cs.by_name("size", "beta") | cs.float(), ~cs.by_name("sector")):
        answer = factor_returns(given, selector, weights="w")
        assert_frame_equal(answer.lazy().collect(), expected, check_exact=True)
        fits = fit_cross_sections(given, selector, weights="w").collect()
        assert_frame_equal(fits.factor_returns, expected, check_exact=True)
    beside = factor_returns(given, cs.numeric(), categories={"sector": "w"}).lazy().collect()
    assert beside.columns == ["period", "beta", "size", "sector=a"]
    table = panel.to_arrow()
    assert_frame_equal(factor_returns(table, cs.numeric(), weights="w"), expected)
    for nothing in (cs.starts_with("nope"), cs.by_name("nope"), cs.boolean()):
        with pytest.raises(PanelError, match=r"^exposures is a selector whose columns are not in "):
            factor_returns(given, nothing)
    with pytest.raises(PanelError, match=r"^no exposures given"):
        factor_returns(given, cs.by_name("return"))
    for expression in (pl.col("beta"), pl.all(), cs.numeric() * 2):
        with pytest.raises(TypeError, match=r"^exposures is an Expr, expected a list of column n"):
            factor_returns(given, expression)


# --- why a period has no answer


def reasons(panel, exposures, **options):
    bad = fit_cross_sections(panel, exposures, **options).bad_periods
    return bad["status"].to_list(), bad["reason"].to_list()


def test_an_exposure_that_is_zero_is_called_zero():
    zero = PANEL.with_columns(size=pl.lit(0.0), none=-0.0)
    deficient = ["rank_deficient"] * 2
    said = "exposure 'size' is zero for all 4 assets"
    assert reasons(zero, ["beta", "size"]) == (deficient, [said] * 2)
    assert reasons(zero, ["beta", "size"], intercept=True)[1] == [said] * 2
    both = "exposures 'size', 'none' are zero for all 4 assets"
    assert reasons(zero, ["beta", "size", "none"]) == (deficient, [both] * 2)
    alone = PANEL.head(1).with_columns(beta=0.0)
    assert reasons(alone, "beta")[1] == ["exposure 'beta' is zero for the only asset"]
    # In rows of every order, and of one period alone.
    mixed = PANEL.with_columns(size=row(0, 1, 2, 3).then(0.0).otherwise("size"))
    assert reasons(mixed, ["beta", "size"])[1] == [said]
    assert reasons(mixed.sample(fraction=1, shuffle=True, seed=1), ["beta", "size"])[1] == [said]
    # Boolean exposures, and those beside categories.
    never = PANEL.with_columns(size=False)
    assert reasons(never, ["beta", "size"])[1] == [said] * 2
    sectors = PANEL.with_columns(size=0.0, sector=pl.Series(["x", "x", "y", "y"] * 2))
    assert reasons(sectors, ["size"], categories={"sector": None}, intercept=True)[1] == [said] * 2


def test_an_exposure_that_is_zero_where_the_fit_looks_is_called_zero():
    # Only the first asset has the exposure, and its row does not take part.
    lone = PANEL.with_columns(size=row(0, 4).then(1.0).otherwise(0.0))
    assert reasons(lone, ["beta", "size"]) == ([], [])
    for column, value in (("w", 0.0), ("w", None), ("return", None), ("beta", float("nan"))):
        left = lone.with_columns(row(0, 4).then(value).otherwise(column).alias(column))
        said = ["exposure 'size' is zero for all 3 assets"] * 2
        assert reasons(left, ["beta", "size"], weights="w")[1] == said, column


def test_what_is_collinear_beside_a_zero_is_named_too():
    panel = PANEL.with_columns(size=0.0, twice=2 * pl.col("beta"))
    assert (
        reasons(panel, ["beta", "size", "twice"])[1]
        == [
            "exposure 'size' is zero for all 4 assets; "
            "exposures 'beta', 'twice' are linearly dependent over the 4 assets"
        ]
        * 2
    )
    # Small is not zero, and neither is a column of one value.
    small = PANEL.with_columns(size=1e-300, half=2e-300)
    assert (
        reasons(small, ["size", "half"])[1]
        == ["exposures 'size', 'half' are linearly dependent over the 4 assets"] * 2
    )


def test_the_reason_does_not_repeat_the_status():
    few = PANEL.filter(pl.col("asset") == "A")
    line = PANEL.with_columns(pl.col("beta").alias("return"))
    cases = [
        reasons(few, ["beta", "size"]),
        reasons(few, "beta"),
        reasons(line, "beta"),
        reasons(PANEL.with_columns(size=0.0), "size"),
        reasons(PANEL, "beta", max_iter=1),
    ]
    endings = {status for statuses, _ in cases for status in statuses}
    assert endings == {"too_few_assets", "exact_fit", "rank_deficient", "max_iter"}
    for statuses, said in cases:
        for status, reason in zip(statuses, said, strict=True):
            assert status not in reason
    with pytest.raises(FitError) as caught:
        factor_returns(few, ["beta", "size"], on_failure="raise")
    assert str(caught.value) == (
        "the fit of 2 of 2 periods failed, for example period Feb: "
        "too_few_assets: 1 usable asset for 2 exposures"
    )


# --- expressions on columns that are no numbers

NO_NUMBERS = {
    "text": pl.lit("a"),
    "date": pl.lit(date(2024, 1, 31)),
    "duration": pl.duration(days=1),
    "Categorical": pl.lit("a").cast(pl.Categorical),
    "Enum": pl.lit("a").cast(pl.Enum(["a"])),
    "binary": pl.lit(b"a"),
    "list": pl.lit([1.0]),
    "struct": pl.struct("beta"),
}
MAKERS = {
    "winsorize by quantiles": lambda c: winsorize(c, quantiles=(0.1, 0.9)),
    "winsorize by deviations": lambda c: winsorize(c, robust_sds=3),
    "zscore": zscore,
    "weights of zscore": lambda c: zscore("beta", weights=c),
    "rank_normal": rank_normal,
    "fill_missing_by_group": lambda c: fill_missing_by_group(c, "asset"),
    "neutralize": lambda c: neutralize(c, "size"),
    "exposures of neutralize": lambda c: neutralize("return", ["size", c]),
    "weights of neutralize": lambda c: neutralize("return", "size", weights=c),
    "cap_weights": cap_weights,
    "returns": lambda c: huber_residuals(c, "size"),
    "exposures": lambda c: huber_residuals("return", ["size", c]),
    "weights": lambda c: huber_regression("return", "size", weights=c),
}
# What has no cast to a number: a lazy query of the whole frame takes the cast out of the formula.
NO_CAST = {"Categorical", "Enum", "binary", "list", "struct"}
PLACES = {
    "select": lambda f, e: f.select(e),
    "over": lambda f, e: f.select(e.over("period")),
    "group_by": lambda f, e: f.group_by("period").agg(e),
    "with_columns": lambda f, e: f.with_columns(e.alias("new")),
    "lazy": lambda f, e: f.lazy().select(e).collect(),
    "lazy over": lambda f, e: f.lazy().select(e.over("period")).collect(),
    "in memory": lambda f, e: f.lazy().select(e.over("period")).collect(engine="in-memory"),
    "streamed": lambda f, e: f.lazy().group_by("period").agg(e).collect(engine="streaming"),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
@pytest.mark.parametrize("maker", MAKERS)
def test_an_expression_on_another_type_names_the_column(maker, kind):
    panel = PANEL.with_columns(NO_NUMBERS[kind].alias("odd one"))
    kind_of = re.escape(str(panel.schema["odd one"]))
    role = {
        "weights": "weights ",
        "exposures": "exposure ",
        "returns": "returns ",
        "cap_weights": "cap ",
    }.get(maker.partition(" of ")[0], "")
    for place, run in PLACES.items():
        kinds = (PanelError,)
        if place == "lazy" and kind in NO_CAST:
            kinds = (PanelError, pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError)
        with pytest.raises(kinds) as caught:
            run(panel, MAKERS[maker]("odd one"))
        if not isinstance(caught.value, PanelError):
            assert 'col("odd one")' in str(caught.value)
            continue
        text = is_one_sentence(caught.value)
        said = rf"^{role}column 'odd one' is {kind_of}, expected a numeric type: cast it first$"
        assert re.search(said, text), (place, text)


def test_what_polars_writes_below_a_message_is_left_out():
    assert str(PanelError("one\n\nThis error occurred in the following expression:")) == "one"
    assert str(VbaseError("one\ntwo")) == "one\ntwo"
    assert VbaseError(3).args == (3,)
