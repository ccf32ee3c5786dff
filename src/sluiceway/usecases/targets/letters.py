"""What the layers of a network that understands speech are asked: which letters are said.

Nobody says when a character is heard, and an alignment by the network itself would ask it for its own answer. Whether a
letter is said at all is known from the text.

Shapes: B sounds, S moments, K letters.
"""

import numpy as np

from sluiceway.usecases.base import Batch, Encoding, Probe, Questions
from sluiceway.usecases.targets.decoding import FIRST

_LEAST = 0.1
"""Share of the sounds that must have a letter, and lack it: nearly all texts have an ``e``."""


def ask(batch: Batch, encoding: Encoding) -> Questions:
    """Ask of each sound for each letter whether it is said: [B, K]."""
    text = batch["text"].numpy()  # [B, S]
    characters = enumerate(encoding["characters"], start=FIRST)
    letters = np.array([number for number, character in characters if character.isalpha()], text.dtype)
    said = (text[:, :, None] == letters).any(1).astype(np.int64)
    return Questions(np.arange(len(text)), said if len(letters) > 1 else said.reshape(len(text)))


PROBE = Probe(
    "which letters are said in it, of those that neither nearly all nor nearly no texts have",
    ask,
    alone=True,
    least=_LEAST,
)
