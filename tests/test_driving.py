"""Driving, function by function: logs, frames, PilotNet, the simulator and laps that learners drive themselves."""

import csv
import hashlib
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.nn.functional import smooth_l1_loss

from projects import make_project, suite
from sluiceway.config import Evaluate, Split, parse
from sluiceway.data import simulator
from sluiceway.data.laps import Lap, pursue
from sluiceway.data.measuring.measure_all import measure_all
from sluiceway.data.samples import track
from sluiceway.data.simulator import Drive, World, drive, pedals, record
from sluiceway.data.table import BadExample
from sluiceway.errors import ConfigError, DataError, MissingPackage, NoRawData, UnknownLayout
from sluiceway.usecases.base import Contenders, Evidence, Loaded
from sluiceway.usecases.driving import USECASE, serving, trial
from sluiceway.usecases.driving.baselines import CONSTANT, RIDGE, baselines
from sluiceway.usecases.driving.examples import encode, fit, measure
from sluiceway.usecases.driving.frames import resized
from sluiceway.usecases.driving.layouts import UDACITY, read
from sluiceway.usecases.driving.learning import DRAWS, augment, build, losses
from sluiceway.usecases.driving.params import (
    ClosedLoop,
    DrivingData,
    DrivingEvaluation,
    FrameEncoding,
    PilotNetParams,
    SteeringObjective,
)
from sluiceway.usecases.driving.pictures import film
from sluiceway.usecases.driving.scoring import direction, mean_error, predict, root_mean_square_error, show
from sluiceway.usecases.driving.senses import features, fingerprint, thumbnail
from support import answers_of, image_bytes, reader_of

DATA = DrivingData()
STILL = SteeringObjective(beta=0.5, bends=0.0, mirror=False, shift=0.0, brightness=0.0, contrast=0.0)
SMALL = FrameEncoding(height=24, width=24)
NET = PilotNetParams(channels=[8, 16], kernels=[5, 3], strides=[2, 2], hidden=[32])


def frame(steering: float, seed: int = 0, size: tuple[int, int] = (42, 48)) -> np.ndarray:
    """Draw a grey road on green that leads to where it is steered: [H, W, 3]."""
    height, width = size
    random = np.random.default_rng(seed)
    image = np.full((height, width, 3), (100, 200, 100), np.uint8)
    ahead = np.arange(height)[::-1] / height
    middle = width / 2 + steering * width * 0.4 * ahead**2
    road = np.abs(np.arange(width) - middle[:, None]) < width * 0.15
    image[road] = (105, 105, 105)
    return (image + random.integers(0, 12, image.shape)).astype(np.uint8)


def steerings(count: int, seed: int = 0) -> np.ndarray:
    """Return a wandering wheel: [count], in -1..1."""
    return 0.9 * np.sin(np.linspace(0, 5 + seed, count) * 2 + seed)


def write_drive(folder: Path, count: int = 12, seed: int = 0, *, header: bool = True, cameras: bool = False) -> None:
    (folder / "IMG").mkdir(parents=True)
    lines = []
    for number, steering in enumerate(steerings(count, seed)):
        names = [f"IMG/{camera}_{number:04d}.png" for camera in ("center", "left", "right")[: 3 if cameras else 1]]
        for name in names:
            (folder / name).write_bytes(image_bytes(frame(steering, 1000 * seed + number)))
        lines.append([*names, *[""] * (3 - len(names)), f"{steering:.4f}", "0.5", "0", "20"])
    with (folder / "driving_log.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(UDACITY), *lines] if header else lines)


def rewrite(log: Path, change) -> None:
    """Change the lines of a log that has a header."""
    with log.open(newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file)
    with log.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *(change(number, line) for number, line in enumerate(lines))])


@pytest.fixture
def two_drives(tmp_path: Path) -> Path:
    write_drive(tmp_path / "a", seed=1)
    write_drive(tmp_path / "b", seed=2)
    return tmp_path


# Layouts.


