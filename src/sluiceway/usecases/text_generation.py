"""Text generation: plain text files, byte-level BPE, a small GPT, n-grams and a compressor beside it.

An example is a passage (a block between blank lines, a line, or a file). The passages of a split follow each other in
one stream of tokens; an item is a window of it. Scores are in bits per byte of the original text, so that models with
other vocabularies, n-grams and compressors stand on one scale.

Shapes: B windows, T = context, V vocabulary.
"""

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from sluiceway.config import DataParams, ModelParams, Section
from sluiceway.data.sources import byte_range, files_below
from sluiceway.data.table import BadExample, Example, Measures, SplitName
from sluiceway.errors import DataError, UnknownLayout
from sluiceway.usecases.base import (
    Batch,
    Encoding,
    Evidence,
    Item,
    Loaded,
    Metric,
    Outcomes,
    Panel,
    Reader,
    Serving,
    UseCase,
    no_augmentation,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor, nn

SUFFIXES = frozenset({".txt", ".text", ".md"})
END = "<|end|>"
_LAYOUT = "plain text files, UTF-8: data/raw/<pipeline>/<document>.txt"
_SEPARATORS = {"block": re.compile(rb"(?:[ \t\r]*\n){2,}"), "line": re.compile(rb"\n")}


class TextData(DataParams):
    """Plain text files below the raw folder."""

    passage: Literal["block", "line", "file"] = "block"
    """What one example is: text between blank lines, a line, or a whole file."""


class TextEncoding(Section):
    """Byte-level BPE, learned from the training split."""

    vocabulary: int = Field(2048, ge=257, le=65536)
    """Number of tokens."""
    context: int = Field(128, ge=8)
    """Tokens the model looks back on."""


class GPTParams(ModelParams):
    """A decoder-only transformer."""

    name: Literal["gpt"] = "gpt"
    """Which architecture."""
    channels: int = Field(192, ge=8)
    """Width of the residual stream; a multiple of twice ``heads``."""
    layers: int = Field(4, ge=1)
    """Number of layers."""
    heads: int = Field(6, ge=1)
    """Attention heads per layer."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of each branch that is dropped in training; needed when examples are seen many times."""

    @model_validator(mode="after")
    def _can_be_built(self) -> "GPTParams":
        if self.channels % (2 * self.heads):  # rotary positions turn pairs of a head's channels
            share = 2 * self.heads
            near = share * max(1, round(self.channels / share))
            raise ValueError(f"channels {self.channels} do not divide by 2 x heads = {share}: use {near}")
        return self


class TextObjective(Section):
    """Cross entropy of the next token; nothing to set."""


# Raw data to the example table.


def read(raw: Path, data: TextData) -> Iterator[Example]:
    """List the passages of all text files. The id is file and number: ``01-genesis.txt#3``."""
    files = files_below(raw, SUFFIXES)
    if not files:
        other = next(path.name for path in raw.rglob("*") if path.is_file())
        raise UnknownLayout(f"no text files below {raw}: found {other} ...", hint=f"expected {_LAYOUT}")
    for path in files:
        name = path.relative_to(raw).as_posix()
        content = path.read_bytes()
        for number, (start, end) in enumerate(_passages(content, data.passage)):
            yield Example(id=f"{name}#{number}", source=byte_range(name, start, end))


def _passages(content: bytes, unit: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each passage that is not blank."""
    edges = (
        [(0, 0), *((m.start(), m.end()) for m in _SEPARATORS[unit].finditer(content))] if unit != "file" else [(0, 0)]
    )
    ends = [start for start, _ in edges[1:]] + [len(content)]
    for (_, start), end in zip(edges, ends, strict=True):
        if content[start:end].strip():
            yield start, end


def measure(payload: bytes, data: TextData) -> Measures:
    """Measure a passage: sizes, and how much of it is words."""
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadExample(
            "unreadable", f"not UTF-8 at byte {error.start}: {payload[error.start : error.start + 4]!r}"
        ) from None
    if "\x00" in text:
        raise BadExample("unreadable", "a zero byte: this is no text")
    words = text.split()
    return {
        "characters": len(text),
        "bytes": len(payload),
        "words": len(words),
        "letters": round(sum(character.isalpha() for character in text) / len(text), 6),
        "longest_word": max(map(len, words), default=0),
    }


def expectations() -> list[dict[str, Any]]:
    """Expect words made of letters."""
    return [
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "words", "min_value": 1}},
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "letters", "min_value": 0.4, "mostly": 0.99},
        },
    ]


# The example table to shards.


def fit(training: Iterable[Loaded], params: TextEncoding) -> Encoding:
    """Learn the vocabulary (Sennrich et al., 2016) from the training passages."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((loaded.payload.decode() for loaded in training), trainer)
    return {"tokenizer": tokenizer.to_str(), "vocabulary": tokenizer.get_vocab_size(), "context": params.context}


def encode(examples: Iterable[Loaded], encoding: Encoding, split: SplitName) -> Iterator[Item]:
    """Cut the split's stream of tokens into windows.

    Training windows follow each other. Those of the other splits overlap by half, and each token is scored in the
    window that shows most of what stands before it. Passage ends are learned, but not scored: they are no text.

    Yields:
        ``tokens`` [T + 1], ``scored`` [T] (whether the token after each counts), ``bytes`` and ``words`` scored.
    """
    context = int(encoding["context"])
    tokens, rows = _stream(examples, encoding)
    sizes, spaces = _token_sizes(encoding)
    step = context if split == "train" else max(1, context // 2)
    scored_up_to = 1  # the first token has nothing before it
    for start in range(0, max(1, len(tokens) - 1), step):
        window = tokens[start : start + context + 1]
        if split == "train" and len(window) < context + 1 and start > 0:
            break
        padded = np.concatenate([window, np.zeros(context + 1 - len(window), tokens.dtype)])
        targets = np.arange(start + 1, start + context + 1)
        counts = (targets < len(tokens)) & (targets >= (0 if split == "train" else scored_up_to))
        if split != "train":
            counts &= padded[1:] != 0
        if counts.any():
            arrays = {
                "tokens": padded,
                "scored": counts,
                "bytes": np.asarray((sizes[padded[1:]] * counts).sum(), np.int64),
                "words": np.asarray((spaces[padded[1:]] * counts).sum(), np.int64),
            }
            yield Item(int(rows[start]), arrays)
        scored_up_to = start + context + 1


def _stream(examples: Iterable[Loaded], encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """Return all tokens of the passages, each after an END, and the example's row for each token: [tokens] each."""
    tokenizer = _tokenizer(encoding)
    tokens, rows = [], []
    for loaded in examples:
        ids = [0, *tokenizer.encode(loaded.payload.decode()).ids]
        tokens.append(np.array(ids, np.uint16))
        rows.append(np.full(len(ids), loaded.row))
    if not tokens:
        raise DataError("a split has no passages", hint="give more text, or other shares in data.split")
    return np.concatenate(tokens), np.concatenate(rows)


def _tokenizer(encoding: Encoding) -> "Tokenizer":
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(encoding["tokenizer"])
    tokenizer.encode_special_tokens = True  # a text that spells out END is text, and does not end a passage
    return tokenizer


def _token_sizes(encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """Return how many bytes, and how many white spaces, each token stands for: [V] each."""
    tokenizer = _tokenizer(encoding)
    pieces = [tokenizer.id_to_token(number) or "" for number in range(encoding["vocabulary"])]
    # Byte-level BPE writes a byte as one character; space and newline as these two.
    sizes = np.array([len(piece) for piece in pieces])
    spaces = np.array([piece.count("\u0120") + piece.count("\u010a") for piece in pieces])
    sizes[0] = 0
    return sizes, spaces


# Shards to a model.


def build(params: GPTParams, encoding: Encoding) -> "nn.Module":
    """Make the untrained network."""
    from sluiceway.models.gpt import GPT

    return GPT(
        vocabulary=encoding["vocabulary"],
        context=encoding["context"],
        channels=params.channels,
        layers=params.layers,
        heads=params.heads,
        dropout=params.dropout,
    )


def losses(model: "nn.Module", batch: Batch, objective: TextObjective) -> dict[str, "Tensor"]:
    """Return cross entropy in nats per token and bits per byte, per window [B]."""
    nats = _nats(model, batch)
    return {
        "loss": nats / batch["scored"].sum(1).clamp(min=1),
        "bits_per_byte": nats / _LN2 / batch["bytes"].clamp(min=1),
    }


_LN2 = float(np.log(2))


def _nats(model: "nn.Module", batch: Batch) -> "Tensor":
    """Return the nats that each window's scored tokens cost: [B]."""
    from torch.nn.functional import cross_entropy

    tokens = batch["tokens"].long()  # [B, T + 1]
    logits = model(tokens[:, :-1])  # [B, T, V]
    each = cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none")
    total: Tensor = (each.view(len(tokens), -1) * batch["scored"]).sum(1)
    return total


# A model to its scores.


def predict(model: "nn.Module", batch: Batch, encoding: Encoding) -> Outcomes:
    """Return what each window cost in bits, and how many bytes and words that paid for: [B] each."""
    bits = _nats(model, batch).double() / _LN2
    return {"bits": bits.numpy(), "bytes": batch["bytes"].numpy(), "words": batch["words"].numpy()}


def bits_per_byte(outcomes: Outcomes) -> float:
    """Mean cost of a byte of text."""
    return float(outcomes["bits"].sum() / outcomes["bytes"].sum())


def word_perplexity(outcomes: Outcomes) -> float:
    """Two to the mean cost of a word: between how many words the model is undecided, so to speak."""
    with np.errstate(over="ignore"):  # a text without spaces is one long word
        return float(np.exp2(outcomes["bits"].sum() / max(1, outcomes["words"].sum())))


METRICS = (
    Metric("bits_per_byte", "Bits per byte", higher_is_better=False, compute=bits_per_byte),
    Metric("word_perplexity", "Perplexity per word", higher_is_better=False, compute=word_perplexity),
)


def baselines(reader: Reader, data: TextData, encoding: Encoding) -> Mapping[str, Outcomes]:
    """Score byte frequencies, a 5-gram model, and ``xz -9`` that has seen the training text."""
    from sluiceway.usecases.ngram import ByteNGram

    training = [loaded.payload for loaded in reader("train")]
    testing = list(reader("test"))
    texts = [loaded.payload for loaded in testing]
    sizes = {
        "row": np.array([loaded.row for loaded in testing]),
        "bytes": np.array([len(text) for text in texts]),
        "words": np.array([text.count(b" ") + text.count(b"\n") for text in texts]),
    }
    whole = {name: sizes[name].sum(keepdims=True) for name in ("bytes", "words")} | {"row": sizes["row"][:1]}
    return {
        "byte frequencies": {**sizes, "bits": ByteNGram(training, order=1).bits(texts)},
        "5-gram": {**sizes, "bits": ByteNGram(training, order=5).bits(texts)},
        "xz -9": {**whole, "bits": np.array([_compressed_bits(training, texts)])},
    }


def _compressed_bits(training: Sequence[bytes], texts: Sequence[bytes]) -> float:
    """Return how many bits longer the compressed training text becomes when the test text is put behind it."""
    import lzma

    seen = b"\n\n".join(training)
    both = seen + b"\n\n" + b"\n\n".join(texts)
    return 8.0 * (len(lzma.compress(both, preset=9)) - len(lzma.compress(seen, preset=9)))


_PROMPTS = 3


def show(evidence: Evidence) -> list[Panel]:
    """Continue the beginnings of some test passages."""
    tokenizer = _tokenizer(evidence.encoding)
    rows = np.unique(evidence.outcomes["row"])
    chosen = rows[np.linspace(0, len(rows) - 1, _PROMPTS).astype(int)]
    entries = []
    for number, row in enumerate(chosen):
        prompt = " ".join(evidence.load(int(row)).decode().split()[:8])
        tokens = generate(
            evidence.model, evidence.encoding, prompt, tokens=80, temperature=0.8, top_p=0.95, seed=number
        )
        said = tokenizer.decode(tokens)
        entries.append(f"<blockquote><b>{html.escape(prompt)}</b>{html.escape(said)}</blockquote>")
    caption = "The bold beginnings are from the test split; the model went on. Temperature 0.8, top-p 0.95."
    return [Panel("Samples", caption, "".join(entries))]


def generate(
    model: "nn.Module", encoding: Encoding, prompt: str, *, tokens: int, temperature: float, top_p: float, seed: int
) -> list[int]:
    """Sample a continuation from the smallest set of tokens that holds ``top_p`` of the probability.

    Nucleus sampling: Holtzman et al., 2020. A temperature of 0 takes the likeliest token each time.

    Returns:
        The new tokens, without the prompt; shorter than ``tokens`` when the passage ends.
    """
    import torch

    dice = torch.Generator().manual_seed(seed)
    stream = [0, *_tokenizer(encoding).encode(prompt).ids]
    first = len(stream)
    with torch.inference_mode():
        for _ in range(tokens):
            logits = model(torch.tensor([stream[-encoding["context"] :]]))[0, -1]  # [V]
            token = int(logits.argmax()) if temperature <= 0 else _draw(logits / temperature, top_p, dice)
            if token == 0:
                break
            stream.append(token)
    return stream[first:]


def _draw(logits: "Tensor", top_p: float, dice: Any) -> int:
    import torch

    probabilities, order = logits.softmax(0).sort(descending=True)
    outside = probabilities.cumsum(0) - probabilities >= top_p
    outside[0] = False
    return int(order[torch.multinomial(probabilities.masked_fill(outside, 0.0), 1, generator=dice)])


# Serving.


def example(payloads: Sequence[bytes]) -> list[dict[str, Any]]:
    """Make request rows from the beginnings of passages."""
    return [{"prompt": " ".join(payload.decode().split()[:6])} for payload in payloads]


def answer(
    model: "nn.Module", encoding: Encoding, rows: list[dict[str, Any]], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Continue each prompt."""
    tokenizer = _tokenizer(encoding)
    answers = []
    for row in rows:
        tokens = generate(
            model,
            encoding,
            row["prompt"],
            tokens=int(params["max_tokens"]),
            temperature=float(params["temperature"]),
            top_p=float(params["top_p"]),
            seed=int(params["seed"]),
        )
        answers.append({"text": row["prompt"] + tokenizer.decode(tokens)})
    return answers


USECASE = UseCase(
    name="text_generation",
    summary="the next token of plain text: a small GPT beside n-grams and a compressor",
    target="none",
    data=TextData,
    read=read,
    measures={
        "characters": "integer",
        "bytes": "integer",
        "words": "integer",
        "letters": "number",
        "longest_word": "integer",
    },
    measure=measure,
    expectations=expectations,
    encode_params=TextEncoding,
    fit=fit,
    encode=encode,
    models=(GPTParams,),
    build=build,
    objective=TextObjective,
    losses=losses,
    draws=0,
    augment=no_augmentation,
    predict=predict,
    metrics=METRICS,
    baselines=baselines,
    show=show,
    serving=Serving(
        inputs={"prompt": "string"},
        outputs={"text": "string"},
        params={"max_tokens": 60, "temperature": 0.8, "top_p": 0.95, "seed": 0},
        packages=("tokenizers",),
        example=example,
        answer=answer,
    ),
)
