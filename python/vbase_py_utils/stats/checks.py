"""Checks of the pandas arguments, and their values as arrays; pandas is there when it is called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from vbase_py_utils.arguments import shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.text import quoted

# What pandas infers for object columns that hold numbers.
NUMBER_KINDS = {"floating", "integer", "mixed-integer-float", "decimal", "boolean", "empty"}


def as_floats(frame: pd.DataFrame, name: str) -> FloatArray:
    """Values (rows, columns) as float64, missing ones NaN; may be a view, so do not write to it."""
    dtypes = list(frame.dtypes)
    for j, dtype in enumerate(dtypes):
        plain = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)
        if not plain:
            kind = pd.api.types.infer_dtype(frame.iloc[:, j], skipna=True)
            if kind not in NUMBER_KINDS:
                raise PanelError.not_numeric(name, str(frame.columns[j]), dtype)
    if any(pd.api.types.is_object_dtype(dtype) for dtype in dtypes):
        # Object columns may hold pd.NA, which float() refuses.
        return np.where(frame.isna(), np.nan, frame.to_numpy(dtype=object)).astype(np.float64)
    return frame.to_numpy(dtype=np.float64, na_value=np.nan)


def column_as_floats(column: pd.Series[Any], name: str) -> FloatArray:
    """Values (rows,) as float64, as from ``as_floats``."""
    if isinstance(column.dtype, np.dtype) and column.dtype == np.float64:
        return column.to_numpy()
    return as_floats(column.to_frame(), name)[:, 0]


def require(value: object, kind: type, name: str) -> None:
    """Raise TypeError unless the value is of a pandas type."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {shown(value)}, expected a pandas {kind.__name__}")


def require_unique(labels: pd.Index[Any], name: str) -> None:
    """Raise PanelError if a label repeats; ``name`` says whose labels they are."""
    if not labels.is_unique:
        repeated = labels[labels.duplicated(keep=False)]
        raise PanelError(
            f"labels repeat in {len(repeated)} places of {name}, "
            f"for example {quoted(repeated[0])}; expected each label once"
        )


def require_finite(
    values: FloatArray, name: str, index: pd.Index[Any], columns: pd.Index[Any]
) -> None:
    """Raise ValueError for values (N,) or (N, k) that are no finite numbers."""
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        column = f", column {quoted(columns[bad[0][1]])}" if values.ndim > 1 else ""
        raise ValueError(
            f"{name} has {len(bad)} missing or infinite values, "
            f"for example at {quoted(index[bad[0][0]])}{column}; expected finite numbers"
        )


def require_no_negative(weights: FloatArray, index: pd.Index[Any], name: str) -> None:
    """Raise PanelError for weights below zero."""
    negative = np.flatnonzero((weights < 0) & np.isfinite(weights))
    if negative.size:
        first = negative[0]
        example = f"{weights[first]} at {quoted(index[first])}"
        raise PanelError.negative_weights(name, negative.size, example)
