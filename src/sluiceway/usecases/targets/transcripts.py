"""``target: text``: what is said, character by character. Connectionist temporal classification (Graves et al., 2006).

The vocabulary is the characters of the training split. Number 0 is the blank, 1 what training never saw: no network
says it, so a held-out text that has it is missed by a character.

Shapes: B and N items, S moments, L characters, K outputs.
"""

import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluiceway.config import Section
from sluiceway.data.answers import Answers
from sluiceway.data.shards import Arrays
from sluiceway.data.table import BadExample, Example, Measures
from sluiceway.data.texts import mojibake
from sluiceway.errors import DataError
from sluiceway.models.moments import moments
from sluiceway.usecases.base import Batch, Encoding, Evidence, Metric, Outcomes, Panel, Reader
from sluiceway.usecases.targets.base import Modality, Target
from sluiceway.usecases.targets.decoding import FIRST, CharacterModel, beam_search, greedy
from sluiceway.usecases.targets.letters import PROBE

if TYPE_CHECKING:
    from torch import Tensor

    from sluiceway.usecases.speech.params import TranscribedData

UNKNOWN = "\ufffd"
"""What stands for a character that the training texts do not have."""
_CANDIDATES, _COMPARED = 400, 400
"""Training texts of which the best constant one is chosen, and those that it is chosen by."""
_SHOWN = 12
_HEAD = ("What is said", "What was understood", "Characters wrong")
_MARKUP = re.compile(r"</?\w[^<>]*>|\[[^][]+\]|\{[^{}]+\}|&#?\w+;|https?://\S+")
"""Tags, events such as ``[noise]``, entities, addresses."""


class TranscriptObjective(Section):
    """Nats per character of the text, all ways of saying it together."""


def tidy(text: str, data: "TranscribedData") -> str:
    """Bring a text into one form: composed, in one case, letters, digits and the marks that are kept, single spaces.

    Raises:
        BadExample: part of it was never said, and would be no longer told from what was: markup, or mojibake.
    """
    if (found := _MARKUP.search(text)) and not set(found[0]) & set(data.marks) & set("<>[]{}&"):
        raise BadExample("markup", f"{found[0][:40]!r} is not said")
    if garbled := mojibake(text):
        raise BadExample("mojibake", f"decoded otherwise than it was encoded: {garbled!r}")
    text = unicodedata.normalize("NFC", text)
    if data.case == "lower":
        text = text.lower()
    kept = (each if each.isalnum() or unicodedata.combining(each) or each in data.marks else " " for each in text)
    return " ".join("".join(kept).split())


def judge(text: str | None, measures: Measures, data: "TranscribedData") -> None:
    """Refuse a text that cannot be learned from this sound, or from any."""
    if not text:
        raise BadExample("no_transcript", "nothing is said, or nobody wrote what")
    seconds = float(measures.get("seconds") or 0.0)
    if seconds > data.longest:
        raise BadExample("too_long", f"{seconds:.2f} seconds; {data.longest:g} are the most")
    if data.script:
        strange = [each for each in text if each.isalpha() and not unicodedata.name(each, "").startswith(data.script)]
        if strange:
            raise BadExample("wrong_script", f"{''.join(strange[:10])!r} is not {data.script}")
    pace = needed(text) / max(seconds, 1e-6)
    if pace > data.fastest:
        raise BadExample("too_fast", f"{pace:.1f} characters per second; {data.fastest:g} are the most: {text[:40]!r}")
    if pace < data.slowest:
        raise BadExample("too_slow", f"{pace:.2f} characters per second; {data.slowest:g} are the least: {text[:40]!r}")


def needed(text: Sequence[object]) -> int:
    """Moments that a text takes at least: between equal neighbours there is a blank."""
    return len(text) + sum(one == other for one, other in pairwise(text))


def agree(params: Any) -> None:
    """Hold the sections against each other: every sound and text that the gate lets through must fit the network."""
    data, encode = params.data, params.encode
    if encode.seconds < data.longest:
        raise ValueError(
            f"encode.seconds {encode.seconds:g} is less than data.longest {data.longest:g}: sounds would not fit; "
            f"use seconds: {data.longest:g}"
        )
    most = 1 / (2 * encode.hop)
    if most < data.fastest:
        raise ValueError(
            f"with encode.hop {encode.hop:g} the network answers {most:.3g} times a second, and data.fastest allows "
            f"{data.fastest:g} characters: use a hop of at most {1 / (2 * data.fastest):.3g}, or fastest: {most:.3g}"
        )


def fit(texts: Sequence[str | None]) -> Encoding:
    """Find the characters, and what follows what."""
    known = [text for text in texts if text]
    characters = sorted({character for text in known for character in text})
    if len(characters) < 2:
        raise DataError(
            f"the texts of the {len(texts)} training sounds have {len(characters)} characters",
            hint="is the column of the texts the right one? `data.label` names another",
        )
    number = {character: at for at, character in enumerate(characters, start=FIRST)}
    return {"characters": characters, "texts": [[number[each] for each in text] for text in known]}


