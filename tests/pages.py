"""What the tests of pages share: a reader that checks any page, and things to show."""

import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pyarrow as pa

from sluiceway.data.profile import profile
from sluiceway.data.table import schema
from sluiceway.gates.verdict import Check, Severity, Verdict

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"

MEASURES = {"brightness": "number", "width": "integer", "colour": "text"}


def example_table(count=600, seed=0):
    random = np.random.default_rng(seed)
    rows = [
        {
            "id": f"{number}.png",
            "split": ("train", "train", "validation", "test")[number % 4],
            "group": f"drive-{number % 5}",
            "source": f"{number}.png",
            "target": str(number % 3),
            "checksum": "0",
            "brightness": float(random.random()) if number % 10 else None,
            "width": int(random.integers(8, 12)),
            "colour": ("red", "blue")[number % 2],
        }
        for number in range(count)
    ]
    return pa.Table.from_pylist(rows, schema(MEASURES))


def with_column(table, name, values):
    """Replace a column."""
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def profile_of(table, *args, **options):
    """Return the profile of a table."""
    return profile(pl.from_arrow(table).lazy(), *args, **options)


def a_verdict(word="leak", **changes):
    checks = (
        Check(name="schema", passed=True, message="all columns are there"),
        Check(
            name="smallest_class", passed=False, severity=Severity.warn, message="class 8 is small", figure=3, limit=10
        ),
        Check(
            name="duplicates",
            passed=False,
            message=f"{word} was found",
            figure=word,
            offenders=40,
            examples=(word, "b"),
        ),
    )
    return Verdict(**{"gate": "data", "pipeline": "digits", "subject": "abc", "checks": checks, **changes})


class Page(HTMLParser):
    """What a page is made of: checks on the way that every element is closed where it should be."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.headings, self.text = [], [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def sound(html):
    """Check what holds for every page: whole, titled, without scripts, handlers, or anything from elsewhere."""
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert ("html", "lang", "en") in page.attributes
    assert page.tags.count("title") == page.tags.count("h1") == page.tags.count("main") == 1
    assert page.headings[0] == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert not {"script", "iframe", "link", "object", "embed", "base"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not [value for _, name, value in page.attributes if name == "src" and not value.startswith("data:")]
    assert not [value for tag, name, value in page.attributes if name == "href" and tag != "a"]
    assert not re.search(r"url\(|@import", html)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    inner = [value for _, name, value in page.attributes if name == "xlink:href"]
    assert all(value.startswith("data:image/png;") or value.removeprefix("#") in ids for value in inner)
    return page


def contrast(one, other):
    """Contrast ratio of WCAG 2.2."""

    def luminance(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        channels = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)
