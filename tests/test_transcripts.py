"""Speech to text, function by function: CTC against brute force and torch, rates against jiwer, layouts as they lie."""

import csv
import itertools
import math
import re

import jiwer
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import ctc_loss

from sluiceway.config import parse
from sluiceway.data.samples import fillets
from sluiceway.data.table import BadExample, Example
from sluiceway.errors import ConfigError, DataError, UnknownLayout
from sluiceway.models.acoustic import AcousticNet
from sluiceway.models.conformer import Conformer
from sluiceway.models.moments import moments
from sluiceway.usecases.base import Evidence, Loaded
from sluiceway.usecases.speech import FAMILY
from sluiceway.usecases.speech.learning import TRANSCRIBED_DRAWS, augment_transcribed
from sluiceway.usecases.speech.params import (
    ConformerParams,
    TranscribedAugmentation,
    TranscribedData,
    TranscribedEncoding,
)
from sluiceway.usecases.targets.decoding import CharacterModel, beam_search, greedy
from sluiceway.usecases.targets.transcripts import (
    UNKNOWN,
    best_constant,
    character_error_rate,
    judge,
    losses,
    needed,
    text_outcomes,
    tidy,
    word_error_rate,
)
from support import listed, sound_bytes, sung

CASE = FAMILY.targets["text"]
DATA = TranscribedData()
SMALL = TranscribedEncoding(rate=8000, seconds=1.0, bands=16, high=4000.0, hop=0.016, beam=4, order=3)


# Reading a text out of the answers


def collapsed(path):
    kept = [each for each, _ in itertools.groupby(path)]
    return tuple(each for each in kept if each)


def by_brute_force(log_probabilities):
    """Log probability of every text: the sum over all paths."""
    moments_, characters = log_probabilities.shape
    found = {}
    for path in itertools.product(range(characters), repeat=moments_):
        chance = math.exp(sum(log_probabilities[at, each] for at, each in enumerate(path)))
        text = collapsed(path)
        found[text] = found.get(text, 0.0) + chance
    return {text: math.log(chance) for text, chance in found.items()}


def answers(seed, count, characters, sharpness=1.5):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharpness, (count, characters))
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 6), characters=st.integers(2, 4))
def test_a_wide_beam_finds_the_likeliest_text(seed, count, characters):
    rows = answers(seed, count, characters)
    every = by_brute_force(rows)
    assert every[beam_search(rows, 10_000)] == pytest.approx(max(every.values()))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000), count=st.integers(1, 5), weight=st.floats(0.1, 2.0), bonus=st.sampled_from([0.0, 1.3])
)
def test_a_wide_beam_weighs_language_and_length_too(seed, count, weight, bonus):
    rows = answers(seed, count, 4)
    language = CharacterModel(CharacterModel.learn([[1, 2, 3, 1, 2], [2, 2, 1]], 3), 3)

    def score(text):
        said = sum(language(text[:at])[each] for at, each in enumerate(text))
        return every[text] + weight * said + bonus * len(text)

    every = by_brute_force(rows)
    found = beam_search(rows, 10_000, language, weight, bonus)
    assert score(found) == pytest.approx(max(score(text) for text in every))


@given(seed=st.integers(0, 10_000), count=st.integers(1, 12), characters=st.integers(2, 5))
def test_greedy_reads_the_likeliest_path(seed, count, characters):
    rows = answers(seed, count, characters)
    assert greedy(rows) == collapsed(rows.argmax(1).tolist())


def test_a_beam_joins_paths_where_greedy_sees_one():
    rows = np.log(np.array([[0.4, 0.35, 0.25], [0.4, 0.35, 0.25]]))
    assert greedy(rows) == ()
    assert beam_search(rows, 10) == (1,)