def test_udacity_logs_are_read_drive_by_drive(two_drives: Path) -> None:
    found = list(read(two_drives, DATA))
    assert len(found) == 24
    assert [each.id for each in found[:2]] == ["a/IMG/center_0000.png", "a/IMG/center_0001.png"]
    assert {each.group for each in found} == {"a", "b"}
    assert [each.time for each in found] == [*map(float, range(12))] * 2
    assert float(found[3].target) == pytest.approx(steerings(12, 1)[3], abs=1e-4)
    assert all(each.split is None for each in found)


def test_a_log_without_a_header_is_udacitys(tmp_path: Path) -> None:
    write_drive(tmp_path / "with" / "a", seed=1)
    write_drive(tmp_path / "without" / "a", seed=1, header=False)
    stretch = DrivingData(stretch=4)
    one, other = (list(read(tmp_path / name, stretch)) for name in ("with", "without"))
    assert one == other
    assert {each.group for each in one} == {"a/0", "a/1", "a/2"}


@pytest.mark.parametrize(
    "elsewhere", ["C:\\Users\\someone\\data\\IMG\\{}", "/mnt/elsewhere/drive/IMG/{}", "IMG\\{}", " IMG/{}", "./IMG/{}"]
)
def test_paths_of_another_machine_are_found_beside_the_log(two_drives: Path, elsewhere: str) -> None:
    before = [each.source for each in read(two_drives, DATA)]
    for name in "ab":
        change = lambda number, line: [elsewhere.format(Path(line[0]).name), *line[1:]]  # noqa: E731
        rewrite(two_drives / name / "driving_log.csv", change)
    assert [each.source for each in read(two_drives, DATA)] == before


def test_side_cameras_steer_back_to_the_middle(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        write_drive(tmp_path / name, seed=seed, cameras=True)
    centre = list(read(tmp_path, DATA))
    assert len(centre) == 24  # the side images are named by the log, so they are not missed
    found = list(read(tmp_path, DrivingData(cameras="all", camera_correction=0.3)))
    assert len(found) == 72
    middle, left, right = (float(each.target) for each in found[:3])
    assert (left - middle, right - middle) == pytest.approx((0.3, -0.3))
    assert [each.id.partition("#")[2] for each in found[:3]] == ["", "left", "right"]
    assert len({each.time for each in found[:3]}) == 1
    assert all(abs(float(each.target)) <= 1 for each in found)
    loaded = [Loaded(each, (tmp_path / each.source).read_bytes(), row) for row, each in enumerate(found)]
    encoding = fit(loaded, SMALL)
    assert len(list(encode(loaded, encoding, "train"))) == 72
    assert len(list(encode(loaded, encoding, "test"))) == 24


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_tables_with_images_and_steering_are_read(tmp_path: Path, kind: str) -> None:
    rows = []
    (tmp_path / "frames").mkdir()
    for number, steering in enumerate(steerings(10)):
        (tmp_path / "frames" / f"{number}.jpg").write_bytes(image_bytes(frame(steering), "JPEG"))
        place = {"frame": f"frames/{number}.jpg", "wheel": 20 * steering, "trip": f"t{number % 2}"}
        rows.append({**place, "when": f"2024-05-01T10:00:{number:02d}"})
    table = pl.DataFrame(rows)
    {"csv": table.write_csv, "parquet": table.write_parquet, "jsonl": table.write_ndjson}[kind](
        tmp_path / f"log.{kind}"
    )
    found = list(read(tmp_path, DrivingData(steering="wheel", drive="trip", order="when", full_lock=25)))
    assert {each.group for each in found} == {"t0", "t1"}
    assert [float(each.target) for each in found] == pytest.approx(list(steerings(10) * 0.8), abs=1e-5)
    assert np.diff([each.time for each in found]) == pytest.approx(1.0)
    with pytest.raises(UnknownLayout, match="has no column steering or steering_angle or angle: found frame") as error:
        list(read(tmp_path, DATA))
    assert "data.steering" in error.value.hint


def test_ready_made_sides_are_kept(tmp_path: Path) -> None:
    for side in ("train", "val", "test"):
        write_drive(tmp_path / side / "a")
    found = list(read(tmp_path, DATA))
    assert [found[at].split for at in (0, 12, 24)] == ["test", "train", "validation"]


def test_faults_of_the_list_go_into_quarantine_with_their_reason(two_drives: Path, tmp_path: Path) -> None:
    written = {0: "nan", 1: "", 2: "left", 3: "1.5", 4: "-12"}
    rewrite(two_drives / "a" / "driving_log.csv", lambda n, line: [*line[:3], written.get(n, line[3]), *line[4:]])
    (two_drives / "b" / "IMG" / "center_0003.png").write_bytes(b"")
    (two_drives / "b" / "IMG" / "center_0004.png").unlink()
    (two_drives / "b" / "IMG" / "stray.png").write_bytes(image_bytes(frame(0.1)))
    (two_drives / "b" / "IMG" / "center_0005.png").write_bytes(image_bytes(np.full((42, 48, 3), 90, np.uint8)))
    out = tmp_path / "out"
    measured = measure_all(
        USECASE, two_drives, iter(list(read(two_drives, DATA))), DATA, out, compared=100, engine=in_this_process
    )
    assert measured.accepted + sum(measured.quarantined.values()) == 25
    assert measured.quarantined == {
        "blank": 1,
        "empty": 1,
        "impossible_steering": 2,
        "no_steering": 4,
        "unreadable": 1,
    }
    reasons = {row["id"]: row["reason"] for row in pq.read_table(out / "quarantine.parquet").to_pylist()}
    assert reasons["a/IMG/center_0003.png"] == "impossible_steering: 1.5 times full lock, of 1"


def in_this_process(look, chunks):
    return map(look, chunks)


def test_what_cannot_be_read_is_answered_with_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(NoRawData):
        list(read(tmp_path / "nowhere", DATA))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UnknownLayout, match=r"no frames below .*: found 1 x \.txt"):
        list(read(tmp_path, DATA))
    (tmp_path / "a.png").write_bytes(image_bytes(frame(0)))
    with pytest.raises(UnknownLayout, match="no table that says how they were steered"):
        list(read(tmp_path, DATA))
    (tmp_path / "log.csv").write_text("image,steering\nb.png,0\nc.png,0.1\n")
    with pytest.raises(UnknownLayout, match=r"no image that .*log.csv names lies below .*: b.png"):
        list(read(tmp_path, DATA))
    (tmp_path / "log.csv").write_text("image,streering\na.png,0\n")
    with pytest.raises(UnknownLayout, match="no column") as error:
        list(read(tmp_path, DATA))
    assert "did you mean 'streering'?" in error.value.hint
    (tmp_path / "log.csv").unlink()
    (tmp_path / "log.parquet").write_bytes(b"PAR1 or so")
    with pytest.raises(UnknownLayout, match=r"log.parquet cannot be read as a table"):
        list(read(tmp_path, DATA))


