"""The frames of the risk of portfolios, made of what is computed period by period."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.portfolio_risk import Assets, Risks, betas, portfolio_risks
from vbase_py_utils.kernel.specific_variance import Integers
from vbase_py_utils.keys import ASSET, PERIOD
from vbase_py_utils.risk.answers import (
    Frames,
    PeriodIndex,
    as_columns,
    frame_of,
    key_columns,
    schema_of,
    with_factors,
)
from vbase_py_utils.risk.holdings import PORTFOLIO, Weights
from vbase_py_utils.risk.options import SPECIFIC
from vbase_py_utils.risk.positions import Held
from vbase_py_utils.risk.reading import Covariances

SUMMARY, FACTORS, ASSETS = "summary", "factors", "assets"
ACTIVE = "active_"


def risk_schemas(table: Weights, *, active: bool) -> dict[str, pl.Schema]:
    """Give the schemas of the frames; ``active``: there is a benchmark."""
    summary = ["risk", "factor_risk", "specific_risk", "covered"]
    factors = ["exposure", "volatility", "correlation", "contribution", "share"]
    assets = ["weight", "marginal", "contribution"]
    if active:
        summary += ["active_risk", "beta", "active_covered"]
        factors += [ACTIVE + name for name in factors if name != "volatility"]
        assets += [ACTIVE + name for name in assets]
    number, keys = pl.Float64(), [PERIOD, PORTFOLIO]
    named = {"factor": pl.String(), **dict.fromkeys(factors, number)}
    return {
        SUMMARY: schema_of(table, keys, dict.fromkeys(summary, number)),
        FACTORS: schema_of(table, keys, named),
        ASSETS: schema_of(table, [*keys, ASSET], dict.fromkeys(assets, number)),
    }


@dataclass(frozen=True, slots=True)
class Measured:
    """Weights (p, n) and their risk; without columns of assets if those are not wanted."""

    weights: FloatArray
    risks: Risks


@dataclass(frozen=True, slots=True)
class RiskOfPeriod:
    """The risk of the portfolios of a period.

    Attributes
    ----------
    period, portfolios
        Labels (1,) and (p,).
    own, active
        The portfolios, and what is left of them without the benchmark, ``None`` if there is none.
    beta
        (p,) to the benchmark.
    positions
        (p, n) what frames of assets have a row for.
    numbers, labels
        (n,) numbers of the assets, and the label of every number.
    """

    period: pl.Series
    portfolios: pl.Series | None
    own: Measured
    active: Measured | None
    beta: FloatArray
    positions: NDArray[np.bool_]
    numbers: Integers
    labels: pl.Series

    @property
    def size(self) -> int:
        """How many numbers are kept, about."""
        return 3 * self.own.risks.correlation.size + 4 * self.own.risks.marginal.size

    @classmethod
    def of(
        cls, held: Held, blocks: Covariances, index: PeriodIndex, *, with_assets: bool
    ) -> RiskOfPeriod:
        """Compute the risk of what is held; ``with_assets``: also of each asset."""
        k = len(blocks.factors)
        row = index.of(held)
        covariance = np.full((k, k), np.nan) if row is None else blocks.blocks[row]
        assets, specific = Assets.of(held.exposures), held.values[0]

        def measured(weights: FloatArray) -> Measured:
            risks = portfolio_risks(
                weights, assets, specific, covariance, with_marginal=with_assets
            )
            return Measured(weights if with_assets else np.empty((len(weights), 0)), risks)

        own, active, beta = measured(held.weights), None, np.empty(0)
        if held.benchmark is not None:
            active = measured(held.weights - held.benchmark)
            risk = float(measured(held.benchmark[None]).risks.risk[0])
            beta = betas(held.weights, held.benchmark, assets, specific, covariance, risk)
            beta[np.isnan(own.risks.risk)] = np.nan
        # What nobody asks for would be kept for as many periods as a frame has.
        nothing = np.empty((len(own.risks.risk), 0))
        positions = nothing.astype(bool)
        numbers: Integers = np.empty(0, dtype=np.intp)
        if with_assets:
            positions, numbers = held.positions, held.numbers
        return cls(
            held.period,
            held.portfolios,
            own,
            active,
            beta,
            positions,
            numbers,
            held.labels,
        )


def frames_of(
    wanted: Iterable[str],
    table: Weights,
    kept: Sequence[RiskOfPeriod],
    factors: Sequence[str],
    root: float,
) -> Frames:
    """Make the frames that are wanted; ``root`` multiplies the risks of the summary."""
    makers = {
        SUMMARY: lambda: _summary(table, kept, root),
        FACTORS: lambda: _factors(table, kept, factors),
        ASSETS: lambda: _assets(table, kept),
    }
    return {name: makers[name]() for name in wanted}


def _measured(kept: Sequence[RiskOfPeriod]) -> dict[str, list[Measured]]:
    """Give what is measured of all periods, by the prefix of its columns."""
    active = [one.active for one in kept if one.active is not None]
    return {"": [one.own for one in kept]} | ({ACTIVE: active} if active else {})


def _summary(table: Weights, kept: Sequence[RiskOfPeriod], root: float) -> pl.DataFrame:
    """Make a row per period and portfolio."""
    values = {}
    for prefix, some in _measured(kept).items():
        risks = [one.risks for one in some]
        values[f"{prefix}risk"] = root * np.concatenate([one.risk for one in risks])
        if prefix:
            values["beta"] = np.concatenate([one.beta for one in kept])
        else:
            values["factor_risk"] = root * np.concatenate([one.factor_risk for one in risks])
            values["specific_risk"] = root * np.concatenate([one.specific_risk for one in risks])
        values[f"{prefix}covered"] = np.concatenate([one.covered for one in risks])
    counts = [np.ones(len(one.own.risks.risk), dtype=np.intp) for one in kept]
    return frame_of([*key_columns(table, kept, counts), *as_columns(values)])


def _factors(table: Weights, kept: Sequence[RiskOfPeriod], factors: Sequence[str]) -> pl.DataFrame:
    """Make a row per period, portfolio and factor, specific returns the last."""
    values = {}
    for prefix, some in _measured(kept).items():
        risks = [one.risks for one in some]
        values[f"{prefix}exposure"] = _flat(_beside(r.exposures, np.nan) for r in risks)
        if not prefix:
            values["volatility"] = _flat(
                _beside(np.tile(r.volatility, (len(r.risk), 1)), r.specific_risk) for r in risks
            )
        values[f"{prefix}correlation"] = _flat(r.correlation for r in risks)
        values[f"{prefix}contribution"] = _flat(r.contribution for r in risks)
        with np.errstate(divide="ignore", invalid="ignore"):
            values[f"{prefix}share"] = _flat(r.contribution / r.risk[:, None] for r in risks)
    names = (*factors, SPECIFIC)
    counts = [np.full(len(one.own.risks.risk), len(names), dtype=np.intp) for one in kept]
    return with_factors(key_columns(table, kept, counts), names, values)


def _assets(table: Weights, kept: Sequence[RiskOfPeriod]) -> pl.DataFrame:
    """Make a row per position."""
    where = [one.positions for one in kept]
    values = {}
    for prefix, some in _measured(kept).items():
        weights, marginal = (
            np.concatenate([array[there] for array, there in zip(arrays, where, strict=True)])
            for arrays in ([one.weights for one in some], [one.risks.marginal for one in some])
        )
        values[f"{prefix}weight"], values[f"{prefix}marginal"] = weights, marginal
        values[f"{prefix}contribution"] = weights * marginal
    numbers = [
        np.broadcast_to(one.numbers, there.shape)[there]
        for one, there in zip(kept, where, strict=True)
    ]
    counts = [np.count_nonzero(there, axis=1) for there in where]
    # Numbers of assets stay; later periods may have more.
    assets = kept[-1].labels.gather(np.concatenate(numbers)).alias(table.names.asset)
    return frame_of([*key_columns(table, kept, counts), assets, *as_columns(values)])


def _beside(values: FloatArray, last: FloatArray | float) -> FloatArray:
    """Add a column to values (p, k)."""
    return np.column_stack([values, np.broadcast_to(last, len(values))])


def _flat(parts: Iterable[FloatArray]) -> FloatArray:
    return np.concatenate([part.ravel() for part in parts])
