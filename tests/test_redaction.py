"""Nothing that lets somebody in is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.data.protocols import words
from sluiceway.launch.health.base import Look, Seen, look
from sluiceway.redaction import address, addresses_in, is_secret, origin, origins_in, scrub


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("s3://bucket/a b/1.jpg", "s3://bucket/a b/1.jpg"),
        ("S3://bucket/1.jpg", "s3://bucket/1.jpg"),
        ("https://ann:secret@host:8080/1.jpg", "https://host:8080/1.jpg"),
        ("https://ann:se@cret@host/1.jpg", "https://host/1.jpg"),
        ("https://ann@host/1.jpg#x", "https://host/1.jpg"),
        ("https://b.s3.amazonaws.com/1.jpg?X-Amz-Signature=ab&X-Amz-Credential=c", "https://b.s3.amazonaws.com/1.jpg"),
        ("https://host/1.jpg?sv=2022&sig=abc&se=2024", "https://host/1.jpg"),
        ("https://host/get?access_token=abc", "https://host/get"),
        ("https://[broken/1?token=secret", "https://[broken/1"),
        ("postgresql+psycopg2://ann:secret@/mlflow", "postgresql+psycopg2:///mlflow"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("what? no URI@all", "what? no URI@all"),
    ],
)
def test_an_address_is_told_without_what_lets_somebody_in(uri: str, told: str) -> None:
    assert address(uri) == told
    assert address(told) == told


def test_a_query_that_tells_contents_apart_still_does() -> None:
    one, other = (address(f"https://host/get?id={number}&token=secret") for number in (1, 2))
    assert one != other
    assert one == address("https://host/get?id=1&token=renewed")
    assert "id" not in one


@given(user=st.text("abcXYZ019", min_size=4), word=st.text("abcXYZ019", min_size=4))
def test_no_password_is_told(user: str, word: str) -> None:
    secret = f"q{word}q"
    for uri in (
        f"https://{user}:{secret}@host/1",
        f"https://host/1?X-Goog-Signature={secret}",
        f"https://host/1#{secret}",
    ):
        for how in (address, origin, addresses_in, origins_in, scrub):
            assert secret not in how(uri)
        for quoted in (f"no answer from '{uri}'", f"<{uri}>: refused", f'("{uri}",)', f"is it {uri}, perhaps?"):
            for how in (addresses_in, origins_in, scrub):
                assert secret not in how(quoted)
            assert secret not in words(OSError(quoted))


def test_the_path_of_a_webhook_is_a_secret_too() -> None:
    assert origin("https://ann:secret@hooks.org:8080/T0/B1?x=1") == "https://hooks.org:8080"
    told = origins_in("'https://hooks.org/T0/B1' is no name, s3://ann@bucket/path is none, nor is https://hooks.org")
    assert told == "'https://hooks.org/***' is no name, s3://bucket/path is none, nor is https://hooks.org"


def test_no_secret_of_the_environment_is_told(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("x")
    known = {"MLFLOW_TRACKING_PASSWORD": "hunter22", "RAY_AUTH_TOKEN_PATH": str(token_file), "SECRET_SHORT": "ab"}
    text = f"https://ann:hunter22@host/x refused hunter22\nAuthorization: Basic YW5uOmh1bnRlcjI= {token_file} abc"
    assert scrub(text, known) == f"https://host/x refused *** Authorization: Basic *** {token_file} abc"
    assert is_secret("AZURE_STORAGE_CONNECTION_STRING")
    assert not is_secret("MLFLOW_TRACKING_URI")


def test_what_a_look_saw_is_told_without_secrets_and_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK", "hunter22")
    (seen,) = look([Look("it", lambda: [Seen("it", "fault", "hunter22\n" * 1000, "unset hunter22")])], 60)
    assert seen.found == f"{'*** ' * 99}***…"
    assert seen.way_out == "unset ***"