def test_one_long_drive_must_be_cut_into_stretches(tmp_path: Path) -> None:
    write_drive(tmp_path)
    with pytest.raises(UnknownLayout, match=r"all 12 frames below .* are of one drive") as error:
        list(read(tmp_path, DATA))
    assert "data.stretch" in error.value.hint
    assert {each.group for each in read(tmp_path, DrivingData(stretch=6))} == {"./0", "./1"}
    by_hand = DrivingData(group=r"center_(\d\d)")
    assert {each.group for each in read(tmp_path, by_hand)} == {None}
    assert list(read(tmp_path, DrivingData(split=Split(test_from="9"))))


# Frames.


def test_a_frame_is_measured() -> None:
    payload = image_bytes(frame(0.3))
    found = measure(payload, DATA)
    assert found.keys() == USECASE.measures.keys()
    grey = np.asarray(Image.open(io.BytesIO(payload)).convert("L")) / 255
    assert found["brightness"] == pytest.approx(grey.mean(), abs=1e-5)
    assert (found["width"], found["height"], found["channels"], found["format"]) == (48, 42, 3, "PNG")
    blurred = Image.fromarray(frame(0.3)).reduce(3).resize((48, 42), Image.Resampling.BILINEAR)
    assert measure(image_bytes(np.asarray(blurred)), DATA)["sharpness"] < 0.6 * found["sharpness"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"<html>", "unreadable"),
        (image_bytes(frame(0.0), "JPEG")[:400], "truncated"),
        (image_bytes(np.zeros((42, 48), np.uint8)), "blank"),
    ],
)
def test_a_frame_that_shows_nothing_is_set_aside(payload: bytes, reason: str) -> None:
    with pytest.raises(BadExample, match=f"^{reason}"):
        measure(payload, DATA)


