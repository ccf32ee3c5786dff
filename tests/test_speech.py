"""Speech classification, function by function: against SciPy, torch and what a sine must be, with broken files."""

import base64
import csv
import hashlib
import io
import re
import subprocess

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.signal import resample
from torch.nn.functional import cross_entropy

from sluiceway.config import Split
from sluiceway.data.outcomes import accuracy
from sluiceway.data.samples import fetch, tones
from sluiceway.data.table import BadExample, Example
from sluiceway.errors import DataError, FetchError, NoRawData, UnknownLayout
from sluiceway.usecases.base import Evidence, Loaded
from sluiceway.usecases.speech import FAMILY
from sluiceway.usecases.speech.examples import levels_of, measure
from sluiceway.usecases.speech.learning import augment
from sluiceway.usecases.speech.params import ConformerParams, ConvParams, SpeechData, SpeechEncoding
from sluiceway.usecases.speech.senses import features, fingerprint, picture
from sluiceway.usecases.speech.sound import (
    DEPTH,
    MelScale,
    open_sound,
    pitch,
    resampled,
    spectrogram,
)
from support import answers_of, loaded, reader_of, sound_bytes, sung

USECASE = FAMILY.targets["class"]
SpeechObjective = USECASE.objective
read, fit, encode, build, losses = USECASE.read, USECASE.fit, USECASE.encode, USECASE.build, USECASE.losses
predict, baselines, show, serving = USECASE.predict, USECASE.baselines, USECASE.show, USECASE.serving
DATA = SpeechData()
STILL = SpeechObjective(
    label_smoothing=0.0, shift=0.0, stretch=0.0, pitch=0.0, contrast=0.0, noise=0.0, time_mask=0.0, band_mask=0.0
)
SMALL = SpeechEncoding(rate=8000, seconds=0.4, bands=16, high=4000.0)
RATE = 8000


GLIDES = {"fall": (260.0, 120.0), "level": (190.0, 190.0), "rise": (120.0, 260.0)}


def glides(count=12, seconds=0.3):
    """Sing the glides in turn, each a little differently."""
    names = list(GLIDES)
    found = []
    for row in range(count):
        name, factor = names[row % 3], 1 + 0.03 * (row % 7 - 3)
        wave = sung([height * factor for height in GLIDES[name]], seconds, seed=row)
        found.append(Loaded(Example(id=f"e{row}", source="x", target=name), sound_bytes(wave), row))
    return found


# Reading


