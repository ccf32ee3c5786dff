"""Text generation, function by function: passages, windows and their accounting, sampling."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from ftfy.badness import is_bad
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sluiceway.config import Split
from sluiceway.data.bpe import tokenizer_of
from sluiceway.data.sources import load
from sluiceway.data.table import BadExample, Example
from sluiceway.errors import DataError, NoRawData, UnknownLayout
from sluiceway.evaluation.scores import paired_difference
from sluiceway.usecases.base import Evidence, Loaded, stack_outcomes
from sluiceway.usecases.text_generation import USECASE, serving
from sluiceway.usecases.text_generation.baselines import baselines, shared_out
from sluiceway.usecases.text_generation.examples import encode, fit, measure
from sluiceway.usecases.text_generation.layouts import _passages, read
from sluiceway.usecases.text_generation.learning import build, losses
from sluiceway.usecases.text_generation.params import GPTParams, TextData, TextEncoding, TextObjective
from sluiceway.usecases.text_generation.sampling import generate
from sluiceway.usecases.text_generation.scoring import METRICS, bits_per_byte, predict, show, word_perplexity
from sluiceway.usecases.text_generation.tokens import END, token_sizes
from support import answers_of, loaded, reader_of

SONG = "Row, row, row your boat, gently down the stream.\nMerrily, merrily, merrily: life is but a dream. Ä ß 水 🙂\n"
CONTEXT = 8


@pytest.fixture(scope="module")
def encoding():
    return fit(loaded([SONG.encode()] * 3), TextEncoding(vocabulary=300, context=CONTEXT))


LINES = st.text("ab \t\r", max_size=6) | st.text("aé水🙂\x0b\x0c\u0085\u2028", max_size=4)
DOCUMENTS = st.lists(LINES, max_size=14).map("\n".join)
PASSAGES = st.lists(
    st.text(min_size=1, max_size=40) | st.sampled_from([SONG, "水" * 9, f"a{END}b", END, "  \n ", "🙂🙂"]),
    min_size=1,
    max_size=8,
)


# Reading


def sources_of(folder, text, passage):
    (folder / "a.txt").write_bytes(text.encode())
    return [load(folder, example.source) for example in read(folder, TextData(passage=passage))]


@settings(max_examples=200)
@given(text=DOCUMENTS)
def test_blocks_are_what_lies_between_blank_lines(text, tmp_path_factory):
    blocks, open_block = [], []
    for line in [*text.encode().split(b"\n"), b""]:
        if line.strip(b" \t\r"):
            open_block.append(line)
        elif open_block:
            blocks.append(b"\n".join(open_block))
            open_block = []
    found = sources_of(tmp_path_factory.mktemp("raw"), text, "block")
    blanks = b" \t\r\n"
    assert [block.strip(blanks) for block in found] == [block.strip(blanks) for block in blocks if block.strip()]


@settings(max_examples=100)
@given(text=DOCUMENTS)
def test_lines_are_lines(text, tmp_path_factory):
    found = sources_of(tmp_path_factory.mktemp("raw"), text, "line")
    assert found == [line for line in text.encode().split(b"\n") if line.strip()]


@settings(max_examples=60)
@given(text=DOCUMENTS)
def test_a_file_is_one_passage(text, tmp_path_factory):
    assert sources_of(tmp_path_factory.mktemp("raw"), text, "file") == (
        [text.encode()] if text.encode().strip() else []
    )


@settings(max_examples=100)
@given(text=DOCUMENTS, passage=st.sampled_from(["block", "line", "file"]))
def test_passages_lie_in_order_and_nothing_but_space_is_left_out(text, passage, tmp_path_factory):
    content, position = text.encode(), 0
    for start, end in _passages(content, passage):
        assert position <= start < end
        assert not content[position:start].strip()
        assert content[start:end].strip()
        position = end
    assert not content[position:].strip()


def test_ids_are_files_and_contents(tmp_path):
    one = tmp_path / "one.txt"
    one.write_text("first\n\nsecond\n\nfirst")
    before = [example.id for example in read(tmp_path, TextData())]
    assert before[2] == f"{before[0]}-2"
    one.write_text("new\n\nfirst\n\nsecond\n\nfirst")
    assert [example.id for example in read(tmp_path, TextData())][1:] == before


def test_passages_are_listed_file_by_file(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("one\n\ntwo\n\n\n\nthree")
    (tmp_path / "a.md").write_text("alone")
    found = list(read(tmp_path, TextData()))
    assert [example.id.partition("#")[0] for example in found] == ["a.md", *3 * ["b/two.txt"]]
    assert len({example.id for example in found}) == 4
    assert [load(tmp_path, example.source) for example in found] == [b"alone", b"one", b"two", b"three"]


def test_files_that_are_no_text_are_named(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"x")
    with pytest.raises(UnknownLayout, match=r"no text below .*: found 1 x \.pdf") as caught:
        list(read(tmp_path, TextData()))
    assert "plain text files" in caught.value.hint


def test_an_empty_folder_is_no_raw_data(tmp_path):
    with pytest.raises(NoRawData):
        list(read(tmp_path, TextData()))


# Measuring


@given(text=st.text(st.characters(categories=["L", "N", "P", "Z"]), min_size=1))
def test_measures_are_those_of_the_text(text):
    assume(not is_bad(text) and (len(text) <= 8 or len(set(text)) > 2))
    found = measure(text.encode(), TextData())
    assert set(found) == set(USECASE.measures)
    assert (found["characters"], found["bytes"]) == (len(text), len(text.encode()))
    assert found["words"] == len(text.split())
    assert found["longest_word"] == max(map(len, text.split()), default=0)
    assert found["letters"] == pytest.approx(sum(map(str.isalpha, text)) / len(text), abs=1e-6)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("é".encode()[:1], "unreadable: not UTF-8 at byte 0"),
        (b"abc\xff\xfedef", "unreadable: not UTF-8 at byte 3"),
        ("ä".encode("latin-1"), "unreadable: not UTF-8 at byte 0"),
        (b"a\x00b", "unreadable: a zero byte"),
    ],
)
def test_what_is_no_text_is_bad(payload, message):
    with pytest.raises(BadExample, match=message):
        measure(payload, TextData())


# Encoding


def test_fit_is_deterministic_and_keeps_to_its_size(encoding):
    again = fit(loaded([SONG.encode()] * 3), TextEncoding(vocabulary=300, context=CONTEXT))
    assert again == encoding
    assert 257 < encoding["vocabulary"] <= 300


def pieces(encoding, text):
    return tokenizer_of(encoding).encode(text).ids


@given(text=st.text())
def test_tokens_give_the_text_back(text, encoding):
    ids = pieces(encoding, text)
    assert tokenizer_of(encoding).decode(ids) == text
    sizes, spaces = token_sizes(encoding)
    assert sizes[ids].sum() == len(text.encode())
    assert spaces[ids].sum() == text.count(" ") + text.count("\n")
    assert 0 not in ids  # only the end of a passage is END, not its name in a text


def test_a_text_may_spell_out_the_end(encoding):
    ids = pieces(encoding, f"a{END}b")
    assert 0 not in ids
    assert tokenizer_of(encoding).decode(ids) == f"a{END}b"


def stream(encoding, passages):
    return [token for text in passages for token in (0, *pieces(encoding, text))]


@settings(max_examples=100)
@given(passages=PASSAGES)
def test_every_token_of_the_text_is_scored_once(passages, encoding):
    items = list(encode(loaded(text.encode() for text in passages), encoding, "test"))
    whole = stream(encoding, passages)
    scored = [int(t) for item in items for t in item.arrays["tokens"][1:][item.arrays["scored"]]]
    assert scored == [token for token in whole if token]
    assert sum(int(item.arrays["bytes"]) for item in items) == sum(len(text.encode()) for text in passages)
    assert sum(int(item.arrays["words"]) for item in items) == sum(t.count(" ") + t.count("\n") for t in passages)


@settings(max_examples=100)
@given(passages=PASSAGES)
def test_windows_are_cut_from_the_stream_and_show_what_stands_before(passages, encoding):
    whole = stream(encoding, passages)
    rows = [row for row, text in enumerate(passages) for _ in range(1 + len(pieces(encoding, text)))]
    scored_before = 0
    for item in encode(loaded(text.encode() for text in passages), encoding, "test"):
        tokens, scored = item.arrays["tokens"], item.arrays["scored"]
        assert (tokens.shape, scored.shape, scored.dtype) == ((CONTEXT + 1,), (CONTEXT,), np.bool_)
        first = np.flatnonzero(scored)[0]
        start = [at for at, token in enumerate(whole) if token][scored_before] - 1 - first
        window = whole[start : start + CONTEXT + 1]
        assert tokens[: len(window)].tolist() == window
        assert not tokens[len(window) :].any()
        assert start == 0 or first >= CONTEXT // 2
        assert item.row == rows[start]
        scored_before += int(scored.sum())


@settings(max_examples=100)
@given(passages=PASSAGES)
def test_training_windows_follow_each_other_over_the_whole_stream(passages, encoding):
    whole = stream(encoding, passages)
    items = list(encode(loaded(text.encode() for text in passages), encoding, "train"))
    assert len(items) == max(1, (len(whole) - 1) // CONTEXT)  # the rest is shorter than a window
    sizes, _ = token_sizes(encoding)
    for number, item in enumerate(items):
        window = whole[number * CONTEXT : (number + 1) * CONTEXT + 1]
        assert item.arrays["tokens"][: len(window)].tolist() == window
        assert item.arrays["scored"].tolist() == [place < len(window) - 1 for place in range(CONTEXT)]
        assert int(item.arrays["bytes"]) == sum(sizes[token] for token in window[1:])


def test_a_split_without_passages_is_said(encoding):
    with pytest.raises(DataError, match="a split has no passages"):
        list(encode(iter([]), encoding, "test"))


def test_bytes_of_a_character_may_be_in_several_tokens(encoding):
    (item,) = encode(loaded(["𒀀".encode()]), encoding, "test")
    assert int(item.arrays["scored"].sum()) == 4
    assert int(item.arrays["bytes"]) == 4


# Losses and scores


class Table(torch.nn.Module):
    """Answers logits that depend on the last token alone: a table [V, V]."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def forward(self, tokens):
        return self.table[tokens]