def test_what_is_cut_off_is_not_seen() -> None:
    image = frame(0.0)
    other = image.copy()
    other[:10], other[-7:] = 255, 0
    encoding = FrameEncoding(top=0.25, bottom=0.18, height=24, width=24).model_dump()
    one, two = (resized(Image.fromarray(each), encoding) for each in (image, other))
    assert one.shape == (3, 24, 24)
    assert (one == two).all()
    with pytest.raises(ConfigError, match="nothing of the frame is left"):
        parse(USECASE.params, {"usecase": "driving", "encode": {"top": 0.6, "bottom": 0.4}}, Path("params.yaml"))


def test_eyes_tell_frames_apart_and_forgive_light() -> None:
    one, same, other = frame(0.2, 0), frame(0.2, 1), frame(-0.5, 0)
    brighter = np.clip(one * 1.2, 0, 255).astype(np.uint8)
    prints = [fingerprint(image_bytes(each), DATA) for each in (one, brighter, same, other)]
    distances = [float(np.linalg.norm(prints[0] - each)) for each in prints[1:]]
    assert distances[0] < distances[2] / 5
    assert distances[1] < distances[2] / 3
    assert features(image_bytes(one), DATA).shape == (504,)
    assert thumbnail(image_bytes(one), DATA).startswith('<img alt="" src="data:image/png;base64,')


# Learning.


def loaded_frames(count: int = 60, seed: int = 0) -> list[Loaded]:
    from sluiceway.data.table import Example

    found = []
    for row, steering in enumerate(steerings(count, seed)):
        example = Example(id=f"d{row // 20}/{row}", source=f"{row}", target=f"{steering:.5f}", group=f"d{row // 20}")
        found.append(Loaded(example, image_bytes(frame(steering, row + 100 * seed)), row))
    return found


def test_encoding_is_learned_and_applied() -> None:
    frames = loaded_frames()
    encoding = json.loads(json.dumps(fit(frames, SMALL)))
    targets = [float(each.example.target) for each in frames]
    assert (encoding["steering_mean"], encoding["steering_std"]) == pytest.approx(
        (np.mean(targets), np.std(targets)), abs=1e-6
    )
    items = list(encode(frames, encoding, "train"))
    pixels = np.stack([item.arrays["image"] for item in items]) / 255
    assert encoding["mean"] == pytest.approx(pixels.mean((0, 2, 3)), abs=1e-5)
    assert encoding["std"] == pytest.approx(pixels.std((0, 2, 3)), abs=1e-4)
    assert items[7].arrays["image"].dtype == np.uint8
    assert [int(item.arrays["drive"]) for item in items[::20]] == [0, 1, 2]
    with pytest.raises(DataError, match="one steering"):
        fit(frames[:1], SMALL)


def tensors(frames: list[Loaded], encoding: dict) -> dict[str, torch.Tensor]:
    items = list(encode(frames, encoding, "train"))
    return {name: torch.from_numpy(np.stack([item.arrays[name] for item in items])) for name in items[0].arrays}


def test_pilotnet_answers_bytes_as_floats_and_refuses_small_frames() -> None:
    encoding = fit(loaded_frames(8), SMALL)
    net = build(NET, encoding)
    images = tensors(loaded_frames(8), encoding)["image"]
    assert net(images).shape == (8,)
    torch.testing.assert_close(net(images), net(images.float() / 255))
    apart = build(NET.model_copy(update={"normalise": "each"}), encoding).eval()
    floats = images.float() / 255
    torch.testing.assert_close(apart(0.4 * floats + 0.3), apart(floats), rtol=0.3, atol=0.02)
    torch.testing.assert_close(apart(floats.flip(0)), apart(floats).flip(0))
    published = build(PilotNetParams(), {**encoding, "height": 66, "width": 200})
    convolutions = [tuple(layer.weight.shape) for layer in published.eye if hasattr(layer, "weight")]
    assert convolutions[0] == (24, 3, 5, 5)
    assert published.head[1].weight.shape == (100, 1152)  # 64 x 1 x 18, as in the paper
    with pytest.raises(ConfigError, match="too small for convolution 3"):
        build(PilotNetParams(), encoding)


