"""Names and values as part of a sentence: on one line, and no longer than a reader needs."""

from __future__ import annotations

from collections.abc import Iterable

# Of a name in a message.
NAME_CHARACTERS = 80


def printable(text: str) -> str:
    """Keep text on its line: what does not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str, most: int = 40) -> str:
    """Keep text on its line, and cut what is too long inside."""
    text, end = printable(text), most // 3
    return text if len(text) <= most else text[: most - 1 - end] + "…" + text[-end:]


def listed(names: Iterable[object], most: int = 12) -> str:
    """Write the first names one after the other, each cut, and how many more there are."""
    shown = [one_line(repr(name), NAME_CHARACTERS) for name in names]
    if not shown:
        return "none"
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")


def needs(what: str, packages: str, extra: str) -> str:
    """Write that something needs packages of an extra, and the command that installs them.

    The command is the one from a checkout, in whose folder the dot stands for the library.
    """
    return (
        f"{what} needs {packages}, which the extra '{extra}' installs: "
        f"from a checkout, pip install '.[{extra}]'"
    )
