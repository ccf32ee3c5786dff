"""What the data gate's page is made of: a small data set with all that can be wrong, and the contents that are read."""

import io
import re
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pages import sound
from sluiceway.checks.base import Material, Offender, Reference, finding
from sluiceway.config import DataGateParams
from sluiceway.data.profile import profile
from sluiceway.data.sketches import Sketches
from sluiceway.data.table import BadExample
from sluiceway.gates import data as data_gate
from sluiceway.gates.verdict import Severity
from sluiceway.stages import data_report
from sluiceway.usecases.image.senses import thumbnail

MEASURES = {"brightness": "number", "format": "text"}
NOTHING = Sketches(np.arange(0), None, None)


def picture(level):
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


def rows_of(ids, **columns):
    filled = {
        "split": ["train", "test"] * len(ids),
        "source": ids,
        "target": ["4"] * len(ids),
        "brightness": [number / 10 for number in range(len(ids))],
        "format": ["PNG", "JPEG"] * len(ids),
        **columns,
    }
    return pl.DataFrame({"id": ids} | {name: list(values)[: len(ids)] for name, values in filled.items()})


class World:
    """A pipeline with its tables, as ``validate`` leaves them before the report."""

    def __init__(self, root):
        self.raw = root / "data" / "raw" / "digits"
        self.raw.mkdir(parents=True)
        self.good = [f"{number}.png" for number in range(30)]
        self.bad = [f"bad{number}.png" for number in range(6)]
        for number, name in enumerate(self.good):
            (self.raw / name).write_bytes(picture(8 * number))
        for name in self.bad[:4]:
            (self.raw / name).write_bytes(picture(7)[:40])
        (self.raw / self.bad[4]).write_bytes(b"<html>404 & more</html>")
        reasons = ["truncated: image file is truncated"] * 4 + ["unreadable: not: an image", "empty"]
        quarantine = rows_of(self.bad).with_columns(reason=pl.Series(reasons))
        gone = rows_of(["gone.png", *self.good[:9]], brightness=[0.9] * 10).drop("format")
        tables = {"examples": rows_of(self.good), "quarantine": quarantine, "before": gone}
        validated = root / "data" / "validated" / "digits"
        validated.mkdir(parents=True)
        for name, table in tables.items():
            table.write_parquet(validated / f"{name}.parquet")
        self.pipeline = SimpleNamespace(
            name="digits",
            root=root,
            raw=self.raw,
            validated=validated,
            reports=root / "reports",
            usecase=SimpleNamespace(thumbnail=thumbnail, amend=None),
            params=SimpleNamespace(data=None),
        )
        paths = (validated / "examples.parquet", validated / "quarantine.parquet")
        self.material = Material(*paths, "class", MEASURES, DataGateParams(), NOTHING)
        self.reference = Reference("digits version 3", validated / "before.parquet", NOTHING)

    def write(self, *findings, **changes):
        verdict = data_gate.judge([each.check for each in findings], {}, {}, pipeline="digits", subject="abc")
        material = replace(self.material, **changes)
        facts = profile(material.scan(), material.measures, material.target)
        data_report.write_data_report(self.pipeline, verdict, findings, material, facts)
        html = (self.pipeline.validated / "page.html").read_text(encoding="utf-8")
        return sound(html), html

    def blocks(self, html):
        """Return the part of the page about each failed check, by its name."""
        parts = re.findall(r"<article.*?</article>", html, re.DOTALL)
        return {re.search(r"</span>(.*?)</h3>", part)[1]: part for part in parts}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def failed(name, *offenders, message="too many", passed=False, severity=Severity.close):
    return finding(name, message, passed=passed, figure=0.5, limit=0.1, severity=severity, offenders=offenders)


def test_the_worst_are_shown_as_they_look_with_label_and_detail(world):
    offenders = [Offender(name, f"looks like 9 ({place})", score=place) for place, name in enumerate(world.good)]
    _, html = world.write(failed("label_errors", *offenders))
    part = world.blocks(html)["label errors"]
    assert (
        re.findall(r"<code>(.*?)</code> <strong>labelled 4</strong>", part)
        == world.good[::-1][: data_report.MOST_SHOWN]
    )
    assert thumbnail(picture(8 * 29), None) in part
    assert thumbnail(picture(0), None) not in html
    assert "looks like 9 (29)" in part
    assert "30 examples, 12 of them shown." in part


