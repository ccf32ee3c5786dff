"""Networks of ``transformers``: tiny ones, made on the spot, learn, are kept, and answer alike in another process."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from torch import Tensor

from projects import DIGITS_PARAMS, DIGITS_SUITE, ROOT, Project, make_project, suite
from sluiceway.config import ModelParams, PipelineParams, parse
from sluiceway.errors import ConfigError
from sluiceway.models.huggingface.borrowed import Borrowed
from sluiceway.models.huggingface.source import digest_of
from sluiceway.models.settling import Settles
from sluiceway.tracking.export import REQUIREMENTS, requirements
from sluiceway.training import driver
from sluiceway.training.prepare import prepare
from sluiceway.usecases import find, saved
from sluiceway.usecases.base import Encoding, UseCase
from sluiceway.usecases.pipeline import Pipeline
from sluiceway.usecases.text_generation.params import TextEncoding
from support import loaded

pytest.importorskip("transformers")

DOCUMENT = ROOT / "docs" / "huggingface.md"

_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
VIT = {"model_type": "vit", "patch_size": 4, **_SMALL}
RESNET = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
AST = {
    "model_type": "audio-spectrogram-transformer",
    **{"patch_size": 4, "frequency_stride": 4, "time_stride": 4},
    **_SMALL,
}
WHISPER = {
    "model_type": "whisper",
    **{"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64},
    **{"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 64},
}
WAV2VEC2_BERT = {"model_type": "wav2vec2-bert", "output_hidden_size": 32, **_SMALL}
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2}
LLAMA = {"model_type": "llama", **_SMALL}
BERT = {"model_type": "bert", **_SMALL}

IMAGES: Encoding = {"size": 8, "channels": 1, "mean": [0.3], "std": [0.4]}
SOUNDS: Encoding = {"bands": 16, "frames": 21, "mean": [0.3] * 16, "std": [0.2] * 16}
TOKENS: Encoding = {"vocabulary": 60, "end": 0, "context": 17}
WORDS: Encoding = {"vocabulary": 60, "longest": 9, "padding": 0, "end": 0}
ITEMS: Encoding = {"items": list("abcdefghij"), "context": 8}


def pixels(count: int = 12) -> Tensor:
    dice = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 1, 8, 8), generator=dice, dtype=torch.uint8)


def levels(count: int = 12) -> Tensor:
    dice = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 16, 21), generator=dice, dtype=torch.uint8)


def numbers(high: int, *shape: int) -> Tensor:
    return torch.randint(1, high, shape, generator=torch.Generator().manual_seed(3))


def padded(tokens: Tensor) -> Tensor:
    """Let nothing stand behind the first few of each row, of one more than of the row before."""
    lengths = torch.arange(len(tokens)) % tokens.shape[1] + 1
    return tokens.masked_fill(torch.arange(tokens.shape[1]) >= lengths[:, None], 0)


@dataclass(frozen=True)
class Case:
    """A use case with a tiny network and a batch for it."""

    usecase: str
    target: str | None
    config: dict[str, Any]
    encoding: Encoding
    batch: dict[str, Tensor]
    inputs: tuple[str, ...]

    @property
    def found(self) -> UseCase:
        return find(self.usecase, ROOT, self.target)


PAIRS = [
    {"model_type": "t5", "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2},
    {
        **{"model_type": "marian", "d_model": 32, "encoder_layers": 1, "decoder_layers": 1},
        **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64},
    },
]
THREE = {"classes": ["a", "b", "c"]}
CASES = {
    "image-class": Case(
        "image", "class", VIT, {**IMAGES, **THREE}, {"image": pixels(), "target": torch.arange(12) % 3}, ("image",)
    ),
    "image-class-resnet": Case(
        "image", "class", RESNET, {**IMAGES, **THREE}, {"image": pixels(), "target": torch.arange(12) % 3}, ("image",)
    ),
    "image-classes": Case(
        "image",
        "classes",
        VIT,
        {**IMAGES, "labels": ["a", "b"]},
        {"image": pixels(), "target": numbers(3, 12, 2) - 1},
        ("image",),
    ),
    "image-number": Case(
        "image",
        "number",
        VIT,
        {**IMAGES, "middle": 0.0, "spread": 1.0},
        {"image": pixels(), "standard": torch.linspace(-1, 1, 12)},
        ("image",),
    ),
    "driving": Case(
        "driving",
        None,
        VIT,
        {"height": 8, "width": 12, "mean": [0.3] * 3, "std": [0.4] * 3, "steering_std": 0.2},
        {"image": pixels(12).expand(12, 3, 8, 8)[..., [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7]].contiguous()}
        | {"target": torch.linspace(-0.5, 0.5, 12)},
        ("image",),
    ),
    **{
        f"speech-{config['model_type']}": Case(
            "speech",
            "class",
            config,
            {**SOUNDS, **THREE},
            {"levels": levels(), "target": torch.arange(12) % 3},
            ("levels",),
        )
        for config in (AST, WHISPER, WAV2VEC2_BERT)
    },
    **{
        f"text-{config['model_type']}": Case(
            "text_generation",
            None,
            config,
            TOKENS,
            {"tokens": numbers(60, 4, 17), "scored": torch.ones(4, 16), "bytes": torch.full((4,), 32)},
            ("tokens",),
        )
        for config in (GPT2, LLAMA, BERT)
    },
    **{
        f"texts-{config['model_type']}": Case(
            "text",
            "class",
            config,
            {**WORDS, **THREE},
            {"tokens": padded(numbers(61, 12, 9)), "target": torch.arange(12) % 3},
            ("tokens",),
        )
        for config in (BERT, GPT2)
    },
    "recommendation-gpt2": Case(
        "recommendation",
        None,
        GPT2,
        ITEMS,
        {"history": numbers(11, 4, 8), "next": numbers(11, 4, 8)},
        ("history",),
    ),
    **{
        f"translation-{config['model_type']}": Case(
            "translation",
            None,
            config,
            {"vocabulary": 40, "longest": 8},
            {"source": numbers(40, 4, 8), "target": numbers(40, 4, 9), "bytes": torch.full((4,), 32)},
            ("source", "target"),
        )
        for config in PAIRS
    },
}


def section(case: Case, **model: Any) -> ModelParams:
    """Read a model section as a pipeline's parameters do."""
    document = {"usecase": case.usecase, "model": {"name": "huggingface", **model}}
    params: PipelineParams = parse(case.found.params, document, Path("params.yaml"))
    return params.model


