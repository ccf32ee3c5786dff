"""The data gate stops a pipeline for real, in every pipeline; a person may let data through, on the record."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from projects import Project, assert_friendly, runs_of
from small import SMALL, make_small

pytestmark = pytest.mark.slow


def truncate_images(raw: Path) -> None:
    for path in sorted((raw / "3").iterdir())[:20]:
        path.write_bytes(path.read_bytes()[:40])


def flip_labels(raw: Path) -> None:
    chosen = [path for digit in "0123456789" for path in sorted((raw / digit).iterdir())[:40:10]]
    for number, path in enumerate(chosen):
        other = str((int(path.parent.name) + 1 + number % 9) % 10)
        path.rename(raw / other / f"{path.stem}-moved.png")


def spoil_encoding(raw: Path) -> None:
    path = next(raw.glob("*.txt"))
    blocks = path.read_bytes().split(b"\n\n")
    spoilt = [b"\xff\xfe" + block if number % 8 == 0 else block for number, block in enumerate(blocks)]
    path.write_bytes(b"\n\n".join(spoilt))


def truncate_sounds(raw: Path) -> None:
    for path in sorted((raw / "3").iterdir())[:20]:
        path.write_bytes(path.read_bytes()[:900])


def rename_users(raw: Path) -> None:
    path = next(raw.glob("*.inter"))
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    again = [f"9000{line}" for line in lines[1:] if int(line.partition("\t")[0]) <= 20]
    path.write_text("".join([*lines, *again]), encoding="utf-8")


def blacken_frames(raw: Path) -> None:
    for path in sorted((raw / "drive_002" / "IMG").iterdir()):
        Image.new("RGB", (96, 84)).save(path)


def shift_lines(raw: Path) -> None:
    for path in sorted(raw.glob("*.es"))[:12]:
        first, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join([*lines, first]), encoding="utf-8")


def shift_transcripts(raw: Path) -> None:
    path = raw / "metadata.csv"
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    texts = [row[1] for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [head, *([row[0], text, row[2]] for row, text in zip(rows, texts[40:] + texts[:40], strict=True))]
        )


FAULTS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "truncated images": ("digits", truncate_images, "20 of 400 examples (5.00%) are quarantined (20 unreadable)"),
    "flipped labels": ("digits", flip_labels, "look wrong"),
    "spoilt encoding": ("verses", spoil_encoding, "are quarantined"),
    "truncated sounds": ("tones", truncate_sounds, "20 truncated"),
    "users under new names": ("movielens", rename_users, "have the targets of another group in the same order"),
    "books with their lines shifted": ("english-spanish", shift_lines, "look wrong"),
    "transcripts of other sounds": ("fillets", shift_transcripts, "too_fast"),
    "a dead camera": ("track", blacken_frames, "30 blank"),
}


def versions(project: Project, pipeline: str) -> str:
    """All versions and who is champion, as the registry has it."""
    code = (
        "import sys; from pathlib import Path; from sluiceway.tracking.store import client\n"
        "registry = client(Path.cwd())\n"
        "found = registry.search_model_versions(f\"name = '{sys.argv[1]}'\")\n"
        "champion = registry.get_model_version_by_alias(sys.argv[1], 'champion')\n"
        "print(sorted(int(each.version) for each in found), 'champion', champion.version, champion.run_id)"
    )
    return project.run("python", "-c", code, pipeline).stdout.splitlines()[-1]


def registered(name: str, request: pytest.FixtureRequest, root: Path) -> Project:
    """A project in which a version of this pipeline is champion."""
    if name not in SMALL:
        project: Project = request.getfixturevalue("project")
        return project
    project = make_small(root, name)
    project.repro(f"register@{name}")
    return project


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_data_stops_here_and_mended_data_runs_through(
    fault: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name, spoil, reason = FAULTS[fault]
    project = registered(name, request, tmp_path)
    raw, before = project.root / "data" / "raw" / name, versions(project, name)
    runs = len(runs_of(project, name))
    model = project.json(f"models/{name}/run.json")
    shutil.copytree(raw, project.root / "kept")
    spoil(raw)

    done = project.run("dvc", "repro", f"register@{name}", check=False)
    assert done.returncode != 0
    assert project.ran(done.stdout) == [f"validate@{name}", f"gate@{name}"]
    assert "the data gate is closed: " in done.stdout
    assert reason in done.stdout
    assert f"reports/{name}/data/index.html" in done.stdout
    assert "Traceback" not in done.stdout
    page = (project.root / f"reports/{name}/data/index.html").read_text(encoding="utf-8")
    assert "Closed: nothing is trained on this data" in page
    assert reason in page
    assert project.json(f"models/{name}/run.json") == model
    assert versions(project, name) == before
    refused = runs_of(project, name)
    assert len(refused) == runs + 1
    assert refused[0]["status"] == "FAILED"
    assert refused[0]["sluiceway.verdict.data"] == "closed"

    shutil.rmtree(raw)
    (project.root / "kept").rename(raw)
    assert "Traceback" not in project.repro(f"register@{name}")
    assert versions(project, name) == before  # the very data of before: nothing had to be trained again


def record_shown(project: Project, said: str) -> None:
    """Who, when, why and past which checks: on the terminal, and in the verdict's box of the data page."""
    made = r"overridden by Ada <ada@example.org>, \d{4}-\d\d-\d\d \d\d:\d\d UTC, past quarantined_share: “(.*?)”"
    assert re.findall(made, " ".join(said.split())) == ["the scanner broke; known, and few"]
    page = (project.root / "reports/digits/data/index.html").read_text(encoding="utf-8")
    box = page.partition('<div class="verdict care">')[2].partition("</div>")[0]
    assert "Overridden: a person let this data through" in box
    assert re.search(r"Ada &lt;ada@example.org&gt;</strong> overrode .* on \d{4}-\d\d-\d\d \d\d:\d\d UTC", box)
    assert "the scanner broke; known, and few" in box
    assert "<title>digits: data gate overridden</title>" in page
    assert "Closed: nothing is trained" not in page
    assert "--override" not in box