@given(
    texts=st.lists(st.lists(st.integers(1, 4), max_size=8), max_size=5),
    order=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_what_may_follow_is_a_distribution(texts, order, seed):
    language = CharacterModel(CharacterModel.learn(texts, order), 4)
    context = tuple(np.random.default_rng(seed).integers(1, 5, 6).tolist())
    for length in range(7):
        assert np.exp(language(context[:length])[1:]).sum() == pytest.approx(1)


def test_n_grams_learn_what_follows():
    language = CharacterModel(CharacterModel.learn([[1, 2, 3] * 20], 3), 3)
    assert np.argmax(language((1, 2))[1:]) + 1 == 3
    assert np.argmax(language((2, 3))[1:]) + 1 == 1


# Rates


WORDS = st.text("ab cé'", min_size=1, max_size=20).map(lambda text: " ".join(text.split())).filter(bool)


@settings(max_examples=60)
@given(
    pairs=st.lists(
        st.tuples(WORDS, st.text("ab cé'", max_size=20).map(lambda text: " ".join(text.split()))),
        min_size=1,
        max_size=8,
    )
)
def test_error_rates_are_jiwers(pairs):
    true, said = (list(side) for side in zip(*pairs, strict=True))
    outcomes = text_outcomes(true, said)
    assert character_error_rate(outcomes) == pytest.approx(jiwer.cer(true, said))
    assert word_error_rate(outcomes) == pytest.approx(jiwer.wer(true, said))


def test_the_loss_is_torchs_by_character_and_ends_with_the_sound():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 10, 5, generator=generator)
    batch = {
        "text": torch.tensor([[1, 2, 3, 0], [4, 4, 0, 0], [1, 0, 0, 0]], dtype=torch.int16),
        "length": torch.tensor([3, 2, 1], dtype=torch.int32),
        "frames": torch.tensor([20, 13, 9], dtype=torch.int32),
    }
    found = losses(logits, batch, CASE.objective(), True)["loss"]
    for row, (length, heard) in enumerate(((3, 10), (2, 7), (1, 5))):
        said = logits[row, :heard].log_softmax(1)[:, None]
        alone = ctc_loss(said, batch["text"][row : row + 1, :length].long(), (heard,), (length,), reduction="none")
        torch.testing.assert_close(found[row : row + 1], alone / length)
    assert set(losses(logits, batch, CASE.objective(), False)) == {"loss", "character_error"}


# Networks


@pytest.mark.parametrize("kind", ["conformer", "conv"])
def test_an_answer_depends_on_no_padding_and_on_no_other_sound(kind):
    torch.manual_seed(0)
    common = {"outputs": 5, "mean": [0.3] * 16, "std": [0.2] * 16, "by_moment": True}
    if kind == "conformer":
        model = Conformer(bands=16, frames=60, channels=16, layers=2, heads=2, kernel=5, dropout=0.0, **common)
    else:
        model = AcousticNet(stem=8, widths=[8, 12], depths=[1, 1], groups=4, **common)
    torch.nn.init.normal_(model.head.weight)
    model.eval()
    levels = torch.randint(0, 256, (3, 16, 60), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    frames = torch.tensor([21, 60, 40])
    together = model(levels, frames)
    for row, heard in enumerate(frames.tolist()):
        other = levels[row : row + 1].clone()
        other[:, :, heard:] = 99
        alone = model(other, frames[row : row + 1])
        count = moments(heard)
        torch.testing.assert_close(alone[0, :count], together[row, :count], rtol=1e-4, atol=1e-4)


# Texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wat?  Nee!", "wat nee"),
        ("  Hij's 3 jaar. ", "hij's 3 jaar"),
        ("harde-schijf", "harde schijf"),
        ("Cafe\u0301", "café"),
        ("...", ""),
    ],
)
def test_texts_are_brought_into_one_form(text, expected):
    assert tidy(text, DATA) == expected
    assert tidy(tidy(text, DATA), DATA) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("zeg <i>dat</i> nog eens", "markup: '<i>' is not said"),
        ("ja [gelach] nee", "markup: '[gelach]' is not said"),
        ("vis &amp; meer", "markup: '&amp;' is not said"),
        ("zie https://example.org/vis", "markup: 'https://example.org/vis' is not said"),
        ("dat is Ã©Ã©n", "mojibake: "),
    ],
)
def test_what_was_never_said_is_a_fault_before_it_looks_like_words(text, reason):
    with pytest.raises(BadExample, match=re.escape(reason)):
        tidy(text, DATA)


def test_a_mark_that_is_kept_is_no_markup():
    assert tidy("ja [gelach] 3 < 4", TranscribedData(marks="[]<")) == "ja [gelach] 3 < 4"
    assert tidy("3 < 4 > 2 & 5", DATA) == "3 4 2 5"


def test_case_and_marks_are_chosen():
    data = TranscribedData(case="keep", marks=".?")
    assert tidy("Wat? Nee! 'k.", data) == "Wat? Nee k."