def built(case: Case, seed: int = 0, **model: Any) -> Borrowed:
    torch.manual_seed(seed)
    network = case.found.build(section(case, **model), case.encoding)
    assert isinstance(network, Borrowed)
    assert isinstance(network, Settles)
    return network


def learn(case: Case, network: Borrowed, steps: int = 12) -> list[float]:
    """Take some steps on one batch, and return the losses."""
    objective = parse(
        case.found.params, {"usecase": case.usecase, "model": {"name": "huggingface", **GIVEN}}, Path("x")
    )
    optimizer = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], lr=0.01)
    curve = []
    network.train()
    for _ in range(steps):
        optimizer.zero_grad()
        figures = case.found.losses(network, case.batch, objective.objective)
        assert figures["loss"].shape == (len(next(iter(case.batch.values()))),)
        figures["loss"].mean().backward()
        optimizer.step()
        curve.append(float(figures["loss"].detach().mean()))
    assert optimizer.state.keys() == {each for each in network.parameters() if each.requires_grad}
    return curve


GIVEN = {"config": VIT}


def answers(case: Case, network: torch.nn.Module) -> Tensor:
    with torch.inference_mode():
        found: Tensor = network.eval()(*(case.batch[name] for name in case.inputs))
    return found


def keep(folder: Path, case: Case, network: Borrowed) -> None:
    """Write a model folder as ``train`` does."""
    folder.mkdir(parents=True)
    save_file(network.settled(network.state_dict()), folder / "trained.safetensors")
    kept = type(section(case, **GIVEN)).model_validate(network.architecture)
    saved.save(
        folder,
        weights=folder / "trained.safetensors",
        usecase=case.usecase,
        target=case.target or case.found.target,
        model=kept,
        encoding=case.encoding,
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks so small are done before a second thread has woken up."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Every use case that they fit.


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Tensor]]:
    """Folder and answers of a network for each case, after it has learned something."""
    found = {}
    for name, case in CASES.items():
        network = built(case, config=case.config)
        curve = learn(case, network, steps=30)
        assert np.mean(curve[-3:]) < 0.9 * curve[0], (name, curve)
        folder = tmp_path_factory.mktemp("kept") / name
        keep(folder, case, network)
        found[name] = folder, answers(case, network)
    return found


_FRESH = """
import json, sys
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
from sluiceway.usecases.saved import load
found = {}
for name, (folder, given) in json.load(open(sys.argv[1])).items():
    inputs = load_file(given)
    network = load(Path(folder)).model
    with torch.inference_mode():
        found[name] = network(*(inputs[str(at)] for at in range(len(inputs)))).contiguous()
save_file(found, sys.argv[2])
"""