def put(raw, *names):
    for name in names:
        path = raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def listed(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def test_classes_are_folders_and_ids_are_paths(tmp_path):
    put(tmp_path, "yes/1.wav", "yes/deeper/2.FLAC", "no/3.ogg", "no/4.mp3", "no/notes.txt")
    found = [(each.id, each.source, each.target, each.split) for each in read(tmp_path, DATA)]
    names = ["no/3.ogg", "no/4.mp3", "yes/1.wav", "yes/deeper/2.FLAC"]
    assert found == [(name, name, name.partition("/")[0], None) for name in names]


def test_split_folders_are_sides(tmp_path):
    put(tmp_path, "train/yes/1.wav", "val/yes/2.wav", "test/no/3.wav")
    found = {each.id: (each.target, each.split) for each in read(tmp_path, DATA)}
    assert found["val/yes/2.wav"] == ("yes", "validation")
    assert found["test/no/3.wav"] == ("no", "test")


@pytest.mark.parametrize("side", ["", "train/"])
@pytest.mark.parametrize("column", ["label", "transcription"])
def test_a_list_says_the_classes(tmp_path, side, column):
    put(tmp_path, f"{side}a.wav", f"{side}deep/b.wav", "test/c.wav")
    listed(
        tmp_path / side / "metadata.csv",
        [["file_name", column, "who"], ["a.wav", "yes", "x"], ["deep/b.wav", "no", ""]],
    )
    listed(tmp_path / "test" / "metadata.csv", [["file_name", column, "who"], ["c.wav", "no", "x"]])
    found = list(read(tmp_path, SpeechData(group_column="who")))
    assert [(each.id, each.target, each.group) for each in found] == sorted(
        [(f"{side}a.wav", "yes", "x"), (f"{side}deep/b.wav", "no", None), ("test/c.wav", "no", "x")]
    )
    assert {each.split for each in found} == ({"train", "test"} if side else {None})


@pytest.mark.parametrize(
    ("rows", "message", "hint"),
    [
        (
            [["fils", "label"], ["a.wav", "x"]],
            "has no column file_name or filename: found fils, label",
            "data.path in",
        ),
        ([["file_name", "labl"], ["a.wav", "x"]], "has no column label or class", "did you mean 'labl'"),
        ([["file_name", "label"], ["A.wav", "x"]], "names A.wav, which is no sound", "did you mean 'a.wav'"),
        ([["file_name", "label"]], "metadata.csv names nothing, and 1 sounds lie", "fill the list"),
    ],
)
def test_a_list_that_does_not_fit_is_told(tmp_path, rows, message, hint):
    put(tmp_path, "a.wav")
    listed(tmp_path / "metadata.csv", rows)
    with pytest.raises(UnknownLayout, match=message) as caught:
        list(read(tmp_path, DATA))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("names", "message", "hint"),
    [
        (["1.wav", "2.wav"], "2 sounds lie in .* itself.*: 1.wav", "nearest: a metadata.csv"),
        (
            ["train/1.wav", "test/a/2.wav"],
            "lies in a split folder but in no class folder",
            "nearest: train/metadata.csv",
        ),
        (["a/1.m4a", "a/2.m4a", "b/3.txt"], "no sounds below .*: found 2 x .m4a, 1 x .txt", "convert .m4a"),
        (["all.tar.gz"], "no sounds below .*: found 1 x .gz", "unpack all.tar.gz"),
    ],
)
def test_unknown_layouts_are_answered(tmp_path, names, message, hint):
    put(tmp_path, *names)
    with pytest.raises(UnknownLayout, match=message) as caught:
        list(read(tmp_path, DATA))
    assert hint in caught.value.hint
    assert "a folder per class" in caught.value.hint


def test_a_list_with_columns_of_other_names_is_pointed_at(tmp_path):
    put(tmp_path, "1.wav", "2.wav", "3.wav")
    listed(tmp_path / "mine.csv", [["recording", "tone"], ["1.wav", "a"], ["2.wav", "b"], ["3.wav", "b"]])
    listed(tmp_path / "other.csv", [["speaker", "age"], ["x", "30"]])
    with pytest.raises(UnknownLayout, match="3 sounds lie in") as caught:
        list(read(tmp_path, DATA))
    assert "nearest: mine.csv names them in its column recording: say `list: mine.csv, path: rec" in caught.value.hint
    assert "as `label` the column that holds the class, of tone;" in caught.value.hint
    (first, *_) = read(tmp_path, SpeechData(list="mine.csv", path="recording", label="tone"))
    assert (first.source, first.target) == ("1.wav", "a")


def test_a_column_without_a_list_is_told(tmp_path):
    put(tmp_path, "a/1.wav")
    with pytest.raises(UnknownLayout, match=r"data.group_column names a column of a list"):
        list(read(tmp_path, SpeechData(group_column="who")))


def test_an_empty_folder_is_no_raw_data(tmp_path):
    with pytest.raises(NoRawData):
        list(read(tmp_path, DATA))


# Measuring


