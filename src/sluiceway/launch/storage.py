"""Whether all nodes of a cluster see one folder: each writes a file there, and reads those of the others.

Where they do not, a training fails late and oddly: a worker finds no shards, or goes on from another checkpoint.
"""

import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sluiceway.errors import LaunchError, room_for
from sluiceway.launch import probe
from sluiceway.launch.nodes import Node, Silence, ask, living

PATIENCE = 120.0
"""Seconds that the nodes have for each of the two questions: on a busy one, a process takes long to start."""
_SHOWN = 5
"""Faults in one error."""


def check_shared(folder: Path, others: Iterable[Path] = (), patience: float = PATIENCE) -> int:
    """Make sure that every node of the connected cluster reads and writes one folder; one node alone is not asked.

    Args:
        folder: is written to; made where it is missing.
        others: paths that must be there on every node.
        patience: seconds for each of two questions.

    Returns:
        The number of nodes.

    Raises:
        LaunchError: nodes see something else, or do not answer; all of them are named, with what they saw.
    """
    nodes = living()
    if len(nodes) < 2:
        return len(nodes)
    probed = folder.absolute() / f".probe-{secrets.token_hex(8)}"
    with room_for("a probe of the shared folder", folder):
        probed.mkdir(parents=True)
    try:
        faults = list(_faults(nodes, probed, [str(path.absolute()) for path in others], patience))
    finally:
        shutil.rmtree(probed, ignore_errors=True)
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults[:_SHOWN])
        more = f"\n  and {len(faults) - _SHOWN} more" * (len(faults) > _SHOWN)
        raise LaunchError(
            f"{folder} is not one folder for all {len(nodes)} nodes of the cluster:\n{lines}{more}",
            hint="mount the project at this path on every node, from shared storage and writable for Ray's user; "
            "`sluiceway doctor` asks them again",
        )
    return len(nodes)


def _faults(nodes: list[Node], probed: Path, others: list[str], patience: float) -> Iterator[str]:
    """Yield what is wrong, a line for each node that differs."""
    texts = {node.id: secrets.token_hex(16) for node in nodes}
    wrote = ask(probe.write, {node: (str(probed), node.id, texts[node.id]) for node in nodes}, patience)
    there = {node.id: texts[node.id] for node, wrong in wrote.items() if wrong == ""}
    able = [node for node, wrong in wrote.items() if not isinstance(wrong, Silence)]
    read = ask(probe.read, {node: (str(probed), there, others) for node in able}, patience)
    names = {node.id: str(node) for node in nodes}
    # The folder is the driver's: a node that cannot write into it explains what others miss of that node.
    for node in nodes:
        said = wrote.get(node, "")
        if isinstance(said, Silence):
            yield f"{node}: {said.why}"
        elif said:
            yield f"{node}: {said}"
        elif node in read:
            yield from _unseen(node, read[node], names)


def _unseen(node: Node, answer: Mapping[str, str] | Silence, names: Mapping[str, str]) -> Iterator[str]:
    if isinstance(answer, Silence):
        yield f"{node}: {answer.why}"
        return
    for name, wrong in answer.items():
        what = f"the file that {names[name]} wrote" if name in names else name
        yield f"{node}: {what}: {wrong}"