def test_what_was_learned_is_answered_by_another_process_without_a_network(
    learned: dict[str, tuple[Path, Tensor]], tmp_path: Path
) -> None:
    todo = {}
    for name, (folder, _) in learned.items():
        case, given = CASES[name], tmp_path / f"{name}.safetensors"
        save_file({str(at): case.batch[field] for at, field in enumerate(case.inputs)}, given)
        todo[name] = str(folder), str(given)
    (tmp_path / "todo.json").write_text(json.dumps(todo), encoding="utf-8")
    path = f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-c", _FRESH, str(tmp_path / "todo.json"), str(tmp_path / "found.safetensors")]
    subprocess.run(
        command, env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}, check=True
    )
    found = load_file(tmp_path / "found.safetensors")
    assert found.keys() == learned.keys() == CASES.keys()
    for name, (_, expected) in learned.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-5)


def test_a_kept_model_speaks_of_nothing_that_lies_elsewhere(learned: dict[str, tuple[Path, Tensor]]) -> None:
    for folder, _ in learned.values():
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))["model"]
        assert about["pretrained"] is None
        assert about["lora"] is None
        assert str(folder) not in json.dumps(about)


TINY = {
    "texts-bert": [
        {"model_type": "roberta", **_SMALL},
        {"model_type": "distilbert", "dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64},
    ],
    "image-class": [
        {
            "model_type": "swin",
            "embed_dim": 8,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "patch_size": 2,
            "window_size": 2,
        },
        {"model_type": "convnext", "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "patch_size": 1},
        {"model_type": "dinov2", "patch_size": 4, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    ],
    "text-gpt2": [
        {"model_type": "qwen3", **_SMALL, "num_key_value_heads": 2, "head_dim": 16},
        {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 1},
    ],
}


@pytest.mark.parametrize(("name", "config"), [(name, config) for name, each in TINY.items() for config in each])
def test_other_architectures_fit_too(name: str, config: dict[str, Any]) -> None:
    network = built(CASES[name], config=config)
    learn(CASES[name], network, steps=1)
    again = built(CASES[name], 1, config=network.architecture["config"])
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(answers(CASES[name], again), answers(CASES[name], network))


def test_the_configurations_of_the_docs_can_be_built() -> None:
    lines = re.findall(r"^\| `(\w+)`.*\| `config: (\{.*\})` \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    case_of = {case.usecase: case for case in reversed(CASES.values())}
    encodings = {
        "image": {"size": 28},
        "driving": {"height": 66, "width": 200},
        "speech": {"bands": 64, "frames": 100, "mean": [0.3] * 64, "std": [0.2] * 64},
    }
    assert {usecase for usecase, _ in lines} == case_of.keys()
    for usecase, text in lines:
        case = case_of[usecase]
        encoding = {**case.encoding, **encodings.get(usecase, {})}
        built(replace(case, encoding=encoding), config=YAML(typ="safe", pure=True).load(text))


def test_the_first_item_is_never_the_next_one() -> None:
    case = CASES["recommendation-gpt2"]
    network = built(case, config=GPT2).eval()
    history = case.batch["history"]
    asked = torch.zeros_like(history, dtype=torch.bool)
    asked[:, 3] = True
    every, some = network(history), network(history, asked)
    assert torch.isinf(every[..., 0]).all()
    torch.testing.assert_close(some, every[:, 3])


def test_the_same_seed_is_the_same_network() -> None:
    case = CASES["image-class"]
    one, same, other = (built(case, seed, config=VIT).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["network.classifier.weight"], other["network.classifier.weight"])


def test_a_weight_in_two_places_is_kept_once(tmp_path: Path) -> None:
    network = built(CASES["text-gpt2"], config=GPT2)
    weights = network.state_dict()
    assert "network.lm_head.weight" not in weights
    save_file(weights, tmp_path / "weights.safetensors")  # refuses shared memory
    other = built(CASES["text-gpt2"], 1, config=GPT2)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(other.network.lm_head.weight, network.network.lm_head.weight)
    assert other.network.lm_head.weight is other.network.transformer.wte.weight


def test_what_no_answer_depends_on_is_left_alone() -> None:
    network = built(CASES["speech-wav2vec2-bert"], config=WAV2VEC2_BERT)
    idle = [name for name, each in network.named_parameters() if not each.requires_grad]
    assert idle == ["network.wav2vec2_bert.masked_spec_embed"]


def test_masks_that_numpy_draws_are_off_and_cannot_be_had() -> None:
    case = CASES["speech-wav2vec2-bert"]
    assert built(case, config=WAV2VEC2_BERT).network.config.apply_spec_augment is False
    with pytest.raises(ConfigError, match=r"apply_spec_augment of wav2vec2-bert is True.*NumPy"):
        built(case, config={**WAV2VEC2_BERT, "apply_spec_augment": True})


def test_moments_are_answered_and_padding_is_heard_by_none() -> None:
    """Two outputs a second frame, as networks of ours answer; CTC learns from them."""
    from torch.nn.functional import ctc_loss

    from sluiceway.models.huggingface.spectrograms import build_by_moment

    params = section(CASES["speech-wav2vec2-bert"], config=WAV2VEC2_BERT)
    torch.manual_seed(0)
    network = build_by_moment(params, frames=21, outputs=5, mean=SOUNDS["mean"], std=SOUNDS["std"]).eval()  # type: ignore[arg-type]
    sounds, frames = levels(4), torch.tensor([21, 14, 13, 4])
    with torch.inference_mode():
        found = network(sounds, frames)
        louder = sounds.clone()
        louder[1, :, 14:] = 255
        assert found.shape == (4, 11, 5)
        torch.testing.assert_close(network(louder, frames)[1, :7], found[1, :7], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network(sounds[3:], frames[3:])[0, :2], found[3, :2], rtol=1e-4, atol=1e-5)
    optimizer = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], lr=0.01)
    curve = []
    for _ in range(15):
        said = network.train()(sounds, frames).log_softmax(2).transpose(0, 1)
        loss = ctc_loss(
            said, torch.tensor([[1, 2], [3, 4], [1, 3], [2, 0]]), (frames + 1) // 2, torch.tensor([2, 2, 2, 1])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(float(loss.detach()))
    assert curve[-1] < 0.7 * curve[0]


@pytest.mark.parametrize("config", PAIRS, ids=lambda config: config["model_type"])
def test_pairs_are_written_token_by_token_as_at_once_and_learned(config: dict[str, Any], tmp_path: Path) -> None:
    from sluiceway.models.huggingface.pairs import build

    def made(seed: int, section_of: dict[str, Any]) -> Borrowed:
        torch.manual_seed(seed)
        params = section(CASES["text-gpt2"], **section_of)
        return build(params, vocabulary=40, longest=12, end=1)  # type: ignore[arg-type]

    network = made(0, {"config": config})
    source, target = numbers(40, 4, 9), numbers(40, 4, 8)
    source[1, 5:] = 0
    optimizer = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], lr=0.01)
    curve = []
    for _ in range(25):
        logits = network.train()(source, target[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(float(loss.detach()))
    assert curve[-1] < 0.8 * curve[0]
    network.eval()
    with torch.inference_mode():
        whole = network(source, target)
        rows = torch.tensor([2, 1, 1])
        memory = network.read(source)
        network.write(target[:, :1], memory)
        memory = memory.take(rows)
        steps = [network.write(target[rows, at : at + 1], memory) for at in range(1, 8)]
        torch.testing.assert_close(torch.cat(steps, 1), whole[rows, 1:], rtol=1e-3, atol=1e-4)
        cut = network(source[1:2, :5], target[1:2])
        torch.testing.assert_close(cut, whole[1:2], rtol=1e-3, atol=1e-4)  # padding is read by none
        save_file(network.state_dict(), tmp_path / "weights.safetensors")
        again = made(1, {"config": network.architecture["config"]}).eval()
        again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        torch.testing.assert_close(again(source, target), whole)


# What cannot be meant.


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("image-class", {**VIT, "model_type": "vitt"}, r"'vitt' does not fit images .* did you mean 'vit'\?"),
        ("image-class", {**VIT, "hiden_size": 8}, r"vit has no option hiden_size; did you mean 'hidden_size'\?"),
        ("image-class", {**VIT, "image_size": 32}, r"image_size of vit is 32, .* encode makes images of 8 x 8"),
        ("image-class", {**VIT, "num_channels": 3}, r"num_channels of vit is 3, .* images of 1 channel"),
        ("image-class", {**VIT, "num_labels": 7}, r"num_labels of vit is 7, .* the target has 3 outputs"),
        ("image-class", {**VIT, "hidden_size": "wide"}, r"vit does not take this: .*hidden_size"),
        ("image-class", {**VIT, "patch_size": 16}, r"vit cannot (be built|answer images)"),
        ("text-gpt2", {**GPT2, "n_positions": 8}, r"n_positions of gpt2 is 8, which is less .* encode.context is 17"),
        ("text-gpt2", {**GPT2, "vocab_size": 61}, r"vocab_size of gpt2 is 61, .* encode makes 60 tokens"),
        ("text-bert", {**BERT, "is_decoder": False}, r"is_decoder of bert is False"),
        (
            "text-gpt2",
            {"model_type": "xlnet", "d_model": 32, "n_layer": 1, "n_head": 2},
            r"sees what it is to foretell",
        ),
        ("speech-whisper", {"model_type": "wav2vec2"}, r"'wav2vec2' does not fit spectrograms"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_told(name: str, config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        built(CASES[name], config=config)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({}, "config.model_type is missing"),
        ({"config": VIT, "lora": {}}, "lora is given without pretrained"),
        ({"config": VIT, "freeze": 1}, "freeze is given without pretrained"),
        ({"config": VIT, "revision": "a" * 40}, "revision is given without pretrained"),
        ({"config": VIT, "lora": {"rnk": 2}}, "did you mean 'rank'"),
    ],
)
def test_options_that_do_not_go_together_are_told_at_once(model: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        section(CASES["image-class"], **model)


@pytest.mark.parametrize(
    ("hidden", "model"), [("transformers", {"config": VIT}), ("peft", {"config": VIT, "lora": {}})]
)
def test_a_missing_extra_is_told(
    monkeypatch: pytest.MonkeyPatch, vit: Path, hidden: str, model: dict[str, Any]
) -> None:
    case = CASES["image-class"]
    params = section(case, **model | ({"pretrained": str(vit)} if hidden == "peft" else {}))
    monkeypatch.setitem(sys.modules, hidden, None)
    for ask in (lambda: params.origin(ROOT), lambda: case.found.build(params, case.encoding)):
        with pytest.raises(ConfigError, match=f"needs {hidden}, which is not installed") as caught:
            ask()
        assert "pip install 'sluiceway[huggingface]'" in caught.value.hint


# Pretrained weights.


def write_vit(folder: Path, labels: int = 5, **config: Any) -> Path:
    """Write a pretrained network as ``transformers`` does."""
    import transformers

    torch.manual_seed(7)
    made = transformers.ViTConfig(**{**VIT, "image_size": 8, "num_channels": 1, "num_labels": labels, **config})
    transformers.AutoModelForImageClassification.from_config(made).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vit(tmp_path_factory.mktemp("pretrained") / "vit")


@pytest.fixture
def copy(vit: Path, tmp_path: Path) -> Path:
    return shutil.copytree(vit, tmp_path / "copy")


def test_training_begins_with_the_pretrained_weights_and_a_head_of_its_own(vit: Path) -> None:
    network = built(CASES["image-class"], pretrained=str(vit))
    import transformers

    there = transformers.AutoModelForImageClassification.from_pretrained(vit).state_dict()
    here = network.network.state_dict()
    body = [name for name in there if name.startswith("vit.")]
    assert len(body) > 10
    assert all(torch.equal(here[name], there[name]) for name in body)
    assert here["classifier.weight"].shape == (3, 32)
    assert any(
        "2 tensors" in note and "begin at random: classifier.bias, classifier.weight" in note for note in network.notes
    )


def test_weights_are_named_by_what_they_are(copy: Path) -> None:
    case, digest = CASES["image-class"], digest_of(copy)
    assert any(f"revision: {digest}" in note for note in built(case, pretrained=str(copy)).notes)
    assert not any("revision" in note for note in built(case, pretrained=str(copy), revision=digest).notes)
    before = section(case, pretrained=str(copy)).origin(ROOT)
    weights = load_file(copy / "model.safetensors")
    weights["vit.layernorm.bias"] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert section(case, pretrained=str(copy)).origin(ROOT) != before  # other weights never take up a checkpoint
    with pytest.raises(ConfigError, match=f"and model.revision says {digest}"):
        built(case, pretrained=str(copy), revision=digest)


def test_a_folder_is_meant_from_the_project_on(copy: Path) -> None:
    params = section(CASES["image-class"], pretrained=copy.name)
    assert params.placed(copy.parent).pretrained == str(copy)
    assert params.origin(copy.parent) == digest_of(copy)


def test_the_hub_is_asked_for_a_commit_and_told_to_be_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    case = CASES["image-class"]
    with pytest.raises(ConfigError, match=r"no folder some/vit, and as a name on the hub it has no revision"):
        built(case, pretrained="some/vit")
    with pytest.raises(ConfigError, match="revision 'main'") as caught:
        built(case, pretrained="some/vit", revision="main")
    assert "40 hexadecimal digits" in caught.value.hint
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="is not on this machine, and the hub cannot be reached") as caught:
        built(case, pretrained="some/vit", revision="0" * 40)
    assert f"hf download some/vit --revision {'0' * 40}" in caught.value.hint


def unsafe(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def foreign(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    path.write_text(json.dumps(config), encoding="utf-8")
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n", encoding="utf-8")


def other_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({f"x.{name}": each for name, each in weights.items()}, folder / "model.safetensors", {"format": "pt"})


def cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (unsafe, r"has pytorch_model.bin and no model.safetensors: reading a pickle runs what is in it"),
        (foreign, r"'mine' does not fit images"),
        (other_weights, r"lacks 38 of 38 tensors"),
        (cut, r"vit cannot be built: SafetensorError"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"), "is not JSON"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors"),
        (shutil.rmtree, "is no folder"),
    ],
)
def test_weights_that_cannot_be_trusted_or_read_are_refused(
    copy: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(copy)
    with pytest.raises(ConfigError, match=said):
        built(CASES["image-class"], pretrained=str(copy))
    assert not (copy / "ran").exists()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"config": {"model_type": "swin"}}, r"model_type is swin, and .* holds a vit"),
        ({"config": {"hidden_size": 64}}, r"is \[.*32.*\] in .*, and \[.*64.*\] for this data"),
        ({"freeze": 3}, "3 layers are to stay, and vit has 2"),
        ({"freeze": ["vit.layer.0.*"]}, r"'vit.layer.0.\*' fits no parameter; near it: .*vit.layer"),
        ({"freeze": ["class*"]}, "fits classifier.bias, which begins at random and must be learned"),
        ({"lora": {"target_modules": ["query"]}}, "no layer is called 'query'; near it: .*q_proj"),
        ({"lora": {}, "freeze": ["vit.*"]}, "no layer is left that could get adapters"),
    ],
)
def test_tuning_that_cannot_be_meant_is_told(vit: Path, model: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        built(CASES["image-class"], pretrained=str(vit), **model)
    assert caught.value.hint


def test_images_of_another_size_are_told(vit: Path) -> None:
    case = replace(CASES["image-class"], encoding={**IMAGES, **THREE, "size": 16})
    with pytest.raises(ConfigError, match=r"config.json of .*vit: image_size of vit is 8, .* images of 16 x 16"):
        built(case, pretrained=str(vit))


def test_pixels_are_standardised_as_the_weights_expect(copy: Path) -> None:
    case = CASES["image-class"]
    assert built(case, pretrained=str(copy)).mean.flatten().tolist() == pytest.approx([0.3])
    document = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.5, 0.5, 0.5], "do_normalize": True}
    (copy / "preprocessor_config.json").write_text(json.dumps(document), encoding="utf-8")
    network = built(case, pretrained=str(copy))
    assert network.mean.flatten().tolist() == pytest.approx([0.5])  # grey: the colours' mean
    assert any("mean [0.5] and deviation [0.5], as the pretrained weights expect" in note for note in network.notes)
    fresh = built(case, **{name: value for name, value in network.architecture.items() if name != "name"})
    fresh.load_state_dict(network.settled(network.state_dict()))
    torch.testing.assert_close(answers(case, fresh), answers(case, network))


