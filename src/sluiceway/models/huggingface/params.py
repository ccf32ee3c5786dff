"""What can be set of a network of ``transformers``: the same for all use cases."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from sluiceway.config import ModelParams, Section


class LoraParams(Section):
    """Weights stay as they are, and small matrices beside them are learned (Hu et al., LoRA, 2021)."""

    rank: int = Field(8, ge=1)
    """Rank of the matrices that are learned."""
    alpha: float = Field(16.0, gt=0)
    """What they say is multiplied by ``alpha / rank``."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of their inputs that is dropped in training."""
    target_modules: list[str] = Field(default_factory=list)
    """Layers that get them, by the ends of their names (``[q_proj, v_proj]``); empty: every linear layer but the
    head."""


class HuggingFaceParams(ModelParams):
    """An architecture of ``transformers``: from a configuration, or with pretrained weights."""

    name: Literal["huggingface"] = "huggingface"
    """Which architecture; ``config`` or ``pretrained`` says the rest. Needs the extra ``sluiceway[huggingface]``."""
    config: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of the architecture, in the words of ``transformers``: ``{model_type: vit, hidden_size: 96, ...}``. Sizes
    that follow from the data, such as pixels, labels and vocabulary, are filled in. With ``pretrained``: what is
    otherwise than there."""
    pretrained: str | None = None
    """Folder with ``config.json`` and ``*.safetensors``, from the project's root, or a name on the hub; null: training
    begins with random weights."""
    revision: str | None = None
    """Which weights exactly. On the hub the commit, 40 hexadecimal digits, which must be given; of a folder the SHA-256
    that ``train`` tells, which may be given: DVC then sees when other weights are meant, and others are refused."""
    freeze: int | list[str] = 0
    """What stays as it is: the first so many layers with all that is before them, or patterns of parameters' names
    (``["vit.embeddings.*"]``)."""
    lora: LoraParams | None = None
    """Learn small matrices beside the weights instead of the weights; null: learn the weights."""

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if isinstance(self.freeze, int) and self.freeze < 0:
            raise ValueError(f"freeze {self.freeze} is below 0: give the number of layers that stay, or patterns")
        if self.pretrained is None:
            if not isinstance(self.config.get("model_type"), str):
                raise ValueError(
                    "config.model_type is missing: name an architecture of transformers, such as vit, gpt2 or "
                    "audio-spectrogram-transformer, or give pretrained"
                )
            idle = [name for name in ("revision", "freeze", "lora") if getattr(self, name)]
            if idle:
                raise ValueError(f"{idle[0]} is given without pretrained: random weights must be learned, all of them")
        return self

    @property
    def packages(self) -> tuple[str, ...]:
        """What answering takes; the adapters of LoRA are merged by then."""
        return ("transformers",)

    def placed(self, root: Path) -> Self:
        """Write the folder of the pretrained weights out, for workers that run elsewhere."""
        folder = root / (self.pretrained or "")
        return self.model_copy(update={"pretrained": str(folder)}) if self.pretrained and folder.is_dir() else self

    def origin(self, root: Path) -> str:
        """Digest of the weights that training begins with.

        Raises:
            ConfigError: they are not there, not safe to read, or others than ``revision`` says; or the packages that
                this takes are not installed.
        """
        from sluiceway.models.huggingface.library import library
        from sluiceway.models.huggingface.source import source_of

        library(lora=self.lora is not None)
        placed = self.placed(root)
        return source_of(placed.pretrained, self.revision).digest if placed.pretrained else ""
