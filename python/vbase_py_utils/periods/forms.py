"""Forms of text periods: which ones sort as time, and how to read others as dates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import polars as pl

YEAR, MONTH, DAY = "[1-9][0-9]{3}", "(0[1-9]|1[0-2])", "(0[1-9]|[12][0-9]|3[01])"
DATE = f"{YEAR}[-/._ ]{MONTH}[-/._ ]{DAY}"
HOUR, MINUTE, OFFSET = "([01][0-9]|2[0-4])", "[0-5][0-9]", "[+-][0-9]{2}:?[0-9]{2}"
# Text in one of these forms sorts as time if all of it has the same letters and widths.
SORTED_FORMS = (
    f"{YEAR}[-/._ ]{MONTH}",
    DATE,
    f"{DATE}[T ]{HOUR}(:{MINUTE}(:{MINUTE}([.,][0-9]+)?)?)?(Z|{OFFSET})?",
    f"{YEAR}{MONTH}{DAY}[T ]{HOUR}{MINUTE}({MINUTE})?Z?",
    f"{DATE}/{DATE}",
    f"{YEAR}[- ]?([QqTt][1-4]|[HhSs][12]|[Mm]{MONTH})",
    f"{YEAR}[- ]?[Ww](0[1-9]|[1-4][0-9]|5[0-3])(-?[1-7])?",
    f"{YEAR}-(00[1-9]|0[1-9][0-9]|[12][0-9]{{2}}|3[0-5][0-9]|36[0-6])",
)
# Digits are dates only in a plausible century, or counters would be taken for dates.
CENTURY = "(18|19|20)[0-9]{2}"
SORTED_DIGITS = (
    CENTURY,
    f"{CENTURY}{MONTH}",
    f"{CENTURY}{MONTH}{DAY}({HOUR}({MINUTE}({MINUTE})?)?)?",
)
# Other formats of digits, by width. Four or five digits are counters unless they can only be dates:
# see ``_digits_sort``.
DIGIT_FORMS = {
    4: ("%m%y", "%y%m"),
    5: ("%y%j",),
    6: ("%m%Y", "%y%m%d", "%d%m%y", "%m%d%y"),
    8: ("%m%d%Y", "%d%m%Y", "%Y%d%m"),
    10: ("%y%m%d%H%M", "%d%m%y%H%M", "%m%d%y%H%M"),
    12: ("%m%d%Y%H%M", "%d%m%Y%H%M", "%y%m%d%H%M%S", "%d%m%y%H%M%S", "%m%d%y%H%M%S"),
    14: ("%m%d%Y%H%M%S", "%d%m%Y%H%M%S"),
}
COUNTER_WIDTHS = (4, 5)
CLOCK = re.compile(
    r"(?P<gap>T|,? +)(?P<hour>[0-9]{1,2}):[0-9]{2}(?P<second>:[0-9]{2}(?P<part>\.[0-9]+)?)?"
    rf"(?P<half> ?[AaPp][Mm])?(?P<zone> ?(Z|{OFFSET}))?$"
)
WEEKDAY = re.compile("(mon|tue|wed|thu|fri|sat|sun)[a-z]*", re.IGNORECASE)
MONTH_NAME = re.compile("(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*", re.IGNORECASE)
# The orders in which a year, the mark of a unit and its number may follow each other.
MARK, GAP = "(?i:{mark})", "[-/ .,']*"
LAYOUTS = (
    (f"{MARK}{GAP}({{n}}){GAP}({{y}})", 2, 1),
    (f"({{n}}){GAP}{MARK}{GAP}({{y}})", 2, 1),
    (f"({{y}}){GAP}{MARK}{GAP}({{n}})", 1, 2),
)
MARKS = {"Q": "q|qtr|quarter", "H": "h", "S": "s", "T": "t", "W": "w|week"}
# How a year is written, and the century to put before it: two digits below 70 are 20xx.
YEARS = ((YEAR, ""), ("[7-9][0-9]", "19"), ("[0-6][0-9]", "20"))
NUMBERS = ("[0-9]", "[0-9]{2}")
# The longest cast in a message, in characters; a longer one would not help.
CAST_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Reading:
    """Text read as dates: ``times``, in the order of the text, null where it is no date.

    ``cast``: the expression that reads them, with ``{}`` for the column.
    """

    times: pl.Series
    cast: str

    @property
    def count(self) -> int:
        """Number of texts that are dates."""
        return len(self.times) - self.times.null_count()


def sorts_as_time(texts: pl.Series) -> bool:
    """Whether text without nulls is in a form that sorts as time."""
    if is_iso(texts) or texts.is_empty():
        return True
    # All have one width, so stripping removes as many spaces from each.
    bare = texts.str.strip_chars()
    return _alike(texts) and _all_match(bare, "[0-9]+") and _digits_sort(bare)


def is_iso(texts: pl.Series) -> bool:
    """Whether all text is in one form of dates, months or the like that sorts as time."""
    bare = texts.str.strip_chars()
    if not _alike(texts):
        return False
    if any(_all_match(bare, form) for form in SORTED_DIGITS):
        return True
    zones = bare.str.extract(f":[0-9.,]+({OFFSET})$")
    return zones.n_unique() == 1 and any(_all_match(bare, form) for form in SORTED_FORMS)


def _alike(texts: pl.Series) -> bool:
    """Whether texts are the same except for their digits."""
    return texts.str.replace_all("[0-9]", "0").n_unique() == 1


def read_dates(texts: pl.Series) -> list[Reading]:
    """Read distinct text as dates: give the readings that cover most of it, if more than half.

    Several are equally good if days and months cannot be distinguished.
    """
    bare = texts.str.strip_chars()
    strip = "" if (bare == texts).all() else ".str.strip_chars()"
    readings = [*_read_digits(bare, strip), *_read_numbered(bare, strip), *_read_forms(bare, strip)]
    most = max((reading.count for reading in readings), default=0)
    best: list[Reading] = []
    for reading in readings:
        new = not any(_equal(reading.times, other.times) for other in best)
        if reading.count == most and 2 * most > len(texts) and new:
            best.append(reading)
    # Panels are often in the order of time; and days read as years would spread the dates.
    return sorted(best, key=lambda r: (not r.times.drop_nulls().is_sorted(), _years(r.times)))


def _equal(one: pl.Series, other: pl.Series) -> bool:
    return one.dtype == other.dtype and one.equals(other)


def _years(times: pl.Series) -> int:
    """Count the years between the first and the last time; 0 for times that are text."""
    if times.dtype == pl.String:
        return 0
    years = times.dt.year().drop_nulls().sort()
    return int(years[-1] - years[0])


def all_read_as_dates(texts: pl.Series) -> bool:
    """Whether all text reads as dates, in one form or several."""
    kinds = structures(texts.str.strip_chars())
    groups = [texts.filter(kinds == kind) for kind in kinds.unique(maintain_order=True)[:6]]
    if sum(map(len, groups)) < len(texts):
        return False
    return all(_read_wholly(group) for group in groups)


def _read_wholly(texts: pl.Series) -> bool:
    bare = texts.str.strip_chars()
    if any(_all_match(bare, form) for form in (*SORTED_FORMS, *SORTED_DIGITS)):
        return True
    return any(reading.count == len(texts) for reading in read_dates(texts))


def _all_match(texts: pl.Series, form: str) -> bool:
    return bool(texts.str.contains(f"^({form})$").all())


def _digits_sort(digits: pl.Series) -> bool:
    """Whether digits of one width, not ISO dates, sort as time because they are not dates.

    Four digits may be counters or months: they are months if all of them can be, they do not
    count up by one, and they are not in the order of time.
    """
    readings = _read_digits(digits, "")
    width = digits.str.len_bytes()[0]
    if width not in COUNTER_WIDTHS:
        return not any(2 * reading.count > len(digits) for reading in readings)
    numbers = digits.cast(pl.Int64).unique().sort()
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return True
    order = digits.arg_sort()
    whole = [reading.times.gather(order) for reading in readings if not reading.times.null_count()]
    return all(times.is_sorted() for times in whole)


def _read_digits(bare: pl.Series, strip: str) -> Iterator[Reading]:
    """Read digits, padding short ones with zeros."""
    if not _all_match(bare, "[0-9]{1,14}"):
        return
    width = int(bare.str.len_bytes().max())  # type: ignore[arg-type]  # a number: it is of lengths
    fill = ""
    if bare.str.len_bytes().n_unique() > 1:
        width += width % 2
        fill, bare = f".str.zfill({width})", bare.str.zfill(width)
        if width in COUNTER_WIDTHS:
            return
    for form in DIGIT_FORMS.get(width, ()):
        yield _parsed(bare, form, "{}" + strip + fill, early=1800, late=2099)


def _read_numbered(bare: pl.Series, strip: str) -> Iterator[Reading]:
    """Read quarters, halves, weeks and numbered months as text that sorts, such as 2024-Q1."""
    for letter, mark in MARKS.items():
        for layout, year_at, number_at in LAYOUTS:
            texts, cast = pl.repeat(None, len(bare), dtype=pl.String, eager=True), "{}" + strip
            for (year, century), number in product(YEARS, NUMBERS):
                form = f"^{layout.format(mark=mark, y=year, n=number)}$"
                found = bare.str.contains(form)
                if not found.any():
                    continue
                zero = "0" if letter == "W" and number == "[0-9]" else ""
                new = f"{century}${{{year_at}}}-{letter}{zero}${{{number_at}}}"
                rewritten = bare.str.replace(form, new)
                texts = rewritten.zip_with(found, texts)
                if (rewritten == bare).all():
                    continue
                form = _literal(form, bare.filter(found), bare.filter(~found))
                cast += f'.str.replace(r"{_braces(form)}", "{_braces(new)}")'
            if not texts.is_null().all() and sorts_as_time(texts.drop_nulls()):
                yield Reading(texts, cast if len(cast) <= CAST_CHARACTERS else "")


def _literal(form: str, texts: pl.Series, others: pl.Series) -> str:
    """Write a form with the first text's own characters around its numbers, if all match it.

    None of the ``others``, which have other forms, may match it.
    """
    match = re.match(form, texts[0])
    if match is None or '"' in texts[0]:
        return form
    (one, two), (three, four) = match.span(1), match.span(2)
    parts = (texts[0][:one], texts[0][two:three], texts[0][four:])
    around = [part.replace(".", "[.]") for part in parts]
    widths = (f"{{{width}}}" if width > 1 else "" for width in (two - one, four - three))
    numbers = [f"([0-9]{width})" for width in widths]
    plain = f"^{around[0]}{numbers[0]}{around[1]}{numbers[1]}{around[2]}$"
    alone = texts.str.contains(plain).all() and not others.str.contains(plain).any()
    return plain if alone else form


def _braces(text: str) -> str:
    """Double the braces of text that is to be formatted."""
    return text.replace("{", "{{").replace("}", "}}")


def _read_forms(bare: pl.Series, strip: str) -> Iterator[Reading]:
    """Read dates with anything between their parts, in the commonest structure of the text."""
    kinds = structures(bare)
    examples = bare.filter(kinds == kinds.mode(maintain_order=True)[0])
    forms = list(dict.fromkeys(form for text in examples.head(3) for form in _forms_of(text)))
    for form in forms:
        if not _parsed(examples.head(50), form, "{}").times.is_null().all():
            yield _parsed(bare, form, "{}" + strip)


def structures(texts: pl.Series) -> pl.Series:
    """Give texts with every run of digits as 0 and every run of letters as A."""
    return texts.str.replace_all("[0-9]+", "0").str.replace_all("[A-Za-z]+", "A")


def _parsed(
    texts: pl.Series, form: str, column: str, *, early: int = 1000, late: int = 9999
) -> Reading:
    """Read text by a format; without a day, take the first of the month."""
    if "%d" not in form and "%j" not in form:
        texts, column, form = "1 " + texts, f'("1 " + {column})', f"%d {form}"
    timed = "%H" in form or "%I" in form
    if timed:
        times = texts.str.to_datetime(form, strict=False)
    else:
        times = texts.str.to_date(form, strict=False)
    plausible = times.dt.year().is_between(early, late)
    times = times.zip_with(plausible.fill_null(value=False), pl.Series([None], dtype=times.dtype))
    shown = _braces(form.replace("\\", "\\\\").replace('"', '\\"'))
    return Reading(times, f'{column}.str.to_date{"time" if timed else ""}("{shown}")')


def _forms_of(text: str) -> Iterator[str]:
    """Give the formats in which text may be a date, the usual ones first."""
    clock = CLOCK.search(text)
    time = "" if clock is None else _clock_form(clock)
    date = text if clock is None else text[: clock.start()]
    parts = re.findall("[0-9]+|[A-Za-z]+|[^0-9A-Za-z]+", date)
    numbers = [i for i, part in enumerate(parts) if part[0] in "0123456789"]
    words = [i for i, part in enumerate(parts) if part[0].isascii() and part[0].isalpha()]
    named = 0
    for i in words:
        if MONTH_NAME.fullmatch(parts[i]) and not named:
            parts[i], named = "%b" if len(parts[i]) == 3 else "%B", 1
        elif parts[i] in ("M", "m"):
            continue  # of a numbered month, such as 2024M1
        elif WEEKDAY.fullmatch(parts[i]):
            parts[i] = "%a" if len(parts[i]) == 3 else "%A"
        else:
            return
    widths = [len(parts[i]) for i in numbers]
    for roles in _roles(len(numbers), named=bool(named), dotted="." in date):
        if all(_fits(role, width) for role, width in zip(roles, widths, strict=True)):
            for i, role in zip(numbers, roles, strict=True):
                parts[i] = f"%{role}"
            form = "".join(part if part[0] == "%" and len(part) == 2 else part.replace("%", "%%")
                           for part in parts)  # fmt: skip
            yield form + time
            if "%b" in form:
                # "May" is a full name as well as a short one.
                yield form.replace("%b", "%B") + time


def _roles(count: int, *, named: bool, dotted: bool) -> list[str]:
    """List what the numbers of a date may be: year, month, day."""
    months = ["", "Y y", "dY dy Yd yd"] if named else ["", "", "mY Ym my ym"]
    if not named and count == 3:
        usual = ["dmY", "mdY"] if dotted else ["mdY", "dmY"]
        return [*usual, "Ymd", "Ydm", *(form.replace("Y", "y") for form in usual), "ymd"]
    return months[count].split() if count < len(months) else []


def _fits(role: str, width: int) -> bool:
    """Whether a number this wide can be a year of four or two digits, a month or a day."""
    return width == {"Y": 4, "y": 2}.get(role, width) and (role in "Yy" or width <= 2)


def _clock_form(clock: re.Match[str]) -> str:
    form = clock["gap"] + ("%I:%M" if clock["half"] else "%H:%M")
    form += ":%S" if clock["second"] else ""
    form += "%.f" if clock["part"] else ""
    form += clock["half"].replace(clock["half"].strip(), "%p") if clock["half"] else ""
    zone = clock["zone"]
    if zone:
        form += zone if zone.endswith("Z") else zone.replace(zone.strip(), "%z")
    return form
