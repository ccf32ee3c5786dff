"""The image and the cluster files, against what they name and what Ray takes."""

import copy
import json
import os
import re
import subprocess
import sys
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


def default(name: str) -> str:
    """Return what an argument of the build is when nobody gives it."""
    (value,) = [
        rest.partition("=")[2] for word, rest in instructions() if word == "ARG" and rest.startswith(f"{name}=")
    ]
    return value


def environment() -> dict[str, str]:
    """Return the variables that the image sets."""
    return dict(each.split("=", 1) for word, rest in instructions() if word == "ENV" for each in rest.split())


def test_the_image_is_pinned_and_not_root() -> None:
    assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", default("PYTHON"))
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert bases == ["python:${PYTHON}", "needs", "python:${PYTHON}"]
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
    names = copied()
    assert len(names) == 5
    for name in names:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignore
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(default("EXTRAS").split(",")) <= extras.keys()


def copied() -> list[str]:
    """Return what comes out of the checkout, in that order."""
    return [
        name for word, rest in instructions() if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]
    ]


def test_an_edit_of_ours_installs_nothing_else_anew() -> None:
    """What changes seldom comes first, and the layer with all libraries knows nothing of our code."""
    words = [f"{word} {rest}" for word, rest in instructions()]
    (whole,) = [row for row, each in enumerate(words) if ".[${EXTRAS}]" in each]
    before = [name for each in words[:whole] if each.startswith("COPY ") for name in each.split()[1:-1]]
    assert before == ["constraints.txt", "pyproject.toml"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["version"]["path"]
    stand_in = next(each for each in words if "__version__" in each)
    assert stand_in.endswith(f"> {version}")
    (libraries,) = [each for each in words if each.startswith("COPY --from=")]
    assert libraries == "COPY --from=needs /opt/sluiceway /opt/sluiceway"
    (ours,) = [each for each in words if "/wheels/*.whl" in each]
    assert "--no-index --no-deps" in ours


def test_any_user_can_work_in_the_image_and_write_to_tmp_alone(tmp_path: Path) -> None:
    """DVC and Ray ask for a name and write to a home: a user that a cluster makes up has neither."""
    made = environment()
    assert made["HOME"] == "/tmp"
    assert f"--home-dir {made['HOME']} " in DOCKERFILE  # what ssh and others go by, who ask /etc/passwd
    assert made["DVC_SITE_CACHE_DIR"].startswith("/tmp/")
    script = (
        "import getpass, os, pwd\n"
        "def unknown(uid): raise KeyError(f'getpwuid(): uid not found: {uid}')\n"
        "pwd.getpwuid = unknown\n"
        "from dvc.config import Config\n"
        "from dvc.dirs import site_cache_dir\n"
        "print(getpass.getuser(), site_cache_dir())"
    )
    told = {name: value.replace("/tmp", str(tmp_path)) for name, value in made.items() if name != "PATH"}
    bare = {"PATH": os.environ["PATH"]}

    def ask(env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)

    assert ask({**bare, **told}).stdout.split() == [made["USER"], f"{tmp_path}/dvc"]
    assert "uid not found" in ask(bare).stderr


def test_login_shells_find_the_commands(tmp_path: Path) -> None:
    """Debian's /etc/profile sets PATH anew, and reads /etc/profile.d then."""
    found = re.search(r"echo '(PATH=\S+)' > /etc/profile\.d/\w+\.sh", DOCKERFILE)
    assert found
    done = subprocess.run(
        ["sh", "-c", f"PATH=/usr/local/bin:/usr/bin:/bin; {found.group(1)}; echo $PATH"], capture_output=True, text=True
    )
    assert done.stdout.split(":")[0] == environment()["PATH"].split(":")[0]


def test_a_head_on_aws_has_what_it_asks_aws_with() -> None:
    text = (ROOT / "infra" / "ray" / "vms.yaml").read_text(encoding="utf-8")
    assert "type: aws" in text
    (wanted,) = re.findall(r"--build-arg EXTRAS=([\w,]+)", text)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    needs = [need for extra in wanted.split(",") for need in extras[extra]]
    assert any(need.startswith("boto3") for need in needs)
    assert set(default("EXTRAS").split(",")) <= set(wanted.split(","))


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
