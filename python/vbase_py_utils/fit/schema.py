"""Names and types of the columns of period fits, and of the frames made from them."""

from __future__ import annotations

from typing import TypeVar, overload

import polars as pl

from vbase_py_utils.errors import PanelError
from vbase_py_utils.kernel.period_fits import Status
from vbase_py_utils.keys import ASSET, PERIOD
from vbase_py_utils.panel import PanelSpec, PolarsFrame


def fit_schema(
    period: pl.DataType, asset: pl.DataType, spec: PanelSpec, *, full: bool
) -> pl.Schema:
    """Columns of a frame of period fits; ``reason`` is null where the status is converged."""
    columns = {
        PERIOD: period,
        N_ASSETS: pl.UInt32(),
        N_EXCLUDED: pl.UInt32(),
        SCALE: pl.Float64(),
        N_ITER: pl.UInt32(),
        STATUS: STATUS_TYPE,
        REASON: pl.String(),
        **dict.fromkeys(spec.inner_factors, pl.Float64()),
    }
    if full:
        columns |= {
            N_DOWNWEIGHTED: pl.UInt32(),
            R_SQUARED: pl.Float64(),
            ROBUST_R_SQUARED: pl.Float64(),
            MAX_LEVERAGE: pl.Float64(),
            CONDITION_NUMBER: pl.Float64(),
            **dict.fromkeys(inner_trust(spec), pl.Float64()),
            ASSET: pl.List(asset),
            **dict.fromkeys(SPECIFIC_RETURNS, pl.List(pl.Float64())),
        }
    return pl.Schema(columns)


def portfolio_schema(period: pl.DataType, asset: pl.DataType) -> pl.Schema:
    """Columns of a frame of factor portfolios."""
    return pl.Schema({PERIOD: period, ASSET: asset, FACTOR: pl.String(), HOLDING: pl.Float64()})


Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

STATUS_TYPE = pl.Enum([status.name for status in Status])

# Columns of a frame of period fits, besides the period and one per factor: in every fit,
N_ASSETS, N_EXCLUDED, SCALE, N_ITER = "n_assets", "n_excluded", "scale", "n_iter"
STATUS, REASON = "status", "reason"
# in a full one, with a standard error, degrees of freedom and a p-value per factor,
N_DOWNWEIGHTED, CONDITION_NUMBER = "n_downweighted", "condition_number"
MAX_LEVERAGE = "max_leverage"
R_SQUARED, ROBUST_R_SQUARED = "r_squared", "robust_r_squared"
# and, as lists over the period's rows, with the assets:
FITTED, SPECIFIC_RETURN = "fitted", "specific_return"
ROBUSTNESS_WEIGHT, LEVERAGE = "robustness_weight", "leverage"
# Columns of the coefficients and of the factor portfolios.
FACTOR, FACTOR_RETURN, STD_ERROR, T_STAT = "factor", "factor_return", "std_error", "t_stat"
DF, P_VALUE, HOLDING = "df", "p_value", "holding"

COEFFICIENTS = (FACTOR, FACTOR_RETURN, STD_ERROR, T_STAT, DF, P_VALUE)
SPECIFIC_RETURNS = (FITTED, SPECIFIC_RETURN, ROBUSTNESS_WEIGHT, LEVERAGE)
DIAGNOSTICS = (
    N_ASSETS,
    N_EXCLUDED,
    N_DOWNWEIGHTED,
    SCALE,
    R_SQUARED,
    ROBUST_R_SQUARED,
    MAX_LEVERAGE,
    CONDITION_NUMBER,
    N_ITER,
    STATUS,
)


def inner_of(kind: str, spec: PanelSpec) -> list[str]:
    """Column names, one per factor, of ``kind``: STD_ERROR, DF or P_VALUE."""
    return [f"{kind} of {name}" for name in spec.inner_factors]


def inner_trust(spec: PanelSpec) -> list[str]:
    """Column names of all standard errors, then all df, then all p-values."""
    return [name for kind in (STD_ERROR, DF, P_VALUE) for name in inner_of(kind, spec)]


@overload
def wide(fits: pl.DataFrame, spec: PanelSpec) -> pl.DataFrame: ...
@overload
def wide(fits: pl.LazyFrame, spec: PanelSpec) -> pl.LazyFrame: ...
@overload
def wide(fits: PolarsFrame, spec: PanelSpec) -> PolarsFrame: ...
def wide(fits: PolarsFrame, spec: PanelSpec) -> PolarsFrame:
    """Pick period and estimates out of a frame of period fits, under the names the user gave."""
    inside, names = [PERIOD, *spec.inner_factors], [spec.period, *spec.factors]
    if isinstance(fits, pl.LazyFrame):
        return fits.select(pl.col(one).alias(name) for one, name in zip(inside, names, strict=True))
    answer = fits[inside]
    answer.columns = names
    return answer


def check_key_names(spec: PanelSpec) -> None:
    """Raise PanelError when a key has the name of another column of a frame of the fits."""
    for role, column, taken in (
        ("period", spec.period, {*COEFFICIENTS, *SPECIFIC_RETURNS, *DIAGNOSTICS, REASON}),
        ("asset", spec.asset, {*SPECIFIC_RETURNS}),
    ):
        if column in taken:
            raise PanelError.taken_name(role, column)
