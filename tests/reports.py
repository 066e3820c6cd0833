"""A small report, drawn by hand: for tests of how reports are written."""

from cnnbo.cli.reporting.page import Report
from cnnbo.cli.reporting.parts import Column, Drawing, Note, Section, Table

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" role="img" aria-label="rises"><path d="M0 9 9 0"/></svg>'
)
HOSTILE = "<script>alert('x')</script> & \"more\""
REPORT = Report(
    name="small",
    title="Comparison small",
    facts=(("Images", HOSTILE), ("Test set", "opened 0 times")),
    headline=("BO needs <half> as many.",),
    sections=(
        Section(
            "results",
            "Results & more",
            (
                Drawing("figure-3", "Figure 3: best seen", f"n = 3, {HOSTILE}", "rises", SVG, b"png"),
                Table(
                    "table-1",
                    "Table 1: held out",
                    "Means.",
                    (
                        Column("method", "Method"),
                        Column("mean", "Mean", ".3f"),
                        Column("n", "n"),
                        Column("none", "None"),
                    ),
                    (("bo", 0.91234, 3, None), (HOSTILE, None, 2, None)),
                ),
                Table("trials", "All trials", "Each.", (Column("trial", "Trial"),), ((1,), (2,)), is_long=True),
                Note((HOSTILE, "p ≤ 0.05"), "warning"),
            ),
        ),
        Section("differences", "What differs", (Note(("Nothing.",)),)),
    ),
)