@pytest.mark.parametrize(
    ("text", "seconds", "reason"),
    [
        (None, 3.0, "no_transcript"),
        ("", 3.0, "no_transcript"),
        ("een lange zin", 15.5, "too_long"),
        ("een hele lange zin", 0.5, "too_fast"),
        ("aaaaaaaaaaaaaaaa", 1.0, "too_fast"),
        ("ja", 9.0, "too_slow"),
        ("да нет", 1.0, "wrong_script"),
    ],
)
def test_a_text_that_cannot_be_learned_is_set_aside(text, seconds, reason):
    with pytest.raises(BadExample, match=f"^{reason}: "):
        judge(text, {"seconds": seconds}, TranscribedData(script="LATIN"))
    judge("ja hoor", {"seconds": 1.0}, TranscribedData(script="LATIN"))


@given(st.lists(st.integers(1, 3), max_size=12))
def test_needed_is_the_shortest_path(text):
    shortest = sum(1 for _ in text) + sum(one == other for one, other in itertools.pairwise(text))
    assert needed(text) == shortest
    rows = np.full((max(1, shortest), 4), -1e9)
    path = []
    for one in text:
        path += [0] * (bool(path) and path[-1] == one) + [one]
    for at, each in enumerate(path or [0]):
        rows[at, each] = 0.0
    assert greedy(rows) == tuple(text)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"longest": 20.0}}, "encode.seconds 15 is less than data.longest 20"),
        ({"encode": {"hop": 0.03}}, "use a hop of at most 0.02, or fastest: 16.7"),
    ],
)
def test_sections_that_do_not_fit_each_other_are_told(tmp_path, sections, message):
    with pytest.raises(ConfigError, match=message):
        parse(CASE.params, {"usecase": "speech", **sections}, tmp_path)


# From sounds to answers


def spoken(count=4):
    texts = ("ab", "b", "a b", "ba")
    sounds = [sound_bytes(sung((200 + 30 * n, 240), 0.3 + 0.1 * n, seed=n)) for n in range(count)]
    return [Loaded(Example(id=f"e{n}", source="x", target=texts[n % 4]), sound, n) for n, sound in enumerate(sounds)]


def test_items_are_padded_behind_and_say_how_much_is_heard():
    examples = spoken()
    encoding = CASE.fit(iter(examples), SMALL)
    assert encoding["characters"] == [" ", "a", "b"]
    found = list(CASE.encode(iter(examples), encoding, "train"))
    for n, item in enumerate(found):
        heard = int(item.arrays["frames"])
        assert heard == 1 + round((0.3 + 0.1 * n) * 8000) // round(0.016 * 8000)
        assert item.arrays["levels"].shape == (16, encoding["frames"])
        assert not item.arrays["levels"][:, heard:].any()
        assert item.arrays["levels"][:, :heard].max() == 255
    assert found[2].arrays["text"][:4].tolist() == [3, 2, 4, 0]
    assert int(found[2].arrays["length"]) == 3


def test_a_character_that_training_never_saw_counts_as_wrong():
    examples = spoken()
    encoding = CASE.fit(iter(examples), SMALL)
    strange = [Loaded(Example(id="x", source="x", target="aé"), examples[0].payload, 0)]
    (item,) = CASE.encode(iter(strange), encoding, "test")
    assert item.arrays["text"][:2].tolist() == [3, 1]
    model = CASE.build(ConformerParams(channels=16, layers=1, heads=2, kernel=3), encoding).eval()
    batch = {name: torch.from_numpy(np.stack([array])) for name, array in item.arrays.items()}
    with torch.inference_mode():
        outcomes = CASE.predict(model, batch, encoding)
    assert outcomes["text"].tolist() == [f"a{UNKNOWN}"]
    assert outcomes["characters"].tolist() == [2]


def test_a_sound_or_a_text_that_does_not_fit_is_named():
    encoding = CASE.fit(iter(spoken()), SMALL)
    long = Loaded(Example(id="long", source="x", target="a"), sound_bytes(sung(seconds=1.4)), 0)
    with pytest.raises(DataError, match="does not fit into"):
        list(CASE.encode([long], encoding, "train"))
    wordy = Loaded(Example(id="wordy", source="x", target="ab" * 40), sound_bytes(sung(seconds=0.5)), 0)
    with pytest.raises(DataError, match="wordy has 80 characters"):
        list(CASE.encode([wordy], encoding, "train"))


