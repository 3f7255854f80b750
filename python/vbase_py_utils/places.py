"""Where a file can be written, and how it gets there whole or not at all."""

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
from vbase_py_utils.text import one_line

# Of a path, and of a reason from the system, in a message.
PATH_CHARACTERS, REASON_CHARACTERS = 90, 100
# What a disk answers to a write, whatever the file. Polars reports the number in its text alone.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
OS_ERROR = re.compile(r"\(os error (\d+)\)")


def named(path: str | Path) -> str:
    """Write a path for a message: on one line, cut inside if it is long."""
    return one_line(str(path), PATH_CHARACTERS)


def as_path(path: object, argument: str = "path") -> Path:
    """Give what names a file as a Path.

    Raises TypeError for what is neither a string nor a path, PanelError for a name no file has.
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
        raise PanelError(f"{argument} {named(text)} holds a NUL character, which no file name can")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise PanelError(
            f"{argument} {named(text)} holds a character that no file name can"
        ) from None
    return Path(text)


def check_place(path: object, argument: str = "path") -> Path:
    """Give the path of a file that can be written; the folder is tried, so that no work is lost.

    Raises PanelError for a directory, a place in none or one that refuses new files, and TypeError
    for what is no path.
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
    """Give a place beside ``path`` to write to, which is renamed if all goes well.

    A link stays one, and who may read a file that is replaced may read the new one. Raises
    PanelError, which names ``path``, if the system refuses; what else is raised inside passes.
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
    """Say what the system refused, without number and path."""
    reason = error.strerror or str(error) or type(error).__name__
    return one_line(" ".join(reason.split()), REASON_CHARACTERS)


def _target(path: Path) -> Path:
    """Follow links, also those to a file that is not there yet."""
    return Path(os.path.realpath(path))


def _make_folder(path: Path) -> Path:
    """Make a folder for the parts of a file beside the file, or beside what it is a link to."""
    try:
        return Path(tempfile.mkdtemp(dir=_target(path).parent))
    except OSError as error:
        why = f"its folder takes no new files ({reason_of(error)})"
        raise _unwritable(path, why) from error


def _blocked(path: Path, error: OSError) -> str:
    """Say why the system cannot tell what is at a path."""
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
