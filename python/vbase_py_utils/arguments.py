"""Checks of arguments: one sentence that names the argument and shows little of what was given."""

from __future__ import annotations

import sys
from collections.abc import Collection
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
    return value


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
    kind = Integral if whole else Real
    if not (isinstance(value, kind) and at_least <= number <= at_most):
        raise ValueError(f"{name} is {shown(value)}, expected {expected}")