# Freezing and LoRA.


def trained(network: Borrowed) -> set[str]:
    return {name.removeprefix("network.") for name, each in network.named_parameters() if each.requires_grad}


def test_the_first_layers_stay_with_all_that_is_before_them(vit: Path) -> None:
    whole = trained(built(CASES["image-class"], pretrained=str(vit)))
    half = trained(built(CASES["image-class"], pretrained=str(vit), freeze=1))
    assert whole - half == {name for name in whole if name.startswith(("vit.embeddings.", "vit.layers.0."))}
    assert len(half) == 20


def test_patterns_stay(vit: Path) -> None:
    whole = trained(built(CASES["image-class"], pretrained=str(vit)))
    some = trained(built(CASES["image-class"], pretrained=str(vit), freeze=["*.bias", "vit.embeddings.*"][1:]))
    assert whole - some == {name for name in whole if name.startswith("vit.embeddings.")}


def test_adapters_learn_and_are_merged(vit: Path, tmp_path: Path) -> None:
    case = CASES["image-class"]
    network = built(case, pretrained=str(vit), freeze=1, lora={"rank": 2, "alpha": 8.0, "dropout": 0.1})
    learnable = trained(network)
    assert {name for name in learnable if "lora" not in name} == {"classifier.weight", "classifier.bias"}
    assert all(name.startswith("vit.layers.1.") for name in learnable if "lora" in name)
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    curve = learn(case, network, steps=20)
    assert np.mean(curve[-3:]) < 0.9 * curve[0]
    moved = {name for name, each in network.named_parameters() if not torch.equal(each, before[name])}
    assert {name.removeprefix("network.") for name in moved} == learnable
    keep(tmp_path / "kept", case, network)
    weights = load_file(tmp_path / "kept" / "weights.safetensors")
    assert not [name for name in weights if "lora" in name or "base_layer" in name]
    again = saved.load(tmp_path / "kept").model
    torch.testing.assert_close(answers(case, again), answers(case, network), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(answers(case, again), answers(case, built(case, pretrained=str(vit))), atol=1e-3)


def test_adapters_beside_weights_that_lie_crosswise(tmp_path: Path) -> None:
    """GPT-2 keeps its matrices transposed, and its head is its embedding."""
    import transformers

    torch.manual_seed(3)
    config = transformers.GPT2Config(**{**GPT2, "vocab_size": 60, "n_positions": 17})
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "gpt2")
    case = CASES["text-gpt2"]
    network = built(case, pretrained=str(tmp_path / "gpt2"), lora={"rank": 2})
    assert all("lora" in name for name in trained(network))
    curve = learn(case, network, steps=20)
    assert curve[-1] < curve[0]
    keep(tmp_path / "kept", case, network)
    again = saved.load(tmp_path / "kept").model
    torch.testing.assert_close(answers(case, again), answers(case, network), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="no layer is left"):
        built(case, pretrained=str(tmp_path / "gpt2"), lora={"target_modules": ["wte"]})