def batch_of(items):
    return {name: torch.from_numpy(np.stack([item.arrays[name] for item in items])) for name in items[0].arrays}


def windows(encoding, passages, split="test"):
    return batch_of(list(encode(loaded(text.encode() for text in passages), encoding, split)))


def test_a_model_that_knows_nothing_costs_the_logarithm_of_the_vocabulary(encoding):
    size = encoding["vocabulary"]
    outcomes = predict(Table(torch.zeros(size, size)), windows(encoding, [SONG, "水"]), encoding)
    tokens = len(pieces(encoding, SONG)) + len(pieces(encoding, "水"))
    length = len((SONG + "水").encode())
    assert bits_per_byte(outcomes) == pytest.approx(math.log2(size) * tokens / length, rel=1e-5)
    words = SONG.count(" ") + SONG.count("\n")
    assert word_perplexity(outcomes) == pytest.approx(2 ** (math.log2(size) * tokens / words), rel=1e-4)


def test_bits_are_those_of_each_token_after_its_last(encoding):
    size = encoding["vocabulary"]
    table = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    passages = [SONG, "merrily 🙂", "x"]
    costs = -table.double().log_softmax(1) / math.log(2)
    whole = stream(encoding, passages)
    expected = sum(float(costs[last, token]) for last, token in pairwise(whole) if token)
    outcomes = predict(Table(table), windows(encoding, passages), encoding)
    assert outcomes["bits"].sum() == pytest.approx(expected, rel=1e-5)
    assert bits_per_byte(outcomes) == pytest.approx(expected / sum(len(t.encode()) for t in passages), rel=1e-5)


