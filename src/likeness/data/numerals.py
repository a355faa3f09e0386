"""Numbers as people write them, and back: decimal commas, thousands marks, units, negatives of accountants.

A form is said as spreadsheets say it: `#,##0.00` has thousands marks and two decimals, `0,0#` a
decimal comma and one or two decimals, `0.*` as many as a number has, `$0.00;()` parentheses where
it is negative, `0.00E+00` powers of ten.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)
CODE = re.compile(r"0\d+|\+\d{7,}", re.ASCII)  # a number would lose its zeros or its plus
WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)  # a decimal point, or one of thousands
EXACT = 2**53  # whole numbers beyond it are not all float64
LONGEST = 60  # characters of a number that people write
DECIMALS_MOST = 12  # beyond them a number is written as short as it can be told

BLANKS = " \u00a0\u2007\u2009\u202f"  # plain, no-break, of a figure's width, thin, narrow no-break
THOUSANDS = {".": f",'’_{BLANKS}", ",": f".'’_{BLANKS}"}  # by the mark of decimals
MINUS = "-\u2212\u2013"
CURRENCY = (
    r"R\$|[$€£¥₹₩₽₺]|kr\.?|zł|Kč|Fr\.|Rs\.?"
    r"|(?:USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|BRL)(?![A-Za-z])"
)
MEASURE = (
    r"kg|g|mg|[µμ]g|t|lbs?|oz|km|m|cm|mm|[µμ]m|nm|in|ft|yd|mi|km/h|mph|m/s|[kcm]?m[²³23]|ha|l|L|ml|mL|cl|dl|dL"
    r"|mg/d[lL]|mmol/[lL]|g/[lL]|s|ms|min|h|hrs?|days?|years?|Hz|[kMG]Hz|W|[kMG]W|[kMGT]Wh|V|mV|kV|A|mA"
    r"|°C|°F|°|K|Pa|hPa|kPa|MPa|bar|mbar|psi|mmHg|J|kJ|MJ|kcal|cal|N|kN|dB|ppm|ppb|bp|px|bps|[kKMGT]i?B"
)
AMOUNT = re.compile(
    rf"(?P<open>\()?[{BLANKS}]*(?P<sign>[{MINUS}+])?[{BLANKS}]*"
    rf"(?P<before>(?:{CURRENCY}|%)[{BLANKS}]*)?(?P<inner>[{MINUS}])?"
    rf"(?P<body>\d(?:[\d.,'’_{BLANKS}]*[\d.,])?|[.,]\d+)(?P<power>[eE][+-]?\d+)?"
    rf"(?P<after>[{BLANKS}]*(?:{CURRENCY}|[%‰]|(?P<measure>{MEASURE})))?"
    rf"(?P<last>[{BLANKS}]?[{MINUS}])?[{BLANKS}]*(?P<close>\))?"
)
PATTERN = re.compile(
    r"(?P<before>[^#0;]*)(?P<whole>(?:#[^#0])?(?:##[^#0])?(?:##)?0)"
    r"(?:(?P<decimal>[.,])(?P<least>0*)(?P<more>\*|#*))?(?:(?P<power>[eE])\+00)?"
    r"(?P<after>[^;]*)(?:;(?P<negative>.+))?"
)
NEGATIVES = {"()": "({})", "0-": "{}-"}  # how a negative number stands, by what a form says of it


@dataclass(frozen=True)
class NumberForm:
    """How a column's numbers are written.

    Args:
        decimal: The mark before decimals, "." or ",".
        thousands: The mark between thousands, or "".
        pairs: Whether digits above the first thousand stand in pairs, as in India.
        least: How many decimals there are at least.
        most: How many there are at most, None where as many as a number has.
        power: "e" or "E" where numbers are written in powers of ten, else "".
        before: What stands before each number, such as "$".
        after: What stands behind it, such as " kg".
        negative: "-" or another sign in front, "()" for parentheses, "0-" for a sign behind.
    """

    decimal: str = "."
    thousands: str = ""
    pairs: bool = False
    least: int = 0
    most: int | None = None
    power: str = ""
    before: str = ""
    after: str = ""
    negative: str = "-"

    def __str__(self) -> str:
        whole = "0"
        if self.thousands:
            groups = ("#", "##", "##0") if self.pairs else ("#", "##0")
            whole = self.thousands.join(groups)
        more = "*" if self.most is None else "#" * (self.most - self.least)
        decimals = "0" * self.least + more
        mark = self.decimal if decimals else ""
        power = f"{self.power}+00" if self.power else ""
        sign = f";{self.negative}" if self.negative != "-" else ""
        return f"{self.before}{whole}{mark}{decimals}{power}{self.after}{sign}"

    @classmethod
    def parse(cls, text: str | None) -> NumberForm | None:
        """The form that `str` wrote, or None where the text is none."""
        match = PATTERN.fullmatch(text or "")
        if match is None:
            return None
        whole, least, more = match["whole"], len(match["least"] or ""), match["more"] or ""
        thousands = whole[1] if whole.startswith("#") else ""
        return cls(
            decimal=match["decimal"] or ("," if thousands == "." else "."),
            thousands=thousands,
            pairs=whole.count("##") == 2,
            least=least,
            most=None if more == "*" else least + len(more),
            power=match["power"] or "",
            before=match["before"],
            after=match["after"],
            negative=match["negative"] or "-",
        )

    @property
    def noted(self) -> str | None:
        """What a user should hear of it: it is written otherwise than programs write numbers."""
        if self.decimal == ",":
            return "is written with decimal commas: 1.234,5 is read as 1234.5"
        if self.thousands or self.before or self.after or self.negative != "-":
            return "is written with thousands marks or units: read as numbers such as 1234.5"
        return None

    def write(self, value: Any) -> str:
        """One number as the column writes it."""
        digits = self._digits(abs(value))
        shown = f"{self.before}{digits}{self.after}"
        if not value < 0 or not any(digit in "123456789" for digit in digits):
            return shown
        return NEGATIVES.get(self.negative, self.negative + "{}").format(shown)

    def _digits(self, size: Any) -> str:
        if self.power:
            return self._in_powers(size)
        text = _shortest(size) if self.most is None else f"{size:.{self.most}f}"
        whole, _, decimals = text.partition(".")
        decimals = decimals.rstrip("0").ljust(self.least, "0")
        return self._grouped(whole) + (self.decimal + decimals if decimals else "")

    def _in_powers(self, size: Any) -> str:
        if self.most is None:
            text = np.format_float_scientific(size, trim="-", exp_digits=2)
        else:
            text = f"{size:.{self.most}e}"
        return text.replace("e", self.power).replace(".", self.decimal)

    def _grouped(self, whole: str) -> str:
        if not self.thousands or len(whole) < 4 or not whole.isdecimal():
            return whole
        head, size = whole[:-3], 2 if self.pairs else 3
        first = len(head) % size or size
        groups = [head[:first], *(head[i : i + size] for i in range(first, len(head), size))]
        return self.thousands.join([*groups, whole[-3:]])


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a column's texts say as numbers.

    Args:
        values: float64, one for each text.
        form: How they are written.
        either: Whether their marks could as well be those of decimals as of thousands.
    """

    values: Array
    form: NumberForm
    either: bool = False


