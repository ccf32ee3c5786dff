"""Jobs for tests: a description with much in it, and a small project that is kept as a user keeps one."""

from sluiceway.launch.jobs import Job

PLAIN = Job.model_validate({"pipeline": "digits", "schedule": {"cron": "30 2 * * 1-5"}, "budget": {"hours": 2.0}})
FULL = Job.model_validate(
    {
        "pipeline": "digits",
        "ref": "v1.2",
        "where": "kubernetes",
        "schedule": {"cron": "0 3 1 * MON", "zone": "Europe/Berlin"},
        "resources": {"workers": 4, "gpus": 1, "cpus": 8, "memory": "32Gi"},
        "budget": {"hours": 6.0},
        "grace": 90,
        "image": "registry.example.org/sluiceway:0.1.0",
        "secrets": ["SLACK_WEBHOOK", "MLFLOW_TRACKING_PASSWORD"],
        "notify": {"webhook": "SLACK_WEBHOOK"},
        "kubernetes": {"queue": "nightly", "priority_class": "batch", "node_selector": {"gpu": "a100"}},
        "slurm": {"partition": "gpu", "account": "vision", "nodes": 2, "setup": ["module load cuda"]},
    }
)
