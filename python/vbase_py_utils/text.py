"""Format names and values for messages: on one line, and no longer than a reader needs."""

from __future__ import annotations

from collections.abc import Iterable

# Longest parts of a message: a name, a list of names, a type, a reason from another library or the
# system.
NAME_CHARACTERS, LIST_CHARACTERS = 80, 140
TYPE_CHARACTERS, REASON_CHARACTERS = 60, 100


def printable(text: str) -> str:
    """Keep text on one line: escape the characters that do not print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str, most: int = 40) -> str:
    """Keep text on one line, and cut the middle of text that is too long."""
    text, end = printable(text), most // 3
    return text if len(text) <= most else text[: most - 1 - end] + "…" + text[-end:]


def quoted(name: object, most: int = NAME_CHARACTERS) -> str:
    """Write a name in quotes, without its middle if it is too long."""
    return one_line(repr(name), most)


def type_name(dtype: object, most: int = TYPE_CHARACTERS) -> str:
    """Write the type of a column, shortened: structs and Enums can be long."""
    return one_line(str(dtype), most)


def first_line(error: BaseException, most: int = REASON_CHARACTERS) -> str:
    """Write the first line of an error from another library; if it is empty, the error's type."""
    return one_line((str(error).splitlines() or [type(error).__name__])[0], most)


def counted(count: int, noun: str) -> str:
    """Write a number of things: 1 row, 2 rows."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Iterable[object], most: int = 12, room: int = LIST_CHARACTERS) -> str:
    """Write the first names, as many as fit, and how many more there are.

    ``room``: characters for all names. Each is cut to half of that; the first is always written.
    """
    each = min(NAME_CHARACTERS, room // 2)
    every = [quoted(name, each) for name in names]
    if not every:
        return "none"
    shown = every[:1]
    for name in every[1:most]:
        if len(", ".join([*shown, name])) > room:
            break
        shown.append(name)
    rest = len(every) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def needs(what: str, packages: str, extra: str) -> str:
    """Write which packages something needs, and the command that installs their extra.

    The command runs in a checkout, where the dot stands for the library.
    """
    return (
        f"{what} needs {packages}, which the extra '{extra}' installs: "
        f"from a checkout, pip install '.[{extra}]'"
    )
