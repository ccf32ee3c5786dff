"""Use cases of one's own, and pretrained tokens, that cannot be taken: told in a sentence, whatever was raised."""

import json
import sys
from pathlib import Path

import pytest

from sluiceway.errors import ConfigError
from sluiceway.usecases import find
from sluiceway.usecases.text_generation.tokens import taken_from


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken_syntax:USECASE", "SyntaxError"),
        ("broken_name:USECASE", "NameError: name 'undefined' is not defined"),
        ("absent:USECASE", "No module named 'absent'"),
        ("json:USECASE", "AttributeError: module 'json' has no attribute 'USECASE'"),
        (":USECASE", "ValueError: Empty module name"),
        ("..up:USECASE", "TypeError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "broken_syntax.py").write_text("USECASE = (\n")
    (tmp_path / "broken_name.py").write_text("USECASE = undefined\n")
    with pytest.raises(ConfigError, match="cannot be imported") as caught:
        find(name, tmp_path)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("tokens", "config", "said"),
    [
        ("{", "{}", "tokenizer.json cannot be read"),
        ("{}", "[]", "config.json cannot be read: no JSON object"),
        ("{}", "{}", "not byte-level"),
        (json.dumps({"decoder": {"type": "ByteLevel"}}), '{"eos_token_id": 0}', "tokenizer.json cannot be read"),
    ],
)
def test_tokens_that_cannot_be_taken_are_told(tokens: str, config: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(tokens)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ConfigError, match=said):
        taken_from(tmp_path)
