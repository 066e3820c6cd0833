"""`python -m cnnbo.models.svhn.prepare DIR`: check the data before the first trial, and parse them for all trials.

Says nothing and exits 0 when the data are good; else prints one sentence per problem on stderr and exits 78.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from cnnbo.models.svhn.data import open_fold
from cnnbo.scheduler.errors import ConfigurationError


def main(arguments: Sequence[str]) -> int:
    """Prepare one folder; returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -m cnnbo.models.svhn.prepare DIR", file=sys.stderr)
        return 2
    try:
        open_fold(Path(arguments[0]))
    except ConfigurationError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 78
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
