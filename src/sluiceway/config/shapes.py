"""Numbers of a network's shape that must fit together, said in one way for all architectures that have them."""

from collections.abc import Sequence


def refuse_uneven_heads(channels: int, heads: int) -> None:
    """Ask that each attention head gets an even number of channels: rotary positions turn pairs of them.

    Raises:
        ValueError: it does not; says the nearest width that would do.
    """
    share = 2 * heads
    if channels % share:
        near = share * max(1, round(channels / share))
        raise ValueError(f"channels {channels} do not divide by 2 x heads = {share}: use {near}")


def refuse_uneven_stages(stem: int, widths: Sequence[int], depths: Sequence[int], groups: int) -> None:
    """Ask that a residual network's stages are described in full, and that group norms divide their channels.

    Raises:
        ValueError: they are not, or do not.
    """
    if len(widths) != len(depths):
        raise ValueError(f"widths name {len(widths)} stages and depths {len(depths)}: give one of each")
    odd = [width for width in (stem, *widths) if width % min(groups, width)]
    if odd:
        raise ValueError(f"{odd[0]} channels do not divide by groups {groups}: use a multiple of it")
