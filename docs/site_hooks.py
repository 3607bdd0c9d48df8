"""Hooks of the documentation site: links to files outside docs/, pictures for both colour schemes, notebooks.

The pages are read on a code host too, so their links are relative to the repository.  On the site, a link to a
file outside docs/ opens a copy of it, and a picture ``X-light.png`` has its ``X-dark.png`` in the dark scheme.
Each tutorial is also a notebook for Jupyter, ``X.ipynb`` next to ``X.md``.
"""

from __future__ import annotations

import posixpath
import re
from codecs import BOM_UTF8
from doctest import DocTestParser
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


def is_tutorial(page: str) -> bool:
    """Say whether a page has a notebook.

    >>> [is_tutorial(page) for page in ("tutorials/stream.md", "tutorials/README.md", "stream.md")]
    [True, False, False]
    """
    return page.startswith("tutorials/") and not page.endswith("README.md")


def cells(markdown: str) -> str:
    r"""Return a page as the Markdown of a notebook: code without prompts and output, links as their text.

    A cell ends where the page shows output, since a notebook shows the last value of a cell.

    >>> print(cells("[Sum](x.md):\n```python\n>>> x = 1\n>>> x + 1\n2\n>>> x\n1\n```"))
    Sum:
    ```python
    x = 1
    x + 1
    ```
    <BLANKLINE>
    ```python
    x
    ```
    """

    def code(fence: re.Match[str]) -> str:
        parts = [""]
        for example in DocTestParser().get_examples(fence[1]):
            parts[-1] += example.source
            if example.want:
                parts.append("")
        return "\n\n".join(f"```python\n{part}```" for part in parts if part)

    text = re.sub(r"^```python\n(.*?)^```", code, markdown, flags=re.S | re.M)
    return _LINK.sub(lambda link: link[0] if "://" in link[3] else link[2], text)


def notebook(markdown: str) -> str:
    """Return a page as a Jupyter notebook, whose cells have not run."""
    import jupytext

    return jupytext.writes(jupytext.reads(cells(markdown), "md"), "ipynb")


def on_files(files: Any, *, config: Any) -> Any:
    """Add copies of the files outside docs/ that pages link to, as plain text, and the tutorials' notebooks."""
    from mkdocs.structure.files import File

    for file in list(files.documentation_pages()):
        rewrite(file.content_string, file.src_uri)
        if is_tutorial(file.src_uri):
            uri = file.src_uri.removesuffix(".md") + ".ipynb"
            files.append(File.generated(config, uri, content=notebook(file.content_string)))
    for path in sorted(_outside):
        uri = f"{COPIES}/{path}.txt"
        # The byte order mark says UTF-8 to a browser, whatever the server says.
        files.append(File.generated(config, uri, content=BOM_UTF8 + (ROOT / path).read_bytes()))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Rewrite the links of a page; offer a tutorial's notebook below its title."""
    uri = page.file.src_uri
    if is_tutorial(uri):
        name = posixpath.basename(uri).removesuffix(".md") + ".ipynb"
        markdown = markdown.replace("\n", f"\n\n[Download as a notebook]({name})\n", 1)
    return rewrite(markdown, uri)
