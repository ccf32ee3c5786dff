"""The image and the cluster files, against what they name and what Ray takes."""

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from projects import ROOT

DOCKERFILE = (ROOT / "infra" / "Dockerfile").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, whole, without comments."""
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.strip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def test_the_image_is_pinned_and_not_root() -> None:
    (argument,) = [rest for word, rest in instructions() if word == "ARG" and rest.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim-\w+", argument)
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert bases == ["python:${PYTHON}"] * 2
    assert [rest for word, rest in instructions() if word == "USER"] == ["10001:10001"]
    last = [word for word, _ in instructions()]
    assert last.index("USER") < last.index("CMD")
    assert "-c constraints.txt" in DOCKERFILE


def test_the_user_of_the_image_is_the_one_of_the_pods() -> None:
    from sluiceway.launch.jobs import Kubernetes

    assert f"--uid {Kubernetes().user}" in DOCKERFILE
    assert ("WORKDIR", Kubernetes().project) in instructions()


def test_what_the_image_is_made_of_is_there_and_let_in() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignore
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    names = [name for each in copied for name in each]
    assert len(names) == 5
    for name in names:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignore
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    (wanted,) = re.findall(r"'\.\[([\w,]+)\]'", DOCKERFILE)
    assert set(wanted.split(",")) <= extras.keys()


CLUSTERS = sorted((ROOT / "infra" / "ray").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema() -> Any:
    import ray

    path = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.name)
def test_ray_takes_the_cluster_files(path: Path, schema: Any) -> None:
    assert len(CLUSTERS) == 2
    document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    wrong = {**copy.deepcopy(document), "max_worker": 3}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.name)
def test_no_cluster_is_open(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    starts = text.count("ray start ")
    assert starts == 2
    # On the hosts' command lines, or once for the container that all of them run in.
    assert text.count("RAY_AUTH_MODE=token") in (1, starts)
    assert text.count("RAY_AUTH_TOKEN_PATH=") == text.count("RAY_AUTH_MODE=token")
    assert "--dashboard-host=127.0.0.1" in text
    assert "0.0.0.0" not in text