@settings(max_examples=30)
@given(seed=st.integers(0, 999), channels=st.integers(1, 2), rate=st.sampled_from([8000, 16000, 44100]))
def test_measures_are_numpys(seed, channels, rate):
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, (rate // 10, channels))
    found = measure(sound_bytes(wave, rate, subtype="FLOAT"), DATA)
    centred = wave - wave.mean(0)
    assert set(found) == set(USECASE.measures)
    assert (found["format"], found["sample_rate"], found["channels"]) == ("WAV/FLOAT", rate, channels)
    assert found["seconds"] == pytest.approx(0.1)
    assert found["loudness"] == pytest.approx(20 * np.log10(np.sqrt((centred**2).mean())), abs=1e-3)
    assert found["peak"] == pytest.approx(np.abs(wave).max(), abs=1e-5)
    assert found["silence"] == 0


def test_silence_is_a_share_of_the_time():
    wave = np.concatenate([np.zeros(RATE), sung(seconds=1.0)])
    assert measure(sound_bytes(wave), DATA)["silence"] == pytest.approx(0.5, abs=0.02)


def test_a_little_clipping_is_measured_and_much_is_bad():
    wave = sung(seconds=1.0)
    peak = np.abs(wave).max()
    little = measure(sound_bytes(np.clip(wave, -0.9 * peak, 0.9 * peak)), DATA)
    assert 0 < little["clipped"] < 0.05
    assert measure(sound_bytes(wave), DATA)["clipped"] < 0.002
    with pytest.raises(BadExample, match=r"^clipped: "):
        measure(sound_bytes(np.clip(10 * wave, -1, 1)), DATA)


@pytest.mark.parametrize(
    ("wave", "reason"),
    [
        (np.zeros(800), "silent"),
        (np.full(800, 0.3), "constant"),
        (np.random.default_rng(0).normal(size=800) * 1e-5, "silent"),
        (np.where(np.arange(800) == 7, np.nan, 0.1), "not_finite"),
        (np.where(np.arange(800) == 7, np.inf, 0.1), "not_finite"),
        (np.zeros(0), "empty"),
    ],
)
def test_what_says_nothing_is_bad(wave, reason):
    with pytest.raises(BadExample, match=f"^{reason}: "):
        measure(sound_bytes(wave, subtype="FLOAT"), DATA)


@pytest.mark.parametrize("payload", [b"hello", b"\x00" * 100, b"<html></html>", b"fLaC", b"ID3"])
def test_what_is_no_sound_is_bad(payload):
    with pytest.raises(BadExample, match=r"^unreadable: "):
        measure(payload, DATA)


KINDS = [
    ("WAV", None),
    ("WAV", "FLOAT"),
    ("FLAC", None),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("AIFF", None),
    ("MP3", None),
]


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_formats_are_read(kind, subtype):
    found = measure(sound_bytes(sung(seconds=0.5), kind=kind, subtype=subtype), DATA)
    assert found["seconds"] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("kind", "subtype"), [each for each in KINDS if each[0] in ("WAV", "FLAC", "OGG")])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9, 0.99])
def test_a_part_of_a_sound_is_bad(kind, subtype, share):
    payload = sound_bytes(sung(seconds=3.0), kind=kind, subtype=subtype)
    with pytest.raises(BadExample, match=r"^(truncated|unreadable): "):
        measure(payload[: int(len(payload) * share)], DATA)


@settings(max_examples=30)
@given(place=st.floats(0, 1))
def test_a_flipped_byte_of_an_ogg_is_noticed(place):
    payload = bytearray(OGG)
    payload[int(place * (len(payload) - 1))] ^= 0x10
    with pytest.raises(BadExample):
        measure(bytes(payload), DATA)


OGG = sound_bytes(sung(seconds=0.5), kind="OGG", subtype="VORBIS")
FUZZED = [sound_bytes(sung(seconds=0.1), kind=kind, subtype=subtype) for kind, subtype in KINDS]