def test_the_loss_is_torchs_and_weighs_bends() -> None:
    encoding = fit(loaded_frames(), SMALL)
    net, batch = build(NET, encoding), tensors(loaded_frames(), encoding)
    found = losses(net, batch, STILL)
    scale = encoding["steering_std"]
    wanted = smooth_l1_loss(net(batch["image"]) / scale, batch["target"] / scale, beta=0.5, reduction="none")
    torch.testing.assert_close(found["loss"], wanted)
    weighed = losses(net, batch, STILL.model_copy(update={"bends": 2.0}))["loss"]
    torch.testing.assert_close(weighed, wanted * (1 + 2 * batch["target"].abs() / scale))


def test_augmentation_turns_the_steering_with_the_frame_and_uses_its_draws_only() -> None:
    encoding = fit(loaded_frames(), SMALL)
    batch = tensors(loaded_frames(), encoding)
    images = batch["image"].float() / 255
    still = augment(batch, torch.rand(60, DRAWS), STILL)
    torch.testing.assert_close(still["image"], images)
    torch.testing.assert_close(still["target"], batch["target"])

    dice = torch.full((60, DRAWS), 0.5)
    dice[:30, 0] = 0.1
    mirrored = augment(batch, dice, STILL.model_copy(update={"mirror": True}))
    torch.testing.assert_close(mirrored["image"][:30], images[:30].flip(3))
    torch.testing.assert_close(mirrored["image"][30:], images[30:])
    torch.testing.assert_close(mirrored["target"][:30], -batch["target"][:30])

    dice[:, 1] = 1.0
    shifted = augment(batch, dice, STILL.model_copy(update={"shift": 0.25, "shift_correction": 0.8}))
    torch.testing.assert_close(shifted["image"][..., 6:], images[..., :-6])
    torch.testing.assert_close(shifted["target"], (batch["target"] + 0.2).clamp(-1, 1))

    dice[:, 2], dice[:, 3] = 1.0, 0.0
    darker = augment(batch, dice, STILL.model_copy(update={"brightness": 0.1, "contrast": 0.5}))["image"]
    torch.testing.assert_close(darker.mean((1, 2, 3)), 1.1 * images.mean((1, 2, 3)), rtol=0.01, atol=0.01)
    assert (darker.std((1, 2, 3)) / images.std((1, 2, 3))).mean() == pytest.approx(0.5, abs=0.02)

    dice[:, 4], dice[:, 5], dice[:, 6] = 0.4, 1 / 6, 4 / 8  # RBG, and what was green is negative
    recoloured = augment(batch, dice, STILL.model_copy(update={"recolour": 0.5}))["image"]
    wanted = torch.stack([images[:, 0], images[:, 2], 1 - images[:, 1]], 1)
    torch.testing.assert_close(recoloured, wanted)
    assert (augment(batch, dice, STILL.model_copy(update={"recolour": 0.3}))["image"] == images).all()

    everything = SteeringObjective(shift=0.1, recolour=0.5)
    draws = torch.rand(60, DRAWS, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(1)
    one = augment(batch, draws, everything)
    torch.manual_seed(2)
    two = augment(batch, draws, everything)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_small_net_learns_to_follow_a_road_and_beats_the_constant() -> None:
    encoding = fit(loaded_frames(), SMALL)
    torch.manual_seed(0)
    net, batch = build(NET, encoding), tensors(loaded_frames(), encoding)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.003)
    draws = torch.Generator().manual_seed(0)
    for _ in range(50):
        optimizer.zero_grad()
        changed = augment(batch, torch.rand(60, DRAWS, generator=draws), SteeringObjective())
        losses(net, changed, SteeringObjective())["loss"].mean().backward()
        optimizer.step()
    new = loaded_frames(40, seed=3)
    with torch.inference_mode():
        outcomes = predict(net.eval(), tensors(new, encoding), encoding)
        rows = serving.example([new[5].payload])
        (answer,) = serving.answer(net, encoding, rows, {})
    assert answer["steering"] == pytest.approx(float(outcomes["predicted"][5]), abs=1e-5)
    assert answer.keys() == USECASE.serving.outputs.keys()
    assert mean_error(outcomes) < 15
    constant = {"error": encoding["steering_mean"] - outcomes["target"]}
    assert mean_error(outcomes) < mean_error(constant) / 3
    assert root_mean_square_error(outcomes) > mean_error(outcomes)
    panels = show(Evidence(net, encoding, {**outcomes, "row": np.arange(40)}, lambda row: new[row].payload))
    assert [panel.title for panel in panels] == ["Steering", "Worst frames"]
    assert panels[0].html.count("<svg") == 2
    assert panels[1].html.count("<img") == 12


