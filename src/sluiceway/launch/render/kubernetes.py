"""A job as a RayJob of KubeRay, and a schedule that creates one.

The project - a git clone with DVC's cache, checkpoints and records - lies on a volume that all pods mount, so a run
whose pods were preempted goes on where it was. The default schedule is a CronJob, whose policy forbids
overlaps and whose runs Kueue sees; a RayCronJob is the option.
"""

import copy
import io
import json
import shlex
from importlib.metadata import version
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from sluiceway.errors import ConfigError
from sluiceway.launch.jobs import Job
from sluiceway.launch.rayjob import LONGEST
from sluiceway.launch.records import RAY_CLUSTER
from sluiceway.launch.render.place import SLACK, Place, schedule_of

_START = 900
"""Seconds that pulling the image and starting the pods may take, beside the job's budget."""
_LATE = 3600
"""Seconds after which a missed start is left out, until the next one."""
_WAITING = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
"""Of pods that start something and wait for it."""
_RANDOM = 5
"""Letters that Kubernetes, or KubeRay for a RayCronJob, ends a name with, behind a dash."""
_DISRUPTED = {"type": "DisruptionTarget", "status": "True"}
"""The condition of a pod that was ended because its node goes, or somebody more important comes."""


def render(name: str, job: Job, place: Place) -> dict[str, str]:
    """Return the RayJob, and the schedule where the job has one. The place is the volume's, and not here.

    Raises:
        ConfigError: the job names no image.
    """
    if job.image is None:
        raise ConfigError(f"job {name!r} names no image", hint="infra/Dockerfile builds one: `image: name:tag`")
    files = {f"{name}-rayjob.yaml": _yaml(_rayjob(name, job))}
    if job.schedule:
        several = [_ray_cron_job(name, job)] if job.kubernetes.schedule_with == "RayCronJob" else _cron_job(name, job)
        files[f"{name}-schedule.yaml"] = _yaml(*several)
    return files


def _rayjob(name: str, job: Job) -> dict[str, Any]:
    metadata = _metadata(name, job)
    # Every run is an object of its own.
    metadata["generateName"] = f"{metadata.pop('name')[: LONGEST - _RANDOM - 1].rstrip('-')}-"
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "spec": _spec(name, job)}


def _spec(name: str, job: Job) -> dict[str, Any]:
    spec: dict[str, Any] = {
        # A RayJob tells exit codes apart no more than success from failure, and a closed gate is no failure.
        "entrypoint": shlex.join(
            ["env", f"--chdir={job.kubernetes.project}", "sluiceway", "job", "run", name, "--closed-is-ok"]
        ),
        "submissionMode": "K8sJobMode",
        # A lost or preempted cluster: the next one goes on from the checkpoint. Crashes are `retries`, on the spot.
        "backoffLimit": job.kubernetes.lost_clusters,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": 60,
    }
    if job.kubernetes.start_minutes:
        spec["preRunningDeadlineSeconds"] = job.kubernetes.start_minutes * 60
    if job.budget.hours:
        spec["activeDeadlineSeconds"] = round(job.budget.hours * 3600) + job.grace + _START
    container = {"name": "ray-job-submitter", **_container(job, _WAITING)}
    submitter = {"restartPolicy": "Never", **_pod(job), "containers": [container]}
    spec["submitterPodTemplate"] = {"metadata": _pod_metadata(name, job), "spec": submitter}
    spec["rayClusterSpec"] = _cluster(name, job)
    return spec


