"""MLflow for a team: started, its people, its backups. It knows nothing of pipelines, and needs few packages."""
