"""The error tree: drawn as it is, carried across processes, helpful with names."""

import errno
import inspect
import os
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway import cli, errors
from sluiceway.errors import SluicewayError, UnknownName, nearest, unknown

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, SluicewayError)]


def drawn_parents():
    """Read the tree in the module's docstring: name -> parent's name."""
    parents, open_levels = {}, {}
    for line in errors.__doc__.splitlines():
        found = re.match(r"^    ([│├└─ ]*)([A-Z]\w+)", line)
        if found:
            depth = len(found[1]) // 4
            open_levels[depth] = found[2]
            parents[found[2]] = open_levels.get(depth - 1)
    return parents


def test_the_drawn_tree_is_the_real_one():
    real = {kind.__name__: kind.__base__.__name__ for kind in ALL if kind is not SluicewayError}
    assert drawn_parents() == {"SluicewayError": None, **real}


@pytest.mark.parametrize("kind", ALL)
def test_exit_codes_tell_wrong_usage_and_a_wish_to_leave_from_failure(kind):
    expected = next((code for of, code in ((errors.UsageError, 2), (errors.Preempted, 75)) if issubclass(kind, of)), 1)
    assert kind("x").exit_code == expected


@pytest.mark.parametrize("kind", ALL)
@given(message=st.text(), hint=st.text())
def test_errors_survive_pickling(kind, message, hint):
    error = pickle.loads(pickle.dumps(kind(message, hint=hint)))
    assert type(error) is kind
    assert (error.message, error.hint, str(error)) == (message, hint, message)


def test_nearest_proposes_the_closest_name():
    assert nearest("epoch", ["epochs", "lr", "seed"]) == "did you mean 'epochs'?"


def test_nearest_lists_what_is_known_when_nothing_is_close():
    assert nearest("zzz", ["lr", "epochs"]) == "known: epochs, lr"
    assert nearest("zzz", []) == "known: none"


@given(name=st.text(min_size=1), known=st.lists(st.text(min_size=1), max_size=5))
def test_nearest_only_ever_proposes_a_known_name(name, known):
    answer = nearest(name, known)
    proposed = [each for each in known if answer == f"did you mean {each!r}?"]
    assert proposed or answer == f"known: {', '.join(sorted(known)) or 'none'}"


def test_unknown_names_the_thing_the_nearest_and_all():
    error = unknown("pipeline", "digit", ["verses", "digits"])
    assert isinstance(error, UnknownName)
    assert error.message == "unknown pipeline 'digit'"
    assert error.hint == "did you mean 'digits'? (known: digits, verses)"


def test_unknown_says_the_list_once_when_nothing_is_close():
    assert unknown("pipeline", "zzz", ["verses"]).hint == "one of verses"
    assert unknown("server", "zzz", []).hint == "one of none"
    assert unknown("server", "zzz", [], "see --help").hint == "see --help"
    assert unknown("server", "zzz", ["a", "b"], "see --help").hint == "one of a, b; see --help"


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "must be allowed to"), (errno.ENOSPC, "make room"), (errno.EROFS, "reading only")],
)
def test_what_the_machine_refuses_is_told_without_a_trace(number, words, monkeypatch, capsys):
    def refused() -> None:
        raise OSError(number, os.strerror(number), "some/file")

    monkeypatch.setattr(cli, "app", refused)
    monkeypatch.delenv("SLUICEWAY_DEBUG", raising=False)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    said = capsys.readouterr().err
    assert f"error: {os.strerror(number).lower()}: some/file" in said
    assert words in said
    monkeypatch.setenv("SLUICEWAY_DEBUG", "1")
    with pytest.raises(OSError, match="some/file"):
        cli.main()


def test_what_the_machine_never_refuses_a_right_program_keeps_its_trace(monkeypatch):
    def wrong() -> None:
        raise FileNotFoundError(errno.ENOENT, "no such file", "some/file")

    monkeypatch.setattr(cli, "app", wrong)
    with pytest.raises(FileNotFoundError):
        cli.main()