@settings(max_examples=200)
@given(
    number=st.integers(0, len(KINDS) - 1),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    head=st.booleans(),
)
@example(number=6, edits=[(0.265625, 1)], head=True)  # an MP3 that announces 9,663,677,216 samples
def test_a_broken_sound_is_bad_or_read_but_never_a_crash(number, edits, head):
    payload = bytearray(FUZZED[number])
    for place, value in edits:
        payload[int(place * (min(80, len(payload)) if head else len(payload)) * 0.999)] = value
    try:
        found = measure(bytes(payload), DATA)
    except BadExample:
        return
    assert 0 <= found["clipped"] <= 1
    assert 0 <= found["silence"] <= 1


# From a wave to a spectrogram and a pitch


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 5000), (8000, 16000), (44100, 16000)])
def test_resampling_is_scipys(rate, wanted):
    wave = sung(seconds=0.1, rate=rate)
    assert resampled(wave, rate, wanted) == pytest.approx(resample(wave, round(0.1 * wanted)), abs=1e-4)


@pytest.mark.parametrize("hertz", [150.0, 440.0, 1000.0, 3000.0])
def test_a_sine_is_loudest_in_its_band(hertz):
    scale = MelScale(RATE, bands=32, low=50, high=4000, window=0.064, hop=0.01)
    wave = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
    levels = spectrogram(wave, scale, 40)
    centres = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + np.array([50, 4000]) / 700)), 34)[1:-1] / 2595) - 1)
    assert levels.shape == (32, 40)
    assert levels.max() == pytest.approx(DEPTH)
    assert abs(int(levels.mean(1).argmax()) - int(np.abs(centres - hertz).argmin())) <= 1


def test_every_band_hears_something():
    scale = MelScale(16_000, bands=128, low=0, high=8000, window=0.01, hop=0.01)
    wave = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    assert spectrogram(wave, scale).mean(1).min() > DEPTH - 30


@pytest.mark.parametrize("seconds", [0.05, 0.4, 3.0])
def test_sounds_of_every_length_become_one_shape_and_gain_drops_out(seconds):
    examples = loaded([sound_bytes(gain * sung(seconds=seconds, hiss=0), subtype="FLOAT") for gain in (1.0, 0.1)], "a")
    encoding = {**SMALL.model_dump(), "frames": SMALL.frames, "classes": ["a", "b"]}
    one, other = (item.arrays["levels"].astype(int) for item in encode(examples, encoding, "train"))
    assert one.shape == other.shape == (16, 40)
    assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("path", [(90.0, 90.0), (200.0, 200.0), (120.0, 260.0), (260.0, 90.0), (150.0, 90.0, 160.0)])
def test_pitch_is_the_one_that_is_sung(path, rate):
    wave = sung(path, seconds=0.5, rate=rate)
    found = pitch(open_sound(sound_bytes(wave, rate)))
    wanted = np.interp(np.linspace(0, 1, len(found)), np.linspace(0, 1, len(path)), path)
    known = np.isfinite(found)
    assert known.mean() > 0.8
    assert np.median(np.abs(np.log2(found[known] / wanted[known]))) < 0.03
    assert np.quantile(np.abs(np.log2(found[known] / wanted[known])), 0.9) < 0.15


def test_noise_has_no_pitch():
    noise = np.random.default_rng(0).normal(size=RATE) * 0.1
    assert np.isfinite(pitch(open_sound(sound_bytes(noise)))).mean() < 0.2


# The data gate's eyes


def test_features_do_not_mind_gain_rate_and_format():
    wave = sung((120.0, 260.0), 0.5, rate=16_000)
    plain = features(sound_bytes(wave, 16_000), DATA)
    assert plain.shape == (54,)
    other = features(sound_bytes(sung((260.0, 120.0), 0.5, rate=16_000), 16_000), DATA)
    apart = np.linalg.norm(plain - other)
    for same in (
        sound_bytes(0.2 * wave, 16_000),
        sound_bytes(wave, 16_000, "FLAC"),
        sound_bytes(np.stack([wave, wave], 1), 16_000),
    ):
        assert np.linalg.norm(plain - features(same, DATA)) < 0.1 * apart


