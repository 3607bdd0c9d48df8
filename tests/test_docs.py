"""The pages of the documentation, as a code host and the site show them."""

from __future__ import annotations

import re
from doctest import DocTestParser
from pathlib import Path

import pytest
from docs.site_hooks import cells, outside

from gatewright import cli
from gatewright.evaluation import glossary
from gatewright.tasks.classify import tables

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SITE = (ROOT / "mkdocs.yml").read_text("utf-8")


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_are_in_fences(page):
    assert [line for line in prose(page).splitlines() if line.startswith(">>>")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page):
    targets = re.findall(r"\]\((?![a-z]+:|#)([^)\s#]+)", prose(page))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_site_has_every_page():
    listed = set(re.findall(r"[\w/-]+\.md", SITE))
    assert listed == {
        page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")
    }


def test_every_object_of_the_reference_exists():
    import importlib

    for page in (ROOT / "docs" / "api").glob("*.md"):
        for name in re.findall(r"^::: (\S+)", page.read_text("utf-8"), re.M):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                module, _, member = name.rpartition(".")
                assert hasattr(importlib.import_module(module), member), name


def test_the_public_names_are_in_the_reference():
    import gatewright

    names = " ".join(re.findall(r"^::: (\S+)", "\n".join(p.read_text("utf-8") for p in PAGES), re.M))
    members = {
        *re.findall(r"\w+", names),
        "GatewrightError",
        "ModelSpec",
        "insight",
    }  # the last: by module, or by its members
    assert set(gatewright.__all__) - members == set()


def test_a_link_out_of_docs_is_found_from_any_depth():
    assert outside("api/README.md", "../../CHANGELOG.md") == "CHANGELOG.md"
    assert outside("README.md", "../examples/embed/README.md") == "examples/embed/README.md"
    assert outside("api/README.md", "../CHANGELOG.md") is None
    assert outside("README.md", "../../elsewhere.md") is None


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name == "tutorials"], ids=lambda page: page.stem
)
def test_the_notebook_of_a_tutorial_has_its_code_and_no_output(page):
    text = page.read_text("utf-8")
    code = "".join(re.findall(r"^```python\n(.*?)^```", cells(text), re.S | re.M))
    assert code == "".join(example.source for example in DocTestParser().get_examples(text))
    compile(code, page.name, "exec")
    assert ">>>" not in cells(text)


def test_the_measures_are_explained_in_the_documents_and_in_the_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    cli.main(["evaluate", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    page = (ROOT / "docs" / "train.md").read_text("utf-8")
    for name, text in glossary.MEASURES.items():
        assert f"| {name} | {text} |" in page
        assert f"{name}: {text}" in shown
    heads = {*tables._COLUMNS.values(), "MASE", "NSE", "KGE", "sMAPE", "WQL", "sQL"} - {"accuracy"}
    everything = " ".join(f"{name} {text}" for name, text in glossary.MEASURES.items())
    assert [head for head in heads if head not in everything] == []
