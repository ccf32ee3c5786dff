"""What can rot: documents, the options' reference, pinned versions, and what DVC watches, against what there is."""

import json
import os
import re
import resource
import shlex
import statistics
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from projects import BIN, ROOT
from sluiceway.config import TRACKED, parse
from sluiceway.data.table import schema
from sluiceway.usecases import find
from sluiceway.usecases.base import UseCase
from support import answers_of, reader_of

DOCS = [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "data/README.md",
        "mlflow/README.md",
        "infra/README.md",
        "docs/usecases.md",
        "docs/data-gate.md",
        "docs/doctor.md",
        "docs/huggingface.md",
        "docs/layers.md",
        "docs/server.md",
        "docs/training.md",
        "docs/tuning.md",
        "data/corrections/README.md",
        "data/sides/README.md",
        "docs/jobs.md",
        "docs/layouts.md",
    )
]
PRODUCED = (
    "data/corrections",
    "data/raw",
    "data/reference",
    "data/sides",
    "data/validated",
    "data/shards",
    "models",
    "reports",
    "mlflow/store",
    "sluiceway/<job>",
    "benchmarks/results",
    ".sluiceway",
    ".venv",
    ".dvc/config.local",
)
"""What is made by running."""
READERS_OWN = ("my_package", "data/pretrained", "pipelines/flowers", "pipelines/houses")
"""What the docs tell the reader to write."""
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", "NO_COLOR": "1"}


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def yaml(path: str) -> Any:
    return YAML(typ="safe", pure=True).load(read(path))


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


# The documents.


def blocks(text: str, language: str) -> list[str]:
    return [part.group(1) for part in re.finditer(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)]


def inline_code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE))


def commands(program: str) -> Iterator[list[str]]:
    """Yield the words of each call of a program that a document shows."""
    found = 0
    for path in DOCS:
        text = path.read_text(encoding="utf-8")
        lines = [line for block in blocks(text, "bash") for line in block.splitlines()] + inline_code(text)
        for line in lines:
            for call in re.sub(r"<\w+>", "digits", line).split("&&"):
                words = shlex.split(call, comments=True) if call.strip().startswith(program) else []
                if words[:1] == [program]:
                    found += 1
                    yield words
    assert found, f"no document shows a call of {program}"


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    assert {word for _, *words in commands("make") for word in words} - targets == set()


def test_every_sluiceway_command_can_be_typed() -> None:
    from typer.main import get_command

    from sluiceway.cli import app

    known: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    for _, *words in commands("sluiceway"):
        if words and words != ["--help"]:
            assert words[0] in known
            make_context(known[words[0]], words)


def make_context(command: Any, words: list[str]) -> None:
    """Parse a call down to its last subcommand; raises for what cannot be parsed. A mere mention is not parsed."""
    while len(words) > 1 and hasattr(command, "commands"):
        command, words = command.commands[words[1]], words[1:]
    if words[1:]:
        command.make_context(words[0], words[1:])


