"""The options of a job on Kubernetes: what its pods are, where they go, and how long they are waited for."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sluiceway.config import Section


class Toleration(Section):
    """A taint of nodes that pods bear, in Kubernetes' words."""

    key: str | None = None
    """Of the taint; null: of any."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Whether the taint has this value, or any."""
    value: str | None = None
    """Of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Of the taint; null: any."""

    @model_validator(mode="after")
    def _is_one(self) -> "Toleration":
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("a toleration that asks for a value is operator: Equal, one for any value has none")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("a toleration without a key bears every taint: write operator: Exists if that is meant")
        return self


_POD_IS_MADE_OF = {
    "automountServiceAccountToken",
    "containers",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "restartPolicy",
    "securityContext",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
    "volumes",
}
"""What of a pod's spec the renderer writes itself."""


class Kubernetes(Section):
    """A Kubernetes cluster with KubeRay."""

    namespace: str = "default"
    """Where everything is made."""
    claim: str = "sluiceway"
    """PersistentVolumeClaim (ReadWriteMany) that holds the project, a git clone with DVC's cache and checkpoints."""
    project: str = "/project"
    """Where the claim is mounted."""
    secret: str = "sluiceway"  # noqa: S105 - the name of an object
    """Secret whose keys are the job's secrets."""
    auth_secret: str = "ray-auth"  # noqa: S105 - the name of an object
    """Secret with the cluster's token, under the key ``auth_token``."""
    service_account: str = "sluiceway"
    """May create and read RayJobs; the schedule uses it."""
    queue: str | None = None
    """Kueue's LocalQueue; null: no Kueue."""
    priority_class: str | None = None
    """Of all pods."""
    gpu: str = "nvidia.com/gpu"
    """Name of the GPU resource."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of the nodes that workers go to."""
    tolerations: list[Toleration] = Field(default_factory=list)
    """Taints of the nodes that workers go to: GPU pools mostly have one."""
    pull_secrets: list[str] = Field(default_factory=list)
    """Secrets of a private registry, for the image."""
    pod_account: str | None = None
    """ServiceAccount of the cluster's pods, for a cloud's storage without keys; null: the namespace's default."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Of all pods."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Of all objects and pods: whose costs they are, Kueue's priority, what a cloud's identities ask for."""
    pod: dict[str, Any] = Field(default_factory=dict)
    """More of the training pods' spec, in Kubernetes' words, such as ``{runtimeClassName: nvidia}`` or ``affinity``."""
    start_minutes: int | None = Field(60, ge=1)
    """Minutes that a cluster may take to start, for which Kueue's waiting does not count; an image that there is not
    would else hold up all later runs. null: no limit."""
    schedule_with: Literal["CronJob", "RayCronJob"] = "CronJob"
    """RayCronJob is alpha, has no concurrency policy, and Kueue does not see it."""
    lost_clusters: int = Field(5, ge=0)
    """How often a run whose cluster was lost or preempted is begun again; it goes on from its checkpoint."""
    user: int = Field(10001, ge=1)
    """Of the processes in the image; never root."""

    @field_validator("pod")
    @classmethod
    def _is_not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if ours := sorted(_POD_IS_MADE_OF & value.keys()):
            raise ValueError(f"{', '.join(ours)} is made from other options, and cannot be written here")
        return value
