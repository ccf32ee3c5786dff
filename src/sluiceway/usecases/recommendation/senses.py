"""How people are shown an interaction.

The data gate has no other eyes here: one line is like any other, and what is odd is a user as a whole (``odd_groups``).
"""

import html

from sluiceway.data.table import BadExample
from sluiceway.usecases.recommendation.layouts import interaction_of
from sluiceway.usecases.recommendation.params import InteractionData


def thumbnail(payload: bytes, data: InteractionData) -> str:
    """Its fields; of a line that cannot be read, the line."""
    try:
        said = interaction_of(payload)
    except BadExample:
        return f"<code>{html.escape(payload.decode(errors='replace').splitlines()[-1][:200])}</code>"
    rating = "" if said.rating is None else f", rating {said.rating:g}"
    return f"<code>user {html.escape(said.user)}, item {html.escape(said.item)}{rating}, time {said.time:.15g}</code>"
