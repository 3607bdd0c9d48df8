"""The examples of a page, by the heading that they are below."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"


def run_example(page: str, heading: str) -> dict[str, Any]:
    """Run the first Python example below a heading of a page, and return its names."""
    [_, section] = re.split(rf"^## {re.escape(heading)}\n", (DOCS / page).read_text("utf-8"), flags=re.MULTILINE)
    code = re.findall(r"^```python\n(.*?)^```", section.split("\n## ")[0], re.DOTALL | re.MULTILINE)[0]
    names: dict[str, Any] = {"__name__": "__example__"}
    exec(compile(code, f"{page}: {heading}", "exec"), names)
    return names