def test_a_copy_is_shown_beside_its_original(world):
    _, html = world.write(failed("near_copies_across_splits", Offender("3.png", "0.97 alike", "10.png", 0.97)))
    part = world.blocks(html)["near copies across splits"]
    assert part.index(thumbnail(picture(24), None)) < part.index(thumbnail(picture(80), None))
    assert re.search(r"3\.png.*in test.*10\.png.*in train.*0\.97 alike", sound_words(part))


def sound_words(part):
    return " ".join(re.sub(r"<[^>]*>", " ", part).split())


def test_quarantine_is_shown_by_reason_with_excerpts_of_what_cannot_be_decoded(world):
    page, html = world.write(failed("quarantined_share", *(Offender(name, "truncated") for name in world.bad)))
    part = html[html.index('id="quarantine"') :]
    said = sound_words(part)
    assert "truncated All of these: image file is truncated" in said.replace("4 examples. ", "")
    assert "89 50 4e 47 0d 0a 1a 0a" in said
    assert "... 40 bytes" in said
    assert "&lt;html&gt;404 &amp; more&lt;/html&gt;" in part
    assert "not: an image" in said
    assert said.index("truncated") < said.index("empty") < said.index("unreadable")
    assert "<figure" not in world.blocks(html)["quarantined share"]
    assert "Raw examples 36 Accepted 30 In quarantine 6" in page.words


def test_an_offender_may_be_in_quarantine_or_gone_or_unknown(world):
    offenders = [Offender("bad4.png"), Offender("gone.png"), Offender("row 7")]
    _, html = world.write(failed("examples_kept", *offenders), reference=world.reference)
    part = sound_words(world.blocks(html)["examples kept"])
    assert "404" in part
    assert "gone.png labelled 4" in part
    assert part.endswith("row 7")


def test_a_use_case_without_pictures_names_its_examples(world):
    world.pipeline.usecase = SimpleNamespace(thumbnail=None, amend=None)
    _, html = world.write(failed("label_errors", Offender("3.png", "looks like 9")))
    assert "3.png labelled 4" in sound_words(world.blocks(html)["label errors"])
    assert 'class="content"' not in html


@pytest.mark.parametrize("error", [BadExample("bad", "no"), ValueError("no"), ZeroDivisionError()])
def test_whatever_a_use_case_stumbles_over_is_shown_raw(world, error):
    def stumble(payload, data):
        warnings.warn("that looks odd", stacklevel=1)
        raise error

    world.pipeline.usecase = SimpleNamespace(thumbnail=stumble, amend=None)
    _, html = world.write(failed("label_errors", Offender("3.png")))
    assert "<pre>89 50 4e 47" in world.blocks(html)["label errors"]


def test_contents_are_read_for_shown_examples_only(world, monkeypatch):
    loaded = []
    real = data_report.load
    monkeypatch.setattr(data_report, "load", lambda raw, source: loaded.append(source) or real(raw, source))
    world.write(failed("strangers", *(Offender(name) for name in world.good)), failed("outliers", passed=True))
    assert loaded == [*world.good[: data_report.MOST_SHOWN], *world.bad[:4], *world.bad[4:][::-1]]


def test_a_page_stays_small_whatever_is_wrong(world):
    large = '<img alt="" src="data:image/png;base64,' + "A" * 60_000 + '">'
    world.pipeline.usecase = SimpleNamespace(thumbnail=lambda payload, data: large, amend=None)
    names = [f"expect_column_values_to_be_between:{'c' * 40}{number}" for number in range(50)]
    pairs = [Offender(name, "x" * 5000, name) for name in world.good]
    _, html = world.write(*(failed(name, *pairs) for name in names))
    assert len(html) < 3_000_000
    blocks = list(world.blocks(html).values())
    assert [block.count("<img") for block in blocks[:8]] == [3, 3, 3, 3, 3, 3, 1, 0]
    assert all("29.png" not in block and "11.png" in block for block in blocks)