def test_frozen_batch_norms_keep_their_statistics(tmp_path: Path) -> None:
    import transformers

    config = transformers.ResNetConfig(**{**RESNET, "num_channels": 1, "num_labels": 3})
    transformers.AutoModelForImageClassification.from_config(config).save_pretrained(tmp_path / "resnet")
    case = CASES["image-class-resnet"]
    network = built(case, pretrained=str(tmp_path / "resnet"), freeze=["resnet.embedder.*"])
    before = network.state_dict()
    before = {name: each.clone() for name, each in before.items()}
    learn(case, network, steps=2)
    moved = {name for name, each in network.state_dict().items() if not torch.equal(each, before[name])}
    assert not [name for name in moved if ".embedder." in name]
    assert [name for name in moved if name.endswith("running_mean")]


def test_serving_takes_transformers_and_nothing_of_what_training_took(vit: Path) -> None:
    params = section(CASES["image-class"], pretrained=str(vit), lora={})
    names = {line.partition("==")[0] for line in requirements(*params.packages)}
    assert names == {*REQUIREMENTS, "transformers"}


# Pretrained tokens.


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model with its own tokens, of which one that ends a text is the last."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("pretrained") / "gpt2"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        ["the cat sat on the mat"] * 3,
        trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer.add_special_tokens(["<|endoftext|>"])
    end = tokenizer.token_to_id("<|endoftext|>")
    config = transformers.GPT2Config(
        **{**GPT2, "vocab_size": end + 4, "n_positions": 32, "eos_token_id": end, "bos_token_id": end}
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_pretrained_tokens_are_learned_with(gpt2: Path) -> None:
    from sluiceway.usecases.text_generation.examples import encode, fit
    from sluiceway.usecases.text_generation.sampling import generate

    texts = loaded([b"the cat sat on the mat, and the mat sat on the cat"] * 4)
    encoding = fit(texts, TextEncoding(tokenizer=str(gpt2), context=16))
    end = encoding["end"]
    assert encoding["vocabulary"] == end + 4
    items = list(encode(texts, encoding, "test"))
    assert items[0].arrays["tokens"][0] == end
    assert sum(int(item.arrays["bytes"]) for item in items) == 4 * 50  # all of the text, and END is no text
    case = CASES["text-gpt2"]
    network = built(replace(case, encoding=encoding), pretrained=str(gpt2)).eval()
    said = generate(network, encoding, "the cat", tokens=5, temperature=1.0, top_p=1.0, seed=0)
    assert len(said) <= 5
    with pytest.raises(ConfigError, match=rf"vocab_size of gpt2 is {end + 4}, .* encode makes 60 tokens"):
        built(case, pretrained=str(gpt2))  # with tokens of our own


def test_tokens_that_cannot_be_counted_in_bytes_are_refused(gpt2: Path, tmp_path: Path) -> None:
    from sluiceway.usecases.text_generation.examples import fit

    folder = shutil.copytree(gpt2, tmp_path / "copy")
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(document | {"decoder": {"type": "Metaspace"}}), encoding="utf-8")
    with pytest.raises(ConfigError, match="not byte-level"):
        fit(loaded([b"the cat"]), TextEncoding(tokenizer=str(folder)))
    with pytest.raises(ConfigError, match=r"tokenizer.json cannot be read"):
        fit(loaded([b"the cat"]), TextEncoding(tokenizer=str(tmp_path / "nowhere")))


