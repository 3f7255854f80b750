"""Checks of where a file can be written, and a way to write it whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from vbase_py_utils.arguments import shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.text import REASON_CHARACTERS, one_line

# Characters of a path in a message.
PATH_CHARACTERS = 90
# Errors that a write may meet on any file. Polars gives the number only in the text of its errors.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
OS_ERROR = re.compile(r"\(os error (\d+)\)")


def named(path: str | Path) -> str:
    """Write a path for a message: on one line, without its middle if it is long."""
    return one_line(str(path), PATH_CHARACTERS)


def as_path(path: object, argument: str = "path") -> Path:
    """Turn the name of a file into a Path.

    Raises TypeError unless it is a string or a path, PanelError for a name that no file can have.
    """
    try:
        text = os.fspath(path)  # type: ignore[call-overload]
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise TypeError(f"{argument} is {shown(path)}, expected a string or a pathlib.Path")
    if not text:
        raise PanelError(f"{argument} is empty, expected the name of a file")
    if "\0" in text:
        raise PanelError(
            f"{argument} {named(text)} has a NUL character, which no file name can have"
        )
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise PanelError(
            f"{argument} {named(text)} has a character that no file name can have"
        ) from None
    return Path(text)


def check_place(path: object, argument: str = "path") -> Path:
    """Give the path of a file that can be written; try the folder now, so that no work is lost.

    Raises PanelError if the path is a directory, or is in one that does not exist or refuses new
    files. Raises TypeError unless it is a string or a path.
    """
    place = as_path(path, argument)
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _unwritable(place, _blocked(place, error)) from error
    else:
        if stat.S_ISDIR(mode):
            raise PanelError(f"{named(place)} is a directory, expected a file to write")
        if not stat.S_ISREG(mode):
            raise _unwritable(place, "it is a device or a pipe, not a file")
    target = _target(place)
    if not target.parent.is_dir():
        link = f"it is a link to {named(target)}, but " if place.is_symlink() else ""
        raise _unwritable(place, f"{link}{named(target.parent)} does not exist")
    _make_folder(place).rmdir()
    return place


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and rename it to ``path`` at the end.

    A link stays a link, and a file that is replaced keeps its permissions. If the system refuses,
    raises PanelError that names ``path``; other errors from inside the block pass through.
    """
    target = _target(path)
    folder = _make_folder(path)
    try:
        part = folder / target.name
        yield part
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except (OSError, pl.exceptions.PolarsError) as error:
        number = _number_of(error)
        if str(folder) not in str(error) and number not in DISK_ERRORS:
            raise
        raise _unwritable(path, _reason(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def reason_of(error: OSError) -> str:
    """Give the system's reason for refusing, without the number and the path."""
    reason = error.strerror or str(error) or type(error).__name__
    return one_line(" ".join(reason.split()), REASON_CHARACTERS)


def _target(path: Path) -> Path:
    """Follow links, even to a file that does not exist yet."""
    return Path(os.path.realpath(path))


def _make_folder(path: Path) -> Path:
    """Make a temporary folder beside a file, or beside the target if the file is a link."""
    try:
        return Path(tempfile.mkdtemp(dir=_target(path).parent))
    except OSError as error:
        why = f"its folder takes no new files ({reason_of(error)})"
        raise _unwritable(path, why) from error


def _blocked(path: Path, error: OSError) -> str:
    """Give the reason why the system cannot read a path."""
    if error.errno == errno.ELOOP:
        return "it is a loop of links"
    if error.errno == errno.ENAMETOOLONG:
        return "the name of the file or of a folder is too long"
    if error.errno == errno.ENOTDIR:
        files = [parent for parent in _target(path).parents if parent.exists()]
        return f"{named(files[0])} is a file, expected a directory"
    return reason_of(error)


def _number_of(error: Exception) -> int | None:
    number = getattr(error, "errno", None)
    found = OS_ERROR.search(str(error))
    return int(found[1]) if number is None and found else number


def _reason(error: Exception) -> str:
    number = _number_of(error)
    return os.strerror(number) if number is not None else "it could not be put in place"


def _unwritable(path: Path, why: str) -> PanelError:
    return PanelError(f"{named(path)} cannot be written: {why}")