def test_many_reasons_are_counted_together(world):
    reasons = [f"reason{number}: x" for number in range(25) for _ in range(1 + (number < 20))]
    ids = [f"q{number}.png" for number in range(len(reasons))]
    rows_of(ids).with_columns(reason=pl.Series(reasons)).write_parquet(world.material.quarantine)
    page, _ = world.write(failed("strangers"))
    assert "5 other reasons 5 examples." in page.words
    assert f"In quarantine {len(reasons)}" in page.words


def test_steps_follow_from_what_failed(world):
    def steps(*findings):
        _, html = world.write(*findings)
        found = re.search(r'<ol class="steps">(.*?)</ol>', html, re.DOTALL)
        return sound_words(found[1]) if found else ""

    assert steps(failed("strangers", passed=True)) == ""
    assert "labels review" not in steps(failed("strangers"))
    assert "change it: gates.data.max_strangers in pipelines/digits/params.yaml Or let" in steps(failed("strangers"))
    assert "gates.data.severity.copies_across_splits in pipelines" in steps(failed("copies_across_splits"))
    assert "on one side: `group`" in steps(failed("near_copies_across_splits"))
    assert "on one side" not in steps(failed("strangers"))
    assert "change it: pipelines/digits/expectations.json Or let" in steps(
        failed("expect_column_values_to_be_unique:id")
    )
    closed = steps(failed("label_errors"))
    said = ["dvc repro", "sluiceway labels review digits", "change it", "sluiceway gate digits --override"]
    places = [closed.index(each) for each in said]
    assert places == sorted(places)
    warned = steps(failed("label_errors", severity=Severity.warn))
    assert warned == "Let a person decide on the labels in doubt: sluiceway labels review digits"


def test_the_version_before_is_overlaid_where_both_have_a_column(world):
    drift = failed("drift_of_measures", message="brightness by 0.90 in the data drifted from digits version 3")
    page, _ = world.write(drift, reference=world.reference)
    said = page.words.split("Against digits version 3")[1].split("What the data looks like")[0]
    assert "had 10 examples; now there are 30" in said
    assert said.count("drifted") == 1
    assert "before" in said
    assert "format" not in said  # it was not measured then


def test_of_very_large_versions_evenly_taken_examples_are_drawn(world, monkeypatch):
    def past():
        page, _ = world.write(failed("strangers"), reference=world.reference)
        return page.words.split("Against digits version 3")[1].split("What the data looks like")[0]

    assert "drawn from" not in past()
    assert "before 0.9 0.9 0.9 0.9 now 0 1.45 1.45 2.9" in past()
    monkeypatch.setattr(data_report, "MOST_COMPARED", 10)
    assert "had 10 examples; now there are 30. Each curve is the share of its own version, drawn from one" in past()
    assert "now 0 1.35 1.35 2.7" in past()  # every third


def test_all_is_the_same_each_time(world):
    findings = [failed("strangers", Offender("3.png")), failed("label_errors", Offender("5.png"), passed=True)]
    pages = [world.write(*findings, reference=world.reference)[1] for _ in range(2)]
    assert pages[0] == pages[1]


@given(st.binary(max_size=400))
def test_an_excerpt_is_short_and_printable(payload):
    said = data_report.excerpt(payload)
    assert len(said) <= 10 * data_report.EXCERPT
    assert all(letter.isprintable() or letter in "\n\t" for letter in said)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", ""),
        (b"plain", "plain"),
        ("größer".encode(), "größer"),
        ("数".encode() * 60, "数" * 53 + "\\xe6 ..."),
        (b"In the \xff\xfe beginning was the \x00 word", "In the \\xff\\xfe beginning was the \\x00 word"),
        (b"\x00\x01\x02", "00 01 02"),
        (b"\x80" * 40, "\n".join(["80 80 80 80 80 80 80 80"] * 4) + "\n... 40 bytes"),
    ],
)
def test_excerpts(payload, said):
    assert data_report.excerpt(payload) == said