# Through all stages.

TUNED = DIGITS_PARAMS.replace(
    "model: {name: residual, stem: 8, widths: [8, 16], depths: [1, 1]}",
    "model: {name: huggingface, pretrained: data/pretrained/vit, freeze: 1, lora: {rank: 4}}",
).replace("epochs: 3", "epochs: 6")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, digits_folder: Callable[[Path, int], Path]) -> Project:
    root = tmp_path_factory.mktemp("tuned")
    assert "huggingface" in TUNED
    project = make_project(root, {"digits": ("image", TUNED, suite(*DIGITS_SUITE))})
    digits_folder(root / "data" / "raw" / "digits", 30)
    write_vit(root / "data" / "pretrained" / "vit", labels=10)
    return project


_ASK = """
import sys, mlflow, pandas
from pathlib import Path
mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow/store/mlflow.db")
model = mlflow.pyfunc.load_model("models:/digits/1")
picture = next(Path("data/raw/digits/3").glob("*.png")).read_bytes()
print("answer", model.predict(pandas.DataFrame({"image": [picture]})).loc[0, "label"], "peft" in sys.modules)
"""


@pytest.mark.slow
def test_pretrained_weights_are_tuned_registered_and_served_without_them(tuned: Project) -> None:
    output = tuned.run("dvc", "repro", "register@digits", HF_HUB_OFFLINE="1").stdout
    training = tuned.json("reports/digits/training.json")
    whole, learned = training["parameters"], training["trained_parameters"]
    assert 0 < learned < whole
    assert f"{learned:,} of {whole:,} parameters" in output
    assert "DVC does not see when data/pretrained/vit changes: write `revision: " in " ".join(output.split())
    about = tuned.json("models/digits/model.json")["model"]
    assert about["pretrained"] is None
    assert about["config"]["model_type"] == "vit"
    assert not [name for name in load_file(tuned.root / "models/digits/weights.safetensors") if "lora" in name]
    shutil.rmtree(tuned.root / "data" / "pretrained")
    answer = tuned.run("python", "-c", _ASK, HF_HUB_OFFLINE="1").stdout.splitlines()[-1].split()
    assert answer[0] == "answer"
    assert answer[1] in "0123456789"
    assert answer[2] == "False"
    (needed,) = tuned.root.glob("mlflow/store/**/requirements.txt")
    assert "transformers==" in needed.read_text(encoding="utf-8")


