"""Checks of arguments: errors name the argument in one sentence and keep the value short."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from vbase_py_utils.text import one_line

# Characters of a value in a message.
VALUE_CHARACTERS = 60
# Types whose values messages show; of other values they name the type.
PLAIN = (str, bytes, bool, int, float, complex, np.generic, type(None))


def shown(value: object) -> str:
    """Write a value for a message: plain ones as Python does, but shortened; others as a type."""
    if isinstance(value, PLAIN):
        try:
            return one_line(repr(value), VALUE_CHARACTERS)
        except ValueError:  # an integer of thousands of digits
            return "a number beyond a float's range"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {one_line(name)}"


def check_flag(name: str, value: object) -> bool:
    """Give a flag as a Python bool; raise TypeError for anything else."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {shown(value)}, expected True or False")
    return bool(value)


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise TypeError unless the value is text, ValueError unless it is one of the choices."""
    *others, last = map(repr, choices)
    expected = f"{', '.join(others)} or {last}"
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)}, expected {expected}")
    if value not in choices:
        raise ValueError(f"{name} is {shown(value)}, expected {expected}")


def check_name(name: str, value: object, expected: str = "a column name") -> str:
    """Give the name of a column; raise TypeError unless it is text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)}, expected {expected}")
    return str.__str__(value)


def check_optional_name(name: str, value: object) -> str | None:
    """Give the name of a column or ``None``; raise TypeError for anything else."""
    return None if value is None else check_name(name, value, "a column name or None")


def check_list(name: str, value: object, expected: str) -> tuple[Any, ...]:
    """Give the items of a list or another sequence in order; raise TypeError for anything else.

    A set is refused because its order changes from one process to the next; a frame and a
    dictionary, because iterating over them gives the names and drops the values.
    """
    if isinstance(value, set | frozenset):
        raise TypeError(f"{name} is {shown(value)}, which has no order; expected {expected}")
    refused = isinstance(value, Mapping | str | bytes) or hasattr(type(value), "columns")
    if refused or not isinstance(value, Iterable) or getattr(value, "ndim", 1) != 1:
        raise TypeError(f"{name} is {shown(value)}, expected {expected}")
    return tuple(value)


def check_names(name: str, value: object, expected: str = "a list of names") -> tuple[str, ...]:
    """Give one name or several as a tuple, in order; raise TypeError for anything else."""
    values = (value,) if isinstance(value, str) else check_list(name, value, expected)
    for one in values:
        if not isinstance(one, str):
            raise TypeError(f"{name} holds {shown(one)}, expected {expected}")
    return tuple(map(str.__str__, values))


def check_number(
    name: str,
    value: object,
    expected: str,
    *,
    at_least: float,
    at_most: float = sys.float_info.max,
    whole: bool = False,
) -> None:
    """Raise TypeError unless the value is a number, ValueError unless it is in range.

    A Boolean is not taken as a number. ``expected``: the valid numbers in words, for the message.
    """
    number: Any = value
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{name} is {shown(value)}, expected {expected}")
    try:
        size = float(number)
    except OverflowError:
        size = math.nan  # too large for a float
    kind = Integral if whole else Real
    if not (isinstance(value, kind) and at_least <= size <= at_most):
        raise ValueError(f"{name} is {shown(value)}, expected {expected}")
