"""Checks of arguments: one sentence that names the argument and shows little of what was given."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from vbase_py_utils.text import one_line

# Of a value in a message.
VALUE_CHARACTERS = 60
# Values whose text is short and says what they are; of anything else the type is named.
PLAIN = (str, bytes, bool, int, float, complex, np.generic, type(None))


def shown(value: object) -> str:
    """Write a value for a message: plain ones as Python writes them, cut, others by their type."""
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
    """Raise TypeError for what is no text, ValueError for text that is not among the choices."""
    expected = " or ".join(repr(choice) for choice in choices)
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)}, expected {expected}")
    if value not in choices:
        raise ValueError(f"{name} is {shown(value)}, expected {expected}")


def check_name(name: str, value: object) -> str:
    """Give the name of a column; raise TypeError for what is no text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)}, expected a column name")
    return str.__str__(value)


def check_optional_name(name: str, value: object) -> str | None:
    """Give the name of a column or None; raise TypeError for anything else."""
    if value is None or isinstance(value, str):
        return None if value is None else str.__str__(value)
    raise TypeError(f"{name} is {shown(value)}, expected a column name or None")


def check_list(name: str, value: object, expected: str) -> tuple[Any, ...]:
    """Give what an argument lists, in its order; raise TypeError for what has no order or names.

    A set is refused because its order changes from one process to the next, a frame and a
    dictionary because their names are only half of what they hold.
    """
    if isinstance(value, set | frozenset):
        raise TypeError(f"{name} is {shown(value)}, which has no order; expected {expected}")
    halves = isinstance(value, Mapping | str | bytes) or hasattr(type(value), "columns")
    if halves or not isinstance(value, Iterable) or getattr(value, "ndim", 1) != 1:
        raise TypeError(f"{name} is {shown(value)}, expected {expected}")
    return tuple(value)


def check_names(name: str, value: object, expected: str = "a list of names") -> tuple[str, ...]:
    """Give names in their order, a single one as well; raise TypeError for anything else."""
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
    """Raise TypeError for what is no number, a Boolean included, ValueError for one out of range.

    ``expected`` says in words which numbers are right.
    """
    number: Any = value
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{name} is {shown(value)}, expected {expected}")
    try:
        size = float(number)
    except OverflowError:
        size = math.nan  # no float is so large
    kind = Integral if whole else Real
    if not (isinstance(value, kind) and at_least <= size <= at_most):
        raise ValueError(f"{name} is {shown(value)}, expected {expected}")
