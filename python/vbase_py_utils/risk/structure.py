"""What exposures say about specific risk: the prior of assets with a short history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from polars.selectors import Selector

from vbase_py_utils.analyse.reading import AnyFrame, floats
from vbase_py_utils.arguments import check_names
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.cross_sections import fit_cross_sections
from vbase_py_utils.fit.one_pass import aligned, collected_as, whole_periods
from vbase_py_utils.fit.results import inner_frame
from vbase_py_utils.fit.schema import FITTED, STATUS
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.specific_variance import (
    Integers,
    PastVariances,
    blended,
    log_variances,
)
from vbase_py_utils.keys import ASSET, PERIOD, check_values
from vbase_py_utils.panel import (
    TEXT_TYPES,
    Exposures,
    as_frame,
    by_position,
    holds_numbers,
    selected,
)

LOG_VARIANCE = "log variance"
# Columns of a block with all that its regressions make of it.
WIDTH = 40


@dataclass(frozen=True, slots=True)
class Structure:
    """Exposures of assets, and the regression of log variances on them.

    Attributes
    ----------
    frame, inner
        The panel; inner names of the keys and the exposures, and the user's.
    numbers, categories
        Inner names of the exposures that are numbers, and of those that are categories.
    period, asset
        What messages call the keys.
    """

    frame: pl.DataFrame | pl.LazyFrame
    inner: dict[str, str]
    numbers: list[str]
    categories: list[str]
    period: str
    asset: str

    @classmethod
    def of(
        cls, panel: AnyFrame, exposures: Exposures, period: str, asset: str, keys: pl.Schema
    ) -> Structure:
        """Check the names and types of a panel; ``keys``: types that the keys must have."""
        if isinstance(exposures, Selector):
            frame = as_frame(panel, [period, asset], others="offer")
            offered = selected("exposures", exposures, frame.collect_schema())
            names = [name for name in offered if name not in (period, asset)]
        else:
            names = list(
                check_names("exposures", exposures, "a list of column names, or a selector")
            )
            frame = as_frame(panel, [period, asset, *names])
        if not names:
            raise PanelError.no_exposures()
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise PanelError.repeated_exposures(repeated)
        schema = frame.collect_schema()
        for role, own in (("period", [period]), ("asset", [asset]), ("exposure", names)):
            absent = [name for name in own if name not in schema]
            if absent:
                raise PanelError.missing_columns(role, absent, schema.names())
        for role, name in ((PERIOD, period), (ASSET, asset)):
            if schema[name] != keys[role]:
                raise PanelError.other_key_type(
                    role, name, schema[name], keys[role], "specific_returns", of="panel"
                )
        inner, numbers, categories = {PERIOD: period, ASSET: asset}, [], []
        for i, name in enumerate(names):
            dtype = schema[name]
            if holds_numbers(dtype, or_booleans=True):
                numbers.append(f"x{i}")
            elif dtype in TEXT_TYPES or isinstance(dtype, pl.Enum):
                categories.append(f"x{i}")
            else:
                raise PanelError.not_numeric("exposure", name, dtype)
            inner[f"x{i}"] = name
        return cls(frame, inner, numbers, categories, period, asset)

    def beside(self, specific: pl.DataFrame) -> pl.DataFrame:
        """Join specific returns to the exposures: a row for every row of either, by period."""
        return _joined(self._sorted(), specific)

    def beside_each(
        self, blocks: Iterator[pl.DataFrame], schema: pl.Schema, *, in_order: bool
    ) -> Iterator[pl.DataFrame]:
        """Do so for blocks of whole periods, in their order, which have this ``schema``.

        ``in_order``: the panel is sorted by period, and is read in blocks.
        """
        own = self._blocks() if in_order else iter([self._sorted()])
        given = self.frame.collect_schema()
        types = pl.Schema({inside: given[name] for inside, name in self.inner.items()})
        sources = [(own, types), (blocks, schema)]
        for panel, specific in aligned(sources):
            yield _joined(panel, specific)

    def _sorted(self) -> pl.DataFrame:
        column = by_position(self.frame.collect_schema().names())
        chosen = (column[name].alias(inside) for inside, name in self.inner.items())
        rows = self.frame.lazy().select(chosen).collect()
        check_values(rows, self.period, self.asset, {}, partial=False)
        return rows.sort(PERIOD, maintain_order=True)

    def _blocks(self) -> Iterator[pl.DataFrame]:
        batches = collected_as(self.frame.lazy(), self.inner)
        for rows in whole_periods(batches, self.period, WIDTH):
            check_values(rows, self.period, self.asset, {}, partial=True)
            yield rows

    def blend(
        self, rows: pl.DataFrame, past: PastVariances, starts: Integers, min_periods: int
    ) -> tuple[FloatArray, FloatArray]:
        """Give variances (rows,) and the weight (rows,) of the prior in them."""
        lengths = np.diff(starts)
        kurtosis = np.repeat(past.kurtosis, lengths)
        logs = log_variances(past.variance, past.effective, kurtosis)
        learnt = past.count >= min_periods
        prior = self._prior(rows, np.where(learnt, logs, np.nan))
        variance, weight = np.empty(len(logs)), np.empty(len(logs))
        for i, (start, end) in enumerate(pairwise(starts)):
            own = slice(start, end)
            answer = blended(
                logs[own], prior[own], past.effective[own], past.kurtosis[i], learnt[own]
            )
            variance[own], weight[own] = answer.variance, answer.prior_weight
        # Too short a history says enough only beside that of similar assets.
        alone = ~learnt & np.isnan(prior)
        variance[alone], weight[alone] = np.nan, np.nan
        return variance, weight

    def _prior(self, rows: pl.DataFrame, logs: FloatArray) -> FloatArray:
        """Fit log variances on the exposures, period by period; NaN without an answer."""
        panel = rows.select(PERIOD, ASSET, *self.numbers, *self.categories)
        panel = panel.with_columns(pl.Series(LOG_VARIANCE, logs, nan_to_null=True))
        prior = np.full(panel.height, np.nan)
        periods = panel[PERIOD]
        some = np.ones(panel.height, dtype=bool)
        # Exposures may hold the constant already.
        for intercept in (True, False):
            if not some.any() or not (intercept or self.numbers):
                break
            fits = fit_cross_sections(
                panel.filter(some),
                self.numbers,
                intercept=intercept,
                categories=dict.fromkeys(self.categories),
                returns=LOG_VARIANCE,
            )
            prior[some] = floats(inner_frame(fits, "specific_returns")[FITTED])
            failed = fits.diagnostics.filter(pl.col(STATUS) == "rank_deficient")[PERIOD]
            some = periods.is_in(failed.implode()).to_numpy()
        return prior


def _joined(panel: pl.DataFrame, specific: pl.DataFrame) -> pl.DataFrame:
    """Give a row for every row of either, sorted by period."""
    both = panel.join(
        specific, on=[PERIOD, ASSET], how="full", coalesce=True, maintain_order="left_right"
    )
    return both.sort(PERIOD, maintain_order=True)