def is_number(text: str) -> bool:
    """Whether a text is a finite number as programs write it."""
    return PLAIN.fullmatch(text) is not None


def is_amount(text: str) -> bool:
    """Whether a text is a number as people write it."""
    return len(text) <= LONGEST and (is_number(text) or read([text]) is not None)


def code_among(texts: Iterable[str]) -> str | None:
    """The first text that would not survive as a number, where all are whole: 01067, or 19 digits.

    Zeros in front make no codes where other numbers are negative.
    """
    zeros = long = None
    signed = False
    for text in texts:
        if not WHOLE.fullmatch(text):
            return None
        signed = signed or text[0] == "-"
        if long is None and _inexact(text):
            long = text
        if zeros is None and CODE.fullmatch(text):
            zeros = text
    return long if signed else zeros or long


def _inexact(text: str) -> bool:
    digits = text.lstrip("+-0")
    return len(digits) > 15 and (len(digits) > 16 or int(digits) > EXACT)


def read(
    texts: Sequence[str], form: NumberForm | None = None, *, comma: bool | None = None
) -> Numbers | None:
    """Texts as numbers of one form, or None where one is no such number.

    Args:
        texts: Cells that are there, each distinct, without blanks around.
        form: How they are known to be written.
        comma: Whether the table's other columns have decimal commas, where that is known.
    """
    plain = (form is None or form.decimal == ".") and all(map(PLAIN.fullmatch, texts))
    either = plain and form is None and all(map(GROUPS.fullmatch, texts))
    if plain and not (either and comma):
        return Numbers(np.array([float(t) for t in texts]), _plain_form(texts), bool(either))
    parts = [AMOUNT.fullmatch(text) for text in texts]
    matches = [part for part in parts if part is not None]
    if len(matches) < len(parts) or not _of_one_kind(matches, form):
        return None
    whole = form is not None and form.most == 0 and not form.thousands
    if whole and not all(part["body"].isdecimal() for part in matches):
        return None  # whole numbers tell no mark of decimals, so that 1,234 could be either
    ways = {mark: _in_way(matches, mark) for mark in ".," if form is None or form.decimal == mark}
    return _chosen([way for way in ways.values() if way is not None], comma)


def _chosen(ways: Sequence[Numbers], comma: bool | None) -> Numbers | None:
    """The reading that the table's other columns speak for, else that with a decimal point."""
    if len(ways) < 2 or (ways[0].values == ways[1].values).all():
        return ways[0] if ways else None
    way = ways[1] if comma else ways[0]
    return Numbers(way.values, way.form, either=True)