@pytest.mark.parametrize("seconds", [0.003, 0.01, 0.05])
def test_eyes_see_the_shortest_sound(seconds):
    payload = sound_bytes(sung(seconds=seconds))
    assert np.isfinite(features(payload, DATA)).all()
    assert np.isfinite(fingerprint(payload, DATA)).all()
    assert picture(payload).startswith("<img")


def test_near_copies_are_close_and_others_are_not():
    random = np.random.default_rng(1)
    waves = [sung(random.uniform(90, 260, 3), random.uniform(0.3, 0.5), rate=16_000, seed=seed) for seed in range(60)]
    copied = {
        0: 0.3 * waves[0],
        1: waves[1] + 0.003 * random.normal(size=len(waves[1])),
        2: np.concatenate([np.zeros(300), waves[2], np.zeros(100)]),
    }
    payloads = [sound_bytes(wave, 16_000) for wave in [*waves, *copied.values()]]
    payloads.append(sound_bytes(waves[3], 16_000, "OGG", "VORBIS"))
    vectors = np.stack([fingerprint(payload, DATA) for payload in payloads])
    gaps = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    for original in range(4):
        others = np.delete(gaps[original, :60], original)
        assert gaps[original, 60 + original] < 0.5 * others.min()


def test_a_picture_of_a_large_file_that_is_short_has_a_lighter_player():
    wave = sung(seconds=1.0, rate=16_000)
    payload = sound_bytes(wave, 16_000, "WAV", "DOUBLE")
    assert len(payload) > 24_000
    page = picture(payload)
    (coded,) = re.findall(r'<audio controls preload="none" src="data:audio/flac;base64,([^"]+)">', page)
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(coded)))
    assert (rate, len(heard)) == (16_000, len(wave))
    assert np.abs(heard - np.asarray(wave).ravel()).max() < 1e-3
    assert page == picture(payload)


def test_a_picture_has_a_player_when_it_is_small():
    small, large = sound_bytes(sung(seconds=0.3)), sound_bytes(sung(seconds=9.0))
    assert "data:image/png;base64," in picture(small)
    assert '<audio controls preload="none" src="data:audio/wav;base64,' in picture(small)
    assert "<audio" not in picture(large)
    assert len(picture(large)) < 60_000


# Encoding


def test_fit_finds_classes_and_statistics_of_the_bands():
    examples = glides()
    found = fit(iter(examples), SMALL)
    levels = np.stack([levels_of(each.payload, found) for each in examples]) / 255
    assert (found["classes"], found["frames"]) == (["fall", "level", "rise"], 40)
    assert found["mean"] == pytest.approx(levels.mean((0, 2)), abs=1e-5)
    assert found["std"] == pytest.approx(np.maximum(levels.std((0, 2)), 0.01), abs=1e-5)
    items = list(encode(iter(examples), found, "train"))
    assert [int(item.arrays["target"]) for item in items] == [0, 1, 2] * 4
    assert items[3].arrays["levels"].dtype == np.uint8


@pytest.mark.parametrize("examples", [[], glides(1)])
def test_one_class_is_nothing_to_classify(examples):
    with pytest.raises(DataError, match=f"needs two classes, found {len(examples)}"):
        fit(iter(examples), SMALL)


def test_a_class_that_training_never_saw_is_named():
    encoding = fit(iter(glides()), SMALL)
    with pytest.raises(DataError, match=r"class 'emu' of e0 does not occur in the training split"):
        list(encode(loaded([sound_bytes(sung())], "emu"), encoding, "test"))


@pytest.mark.parametrize("options", [{"high": 5000.0}, {"low": 4000.0}, {"hop": 0.05}, {"hop": 1e-5}])
def test_encodings_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match=r"high must|high at most|a hop is"):
        SpeechEncoding.model_validate({**SMALL.model_dump(), **options})


# Losses and augmentation