def test_baselines_answer_the_test_frames_and_the_line_is_fitted_alike_once_more(tmp_path: Path) -> None:
    from sluiceway.data.learning.learner import cross_fit, fit_regressor
    from sluiceway.data.sketches import Sketches

    for seed in range(8):
        write_drive(tmp_path / f"d{seed}", count=15, seed=seed)
    examples = list(read(tmp_path, DATA))
    reader = reader_of(tmp_path, examples, Split(test=0.4))
    encoding = fit(reader("train"), SMALL)
    found = baselines(reader, DATA, encoding, answers_of(USECASE, reader, DATA))
    assert list(found) == [CONSTANT, RIDGE]
    assert found[RIDGE]["row"].tolist() == [each.row for each in reader("test")]
    assert mean_error(found[RIDGE]) < mean_error(found[CONSTANT]) / 2

    frames = [(each, split) for split in ("train", "test") for each in reader(split)]
    rows = np.arange(len(frames))
    sketches = Sketches(rows, np.stack([features(each.payload, DATA) for each, _ in frames]), None)
    table = pl.DataFrame(
        {
            "split": [split for _, split in frames],
            "group": [each.example.group for each, _ in frames],
            "checksum": [str(row) for row in rows],
            "target": [each.example.target for each, _ in frames],
        }
    )
    answers = cross_fit(sketches, table, "number", estimator=USECASE.estimator)
    machine = fit_regressor(sketches, table, USECASE.estimator)
    test = (table["split"] == "test").to_numpy()
    assert machine.predict(sketches.features[test]) == pytest.approx(answers.predictions[test], abs=1e-5)  # float32


def test_directions_are_said_in_words() -> None:
    assert [direction(each) for each in (-0.124, 0.0, 0.5)] == ["12 left", "straight", "50 right"]


# Laps: pure geometry.


def circle(points: int = 200, radius: float = 100.0) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def test_a_lap_counts_points_in_their_order() -> None:
    lap = Lap(circle(), half=6.0)
    for point in circle()[:50]:
        lap.move(point * 1.03)
    assert lap.place == 49
    assert lap.aside == pytest.approx(3.0)
    assert lap.on_road
    lap.move(circle()[120])  # straight across: nothing of it was driven
    assert lap.place == 49
    assert not lap.on_road
    for point in circle()[45:58]:
        lap.move(point)
    assert lap.place == 57
    for point in circle()[58:]:
        lap.move(point)
    assert lap.share == 1.0
    assert lap.deviation == pytest.approx((49 * 3.0 / 6.0) / 199, abs=0.01)


def test_whoever_leaves_the_road_counts_no_points() -> None:
    lap = Lap(circle(), half=6.0)
    for point in circle():
        lap.move(point * 1.1)
    assert lap.place == 0
    assert lap.deviation == 1.0


def test_the_driver_steers_towards_the_road() -> None:
    lap = Lap(circle(), half=6.0)
    here, up = circle()[0], math.pi / 2
    assert -0.4 < pursue(lap, here, up, 20.0) < 0  # the circle bends to the left
    assert pursue(lap, here, up - 0.5, 20.0) < pursue(lap, here, up, 20.0) < pursue(lap, here, up + 0.5, 20.0)
    outside, inside = (pursue(lap, here * factor, up, 20.0) for factor in (1.04, 0.96))
    assert outside < inside
    assert pursue(lap, here, up, 20.0, beside=4.0) > pursue(lap, here, up, 20.0)


