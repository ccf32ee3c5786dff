"""Texts with a class, labels or a number to learn: how they lie, what is set aside, read, and answered."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from material import found, material_of
from projects import ROOT
from sluiceway.checks.labels import label_errors
from sluiceway.config import Split, parse
from sluiceway.data.bpe import tokenizer_of
from sluiceway.data.languages import script_missed
from sluiceway.data.learning.counted import Counted
from sluiceway.data.learning.learner import cross_fit
from sluiceway.data.sketches import Sketches
from sluiceway.data.sources import load
from sluiceway.data.table import BadExample
from sluiceway.errors import ConfigError, UnknownLayout
from sluiceway.models.text_encoder import TextEncoder
from sluiceway.usecases import find, targets_of
from sluiceway.usecases.base import Evidence
from sluiceway.usecases.likeness import likest
from sluiceway.usecases.text import senses
from sluiceway.usecases.text.examples import arrays, fit, measure
from sluiceway.usecases.text.learning import augment
from sluiceway.usecases.text.params import TextAugmentation, TextData, TextEncoding
from support import answers_of, listed, loaded, reader_of

TEXT = find("text", ROOT)
FAMILY = targets_of("text", ROOT)
LICENCE = [each for each in (ROOT / "LICENSE").read_text(encoding="utf-8").split("\n\n") if each.strip()]


# How they lie


def read(raw, target="class", **data):
    return listed(FAMILY[target], raw, TextData(**data))


def test_a_record_is_a_text_with_its_target_and_what_surrounds_it(tmp_path):
    lines = ["id,Review,sentiment,author,day", '1,"Good,', 'and ""cheap"".",pos,ann,2024-01-01', "2,Bad.,neg,bob,soon"]
    (tmp_path / "all.csv").write_text("\n".join([*lines, "3,Dear.,,ann,", "4,,pos,bob,", "5,Short"]), encoding="utf-8")
    one, two, three, four, five = read(tmp_path, group_column="author", time_column="day")
    assert load(tmp_path, one.source) == b'Good,\nand "cheap".'
    assert (one.target, one.group, one.time, one.fault) == ("pos", "ann", 1704067200.0, None)
    assert one.id.startswith("all.csv#")
    assert two.fault.startswith("bad_time: line 4 of all.csv")
    assert three.fault == "no_target: line 5 of all.csv has no sentiment"
    with pytest.raises(BadExample, match="empty"):
        load(tmp_path, four.source)
    assert five.fault.startswith("missing_field: line 7 of all.csv has 2 fields")


def test_a_text_keeps_its_id_when_others_are_put_in_before_it(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [json.dumps({"text": text, "label": label}) for text, label in (("x y", "a"), ("z", "b"), ("x y", "a"))]
    path.write_text("\n".join(rows))
    before = [each.id for each in read(tmp_path)]
    assert before[2] == f"{before[0]}-2"
    path.write_text("\n".join([json.dumps({"text": "new", "label": "b"}), *rows]))
    assert [each.id for each in read(tmp_path)][1:] == before


def test_names_of_classes_stand_for_their_numbers_as_the_hub_keeps_them(tmp_path):
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    for side in ("train", "test"):
        table = pa.table({"text": ["fine", "awful"], "label": [1, 0]})
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, tmp_path / f"{side}-00000-of-00001.parquet")
    assert [(each.split, each.target) for each in read(tmp_path)] == [
        ("test", "pos"),
        ("test", "neg"),
        ("train", "pos"),
        ("train", "neg"),
    ]


def test_labels_and_numbers_are_columns_of_a_table(tmp_path):
    rows = [{"text": "a b", "topics": ["x", "y"], "stars": 4.5}, {"text": "c", "topics": [], "stars": 1}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [each.target for each in read(tmp_path, "classes")] == ["x|y", ""]
    assert [each.target for each in read(tmp_path, "number")] == ["4.5", "1"]
    (tmp_path / "a.jsonl").unlink()
    (tmp_path / "a.tsv").write_text("text\tlabels\none\tx|y\ntwo\t\n")
    assert [each.target for each in read(tmp_path, "classes")] == ["x|y", ""]


def test_files_lie_as_images_do(tmp_path):
    for name in ("pos/1.txt", "pos/2.txt", "neg/1.txt"):
        (tmp_path / "folders" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folders" / name).write_text(name)
    found = read(tmp_path / "folders")
    assert [(each.id, each.target) for each in found] == [
        ("neg/1.txt", "neg"),
        ("pos/1.txt", "pos"),
        ("pos/2.txt", "pos"),
    ]
    (tmp_path / "folders" / "index.csv").write_text("file,mood\npos/1.txt,good\nneg/1.txt,bad\npos/2.txt,good\n")
    assert [each.target for each in read(tmp_path / "folders", list="index.csv", label="mood")] == [
        "good",
        "bad",
        "good",
    ]
    assert load(tmp_path / "folders", found[0].source) == b"neg/1.txt"


def test_what_is_not_understood_is_told_with_the_nearest(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,lable\nx,y\n")
    with pytest.raises(
        UnknownLayout, match="texts in the column text, and no column label or class: found lable"
    ) as told:
        read(tmp_path)
    assert "did you mean 'lable'" in told.value.hint
    assert [each.target for each in read(tmp_path, label="lable")] == ["y"]
    path.write_text("words,label\nx,y\n")
    with pytest.raises(UnknownLayout):
        read(tmp_path)
    with pytest.raises(UnknownLayout, match=r"no column wordz, which data\.text_column names"):
        read(tmp_path, text_column="wordz")
    assert [each.target for each in read(tmp_path, text_column="words")] == ["y"]
    path.write_text("said,library,length\nwhat a sum is of,numpy,7\nhow frames are merged,pandas,9\n")
    with pytest.raises(UnknownLayout, match="no texts below") as told:
        read(tmp_path)
    assert "say `text_column: said` below data, and as `label` the column" in told.value.hint
    assert "of library, length;" in told.value.hint
    assert [each.target for each in read(tmp_path, text_column="said", label="library")] == ["numpy", "pandas"]
    path.unlink()
    (tmp_path / "b.docx").write_bytes(b"x")
    with pytest.raises(UnknownLayout, match=r"no texts below .*: found 1 x \.docx") as told:
        read(tmp_path)
    assert "pandoc" in told.value.hint
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UnknownLayout, match=r"no class of texts below .*side by side"):
        read(tmp_path)


def test_texts_with_targets_are_told_from_texts_alone(tmp_path):
    for name, column in (("with", "label"), ("without", "note")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text(f"text,{column}\nx y,p\nz,q\n")
    assert likest(tmp_path / "with", ROOT) == "usecase: text, target: class"
    assert likest(tmp_path / "without", ROOT) == "usecase: text_generation"


def test_contents_of_another_kind_in_parquet_are_no_texts(tmp_path):
    pq.write_table(pa.table({"image": [b"\x89PNG", b"\x89PNG"], "label": ["a", "b"]}), tmp_path / "a.parquet")
    with pytest.raises(UnknownLayout):
        read(tmp_path)


# What is set aside


@pytest.mark.parametrize(
    ("payload", "data", "reason"),
    [
        (b" \n\t ", {}, "empty: nothing but white space"),
        (b"ok", {"shortest": 5}, "too_short: 2 characters; 5 are the fewest"),
        (b"x y " * 30, {"longest": 100}, "too_long: 119 characters; 100 are the most"),
        (b"\xff\xfe caf", {}, "unreadable: not UTF-8 at byte 0"),
        (b"one\x00two", {}, "unreadable: a zero byte"),
        (b"-" * 40, {}, "constant"),
        ("Où est le château\u00a0?".encode().decode("latin-1").encode(), {}, "mojibake"),
        ("Привет, как дела".encode(), {"language": "en"}, "wrong_script: not written in Latin"),
        (b"Good morning", {"language": "ru"}, "wrong_script: not written in Cyrillic"),
        (b"Y el rey de la tierra no es el de los hombres", {"language": "en-GB"}, "wrong_language: .*'es'"),
        (b"And the king of the land was with them", {"language": "es"}, "wrong_language: .*'en'"),
    ],
)
def test_what_cannot_be_learned_from_is_set_aside_with_its_reason(payload, data, reason):
    with pytest.raises(BadExample, match=reason):
        measure(payload, TextData(**data))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Où est le château ?", "fr"),
        ("Привет, как дела", "ru-RU"),
        ("日本語のテキスト", "ja"),
        ("Что угодно", "xx"),
        (":-)", "ru"),
        ("Do ye judge uprightly, O ye sons of men? O congregation!", "en"),
        ("Las Vegas, Los Angeles, La Paz", "en"),
    ],
)
def test_a_text_in_its_own_script_is_accepted(text, language):
    assert not script_missed(text, language)
    assert measure(text.encode(), TextData(language=language)).keys() == TEXT.measures.keys()


def test_no_text_can_be_too_short_and_not_too_long():
    with pytest.raises(ValidationError, match="shortest 9 is more than longest 8"):
        TextData(shortest=9, longest=8)


# Tokens


@pytest.fixture(scope="module")
def encoding():
    known = fit(loaded([each.encode() for each in LICENCE]), TextEncoding(vocabulary=400, longest=12))
    return json.loads(json.dumps({**known, "classes": ["a", "b", "c"]}))


def test_the_vocabulary_is_learned_from_the_texts_it_is_given(encoding):
    assert encoding["vocabulary"] == 400
    assert len(tokenizer_of(encoding).encode("Licensor").ids) <= 4
    other = fit(loaded([b"zig zag zog " * 9]), TextEncoding(vocabulary=300, longest=12))
    assert len(tokenizer_of(other).encode("Licensor").ids) >= 7


@settings(max_examples=60)
@given(text=st.text(max_size=30))
def test_tokens_say_the_text_again_and_end(text, encoding):
    tokens = arrays(text.encode("utf-8", "replace"), {**encoding, "longest": 200})["tokens"].astype(int)
    count = int((tokens > 0).sum())
    assert tokens[count - 1] == encoding["end"] + 1
    assert not tokens[count:].any()
    said = tokenizer_of(encoding).decode((tokens[: count - 1] - 1).tolist())
    assert said.removeprefix(" ") == text.encode("utf-8", "replace").decode().removeprefix(" ")


def test_a_long_text_keeps_its_beginning_and_its_end(encoding):
    long = arrays(LICENCE[5].encode(), encoding)["tokens"]
    whole = arrays(LICENCE[5].encode(), {**encoding, "longest": 4000})["tokens"]
    assert long.shape == (12,)
    assert long[:11].tolist() == whole[:11].tolist()
    assert long[11] == encoding["end"] + 1


def test_tokens_of_pretrained_weights_are_taken_whatever_their_kind(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    names = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "king", "speaks", "##s"]
    tokenizer = Tokenizer(models.WordPiece({name: n for n, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    with pytest.raises(ConfigError, match=r"encode\.tokenizer: .*tokenizer\.json cannot be read"):
        fit([], TextEncoding(tokenizer=str(tmp_path)))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 9, "pad_token_id": 0}))
    taken = fit(loaded([b"x"]), TextEncoding(tokenizer=str(tmp_path), longest=6))
    assert taken["vocabulary"] == 9
    assert arrays(b"king speaks", taken)["tokens"].tolist() == [2, 5, 6, 3, 0, 0]
    assert arrays(b"kings king king king king", taken)["tokens"].tolist() == [2, 5, 7, 5, 5, 3]


# The network


def network(seed=0, **options):
    torch.manual_seed(seed)
    made = TextEncoder(
        **{"vocabulary": 50, "longest": 12, "outputs": 3, "channels": 16, "layers": 2, "heads": 2, "dropout": 0.0}
        | options
    )
    with torch.no_grad():  # as after some training: at first a layer adds nothing
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
    return made.eval()


def test_an_answer_depends_on_no_padding_and_on_no_other_text():
    made, generator = network(), torch.Generator().manual_seed(1)
    texts = [torch.randint(1, 51, (length,), generator=generator) for length in (3, 12, 7, 1)]
    together = torch.stack([torch.nn.functional.pad(each, (0, 12 - len(each))) for each in texts])
    with torch.inference_mode():
        alone = torch.cat([made(each[None]) for each in texts])
        torch.testing.assert_close(made(together), alone)
        moved = made(texts[1].flip(0)[None])
    assert (moved - alone[1]).abs().max() > 1e-3  # the order counts


def test_a_text_without_a_token_is_answered(encoding):
    answers = network()(torch.zeros(2, 12, dtype=torch.long))
    assert torch.isfinite(answers).all()
    torch.testing.assert_close(answers[0], answers[1])


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), share=st.floats(0, 0.9))
def test_some_tokens_are_hidden_by_the_draws_alone(seed, share):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 50, (16, 120), generator=generator)
    tokens[:, 100:] = 0
    dice = torch.rand(16, 2, generator=generator)
    objective = TextAugmentation(hidden=share)
    found = augment({"tokens": tokens, "target": tokens[:, 0]}, dice, objective)["tokens"]
    kept = found > 0
    assert torch.equal(found[kept], tokens[kept])
    assert kept[:, 0].all()
    assert not kept[:, 100:].any()
    assert float((~kept[:, :100]).float().mean()) == pytest.approx(share, abs=0.1)
    torch.testing.assert_close(augment({"tokens": tokens}, dice, objective)["tokens"], found)
    torch.testing.assert_close(augment({"tokens": tokens[5:]}, dice[5:], objective)["tokens"], found[5:])


# The classical learner


def test_words_and_letters_are_counted_each_text_by_itself():
    texts = [b"The king of kings", b"", b"the KING of kings"]
    found = senses.counts(texts)
    assert found.shape == (3, senses.WORDS + senses.LETTERS)
    assert found[:, : senses.WORDS].sum(1).ravel().tolist()[0] == [7.0, 0.0, 7.0]  # four words, three pairs
    assert (found[0] != found[2]).nnz == 0
    assert (senses.counts(texts[2:])[0] != found[2]).nnz == 0
    assert senses.counts([]).shape == (0, found.shape[1])


@pytest.mark.parametrize("most", [0, 3, 100])
def test_rows_are_the_same_whether_they_are_held_or_counted_anew(most):
    texts = [f"{n} and {n * n} make {n + n * n}".encode() for n in range(9)]
    rows = np.arange(9) * 2
    asked = []

    def content(row):
        asked.append(row)
        return texts[row // 2]

    found = Counted(rows, np.arange(9)[::-1], most, senses.counts, content)
    assert len(asked) == min(most, 9)
    wanted = np.array([8, 0, 4, 4, 7])
    assert (found[wanted] != senses.counts([texts[at] for at in wanted])).nnz == 0
    assert found.shape == (9, senses.WORDS + senses.LETTERS)
    assert len(found) == 9


def written(count, seed=0):
    """Texts of two kinds, in which single words say which; none is written twice."""
    rng = np.random.default_rng(seed)
    words = {"sea": ["sail", "harbour", "tide", "anchor"], "field": ["plough", "harvest", "barley", "hedge"]}
    common = ["the", "of", "and", "old", "grey", "morning", "we", "saw", "by", "under"]
    found = []
    for n in range(count):
        kind = list(words)[n % 2]
        said = [*rng.choice(common, 9), *rng.choice(words[kind], 2), str(n)]
        found.append((" ".join(rng.permutation(said)), kind))
    return found


def table_of(texts, targets):
    return pl.DataFrame(
        {
            "split": ["test" if n % 5 == 0 else "train" for n in range(len(texts))],
            "group": pl.Series([None] * len(texts), dtype=pl.String),
            "checksum": [f"{n * 2654435761 % 2**32:08x}" for n in range(len(texts))],
            "target": targets,
        }
    )


def cross_fitted(texts, targets, kind, estimator):
    sketches = Sketches(np.arange(len(texts)), None, None)
    table = table_of(texts, targets)
    load_row = [text.encode() for text in texts].__getitem__
    answers = cross_fit(sketches, table, kind, estimator=estimator, counts=senses.counts, load=load_row)
    assert answers is not None
    return answers


def test_wrong_labels_are_seen_by_words():
    texts, targets = map(list, zip(*written(120), strict=True))
    true = list(targets)
    for spoiled in (7, 33):
        targets[spoiled] = "sea" if targets[spoiled] == "field" else "field"
    answers = cross_fitted(texts, targets, "class", senses.classifier)
    given = answers.probabilities[np.arange(120), [answers.classes.index(each) for each in targets]]
    assert set(np.argsort(given)[:2].tolist()) == {7, 33}
    said = np.array(answers.classes)[answers.probabilities.argmax(1)]
    assert (said == np.array(true)).mean() > 0.95


def test_the_gate_names_the_texts_whose_labels_look_wrong(tmp_path):
    texts, targets = map(list, zip(*written(240, seed=3), strict=True))
    spoiled = {17, 60, 101, 150, 203}
    for at in spoiled:
        targets[at] = "sea" if targets[at] == "field" else "field"
    material = material_of(tmp_path, np.zeros((240, 1)), targets, learn=False)
    answers = cross_fitted(texts, targets, "class", senses.classifier)
    verdict = found(label_errors, replace(material, answers=answers))["label_errors"]
    suspected = {each.id for each in verdict.offenders}
    assert suspected <= {f"e{at}" for at in spoiled}
    assert len(suspected) >= 4


def test_labels_and_numbers_are_learned_from_words_as_well():
    texts, kinds = map(list, zip(*written(120), strict=True))
    answers = cross_fitted(texts, ["wet|old" if kind == "sea" else "" for kind in kinds], "classes", senses.classifier)
    assert answers.classes == ("old", "wet")
    assert ((answers.probabilities > 0.5) == (np.array(kinds) == "sea")[:, None]).mean() > 0.95
    values = [
        str(text.count("sail") + text.count("tide") + 2 * (kind == "field"))
        for text, kind in zip(texts, kinds, strict=True)
    ]
    answers = cross_fitted(texts, values, "number", senses.regressor)
    assert np.corrcoef(answers.predictions, np.array(values, float))[0, 1] > 0.8


# From a table to answers


@pytest.mark.parametrize("target", ["class", "classes", "number"])
def test_a_table_becomes_answers(target, tmp_path):
    case = FAMILY[target]
    column = {"class": "label", "classes": "labels", "number": "number"}[target]
    value = {"class": str, "classes": lambda kind: ["wet", "salt"] if kind == "sea" else [], "number": len}[target]
    rows = [
        json.dumps({"text": text, column: value(kind), "page": n // 4}) for n, (text, kind) in enumerate(written(160))
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    sections = {
        "data": {"group_column": "page"},
        "encode": {"vocabulary": 400, "longest": 32},
        "model": {"channels": 32, "layers": 1, "heads": 2, "dropout": 0.0},
    }
    params = parse(case.params, {"usecase": "text", "target": target, **sections}, Path("params.yaml"))
    examples = listed(case, tmp_path, params.data)
    reader = reader_of(tmp_path, examples, Split(validation=0.1, test=0.3))
    known = json.loads(json.dumps(case.fit(reader("train"), params.encode)))
    torch.manual_seed(0)
    made = case.build(params.model, known)
    batch, test = (
        {name: torch.from_numpy(np.stack([item.arrays[name] for item in items])) for name in items[0].arrays}
        for items in (list(case.encode(reader(side), known, side)) for side in ("train", "test"))
    )
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.01)
    made.train()
    for _ in range(40):
        optimizer.zero_grad()
        hidden = case.augment(batch, torch.rand(len(batch["tokens"]), case.draws), params.objective)
        case.losses(made, hidden, params.objective)["loss"].mean().backward()
        optimizer.step()
    made.eval()
    with torch.inference_mode():
        outcomes = case.predict(made, test, known)
    rows_of = np.array([each.row for each in reader("test")])
    baselines = case.baselines(reader, params.data, known, answers_of(case, reader, params.data))
    trivial, _ = baselines
    metric = case.metrics[0]
    assert metric.better(metric.compute(outcomes), metric.compute(baselines[trivial]))
    payloads = {each.row: each.payload for each in reader("test")}
    asked = case.serving.example(list(payloads.values())[:3])
    assert asked[0]["text"].encode() == next(iter(payloads.values()))
    answers = case.serving.answer(made, known, asked, case.serving.params)
    assert answers[0].keys() == case.serving.outputs.keys()
    questions = case.probe.ask(test, known)
    assert len(questions.target) == len(rows_of)
    panels = case.show(Evidence(made, known, {**outcomes, "row": rows_of}, lambda row: b"<b>" + payloads[row]))
    assert all("<b>" not in panel.html for panel in panels)
    if target == "number":
        assert "&lt;b&gt;" in panels[0].html
