"""Recommendation, function by function: tables, sides, histories, the ranking of a whole catalogue."""

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sluiceway.config import Split
from sluiceway.data.answers import Answers
from sluiceway.data.sources import load
from sluiceway.data.splits import Sides
from sluiceway.data.table import SPLITS, BadExample, Example
from sluiceway.errors import DataError, NoRawData, UnknownLayout
from sluiceway.models.sasrec import SASRec
from sluiceway.stages.preprocess import _examples
from sluiceway.usecases.base import Evidence, Loaded
from sluiceway.usecases.recommendation import USECASE, serving
from sluiceway.usecases.recommendation.baselines import baselines, chosen_by, likeness
from sluiceway.usecases.recommendation.examples import encode, fit, histories, measure, read
from sluiceway.usecases.recommendation.layouts import Interaction, interaction_of
from sluiceway.usecases.recommendation.learning import build, losses
from sluiceway.usecases.recommendation.params import (
    InteractionData,
    NextItemObjective,
    SASRecParams,
    SequenceEncoding,
)
from sluiceway.usecases.recommendation.scoring import (
    METRICS,
    TOP,
    coverage_10,
    hit_rate_10,
    mrr,
    ndcg_10,
    outcomes_of,
    predict,
    show,
)

ANY = InteractionData(earliest=None, latest=None)
CONTEXT = 4
Row = tuple[str, str, float, float]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["u1", "u2", "u3", "u4"]),
        st.sampled_from([f"i{number}" for number in range(12)]),
        st.integers(1, 5).map(float),
        st.integers(0, 20).map(float),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[:2],
)


def write(folder, rows, name="ratings.csv"):
    lines = [f"{user},{item},{rating:g},{time:g}" for user, item, rating, time in rows]
    (folder / name).write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    return folder


def listed(raw, data=ANY):
    """Return what the stage hands on: accepted examples with their contents, by side."""
    sides, met = {split: [] for split in SPLITS}, set()
    for row, example in enumerate(read(raw, data)):
        payload = load(raw, example.source)
        measure(payload, data)
        if example.id not in met:
            sides[example.split].append(Loaded(example, payload, row))
        met.add(example.id)
    return sides


def encoded(raw, data=ANY, **options):
    sides = listed(raw, data)
    encoding = json.loads(json.dumps(fit(sides["train"], SequenceEncoding(**{"context": CONTEXT} | options))))
    items, before = {}, []
    for split in SPLITS:
        before = [*before, *sides[split]]
        items[split] = list(encode(before, encoding, split))
    return sides, encoding, items


# Tables


LAYOUTS = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t3\t900000000\n",
    "u.data": "1\t7\t3\t900000000\n",
    "ratings.dat": "1::7::3::900000000\n",
    "ratings.csv": "userId,movieId,rating,timestamp\n1,7,3.0,900000000\n",
    "mine.tsv": "Time\tItem ID\tStars\tUser\n1998-07-09T16:00:00\t7\t3\t1\n",
    "quoted.csv": '"user";"item";"score";"date"\n"1";"7";"3";"900000000"\n',
    "dos.csv": "user,item,rating,time\r\n1,7,3,900000000\r\n",
    "mark.csv": "\ufeffuser,item,rating,time\n1,7,3,900000000",
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_usual_tables_are_read(name, tmp_path):
    (tmp_path / name).write_text(LAYOUTS[name], encoding="utf-8", newline="")
    (example,) = read(tmp_path, InteractionData())
    assert (example.id, example.group, example.target, example.time) == ("1/7", "1", "7", 900000000.0)
    assert example.split == "train"
    payload = load(tmp_path, example.source)
    assert interaction_of(payload) == Interaction("1", "7", 3.0, 900000000.0)
    assert measure(payload, InteractionData()) == {"rating": 3.0}


NAMED = InteractionData(user_column="who", item_column="what", rating_column="liked", time_column="at")
OWN_NAMES = {
    "log.csv": "id,who,what,liked,at\n1,1,7,3,900000000\n",
    "quoted.csv": 'who;what;liked;at\n"1";"7";"3";"1998-07-09T16:00:00"\n',
    "log.inter": "who:token\twhat:token\tliked:float\tat:float\n1\t7\t3\t900000000\n",
    "log.jsonl": '{"who": 1, "what": "7", "liked": 3.0, "at": 900000000, "user": "nobody"}\n',
    "log.parquet": None,
}


