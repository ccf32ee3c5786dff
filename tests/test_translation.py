"""Translation, function by function: layouts, what is set aside, alignment, the network, the search, the scores."""

import itertools
import json
import math
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.checks.labels import in_a_row
from sluiceway.data.answers import Answers
from sluiceway.data.sources import checksum, files_of, load
from sluiceway.data.table import BadExample, Example
from sluiceway.errors import DataError, UnknownLayout
from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Evidence, Loaded
from sluiceway.usecases.translation import panels, senses, serving
from sluiceway.usecases.translation.alignment import WordTranslation, words_of
from sluiceway.usecases.translation.baselines import baselines, in_words
from sluiceway.usecases.translation.encoding import END, PADDING, encode, fit, tokenizer_of
from sluiceway.usecases.translation.examples import measure, read
from sluiceway.usecases.translation.learning import build, costs, losses
from sluiceway.usecases.translation.overlap import bleu, chrf, counts_of, sentence_chrf, signature
from sluiceway.usecases.translation.params import PairData, PairEncoding, TransformerParams, TranslationObjective
from sluiceway.usecases.translation.scoring import METRICS, bits_per_byte, predict
from sluiceway.usecases.translation.searching import penalty, translate

DATA = PairData()
RUSSIAN = "Гора очень высокая."
NOUNS = {"house": "casa", "king": "rey", "river": "río", "night": "noche", "mountain": "montaña", "word": "palabra"}
VERBS = {"sees": "ve", "keeps": "guarda", "leaves": "deja", "loves": "ama"}


def sentences(count, seed=0):
    """Return pairs of a made-up language pair in which every word has one translation."""
    rng = np.random.default_rng(seed)
    words = [*itertools.product(NOUNS, VERBS, NOUNS, NOUNS)]
    chosen = [words[at] for at in rng.choice(len(words), count, replace=False)]
    known = NOUNS | VERBS
    return [
        (
            f"The {one} {verb} the {two} and the {three}.",
            f"El {known[one]} {known[verb]} el {known[two]} y el {known[three]}.",
        )
        for one, verb, two, three in chosen
    ]


def loaded_of(pairs, target=None):
    return [
        Loaded(Example(id=f"e{row}", source=f"e{row}", target=target or other), f"{one}\x1f{other}".encode(), row)
        for row, (one, other) in enumerate(pairs)
    ]


def tiny(**options):
    """Return an encoding, a network that is not trained, and items of some pairs."""
    pairs = loaded_of(sentences(60))
    encoding = json.loads(json.dumps(fit(pairs, PairEncoding(vocabulary=500, longest=40, entries=4))))
    torch.manual_seed(0)
    model = build(TransformerParams(**{"channels": 16, "heads": 2, "dropout": 0.0} | options), encoding)
    for parameter in model.parameters():  # a new network is its shortcuts: give it something to say
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return encoding, model.eval(), list(encode(pairs, encoding, "test"))


def batch_of(items):
    return {name: torch.from_numpy(np.stack([each.arrays[name] for each in items])) for name in items[0].arrays}


# Layouts


TABLES = {
    "all.tsv": 'en\tes\tbook\nHi "you"\tHola\tb1\n',
    "headless.tsv": 'Hi "you"\tHola\n',
    "all.csv": 'book,es,en\nb1,Hola,"Hi ""you"""\n',
    "semicolon.csv": 'Source;Target\r\n"Hi ""you""";Hola\r\n',
    "all.jsonl": '{"en": "Hi \\"you\\"", "es": "Hola", "book": "b1"}\n',
    "hub.jsonl": '{"id": 0, "translation": {"en": "Hi \\"you\\"", "es": "Hola"}}\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_usual_tables_are_read(name, tmp_path):
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8", newline="")
    data = PairData(group_column="book") if "book" in TABLES[name] else DATA
    (example,) = read(tmp_path, data)
    assert (example.target, example.group) == ("Hola", "b1" if "book" in TABLES[name] else None)
    payload = load(tmp_path, example.source)
    assert payload == b'Hi "you"\x1fHola'
    assert example.id.endswith(checksum(payload)[:10])
    assert measure(payload, data)["source_words"] == 2


@pytest.mark.parametrize("nested", [False, True])
def test_parquet_is_read(nested, tmp_path):
    rows = [{"en": "Hi", "es": "Hola"}, {"en": "Good night", "es": "Buenas noches"}]
    table = [{"translation": row, "book": "b"} for row in rows] if nested else [{**row, "book": "b"} for row in rows]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "pairs.parquet")
    found = list(read(tmp_path, PairData(group_column="book")))
    assert [load(tmp_path, each.source) for each in found] == [b"Hi\x1fHola", b"Good night\x1fBuenas noches"]
    assert {each.group for each in found} == {"b"}
    assert files_of(found[1].source) == ("pairs.parquet", "pairs.parquet")