def test_an_override_is_on_the_record_and_holds_for_this_data_only(project: Project) -> None:
    raw = project.root / "data" / "raw" / "digits"
    nothing = project.run("sluiceway", "gate", "digits", "--override", "why not", check=False)
    assert_friendly(nothing, 2, "there is nothing to override")
    truncate_images(raw)
    assert project.run("dvc", "repro", "register@digits", check=False).returncode
    assert_friendly(project.run("sluiceway", "gate", "digits", "--override", " ", check=False), 2, "needs a reason")
    project.run("git", "config", "user.name", "Ada")
    project.run("git", "config", "user.email", "ada@example.org")
    said = project.run("sluiceway", "gate", "digits", "--override", "the scanner broke; known, and few").stdout
    record_shown(project, said)
    page = (project.root / "reports/digits/data/index.html").read_text(encoding="utf-8")
    assert "data/overrides.jsonl" in project.run("git", "status", "--porcelain").stdout
    entry = json.loads((project.root / "data/overrides.jsonl").read_text(encoding="utf-8"))
    assert entry["why"] == "the scanner broke; known, and few"
    assert entry["checks"] == ["quarantined_share"]

    said = project.repro("register@digits")
    assert "data gate overridden" in said
    assert project.ran(said)[0] == "gate@digits"  # the page is no part of what is validated
    record_shown(project, said)
    assert (project.root / "reports/digits/data/index.html").read_text(encoding="utf-8") == page
    record_shown(project, project.run("sluiceway", "show", "digits").stdout)
    assert project.ran(project.repro("register@digits")) == []
    code = (
        "import json; from pathlib import Path; from sluiceway.tracking.store import client\n"
        "registry = client(Path.cwd()); found = registry.search_model_versions(\"name = 'digits'\")\n"
        "print(json.dumps(max(found, key=lambda each: int(each.version)).tags))"
    )
    tags = json.loads(project.run("python", "-c", code).stdout.splitlines()[-1])
    assert tags["sluiceway.verdict.data"] == "overridden"
    assert tags["sluiceway.override.data.who"] == "Ada <ada@example.org>"
    assert tags["sluiceway.override.data.why"] == "the scanner broke; known, and few"
    assert tags["sluiceway.override.data.checks"] == "quarantined_share"
    assert re.match(r"\d{4}-\d\d-\d\dT", tags["sluiceway.override.data.when"])

    path = sorted((raw / "5").iterdir())[0]
    path.write_bytes(path.read_bytes()[:40])
    done = project.run("dvc", "repro", "gate@digits", check=False)
    assert done.returncode != 0
    assert "the data gate is closed" in done.stdout


def test_corrected_labels_are_used_and_raw_data_stays(project: Project) -> None:
    raw = project.root / "data" / "raw" / "digits"
    moved = sorted((raw / "3").iterdir())[:6]
    names = [path.rename(raw / "0" / f"{path.stem}-moved.png").relative_to(raw).as_posix() for path in moved]
    project.run("dvc", "repro", "gate@digits", check=False)
    assert "labels to look at" in project.run("sluiceway", "labels", "review", "digits").stdout
    review = project.root / "data" / "corrections" / "digits.review.csv"
    lines = review.read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if line.split(",")[0] in names]
    assert len(found) >= 5
    decided = [f"{line}3" if line in found else line for line in lines]
    review.write_text("\n".join(decided) + "\n", encoding="utf-8")
    assert f"{len(found)} corrected" in project.run("sluiceway", "labels", "apply", "digits").stdout
    project.run("dvc", "repro", "validate@digits")
    table = pq.read_table(project.root / "data/validated/digits/examples.parquet").to_pylist()
    targets = {row["id"]: row["target"] for row in table}
    assert {targets[line.split(",")[0]] for line in found} == {"3"}
    assert all((raw / name).exists() for name in names)
