"""`python -m cnnbo.models.svhn.prepare DIR`: check the data before the first trial, and parse them for all trials.

`--task` and `--images` name what the trials are for, so that what they would miss is told now: a test set, which is not
opened here, or images. Says nothing and exits 0 when the data are good; else prints one sentence per problem on stderr
and exits 78.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from cnnbo.models import report
from cnnbo.models.svhn.data import open_fold
from cnnbo.models.svhn.tasks import check_test_set, training_rows
from cnnbo.scheduler.errors import ConfigurationError


def main(arguments: Sequence[str]) -> int:
    """Prepare one folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cnnbo.models.svhn.prepare")
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--task", choices=get_args(report.Task), default="tune")
    parser.add_argument("--images", type=int)
    asked = parser.parse_args(arguments)
    try:
        check_test_set(asked.folder, asked.task)
        training_rows(open_fold(asked.folder), asked.task, asked.images)
    except ConfigurationError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 78
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
