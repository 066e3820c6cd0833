"""Follows docs/tutorial.md to the letter, as somebody new would: in an empty home, with the wheel as the index has it.

    .venv/bin/python tools/follow_tutorial.py [PAGE]

Files that the page shows (`toml title="digits.toml"`) are saved, commands of its console blocks are typed into one
bash, and what they print must be what the page shows, where `…` stands for anything, on a line of its own for any
lines. A block that is marked `<!-- meanwhile -->` is typed into a second bash while the last command before it runs.
`&` behind a command means: until what the page shows has come.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

ROOT = Path(__file__).resolve().parent.parent
LONGEST_S = 1200.0
_BLOCK = re.compile(r'(?:^(<!-- meanwhile -->)\n)?^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)
_END = "-- end of the command:"


class WrongError(Exception):
    """The page doesn't tell what happens."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the page.

    Attributes:
        typed: the command.
        shown: what the page says it prints; empty = whatever it likes.
    """

    typed: str
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Commands that stand together, and whether they are typed elsewhere while the one before them runs."""

    steps: tuple[Step, ...]
    is_meanwhile: bool = False


def blocks(page: str) -> Iterator[Block]:
    """What the page asks to do, in its order; saving a file is a command like another."""
    for meanwhile, language, title, body in _BLOCK.findall(page):
        if title:
            yield Block((Step(f"cat >{title} <<'END OF FILE'\n{body}END OF FILE"),))
        elif language == "console":
            parts = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
            yield Block(tuple(Step(*part.split("\n", 1)) for part in parts), bool(meanwhile))


def is_as_shown(shown: str, printed: str) -> bool:
    r"""Whether a command printed what the page shows.

    Example:
        >>> is_as_shown("study …\n…\n", "study sine\nand\nmore\n"), is_as_shown("a\n", "b\n")
        (True, False)
    """
    lines = (
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"[ \t]*\n" for line in shown.splitlines()
    )
    return not shown or re.fullmatch("".join(lines), printed) is not None


class Shell:
    """A bash that is typed into."""

    def __init__(self, environment: dict[str, str], home: Path) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=environment, cwd=home,
        )  # fmt: skip
        self._lines: Queue[str] = Queue()
        Thread(target=self._read, daemon=True).start()
        self._write("set -m")  # so that %1 means something

    def type(self, step: Step) -> "Shell":
        """Type a command, and see its first line, or its end."""
        print(f"$ {step.typed}", flush=True)
        self._write(step.typed if step.typed.endswith("&") else f"{step.typed}\necho '{_END}' $?")
        self._seen = [self._next()]
        return self

    def finish(self, step: Step) -> None:
        """Wait for the command's end, or, in the background, for as much as the page shows.

        Raises:
            WrongError: it failed, or printed something else.
        """
        if step.typed.endswith("&"):
            while not is_as_shown(step.shown, "".join(self._seen)):
                self._seen.append(self._next())
            return
        while not self._seen[-1].startswith(_END):
            self._seen.append(self._next())
        *printed, end = self._seen
        if end.split()[-1] != "0":
            raise WrongError(f"$ {step.typed}\nends with {end.split()[-1]}")
        if not is_as_shown(step.shown, "".join(printed)):
            raise WrongError(f"$ {step.typed}\nprints\n{''.join(printed)}\nbut the page shows\n{step.shown}")

    def close(self) -> None:
        """Leave it, with whatever still runs in it."""
        self._write("kill $(jobs -p) 2>/dev/null; exit")
        self._process.wait(60)

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _next(self) -> str:
        try:
            line = self._lines.get(timeout=LONGEST_S)
        except Empty:
            raise WrongError(f"nothing more came within {LONGEST_S:.0f} s") from None
        if not line:
            raise WrongError("the shell has ended")
        if not line.startswith(_END):
            print(line, end="", flush=True)
        return line


def follow(page: str, environment: dict[str, str], home: Path) -> None:
    """Do what the page says.

    Raises:
        WrongError: a command fails, or prints something else.
    """
    first = Shell(environment, home)
    todo = [*blocks(page)]
    for block, after in zip(todo, [*todo[1:], Block(())], strict=True):
        if block.is_meanwhile:
            continue  # done with the one before
        for step in block.steps:
            first.type(step)
            if after.is_meanwhile and step is block.steps[-1]:
                second = Shell(environment, home)
                for other in after.steps:
                    second.type(other).finish(other)
                second.close()
            first.finish(step)
    first.close()


def environment_of_somebody_new(home: Path, wheels: Path) -> dict[str, str]:
    """Variables for an empty home: this Python as `python3`, pip's settings and its cache, and nothing of ours."""
    (home / "bin").mkdir()
    (home / "bin/python3").symlink_to(Path(sys.executable).resolve())
    ours = ("CNNBO_", "PYTHON", "VIRTUAL_ENV", "XDG_", "PYENV", "HOME", "PATH")
    cache = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=True)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
        "HOME": str(home),
        "PATH": f"{home}/bin:/usr/bin:/bin",
        "PIP_CACHE_DIR": cache.stdout.strip(),
        "PIP_FIND_LINKS": f"{wheels} {os.environ.get('PIP_FIND_LINKS', '')}".strip(),
    }


def main() -> None:
    """Build the wheel, and follow the page with it."""
    page = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs/tutorial.md").read_text()
    with tempfile.TemporaryDirectory(prefix="cnnbo-tutorial-") as folder:
        home, wheels = Path(folder) / "home", Path(folder) / "wheels"
        home.mkdir()
        build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(wheels), str(ROOT)]
        subprocess.run(build, stdout=subprocess.DEVNULL, check=True)
        try:
            follow(page, environment_of_somebody_new(home, wheels), home)
        except WrongError as error:
            sys.exit(f"\nthe tutorial is wrong: {error}")
        print("the tutorial is right", flush=True)  # removing all of it takes a while


if __name__ == "__main__":
    main()