def test_pedals_slow_down_where_it_is_steered() -> None:
    assert pedals(0.0, 0.0) == (1.0, 0.0)
    assert pedals(100.0, 0.0)[1] > 0
    assert pedals(55.0, 0.0)[0] > 0
    assert pedals(55.0, 1.0)[0] == 0


# The simulator.


def lap_of(moments) -> list:
    return [(each.step, each.steering, hashlib.sha256(each.frame.tobytes()).hexdigest()) for each in moments]


@pytest.fixture(scope="module")
def first_moments() -> list:
    return list(record(3, 40))


def test_a_recorded_drive_is_the_same_every_time(first_moments: list) -> None:
    assert lap_of(record(3, 15)) == lap_of(first_moments[:15])
    assert first_moments[0].frame.shape == (84, 96, 3)
    assert [each.step for each in first_moments[:3]] == [0, simulator.STEPS, 2 * simulator.STEPS]
    assert all(abs(each.steering) <= 1 for each in first_moments)
    assert len({each for _, _, each in lap_of(first_moments)}) == 40


def test_the_sample_is_laid_out_as_udacitys(tmp_path: Path, first_moments: list, monkeypatch) -> None:
    monkeypatch.setattr(track, "record", lambda seed, moments: iter(first_moments[: 10 + seed]))
    monkeypatch.setattr(track, "SEEDS", range(1, 3))
    track.lay_out(tmp_path / "raw")
    found = list(read(tmp_path / "raw", DATA))
    assert [each.group for each in found] == ["drive_001"] * 11 + ["drive_002"] * 12
    assert float(found[4].target) == pytest.approx(first_moments[4].steering, abs=1e-6)
    pixels = np.asarray(Image.open(tmp_path / "raw" / found[4].source))
    assert (pixels == first_moments[4].frame).all()


def test_the_driver_comes_around_and_who_never_steers_does_not() -> None:
    world = World(1001)

    def driver(seen: np.ndarray) -> float:
        return pursue(world.lap, world.position, world.heading, world.speed)

    while world.lap.share < 1 and world.seconds < 40:
        world.advance(driver(world.frame))
    assert world.lap.share == 1
    lost = drive(trial.constant(0.0), 1001)
    assert 0 < lost.share < 0.5
    assert lost.departures == 1
    assert 1 - lost.share < lost.deviation < 1
    assert world.lap.deviation < 0.35
    assert not lost.on_road[-1]
    assert len(lost.path) == len(lost.steering) == len(lost.on_road)
    assert lost.frames == []


def test_seeds_of_the_sample_are_not_driven_in_the_trial() -> None:
    settings = DrivingEvaluation()
    assert max(track.SEEDS) < settings.closed_loop.first_seed
    with pytest.raises(ConfigError, match="first_seed"):
        parse(
            USECASE.params,
            {"usecase": "driving", "evaluate": {"closed_loop": {"first_seed": 5}}},
            Path("params.yaml"),
        )