def test_every_dvc_command_can_be_typed() -> None:
    from dvc.cli.parser import get_main_parser

    stages, pipelines = yaml("dvc.yaml")["stages"], {*yaml("params.yaml")["pipelines"], "flowers", "houses"}
    for _, *words in commands("dvc"):
        if len(words) == 1:  # a mention
            with pytest.raises(SystemExit, match=r"^0$"):
                get_main_parser().parse_args([*words, "--help"])
        elif words:
            get_main_parser().parse_args(words)  # raises for what cannot be parsed
        for stage, _, pipeline in (word.partition("@") for word in words if re.fullmatch(r"\w+@\w+", word)):
            assert stage in stages
            assert pipeline in pipelines


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_path_exists_or_is_produced(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = {code for code in inline_code(text) if re.fullmatch(r"[\w.<>-]+(/[\w.<>-]+)*/?", code) and "/" in code}
    linked = set(re.findall(r"\]\((?!https?:)([^)#]+)\)", text))
    lost = set()
    for name in named | linked:
        path = re.sub(r"<(name|pipeline)>", "digits", name).rstrip("/")
        made = any(f"{path}/".startswith(f"{prefix}/") for prefix in PRODUCED + READERS_OWN)
        if not made and not any((place / path).exists() for place in (ROOT, ROOT / "src" / "sluiceway")):
            lost.add(name)
    assert lost == set()


def test_the_tree_in_the_readme_is_the_tree() -> None:
    block = read("README.md").partition("## The map")[2].partition("```\n")[2].partition("```")[0]
    entries = re.findall(r"^( *)(\S+)", block, re.MULTILINE)
    top = {name for indent, name in entries if not indent}
    package = {f"src/sluiceway/{name}" for indent, name in entries if indent}
    assert len(top) + len(package) == len(entries) > 20
    assert [name for name in sorted(top | package) if not (ROOT / name).exists()] == []
    real_top, real_package = set(), set()
    for name in tracked():
        first, *rest = name.split("/")
        if name.startswith("src/sluiceway/"):
            child, *below = rest[1:]
            real_package.add(f"src/sluiceway/{child}" + "/" * bool(below))
        elif not first.startswith(".") and name != "dvc.lock":  # the lock is the user's
            real_top.add(first + "/" * bool(rest))
    assert real_top - top == set()
    assert real_package - package == set()
    assert {name for name in top if name.endswith("/")} >= {"src/sluiceway/", "tests/"}


def test_dvc_reads_the_project_as_it_stands_here() -> None:
    """DVC reads every ``dvc.yaml`` below the root: one that is meant for a test would break ``dvc repro``."""
    done = subprocess.run(
        [BIN / "dvc", "stage", "list", "--all", "--name-only"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "register@digits" in done.stdout.split()


def test_the_reference_of_options_is_up_to_date() -> None:
    from sluiceway.stages.params import jobs_reference, reference

    assert read("docs/params.md") == reference(ROOT), "run `make docs`"
    assert read("docs/job-options.md") == jobs_reference(), "run `make docs`"


def test_the_reference_names_options_and_types_as_people_do() -> None:
    text, jobs = read("docs/params.md"), read("docs/job-options.md")
    assert not re.findall(r"typing\.|Annotated|FieldInfo|NoneType|<class|JsonValue", text + jobs)
    assert "| `secrets` | list of name of an environment variable |" in jobs
    assert "| `list` | text \\| null |" in text  # as it stands in params.yaml, not as the code has it
    assert "| `widths` | list of integer, >= 1 |" in text


@pytest.mark.parametrize(("document", "usecase"), [("README.md", "image"), ("docs/usecases.md", "table_regression")])
def test_a_pipeline_in_the_docs_is_valid(document: str, usecase: str, own_usecase: UseCase, tmp_path: Path) -> None:
    from sluiceway.data.contract.expectations import read_suite

    kind = own_usecase if usecase == own_usecase.name else find(usecase, ROOT)
    text = read(document)
    (params,) = [block for block in blocks(text, "yaml") if "usecase:" in block]
    parsed = parse(kind.params, YAML(typ="safe", pure=True).load(params), Path(document), TRACKED)
    assert parsed.usecase.endswith(usecase) or parsed.usecase.endswith(f"{usecase}:USECASE")
    (suite,) = blocks(text, "json")
    (tmp_path / "expectations.json").write_text(suite, encoding="utf-8")
    read_suite(tmp_path / "expectations.json", schema(kind.measures).names)


@pytest.fixture(scope="module")
def own_usecase() -> UseCase:
    """The use case that docs/usecases.md teaches, from its very code."""
    (code,) = blocks(read("docs/usecases.md"), "python")
    module = types.ModuleType("table_regression")
    exec(compile(code, "docs/usecases.md", "exec"), module.__dict__)
    usecase = module.__dict__["USECASE"]
    assert isinstance(usecase, UseCase)
    return usecase


def test_the_use_case_in_the_docs_works(own_usecase: UseCase, tmp_path: Path) -> None:
    import torch
    from sklearn.datasets import load_diabetes

    from sluiceway.data.sources import load
    from sluiceway.data.table import BadExample

    features, target = load_diabetes(return_X_y=True)
    np.savetxt(tmp_path / "diabetes.csv", np.column_stack([features, target]), delimiter=",")
    with (tmp_path / "diabetes.csv").open("a", encoding="utf-8") as file:
        file.write("1.0,nan\n1.0,many\n1.0\n")
    case = own_usecase
    params = parse(case.params, {"usecase": "x:Y", "model": {"hidden": 16}}, Path("params.yaml"))
    examples = list(case.read(tmp_path, params.data))
    assert len(examples) == 445
    *good, nan, word, short = examples
    for bad in (nan, word, short):
        with pytest.raises(BadExample):
            case.measure(load(tmp_path, bad.source), params.data)
    for example in good:
        measured = case.measure(load(tmp_path, example.source), params.data)
        assert measured.keys() == case.measures.keys()
    assert good[7].target == f"{target[7]:.18e}"

    read_split = reader_of(tmp_path, good, params.data.split)
    encoding = json.loads(json.dumps(case.fit(read_split("train"), params.encode)))
    torch.manual_seed(0)
    model = case.build(params.model, encoding)
    train, test = (
        {name: torch.from_numpy(np.stack([item.arrays[name] for item in items])) for name in ("features", "target")}
        for items in (list(case.encode(read_split(split), encoding, split)) for split in ("train", "test"))
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    for _ in range(150):
        optimizer.zero_grad()
        loss = case.losses(model, train, params.objective)["loss"]
        assert loss.shape == train["target"].shape
        loss.mean().backward()
        optimizer.step()
    (metric,) = case.metrics
    with torch.inference_mode():
        score = metric.compute(case.predict(model, test, encoding))
        rows = case.serving.example([load(tmp_path, good[7].source)])
        (answer,) = case.serving.answer(model, encoding, rows, {})
        assert answer["prediction"] == pytest.approx(float(model(torch.tensor(features[7:8], dtype=torch.float32))[0]))
    assert answer.keys() == case.serving.outputs.keys()
    answers = answers_of(case, read_split, params.data)
    baselines = case.baselines(read_split, params.data, encoding, answers)
    scores = {name: metric.compute(each) for name, each in baselines.items()}
    assert metric.better(score, scores["mean"])
    assert metric.better(scores["ridge"], scores["mean"])


def test_no_path_of_somebodys_machine_is_in_the_tree() -> None:
    pattern = re.compile(rb"(?<![\w.~}])/(?:home|root|Users)/[\w.-]+")
    found = {name: pattern.findall((ROOT / name).read_bytes()) for name in tracked() if (ROOT / name).is_file()}
    assert len(found) > 100
    assert {name: paths for name, paths in found.items() if paths} == {}


# Dependencies.


def requirements() -> list[Requirement]:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    lines = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    return [each for each in map(Requirement, lines) if each.name != project["name"]]


def test_every_dependency_has_its_reason_and_every_reason_a_dependency() -> None:
    section = read("CONTRIBUTING.md").partition("## Dependencies")[2].partition("\n## ")[0]
    explained = re.findall(r"^- `([\w.-]+)(?:\[\w+\])?`: \S", section, re.MULTILINE)
    assert sorted(explained) == sorted(requirement.name for requirement in requirements())


def test_the_tested_set_pins_every_dependency_and_names_no_address() -> None:
    lines = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.!-]+", line)] == []
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    assert len(pins) == len(lines)
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not pinned: run `make constraints`"
        assert requirement.specifier.contains(pins[name]), f"{name}: the pin {pins[name]} is out of its range"


def test_compromised_releases_of_lightning_are_excluded() -> None:
    (lightning,) = [each for each in requirements() if each.name == "pytorch-lightning"]
    assert not any(lightning.specifier.contains(version) for version in ("2.6.2", "2.6.3"))
    assert lightning.specifier.contains("2.6.6")


# The command line.


def test_help_answers_at_once(record_property: Any) -> None:
    """In seconds of a processor: a busy machine makes nothing slower that is quick."""

    def used() -> float:
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    times = []
    for _ in range(5):
        began = used()
        done = subprocess.run([str(BIN / "sluiceway"), "--help"], env=ENVIRONMENT, capture_output=True, check=True)
        times.append(used() - began)
        assert b"validate" in done.stdout
    record_property("sluiceway --help, median ms", round(1000 * statistics.median(times)))
    assert min(times) < 1, f"median {1000 * statistics.median(times):.0f} ms"


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from sluiceway.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mlflow', 'ray', 'great_expectations', 'pandas', 'sklearn', 'matplotlib', 'dvc'}\n"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert "validate" in done.stdout
    assert done.stderr.strip() == "[]"


def every_command(known: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words and the command of every command that does something."""
    for name, command in known.items():
        if hasattr(command, "commands"):
            yield from every_command(command.commands, (*above, name))
        else:
            yield (*above, name), command


def test_every_command_shows_an_example_that_can_be_typed() -> None:
    from typer.main import get_command

    from sluiceway.cli import app

    known = list(every_command(get_command(app).commands))  # type: ignore[attr-defined]
    assert len(known) >= 15
    for name, command in known:
        examples = (command.epilog or "").partition(":")[2].split("|")
        for example in examples:
            program, *said = shlex.split(example)
            assert (program, *said[: len(name)]) == ("sluiceway", *name)
            command.make_context(name[-1], said[len(name) :])


# What DVC watches.

NOT_WATCHED = {
    "sluiceway": "the version",
    "sluiceway.config": "plumbing: the options themselves are watched",
    "sluiceway.config.shapes": "plumbing: refuses what would not run",
    "sluiceway.errors": "plumbing: words",
    "sluiceway.data.ahead": "plumbing: when shards are fetched, not which",
    "sluiceway.data.cache": "plumbing: bytes are compared with their hashes",
    "sluiceway.data.documents": "plumbing: small files, written whole",
    "sluiceway.data.files": "plumbing: likewise",
    "sluiceway.data.seals": "plumbing: likewise",
    "sluiceway.data.store": "plumbing: likewise",
    "sluiceway.data.tail": "plumbing: follows a file",
    "sluiceway.stages.console": "plumbing: words",
    "sluiceway.stages.frame": "plumbing: lock and clock",
    "sluiceway.usecases": "plumbing: finds the use case, which is watched",
    "sluiceway.usecases.base": "plumbing: types",
    "sluiceway.usecases.likeness": "plumbing: words of an error",
    "sluiceway.usecases.pipeline": "plumbing: names of places",
    "sluiceway.launch.storage": "plumbing: asks nodes before anything starts",
    "sluiceway.launch.mapping": "plumbing: an engine, and every engine gives the same bytes",
    "sluiceway.stages.data_report": "draws pages",
    "sluiceway.stages.data_verdict": "draws pages",
}
"""Modules that decide no result: a change of them must not run anything again."""
DRAWING, REPORTING = "sluiceway.evaluation", "sluiceway.tracking"
"""Pages and MLflow: watched by the one stage whose work they are, free for stages that only report besides."""


@pytest.fixture(scope="module")
def graph() -> Any:
    import grimp

    return grimp.build_graph("sluiceway", cache_dir=None)


def file_of(module: str) -> str:
    path = Path("src", *module.split("."))
    return (path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")).as_posix()


def imported_by(graph: Any, start: str, free: tuple[str, ...]) -> set[str]:
    """Return what a module imports, directly or not, lazily or not, without what need not be watched."""
    found: set[str] = set()
    todo = [start]
    while todo:
        module = todo.pop()
        if module not in found and module not in NOT_WATCHED and not module.startswith(free):
            found.add(module)
            todo += graph.find_modules_directly_imported_by(module)
    return found


def watches(paths: list[str], file: str) -> bool:
    return any(file == path or file.startswith(f"{path}/") for path in paths)


def test_what_a_stage_imports_is_watched_by_it_or_by_an_earlier_one(graph: Any) -> None:
    watched: list[str] = []
    lost = {}
    for stage, entry in yaml("dvc.yaml")["stages"].items():
        watched += [path for path in entry["do"]["deps"] if path.startswith("src/")]
        assert f"src/sluiceway/stages/{stage}.py" in watched
        free = (DRAWING,) * (stage != "evaluate") + (REPORTING,) * (stage != "register")
        files = {file_of(module) for module in imported_by(graph, f"sluiceway.stages.{stage}", free)}
        lost[stage] = sorted(file for file in files if not watches(watched, file))
    # Shards borrow a type from the order of examples, no more.
    assert {stage: files for stage, files in lost.items() if files} == {"preprocess": ["src/sluiceway/data/order.py"]}


def test_what_a_use_case_imports_is_watched(graph: Any) -> None:
    watched = [path for entry in yaml("dvc.yaml")["stages"].values() for path in entry["do"]["deps"]]
    for entry in yaml("params.yaml")["pipelines"].values():
        package = entry["code"].removeprefix("src/").removesuffix(".py").replace("/", ".")
        modules = {package, *graph.find_descendants(package)}
        files = {file_of(each) for module in modules for each in imported_by(graph, module, ())}
        assert len(files) > 5
        assert sorted(file for file in files if not watches([*watched, entry["code"]], file)) == []


def test_nothing_is_watched_in_vain(graph: Any) -> None:
    usecases = [name for name in graph.modules if name.startswith("sluiceway.usecases.")]
    for stage, entry in yaml("dvc.yaml")["stages"].items():
        starts = [f"sluiceway.stages.{stage}", *(usecases if "${item.code}" in entry["do"]["deps"] else [])]
        files = {file_of(module) for start in starts for module in imported_by(graph, start, ())}
        for path in entry["do"]["deps"]:
            if path.startswith("src/"):
                assert (ROOT / path).exists()
                assert any(watches([path], file) for file in files), f"{stage} watches {path}, which it does not import"


def test_byte_code_is_not_watched() -> None:
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        assert repo.dvcignore.is_ignored_file(str(ROOT / "src/sluiceway/models/__pycache__/gpt.cpython-311.pyc"))
        assert not repo.dvcignore.is_ignored_file(str(ROOT / "src/sluiceway/models/gpt.py"))


# Continuous integration.


def test_ci_runs_the_checks_and_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert [line for line in script.read_text(encoding="utf-8").splitlines() if line.startswith("make ")] == [
        "make check",
        "make test",
    ]
