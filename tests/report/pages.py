"""What tests of the report share: a reader of pages, names that could do harm, a browser's tab."""

from __future__ import annotations

from contextlib import contextmanager
from html.parser import HTMLParser

import pytest

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Elements with their attributes, tables as rows of cell texts, and what is visible."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.tables, self.words, self.open = [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if "table" in self.open and data.strip():
            self.tables[-1][-1][-1] += data

    def table(self, heading):
        return next(rows[1:] for rows in self.tables if rows[0][0] == heading)

    def pictures(self):
        return [attributes for tag, attributes in self.elements if tag == "img"]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "'quotes\" & </td></table></style></svg>",
    "{{ 7 * 7 }} {% raw %}",
    "😀 emoji 🏦",
    "תשואה عائد \u202e reversed",
    "x" * 200,
    "line\nbreak\ttab\x00\x1b[31m",
    "$\\frac{1}{2$ ^x$ _under",
]


@contextmanager
def opened(browser, path, **options):
    """A page with the file open; nothing may be asked for, said on the console, or pop up."""
    context = browser.new_context(**options)
    said, asked = [], []
    tab = context.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())
    tab.evaluate("Promise.all([...document.images].map(image => image.decode()))")
    yield tab
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {path.as_uri()}
    context.close()


WIDTHS = pytest.mark.parametrize(
    "viewport",
    [{"width": 390, "height": 844}, {"width": 1280, "height": 900}],
    ids=["phone", "desk"],
)