def aligned(folder, name, english, spanish):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.en").write_text("\n".join(english) + "\n", encoding="utf-8")
    (folder / f"{name}.es").write_text("\n".join(spanish) + "\n", encoding="utf-8")


def test_aligned_files_are_read(tmp_path):
    aligned(tmp_path / "ot", "genesis", ["In the beginning", "", "Light"], ["En el principio", "nada", "Luz"])
    found = list(read(tmp_path, DATA))
    assert [load(tmp_path, each.source) for each in found] == [
        b"In the beginning\x1fEn el principio",
        b"\x1fnada",
        b"Light\x1fLuz",
    ]
    assert found[0].id.startswith("ot/genesis#")
    assert files_of(found[0].source) == ("ot/genesis.en", "ot/genesis.es")
    with pytest.raises(BadExample, match="empty_side: no source"):
        measure(load(tmp_path, found[1].source), DATA)


@pytest.mark.parametrize("folders", [False, True])
def test_ready_made_splits_are_kept(folders, tmp_path):
    for side, word in (("train", "one"), ("dev", "two"), ("test", "one")):
        aligned(tmp_path / side if folders else tmp_path, "a" if folders else side, [word], ["uno"])
    found = {each.split: each.id for each in read(tmp_path, DATA)}
    assert set(found) == {"train", "validation", "test"}
    assert found["train"] != found["test"]  # the same pair: a leak for the gate to see


def test_a_repeated_pair_has_the_same_id(tmp_path):
    aligned(tmp_path, "a", ["Hi", "Hi"], ["Hola", "Hola"])
    aligned(tmp_path, "b", ["Hi"], ["Hola"])
    assert len({each.id for each in read(tmp_path, DATA)}) == 1
    assert len({each.id for each in read(tmp_path, PairData(repeats=True))}) == 3


