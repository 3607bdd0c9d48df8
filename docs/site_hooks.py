"""Hooks of the documentation site: links to files outside docs/, and pictures for both colour schemes.

The pages are read on a code host too, so their links are relative to the repository.  On the site, a link to a
file outside docs/ opens a copy of it, and a picture ``X-light.png`` has its ``X-dark.png`` in the dark scheme.
"""

from __future__ import annotations

import posixpath
import re
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
#: Folder of the site with copies of files outside docs/.
COPIES = "repository"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
#: Files to copy, found while pages are read.
_outside: set[str] = set()


def outside(page: str, target: str) -> str | None:
    """Return the path in the repository of a link's target, or None if the target is in docs/ or is no file.

    Args:
        page: path of the page below docs/.
        target: the link, without its anchor.

    >>> outside("train.md", "../benchmarks/NOTES.md"), outside("tutorials/stream.md", "../../README.md")
    ('benchmarks/NOTES.md', 'README.md')
    >>> [outside("train.md", target) for target in ("stream.md", "https://example.org", "../none")]
    [None, None, None]
    """
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    if ":" in target or path.startswith(("..", "docs/")) or not (ROOT / path).is_file():
        return None
    return path


def rewrite(markdown: str, page: str) -> str:
    """Return a page with its links to files outside docs/, and its pictures, as the site has them.

    >>> rewrite("[notes](../benchmarks/NOTES.md#x)", "train.md")
    '[notes](repository/benchmarks/NOTES.md.txt)'
    >>> print(rewrite("![A cell](images/units-light.png)", "look.md"))
    ![A cell](images/units-light.png#only-light)![A cell](images/units-dark.png#only-dark)
    >>> rewrite("[look](look.md#units)", "cell.md")
    '[look](look.md#units)'
    """

    def replace(link: re.Match[str]) -> str:
        mark, text, target, _ = link.groups()
        dark = target.removesuffix("-light.png") + "-dark.png"
        if mark and target.endswith("-light.png") and (ROOT / "docs" / posixpath.dirname(page) / dark).is_file():
            return f"![{text}]({target}#only-light)![{text}]({dark}#only-dark)"
        path = outside(page, target)
        if path is None:
            return link[0]
        _outside.add(path)
        return f"{mark}[{text}]({posixpath.relpath(f'{COPIES}/{path}.txt', posixpath.dirname(page) or '.')})"

    return _LINK.sub(replace, markdown)


def on_files(files: Any, *, config: Any) -> Any:
    """Add copies of the files outside docs/ that pages link to, as plain text that every browser shows."""
    from mkdocs.structure.files import File

    for file in files.documentation_pages():
        rewrite(file.content_string, file.src_uri)
    for path in sorted(_outside):
        uri = f"{COPIES}/{path}.txt"
        # The byte order mark says UTF-8 to a browser, whatever the server says.
        files.append(File.generated(config, uri, content=BOM_UTF8 + (ROOT / path).read_bytes()))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Rewrite the links of a page."""
    return rewrite(markdown, page.file.src_uri)
