"""What crashes of one cause have in common: their message without what differs from one trial to the next."""

import re

# What opens a quoted value, with what may close it; the GNU way is `this' as well as `this`.
_QUOTES = {
    "'": "'",
    '"': '"',
    "`": "`'",
    "\N{ACUTE ACCENT}": "\N{ACUTE ACCENT}",
    "\N{LEFT SINGLE QUOTATION MARK}": "\N{RIGHT SINGLE QUOTATION MARK}",
    "\N{LEFT DOUBLE QUOTATION MARK}": "\N{RIGHT DOUBLE QUOTATION MARK}",
    "\N{SINGLE LOW-9 QUOTATION MARK}": "\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}",
    "\N{DOUBLE LOW-9 QUOTATION MARK}": "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}",
    "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}": "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}",
    "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}": "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
    "\N{LEFT CORNER BRACKET}": "\N{RIGHT CORNER BRACKET}",
    "\N{LEFT WHITE CORNER BRACKET}": "\N{RIGHT WHITE CORNER BRACKET}",
}


def _quoted(opening: str, closing: str) -> str:
    """A pattern for one kind of quoted value, with what Python may write before it (`b'…'`).

    Inside of a word a quote is an apostrophe (can't, the users' folder), so one opens no value behind a letter and
    closes none before one. Without an end the value goes to the end of the text, for long messages are cut.
    """
    start, end = re.escape(opening), f"[{re.escape(closing)}]"
    inside = rf"(?:\\.|{end}(?=\w)|(?!{end})[^\\])*+"
    return rf"(?<!\w)(?:[bBuUrRfF]{{1,2}})?{start}(?:{inside}{end}(?!\w)|(?=\S){inside}\\?\Z)"


_QUOTED = "|".join(_quoted(opening, closing) for opening, closing in _QUOTES.items())
_SIGN = r"(?:(?<![\w)\]])[-+\N{MINUS SIGN}])?"
_DIGITS = r"\d++(?:[_,.:]\d++)*+"
_DECIMAL = rf"(?>(?:(?<![\w.])\.)?{_DIGITS}\.?(?:[eE][-+\N{{MINUS SIGN}}]?\d+)?[jJ]?)"
_VARYING = re.compile(
    rf"(?P<quoted>{_QUOTED})"
    # From here on it is numbers, in any notation: UUIDs, 0x7f3a, -1.5e-05, 12:30:01, 1,024, NaN, and such as 95a240f.
    r"|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
    rf"|{_SIGN}(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+)\b"
    rf"|{_SIGN}{_DECIMAL}(?!\w)"
    rf"|{_SIGN}\b(?:nan|inf|infinity|NaN|Inf|Infinity)\b"
    r"|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{6,}\b"
    # What `tempfile` and `mktemp` call their files.
    r"|\btmp\.?(?=\w*[\d_A-Z])\w{6,}\b|\btmp\w{8}\b"
    # Glued to letters: width_17, 1.5s.
    rf"|{_SIGN}{_DECIMAL}",
    re.DOTALL,
)
_LIST = re.compile(r"#(?:[\s,;]+#)*+(?:,(?=[)\]}]))?")
_BARS = re.compile(r"[\u2580-\u259f]+")


def crash_kind(message: str) -> str:
    """The normal form of a crash's message: crashes of one cause have the same one.

    Numbers become `#`, quoted values `''`, lists of numbers one number. All other words stay, in their order, so that
    different errors stay different.

    Args:
        message: the words of the crash, on one line or several; may be empty.

    Returns:
        The form, to be compared with others only. It is journalled with the crash, so that a better rule of a later
        version changes nothing about what has happened.

    Example:
        >>> crash_kind("exit status 1: KeyError: 'width_17'") == crash_kind("exit status 1: KeyError: 'width_23'")
        True
        >>> crash_kind("can't open 'a b' at 0x7f3a, line -12: loss 1.5e-05")
        "can't open '' at #, line #: loss #"
        >>> crash_kind("KeyError: 'a'") == crash_kind("ValueError: 'a'")
        False
    """
    form = _VARYING.sub(lambda found: "''" if found["quoted"] is not None else "#", _BARS.sub(" ", message))
    return " ".join(_LIST.sub("#", form).split())