class Fixed(torch.nn.Module):
    """Answers the same logits to everything."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, batch):
        return self.logits


@pytest.mark.parametrize("training", [True, False])
def test_losses_are_torchs_per_sound(training):
    logits, target = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 0, 1])
    found = losses(
        Fixed(logits).train(training),
        {"levels": torch.zeros(6), "target": target},
        SpeechObjective(label_smoothing=0.2),
    )
    expected = cross_entropy(logits, target, label_smoothing=0.2 if training else 0.0, reduction="none")
    torch.testing.assert_close(found["loss"], expected)
    assert found["accuracy"].tolist() == (logits.argmax(1) == target).float().tolist()


NAMES = ("shift", "stretch", "pitch", "contrast", "noise", "band_width", "band", "time_width", "time")


def middle(count, **changed):
    """Dice that change nothing, but for those given."""
    dice = torch.full((count, USECASE.draws), 0.5)
    for name in ("noise", "band_width", "time_width"):
        dice[:, NAMES.index(name)] = 0.0
    for name, value in changed.items():
        dice[:, NAMES.index(name)] = value
    return dice


def batch_of(count=3, bands=16, frames=20):
    generator = torch.Generator().manual_seed(1)
    levels = torch.randint(1, 256, (count, bands, frames), generator=generator, dtype=torch.uint8)
    return {"levels": levels, "target": torch.arange(count)}


def strong(**strength):
    return SpeechObjective.model_validate({**STILL.model_dump(), **strength})


def test_no_strength_and_no_chance_change_nothing():
    batch = batch_of()
    random = torch.rand(3, USECASE.draws, generator=torch.Generator().manual_seed(2))
    for dice, objective in ((random, STILL), (middle(3), SpeechObjective())):
        found = augment(batch, dice, objective)
        torch.testing.assert_close(found["levels"], batch["levels"].float() / 255, rtol=0, atol=2e-5)
        assert torch.equal(found["target"], batch["target"])


@pytest.mark.parametrize(
    ("dice", "objective", "reference"),
    [
        ({"shift": 1.0}, strong(shift=0.25), lambda x: torch.nn.functional.pad(x[..., 5:], (0, 5))),
        ({"pitch": 0.0}, strong(pitch=2.0), lambda x: torch.nn.functional.pad(x[..., :-2, :], (0, 0, 2, 0))),
        ({"contrast": 1.0}, strong(contrast=0.5), lambda x: (1.5 * x - 0.5 * x.amax((1, 2), True)).clamp(min=0)),
        ({"noise": 1.0}, strong(noise=40.0), lambda x: torch.where(x > 0.5, x, 0.0)),
        ({"time_width": 1.0, "time": 0.0}, strong(time_mask=0.25), lambda x: x * (torch.arange(20) >= 5)),
        ({"time_width": 1.0, "time": 1.0}, strong(time_mask=0.25), lambda x: x * (torch.arange(20) < 15)),
        ({"band_width": 1.0, "band": 0.0}, strong(band_mask=0.5), lambda x: x * (torch.arange(16) >= 8)[:, None]),
    ],
)
def test_changes_are_those_that_are_meant(dice, objective, reference):
    batch = batch_of()
    found = augment(batch, middle(3, **dice), objective)["levels"]
    torch.testing.assert_close(found, reference(batch["levels"].float() / 255), rtol=0, atol=5e-5)


@settings(max_examples=25)
@given(seed=st.integers(0, 999))
def test_each_sound_has_its_own_dice(seed):
    batch, dice = batch_of(5), torch.rand(5, USECASE.draws, generator=torch.Generator().manual_seed(seed))
    found = augment(batch, dice, SpeechObjective())["levels"]
    alone = [augment({"levels": batch["levels"][[n]]}, dice[[n]], SpeechObjective())["levels"] for n in range(5)]
    torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1e-5)
    assert 0 <= found.min() <= found.max() <= 1 + 1e-5


# Networks


ARCHITECTURES = [
    ConvParams(stem=8, widths=[8, 12], depths=[1, 1], groups=4),
    ConformerParams(channels=16, layers=2, heads=2, kernel=5, dropout=0.2),
]


@pytest.mark.parametrize("params", ARCHITECTURES, ids=lambda params: params.name)
def test_a_network_learns_glides_and_answers_each_alone(params):
    examples = glides(36)
    encoding = fit(iter(examples), SMALL)
    items = list(encode(iter(examples), encoding, "train"))
    batch = {name: torch.from_numpy(np.stack([item.arrays[name] for item in items])) for name in ("levels", "target")}
    torch.manual_seed(0)
    model = build(params, encoding)
    first = losses(model.eval(), batch, STILL)["loss"]
    assert first.tolist() == pytest.approx([np.log(3)] * 36, rel=1e-5)  # it begins undecided
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    model.train()
    for _ in range(50):
        optimizer.zero_grad()
        losses(model, batch, STILL)["loss"].mean().backward()
        optimizer.step()
    assert [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])] == []
    with torch.no_grad():
        found = losses(model.eval(), batch, STILL)
        assert found["accuracy"].mean() > 0.9
        alone = torch.cat([model(levels[None]) for levels in batch["levels"]])
        torch.testing.assert_close(model(batch["levels"]), alone, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(model(batch["levels"]), model(batch["levels"].float() / 255), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [{"channels": 10}, {"kernel": 4}])
def test_a_conformer_that_cannot_be_built_is_refused(options):
    with pytest.raises(ValueError, match=r": use \d+"):
        ConformerParams(**{"heads": 2, **options})


# Scores


def test_predictions_are_the_softmax_of_the_logits():
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = predict(
        Fixed(logits), {"levels": torch.zeros(2), "target": torch.tensor([0, 1])}, {"classes": ["a", "b", "c"]}
    )
    assert found["predicted"].tolist() == [0, 2]
    assert found["correct"].tolist() == [1.0, 0.0]
    assert found["confidence"] == pytest.approx(logits.softmax(1).max(1).values.numpy())


def test_baselines_hear_glides(tmp_path):
    for each in glides(90):
        path = tmp_path / str(each.example.target) / f"{each.row}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(each.payload)
    reader = reader_of(tmp_path, read(tmp_path, DATA), Split(test=0.3))
    encoding = fit(reader("train"), SMALL)
    found = baselines(reader, DATA, encoding, answers_of(USECASE, reader, DATA))
    test = list(reader("test"))
    assert list(found) == ["commonest class", "spectral features + random forest"]
    for outcomes in found.values():
        assert outcomes["row"].tolist() == [each.row for each in test]
        assert [encoding["classes"][number] for number in outcomes["target"]] == [each.example.target for each in test]
    assert accuracy(found["spectral features + random forest"]) > 0.9
    assert accuracy(found["commonest class"]) < 0.6


# Serving and showing


@pytest.mark.parametrize("params", ARCHITECTURES, ids=lambda params: params.name)
def test_an_answer_is_the_prediction_of_the_pipeline(params):
    examples = glides(6)
    encoding = fit(iter(examples), SMALL)
    torch.manual_seed(0)
    model = build(params, encoding).eval()
    torch.nn.init.normal_(model.head.weight)
    items = list(encode(iter(examples), encoding, "test"))
    batch = {name: torch.from_numpy(np.stack([item.arrays[name] for item in items])) for name in ("levels", "target")}
    with torch.inference_mode():
        outcomes = predict(model, batch, encoding)
    answers = serving.answer(model, encoding, serving.example([each.payload for each in examples]), {})
    assert [each["label"] for each in answers] == [encoding["classes"][number] for number in outcomes["predicted"]]
    assert [each["probability"] for each in answers] == pytest.approx(outcomes["confidence"].tolist(), abs=1e-5)
    assert set(answers[0]) == set(USECASE.serving.outputs)


def evidence(classes, correct):
    outcomes = {
        "row": np.arange(3),
        "target": np.zeros(3, np.int64),
        "predicted": np.where(correct, 0, 1),
        "confidence": np.array([0.5, 0.9, 0.7]),
        "correct": np.array(correct, float),
    }
    return Evidence(torch.nn.Identity(), {"classes": classes}, outcomes, lambda row: sound_bytes(sung(seed=row)))


def test_mistakes_are_shown_surest_first_and_escaped():
    (panel,) = show(evidence(["<b>", '"x"'], [False, True, False]))
    assert panel.html.count("<figure") == panel.html.count("<audio") == 2
    assert panel.html.index("70% sure") < panel.html.index("50% sure")
    assert "<b>" not in panel.html
    assert "&lt;b&gt; taken for &quot;x&quot;" in panel.html
    assert panel.caption.startswith("2 of 3 test sounds")


def test_no_mistakes_are_no_panel():
    assert show(evidence(["a", "b"], [True, True, True])) == []


# The sample


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small Debian package made on the spot, and an apt-get that brings it."""
    if not fetch.shutil.which("dpkg-deb"):
        pytest.skip("dpkg-deb is Debian's")
    tree = tmp_path / "tree"
    for folder in ("ㄇㄚ", "ㄇㄚ1", "ㄇㄚ3", "ㄓㄨㄤ4", "ㄦ2"):
        for voice in ("3.ogg", "5.ogg"):
            put(tree / "usr/share/gcin-voice/ogg", f"{folder}/{voice}")
        (tree / "usr/share/gcin-voice/ogg" / folder / "3.ogg").write_text(folder)
    put(tree / "usr/share/gcin-voice/ogg", "ㄌㄩ2/5.ogg")
    control = tree / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text("Package: gcin-voice\nVersion: 0\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n")
    made = tmp_path / "made.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(made)], check=True, capture_output=True)
    tools = tmp_path / "tools"
    tools.mkdir()
    client = tools / "apt-get"
    client.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncp {made} gcin-voice.deb\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.setattr(tones, "_PACKAGE", ("gcin-voice=0", hashlib.sha256(made.read_bytes()).hexdigest()))
    return tmp_path