@pytest.mark.slow
def test_two_workers_tune_as_one_and_hand_on_to_it(
    finished: Project, tmp_path: Path, digits_folder: Callable[[Path, int], Path]
) -> None:
    """Frozen weights have neither gradient nor optimizer state: no worker and no checkpoint may wait for them."""
    folder = write_vit(tmp_path / "vit", labels=10)
    pipeline = Pipeline.load("digits", finished.root)
    document = pipeline.params.model_dump(mode="json", by_alias=True)
    document["model"] = {"name": "huggingface", "pretrained": str(folder), "freeze": 1, "lora": {"rank": 2}}
    document["train"] |= {"epochs": 2.0, "log_every": 1, "checkpoint_every": 3, "lr": 1e-3}

    def job(place: str, workers: int):
        changed = {**document, "train": {**document["train"], "workers": workers}}
        params = parse(pipeline.usecase.params, changed, Path("params.yaml"))
        return replace(prepare(replace(pipeline, params=params)), folder=str(tmp_path / place))

    def losses(trained: driver.Trained) -> list[float]:
        return [point.metrics["train/loss"] for point in trained.curve if "train/loss" in point.metrics]

    whole = driver.run(job("whole", 1), lambda _: None)
    two = job("parts", 2)
    driver.run(replace(two, plan=replace(two.plan, boundaries=two.plan.boundaries[:1])), lambda _: None)
    resumed = driver.run(job("parts", 1), lambda _: None)
    assert resumed.result["attempts"] == 2
    assert len(losses(resumed)) == two.plan.steps
    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-4)
    assert 0 < resumed.result["trained_parameters"] < resumed.result["parameters"]
    assert not [name for name in load_file(resumed.weights) if "lora" in name]
