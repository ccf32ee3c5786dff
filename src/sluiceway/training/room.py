"""How many workers a cluster has room for."""

from collections.abc import Callable, Mapping
from typing import Any

import ray

from sluiceway.errors import NoRoom

Nodes = Mapping[str, Mapping[str, float]]
"""By node: amounts by resource."""


def totals() -> dict[str, dict[str, float]]:
    """Return what each living node has."""
    nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    return {node["NodeID"]: node["Resources"] for node in nodes() if node["Alive"]}


def available() -> dict[str, dict[str, float]]:
    """Return what of it nobody has taken."""
    asked: Callable[[], dict[str, dict[str, float]]] = ray._private.state.available_resources_per_node
    found = asked()
    return {name: found.get(name, {}) for name in totals()}


def room(nodes: Nodes, needed: Mapping[str, float], held: Mapping[str, int] | None = None) -> int:
    """Return how many workers some nodes take, those included that they hold.

    Args:
        nodes: what they have.
        needed: by a worker.
        held: workers by node.
    """
    amounts = {name: each for name, each in needed.items() if each}
    free = {
        name: min(int(node.get(resource, 0.0) // amount) for resource, amount in amounts.items())
        for name, node in nodes.items()
    }
    return sum(free.values()) + sum(count for name, count in (held or {}).items() if name in nodes)


def no_room(there: int, fewest: int, needed: Mapping[str, float]) -> NoRoom:
    """Build the error for a cluster that is too small.

    Args:
        there: workers that it has room for.
        fewest: that are needed.
        needed: by a worker.
    """
    return NoRoom(
        f"there is room for {there} of at least {fewest} workers that need {dict(needed)} each",
        hint="lower train.workers or train.cpus_per_worker, or give the cluster more nodes",
    )
