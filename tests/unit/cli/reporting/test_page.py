"""The page: valid HTML that asks nobody for anything, holds text as text, and can be used without a mouse."""

import re
from dataclasses import replace

import html5lib
import pytest
from tests.reports import REPORT, SVG

from cnnbo.cli.reporting.page import page_of


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(REPORT, 1_767_225_600.0)


def elements(page: str, name: str) -> list[str]:
    return re.findall(rf"<{name}[ >][^>]*>?", page)


def test_the_page_is_valid_html(page: str) -> None:
    """A browser guesses what broken markup means, and each guesses differently."""
    html5lib.HTMLParser(strict=True).parse(page)


def test_text_stays_text(page: str) -> None:
    """Names and messages come from files and trainings of anybody; only our own drawings are markup."""
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 4
    assert "BO needs &lt;half&gt;" in page
    assert SVG in page


def test_the_page_asks_nobody_for_anything(page: str) -> None:
    """It opens from a disk without a network, and tells no server who reads it."""
    assert elements(page, "script") == elements(page, "img") == elements(page, "iframe") == []
    assert elements(page, "link") == ['<link rel="icon" href="data:,">']
    assert not re.search(r"url\(|@import|src=", page)
    assert {link for link in re.findall(r'href="([^"#]+)"', page) if not link.startswith("data:")} == {
        "figures/figure-3.svg",
        "figures/figure-3.png",
        "tables/table-1.csv",
        "tables/table-1.tex",
        "tables/trials.csv",
    }


def test_contents_lead_to_the_sections(page: str) -> None:
    """And the skip link to what comes after them."""
    targets = re.findall(r'href="#([^"]+)"', page)
    assert targets == ["content", "section-results", "section-differences"]
    assert all(page.count(f'id="{target}"') == 1 for target in targets)


def test_headings_come_in_their_order(page: str) -> None:
    """Who listens to a page finds their way by them."""
    assert re.findall(r"<h(\d)", page) == ["1", "2", "2", "2"]
    assert '<html lang="en">' in page


def test_wide_tables_can_be_scrolled_with_keys(page: str) -> None:
    """A box that scrolls must take the focus and have a name."""
    assert elements(page, "table") and page.count("<table") == 1
    assert '<div class="scroll" role="region" aria-labelledby="table-1-caption" tabindex="0">' in page
    assert '<figcaption id="table-1-caption">' in page


def test_numbers_stand_in_their_format_on_the_right(page: str) -> None:
    """Digits below each other are compared at a glance."""
    assert '<td class="number">0.912</td><td class="number">3</td>' in page
    assert '<th scope="col" class="number">Mean</th><th scope="col" class="number">n</th>' in page
    assert '<th scope="row" class="words">bo</th>' in page


def test_a_long_table_is_only_linked_to(page: str) -> None:
    """A thousand trials belong into a file; the page says how many there are."""
    assert '<a href="tables/trials.csv">CSV, 2 rows</a>' in page


def test_light_and_dark_are_both_there(page: str) -> None:
    """The reader's system decides; paper is white."""
    assert "@media screen and (prefers-color-scheme: dark)" in page
    assert '<meta name="color-scheme" content="light dark">' in page


def test_a_page_without_sections_is_still_one(page: str) -> None:
    """Nothing to show is no reason for a broken file."""
    html5lib.HTMLParser(strict=True).parse(page_of(replace(REPORT, sections=(), headline=()), 0.0))