def test_without_the_simulator_the_way_out_is_said(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gymnasium.envs.box2d.car_racing", None)
    with pytest.raises(MissingPackage, match=r"needs gymnasium\[box2d\]") as error:
        World(1)
    assert "sluiceway[driving]" in error.value.hint


# The trial.


def stub_drive(policy, seed: int, *, film: bool = False) -> Drive:
    """Drive as far as the policy steers."""
    share = min(1.0, policy(np.full((84, 96, 3), seed % 7 * 30, np.uint8)))
    found = Drive(seed, circle(20), share=share, deviation=1 - share, departures=int(share < 1), seconds=10.0)
    found.path, found.on_road = list(circle(20)[:5]), [True] * 4 + [share == 1]
    found.frames = [frame(0.0)] * 3 if film else []
    return found


def test_every_learner_drives_the_same_laps(monkeypatch) -> None:
    monkeypatch.setattr(trial, "drive", stub_drive)

    class Net(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert images.dtype == torch.uint8
            assert images.shape == (1, 3, 24, 24)
            return torch.tensor([0.95])

    class Line:
        def predict(self, rows: np.ndarray) -> np.ndarray:
            assert rows.shape == (1, 504)
            return np.array([0.5])

    settings = DrivingEvaluation(closed_loop=ClosedLoop(world="car_racing", tracks=3))
    encoding = {**SMALL.model_dump(), "steering_mean": 0.1}
    contenders = Contenders(Net(), encoding, Line, DATA, settings)
    tried = trial.run(contenders)
    assert list(tried.baselines) == [CONSTANT, RIDGE]
    assert tried.model["seed"].tolist() == [1001, 1002, 1003]
    assert [metric.name for metric in trial.TRIAL.metrics] == ["deviation", "lap_share", "tracks_driven", "departures"]
    figures = [metric.compute(tried.model) for metric in trial.TRIAL.metrics]
    assert figures == pytest.approx([5.0, 0.95, 1.0, 3 / 2.85])
    assert trial.tracks_driven(tried.baselines[RIDGE]) == 0
    assert trial.lap_share(tried.baselines[CONSTANT]) == pytest.approx(0.1)
    assert [panel.title for panel in tried.panels] == ["A lap", "Laps driven"]
    assert "3 of 3 tracks" in tried.panels[1].caption
    assert list(trial.run(replace(contenders, regressor=lambda: None)).baselines) == [CONSTANT]


def test_a_film_shows_each_frame_for_as_long_as_it_lasted() -> None:
    import base64

    frames = [frame(steering, 1) for steering in np.linspace(-1, 1, 5)]
    source = film(frames, "a lap").partition("base64,")[2].rstrip('">')
    picture = Image.open(io.BytesIO(base64.b64decode(source)))
    assert picture.n_frames == 5
    assert picture.info["duration"] == 1000 * simulator.STEPS // 50
    assert np.abs(np.asarray(picture.convert("RGB"), int) - frames[0]).mean() < 12


def test_only_who_asks_for_a_world_is_tried_in_one() -> None:
    assert not trial.wanted(DrivingEvaluation())
    assert trial.wanted(DrivingEvaluation(closed_loop=ClosedLoop(world="car_racing")))
    assert issubclass(USECASE.evaluation, Evaluate)


PARAMS = """\
usecase: driving
target: number
data: {split: {validation: 0.2, test: 0.3}}
encode: {height: 24, width: 24}
model: {name: pilotnet, channels: [8, 16], kernels: [5, 3], strides: [2, 2], hidden: [16]}
objective: {}
gates:
  data: {min_examples: 100}
  cost: {}
  model: {beat_baselines: false, minimum: {lap_share: 0.001}}
train: {epochs: 4, global_batch: 32, lr: 0.003}
evaluate: {resamples: 200, closed_loop: {world: car_racing, tracks: 2}}
register: {}
"""


@pytest.mark.slow
def test_raw_drives_become_a_registered_model_that_was_tried_at_the_wheel(tmp_path: Path) -> None:
    contract = suite(("expect_column_values_to_be_unique", {"column": "id"}))
    project = make_project(tmp_path / "project", {"own": ("driving", PARAMS, contract)})
    for seed in range(12):
        write_drive(project.root / "data" / "raw" / "own" / f"d{seed:02d}", count=30, seed=seed)
    project.repro("register@own")
    evaluation = project.json("reports/own/evaluation.json")
    assert evaluation["episodes"] == 2
    for scores in (evaluation["model"], *evaluation["baselines"].values()):
        at_the_wheel = {"deviation", "lap_share", "tracks_driven", "departures"}
        assert scores.keys() == at_the_wheel | {"steering_mae", "steering_rmse"}
    assert evaluation["baselines"].keys() == {CONSTANT, RIDGE}
    verdict = project.json("reports/own/verdicts/model.json")
    assert [check["name"] for check in verdict["checks"]] == ["minimum_lap_share"]
    page = (project.root / "reports" / "own" / "report.html").read_text(encoding="utf-8")
    assert "data:image/gif;base64," in page
    assert "Laps driven" in page
    said = project.run("sluiceway", "show", "own").stdout
    assert "2 episodes" in said
    assert "Off the middle of the road" in said
    assert "own version 1" in said
