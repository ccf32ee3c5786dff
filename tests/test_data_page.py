"""The data gate's page: what it says and in which order, which examples it shows and how, and what it never does."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages import HOSTILE, MEASURES, a_verdict, contrast, example_table, profile_of, sound, with_column
from sluiceway.checks import catalogue
from sluiceway.data.contract import wording
from sluiceway.data.contract.suites import names_of
from sluiceway.evaluation.data_page import GROUP_OF, DataReport, Past, SetAside, Specimen, Step, data_page, with_verdict
from sluiceway.evaluation.distributions import distance
from sluiceway.gates.verdict import Check, Override

PICTURE = '<img alt="" src="data:image/png;base64,AAAA">'


def a_report(**changes):
    return DataReport(**{"verdict": a_verdict(), "profile": profile_of(example_table(), MEASURES), **changes})


def page_of(**changes):
    return sound(data_page(a_report(**changes)))


# What the page says


@pytest.mark.parametrize(
    ("overridden", "headline"), [((), "Closed"), (("duplicates",), "Overridden"), (("schema",), "Closed")]
)
def test_the_verdict_comes_first_and_the_failures_next(overridden, headline):
    override = Override(who="Ada", when="2026-01-05T12:00:00Z", why="known", checks=overridden, subject="abc")
    page = page_of(
        verdict=a_verdict(override=override if overridden else None),
        quarantine=[SetAside("tiny", 5), SetAside("unreadable", 2)],
        steps=[Step("Mend the data, then:", "dvc repro")],
        docs_link="docs/index.html",
        offenders="data/validated/digits/offenders.parquet",
    )
    body = page.words.split(" verdict of the data gate ")[1]
    assert body.startswith(headline)
    assert "Raw examples 607 Accepted 600 In quarantine 7" in body
    said = ["dvc repro", "Raw examples", "failed duplicates leak was found", "warning smallest class class 8 is small"]
    said += ["tiny 5 examples", "unreadable 2 examples", "What the data looks like", "all columns are there"]
    places = [body.index(each) for each in said]
    assert places == sorted(places)
    assert "Found leak. 40 examples." in body
    assert "Found 3, limit 10." in body
    assert "data/validated/digits/offenders.parquet" in body
    assert page.attributes.count(("a", "href", "docs/index.html")) == 2
    anchors = {value for tag, name, value in page.attributes if name == "id" and tag in ("article", "section")}
    links = {value for _, name, value in page.attributes if name == "href" and value.startswith("#")}
    assert links
    assert {link.removeprefix("#") for link in links} <= anchors


OVERRIDE = Override(who="Ada <a@b>", when="2026-01-05T12:00:00+01:00", why="it is <known>", checks=(), subject="abc")


def test_what_a_person_decided_afterwards_is_put_into_the_page():
    """The same page as if the override had been known when it was drawn, and back again."""
    steps = [Step("Keep the record:", "git add data/overrides.jsonl")]
    closed = a_verdict()
    opened = a_verdict(override=OVERRIDE.model_copy(update={"checks": ("duplicates",)}))
    drawn = data_page(a_report(verdict=closed))
    page = with_verdict(drawn, opened, steps)
    assert page == data_page(a_report(verdict=opened, steps=steps))
    assert with_verdict(page, closed, []) == drawn
    words = sound(page).words
    assert "Overridden: a person let this data through leak was found Ada <a@b> overrode duplicates on" in words
    assert "on 2026-01-05 11:00 UTC: “it is <known>”" in words
    assert "Closed" not in words
    assert "digits: data gate overridden" in page


def test_a_page_that_was_not_drawn_here_gets_no_verdict():
    with pytest.raises(ValueError, match="not made by data_page"):
        with_verdict("<html></html>", a_verdict(), [])


def test_hostile_words_stay_in_the_box():
    """Neither the marks of the box nor any other markup comes from what a person or the data says."""
    hostile = f"<!-- end of the verdict -->{HOSTILE}"
    override = OVERRIDE.model_copy(update={"why": hostile, "who": hostile, "checks": ("duplicates",)})
    page = with_verdict(data_page(a_report(verdict=a_verdict(hostile))), a_verdict(hostile, override=override), [])
    sound(page)
    assert "<script" not in page
    assert page.count("<!-- end of the verdict -->") == 1


def test_all_that_closes_is_named_at_once():
    checks = [Check(name=name, passed=False, message=f"{name}!") for name in ("label_errors", "strangers", "outliers")]
    page = page_of(verdict=a_verdict(checks=tuple(checks)))
    assert (
        "label_errors! (and strangers, outliers) Closed by 3 checks: label errors ; strangers ; outliers ."
        in page.words
    )
    assert "Closed by" not in page_of().words


def test_good_data_says_so_and_shows_no_empty_part():
    page = page_of(
        verdict=a_verdict(checks=(Check(name="schema", passed=True, message="run `dvc repro` ` now"),)),
        profile=profile_of(example_table(), {}, "none"),
    )
    assert "Open: this data is fit to learn from all 1 checks passed" in page.words
    for part in ("What is wrong", "Quarantine", "What to do", "worth a look", "Against"):
        assert part not in page.words
    assert "Nothing was measured" in page.words
    assert "run dvc repro ` now" in page.words
    assert page.tags.count("code") == 2  # of the message, and the digest
    assert ("details", "open", None) in page.attributes
    assert "a" not in page.tags


def test_what_passed_is_folded_away_by_what_it_asks_about_when_something_failed():
    names = {"expect_column_values_to_be_unique:id": True, "strangers": False, "label_errors": True, "of_mine": True}
    checks = [Check(name=name, passed=passed, message=f"{name}!") for name, passed in names.items()]
    page = page_of(verdict=a_verdict(checks=tuple(checks)))
    groups = page.words.split("All checks")[1]
    said = ["The contract 1 passed", "id: unique", "Single examples 1 failed", "strangers"]
    said += ["The data set 1 passed", "of mine", "Labels 1 passed"]
    places = [groups.index(each) for each in said]
    assert places == sorted(places)
    assert ("details", "open", None) not in page.attributes


def test_every_check_of_the_catalogue_has_its_group():
    assert set(GROUP_OF) == catalogue.NAMES


def test_examples_are_shown_with_what_is_wrong():
    copy = Specimen(
        id="5.png",
        target="labelled 5",
        split="test",
        html=PICTURE,
        detail="0.97 alike",
        other=Specimen(id="7.png", target="labelled 7", split="train", html="<blockquote>seven</blockquote>"),
    )
    page = page_of(specimens={"duplicates": [copy], "schema": [Specimen(id="odd.png", detail="rather odd")]})
    assert "5.png labelled 5 in test 7.png labelled 7 in train 0.97 alike" in page.words.replace("seven ", "")
    assert "40 examples, 1 of them shown." in page.words
    named = [value for tag, name, value in page.attributes if (tag, name) == ("div", "aria-label")]
    assert named == ["content of 5.png"]  # a text is read out as it is
    assert "odd.png rather odd" in page.words.split("Within the limits, yet worth a look")[1]


def test_what_is_wrong_with_all_is_said_once_and_most_are_folded_away():
    many = [Specimen(id=f"{number}.png", html=PICTURE, detail="gone") for number in range(20)]
    page = page_of(specimens={"duplicates": many})
    assert page.words.count("gone") == 1
    assert "8 more 12.png" in page.words
    texts = [replace(each, html="<pre>00</pre>", other=each) for each in many]
    assert "17 more" in page_of(specimens={"duplicates": texts}).words


def test_versions_are_compared_with_the_drifted_first():
    before = example_table()
    now = with_column(before, "brightness", [value and 0.5 * value for value in before["brightness"].to_pylist()])
    now = with_column(now, "colour", ["blue"] * 600)
    versions = {"before": before, "now": now}
    parts = [pl.from_arrow(table).with_columns(split=pl.lit(part)) for part, table in versions.items()]
    facts = profile_of(pl.concat(parts).to_arrow(), MEASURES, "class", ("before", "now"))
    apart = {name: distance(facts["measures"][name], "before", "now") for name in MEASURES}
    assert apart["colour"] > apart["width"] == 0
    html = data_page(
        a_report(past=Past("digits version 3", facts, {"before": 600, "now": 601}, drifted=("brightness",)))
    )
    said = sound(html).words.split("Against digits version 3")[1].split("What the data looks like")[0]
    places = [said.index(name) for name in ("brightness drifted", "colour", "width")]
    assert places == sorted(places)
    assert said.count("drifted") == 1
    assert "had 600 examples; now there are 601" in said


def test_hostile_words_stay_words():
    table = with_column(with_column(example_table(40), "target", [HOSTILE, "b"] * 20), "colour", [HOSTILE, "b"] * 20)
    override = Override(who=HOSTILE, when=HOSTILE, why=HOSTILE, checks=("duplicates", HOSTILE), subject=HOSTILE)
    facts = profile_of(table, {**MEASURES, "id": "text"})
    specimen = Specimen(id=HOSTILE, target=HOSTILE, split=HOSTILE, detail=HOSTILE)
    page = page_of(
        verdict=a_verdict(HOSTILE, pipeline=HOSTILE, subject=HOSTILE, override=override, figures={HOSTILE: 1.0}),
        profile=facts,
        specimens={"duplicates": [specimen, replace(specimen, detail=f"2 {HOSTILE}", other=specimen)]},
        quarantine=[SetAside(HOSTILE, 1, [specimen])],
        past=Past(HOSTILE, facts, {"before": 1, "now": 2}, drifted=[HOSTILE]),
        steps=[Step(HOSTILE, HOSTILE)],
        offenders=HOSTILE,
        docs_link=HOSTILE,
        run_id=HOSTILE,
    )
    assert "img" not in page.tags
    assert page.words.count("<script>alert") >= 25


def test_a_page_is_the_same_each_time():
    assert data_page(a_report()) == data_page(a_report())


def test_colours_of_words_can_be_read():
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", data_page(a_report())))
    pairs = [(name, f"{name}-ground") for name in ("good", "care", "bad")]
    pairs += [("bad", "paper"), ("ink", "paper"), ("ink", "ground"), ("muted", "paper"), ("muted", "ground")]
    for ink, ground in pairs:
        assert contrast(colours[ink], colours[ground]) >= 4.5


# Distances, and names for people


@given(
    one=st.lists(st.integers(0, 15), min_size=1, max_size=60),
    other=st.lists(st.integers(0, 15), min_size=1, max_size=60),
)
def test_distance_of_whole_numbers_is_kolmogorovs_and_smirnovs(one, other):
    table = pl.DataFrame({"split": ["a"] * len(one) + ["b"] * len(other), "target": None, "x": one + other})
    found = profile_of(table.to_arrow(), {"x": "integer"}, "none", ("a", "b"))["measures"]["x"]
    below = [[np.mean(np.array(values) <= most) for most in range(16)] for values in (one, other)]
    assert distance(found, "a", "b") == pytest.approx(np.abs(np.subtract(*below)).max())
    assert distance(found, "a", "b") == pytest.approx(distance(found, "b", "a"))


@given(
    one=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60),
    other=st.lists(st.sampled_from("abcdef"), max_size=60),
)
def test_distance_of_values_is_total_variation(one, other):
    table = pl.DataFrame(
        {"split": ["a"] * len(one) + ["b"] * len(other), "target": pl.Series(one + other, dtype=pl.String)}
    )
    found = profile_of(table.to_arrow(), {}, "class", ("a", "b"))["target"]
    shares = [{name: values.count(name) / max(1, len(values)) for name in "abcdef"} for values in (one, other)]
    expected = 0.5 * sum(abs(shares[0][name] - shares[1][name]) for name in "abcdef") if other else 1.0
    assert distance(found, "a", "b") == pytest.approx(expected)
    assert distance(found, "a", "a") == 0


def test_values_that_are_not_counted_one_by_one_count_as_one():
    def part(*counts, other):
        return {"count": sum(counts) + other, "missing": 0, "counts": list(counts), "other": other}

    splits = {"before": part(5, 5, other=0), "now": part(0, 5, other=5), "gone": part(0, 0, other=0)}
    found = {"kind": "values", "values": ["a", "b"], "splits": splits}
    assert distance(found, "before", "now") == pytest.approx(0.5)
    assert distance(found, "before", "gone") == 1
    assert distance(found, "gone", "gone") == 0


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("near_copies_across_splits", "near copies across splits"),
        ("expect_column_values_to_be_between:contrast", "contrast: within limits"),
        ("expect_column_values_to_be_between:contrast:2", "contrast: within limits (2)"),
        ("expect_column_values_to_be_between:2", "2: within limits"),
        ("expect_column_mean_to_be_between:a:b", "mean of a:b: within limits"),
        ("expect_table_row_count_to_be_between", "number of examples: within limits"),
        ("expect_table_row_count_to_be_between:2", "number of examples: within limits (2)"),
        ("expect_column_pair_values_to_be_equal:a, b", "a and b: equal"),
        ("expect_column_pair_values_a_to_be_greater_than_b:a, b", "a: greater than the other"),
        ("expect_compound_columns_to_be_unique:a, b, c", "compound columns of a and b and c: unique"),
        ("expect_column_distinct_values_to_contain_set:split", "distinct values of split: contain a set"),
        ("expect_column_values_to_not_be_null:id", "id: never missing"),
        ("expect_something_of_mine", "the table: something of mine"),
    ],
)
def test_checks_have_names_for_people(name, title):
    assert wording.title(name) == title


def test_every_expectation_has_a_name_that_says_more_than_its_type():
    import great_expectations as gx

    known = gx.expectations.registry.list_registered_expectation_implementations()
    for kind in known:
        kwargs = {} if "table" in kind else {"column_A": "a", "column_B": "b"} if "pair" in kind else {"column": "a"}
        (name,) = names_of([{"type": kind, "kwargs": kwargs}])
        said = wording.title(name)
        assert "_" not in said.replace("unexpected_rows", "")
        assert "expect " not in said