@pytest.mark.parametrize("name", OWN_NAMES)
def test_columns_may_have_other_names(name, tmp_path):
    if name.endswith(".parquet"):
        table = {"user": ["nobody"], "who": ["1"], "what": [7], "liked": [3.0], "at": [900000000]}
        pl.DataFrame(table).write_parquet(tmp_path / name)
    else:
        (tmp_path / name).write_text(OWN_NAMES[name], encoding="utf-8")
    (example,) = read(tmp_path, NAMED)
    assert (example.id, example.group, example.target, example.time) == ("1/7", "1", "7", 900000000.0)
    assert interaction_of(load(tmp_path, example.source)) == Interaction("1", "7", 3.0, 900000000.0)
    assert measure(load(tmp_path, example.source), NAMED) == {"rating": 3.0}


def test_what_is_not_named_has_its_usual_name_and_ratings_may_be_left_out(tmp_path):
    (tmp_path / "log.csv").write_text("user,item,rating,time,what\na,b,3,900000000,c\n")
    for options, rating in (({}, 3.0), ({"rating_column": ""}, None)):
        data = InteractionData(item_column="what", **options)
        (example,) = read(tmp_path, data)
        assert example.id == "a/c"
        assert measure(load(tmp_path, example.source), data) == {"rating": rating}


def test_bad_lines_of_named_columns_are_set_aside(tmp_path):
    (tmp_path / "log.csv").write_text("who,what,liked,at\n1,7,3,900000000\n1,8\n1,,3,900000000\n1,9,much,900000000\n")
    reasons = []
    for example in read(tmp_path, NAMED):
        try:
            measure(load(tmp_path, example.source), NAMED)
        except BadExample as bad:
            reasons.append(str(bad).partition(":")[0])
    assert reasons == ["missing_field", "missing_field", "bad_rating"]


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        (
            {"user_column": "whom"},
            "no column whom, which data.user_column names: found who, what, at",
            "did you mean 'who'",
        ),
        ({"user_column": "who"}, "no column for the item: found who, what, at", "data.item_column names it"),
    ],
)
def test_a_column_that_is_not_there_is_told_with_the_nearest(options, said, hint, tmp_path):
    (tmp_path / "log.csv").write_text("who,what,at\n1,7,900000000\n")
    with pytest.raises(UnknownLayout, match=said) as caught:
        list(read(tmp_path, InteractionData(**options)))
    assert hint in caught.value.hint


def test_columns_of_files_without_a_header_cannot_be_named(tmp_path):
    (tmp_path / "u.data").write_text("1\t7\t3\t900000000\n")
    with pytest.raises(UnknownLayout, match=r"u.data has no header, and data.time_column names a column of one"):
        list(read(tmp_path, InteractionData(time_column="at")))
    with pytest.raises(ValidationError, match="user_column and item_column are both 'x'"):
        InteractionData(user_column="x", item_column="x")


