"""The pages run as they say, and build into a site that is whole and loads nothing from afar."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import vbase_py_utils
from vbase_py_utils import plots
from vbase_py_utils.stats import cross_section_regression

PAGES = Path(__file__).parents[2] / "notebooks" / "pages"


def promised(example):
    return [line[2:] for line in example.splitlines() if line.startswith("# ")]


EXAMPLES = {
    f"{page.relative_to(PAGES).with_suffix('')} {number}": example
    for page in sorted(PAGES.rglob("*.md"))
    for number, example in enumerate(
        re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL), 1
    )
    if promised(example)
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_and_prints_what_it_says(name, tmp_path, monkeypatch, capsys, french_panel):
    import matplotlib as mpl

    for peer in ("toraniko", "cvxpy"):
        if f"import {peer}" in EXAMPLES[name] or f"from {peer}" in EXAMPLES[name]:
            pytest.importorskip(peer)
    mpl.use("agg")
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLES[name], name, "exec"), {"panel": french_panel, "__name__": "__main__"})
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert printed == promised(EXAMPLES[name])


class Page(HTMLParser):
    """The anchors of a page, where it leads, and what a browser loads to show it."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.leads, self.loads = set(), set(), set()
        self.feed(text)
        self.loads.update(
            loaded_by_css(" ".join(re.findall(r"<style.*?</style>", text, re.DOTALL)))
        )

    def handle_starttag(self, tag, attrs):
        given = {name: value for name, value in attrs if value is not None}
        if "id" in given:
            self.anchors.add(given["id"])
        to = {given[name] for name in ("href", "xlink:href") if name in given}
        (self.leads if tag == "a" else self.loads).update(to)
        self.loads.update(given[name] for name in ("src", "data", "poster") if name in given)
        self.loads.update(part.split()[0] for part in given.get("srcset", "").split(",") if part)
        self.loads.update(loaded_by_css(given.get("style", "")))


def loaded_by_css(text):
    found = re.findall(r"""url\(\s*["']?(.*?)["']?\s*\)|@import\s+["'](.*?)["']""", text)
    return {one or other for one, other in found}


def is_elsewhere(url):
    return re.match(r"([a-z][a-z0-9+.-]*:)?//|mailto:", url, re.IGNORECASE) is not None


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site: a folder, and its pages by their place in it."""
    lacking = [name for name in ("sphinx", "furo", "myst_parser") if not has(name)]
    if lacking:
        pytest.skip(f"the group docs is not installed: no {', '.join(lacking)}")
    folder = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "-E", "-b", "html"]
    trees = ["-d", folder.with_name("trees")]
    run = subprocess.run(
        [*command, *trees, PAGES, folder], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    pages = {
        path.relative_to(folder).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in folder.rglob("*.html")
    }
    return folder, pages


def has(module):
    return importlib.util.find_spec(module) is not None


def test_every_page_is_in_the_site(site):
    names = {
        page.relative_to(PAGES).with_suffix(".html").as_posix() for page in PAGES.rglob("*.md")
    }
    assert names <= set(site[1])


def test_links_lead_somewhere(site):
    folder, pages = site
    broken = []
    for name, page in pages.items():
        for url in page.leads | page.loads:
            if is_elsewhere(url) or url.startswith("data:"):
                continue
            path, anchor = urldefrag(unquote(url))
            # A browser asks for a file whatever stands behind "?".
            target = (folder / name).parent / path.partition("?")[0] if path else folder / name
            place = target.resolve().relative_to(folder.resolve()).as_posix()
            if not target.is_file() or (anchor and anchor not in pages[place].anchors):
                broken.append((name, url))
    assert broken == []


def test_nothing_is_loaded_from_the_network(site):
    folder, pages = site
    loads = {name: page.loads for name, page in pages.items()}
    loads |= {
        path.name: loaded_by_css(path.read_text(encoding="utf-8")) for path in folder.rglob("*.css")
    }
    assert loads
    assert [(name, url) for name, urls in loads.items() for url in urls if is_elsewhere(url)] == []


def public_names():
    yield from (f"vbase_py_utils.{name}" for name in vbase_py_utils.__all__)
    for module in (cross_section_regression, plots):
        for name, value in inspect.getmembers(module, inspect.isfunction):
            if value.__module__ == module.__name__ and not name.startswith("_"):
                yield f"{module.__name__}.{name}"


def test_every_public_name_is_explained(site):
    anchors = set().union(*(page.anchors for page in site[1].values()))
    assert [name for name in public_names() if name not in anchors] == []


def test_formulas_are_drawn_by_the_browser(site):
    text = (site[0] / "estimator.html").read_text(encoding="utf-8")
    assert text.count("<math ") > 50
    assert "$" not in re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL)