def _cluster(name: str, job: Job) -> dict[str, Any]:
    """One worker trains where the job itself runs; more have pods of their own beside it."""
    resources = job.resources
    alone = resources.workers == 1
    one = {"cpus": resources.cpus, "memory": resources.memory, "gpus": resources.gpus}
    head = _ray_pod(name, job, "ray-head", one if alone else {**one, "gpus": 0})
    head["spec"]["containers"][0]["lifecycle"] = {
        "preStop": {"exec": {"command": _stop(job, "cancel", "--requeue", name)}}
    }
    cluster: dict[str, Any] = {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token", "secretName": job.kubernetes.auth_secret},
        "headGroupSpec": {
            "rayStartParams": {"dashboard-host": "0.0.0.0", **({} if alone else {"num-cpus": "0"})},  # noqa: S104
            "template": head,
        },
    }
    if not alone:
        group = {"groupName": "workers", "replicas": resources.workers, "minReplicas": resources.workers}
        group |= {"maxReplicas": resources.workers, "rayStartParams": {}}
        worker = _ray_pod(name, job, "ray-worker", one)
        worker["spec"]["containers"][0]["lifecycle"] = {"preStop": {"exec": {"command": _stop(job, "leave", name)}}}
        cluster["workerGroupSpecs"] = [{**group, "template": worker}]
    (head if alone else worker)["spec"].update(_nodes(job))
    return cluster


def _nodes(job: Job) -> dict[str, Any]:
    """Which nodes workers go to."""
    nodes: dict[str, Any] = {}
    if job.kubernetes.node_selector:
        nodes["nodeSelector"] = dict(job.kubernetes.node_selector)
    if job.kubernetes.tolerations:
        nodes["tolerations"] = [each.model_dump(exclude_none=True) for each in job.kubernetes.tolerations]
    return nodes


def _stop(job: Job, *words: str) -> list[str]:
    """Tell of the end before Ray hears of it, and wait for the checkpoint: the head the job, a worker its node's."""
    return ["env", f"--chdir={job.kubernetes.project}", "sluiceway", "job", *words]


