"""Joins a modality with the targets that it can have."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from pydantic import create_model

from sluiceway.config import DataParams, ModelParams, Section
from sluiceway.data.answers import Answers
from sluiceway.data.table import Example, SplitName
from sluiceway.usecases.base import (
    Batch,
    Encoding,
    Evidence,
    Family,
    Item,
    Loaded,
    Outcomes,
    Panel,
    Reader,
    Serving,
    UseCase,
)
from sluiceway.usecases.targets.base import Modality, Target

if TYPE_CHECKING:
    from torch import Tensor, nn


def family(*pairs: tuple[Modality, Target]) -> Family:
    """Join each modality with its target; the first is the default."""
    return Family(pairs[0][0].name, {target.kind: compose(modality, target) for modality, target in pairs})


def compose(modality: Modality, target: Target) -> UseCase:
    """Join a modality with a target."""
    pair = _Pair(modality, target)
    return UseCase(
        name=modality.name,
        summary=f"{target.what.format(modality.noun)}: {modality.network} beside {modality.classical[target.kind]}",
        target=target.kind,
        data=modality.data,
        read=pair.read,
        measures=modality.measures,
        measure=modality.measure,
        expectations=modality.expectations,
        encode_params=modality.encode_params,
        fit=pair.fit,
        encode=pair.encode,
        models=modality.models,
        build=pair.build,
        objective=_objective(modality, target),
        losses=pair.losses,
        draws=modality.draws,
        augment=modality.augment,
        predict=pair.predict,
        metrics=target.metrics,
        baselines=pair.baselines,
        show=pair.show,
        serving=Serving(
            inputs={modality.noun: modality.asked},
            outputs=target.columns,
            params=target.params,
            packages=modality.packages,
            example=pair.example,
            answer=pair.answer,
        ),
        probe=target.probe or modality.probe,
        tidy=target.tidy,
        judge=target.judge,
        pretraining=modality.pretraining,
        features=modality.features,
        fingerprint=modality.fingerprint,
        parts=modality.parts,
        counts=modality.counts,
        estimator=modality.estimators.get(target.kind),
        thumbnail=modality.thumbnail,
        agree=target.agree,
    )


def _objective(modality: Modality, target: Target) -> type[Section]:
    """Put the options of the loss before those of the augmentation."""
    bases = cast("type[Section]", (modality.augmentation, target.objective))
    first, second = (
        (each.__doc__ or "").strip().partition("\n")[0] for each in (target.objective, modality.augmentation)
    )
    about = f"{first.rstrip('.')}, and {second[:1].lower()}{second[1:]}"
    return create_model("Objective", __base__=bases, __doc__=about)


@dataclass(frozen=True)
class _Pair:
    """The functions of a use case that need both halves."""

    modality: Modality
    target: Target

    def read(self, raw: Path, data: DataParams) -> Iterator[Example]:
        """List examples."""
        return self.modality.read(raw, data, self.target.kind)

    def fit(self, training: Iterable[Loaded], params: Section) -> Encoding:
        """Learn of contents and of targets in one reading."""
        targets: list[str | None] = []

        def noted() -> Iterator[Loaded]:
            for loaded in training:
                targets.append(loaded.example.target)
                yield loaded

        contents = self.modality.fit(noted(), params)
        return self.target.complete({**contents, **self.target.fit(targets)})

    def encode(self, examples: Iterable[Loaded], encoding: Encoding, split: SplitName) -> Iterator[Item]:
        """Give the arrays of each content and of its target."""
        for loaded in examples:
            wanted = self.target.encode(loaded.example, encoding)
            yield Item(loaded.row, {**self.modality.arrays(loaded.payload, encoding), **wanted})

    def build(self, params: ModelParams, encoding: Encoding) -> "nn.Module":
        """Make the network that training begins with, with as many outputs as the target needs."""
        return self.modality.build(params, encoding, self.target.outputs(encoding))

    def outputs(self, model: "nn.Module", batch: Batch) -> "Tensor":
        """Ask the network."""
        found: Tensor = model(*(batch[name] for name in self.modality.inputs))
        return found

    def losses(self, model: "nn.Module", batch: Batch, objective: Section) -> dict[str, "Tensor"]:
        """Return the figures of each item [B]."""
        return self.target.losses(self.outputs(model, batch), batch, objective, model.training)

    def predict(self, model: "nn.Module", batch: Batch, encoding: Encoding) -> Outcomes:
        """Answer a batch."""
        return self.target.predict(self.outputs(model, batch), batch, encoding)

    def baselines(
        self, reader: Reader, data: DataParams, encoding: Encoding, answers: Answers
    ) -> Mapping[str, Outcomes]:
        """Answer the test split by simpler learners."""
        return self.target.baselines(reader, data, encoding, answers, self.modality)

    def show(self, evidence: Evidence) -> list[Panel]:
        """Show results."""
        return self.target.show(evidence, self.modality)

    def example(self, payloads: Sequence[bytes]) -> list[dict[str, Any]]:
        """Make request rows from contents."""
        noun, as_text = self.modality.noun, self.modality.asked == "string"
        return [{noun: payload.decode() if as_text else payload} for payload in payloads]

    def answer(
        self, model: "nn.Module", encoding: Encoding, rows: list[dict[str, Any]], params: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Answer requests: contents as the bytes of their files, or as texts."""
        import torch

        asked = [row[self.modality.noun] for row in rows]
        contents = [each.encode() if isinstance(each, str) else each for each in asked]
        arrays = [self.modality.arrays(content, encoding) for content in contents]
        batch = {name: torch.from_numpy(np.stack([each[name] for each in arrays])) for name in self.modality.inputs}
        with torch.inference_mode():
            return self.target.answer(self.outputs(model, batch), batch, encoding, params)
