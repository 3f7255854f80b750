"""A report of a fit on one page: a self-contained HTML file."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from vbase_py_utils.analyse.premia import Lags, check_lags, fama_macbeth
from vbase_py_utils.analyse.reading import Fits, read_factor_returns
from vbase_py_utils.arguments import shown
from vbase_py_utils.fit.results import CrossSectionFits, inner_frame
from vbase_py_utils.fit.schema import (
    LEVERAGE,
    N_ASSETS,
    N_DOWNWEIGHTED,
    N_EXCLUDED,
    R_SQUARED,
    ROBUST_R_SQUARED,
    ROBUSTNESS_WEIGHT,
    SPECIFIC_RETURN,
    STATUS,
)
from vbase_py_utils.keys import ASSET, PERIOD, label
from vbase_py_utils.report.portfolio_forecasts import WINDOW
from vbase_py_utils.report.portfolio_frames import (
    AnyAttribution,
    AnyRisk,
    check_portfolios,
    read_portfolios,
)
from vbase_py_utils.report.words import number, percent
from vbase_py_utils.storage.places import check_place, whole_file
from vbase_py_utils.text import needs, one_line, printable

if TYPE_CHECKING:
    from jinja2 import Template

# Rows of the tables most affected by outliers, and characters of a name.
MOST_AFFECTED, NAME_CHARACTERS = 10, 60


def write_report(
    fits: Fits,
    path: str | Path,
    *,
    title: str = "Cross-sectional factor returns",
    lags: Lags = "auto",
    attribution: AnyAttribution | None = None,
    risk: AnyRisk | None = None,
) -> None:
    """Write a report of a fit, and of portfolios, to one HTML file with the charts embedded.

    The file opens from disk and loads nothing else; it follows the reader's light or dark mode, and
    prints. It shows what was estimated, over which span; the status of the periods, with the reason
    for each that did not converge; the premia; charts; the ten periods and ten assets that outliers
    affected most, by the weight lost: one minus the robustness weight, summed; and the ten highest
    leverages. Needs the extra ``plot``.

    Every portfolio of ``attribution`` and ``risk`` has a section: what it holds of each factor, its
    risk by factor at the last period, where its return came from and how much weight was not
    covered, and, of those in both, how its returns compare with their risk. Of more than ten
    portfolios, the first ten.

    Parameters
    ----------
    fits
        The result of ``fit_cross_sections``; if it is lazy, its frames are collected into memory.
    path
        The file to write; an existing file is replaced at the end.
    title
        Heading of the page.
    lags
        Newey-West lags of the premia, as in ``fama_macbeth``.
    attribution, risk
        The results of ``attribution`` and of ``portfolio_risk`` with these fits; lazy ones are
        collected once. With a benchmark, active returns and risk are shown as well.

    Raises
    ------
    PanelError
        ``path`` is a directory, or is in one that does not exist or is not writable; periods are
        text that does not sort in the order of time; ``attribution`` or ``risk`` has other factors
        than the fits, or periods of another type; they name portfolios by different types.
    ValueError, TypeError
        ``lags`` is out of range; ``fits``, ``attribution`` or ``risk`` is something else than the
        result of its function, ``title`` is not text, or ``path`` neither a string nor a path.
    ImportError
        matplotlib or Jinja2 is missing.
    Exception
        Whatever collecting something lazy raises; then no file is written or replaced.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from vbase_py_utils import fit_cross_sections, write_report
    >>> from vbase_py_utils.demo import simulated_panel
    >>> fits = fit_cross_sections(simulated_panel()[0], ["Factor_0", "Factor_1", "Factor_2"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "report.html"
    ...     write_report(fits, file, title="The demo")
    ...     "<title>The demo</title>" in file.read_text(encoding="utf-8")
    True
    """
    if not isinstance(fits, CrossSectionFits):
        raise TypeError(f"fits is {shown(fits)}, expected the result of fit_cross_sections")
    if not isinstance(title, str):
        raise TypeError(f"title is {shown(title)}, expected text")
    check_lags(lags)
    check_portfolios(attribution, risk)
    path = check_place(path)
    page = _page(fits, title, lags, (attribution, risk))
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8")


def _page(
    given: Fits, title: str, lags: Lags, portfolios: tuple[AnyAttribution | None, AnyRisk | None]
) -> str:
    """Fill the template; lazy fits are collected once."""
    # Imported here so that importing the package does not load matplotlib.
    try:
        template = _template()

        from vbase_py_utils.report.pictures import pictures_of  # noqa: PLC0415
        from vbase_py_utils.report.portfolio_sections import sections_of  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(needs("write_report", "matplotlib and Jinja2", "plot")) from error

    fits = given.collect()
    # Running sums and charts over time need the order of time, even if the premia do not.
    read_factor_returns(fits, None, "a report")
    premia = fama_macbeth(fits, lags=lags)
    held = read_portfolios(fits, *portfolios)
    return template.render(
        title=printable(title),
        estimated=fits.estimated,
        robust=isfinite(fits.estimated.downweighted_beyond),
        coverage=_coverage(fits),
        statuses=_records(fits.diagnostics.group_by(STATUS).len("periods").sort(STATUS)),
        bad_periods=_records(inner_frame(fits, "bad_periods")),
        premia=_records(premia),
        lags=lags,
        pictures=list(pictures_of(fits, premia)),
        periods=_records(_worst_periods(fits)),
        assets=_records(_worst_assets(fits)),
        leverages=_records(_highest_leverages(fits)),
        given={"attribution": portfolios[0] is not None, "risk": portfolios[1] is not None},
        sections=None if held is None else sections_of(held),
        n_left_out=0 if held is None else held.n_left_out,
        window=WINDOW,
        version=version("vbase-py-utils"),
    )


@cache
def _template() -> Template:
    """Compile the template, once; it escapes whatever it is given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("vbase_py_utils.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cut": _cut, "number": number, "percent": percent, "chance": _chance}
    return environment.get_template("report.html")


def _coverage(fits: CrossSectionFits[pl.DataFrame]) -> dict[str, Any]:
    """Count periods, assets and rows."""
    diagnostics = inner_frame(fits, "diagnostics")
    periods, assets = diagnostics[PERIOD], inner_frame(fits, "specific_returns")[ASSET]
    used, left_out = diagnostics[N_ASSETS], int(diagnostics[N_EXCLUDED].sum())
    return {
        "n_periods": len(periods),
        "first": label(periods) if len(periods) else "",
        "last": label(periods.tail(1)) if len(periods) else "",
        "n_assets": assets.n_unique(),
        "least": used.min(),
        "median": used.median(),
        "largest": used.max(),
        "left_out": left_out,
        "rows": left_out + int(used.sum()),
    }


def _worst_periods(fits: CrossSectionFits[pl.DataFrame]) -> pl.DataFrame:
    """Find the periods that lose the most weight, as a share of the assets used.

    Columns: period, share, asset (the one with the least weight), its specific_return and
    robustness_weight, and from diagnostics n_assets, n_downweighted and both R squared.
    """
    share = (1 - pl.col(ROBUSTNESS_WEIGHT)).mean().alias("share")
    worst = _weighted(fits).group_by(PERIOD).agg(share, *_at_least_weight(ASSET))
    counts = inner_frame(fits, "diagnostics").select(
        PERIOD, N_ASSETS, N_DOWNWEIGHTED, R_SQUARED, ROBUST_R_SQUARED
    )
    worst = worst.filter(pl.col("share") > 0).sort("share", PERIOD, descending=[True, False])
    return worst.head(MOST_AFFECTED).join(counts, on=PERIOD, how="left", maintain_order="left")


def _worst_assets(fits: CrossSectionFits[pl.DataFrame]) -> pl.DataFrame:
    """Find the assets that lose the most weight, summed over the periods.

    Columns: asset, lost (the sum), n_periods (in which it was used), n_downweighted, period (of
    its least weight), and its specific_return and robustness_weight in that period.
    """
    weight = pl.col(ROBUSTNESS_WEIGHT)
    worst = (
        _weighted(fits)
        .group_by(ASSET)
        .agg(
            (1 - weight).sum().alias("lost"),
            pl.len().alias("n_periods"),
            (weight < fits.estimated.downweighted_below).sum().alias(N_DOWNWEIGHTED),
            *_at_least_weight(PERIOD),
        )
    )
    worst = worst.filter(pl.col("lost") > 0).sort("lost", ASSET, descending=[True, False])
    return worst.head(MOST_AFFECTED)


def _highest_leverages(fits: CrossSectionFits[pl.DataFrame]) -> pl.DataFrame:
    """Find the used rows with the highest leverages, in the columns of specific_returns."""
    rows = inner_frame(fits, "specific_returns").drop_nulls([LEVERAGE, SPECIFIC_RETURN])
    highest = rows.filter(pl.col(LEVERAGE) >= pl.col(LEVERAGE).top_k(MOST_AFFECTED).min())
    order = highest.sort(LEVERAGE, PERIOD, descending=[True, False], maintain_order=True)
    return order.head(MOST_AFFECTED)


def _weighted(fits: CrossSectionFits[pl.DataFrame]) -> pl.DataFrame:
    """Give the specific returns of the rows that were used, with their keys under our names."""
    rows = inner_frame(fits, "specific_returns")
    return rows.filter(pl.col(ROBUSTNESS_WEIGHT).is_not_null())


def _at_least_weight(key: str) -> list[pl.Expr]:
    """Pick the values in the row of the least robustness weight of a group."""
    least = pl.col(ROBUSTNESS_WEIGHT).arg_min()
    return [pl.col(key, SPECIFIC_RETURN, ROBUSTNESS_WEIGHT).get(least)]


def _records(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Turn a table into rows for the template, keys into text."""
    keys = [key for key in (PERIOD, ASSET) if key in table.columns]
    texts = {key: [label(table[key].slice(i, 1)) for i in range(table.height)] for key in keys}
    rows = table.drop(keys).to_dicts() if table.width > len(keys) else []
    return [row | {key: texts[key][i] for key in keys} for i, row in enumerate(rows)]


def _cut(name: object) -> str:
    return one_line(str(name), NAME_CHARACTERS)


def _chance(p_value: float | None) -> str:
    if p_value is None:
        return number(None)
    return f"{p_value:.4f}" if p_value >= 0.0001 else "< 0.0001"