def test_tones_are_laid_out_by_tone_and_syllable(package):
    tones.lay_out(package / "raw")
    found = {
        path.relative_to(package / "raw").as_posix(): path.read_text() for path in (package / "raw").rglob("*.ogg")
    }
    assert found == {"1/m-a.ogg": "ㄇㄚ", "3/m-a.ogg": "ㄇㄚ3", "4/zh-u-ang.ogg": "ㄓㄨㄤ4", "2/er.ogg": "ㄦ2"}
    assert (package / "asked").read_text().split() == ["--quiet", "download", "gcin-voice=0"]


def test_letters_are_ascii_and_tell_syllables_apart():
    assert len(tones.LETTERS) == len(set(tones.LETTERS.values())) == 37
    assert all(letters.isascii() and letters.isalpha() and letters.islower() for letters in tones.LETTERS.values())


def test_another_package_is_not_used(package, monkeypatch):
    monkeypatch.setattr(tones, "_PACKAGE", ("gcin-voice=0", "0" * 64))
    with pytest.raises(FetchError, match=r"gcin-voice=0 is not the pinned file"):
        tones.lay_out(package / "raw")
    assert not (package / "raw").exists()


def test_a_package_that_does_not_come_is_told(package):
    (package / "tools" / "apt-get").write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
    with pytest.raises(FetchError, match=r"cannot be fetched: E: Unable to locate package") as caught:
        tones.lay_out(package / "raw")
    assert "apt-get update" in caught.value.hint


def test_without_apt_get_the_layout_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match=r"apt-get and dpkg-deb cannot be found here") as caught:
        tones.lay_out(tmp_path / "raw")
    assert "data/raw/tones/<class>/<sound>.wav" in caught.value.hint
