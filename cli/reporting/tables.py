"""Tables as CSV, for programs, and as LaTeX, for papers."""

import csv
import io
from collections.abc import Iterable
from typing import Final

from cnnbo.cli.reporting.parts import Cell, Column, Table

NOTHING: Final = "-"
"""What people read where there is no fact."""


def text_of(cell: Cell, column: Column) -> str:
    """A cell for people: numbers in the column's format, `-` where there is nothing.

    >>> text_of(0.91234, Column("value", "Value", ".3f")), text_of(None, Column("value", "Value"))
    ('0.912', '-')
    """
    if cell is None:
        return NOTHING
    return format(cell, column.form) if column.form and not isinstance(cell, str) else str(cell)


def csv_of(table: Table) -> str:
    r"""The table with all digits of its numbers, one line each row, columns by their keys; a missing fact is empty.

    >>> csv_of(Table("t", "T", "", (Column("method", "Method"), Column("p", "p", ".2f")), (("bo, fast", 1 / 3),)))
    'method,p\n"bo, fast",0.3333333333333333\n'
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows(["" if cell is None else cell for cell in row] for row in table.rows)
    return file.getvalue()


_LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "\n": " ",
        "\N{EN DASH}": "--",
        "\N{MINUS SIGN}": r"\ensuremath{-}",
        "±": r"\ensuremath{\pm}",
        "\N{MULTIPLICATION SIGN}": r"\ensuremath{\times}",
        "·": r"\ensuremath{\cdot}",
        "≤": r"\ensuremath{\leq}",
        "≥": r"\ensuremath{\geq}",
        "…": r"\ldots{}",
        "\N{GREEK SMALL LETTER ALPHA}": r"\ensuremath{\alpha}",
        "\N{GREEK SMALL LETTER BETA}": r"\ensuremath{\beta}",
        "\N{GREEK SMALL LETTER GAMMA}": r"\ensuremath{\gamma}",
        "\N{GREEK SMALL LETTER EPSILON}": r"\ensuremath{\varepsilon}",
    }
)


def escaped(text: str) -> str:
    r"""Text as LaTeX sets it, whatever characters it holds.

    >>> escaped("50 % of filter1_width")
    '50 \\% of filter1\\_width'
    """
    return text.translate(_LATEX)


def latex_of(table: Table) -> str:
    """A `table` environment that any LaTeX document takes without further packages; numbers stand on the right."""
    aligned = "".join("r" if _is_numeric(table, index) else "l" for index in range(len(table.columns)))
    head = _line(column.title for column in table.columns)
    rows = [_line(text_of(*pair) for pair in zip(row, table.columns, strict=True)) for row in table.rows]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escaped(table.title)}. {escaped(table.caption)}}}",
            rf"\label{{{table.key}}}",
            r"\centering",
            rf"\begin{{tabular}}{{{aligned}}}",
            r"\hline",
            head,
            r"\hline",
            *rows,
            r"\hline",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _line(texts: Iterable[str]) -> str:
    return " & ".join(map(escaped, texts)) + r" \\"


def _is_numeric(table: Table, index: int) -> bool:
    known = [row[index] for row in table.rows if row[index] is not None]
    return bool(known) and not any(isinstance(cell, str) for cell in known)
