"""Which format the dates of a column have: the formats that each text may have, and all share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from likeness.data.datetimes import NAMES, OFFSET, PIVOT, Array, is_clock, pattern, read
from likeness.data.source import Loud

LONGEST = 50  # characters of a date
LOOK = 200  # texts that narrow the formats down before all are read
CLOCK = re.compile(
    r"(?P<before>.*?)(?P<at>,? |T|:)?(?P<hour>\d{1,2})(?P<minute>:\d\d)(?P<second>:\d\d)?(?P<part>\.\d{1,9})?"
    r"(?P<half> ?[ap]\.?m\.?)?(?P<zone> ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?",
    re.IGNORECASE | re.ASCII,
)
MONTH = f"(?:{'|'.join([*NAMES['B'], 'Sept', *NAMES['b']])})"
WEEKDAY = f"(?:{'|'.join([*NAMES['A'], *NAMES['a']])})"
GAP = r"[ ./,-]{1,2}"
PARTS = re.compile(r"\d+(?:st|nd|rd|th)?|[A-Za-z]+|[^\dA-Za-z]+", re.ASCII)
NUMERIC = re.compile(r"(\d{1,4})([./-]|\. | )(\d{1,2})\2(\d{1,4})", re.ASCII)
NAMED = re.compile(
    rf"(?:{WEEKDAY}[., ]{{1,2}})?(?:\d{{1,2}}(?:st|nd|rd|th)?{GAP}{MONTH}{GAP}(?:\d{{4}}|\d\d)"
    rf"|{MONTH}{GAP}\d{{1,2}}(?:st|nd|rd|th)?{GAP}\d{{4}}|\d{{4}}{GAP}{MONTH}{GAP}\d{{1,2}})",
    re.IGNORECASE | re.ASCII,
)
NAMED_MONTH = re.compile(
    rf"{MONTH}(?:{GAP})?(?:\d{{4}}|\d\d)|\d{{4}}(?:{GAP})?{MONTH}", re.IGNORECASE | re.ASCII
)
SHAPES = (  # months, quarters and weeks in digits
    (re.compile(r"[12]\d{3}([/-])\d{1,2}", re.ASCII), r"%Y\1%m"),
    (re.compile(r"\d{1,2}([/-])[12]\d{3}", re.ASCII), r"%m\1%Y"),
    (re.compile(r"\d{4}([- ]?)(M)\d{1,2}", re.ASCII), r"%Y\1\2%m"),
    (re.compile(r"\d{4}([-/: ]?)(Q)[1-4]", re.ASCII | re.IGNORECASE), r"%Y\1\2%q"),
    (re.compile(r"(Q)[1-4]([-/: ]?)\d{4}", re.ASCII | re.IGNORECASE), r"\1%q\2%Y"),
    (re.compile(r"[1-4](Q)([-/: ]?)\d{4}", re.ASCII | re.IGNORECASE), r"%q\1\2%Y"),
    (re.compile(r"\d{4}(-?)W\d{2}", re.ASCII), r"%G\1W%V"),
    (re.compile(r"\d{4}(-?)W\d{2}(-?)\d", re.ASCII), r"%G\1W%V\2%u"),
)
YEAR = "(?:19|20)[0-9]{2}"
MONTH_NUMBER = "(?:0[1-9]|1[0-2])"
DAY_NUMBER = "(?:0[1-9]|[12][0-9]|3[01])"
BARE = (  # what could be plain numbers: the fewest texts that all must look so
    (re.compile(YEAR + MONTH_NUMBER + DAY_NUMBER), "%Y%m%d", 5),
    (re.compile(YEAR + MONTH_NUMBER + DAY_NUMBER + "[0-9]{4}"), "%Y%m%d%H%M", 2),
    (re.compile(YEAR + MONTH_NUMBER + DAY_NUMBER + "[0-9]{6}"), "%Y%m%d%H%M%S", 2),
    (re.compile(YEAR + MONTH_NUMBER), "%Y%m", 12),
    (re.compile(rf"{YEAR}\.{MONTH_NUMBER}"), "%Y.%m", 12),
    (re.compile(rf"{MONTH_NUMBER}\.{YEAR}"), "%m.%Y", 12),
)
WORDS = {
    **dict.fromkeys("Yy", "year"),
    **dict.fromkeys("mbB", "month"),
    **dict.fromkeys("do", "day"),
    "q": "quarter",
    "G": "year",
    "V": "week",
    "u": "day",
}


@dataclass(frozen=True, eq=False)
class Dates:
    """What a column's texts say as dates.

    Args:
        values: Days since 1970, UTC, or hours of a clock, one for each text.
        form: How they are written.
        notes: What was seen while reading them.
    """

    values: Array
    form: str
    notes: tuple[str, ...]


def find(texts: Sequence[str], *, wanted: bool = False) -> Dates | None:
    """Texts as dates of one format, or None where they have none.

    Args:
        texts: Cells that are there, each distinct, without blanks around.
        wanted: Whether they are known to be dates, so that a few bare digits do.
    """
    # Digits alone (20240131) first: they would also pass as numbers.
    bare = find_bare(texts, wanted=wanted)
    if bare is not None:
        return bare
    # Every format that all texts share, read with each.
    readings = [(form, read(texts, form)) for form in _shared(texts[:LOOK])]
    fitting = [(form, values) for form, values in readings if values is not None]
    if not fitting:
        return None
    # The likeliest reading wins; readings in another order of day and month are a doubt.
    form, values = fitting[0]
    notes = _notes(form, doubtful=len({_order(form) for form, _ in fitting}) > 1)
    return Dates(values, _exact(texts, form, values), notes)


def find_bare(texts: Sequence[str], *, wanted: bool = False) -> Dates | None:
    """Texts as dates of digits that could be plain numbers: so many that all look so by no chance."""
    # Each shape needs enough texts that so many numbers would not look like dates by chance.
    for shape, form, fewest in BARE:
        if len(texts) >= (1 if wanted else fewest) and all(map(shape.fullmatch, texts)):
            values = read(texts, form)
            if values is not None:
                return Dates(values, form, tuple(map(Loud, _notes(form, doubtful=False))))
    return None


def could_be_dates(texts: Sequence[str]) -> bool:
    """Whether all are digits of a year, a month and a day, but too few to be taken for them."""
    return all(map(BARE[0][0].fullmatch, texts)) and find_bare(texts, wanted=True) is not None


def signature(texts: Sequence[str], values: Array) -> str | None:
    """The format of dates that were read already, or None where they have several."""
    # The format of all texts is that of the first, with its details filled in.
    forms = _shared(texts[:LOOK])
    if not forms or not all(map(pattern(forms[0]).fullmatch, texts)):
        return None
    return _exact(texts, forms[0], values)


def looks_dated(text: str) -> bool:
    """Whether a text alone looks like a date or a time."""
    return len(text) <= LONGEST and bool(formats(text))


def _shared(texts: Sequence[str]) -> list[str]:
    """The formats that all may have, the likeliest first."""
    if max(map(len, texts)) > LONGEST:
        return []
    # Formats of the first text that every other text has too.
    forms = formats(texts[0])
    for text in texts[1:]:
        own = set(formats(text))
        forms = [form for form in forms if form in own]
        if not forms:
            return []
    return forms


def formats(text: str) -> list[str]:
    """The formats that a text may have, the likeliest first."""
    # Split into a date and a time of day.
    clock = CLOCK.fullmatch(text)
    if clock is None:
        return _of_date(text)
    # A time without a date must have neither a separator in front nor a zone.
    if not clock["before"]:
        return [_of_clock(clock)] if clock["at"] is None and clock["zone"] is None else []
    # Digits joined to a time without a separator are no date.
    if clock["at"] is None:
        return []
    tail = (clock["at"] or "") + _of_clock(clock)
    zone = clock["zone"] or ""
    # An offset is fixed text where all have the same, else a field.
    ends = [zone]
    if OFFSET.search(zone) and zone.strip()[0] in "+-":
        ends.append(zone[: len(zone) - len(zone.lstrip())] + ("%:z" if ":" in zone else "%z"))
    return [f"{date}{tail}{end}" for end in ends for date in _of_date(clock["before"])]


def _of_clock(clock: re.Match[str]) -> str:
    form = "%I:%M" if clock["half"] else "%H:%M"
    form += ":%S" if clock["second"] else ""
    form += ".%f" if clock["part"] else ""
    half = clock["half"] or ""
    return form + half[: len(half) - len(half.lstrip())] + ("%p" if half else "")


def _of_date(text: str) -> list[str]:
    # The shapes in turn: digits with marks, a month's name, or months, quarters and weeks.
    numeric = NUMERIC.fullmatch(text)
    if numeric is not None:
        return _of_numbers(numeric)
    if NAMED.fullmatch(text):
        return _of_names(text)
    if NAMED_MONTH.fullmatch(text):
        return _of_names(text)
    return [match.expand(form) for shape, form in SHAPES if (match := shape.fullmatch(text))]


def _of_numbers(found: re.Match[str]) -> list[str]:
    # A part of four digits is the year.
    first, mark, _, last = found.groups()
    year_first = len(first) == 4 and len(last) < 3
    year_last = len(last) == 4 and len(first) < 3
    if year_first:
        return [f"%Y{mark}%m{mark}%d"]
    # Day and month: American order first only with slashes, as usage has it.
    orders = ("m d {} ", "d m {}") if mark == "/" else ("d m {}", "m d {}")
    years = ["Y"] if year_last else ["y"]
    if not year_last and (len(first) > 2 or len(last) != 2):
        return []
    found_orders = [order.format(year).split() for order in orders for year in years]
    # Two digits everywhere: the year may also come first.
    if not year_last:
        found_orders.append(["y", "m", "d"])
    return [mark.join(f"%{name}" for name in order) for order in found_orders]


def _of_names(text: str) -> list[str]:
    """Formats of a date whose month is named: short or long names, where they are the same."""
    parts = PARTS.findall(text)
    numbers = [i for i, part in enumerate(parts) if part[0].isdigit()]
    # The year among the numbers is the one of four digits, else the last.
    years = [i for i in numbers if len(parts[i]) == 4 and parts[i].isdigit()] or numbers[-1:]
    forms = [""]
    # Each part is a directive, or stays as text; "May" is both long and short: forms multiply.
    for i, part in enumerate(parts):
        choices = [part]
        if i in years:
            choices = ["%Y" if len(part) == 4 else "%y"]
        elif i in numbers:
            choices = ["%d" if part.isdigit() else "%o"]
        elif part[0].isalpha():
            choices = _names(part)
        forms = [form + choice for form in forms for choice in choices]
    return forms


def _names(word: str) -> list[str]:
    title = word.title()
    short = "Sep" if title == "Sept" else title
    return [f"%{name}" for name in "bBaA" if (short if name == "b" else title) in NAMES[name]]


# ---- what is seen --------------------------------------------------------------------------------


def _order(form: str) -> str:
    """The order of its parts, of which there should be one alone."""
    return ", ".join(
        WORDS[name] for name in re.findall(r"%[-^_:]?([A-Za-z])", form) if name in WORDS
    )


def _notes(form: str, doubtful: bool) -> tuple[str, ...]:
    if is_clock(form):
        return (Loud("holds times of day: read as hours"),)
    words = f"holds dates written {_order(form)}"
    doubt = ""
    # 12/11/2024 can be read two ways, which only a day above 12 tells.
    if doubtful and "." not in form:
        doubt = " (no day above 12 tells: write YYYY-MM-DD if that is wrong)"
    said = [Loud(words + doubt) if doubt else words]
    if "%y" in form:
        said.append(Loud(f"has two-digit years: read as {1900 + PIVOT} to {1999 + PIVOT}"))
    return tuple(said)


def _exact(texts: Sequence[str], form: str, values: Array) -> str:
    """The format with how it is written: leading zeros or none, capitals, and midnight where all are."""
    shape = pattern(form)
    matches = [found for found in map(shape.fullmatch, texts) if found is not None]
    # Each field's style: no leading zeros, all capitals, all lower case.
    for name in shape.groupindex:
        flag = _flag(name, [found[name] for found in matches])
        form = re.sub(f"%{name}", f"%{flag}{name}", form)
    # Where all times are midnight, dates are meant and the time is text.
    midnight = not is_clock(form) and bool((values == np.round(values)).all())
    if midnight and OFFSET.search(form) is None and "%z" not in form and "%:z" not in form:
        form = form.replace("%H:%M", "00:00").replace("%-H:%M", "0:00").replace(":%S", ":00")
    return form


def _flag(name: str, fields: Sequence[str]) -> str:
    if name in {"d", "m", "H", "I"} and any(len(field) == 1 for field in fields):
        return "-"
    if name in {"a", "A", "b", "B", "p"}:
        if all(field.isupper() for field in fields) and name != "p":
            return "^"
        if all(field.islower() for field in fields):
            return "_"
    return ""