def test_a_table_without_ratings_is_read(tmp_path):
    (tmp_path / "clicks.csv").write_text("user,item,time\na,b,900000000\n")
    (example,) = read(tmp_path, InteractionData())
    assert measure(load(tmp_path, example.source), InteractionData()) == {"rating": None}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.item", "item_id:token\tmovie_title:token_seq\n7\tAlien\n8\tHeat\n"),
        ("u.item", "7|Alien|1979\n8|Heat|1995\n"),
        ("movies.csv", 'movieId,title,genres\n7,Alien,x\n8,"Heat",y\n'),
        ("movies.dat", "7::Alien::x\n8::Heat::y\n"),
    ],
)
def test_titles_stand_beside(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    write(tmp_path, [("1", "7", 3, 1), ("1", "9", 3, 2)], "ratings.csv")
    assert [example.target for example in read(tmp_path, ANY)] == ["Alien", "9"]


def test_an_old_catalogue_is_latin_1(tmp_path):
    (tmp_path / "u.data").write_text("1\t7\t3\t5\n")
    (tmp_path / "u.item").write_bytes("7|Les Misérables|1995\n".encode("latin-1"))
    assert [example.target for example in read(tmp_path, ANY)] == ["Les Misérables"]


def test_tables_of_other_things_are_left_alone(tmp_path):
    write(tmp_path, [("1", "7", 3, 1)])
    (tmp_path / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,7,good,3\n")
    assert [example.id for example in read(tmp_path, ANY)] == ["1/7"]


@pytest.mark.parametrize(
    ("name", "text", "message", "hint"),
    [
        ("a.pdf", "x", r"no interactions below .*: found 1 x \.pdf", "expected a table"),
        (
            "a.csv",
            "user,film,time\n1,2,3\n",
            "no column for the item: its header is 'user,film,time'",
            "item or itemid",
        ),
        ("a.csv", "usr,item,time\n1,2,3\n", "no column for the user", "did you mean 'usr'"),
        ("a.csv", "user,item,rating\n1,2,3\n", "no column for the time", "timestamp or time"),
    ],
)
def test_an_unknown_layout_is_answered_with_the_nearest(name, text, message, hint, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(UnknownLayout, match=message) as caught:
        list(read(tmp_path, ANY))
    assert "expected a table" in caught.value.hint
    assert any(part in caught.value.hint for part in hint.split("|"))


def test_an_empty_folder_is_no_raw_data(tmp_path):
    with pytest.raises(NoRawData):
        list(read(tmp_path, ANY))


# Lines


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,7,3", "missing_field"),
        ("1,7,3,", "missing_field"),
        (",7,3,900000000", "missing_field"),
        ("1,7,3,900000000,x", "extra_field"),
        ("1,7,three,900000000", "bad_rating"),
        ("1,7,nan,900000000", "bad_rating"),
        ("1,7,9,900000000", "impossible_rating"),
        ("1,7,0,900000000", "impossible_rating"),
        ("1,7,3,soon", "bad_time"),
        ("1,7,3,900000", "impossible_time"),
        ("1,7,3,900000000000", "impossible_time"),
        ("1,7,3,\udcff", "unreadable"),
    ],
)
def test_a_bad_line_is_told_and_named_by_its_place(line, reason, tmp_path):
    text = f"user,item,rating,time\n1,6,3,900000000\n{line}\n"
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    data = InteractionData(lowest_rating=1, highest_rating=5)
    good, bad = read(tmp_path, data)
    assert (good.id, bad.id, bad.group) == ("1/6", "a.csv:3", None)
    with pytest.raises(BadExample, match=f"^{reason}: "):
        measure(load(tmp_path, bad.source), data)


def test_a_pair_that_stands_twice_has_one_id(tmp_path):
    rows = [("1", "7", 3, 1), ("1", "8", 3, 2), ("1", "7", 4, 3)]
    assert [each.id for each in read(write(tmp_path, rows), ANY)] == ["1/7", "1/8", "1/7"]
    assert [each.split for each in read(tmp_path, ANY)] == ["train", "train", "train"]  # two choices, not three
    repeated = list(read(tmp_path, InteractionData(earliest=None, repeats=True)))
    assert [each.id for each in repeated] == ["1/7", "1/8", "1/7-2"]
    assert [each.split for each in repeated] == ["train", "validation", "test"]


# Sides


@settings(max_examples=80)
@given(rows=ROWS)
def test_the_last_is_the_test_and_the_one_before_validation(rows, tmp_path_factory):
    examples = list(read(write(tmp_path_factory.mktemp("raw"), rows), ANY))
    for user in {row[0] for row in rows}:
        own = [(row[3], at) for at, row in enumerate(rows) if row[0] == user]
        expected = dict.fromkeys((at for _, at in own), "train")
        if len(own) >= 3:
            *_, (_, before), (_, last) = sorted(own)
            expected |= {before: "validation", last: "test"}
        assert {at: examples[at].split for _, at in own} == expected


def test_only_choices_are_held_out(tmp_path):
    rows = [("1", str(item), rating, item) for item, rating in enumerate([5, 4, 5, 1, 2])]
    examples = list(read(write(tmp_path, rows), InteractionData(earliest=None, positive_from=4)))
    assert [each.split for each in examples] == ["train", "validation", "test", "train", "train"]
    assert [each.target for each in examples] == ["0", "1", "2", None, None]


def test_a_bad_line_is_no_test(tmp_path):
    rows = [("1", str(item), 3, item) for item in range(4)] + [("1", "9", 77, 9)]
    examples = list(read(write(tmp_path, rows), InteractionData(earliest=None, highest_rating=5)))
    assert [each.split for each in examples[:4]] == ["train", "train", "validation", "test"]


def test_time_or_folders_may_decide_instead(tmp_path):
    rows = [("1", str(item), 3, item) for item in range(4)]
    moment = InteractionData(earliest=None, split=Split(test_from="2"))
    assert {each.split for each in read(write(tmp_path, rows), moment)} == {None}
    for side in ("train", "test"):
        (tmp_path / "split" / side).mkdir(parents=True)
        write(tmp_path / "split" / side, rows)
    assert [each.split for each in read(tmp_path / "split", ANY)] == ["test"] * 4 + ["train"] * 4


# Histories


@settings(max_examples=80)
@given(rows=ROWS)
def test_a_held_out_choice_is_asked_with_what_was_before_and_nothing_else(rows, tmp_path_factory):
    sides, encoding, items = encoded(write(tmp_path_factory.mktemp("raw"), rows))
    names = ["", *encoding["items"]]
    for split in ("validation", "test"):
        assert sorted(item.row for item in items[split]) == [each.row for each in sides[split]]
        for item in items[split]:
            user, wanted, _, time = rows[item.row]
            earlier = sorted(
                (row[3], at) for at, row in enumerate(rows) if row[0] == user and (row[3], at) < (time, item.row)
            )
            known = [rows[at][1] for _, at in earlier if rows[at][1] in names]
            seen = [names[number] for number in item.arrays["seen"] if number]
            assert seen == known
            assert wanted not in seen
            assert [names[number] for number in item.arrays["history"] if number] == known[-CONTEXT:]
            (place,) = np.flatnonzero(item.arrays["next"]) if wanted in names else [None]
            if place is not None:
                assert names[item.arrays["next"][place]] == wanted
                assert place == max(0, min(CONTEXT, len(known)) - 1)


@settings(max_examples=80)
@given(rows=ROWS)
def test_every_training_choice_but_the_first_is_foretold_once(rows, tmp_path_factory):
    sides, encoding, items = encoded(write(tmp_path_factory.mktemp("raw"), rows))
    names = ["", *encoding["items"]]
    foretold = [names[number] for item in items["train"] for number in item.arrays["next"] if number]
    expected = []
    for one in histories(sides["train"], encoding, "train"):
        own = sorted((rows[each.row][3], each.row) for each in sides["train"] if rows[each.row][0] == one.user)
        assert one.rows.tolist() == [row for _, row in own]
        expected += [rows[row][1] for _, row in own[1:]]
    assert foretold == expected
    held = {each.example.id for split in ("validation", "test") for each in sides[split]}
    for item in items["train"]:
        assert all(
            f"{rows[item.row][0]}/{names[n]}" not in held for n in (*item.arrays["history"], *item.arrays["next"]) if n
        )


def test_many_choices_of_a_user_may_be_held_out(tmp_path):
    rows = [("1", "abcabd"[at] + str(at // 3), 3, at) for at in range(6)] + [("2", item, 3, 0) for item in ("a1", "b1")]
    split = Split(validation=0.0, test_from="3")
    found = []
    for row, example in enumerate(read(write(tmp_path, rows), InteractionData(earliest=None, split=split))):
        side = Sides(split).of(example.group, example.time)
        found.append(Loaded(replace(example, split=side), load(tmp_path, example.source), row))
    encoding = fit([each for each in found if each.example.split == "train"], SequenceEncoding(context=CONTEXT))
    items = list(encode(found, encoding, "test"))
    assert [item.row for item in items] == [3, 4, 5]
    seen = [[encoding["items"][number - 1] for number in item.arrays["seen"] if number] for item in items]
    assert seen == [["a0", "b0", "c0"], ["a0", "b0", "c0", "a1"], ["a0", "b0", "c0", "a1", "b1"]]
    assert [bool(item.arrays["next"].any()) for item in items] == [True, True, False]  # nobody chose d1 in training


def test_a_split_is_encoded_with_the_sides_before_it():
    def read(split):
        return iter([Loaded(Example(split, split, split=split), b"", 0)])

    for looks_back, expected in ((True, ["train", "validation", "test"]), (False, ["test"])):
        assert [each.example.id for each in _examples(read, "test", looks_back=looks_back)] == expected
        assert [each.example.id for each in _examples(read, "train", looks_back=looks_back)] == ["train"]


def test_items_are_numbered_by_how_often_they_are_chosen_in_training(tmp_path):
    rows = [("1", item, 3, at) for at, item in enumerate("abcxy")] + [
        ("2", item, 3, at) for at, item in enumerate("cbzy")
    ]
    _, encoding, _ = encoded(write(tmp_path, rows))
    assert encoding["items"] == ["b", "c", "a"]
    assert encoding["counts"] == [2, 2, 1]


def test_nothing_to_learn_from_is_said():
    with pytest.raises(DataError, match="nothing to learn from"):
        fit([], SequenceEncoding())


# Losses and scores


def network(items, seed=0, **options):
    torch.manual_seed(seed)
    encoding = {"items": [f"i{n}" for n in range(items)], "context": CONTEXT}
    model = build(SASRecParams(**{"channels": 16, "layers": 2, "dropout": 0.0} | options), encoding)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)  # layers begin as their shortcut
    return model.eval()


def batch(**columns):
    return {name: torch.tensor(column, dtype=torch.int32) for name, column in columns.items()}


def test_what_stands_behind_the_end_changes_nothing():
    model = network(20)
    with torch.no_grad():
        short, padded = model(torch.tensor([[3, 5]])), model(torch.tensor([[3, 5, 0, 0]]))
        other = model(torch.tensor([[3, 5, 9, 1]]))
    torch.testing.assert_close(short, padded[:, :2])
    torch.testing.assert_close(short, other[:, :2])  # nor what comes later
    assert (short[..., 0] == -math.inf).all()
    assert (padded[:, 1] - model(torch.tensor([[5, 3]]))[:, 1])[0, 1:].abs().max() > 1e-3  # the order counts


def test_asked_places_are_those_of_the_whole():
    model = network(20)
    history, asked = torch.tensor([[3, 5, 0], [7, 2, 9]]), torch.tensor([[True, False, False], [False, True, True]])
    torch.testing.assert_close(model(history, asked), model(history)[asked])


def test_losses_are_the_cross_entropy_of_the_choices_of_each_history():
    model = network(20)
    data = batch(history=[[3, 5, 0, 0], [7, 2, 9, 4], [1, 0, 0, 0]], next=[[5, 8, 0, 0], [0, 0, 0, 11], [0, 0, 0, 0]])
    found = losses(model, data, NextItemObjective())["loss"]
    costs = -model(data["history"].long()).log_softmax(-1).detach()
    expected = [float((costs[0, 0, 5] + costs[0, 1, 8]) / 2), float(costs[1, 3, 11]), 0.0]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    found.mean().backward()
    assert all(torch.isfinite(each.grad).all() for each in model.parameters())


def naive(scores, seen, wanted, exclude):
    """Rank one history by hand."""
    allowed = [n for n in range(1, len(scores)) if not (exclude and n in seen)]
    ranked = sorted(allowed, key=lambda n: (-scores[n], n))
    rank = ranked.index(wanted) + 1 if wanted in ranked else len(scores)
    return rank, (ranked + [0] * TOP)[:TOP]


@settings(max_examples=150)
@given(data=st.data(), items=st.integers(2, 25), users=st.integers(1, 6), exclude=st.booleans())
def test_ranks_and_metrics_are_those_of_a_full_ranking(data, items, users, exclude):
    def draw(low, high, size):
        return data.draw(st.lists(st.integers(low, high), min_size=size, max_size=size))

    scores = np.array([draw(0, 4, items + 1) for _ in range(users)], np.float32)  # with many ties
    seen = np.array([sorted(draw(0, items, 5), key=lambda n: n == 0) for _ in range(users)])
    wanted = np.array(draw(0, items, users))
    found = outcomes_of(scores, seen, wanted, {"exclude_seen": exclude})
    answers = [naive(scores[u], set(seen[u]), wanted[u], exclude) for u in range(users)]
    assert found["rank"].tolist() == [rank for rank, _ in answers]
    tops = np.stack([found[f"top_{at + 1}"] for at in range(TOP)], axis=1)
    assert tops.tolist() == [top for _, top in answers]
    if exclude:
        assert all(not set(tops[u]) & (set(seen[u]) - {0}) for u in range(users))
    gains = [1 / math.log2(1 + rank) if rank <= 10 else 0.0 for rank, _ in answers]
    assert ndcg_10(found) == pytest.approx(sum(gains) / users)
    assert hit_rate_10(found) == pytest.approx(sum(rank <= 10 for rank, _ in answers) / users)
    assert mrr(found) == pytest.approx(sum(1 / rank for rank, _ in answers) / users)
    assert coverage_10(found) == pytest.approx(len({n for _, top in answers for n in top if n}) / items)


def test_metrics_agree_with_scikit_learn():
    from sklearn.metrics import ndcg_score

    random = np.random.default_rng(0)
    scores, wanted = random.normal(size=(40, 31)), random.integers(1, 31, 40)
    found = outcomes_of(scores, np.zeros((40, 1)), wanted, {"exclude_seen": True})
    relevant = np.arange(31) == wanted[:, None]
    assert ndcg_10(found) == pytest.approx(ndcg_score(relevant[:, 1:], scores[:, 1:], k=10))


def test_a_resample_has_no_coverage():
    outcomes = {"row": np.array([1, 1]), "catalogue": np.array([5, 5])} | {f"top_{n}": np.ones(2) for n in range(1, 11)}
    assert math.isnan(coverage_10(outcomes))
    assert coverage_10({**outcomes, "row": np.array([1, 2])}) == 0.2


def test_the_network_is_asked_after_the_last_item():
    model = network(30)
    data = batch(history=[[3, 5, 0, 0], [7, 2, 9, 4]], next=[[0, 8, 0, 0], [0, 0, 0, 11]], seen=[[3, 5, 0], [2, 9, 4]])
    with torch.inference_mode():
        found = predict(model, data, {"exclude_seen": True})
        logits = model(data["history"].long())
    for user, last in enumerate((1, 3)):
        rank, top = naive(
            logits[user, last].numpy(), set(data["seen"][user].tolist()), int(found["wanted"][user]), True
        )
        assert found["rank"][user] == rank
        assert [found[f"top_{at + 1}"][user] for at in range(TOP)] == top
    assert found["wanted"].tolist() == [8, 11]
    assert [found[f"last_{back}"].tolist() for back in (1, 2, 3, 4)] == [[5, 4], [3, 9], [0, 2], [0, 0]]


def test_an_order_can_be_learned():
    torch.manual_seed(0)
    model = build(SASRecParams(channels=16, layers=1, dropout=0.0), {"items": list("abcdefgh"), "context": CONTEXT})
    start = torch.arange(8).repeat(4)
    circle = torch.stack([(start + step) % 8 + 1 for step in range(CONTEXT + 1)], 1)
    data = {"history": circle[:, :-1], "next": circle[:, 1:]}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        losses(model, data, NextItemObjective())["loss"].mean().backward()
        optimizer.step()
    assert (model(data["history"]).argmax(-1) == data["next"]).all()


# Baselines


def test_likeness_is_the_cosine_of_the_users():
    chosen = [np.array([1, 2]), np.array([1, 2, 3]), np.array([3, 0])]
    found = likeness(chosen, 3).toarray()
    root = math.sqrt
    expected = [[0, 0, 0, 0], [0, 0, 1, 1 / root(4)], [0, 1, 0, 1 / root(4)], [0, 1 / root(4), 1 / root(4), 0]]
    assert found == pytest.approx(np.array(expected))
    assert chosen_by(chosen, 4).toarray().tolist() == [[0, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 1]]


def test_baselines_rank_by_hand(tmp_path):
    histories_of = {"1": "abcd", "2": "abce", "3": "bcab"[:3] + "de", "4": "faxbc"}
    rows = [(user, item, 3, at) for user, items in histories_of.items() for at, item in enumerate(items)]
    sides, encoding, items = encoded(write(tmp_path, rows))
    found = baselines(lambda split: iter(sides[split]), ANY, encoding, Answers(np.empty(0, np.int64)))
    assert list(found) == ["popularity", "item-kNN"]
    numbers = {item: number for number, item in enumerate(encoding["items"], start=1)}
    training = {
        user: [rows[each.row][1] for each in sides["train"] if rows[each.row][0] == user] for user in histories_of
    }
    for outcomes in found.values():
        assert outcomes["row"].tolist() == [item.row for item in items["test"]]
    for at, item in enumerate(items["test"]):
        seen = {int(number) for number in item.arrays["seen"] if number}
        wanted = numbers.get(rows[item.row][1], 0)
        assert len(seen) == len(
            [n for n in histories_of[rows[item.row][0]][:-1] if n in numbers]
        )  # validation is known
        assert found["popularity"]["rank"][at] == naive([0, *encoding["counts"]], seen, wanted, True)[0]

        def cosine(one, other):
            users = [
                {user for user, items in training.items() if encoding["items"][n - 1] in items} for n in (one, other)
            ]
            return len(users[0] & users[1]) / math.sqrt(len(users[0]) * len(users[1])) if one != other else 0.0

        scores = [0.0] + [sum(cosine(n, known) for known in seen) for n in range(1, len(numbers) + 1)]
        scores = [round(score, 9) for score in scores]
        assert found["item-kNN"]["rank"][at] == naive(scores, seen, wanted, True)[0]


# Serving and showing


ENCODING = {
    "items": ["a", "b", "c"],
    "titles": ["A & B", "<b>", "C"],
    "counts": [5, 3, 1],
    "context": CONTEXT,
    "exclude_seen": True,
}


def ask(history, model=None, top=2):
    (answer,) = serving.answer(model or network(3), ENCODING, [{"history": history}], {"top": top})
    assert set(answer) == set(USECASE.serving.outputs)
    return answer


def test_who_has_chosen_nothing_gets_what_most_choose():
    for history in ("", "unknown", "x, y"):
        assert ask(history)["items"] == "a,b"
        assert ask(history)["known"] == 0


def test_nobody_is_recommended_what_was_chosen():
    assert set(ask("a", top=9)["items"].split(",")) == {"b", "c"}
    assert ask("a, b, nope, c")["items"] == ""
    assert ask("a, b")["known"] == 2


def test_answers_are_those_of_the_network():
    model = network(3)
    chances = model(torch.tensor([[3, 1]]))[0, -1].softmax(0)
    found = ask("c,a", model)
    assert found["items"] == "b"
    assert float(found["scores"]) == pytest.approx(float(chances[2].detach()), abs=1e-6)


def test_a_history_may_be_longer_than_the_context():
    assert ask(",".join("ab" * CONTEXT), top=3)["items"] == "c"


def test_requests_are_made_of_interactions():
    assert serving.example([b"user,item,time\n1,7,5\n"]) == [{"history": "7"}]


def test_titles_are_escaped():
    outcomes = outcomes_of(np.ones((5, 4)), np.array([[1, 0]] * 5), np.array([1, 2, 0, 3, 2]), ENCODING)
    panels = show(Evidence(network(3), ENCODING, outcomes, lambda row: b""))
    text = "".join(panel.html for panel in panels)
    assert "A &amp; B" in text
    assert "<b>&lt;b&gt;</b>" in text  # a hit
    assert "something new" in text
    assert "nan" not in text


def test_a_line_is_shown_escaped():
    assert USECASE.thumbnail(b"user,item,time\n<u>,7,5\n", ANY) == "<code>user &lt;u&gt;, item 7, time 5</code>"
    assert "&lt;" in USECASE.thumbnail(b"user,item,time\n<", ANY)


def test_metrics_are_named_and_the_first_decides():
    assert [metric.name for metric in METRICS] == ["ndcg_10", "hit_rate_10", "mrr", "coverage_10"]


def test_heads_divide_channels():
    with pytest.raises(ValueError, match="channels 30 do not divide by 2 x heads = 4"):
        SASRecParams(channels=30)
    assert isinstance(network(5), SASRec)
