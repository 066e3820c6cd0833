"""Opens the pages of `cnnbo report` in Chromium, light and dark, wide and narrow, and fails at what is wrong with them.

    .venv/bin/python .ci/page.py axe.min.js DIR

Draws a comparison and one of its runs into DIR, and looks at the example in docs/ as well. Each page must pass
axe-core's rules, fit into the window (wide tables scroll inside of their own box), and ask nobody for anything.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

sys.path.append(str(Path(__file__).parent.parent))

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from tests.comparisons import comparison
from tests.journals import write_state

from cnnbo.cli import app

WIDTHS: Final = (1280, 400)
SCHEMES: Final = ("light", "dark")
NAMES: Final = ("small", "small-bo-1")
PAGE_S: Final = 60
EXAMPLE: Final = Path(__file__).resolve().parent.parent / "docs/example-report/index.html"

AXE: Final = """
const done = arguments[arguments.length - 1];
axe.run(document).then(({violations}) => done(violations.map(({id, help, nodes}) =>
    `${id}: ${help}: ${nodes.slice(0, 3).map(node => node.html.slice(0, 200)).join(" | ")}`)));
"""
OVERFLOW: Final = "const page = document.documentElement; return page.scrollWidth - page.clientWidth;"


def draw(folder: Path) -> list[Path]:
    """Write the reports; returns their pages."""
    state = write_state(folder / "state", comparison())
    pages = []
    for name in NAMES:
        sys.argv = ["cnnbo", "report", name, "-o", str(folder / name), "--state", str(state)]
        try:
            app.main()
        except SystemExit as error:
            if error.code:
                raise
        pages.append(folder / name / "index.html")
    return pages


class NoBrowserError(Exception):
    """Chromium does not start here."""


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Debian's Chromium, without a window.

    Raises:
        NoBrowserError: it can't be started.
    """
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    options.add_argument("--headless")
    options.add_argument("--no-sandbox")  # it refuses to run as root otherwise
    options.add_argument("--disable-dev-shm-usage")  # containers have little of that
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    try:
        driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    except WebDriverException as error:
        raise NoBrowserError(" ".join(str(error.msg).split())) from error
    driver.set_page_load_timeout(PAGE_S)
    driver.set_script_timeout(PAGE_S)
    try:
        yield driver
    finally:
        driver.quit()


def problems(driver: webdriver.Chrome, axe: str, page: Path, width: int, scheme: str) -> Iterator[str]:
    """What is wrong with a page in a window of that width, in that colour scheme."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    driver.get(page.as_uri())
    yield from (f"it asks for {url}" for url in requests(driver) if url != page.as_uri())
    if (pixels := driver.execute_script(OVERFLOW)) > 0:
        yield f"it is {pixels} pixels too wide"
    driver.execute_script(axe)
    yield from driver.execute_async_script(AXE)


def requests(driver: webdriver.Chrome) -> Iterator[str]:
    """The addresses that were asked since the last time; what a page carries in itself is none."""
    for entry in driver.get_log("performance"):  # type: ignore[no-untyped-call]
        message: dict[str, Any] = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = str(message["params"]["request"]["url"])
            if not url.startswith("data:"):
                yield url


def main() -> int:
    """Look at every page in every way; returns the exit status."""
    axe, folder = Path(sys.argv[1]).read_text(), Path(sys.argv[2])
    pages = [*draw(folder), EXAMPLE]
    try:
        with browser() as driver:
            return 1 if sum(look_at(driver, axe, page) for page in pages) else 0
    except NoBrowserError as error:
        print(f"skipped: Chromium could not be started here: {error}")
        return 0


def look_at(driver: webdriver.Chrome, axe: str, page: Path) -> int:
    """Tell what is wrong with a page in every way of looking at it; returns how much."""
    found = 0
    for width in WIDTHS:
        for scheme in SCHEMES:
            told = list(problems(driver, axe, page, width, scheme))
            found += len(told)
            place = f"{page.parent.name}, {width} px, {scheme}"
            print(*(f"{place}: {problem}" for problem in told or ["good"]), sep="\n")
    return found


if __name__ == "__main__":
    sys.exit(main())
