"""CITATION.cff: how to cite this software."""

from pathlib import Path

import yaml

from cnnbo import __version__

CITATION = yaml.safe_load((Path(__file__).parent.parent / "CITATION.cff").read_text())


def test_the_citation_names_this_version() -> None:
    """A citation of another version sends readers to other code."""
    assert (CITATION["cff-version"], CITATION["type"], CITATION["version"]) == ("1.2.0", "software", __version__)


def test_whatever_is_cited_has_what_the_format_asks_for() -> None:
    """Citation File Format 1.2.0: message, title and authors are required, and of references type, title, authors."""
    assert CITATION["message"]
    for work in (CITATION, *CITATION["references"]):
        assert work["title"] and work["type"]
        assert all("name" in author or "family-names" in author for author in work["authors"])
