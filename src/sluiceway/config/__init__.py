"""The typed form of ``params.yaml``: every option with its unit, its scope and the reason for its default.

A use case adds its own sections (``data``, ``encode``, ``model``, ``objective``); the rest is the same for all.
"""

from sluiceway.config.parsing import checked, faulty, options_of, parse, read_yaml
from sluiceway.config.pipeline import OWN_SECTIONS, TRACKED, PipelineEntry, PipelineParams, ProjectParams, params_type
from sluiceway.config.sections import (
    CostGateParams,
    DataGateParams,
    DataParams,
    Evaluate,
    Gates,
    ModelGateParams,
    ModelParams,
    Phase,
    Register,
    Section,
    Sharding,
    Split,
)
from sluiceway.config.train import Domain, Train, Tune

__all__ = [
    "OWN_SECTIONS",
    "TRACKED",
    "CostGateParams",
    "DataGateParams",
    "DataParams",
    "Domain",
    "Evaluate",
    "Gates",
    "ModelGateParams",
    "ModelParams",
    "Phase",
    "PipelineEntry",
    "PipelineParams",
    "ProjectParams",
    "Register",
    "Section",
    "Sharding",
    "Split",
    "Train",
    "Tune",
    "checked",
    "faulty",
    "options_of",
    "params_type",
    "parse",
    "read_yaml",
]