def test_a_served_model_answers_as_the_pipeline_does():
    examples = spoken()
    encoding = CASE.fit(iter(examples), SMALL)
    torch.manual_seed(3)
    model = CASE.build(ConformerParams(channels=16, layers=1, heads=2, kernel=3), encoding).eval()
    torch.nn.init.normal_(model.head.weight)
    arrays = [item.arrays for item in CASE.encode(iter(examples), encoding, "test")]
    batch = {name: torch.from_numpy(np.stack([each[name] for each in arrays])) for name in arrays[0]}
    with torch.inference_mode():
        outcomes = CASE.predict(model, batch, encoding)
    rows = CASE.serving.example([each.payload for each in examples])
    assert [each["text"] for each in CASE.serving.answer(model, encoding, rows, {})] == outcomes["said"].tolist()
    likeliest = [each["text"] for each in CASE.serving.answer(model, encoding, rows, {"beam": 1})]
    assert likeliest == outcomes["likeliest"].tolist()
    evidence = Evidence(model, encoding, {**outcomes, "row": np.arange(4)}, lambda row: examples[row].payload)
    (panel,) = CASE.show(evidence)
    assert "class='stack'" in panel.html
    assert panel.html.count('data-label="What is said"') == panel.html.count("<tr>") - 1
    assert panel.html.count("<tr>") == 5


def test_a_network_learns_to_say_what_it_hears():
    """Four sounds by heart: with no augmentation the loss falls to nothing, and the texts are read back."""
    examples = spoken()
    encoding = CASE.fit(iter(examples), SMALL)
    torch.manual_seed(0)
    model = CASE.build(ConformerParams(channels=32, layers=1, heads=2, kernel=5, dropout=0.0), encoding)
    arrays = [item.arrays for item in CASE.encode(iter(examples), encoding, "train")]
    batch = {name: torch.from_numpy(np.stack([each[name] for each in arrays])) for name in arrays[0]}
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for _ in range(120):
        optimizer.zero_grad()
        loss = CASE.losses(model, batch, CASE.objective())["loss"].mean()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1
    with torch.inference_mode():
        outcomes = CASE.predict(model.eval(), batch, encoding)
    assert outcomes["said"].tolist() == ["ab", "b", "a b", "ba"]


@pytest.mark.parametrize("seed", range(3))
def test_augmentation_uses_only_its_dice_and_keeps_the_beginning(seed):
    dice = torch.rand(4, TRANSCRIBED_DRAWS, generator=torch.Generator().manual_seed(seed))
    levels = torch.zeros(4, 16, 60, dtype=torch.uint8)
    frames = torch.tensor([20, 40, 55, 60], dtype=torch.int32)
    for row, heard in enumerate(frames.tolist()):
        levels[row, :, :heard] = 200
    batch = {"levels": levels, "frames": frames, "length": frames}
    strong = TranscribedAugmentation(stretch=0.3, pitch=0.0, contrast=0.0, noise=0.0, time_mask=0.0, band_mask=0.0)
    found = augment_transcribed(batch, dice, strong)
    again = augment_transcribed(batch, dice, strong)
    assert torch.equal(found["levels"], again["levels"])
    assert found["frames"].dtype == frames.dtype
    for row in range(4):
        tempo = max(math.exp((2 * float(dice[row, 0]) - 1) * 0.3), int(frames[row]) / 60)
        assert int(found["frames"][row]) == pytest.approx(int(frames[row]) / tempo, abs=0.51)
        heard = (found["levels"][row].amax(0) > 0.4).nonzero().flatten()
        assert heard[0] == 0
        assert int(heard[-1]) + 1 == pytest.approx(int(found["frames"][row]), abs=1)


def test_the_best_constant_text_has_the_fewest_edits():
    texts = ["abcd", "abce", "abcf", "xyz"]
    found = best_constant(texts)
    total = sum(
        jiwer.process_characters(text, found).substitutions
        + jiwer.process_characters(text, found).insertions
        + jiwer.process_characters(text, found).deletions
        for text in texts
    )
    assert total <= 6


# Layouts


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound_bytes(sung(seconds=0.2)))


