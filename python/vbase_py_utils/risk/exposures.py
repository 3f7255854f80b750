"""What portfolios hold of each factor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack, overload

import numpy as np
import polars as pl

from vbase_py_utils.analyse.reading import AnyFrame, Fits
from vbase_py_utils.arguments import check_flag
from vbase_py_utils.fit.results import CrossSectionFits
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.portfolio_risk import Assets, share_covered
from vbase_py_utils.keys import PERIOD
from vbase_py_utils.panel import ArrowStream
from vbase_py_utils.risk.answers import (
    Frames,
    at_once,
    in_blocks,
    is_lazy,
    key_columns,
    lazily,
    schema_of,
    with_factors,
)
from vbase_py_utils.risk.holdings import BENCHMARK, PORTFOLIO, KeyNames, Weights
from vbase_py_utils.risk.options import check_factors
from vbase_py_utils.risk.positions import AssetFrame, Held, Positions

EXPOSURES = "exposures"


class HoldingArguments(TypedDict, total=False):
    """The keyword arguments that functions of weights share; meanings in ``portfolio_risk``."""

    benchmark: AnyFrame | None
    weight: str
    portfolio: str
    sorted_by_period: bool


@overload
def factor_exposures(
    weights: pl.DataFrame | ArrowStream,
    panel: pl.DataFrame | ArrowStream,
    fits: CrossSectionFits[pl.DataFrame],
    **arguments: Unpack[HoldingArguments],
) -> pl.DataFrame: ...
@overload
def factor_exposures(
    weights: AnyFrame, panel: AnyFrame, fits: Fits, **arguments: Unpack[HoldingArguments]
) -> pl.DataFrame | pl.LazyFrame: ...
def factor_exposures(
    weights: AnyFrame,
    panel: AnyFrame,
    fits: Fits,
    *,
    benchmark: AnyFrame | None = None,
    weight: str = "weight",
    portfolio: str = "portfolio",
    sorted_by_period: bool = False,
) -> pl.DataFrame | pl.LazyFrame:
    """Give what portfolios hold of each factor: the sum of weights times exposures.

    Parameters
    ----------
    weights
        Long frame of period, portfolio, asset and weight, a row per position; without a column
        of portfolios it is one, called "portfolio". The keys of the assets are named and typed as
        in the fits. Weights need not sum to one.
    panel
        Frame of the exposures of the fits, categories among them.
    fits
        The result of ``fit_cross_sections``, whose factors are meant.
    benchmark
        Weights of one portfolio, to subtract from those of every other; it has rows in every period
        of the weights.
    weight, portfolio
        Names of columns of ``weights``.
    sorted_by_period
        LazyFrames are sorted by period: read them in one pass, in little memory.

    Returns
    -------
    DataFrame, or LazyFrame if anything given is lazy
        A row per period, portfolio and factor, sorted by period and portfolio: period, portfolio,
        factor, exposure, covered. Assets without all of their exposures are left out; ``covered``
        is the share of gross weight in the others.

    Raises
    ------
    PanelError
        A column is missing or of the wrong type; a weight is missing; a (period, portfolio,
        asset), or a (period, asset) of the panel, repeats; a factor is called "factor", "specific"
        or "unattributed". The values of LazyFrames are checked
        when the query runs.
    TypeError
        An argument has a wrong type.
    RuntimeError
        As ``factor_returns``.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import factor_exposures, fit_cross_sections
    >>> keys = {"period": [1, 1, 1], "asset": ["A", "B", "C"]}
    >>> panel = pl.DataFrame({**keys, "return": [0.01, 0.02, 0.04], "value": [1.0, 2.0, 4.0]})
    >>> fits = fit_cross_sections(panel, ["value"])
    >>> factor_exposures(pl.DataFrame({**keys, "weight": [0.5, 0.5, 0.0]}), panel, fits).rows()
    [(1, 'portfolio', 'value', 1.5, 1.0)]
    """
    in_order = check_flag("sorted_by_period", sorted_by_period)
    names = KeyNames.of(fits, portfolio, weight)
    table = Weights.of(weights, "weights", names)
    positions = read_positions(table, benchmark, panel, fits)
    factors = check_factors(fits)
    numbers = dict.fromkeys(("exposure", "covered"), pl.Float64())
    schema = schema_of(table, [PERIOD, PORTFOLIO], {"factor": pl.String(), **numbers})

    def run(_: frozenset[str]) -> Iterator[Frames]:
        kept = map(_exposed, positions.held(in_order=in_order))
        for some in in_blocks(kept, lambda one: one.exposures.size):
            counts = [np.full(len(one.covered), len(factors)) for one in some]
            values = {
                "exposure": np.concatenate([one.exposures.ravel() for one in some]),
                "covered": np.repeat(np.concatenate([one.covered for one in some]), len(factors)),
            }
            keys = key_columns(table, some, counts)
            yield {EXPOSURES: with_factors(keys, factors, values)}

    schemas = {EXPOSURES: schema}
    if is_lazy([weights, panel, fits, benchmark]):
        return lazily(run, schemas)[EXPOSURES]
    return at_once(run, schemas)[EXPOSURES]


def read_positions(
    table: Weights,
    benchmark: AnyFrame | None,
    panel: AnyFrame,
    fits: Fits,
    *,
    others: Sequence[AssetFrame] = (),
    returns: Sequence[str] = (),
) -> Positions:
    """Read the frames that hold assets."""
    own, names = fits.estimated, table.names
    bench = None
    if benchmark is not None:
        bench = Weights.of(benchmark, BENCHMARK, names, portfolios=False)
    frame = AssetFrame.of_panel(panel, own, names, returns)
    return Positions(table, bench, frame, own.intercept, len(own.exposures), others)


@dataclass(frozen=True, slots=True)
class _Exposed:
    """Exposures (p, k) of the portfolios of a period, and the share (p,) of what is covered."""

    period: pl.Series
    portfolios: pl.Series | None
    exposures: FloatArray
    covered: FloatArray


def _exposed(held: Held) -> _Exposed:
    weights = held.weights if held.benchmark is None else held.weights - held.benchmark
    assets = Assets.of(held.exposures)
    exposures = weights @ assets.exposures.T
    return _Exposed(held.period, held.portfolios, exposures, share_covered(weights, assets.known))