def test_scores_do_not_depend_on_the_batches(encoding):
    model = Table(torch.randn(encoding["vocabulary"], encoding["vocabulary"]))
    whole = windows(encoding, [SONG] * 3)
    parts = [{name: column[at : at + 2] for name, column in whole.items()} for at in range(0, len(whole["tokens"]), 2)]
    joined = stack_outcomes([predict(model, part, encoding) for part in parts])
    assert bits_per_byte(joined) == pytest.approx(bits_per_byte(predict(model, whole, encoding)))


def test_losses_are_per_window(encoding):
    size = encoding["vocabulary"]
    model = Table(torch.randn(size, size, generator=torch.Generator().manual_seed(3)))
    batch = windows(encoding, [SONG], "train")
    found = losses(model, batch, TextObjective())
    outcomes = predict(model, batch, encoding)
    tokens = batch["scored"].sum(1).numpy()
    assert found["loss"].numpy() == pytest.approx(outcomes["bits"] * math.log(2) / tokens, rel=1e-5)
    assert found["bits_per_byte"].numpy() == pytest.approx(outcomes["bits"] / outcomes["bytes"], rel=1e-5)
    expected = torch.nn.functional.cross_entropy(
        model(batch["tokens"][:, :-1].long()).flatten(0, 1), batch["tokens"][:, 1:].long().flatten()
    )
    assert found["loss"].mean().item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.filterwarnings("error")
