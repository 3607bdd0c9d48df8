"""Lists in the documents: the site's Markdown is stricter than that of a repository's page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def misread(text: str) -> list[str]:
    """Return the lines that end a list too early, or that the site reads as text of the paragraph above."""
    wrong, fence, in_list, block, before = [], False, False, False, ""
    for line in text.split("\n"):
        fence ^= line.lstrip().startswith("```")
        indent, first = len(line) - len(line.lstrip()), not before.strip()
        if re.match(r"([-*]|\d+\.) ", line) and not fence:
            if not first and (block or not in_list):
                wrong.append(line)
            in_list, block = True, False
        elif line.strip() and not fence:
            in_list &= not (first and indent == 0)
            block = in_list and (block or first)
            if block and indent in (2, 3):
                wrong.append(line)
        before = line
    return wrong


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS)))
def test_lists_are_read_as_lists(path: Path) -> None:
    assert misread(path.read_text()) == []


def test_what_is_misread_is_found() -> None:
    assert misread("- a\n\n    more\n\n- b\n  goes on\n- c\n\ntext") == []
    assert misread("text\n- a") == ["- a"]
    assert misread("1. a\n\n   | a | b |\n") == ["   | a | b |"]
    assert misread("1. a\n\n    more\n2. b") == ["2. b"]
