"""Runs, lineage and the registry: the only importer of MLflow. ``serving`` alone never imports it."""
