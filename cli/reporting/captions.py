"""The words that captions share."""

from datetime import UTC, datetime

from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.statistics import Interval

_DIGITS = ".4f"


def where(context: Context) -> str:
    """On what and when it was measured, as the last sentence of a caption.

    >>> where(Context("street_mnist", False, ("a CPU slot",), 1_767_225_600.0))
    'Measured on street_mnist, on a CPU slot; written 2026-01-01.'
    """
    places = [f"on {place}" for place in (data_name(context), ", ".join(context.devices)) if place]
    return f"Measured {', '.join(places)}; written {date(context)}." if places else f"Written {date(context)}."


def data_name(context: Context) -> str:
    """What the data are; SVHN only where they were verified to be. Empty where there are none."""
    return f"SVHN ({context.data_name})" if context.is_svhn else context.data_name


def date(context: Context) -> str:
    """The day on which the report is written, in UTC."""
    return datetime.fromtimestamp(context.written_at, UTC).strftime("%Y-%m-%d")


def interval_text(interval: Interval | None, form: str = _DIGITS) -> str:
    """An estimate with its interval, on one line.

    >>> interval_text(Interval(0.91234, 0.9, 0.92)), interval_text(Interval(0.9, None, None)), interval_text(None)
    ('0.9123 [0.9000, 0.9200]', '0.9000', '-')
    """
    if interval is None:
        return "-"
    if interval.low is None or interval.high is None:
        return format(interval.value, form)
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def counted(number: int, word: str) -> str:
    """A number with its word, in the plural where it needs one.

    >>> counted(1, "run"), counted(5, "run")
    ('1 run', '5 runs')
    """
    return f"{number} {word}{'' if number == 1 else 's'}"


def plain(value: float | None) -> str:
    """A number of any size in at most four significant digits."""
    return "-" if value is None else f"{value:.4g}"