def test_a_text_without_spaces_has_a_score():
    outcomes = {"bits": np.array([9000.0]), "bytes": np.array([3000]), "words": np.array([0])}
    assert bits_per_byte(outcomes) == 3.0
    assert word_perplexity(outcomes) == math.inf


def test_the_network_is_built_to_its_encoding(encoding):
    model = build(GPTParams(channels=16, layers=1, heads=2), encoding)
    assert model(torch.zeros(2, CONTEXT, dtype=torch.long)).shape == (2, CONTEXT, encoding["vocabulary"])


def test_baselines_stand_on_the_models_scale(tmp_path, encoding):
    for number in range(40):
        body = "\n\n".join(f"{SONG} {number} {passage}" for passage in range(3))
        (tmp_path / f"{number:02d}.txt").write_text(body, encoding="utf-8")
    reader = reader_of(tmp_path, read(tmp_path, TextData()), Split(test=0.3))
    answers = answers_of(USECASE, reader, TextData())
    found = baselines(reader, TextData(), encoding, answers)
    test = list(reader("test"))
    assert list(found) == ["byte frequencies", "xz -9", "5-gram"]
    for outcomes in found.values():
        assert outcomes["bytes"].sum() == sum(len(each.payload) for each in test)
        assert outcomes["words"].sum() == sum(each.payload.count(b" ") + each.payload.count(b"\n") for each in test)
        assert len({len(column) for column in outcomes.values()}) == 1
    asked = batch_of(list(encode(reader("test"), encoding, "test")))
    model = predict(Table(torch.zeros(encoding["vocabulary"], encoding["vocabulary"])), asked, encoding)
    rows = np.array([item.row for item in encode(reader("test"), encoding, "test")])
    for name in ("byte frequencies", "5-gram"):  # the same windows, so the difference is paired
        assert found[name]["row"].tolist() == rows.tolist()
        assert all(found[name][size].tolist() == model[size].tolist() for size in ("bytes", "words"))
    of_passages = answers.surprise[np.searchsorted(answers.rows, [each.row for each in test])]
    sizes = [len(each.payload) for each in test]
    assert found["5-gram"]["bits"].sum() == pytest.approx((of_passages * sizes).sum())
    advantage = paired_difference({**model, "row": rows}, found["5-gram"], METRICS[0], 100, 0)
    assert advantage.high < 0  # who knows nothing is behind
    score = {name: bits_per_byte(outcomes) for name, outcomes in found.items()}
    assert 0 < score["xz -9"] < 1  # a song that was sung before
    assert 0 < score["5-gram"] < 1
    assert 3 < score["byte frequencies"] < 6


@settings(max_examples=100)
@given(data=st.data())
def test_bits_of_passages_are_shared_out_without_loss(data):
    lengths = np.array(data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=8)))
    cuts = sorted(data.draw(st.sets(st.integers(1, int(lengths.sum()) - 1), max_size=6)) if lengths.sum() > 1 else [])
    windows = np.diff([0, *cuts, lengths.sum()])
    bits = np.array([data.draw(st.floats(0.01, 500)) for _ in lengths])
    found = shared_out(bits, lengths, windows)
    each = np.repeat(bits / lengths, lengths)  # byte by byte
    expected = [part.sum() for part in np.split(each, np.cumsum(windows)[:-1])]
    assert found == pytest.approx(np.array(expected))
    assert shared_out(bits, lengths, windows * 2) == pytest.approx(found)  # written with twice the bytes


# Sampling


def sample(model, encoding, prompt="Row", **settings):
    return generate(
        model, encoding, prompt, **({"tokens": 12, "temperature": 0.8, "top_p": 0.95, "seed": 0} | settings)
    )


