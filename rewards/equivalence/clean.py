"""One way of writing for the many that models and data sets have."""

from __future__ import annotations

import re
from collections.abc import Callable

LONGEST = 600  # characters of an answer that is read as mathematics; a longer one is compared as text

_CHARACTERS = {
    **dict.fromkeys("\u2010\u2011\u2212\u2013\u2014\ufe63\uff0d", "-"),
    **dict.fromkeys("\u00a0\u2009\u202f\u2007\u2002\u2003\u3000", " "),
    **dict.fromkeys("\u200b\u2061\u2062\ufeff", ""),
    **dict.fromkeys("\u2018\u2019\u02b9", "'"),
    **dict.fromkeys("\u00d7\u2715\u2a2f", "\\times "),
    **dict.fromkeys("\u00b7\u22c5\u2219", "\\cdot "),
    "\u00f7": "/", "\u2044": "/", "\u2215": "/", "\u2236": ":",
    "\u03c0": "\\pi ", "\u03b8": "\\theta ", "\u03b1": "\\alpha ", "\u03b2": "\\beta ", "\u03c6": "\\phi ",
    "\u221e": "\\infty ", "\u2264": "\\le ", "\u2a7d": "\\le ", "\u2265": "\\ge ", "\u2a7e": "\\ge ",
    "\u2260": "\\ne ", "\u222a": "\\cup ", "\u2229": "\\cap ", "\u2208": "\\in ", "\u2205": "\\emptyset ",
    "\u00b1": "\\pm ", "\u211d": "\\mathbb{R}", "\u00b0": " degrees ", "\uff05": "%", "\uff0c": ",",
    "\u27e8": "\\langle ", "\u27e9": "\\rangle ", "\u2248": "\\approx ",
}  # fmt: skip
_FRACTIONS = {
    "\u00bd": "1/2", "\u2153": "1/3", "\u2154": "2/3", "\u00bc": "1/4", "\u00be": "3/4", "\u2155": "1/5",
    "\u2156": "2/5", "\u2157": "3/5", "\u2158": "4/5", "\u2159": "1/6", "\u215a": "5/6", "\u215b": "1/8",
    "\u215c": "3/8", "\u215d": "5/8", "\u215e": "7/8",
}  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_TABLE = str.maketrans(_CHARACTERS)