def test_librispeech_lies_as_it_does(tmp_path):
    put(tmp_path, "train-clean-100/84/12/84-12-0000.wav", "train-clean-100/84/12/84-12-0001.wav")
    put(tmp_path, "dev-clean/77/3/77-3-0000.wav", "test-other/5/1/5-1-0000.wav")
    for name, lines in (
        ("train-clean-100/84/12/84-12", ["84-12-0000 GO DO YOU HEAR", "84-12-0001 BUT IN LESS"]),
        ("dev-clean/77/3/77-3", ["77-3-0000 MISTER QUILTER"]),
        ("test-other/5/1/5-1", ["5-1-0000 HE HOPED"]),
    ):
        (tmp_path / f"{name}.trans.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = list(listed(CASE, tmp_path, DATA))
    assert {(each.group, each.split, each.target) for each in found} == {
        ("84", "train", "go do you hear"),
        ("84", "train", "but in less"),
        ("77", "validation", "mister quilter"),
        ("5", "test", "he hoped"),
    }
    (tmp_path / "test-other/5/1/5-1.trans.txt").write_text("5-1-0007 NOT THERE\n", encoding="utf-8")
    gone, unlisted = [each for each in listed(CASE, tmp_path, DATA) if each.id.startswith("test-other")]
    assert (gone.source, gone.target) == (
        "test-other/5/1/5-1-0007",
        "not there",
    )  # measuring it says that it is missing
    assert unlisted.fault == "not_listed: no .trans.txt says what is said in it"


def test_common_voice_lies_as_it_does(tmp_path):
    put(tmp_path, "clips/1.wav", "clips/2.wav", "clips/3.wav", "clips/unheard.wav")
    lines = [
        "client_id\tpath\tsentence\tup_votes",
        'a\t1.wav\tHij zei: "Nee".\t2',
        "a\t2.wav\tJa!\t3",
        "b\t3.wav\tZo.\t2",
    ]
    (tmp_path / "validated.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = list(listed(CASE, tmp_path, DATA))
    assert [(each.id, each.target, each.group) for each in found] == [
        ("clips/1.wav", "hij zei nee", "a"),
        ("clips/2.wav", "ja", "a"),
        ("clips/3.wav", "zo", "b"),
    ]
    head, one, two, three = lines
    for name, row in (("train", one), ("dev", two), ("test", three)):
        (tmp_path / f"{name}.tsv").write_text(f"{head}\n{row}\n", encoding="utf-8")
    assert {each.id[6]: each.split for each in listed(CASE, tmp_path, DATA)} == {
        "1": "train",
        "2": "validation",
        "3": "test",
    }
    (tmp_path / "test.tsv").write_text(f"{head}\nb\t9.wav\tWeg.\t2\n", encoding="utf-8")
    with pytest.raises(UnknownLayout, match=r"test.tsv names 9.wav, which is no sound") as caught:
        list(listed(CASE, tmp_path, DATA))
    assert "paths in a list begin at its own folder" in caught.value.hint


def test_an_audiofolder_with_texts_lies_as_it_does(tmp_path):
    put(tmp_path, "train/1.wav", "test/2.wav")
    for name, line in (("train", "1.wav,Wat?"), ("test", '2.wav,"Nee, hoor"')):
        (tmp_path / name / "metadata.csv").write_text(f"file_name,text\n{line}\n", encoding="utf-8")
    found = list(listed(CASE, tmp_path, DATA))
    assert {(each.id, each.target, each.split) for each in found} == {
        ("train/1.wav", "wat", "train"),
        ("test/2.wav", "nee hoor", "test"),
    }


def test_sounds_without_texts_are_told(tmp_path):
    put(tmp_path, "yes/1.wav")
    with pytest.raises(UnknownLayout, match=r"1 sounds lie below .* nothing says what is said") as caught:
        list(listed(CASE, tmp_path, DATA))
    assert "metadata.csv" in caught.value.hint


def test_dialogues_of_the_game_are_those_with_sound_and_text(tmp_path, monkeypatch):
    script = """
dialogId("a-m-x", "font_small", "Do you \\"see\\" it?")
dialogStr("Zie je \\"het\\"?")


dialogId("a-v-y", "font_big", "No.")
dialogStr("Nee.")

dialogId("a-v-mute", "font_big", "Hush.")
dialogStr("Stil.")
"""

    def unpack(requirement, sha256, folder, *, layout):
        game = folder / "usr/share/games/fillets-ng"
        if requirement.startswith("fillets-ng-data-nl="):
            put(game / "sound" / "reef" / "nl", "a-m-x.ogg", "a-v-y.ogg", "untold.ogg")
        else:
            (game / "script" / "reef").mkdir(parents=True)
            (game / "script" / "reef" / "dialogs_nl.lua").write_text(script, encoding="utf-8")

    monkeypatch.setattr(fillets, "unpack_deb", unpack)
    fillets.lay_out(tmp_path)
    with (tmp_path / "metadata.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["file_name", "text", "speaker"],
            ["reef/a-m-x.ogg", 'Zie je "het"?', "small fish"],
            ["reef/a-v-y.ogg", "Nee.", "big fish"],
        ]
    assert [each.target for each in listed(CASE, tmp_path, DATA)] == ["zie je het", "nee"]