def _of_one_kind(parts: Sequence[re.Match[str]], form: NumberForm | None) -> bool:
    """Whether all have one unit at most, and parentheses are pairs that not all have."""
    units = {(p["before"] or p["after"] or "").strip() for p in parts}
    if form is not None and not units <= {"", (form.before or form.after).strip()}:
        return False
    if len(units - {""}) > 1 or any(p["before"] and p["after"] for p in parts):
        return False
    if form is None and any(p["measure"] for p in parts) and not all(p["measure"] for p in parts):
        return False
    closed = all((p["open"] is None) == (p["close"] is None) for p in parts)
    marked = sum(p["open"] is not None for p in parts)
    listed = form is None and marked == len(parts) and all(_bare(p) for p in parts)
    return closed and not listed and all(len(_signs(p)) < 2 for p in parts)


def _bare(part: re.Match[str]) -> bool:
    return part["body"].isdecimal() and not (part["before"] or part["after"])


def _signs(part: re.Match[str]) -> list[str]:
    return [name for name in ("open", "sign", "inner", "last") if part[name] is not None]


def _in_way(parts: Sequence[re.Match[str]], decimal: str) -> Numbers | None:
    """The numbers with this mark before decimals, and one of those that go with it for thousands."""
    bodies = [part["body"] for part in parts]
    marks = sorted(set("".join(bodies)) - set("0123456789") - {decimal})
    blanks = all(mark in BLANKS for mark in marks)
    if (len(marks) > 1 and not blanks) or any(mark not in THOUSANDS[decimal] for mark in marks):
        return None
    shapes = _shapes(decimal, "".join(marks))
    if not all(map(shapes[0].fullmatch, bodies)) and not all(map(shapes[1].fullmatch, bodies)):
        return None
    pairs = not all(map(shapes[0].fullmatch, bodies))
    drop = str.maketrans({**dict.fromkeys(marks), decimal: "."})
    sizes = [
        float(b.translate(drop) + (p["power"] or "")) for b, p in zip(bodies, parts, strict=True)
    ]
    minus = [bool(_signs(p)) and p["sign"] != "+" for p in parts]
    form = _form(parts, decimal, max(marks, key="".join(bodies).count, default=""), pairs)
    return Numbers(np.where(minus, -1.0, 1.0) * np.array(sizes), form)


def _shapes(decimal: str, marks: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Digits in groups of three, and in pairs above the first three, both with decimals.

    A first group of thousands never starts with 0: 0,123 holds a decimal comma.
    """
    tail = rf"(?:{re.escape(decimal)}\d*)?|{re.escape(decimal)}\d+"
    mark = f"[{re.escape(marks)}]" if marks else "(?!)"
    threes = rf"(?:[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|\d+)(?:{tail})"
    pairs = rf"(?:[1-9]\d?(?:{mark}\d\d)*{mark}\d{{3}}|\d+)(?:{tail})"
    bare = rf"{re.escape(decimal)}\d+"
    return re.compile(f"{threes}|{bare}"), re.compile(f"{pairs}|{bare}")


# ---- forms ---------------------------------------------------------------------------------------


def _plain_form(texts: Sequence[str]) -> NumberForm:
    lower = [text.lower() for text in texts]
    powers = sum("e" in text for text in lower)
    mantissas = [text.partition("e")[0] for text in lower]
    least, most = _decimals([len(text.partition(".")[2]) for text in mantissas])
    if not powers:
        return NumberForm(least=least, most=most)
    if powers < len(texts):
        return NumberForm()
    upper = "E" if any("E" in text for text in texts) else "e"
    return NumberForm(least=least, most=most, power=upper)


def _decimals(counts: Sequence[int]) -> tuple[int, int | None]:
    """The fewest and the most decimals that there are; none is too many to be a form."""
    most = max(counts, default=0)
    return (0, None) if most > DECIMALS_MOST else (min(counts, default=0), most)


def _form(parts: Sequence[re.Match[str]], decimal: str, thousands: str, pairs: bool) -> NumberForm:
    least, most = _decimals([len(part["body"].partition(decimal)[2]) for part in parts])
    powers = [part["power"] for part in parts if part["power"]]
    if powers and len(powers) < len(parts):
        least, most = 0, None
    return NumberForm(
        decimal=decimal,
        thousands=thousands,
        pairs=pairs,
        least=least,
        most=most,
        power=powers[0][0] if len(powers) == len(parts) else "",
        before=_commonest(part["before"] for part in parts),
        after=_commonest(part["after"] for part in parts),
        negative=_negative(parts),
    )


def _commonest(texts: Iterable[str | None]) -> str:
    counts = Counter(text for text in texts if text)
    return counts.most_common(1)[0][0] if counts else ""


def _negative(parts: Sequence[re.Match[str]]) -> str:
    """How negative numbers are told, as most of them are."""
    styles = {"open": "()", "last": "0-", "inner": "-"}
    signs = (styles.get(name, part[name]) for part in parts for name in _signs(part))
    return _commonest(style for style in signs if style != "+") or "-"


def _shortest(size: Any) -> str:
    """The fewest digits that tell a number, without powers of ten where that is short."""
    if size != 0 and not 1e-9 < size < 1e16:
        return str(size)
    return str(np.format_float_positional(size, trim="-"))
