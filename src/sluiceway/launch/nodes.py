"""The nodes of the Ray cluster that this process is connected to: who they are, and one question put to all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluiceway.launch import probe


@dataclass(frozen=True, slots=True)
class Node:
    """A living node."""

    id: str
    host: str
    address: str

    def __str__(self) -> str:
        return self.host if self.host == self.address else f"{self.host} ({self.address})"


@dataclass(frozen=True, slots=True)
class Silence:
    """Why a node gave no answer."""

    why: str


def living() -> list[Node]:
    """Return the living nodes of the cluster, by name."""
    import ray

    listed: Callable[[], list[dict[str, Any]]] = ray.nodes
    found = (
        Node(node["NodeID"], node["NodeManagerHostname"], node["NodeManagerAddress"])
        for node in listed()
        if node["Alive"]
    )
    return sorted(found, key=lambda node: (node.host, node.address, node.id))


def ask(
    question: Callable[..., Any], arguments: Mapping[Node, tuple[Any, ...]], patience: float
) -> dict[Node, Any | Silence]:
    """Run a function of :mod:`~sluiceway.launch.probe` on nodes, one call on each, at the same time.

    Args:
        question: the function.
        arguments: of it, by node.
        patience: seconds that all of them are given together.

    Returns:
        What each node answered, or why it did not; nodes that were lost meanwhile are left out.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    pickling: Any = ray.cloudpickle
    pickling.register_pickle_by_value(probe)
    try:
        # Without CPUs it need not wait for a place, also where a training fills the cluster.
        remote: Any = ray.remote(num_cpus=0, max_retries=0)(question)
        calls = {
            remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(*each): node
            for node, each in arguments.items()
        }
    finally:
        pickling.unregister_pickle_by_value(probe)
    done, waiting = ray.wait(list(calls), num_returns=len(calls), timeout=patience)
    answers: dict[Node, Any | Silence] = {calls[each]: Silence(f"no answer within {patience:g} s") for each in waiting}
    for each in waiting:
        ray.cancel(each, force=True)
    for each in done:
        try:
            answers[calls[each]] = ray.get(each)
        except ray.exceptions.RayError as error:
            answers[calls[each]] = Silence(" ".join(str(error).split())[:300])
    here = set(living())
    return {node: answer for node, answer in answers.items() if node in here}
