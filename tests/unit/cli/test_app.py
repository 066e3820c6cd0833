"""What becomes of a failure that nobody expected."""

import os
import subprocess
import sys
from pathlib import Path

_BROKEN = """
from cnnbo.cli import app

def fail():
    raise ZeroDivisionError

app.app = fail
app.main()
"""


def test_a_bug_report_holds_no_password(tmp_path: Path) -> None:
    """People attach it to an issue that everybody reads."""
    done = subprocess.run(
        [sys.executable, "-c", _BROKEN, "watch", "--broker", "mqtts://me:s@/crecy@tower.lan:8883"],
        env={**os.environ, "TMPDIR": str(tmp_path)}, text=True, capture_output=True, check=False,
    )  # fmt: skip
    (report,) = tmp_path.glob("cnnbo-bug-*.txt")
    assert done.returncode == 1 and str(report) in done.stderr
    assert "watch --broker mqtts://…@tower.lan:8883" in report.read_text()
    assert "crecy" not in report.read_text() + done.stderr