def complete(encoding: Encoding) -> Encoding:
    """Turn the training texts into the counts of their n-grams, as long as the options ask for."""
    texts = encoding.pop("texts")
    counts = CharacterModel.learn(texts, encoding["order"]) if encoding["order"] else {}
    return {**encoding, "counts": counts}


def encode(example: Example, encoding: Encoding) -> Arrays:
    """Give the numbers of the characters, int16 [S], zeros behind them, and how many there are."""
    number = {character: at for at, character in enumerate(encoding["characters"], start=FIRST)}
    text = example.target or ""
    room = moments(int(encoding["frames"]))
    if needed(text) > room:
        raise DataError(
            f"{example.id} has {len(text)} characters, and a sound {room} moments at most",
            hint="lower data.fastest, or give encode.hop a smaller value",
        )
    numbers = np.zeros(room, np.int16)
    numbers[: len(text)] = [number.get(character, 1) for character in text]
    return {"text": numbers, "length": np.asarray(len(text), np.int32)}


def losses(logits: "Tensor", batch: Batch, objective: TranscriptObjective, training: bool) -> dict[str, "Tensor"]:
    """Return nats per character, and in validation the character error rate, per item [B]."""
    import torch
    from torch.nn.functional import ctc_loss

    said = logits.float().log_softmax(2)  # [B, S, K]
    lengths, heard = batch["length"].long(), moments(batch["frames"]).long()
    # A training sound that was made shorter by chance may be too short for its text: it then teaches nothing.
    nats = ctc_loss(said.transpose(0, 1), batch["text"].long(), heard, lengths, reduction="none", zero_infinity=True)
    figures = {"loss": nats / lengths.clamp(min=1)}
    if not training:
        texts = _true(batch)
        found = [greedy(each) for each in _each(said, heard)]
        wrong = [_distance(text, answer) / max(1, len(text)) for text, answer in zip(texts, found, strict=True)]
        figures["character_error"] = torch.tensor(wrong, device=logits.device)
    return figures


def _each(log_probabilities: "Tensor", heard: "Tensor") -> list[npt.NDArray[np.float32]]:
    """Cut what is padding off each item: [S, K] each."""
    rows = log_probabilities.cpu().numpy()
    return [row[:count] for row, count in zip(rows, heard.tolist(), strict=True)]


def _true(batch: Batch) -> list[tuple[int, ...]]:
    rows, lengths = batch["text"].cpu().numpy(), batch["length"].tolist()
    return [tuple(row[:length].tolist()) for row, length in zip(rows, lengths, strict=True)]


def _distance(one: Sequence[Any], other: Sequence[Any]) -> int:
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(one, other))


def read_out(logits: "Tensor", batch: Batch, encoding: Encoding, beam: int | None = None) -> list[str]:
    """Read a text out of the outputs of each item.

    Args:
        logits: [B, S, K].
        batch: with ``frames``.
        encoding: of the pipeline.
        beam: beginnings that are followed; default: the pipeline's. With 1, the likeliest answers are read as they are.
    """
    beam = beam or int(encoding["beam"])
    rows = _each(logits.float().log_softmax(2), moments(batch["frames"]))
    if beam == 1:
        return [_text(greedy(row), encoding) for row in rows]
    language = CharacterModel(encoding["counts"], len(encoding["characters"]) + 1) if encoding["counts"] else None
    weight, bonus = (encoding["language"], encoding["bonus"]) if language else (0.0, 0.0)
    return [_text(beam_search(row, beam, language, weight, bonus), encoding) for row in rows]


def _text(numbers: Sequence[int], encoding: Encoding) -> str:
    characters = ["", UNKNOWN, *encoding["characters"]]
    return "".join(characters[each] for each in numbers)


def predict(logits: "Tensor", batch: Batch, encoding: Encoding) -> Outcomes:
    """Answer a batch with texts, and count what is wrong in them."""
    true = [_text(each, encoding) for each in _true(batch)]
    outcomes = text_outcomes(true, read_out(logits, batch, encoding))
    likeliest = read_out(logits, batch, encoding, beam=1)
    return {**outcomes, "likeliest": np.array(likeliest, np.object_)}


def text_outcomes(true: Sequence[str], said: Sequence[str]) -> Outcomes:
    """Put answers beside the texts they should have been, with edits and lengths of each [N]: rates are their sums."""
    words = [(one.split(), other.split()) for one, other in zip(true, said, strict=True)]
    return {
        "text": np.array(true, np.object_),
        "said": np.array(said, np.object_),
        "character_edits": np.array([_distance(*pair) for pair in zip(true, said, strict=True)], np.int64),
        "characters": np.array([len(text) for text in true], np.int64),
        "word_edits": np.array([_distance(*pair) for pair in words], np.int64),
        "words": np.array([len(one) for one, _ in words], np.int64),
    }