def _ray_pod(name: str, job: Job, container: str, resources: dict[str, Any]) -> dict[str, Any]:
    shared = [{"name": "project", "mountPath": job.kubernetes.project}, {"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108
    secrets = [
        {"name": each, "valueFrom": {"secretKeyRef": {"name": job.kubernetes.secret, "key": each}}}
        for each in job.secrets
    ]
    # What Ray itself would wait for at SIGTERM, the hook has waited for.
    plain = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0", **job.env}
    # Its name is that of the RayJob and a suffix: what failed by itself is not trained again for the same RayJob.
    env = [*({"name": key, "value": value} for key, value in plain.items()), *secrets]
    env.append(_label_of_pod(RAY_CLUSTER, "ray.io/cluster"))
    asked = _resources(job, resources)
    main = {"name": container, **_container(job, asked), "volumeMounts": shared, "env": env}
    spec = {
        **job.kubernetes.pod,
        **_pod(job),
        "terminationGracePeriodSeconds": job.grace + SLACK,
        "containers": [main],
        "volumes": [
            {"name": "project", "persistentVolumeClaim": {"claimName": job.kubernetes.claim}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
        ],
    }
    if job.kubernetes.pod_account:
        spec["serviceAccountName"] = job.kubernetes.pod_account
    return {"metadata": _pod_metadata(name, job), "spec": spec}


def _pod(job: Job) -> dict[str, Any]:
    user = job.kubernetes.user
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            # Else each start goes through the whole volume, and makes the files of DVC's cache writable: hashed anew.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if job.kubernetes.priority_class:
        pod["priorityClassName"] = job.kubernetes.priority_class
    if job.kubernetes.pull_secrets:
        pod["imagePullSecrets"] = [{"name": each} for each in job.kubernetes.pull_secrets]
    return pod


def _resources(job: Job, resources: dict[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {"cpu": str(resources["cpus"]), "memory": resources["memory"]}
    if resources.get("gpus"):
        asked[job.kubernetes.gpu] = str(resources["gpus"])
    return {"requests": asked, "limits": dict(asked)}


def _container(job: Job, resources: dict[str, Any]) -> dict[str, Any]:
    return {
        "image": job.image,
        "resources": copy.deepcopy(resources),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def _label_of_pod(variable: str, label: str) -> dict[str, Any]:
    """Return a variable that holds what Kubernetes or KubeRay has labelled the pod with."""
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{label}']"}}}


def _cron_job(name: str, job: Job) -> list[dict[str, Any]]:
    """The CronJob, the RayJob that it creates and waits for, and the right to do so."""
    metadata, kubernetes, schedule = _metadata(name, job), job.kubernetes, schedule_of(name, job)
    plain = {key: value for key, value in metadata.items() if key != "labels"} | {"labels": _labels(name, job)}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": plain}
    config["data"] = {"rayjob.json": LiteralScalarString(json.dumps(_rayjob(name, job), indent=1) + "\n")}
    container = {
        "name": "create",
        **_container(job, _WAITING),
        "env": [_label_of_pod("JOB_NAME", "job-name"), _label_of_pod("JOB_UID", "controller-uid")],
        "command": ["python", "-m", "sluiceway.launch.rayjob", "/job/rayjob.json"],
        "volumeMounts": [{"name": "job", "mountPath": "/job", "readOnly": True}],
    }
    pod = {
        **_pod(job),
        "automountServiceAccountToken": True,
        "serviceAccountName": kubernetes.service_account,
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "job", "configMap": {"name": plain["name"]}}],
    }
    spec: dict[str, Any] = {
        "schedule": schedule.cron,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": _LATE,
        "jobTemplate": {
            "spec": {
                "backoffLimit": 0,
                # A pod that only waits may be moved: the next one finds the RayJob by its name, and waits on.
                "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [_DISRUPTED]}]},
                "template": {"metadata": _pod_metadata(name, job), "spec": pod},
            },
        },
    }
    if schedule.zone:
        spec["timeZone"] = schedule.zone
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": plain, "spec": spec}
    return [*_rights(name, job), config, cron]


def _rights(name: str, job: Job) -> list[dict[str, Any]]:
    account, namespace = job.kubernetes.service_account, job.kubernetes.namespace
    metadata = {
        "name": account,
        "namespace": namespace,
        "labels": {**job.kubernetes.labels, "app.kubernetes.io/name": "sluiceway"},
    }
    rule = {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    group = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": dict(metadata)},
        {"apiVersion": group, "kind": "Role", "metadata": dict(metadata), "rules": [rule]},
        {
            "apiVersion": group,
            "kind": "RoleBinding",
            "metadata": dict(metadata),
            "roleRef": role,
            "subjects": [subject],
        },
    ]


def _ray_cron_job(name: str, job: Job) -> dict[str, Any]:
    schedule, metadata = schedule_of(name, job), _metadata(name, job)
    if (over := len(metadata["name"]) + 1 + _RANDOM - LONGEST) > 0:
        raise ConfigError(
            f"the name of job {name!r} is {over} letters too long for a RayCronJob: KubeRay would refuse its RayJobs",
            hint=f"call it {name[:-over].rstrip('-')!r}, or write schedule_with: CronJob",
        )
    spec: dict[str, Any] = {"schedule": schedule.cron, "jobTemplate": _spec(name, job)}
    if schedule.zone:
        spec["timeZone"] = schedule.zone
    return {"apiVersion": "ray.io/v1", "kind": "RayCronJob", "metadata": metadata, "spec": spec}


def _metadata(name: str, job: Job) -> dict[str, Any]:
    labels = _labels(name, job)
    if job.kubernetes.queue:
        labels["kueue.x-k8s.io/queue-name"] = job.kubernetes.queue
    return {"name": f"sluiceway-{name}", "namespace": job.kubernetes.namespace, "labels": labels}


def _pod_metadata(name: str, job: Job) -> dict[str, Any]:
    annotations = {"annotations": dict(job.kubernetes.annotations)} if job.kubernetes.annotations else {}
    return {"labels": _labels(name, job), **annotations}


def _labels(name: str, job: Job) -> dict[str, str]:
    return {**job.kubernetes.labels, "app.kubernetes.io/name": "sluiceway", "sluiceway/job": name}


def _yaml(*documents: dict[str, Any]) -> str:
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.explicit_start = len(documents) > 1
    yaml.width = 100_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.ignore_aliases = lambda data: True
    stream = io.StringIO()
    yaml.dump_all(documents, stream) if len(documents) > 1 else yaml.dump(documents[0], stream)
    return stream.getvalue()