UNKNOWN = {
    "nothing fits": ({"readme.md": "x"}, "no pairs of en and es"),
    "other languages": ({"a.de": "x\n", "a.fr": "y\n"}, "nearest: data.source: de and data.target: fr"),
    "no partner": ({"a.en": "x\n"}, "has no partner a.es"),
    "not aligned": ({"a.en": "x\ny\n", "a.es": "y\n"}, "2 lines and a.es has 1"),
    "another column": ({"a.csv": "english,es\nx,y\n"}, "no column en or source: found 'english', 'es'"),
    "no object": ({"a.jsonl": "[1]\n"}, "does not begin with a JSON object"),
    "two layouts": ({"a.en": "x\n", "a.es": "y\n", "b.tsv": "x\ty\n"}, "keep one of the two"),
    "text files": ({"english.txt": "x\n"}, "nearest: name english.txt english.en"),
    "line ends of old": ({"a.csv": "en,es\rOne.,Uno.\r"}, "is no header"),
    "packed": ({"corpus.tmx": "<tmx/>"}, "unpack or convert corpus.tmx"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_layout_is_answered_with_the_nearest(case, tmp_path):
    files, said = UNKNOWN[case]
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UnknownLayout) as error:
        list(read(tmp_path, DATA))
    assert said in f"{error.value.message} {error.value.hint}"
    assert "expected two aligned files" in error.value.hint or "line n of" in error.value.hint


def test_a_long_table_with_an_unclosed_quote_is_read_in_a_moment(tmp_path):
    (tmp_path / "a.csv").write_text('en,es\n"One.,Uno.\n' + "Two.,Dos.\n" * 100_000)
    began = time.process_time()
    assert len(list(read(tmp_path, DATA))) == 1
    assert time.process_time() - began < 10


def test_one_language_is_refused():
    with pytest.raises(ValueError, match="name two languages"):
        PairData(source="en", target="en")


# What is set aside


BAD = {
    "unreadable: target is not UTF-8": b"Good morning\x1f\xff\xfe",
    "empty_side": b"Good morning\x1f ",
    "too_long": f"{'word ' * 300}\x1f{'palabra ' * 200}".encode(),
    "not_translated": b"This is not translated.\x1fThis is not translated.",
    "unequal_lengths": b"All the saints salute you.\x1f" + b"La gracia del Senor Jesucristo sea con vosotros. " * 3,
    "mojibake": "The mountain is high.\x1fLa montaÃ±a es muy alta.".encode(),
    "wrong_script": f"The mountain is high.\x1f{RUSSIAN}".encode(),
    "unreadable: control": b"The mountain\x00 is high.\x1fLa sierra es alta.",
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_pairs_are_set_aside_with_their_reason(reason):
    with pytest.raises(BadExample, match=f"^{reason}"):
        measure(BAD[reason], DATA)


def test_a_script_of_its_own_is_asked_for():
    russian = PairData(target="ru")
    assert measure(f"The mountain is high.\x1f{RUSSIAN}".encode(), russian)["target_words"] == 3
    with pytest.raises(BadExample, match="wrong_script"):
        measure(b"The mountain is high.\x1fGora ochen vysokaya.", russian)
    assert measure("Good.\x1fबहुत अच्छा".encode(), PairData(target="xx"))["target_words"] == 2


BROKEN = {
    "unreadable": ("a.jsonl", '{"en": "x", "es": "y"}\n{"en": "x"\n'),
    "missing_field": ("a.jsonl", '{"en": "x", "es": "y"}\n{"en": "x"}\n'),
    "extra_field": ("a.tsv", "en\tes\nx\ty\nx\ty\tz\n"),
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_broken_record_is_one_bad_example(reason, tmp_path):
    name, content = BROKEN[reason]
    (tmp_path / name).write_text(content)
    *_, broken = read(tmp_path, DATA)
    assert broken.target is None
    with pytest.raises(BadExample, match=reason):
        load(tmp_path, broken.source)


# Alignment


def test_the_classical_example_is_solved():
    sources = [["the", "house"], ["the", "book"], ["a", "book"]]
    targets = [["das", "Haus"], ["das", "Buch"], ["ein", "Buch"]]
    learned = WordTranslation(sources, targets, iterations=30)
    for word, translation in (("the", "das"), ("house", "Haus"), ("book", "Buch"), ("a", "ein")):
        assert learned.likeliest(word, 1)[0][0] == translation
    assert learned.likeliest("unknown", 3) == []


def test_expectation_maximisation_is_that_of_the_book():
    """One iteration, counted by hand, of words that stand more than once."""
    learned = WordTranslation([["a", "a"], ["b"]], [["x"], ["x", "y"]], iterations=1)
    assert dict(learned.likeliest("a", 2)) == pytest.approx({"x": 1.0})
    assert dict(learned.likeliest("b", 2)) == pytest.approx({"x": 0.5, "y": 0.5})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(*[st.lists(st.sampled_from("abcd"), min_size=1, max_size=4)] * 2), min_size=1, max_size=8))
def test_chances_of_each_source_word_sum_to_one(pairs):
    learned = WordTranslation([one for one, _ in pairs], [other for _, other in pairs])
    for word in {word for one, _ in pairs for word in one}:
        assert sum(chance for _, chance in learned.likeliest(word, 9)) == pytest.approx(1.0)


def test_misaligned_pairs_are_told():
    pairs = sentences(400)
    contents = [f"{one}\x1f{other}".encode() for one, other in pairs]
    shifted = [f"{pairs[at][0]}\x1f{pairs[at + 1][1]}".encode() for at in range(300, 399)]
    right, wrong = senses.surprise(contents[:300], contents[300:]), senses.surprise(contents[:300], shifted)
    assert right.max() < 0
    assert np.median(wrong) > 0.3
    assert senses.surprise(contents[:300], [b"The house\x1fDas Haus ist leer", b"\x1f"]) == pytest.approx([0, 0])


def test_what_stands_between_wrong_ones_of_its_group_is_wrong():
    wrong = np.array([1, 0, 1, 0, 0, 1, 0, 1], bool)
    groups = np.array(list("aaaabbbc"), object)
    assert in_a_row(wrong, groups).tolist() == [True, True, True, False, False, True, False, True]


# Encoding


def test_pairs_become_numbers_and_back():
    encoding, _, items = tiny()
    tokenizer = tokenizer_of(encoding)
    source, target = items[3].arrays["source"], items[3].arrays["target"]
    assert source.shape == (40,)
    assert target.shape == (41,)
    assert target[0] == END
    assert target[target != PADDING][-1] == END
    one, other = sentences(60)[3]
    assert tokenizer.decode([number for number in source.tolist() if number]).strip() == one
    assert tokenizer.decode([number for number in target.tolist() if number]).strip() == other
    assert items[3].arrays["bytes"] == len(other.encode())


def test_a_corrected_target_is_what_is_learned():
    encoding, _, _ = tiny()
    (item,) = encode(loaded_of(sentences(1), target="El rey ama."), encoding, "train")
    decoded = tokenizer_of(encoding).decode([number for number in item.arrays["target"].tolist() if number])
    assert decoded.strip() == "El rey ama."


def test_nothing_to_learn_from_is_told():
    with pytest.raises(DataError, match="nothing to learn from"):
        fit([], PairEncoding())


def test_the_lexicon_knows_words():
    encoding, _, _ = tiny()
    tokenizer = tokenizer_of(encoding)
    number = tokenizer.encode("king").ids
    assert len(number) == 1
    best = encoding["lexicon"]["becomes"][number[0]][0]
    assert tokenizer.decode([best]).strip() == "rey"


# The network


@pytest.mark.parametrize("lexicon", [True, False])
def test_writing_token_by_token_is_writing_at_once(lexicon):
    _, model, items = tiny(lexicon=lexicon)
    batch = batch_of(items[:5])
    source, target = batch["source"].long(), batch["target"].long()[:, :9]
    everywhere = torch.ones_like(target, dtype=torch.bool)
    with torch.inference_mode():
        memory = model.read(source)
        at_once = model.logits(model.write(target, memory), memory, everywhere).view(5, 9, -1)
        memory = model.read(source)
        for place in range(9):
            hidden = model.write(target[:, place : place + 1], memory)
            here = model.logits(hidden, memory, everywhere[:, :1], place)
            torch.testing.assert_close(here, at_once[:, place], rtol=1e-4, atol=1e-4)


def test_padding_and_company_change_no_loss():
    _, model, items = tiny()
    batch = batch_of(items[:40])
    together = losses(model, batch, TranslationObjective())
    alone = losses(model, {name: column[7:8] for name, column in batch.items()}, TranslationObjective())
    assert set(together) == {"loss", "bits_per_byte"}
    for name, figure in alone.items():
        torch.testing.assert_close(together[name][7:8], figure, rtol=1e-4, atol=1e-5)


def test_no_target_token_sees_a_later_one():
    _, model, items = tiny()
    source = batch_of(items[:1])["source"].long()
    one = torch.tensor([[END, 50, 60, 70]])
    other = torch.tensor([[END, 50, 61, 71]])
    first, second = (model.write(tokens, model.read(source)) for tokens in (one, other))
    torch.testing.assert_close(first[:, :2], second[:, :2])
    assert not torch.allclose(first[:, 2:], second[:, 2:])


def test_smoothing_is_that_of_torch():
    _, model, items = tiny()
    batch = batch_of(items[:4])
    smoothed, bits, tokens = costs(model, batch, 0.1)
    target = batch["target"].long()
    memory = model.read(batch["source"].long())
    wanted = target[:, 1:] != PADDING
    logits = model.logits(model.write(target[:, :-1], memory), memory, wanted)
    following = target[:, 1:][wanted]
    expected = torch.nn.functional.cross_entropy(logits, following, label_smoothing=0.1, reduction="sum")
    torch.testing.assert_close(smoothed.sum(), expected, rtol=1e-4, atol=1e-3)
    plain = torch.nn.functional.cross_entropy(logits, following, reduction="sum") / math.log(2)
    torch.testing.assert_close(bits.sum(), plain, rtol=1e-4, atol=1e-3)
    assert tokens.tolist() == wanted.sum(1).tolist()


# The search


class Toy(torch.nn.Module):
    """Stands for the network: the next token depends on the sentence and on all that is written, by a hash."""

    def __init__(self, vocabulary, seed):
        super().__init__()
        self.vocabulary, self.seed = vocabulary, seed
        self.longest = 99

    def read(self, source):
        return ToyMemory([(row,) for row in source.sum(1).tolist()])

    def write(self, tokens, memory):
        memory.told = [(*told, int(token)) for told, token in zip(memory.told, tokens[:, -1], strict=True)]
        return torch.zeros(len(tokens), 1, 1)

    def logits(self, hidden, memory, wanted, first=0):
        rows = [np.random.default_rng([self.seed, *told]).normal(size=self.vocabulary) * 2 for told in memory.told]
        return torch.tensor(np.array(rows), dtype=torch.float)


class ToyMemory:
    def __init__(self, told):
        self.told = told

    def take(self, rows):
        return ToyMemory([self.told[row] for row in rows.tolist()])


def every_translation(model, source, longest):
    """Yield tokens and probability of all that comes to an end."""
    for length in range(longest):
        for tokens in itertools.product(range(2, model.vocabulary), repeat=length):
            told, total = (int(source.sum()), END), 0.0
            for token in (*tokens, END):
                logits = model.logits(None, ToyMemory([told]), None)[0]
                logits[PADDING] = -torch.inf
                total += float(logits.log_softmax(0)[token])
                told = (*told, token)
            yield tokens, total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("strength", [0.0, 1.0, 2.0])
def test_a_wide_beam_finds_the_best_of_all(seed, strength):
    model, longest = Toy(5, seed), 4
    source = torch.tensor([[3, 4, END], [2, END, 0], [4, 4, END]])
    found = translate(model, source, beam=999, length_penalty=strength, longest=longest)
    for row, best in zip(source, found, strict=True):
        scores = {
            tokens: total / penalty(len(tokens) + 1, strength)
            for tokens, total in every_translation(model, row, longest)
        }
        assert best.score == pytest.approx(max(scores.values()), abs=1e-5)
        assert scores[best.tokens] == pytest.approx(best.score, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_takes_the_likeliest_token_each_time(seed):
    model = Toy(6, seed)
    source = torch.tensor([[3, 4, END], [2, END, 0]])
    for row, found in zip(source, translate(model, source, beam=1, length_penalty=1.0, longest=7), strict=True):
        told, said = (int(row.sum()), END), []
        while len(said) < 7:
            logits = model.logits(None, ToyMemory([told]), None)[0]
            logits[PADDING] = -torch.inf
            if (token := int(logits.argmax())) == END:
                break
            told, said = (*told, token), [*said, token]
        assert list(found.tokens) == said


def test_translations_do_not_depend_on_their_company():
    _, model, items = tiny()
    source = batch_of(items[:20])["source"].long()
    with torch.inference_mode():
        together = translate(model, source, beam=3, length_penalty=1.0)
        alone = translate(model, source[4:5], beam=3, length_penalty=1.0)
    assert together[4].tokens == alone[0].tokens
    assert together[4].score == pytest.approx(alone[0].score, abs=1e-4)


# Scores


PIECES = ["a", "b", "la", "casa", "de", "Jehová,", "y", "rey.", "—", "“no”", "1,000", ".", "¡oh!"]
WORDS = st.lists(st.sampled_from(PIECES), max_size=12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8))
def test_figures_are_those_of_sacrebleu(pairs):
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    said, wanted = ([" ".join(each) for each in side] for side in zip(*pairs, strict=True))
    outcomes = counts_of(said, wanted)
    assert chrf(outcomes) == pytest.approx(CHRF().corpus_score(said, [wanted]).score, abs=1e-9)
    assert bleu(outcomes) == pytest.approx(BLEU().corpus_score(said, [wanted]).score, abs=1e-9)
    each = [CHRF().sentence_score(one, [other]).score for one, other in zip(said, wanted, strict=True)]
    assert sentence_chrf(outcomes) == pytest.approx(each, abs=1e-9)


def test_signatures_say_how_figures_were_made():
    assert signature("chrf").startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert signature("bleu").startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert METRICS[0].name == "chrf"


def test_baselines_answer_and_word_by_word_beats_a_copy():
    training, testing = loaded_of(sentences(200)[:150]), loaded_of(sentences(200)[150:])
    found = baselines(lambda split: iter(training if split == "train" else testing), DATA, {}, Answers(np.empty(0)))
    assert list(found) == ["copy", "IBM model 1"]
    assert chrf(found["IBM model 1"]) > 60 > 40 > chrf(found["copy"])
    assert math.isnan(bits_per_byte(found["copy"]))


def test_words_are_written_as_a_text():
    assert in_words(words_of("¿Qué dijo? (Nada, nada.)")) == "¿Qué dijo? (Nada, nada.)"


def test_a_network_answers_and_shows_itself():
    encoding, model, items = tiny()
    with torch.inference_mode():
        outcomes = {**predict(model, batch_of(items[:12]), encoding), "row": np.arange(12)}
    assert outcomes["reference"][3] == sentences(60)[3][1]
    assert np.isfinite([metric.compute(outcomes) for metric in METRICS]).all()
    shown = panels.show(Evidence(model, encoding, outcomes, lambda row: b"", {"IBM model 1": outcomes}))
    assert [each.title for each in shown][:3] == ["Translations", "Best and worst", "By length"]
    assert "<script" not in "".join(each.html for each in shown)
    looked = panels.looked_at(model, encoding, [20, 30, 40], [50, 60])
    assert looked.shape == (3, 4)
    assert looked.sum(1) == pytest.approx(np.ones(3), abs=1e-5)


def test_a_network_of_transformers_translates():
    encoding, _, items = tiny()
    config = {"model_type": "t5", "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
    torch.manual_seed(0)
    model = build(HuggingFaceParams(config=config), encoding)
    batch = batch_of(items[:12])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    curve = []
    for _ in range(12):
        loss = losses(model, batch, TranslationObjective())["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(float(loss.detach()))
    assert curve[-1] < 0.8 * curve[0]
    with torch.inference_mode():
        outcomes = predict(model.eval(), batch, encoding)
        one, many = (translate(model, batch["source"].long()[:n], beam=3, length_penalty=1.0) for n in (1, 6))
    assert np.isfinite([metric.compute(outcomes) for metric in METRICS]).all()
    assert one[0].tokens == many[0].tokens
    assert all(len(each.tokens) < model.longest for each in many)
    assert serving.answer(model, encoding, [{"text": "The king sees."}], {"beam": 2, "length_penalty": 1.0})


def test_requests_are_answered():
    encoding, model, _ = tiny()
    rows = serving.example([b"The king sees.\x1fEl rey ve.", b"A\x1fUn"])
    assert rows == [{"text": "The king sees."}, {"text": "A"}]
    answers = serving.answer(model, encoding, [*rows, {"text": " "}], {"beam": 2, "length_penalty": 1.0})
    assert [set(each) for each in answers] == [{"text", "score"}] * 3
    assert answers[2]["text"] == ""


def test_thumbnails_are_escaped():
    shown = senses.thumbnail(b"<b>bold</b>\x00\x1fgordo", DATA)
    assert "<b>" not in shown
    assert "gordo" in shown


def test_parts_are_of_both_sides():
    one, half = (senses.parts(text.encode(), DATA) for text in ("a b c d\x1fe f g h", "a b c d\x1fx y z"))
    assert len(one) == 4
    assert len(np.intersect1d(one, half)) == 2


def test_impossible_widths_are_told():
    with pytest.raises(ValueError, match="use 128"):
        TransformerParams(channels=127)


def test_a_network_learns_a_language_in_which_words_have_one_translation():
    pairs = loaded_of(sentences(300, seed=1))
    encoding = fit(pairs[:280], PairEncoding(vocabulary=400, longest=40, entries=4))
    items = [list(encode(part, encoding, "train")) for part in (pairs[:280], pairs[280:])]
    torch.manual_seed(0)
    settings_of = TransformerParams(channels=32, encoder_layers=1, decoder_layers=1, heads=2, dropout=0.0, beam=2)
    model = build(settings_of, encoding)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in range(50):
        batch = batch_of([items[0][(step * 16 + at) % 280] for at in range(16)])
        losses(model, batch, TranslationObjective())["loss"].mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.inference_mode():
        outcomes = predict(model.eval(), batch_of(items[1]), encoding)
    assert chrf(outcomes) > 90