def character_error_rate(outcomes: Outcomes) -> float:
    """Characters to be put in, taken out or changed, divided by those of the texts."""
    return float(outcomes["character_edits"].sum() / max(1, outcomes["characters"].sum()))


def word_error_rate(outcomes: Outcomes) -> float:
    """The same of words."""
    return float(outcomes["word_edits"].sum() / max(1, outcomes["words"].sum()))


def baselines(
    reader: Reader, data: Section, encoding: Encoding, answers: Answers, modality: Modality
) -> Mapping[str, Outcomes]:
    """Answer the test split with the best constant text, and with the text of the training sound that is most alike."""
    train = {loaded.row: str(loaded.example.target) for loaded in reader("train")}
    # As the network is asked: what training never saw counts as one wrong character in any case.
    test = [(loaded.row, _text(_true_of(loaded.example, encoding), encoding)) for loaded in reader("test")]
    rows, true = np.array([row for row, _ in test], np.int64), [text for _, text in test]
    constant = best_constant(list(train.values()))
    found = {"best constant text": {**text_outcomes(true, [constant] * len(true)), "row": rows}}
    if answers.nearest is not None:
        places = np.searchsorted(answers.rows, rows)
        alike = [train.get(int(row), "") for row in answers.nearest[places]]
        found[modality.classical["text"]] = {**text_outcomes(true, alike), "row": rows}
    return found


def _true_of(example: Example, encoding: Encoding) -> list[int]:
    arrays = encode(example, encoding)
    numbers: list[int] = arrays["text"][: int(arrays["length"])].tolist()
    return numbers


def best_constant(texts: Sequence[str]) -> str:
    """Return the text, of some of them or their beginnings, that is nearest to them all: fewest edits in sum."""
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    kept = np.linspace(0, len(texts) - 1, min(len(texts), _COMPARED)).astype(int)
    compared = [texts[at] for at in kept]
    candidates = sorted({text[:length] for text in compared[:_CANDIDATES] for length in (len(text), len(text) // 2)})
    edits = cdist(candidates, compared, scorer=Levenshtein.distance, dtype=np.int32)  # [candidates, compared]
    best: str = candidates[int(edits.sum(1).argmin())]
    return best


def show(evidence: Evidence, modality: Modality) -> list[Panel]:
    """Put texts and answers side by side: the best, the median and the worst, and what reading with a beam gains."""
    outcomes = evidence.outcomes
    rates = outcomes["character_edits"] / np.maximum(1, outcomes["characters"])
    order = np.argsort(rates, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, _SHOWN).astype(int))]
    rows = []
    for item in chosen:
        seen = modality.picture(evidence.load(int(outcomes["row"][item])))
        true, said = (html.escape(str(outcomes[name][item])) for name in ("text", "said"))
        cells = zip(_HEAD, (true, said or "<i>nothing</i>", f"{rates[item]:.0%}"), strict=True)
        told = "".join(f'<td data-label="{name}">{cell}</td>' for name, cell in cells)
        rows.append(f"<tr><td>{seen}</td>{told}</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("Sound", *_HEAD))
    likeliest = text_outcomes(list(outcomes["text"]), list(outcomes["likeliest"]))
    beam = evidence.encoding["beam"]
    how = f"The {beam} best beginnings were followed" if beam > 1 else "The likeliest answers were read as they are"
    if beam > 1 and evidence.encoding["order"]:
        how += f", with {evidence.encoding['order']}-grams of the training texts"
    caption = (
        f"From the best understood test {modality.noun} to the worst, evenly taken. {how}: "
        f"{character_error_rate(outcomes):.1%} of the characters are wrong, and {character_error_rate(likeliest):.1%} "
        "when the likeliest answers are read as they are."
    )
    table = f"<table class='stack'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return [Panel("What was understood", caption, table)]


def answer(logits: "Tensor", batch: Batch, encoding: Encoding, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the text of each item."""
    return [{"text": text} for text in read_out(logits, batch, encoding, int(params.get("beam", 0)) or None)]


TEXT = Target(
    kind="text",
    what="what is said in a {}",
    objective=TranscriptObjective,
    fit=fit,
    complete=complete,
    encode=encode,
    outputs=lambda encoding: FIRST + len(encoding["characters"]),
    losses=losses,
    predict=predict,
    metrics=(
        Metric("cer", "Character error rate", higher_is_better=False, compute=character_error_rate, percent=True),
        Metric("wer", "Word error rate", higher_is_better=False, compute=word_error_rate, percent=True),
    ),
    baselines=baselines,
    show=show,
    columns={"text": "string"},
    answer=answer,
    params={"beam": 0},
    tidy=tidy,
    judge=judge,
    probe=PROBE,
    agree=agree,
)
