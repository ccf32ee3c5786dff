"""A model to its scores: what each window cost, and how the model goes on from a beginning.

Shapes: B windows.
"""

import html
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.usecases.base import Batch, Encoding, Evidence, Metric, Outcomes, Panel
from sluiceway.usecases.text_generation.learning import LN2, nats_of
from sluiceway.usecases.text_generation.sampling import generate
from sluiceway.usecases.text_generation.tokens import tokenizer_of

if TYPE_CHECKING:
    from torch import nn


def predict(model: "nn.Module", batch: Batch, encoding: Encoding) -> Outcomes:
    """Return what each window cost in bits, and how many bytes and words that paid for: [B] each."""
    bits = nats_of(model, batch).double() / LN2
    return {"bits": bits.cpu().numpy(), **{name: batch[name].cpu().numpy() for name in ("bytes", "words")}}


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

_PROMPTS = 3


def show(evidence: Evidence) -> list[Panel]:
    """Continue the beginnings of some test passages."""
    tokenizer = tokenizer_of(evidence.encoding)
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