_ENVELOPES = (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"), ("**", "**"), ("__", "__"), ("`", "`"))
_LEAD = re.compile(
    r"^(?:so|thus|hence|therefore|and)?,?\s*(?:the\s+)?(?:final\s+)?(?:answer|solution|result|value)s?"
    r"\s*(?:is|are|:|=)\s*:?\s*|^\#{2,4}\s+"
    r"|^(?:option|choice)\s+(?=[(*]*[A-Ja-j][)*.:]*$)",
    re.IGNORECASE,
)
_EMPHASIS = re.compile(r"\*\*([A-Za-z][^*]*)\*\*")
_ABOUT = re.compile(r"^(?:approximately|about|exactly|roughly|\\approx|\\sim|~|=)\s*", re.IGNORECASE)
_WORDS = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|mathrm|mathbf|mathit|mathsf|mbox|hbox|operatorname)\*?\s*\{([^{}]*)\}"
)
_SPACE = re.compile(
    r"(?<!\\)\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|,|!|;|:|>|quad|qquad|hspace\{[^}]*\})"
    r"(?![a-zA-Z])|(?<!\\)\\ |~"
)
_GAP = r"(?:\{,\}|\\,|\\!,|,\\!|\\ | )"
_THOUSANDS = re.compile(rf"(?<![\d_^.{{])(\d{{1,3}})((?:{_GAP}\d{{3}})+)(?!\d)")
_DEGREES = re.compile(
    r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\s*\^\s*(?:\{\s*o\s*\}|o(?![a-z]))"
    r"|\\(?:text)?degrees?(?![a-zA-Z])|\\circ(?![a-zA-Z])"
)
_REPEATING = re.compile(r"(\d+)\.(\d*)(?:\\overline|\\bar|\\dot)\s*\{?(\d+)\}?")
_SHORT_FRACTION = re.compile(r"\\frac\s*(?:(\d)|\{([^{}]*)\})\s*(?:(\d)|([a-zA-Z])(?![a-zA-Z])|\{([^{}]*)\})")
_SHORT_ROOT = re.compile(r"\\sqrt\s*(\d+|[a-zA-Z])(?![a-zA-Z])")
_FUNCTIONS = "sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|sinh|cosh|tanh|log|ln|exp"
_PLAIN_FUNCTION = re.compile(rf"(?<![\\a-zA-Z])({_FUNCTIONS})(?=[\s(\d^])")
_SYNONYMS = (
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\\(?:leq|leqslant)(?![a-z])|<="), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant)(?![a-z])|>="), r"\\ge "),
    (re.compile(r"\\neq(?![a-z])|!="), r"\\ne "),
    (re.compile(r"\\lt(?![a-z])"), "<"),
    (re.compile(r"\\gt(?![a-z])"), ">"),
    (re.compile(r"\\l?brace(?![a-z])|\\lbrace(?![a-z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![a-z])"), r"\\}"),
    (re.compile(r"\\(?:varnothing|O)(?![a-z])"), r"\\emptyset "),
    (re.compile(r"\\div(?![a-z])"), "/"),
    (re.compile(r"\\(?:pounds|textsterling)(?![a-z])"), "\u00a3"),
    (re.compile(r"\\(?:text)?euro?(?![a-z])"), "\u20ac"),
    (re.compile(r"\\textdollar(?![a-z])|(?<![A-Za-z])US\s?\\?\$"), "$"),
    (re.compile(r"\\colon(?![a-z])"), ":"),
    (re.compile(r"\\(?:ast|star)(?![a-z])|(?<!\*)\*(?!\*)"), r"\\cdot "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<![\\a-zA-Z])pi(?![a-zA-Z])"), r"\\pi "),
    (re.compile(r"(?<![\\a-zA-Z])(?:infinity|inf|oo)(?![a-zA-Z])"), r"\\infty "),
    (re.compile(r"\+/-|\+-"), r"\\pm "),
    (re.compile(r"\\(?:setminus|backslash)(?![a-z])"), r"\\setminus "),
    (re.compile(r"(?<=\d)\s*,?\s+(?:with\s+)?(?:an?\s+)?(?:remainder|rem\.?)(?:\s+of)?\s+(?=\d)"), " R "),
    (re.compile(r"^[a-zA-Z]\s*\\in\s*(?:\\mathbb\{R\}|R)\s*(?:[,;:]|\\mid(?![a-z])|and|with)\s*(?=\w\s*\\ne)"), ""),
    (re.compile(r"^(?:all|any) real numbers?(?: x)?$|^all reals$", re.IGNORECASE), r"\\mathbb{R}"),
    (re.compile(r"^all real numbers?(?: x)? (?:that are )?greater than or equal to ", re.IGNORECASE), r"x \\ge "),
    (re.compile(r"^all real numbers?(?: x)? (?:that are )?less than or equal to ", re.IGNORECASE), r"x \\le "),
    (re.compile(r"^all real numbers?(?: x)? (?:that are )?greater than ", re.IGNORECASE), "x > "),
    (re.compile(r"^all real numbers?(?: x)? (?:that are )?less than ", re.IGNORECASE), "x < "),
    (re.compile(r"^(?:there (?:is|are) )?no (?:real )?solutions?$|^(?:the )?empty set$", re.IGNORECASE), r"\\emptyset"),
)


