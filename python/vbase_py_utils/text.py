"""Names and values as part of a sentence: on one line, and no longer than a reader needs."""

from __future__ import annotations

from collections.abc import Iterable

# Of a name in a message, and of all names of a list.
NAME_CHARACTERS, LIST_CHARACTERS = 80, 140


def printable(text: str) -> str:
    """Keep text on its line: what does not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str, most: int = 40) -> str:
    """Keep text on its line, and cut what is too long inside."""
    text, end = printable(text), most // 3
    return text if len(text) <= most else text[: most - 1 - end] + "…" + text[-end:]


def quoted(name: object, most: int = NAME_CHARACTERS) -> str:
    """Write a name in quotes, cut inside."""
    return one_line(repr(name), most)


def listed(names: Iterable[object], most: int = 12, room: int = LIST_CHARACTERS) -> str:
    """Write the first names, as many as have room, and how many more there are.

    ``room``: characters for all names; each is cut to half of that, and one is always there.
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
    """Write that something needs packages of an extra, and the command that installs them.

    The command is the one from a checkout, in whose folder the dot stands for the library.
    """
    return (
        f"{what} needs {packages}, which the extra '{extra}' installs: "
        f"from a checkout, pip install '.[{extra}]'"
    )