def endless(encoding, seed=0):
    """Make a table that never ends a passage."""
    size = encoding["vocabulary"]
    table = torch.randn(size, size, generator=torch.Generator().manual_seed(seed))
    table[:, 0] = -math.inf
    return table


def test_sampling_is_decided_by_its_seed(encoding):
    torch.manual_seed(1)
    model = build(GPTParams(channels=16, layers=1, heads=2), encoding).eval()
    one = sample(model, encoding, temperature=5.0)
    torch.manual_seed(99)  # the global generator has no say
    assert sample(model, encoding, temperature=5.0) == one
    others = {tuple(sample(model, encoding, temperature=5.0, seed=seed)) for seed in range(1, 6)}
    assert tuple(one) not in others
    assert len(others) == 5


def test_no_temperature_takes_the_likeliest(encoding):
    table = endless(encoding)
    last, expected = pieces(encoding, "Row")[-1], []
    for _ in range(12):
        last = int(table[last].argmax())
        expected.append(last)
    for seed in (0, 1):
        assert sample(Table(table), encoding, temperature=0.0, seed=seed) == expected
        assert sample(Table(table), encoding, top_p=1e-9, seed=seed) == expected


def test_only_the_nucleus_is_drawn_and_by_its_weights(encoding):
    from scipy.stats import chisquare

    size = encoding["vocabulary"]
    probabilities = torch.full((size,), 0.1 / (size - 4))
    probabilities[[10, 20, 30]] = torch.tensor([0.5, 0.25, 0.15])
    probabilities[0] = 0.0
    model = Table(probabilities.log().expand(size, size))
    drawn = sample(model, encoding, temperature=1.0, top_p=0.89, tokens=3000)  # 0.9 would be a matter of rounding
    counts = [drawn.count(token) for token in (10, 20, 30)]
    assert sum(counts) == 3000
    assert chisquare(counts, [3000 * share / 0.9 for share in (0.5, 0.25, 0.15)]).pvalue > 1e-4
    two = sample(model, encoding, temperature=1.0, top_p=0.6, tokens=200)
    assert set(two) == {10, 20}
    assert len(set(sample(model, encoding, temperature=1.0, top_p=1.0, tokens=200))) > 3


def test_a_passage_may_end(encoding):
    table = endless(encoding)
    last = pieces(encoding, "Row")[-1]
    second = int(table[last].argmax())
    table[second, 0] = 99.0
    assert sample(Table(table), encoding, temperature=0.0) == [second]


def test_a_model_sees_no_more_than_its_context(encoding):
    seen = []

    class Watcher(Table):
        def forward(self, tokens):
            seen.append(tokens.shape)
            return super().forward(tokens)

    assert len(sample(Watcher(endless(encoding)), encoding, prompt=SONG, tokens=5)) == 5
    assert set(seen) == {(1, CONTEXT)}


@pytest.mark.parametrize("prompt", ["", "水", END])
def test_any_prompt_is_answered(prompt, encoding):
    model = Table(endless(encoding))
    params = dict(USECASE.serving.params) | {"max_tokens": 5}
    (answer,) = serving.answer(model, encoding, [{"prompt": prompt}], params)
    assert set(answer) == set(USECASE.serving.outputs)
    assert answer["text"].startswith(prompt)
    assert serving.answer(model, encoding, [{"prompt": prompt}], params) == [answer]


def test_requests_are_the_beginnings_of_passages():
    assert serving.example([SONG.encode()]) == [{"prompt": "Row, row, row your boat, gently"}]


def test_samples_are_escaped(encoding):
    payload = b"<script>alert(1)</script> & so on"
    evidence = Evidence(
        Table(endless(encoding)), encoding, {"row": np.array([4, 4, 7])}, lambda row: b"%d " % row + payload
    )
    (panel,) = show(evidence)
    assert "<script>" not in panel.html
    assert "<b>4 &lt;script&gt;" in panel.html
    assert "<b>7 &lt;script&gt;" in panel.html


def test_examples_are_read_from_their_loaded_form():
    item = Loaded(Example(id="a", source="a"), b"x", 3)
    encoding = fit([item], TextEncoding(vocabulary=257, context=8))
    (found,) = encode([item], encoding, "train")
    assert found.row == 3
    assert encoding["vocabulary"] == 257