def clean(text: str) -> str:
    """An answer in plain LaTeX without dress: no envelopes, spacing commands, text commands or Unicode signs."""
    text = text.strip()
    if len(text) > LONGEST:
        return text
    text = _unicode(text)
    text = _settled(_undressed, text)
    text = _THOUSANDS.sub(lambda found: found[1] + re.sub(_GAP, ",", found[2]), text)
    text = _settled(lambda inner: _WORDS.sub(r" \1 ", inner), _SPACE.sub(" ", text))
    text = re.sub(r"\s+", " ", text).strip()
    for pattern, plain in _SYNONYMS:
        text = pattern.sub(plain, text)
    text = _DEGREES.sub(" degrees ", text).replace("\\$", "$").replace("\\%", "%").replace("\\&", "&")
    text = _PLAIN_FUNCTION.sub(r"\\\1", _roots(text))
    text = _SHORT_ROOT.sub(r"\\sqrt{\1}", _SHORT_FRACTION.sub(_fraction, text))
    text = _REPEATING.sub(_repeating, text)
    return re.sub(r"\s+", " ", _ABOUT.sub("", text.strip())).strip()


def _settled(step: Callable[[str], str], text: str) -> str:
    """The text after as many steps as change it."""
    while (after := step(text)) != text:
        text = after
    return text


def _unicode(text: str) -> str:
    if text.isascii():
        return text
    for sign, plain in _FRACTIONS.items():
        text = re.sub(rf"(?<=\d)\s*{sign}", f" {plain}", text).replace(sign, plain)
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+", lambda run: f"^{{{run[0].translate(_RAISED)}}}", text)
    text = re.sub("[₀₁₂₃₄₅₆₇₈₉]+", lambda run: f"_{{{run[0].translate(_LOWERED)}}}", text)
    text = re.sub(r"√\s*\(([^()]*)\)|√\s*(\d+(?:\.\d+)?|[a-zA-Z])", lambda m: f"\\sqrt{{{m[1] or m[2]}}}", text)
    return text.translate(_TABLE)


def _undressed(text: str) -> str:
    """One layer less of what surrounds an answer."""
    text = _LEAD.sub("", _EMPHASIS.sub(r"\1", text.strip()))
    while text and text[-1] in ".,;:!" and not (text[-1] == "!" and re.search(r"[\w)]!$", text)):
        if re.search(r"\\[,;:!]$", text) or text.endswith(("a.m.", "p.m.")):
            break
        text = text[:-1].rstrip()
    for start, end in _ENVELOPES:
        inner = text[len(start) : len(text) - len(end)]
        if text.startswith(start) and text.endswith(end) and len(text) > len(start + end) and start not in inner:
            if start == "$" and text.endswith("\\$"):
                continue
            return inner.strip()
    if text.startswith(("\\boxed{", "\\fbox{")) and text.endswith("}") and _closes_last(text):
        return text[text.index("{") + 1 : -1].strip()
    return text


def _closes_last(text: str) -> bool:
    """Whether the first brace that opens is the one that the last character closes."""
    depth = 0
    for i, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if depth == 0 and char == "}":
            return i == len(text) - 1
    return False


def _roots(text: str) -> str:
    """`sqrt(2)` as `\\sqrt{2}`, inner brackets included."""
    while (found := re.search(r"(?<![\\a-zA-Z])sqrt\s*\(|\\sqrt\s*\(", text)) is not None:
        depth, end = 1, found.end()
        while end < len(text) and depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        if depth:
            return text
        text = f"{text[: found.start()]}\\sqrt{{{text[found.end() : end - 1]}}}{text[end:]}"
    return text


def _fraction(match: re.Match[str]) -> str:
    top, bottom = match[1] or match[2] or "", match[3] or match[4] or match[5] or ""
    return f"\\frac{{{top}}}{{{bottom}}}"


def _repeating(match: re.Match[str]) -> str:
    """`0.1\\overline{6}` as the fraction it is."""
    whole, fixed, period = match.groups()
    bottom = 10 ** len(fixed) * (10 ** len(period) - 1)
    return f"\\frac{{{int(whole + fixed + period) - int(whole + fixed)}}}{{{bottom}}}"
