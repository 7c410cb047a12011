"""Classify the cells of a column that are not numbers: dates, words, marks, numbers written in another way."""

from __future__ import annotations

import re

from ..reading import Odd
from ..reading.cells import GROUPED

__all__ = ["NUMBERS_IN_TEXT", "kind_of", "thousands_mark", "units_of"]

_FEW = 40  # words of a column that may be a category
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}( .*)?|\d{1,2}[:.]\d{2}([:.]\d{2}(\.\d+)?)?"
    r"( ?[ap]m)?"
    r"|\d{1,2}[- ]?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*.*"
    r"|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ .,-].*\d.*",
    re.IGNORECASE,
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(\.\d{3})*,\d+([eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d+(,\d{3})*\.\d+([eE][+-]?\d+)?")
_TOTAL = re.compile(
    r"(grand |sub)?(total|sum|summe|gesamt|average|mean|mittel(wert)?|avg|median|min(imum)?|max(imum)?|range|count|"
    r"anzahl|"
    r"(std|stdev|st\.?|standard)[ .]?(dev(iation)?|abw(eichung)?)?|sd|sigma|var(iance|ianz)?|rms|cv)s?\.?:?",
    re.IGNORECASE,
)
_IN_TEXT = {
    "negative numbers in brackets": re.compile(r"\([\d.,]+\)"),
    "negative numbers with the minus sign behind": re.compile(r"[\d.,]+ ?[-\u2212]"),
    "fractions": re.compile(r"[+-]?\d+ ?/ ?\d+"),
    "digits with underscores": re.compile(r"[+-]?\d+(_\d+)+([.,]\d*)?"),
    "hexadecimal numbers": re.compile(r"0x[0-9a-f]+", re.IGNORECASE),
    "numbers in quotes": re.compile(r"['`\u2018\u2019\u201c\u201d][+-]?[\d.,]+['`\u2018\u2019\u201c\u201d]?"),
    "numbers with their uncertainty": re.compile(r"[+-]?[\d.,]+ ?(\u00b1|\+/-|\+-) ?[\d.,]+"),
    "ranges of numbers or codes": re.compile(r"[\d.,]+ ?(-|\u2013|\.\.|to) ?[\d.,]+"),
    "limits in place of readings": re.compile(r"[<>~\u2264\u2265] ?[\d.,]+"),
}
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*([eE][+-]?\d+)?")
_UNIT = re.compile(
    r"[$\u20ac\u00a3\u00a5]?\s*[+-]?\d[\d.,]*\s*[^\d\s.,][^\d]{0,15}|[$\u20ac\u00a3\u00a5]\s*[+-]?\d[\d.,]*"
)
_MARKS = {
    "na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing", "unknown", "n.d.", "?", "-", "--", "---", ".",
    "..", "*", "#div/0!", "#value!", "#ref!", "#null!", "#num!", "error", "bad", "void", "1.#qnan", "-1.#qnan",
    "1.#ind",
    "-1.#ind", "1.#inf", "-1.#inf", "-nan(ind)", "nan(ind)", "-nan", "<na>", "nat", "overflow", "#overflow", "ol",
    "fault", "invalid", "not a number", "no data", "nodata", "n/d", "nd", "k.a.", "blank", "(null)", "(blank)",
}  # fmt: skip
#: What numbers in a text may be; none of them is dropped or guessed.
NUMBERS_IN_TEXT = tuple(_IN_TEXT)
_PLAIN = re.compile(r"[+-]?\d+[.,]?\d*")
_TRUTH = {"y", "n", "yes", "no", "on", "off", "ja", "nein", "t", "f", "high", "low", "open", "closed"}
_BIG = re.compile(r"[+-]?\d{16,}")


def kind_of(odd: Odd, numbers: int) -> tuple[str, list[str], list[str]]:
    """Tell what the odd cells of a column are, beside ``numbers`` cells that are numbers.

    Returns
    -------
    kind : str
        ``marks`` for missing values, ``only marks``, ``big`` (whole numbers that float64 would change), ``dates``,
        ``comma``, ``point`` (decimal marks), ``grouped`` (thousands marks), ``total``, ``unit``, ``words``, ``text``,
        or what numbers in a text are.
    texts : list of str
        The cells that decided it, in the order of their first rows.
    marks : list of str
        Further cells that are known to mean missing.
    """
    marks = [text for text in odd.texts if text.lower() in _MARKS]
    texts = [text for text in odd.texts if text not in marks]
    if not texts:
        return ("marks" if numbers else "only marks"), marks, []
    return _kind(texts, odd, numbers), texts, marks


def _kind(texts: list[str], odd: Odd, numbers: int) -> str:
    def every(form: re.Pattern[str]) -> bool:
        return all(form.fullmatch(text) for text in texts)

    if every(_BIG):
        return "big"
    if every(_DATE) and not any(_PLAIN.fullmatch(text) for text in texts):
        return "dates"
    digits = all(_NUMBER.fullmatch(re.sub(r"['\u2019\s]", "", text)) for text in texts)
    if digits and every(_DECIMAL_COMMA) and any(not GROUPED[","].fullmatch(text) for text in texts):
        if not any("." in text for text in texts):
            return "comma"
    if digits and any(form.fullmatch(text) for text in texts for form in GROUPED.values()):
        return "grouped"
    if every(_DECIMAL_COMMA):
        return "comma"
    if every(_DECIMAL_POINT):
        return "point"
    if every(_TOTAL) and odd.count <= 8 and numbers + len(texts) > 2:
        return "total"
    for what, form in _IN_TEXT.items():
        if every(form):
            return what
    if every(_UNIT):
        return "unit"
    if len(texts) > 1 and all(text.lower() in _TRUTH for text in texts):
        return "words"
    if numbers >= odd.count and len(texts) <= 3 and not odd.more:
        return "marks"
    repeated = odd.count >= 2 * len(texts) or len(texts) < 4
    return "words" if numbers < odd.count and len(texts) <= _FEW and not odd.more and repeated else "text"


def thousands_mark(texts: list[str]) -> str:
    """The mark that groups the digits of numbers: ``,``, ``.``, ``'`` or ``space``."""
    return next(mark for mark, form in GROUPED.items() if any(form.fullmatch(text) for text in texts))


def units_of(texts: list[str]) -> set[str]:
    """What stands beside the numbers of cells: ``{"°C"}``, or several where a column mixes units."""
    return {re.sub(r"[\d.,+\s-]", "", text) for text in texts}
