"""Runs, lineage and the registry: the only importer of MLflow. ``serving`` takes it only to refuse a request."""
