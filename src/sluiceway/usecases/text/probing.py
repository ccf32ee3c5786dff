"""What the layers are asked: the target, text by text, since padding is none of their business.

Shapes: B texts, K labels.
"""

import numpy as np

from sluiceway.usecases.base import Batch, Encoding, Probe, Questions


def ask(batch: Batch, encoding: Encoding) -> Questions:
    """Ask for the target of each text: a class or a value [B], or flags of labels [B, K]."""
    target = batch["target"].numpy()
    return Questions(np.arange(len(target)), target.astype(np.int64) if target.ndim > 1 else target)


PROBE = Probe("the target", ask, alone=True)
