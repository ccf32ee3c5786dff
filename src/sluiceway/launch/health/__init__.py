"""What ``sluiceway doctor`` looks at; MLflow stands in ``tracking/health.py``."""
