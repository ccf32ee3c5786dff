"""What the layers of a network tell: right scores on networks whose layers are known, and what is a layer."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sluiceway.config import Evaluate, ModelParams, PipelineParams
from sluiceway.data.bpe import tokenizer_of
from sluiceway.data.shards import write_manifest, write_shards
from sluiceway.data.texts import kind_of_piece
from sluiceway.evaluation.layers import figures, probes
from sluiceway.evaluation.layers.probes import Told, answer, probe_layers, r2
from sluiceway.evaluation.layers.watch import INPUT, WIDTH, Watch, features_of, parts_of
from sluiceway.models.alexnet import AlexNet
from sluiceway.models.belief import DeepBeliefNet
from sluiceway.models.gpt import GPT
from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.models.residual import ResidualNet
from sluiceway.usecases import find
from sluiceway.usecases.base import Probe, Questions, UseCase
from sluiceway.usecases.recommendation import probing as next_items
from sluiceway.usecases.saved import LoadedModel
from sluiceway.usecases.targets import letters
from sluiceway.usecases.text_generation import examples as texts
from sluiceway.usecases.text_generation import probing as next_tokens
from sluiceway.usecases.text_generation.params import TextEncoding
from sluiceway.usecases.translation import encoding as translation
from sluiceway.usecases.translation import probing as next_written
from sluiceway.usecases.translation.learning import build as build_translator
from sluiceway.usecases.translation.params import PairEncoding, TransformerParams
from support import loaded

TABLE = find("text_generation", Path())  # whatever its name: all that is asked of it is put in its place


def usecase_of(network, field, probe=None) -> UseCase:
    """A use case that knows nothing but one network and the field that it is given."""

    def losses(model, batch, objective):
        return {"loss": model(batch[field]).flatten(1).sum(1)}

    return replace(TABLE, build=lambda params, encoding: network(), losses=losses, probe=probe)


def told_by(folder: Path, network, sides, *, field="x", probe=None, trained=None, **evaluate) -> Told | None:
    """Write the sides as shards, and probe a network on them."""
    entries = {
        name: write_shards(
            (
                {key: np.asarray(column[at]) for key, column in {"row": np.arange(len(side[field])), **side}.items()}
                for at in range(len(side[field]))
            ),
            folder,
            name,
        )
        for name, side in sides.items()
    }
    write_manifest(folder, {"validation": [], **entries}, {})
    usecase = usecase_of(network, field, probe)
    params = PipelineParams(
        usecase="table", target="class", model=ModelParams(name="table"), evaluate=Evaluate(resamples=200, **evaluate)
    )
    model = LoadedModel(usecase, (trained or network)().eval(), {}, params.model)
    return probe_layers(model, folder, params, lambda rows: rows.astype(object))


def xor(count, seed):
    """Points of four quadrants, off the axes: opposite quadrants are of one class."""
    rng = np.random.default_rng(seed)
    points = (rng.uniform(0.2, 1, (count, 2)) * rng.choice([-1, 1], (count, 2))).astype(np.float32)
    return {"x": points, "target": (points[:, 0] * points[:, 1] > 0).astype(np.int64)}


def solver() -> nn.Module:
    """The first layer copies the plane, the second folds it so that a line parts what XOR tells apart."""
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    first, second = network[0], network[2]
    with torch.no_grad():
        first.weight.copy_(torch.eye(2))
        first.bias.fill_(5.0)  # the rectifier lets everything through
        second.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]]))
        second.bias.copy_(-second.weight.sum(1) * 5.0)
    return network


def test_a_probe_finds_the_layer_that_folds_xor(tmp_path):
    told = told_by(tmp_path, solver, {"train": xor(800, 0), "test": xor(400, 1)})
    scores = {each.layer: each.trained for each in told.depths}
    assert list(scores) == [INPUT, "0", "2"]  # the last one is the answer itself
    assert scores[INPUT].high < 0.65
    assert scores["0"].high < 0.65
    assert scores["2"].low > 0.97
    assert told.metric.name == "accuracy"
    assert told.chance == pytest.approx(0.5, abs=0.08)
    assert (told.learned, told.asked) == (800, 400)


def test_random_weights_stand_beside_what_was_learned(tmp_path):
    def untrained():
        return nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))

    told = told_by(tmp_path, untrained, {"train": xor(800, 0), "test": xor(400, 1)}, trained=solver)
    folded = told.depths[-1]
    assert folded.trained.low > 0.97
    assert folded.untrained.value < 0.9
    again = told_by(tmp_path / "again", untrained, {"train": xor(800, 0), "test": xor(400, 1)}, trained=solver)
    assert [each.untrained for each in again.depths] == [each.untrained for each in told.depths]


def test_the_random_weights_are_those_that_training_began_with(tmp_path, monkeypatch):
    seen = []

    class Noting(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            seen.append(self.weight.detach().clone())

    torch.manual_seed(0)  # as train.seed
    Noting()
    before = torch.get_rng_state()
    told_by(tmp_path, lambda: nn.Sequential(Noting(), nn.ReLU()), {"train": xor(50, 0), "test": xor(50, 1)})
    assert torch.equal(seen[0], seen[-1])
    assert seen[0] is not seen[-1]
    del before


def test_a_number_is_told_by_its_share_of_variance(tmp_path):
    def side(count, seed):
        x = np.random.default_rng(seed).uniform(-1, 1, (count, 2)).astype(np.float32)
        return {"x": x, "target": np.abs(x.sum(1))}

    told = told_by(tmp_path, solver, {"train": side(600, 0), "test": side(300, 1)})
    scores = {each.layer: each.trained.value for each in told.depths}
    assert told.metric.name == "r2"
    assert scores[INPUT] < 0.05
    assert scores["2"] > 0.99


def test_labels_are_told_one_by_one(tmp_path):
    def side(count, seed):
        x = xor(count, seed)["x"]
        return {"x": x, "target": np.stack([x[:, 0] > 0, x[:, 0] * x[:, 1] > 0, x[:, 0] < 9], 1).astype(np.uint8)}

    told = told_by(tmp_path, solver, {"train": side(600, 0), "test": side(300, 1)})
    scores = {each.layer: each.trained.value for each in told.depths}
    assert told.chance == pytest.approx((0.5 + 0.5 + 1) / 3, abs=0.05)
    assert scores[INPUT] == pytest.approx((1 + 0.5 + 1) / 3, abs=0.05)  # XOR is missed
    assert scores["0"] == pytest.approx(scores[INPUT], abs=0.05)


def test_labels_that_nearly_all_have_may_be_left_out(tmp_path):
    def side(count, seed):
        x = xor(count, seed)["x"]
        flags = np.stack([x[:, 0] > 0, x[:, 1] < 9, x[:, 1] > 9, x[:, 0] * x[:, 1] > 0], 1)
        return {"x": x, "target": flags.astype(np.uint8)}

    sides = {"train": side(600, 0), "test": side(300, 1)}
    told = told_by(tmp_path, solver, sides, probe=Probe("two of four labels", probes.by_target, least=0.1))
    assert told.chance == pytest.approx(0.5, abs=0.05)
    assert told.test.target.shape == (300, 2)
    assert {each.layer: each.trained.value for each in told.depths}[INPUT] == pytest.approx(0.75, abs=0.05)
    every = told_by(tmp_path / "all", solver, sides, probe=Probe("all", probes.by_target, least=0.6))
    assert every.test.target.shape == (300, 4)  # rather all than none


def test_r2_is_scikit_learns():
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(0)
    target, predicted = rng.normal(size=50), rng.normal(size=50)
    assert r2({"target": target, "predicted": predicted}) == pytest.approx(r2_score(target, predicted))


def test_targets_that_do_not_depend_on_the_input_are_not_told(tmp_path):
    rng = np.random.default_rng(3)
    sides = {
        name: {"x": rng.normal(size=(600, 20)).astype(np.float32), "target": rng.integers(0, 2, 600)}
        for name in ("train", "test")
    }
    told = told_by(tmp_path, lambda: nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2)), sides)
    assert all(each.trained.low < 0.5 < each.trained.high for each in told.depths)


def test_places_of_a_sequence_are_asked(tmp_path):
    """A layer that looks one step back tells the sum of two neighbours; the input at one place does not."""

    class Back(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(2, 2)
            self.mix, self.act = nn.Conv1d(2, 4, 2), nn.ReLU()
            self.head = nn.Linear(4, 2)
            with torch.no_grad():
                self.embedding.weight.copy_(torch.eye(2))
                self.mix.weight.zero_()
                self.mix.bias.copy_(torch.tensor([-1.0, -1.0, -1.0, -1.0]))
                for channel, (before, now) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
                    self.mix.weight[channel, before, 0] = self.mix.weight[channel, now, 1] = 1.0

        def forward(self, tokens):
            hidden = self.embedding(tokens)
            both = torch.cat([hidden[:, :1], hidden], 1).transpose(1, 2)
            return self.head(self.act(self.mix(both)).transpose(1, 2))

    def ask(batch, encoding):
        tokens = batch["x"].numpy()
        item, position = (each.reshape(-1) for each in np.meshgrid(range(len(tokens)), [2, 5], indexing="ij"))
        return Questions(item, tokens[item, position] ^ tokens[item, position - 1], position)

    rng = np.random.default_rng(0)
    sides = {name: {"x": rng.integers(0, 2, (300, 8))} for name in ("train", "test")}
    told = told_by(tmp_path, Back, sides, probe=Probe("whether it changed", ask), layers=400)
    scores = {each.layer: each.trained.value for each in told.depths}
    assert (told.learned, told.asked) == (400, 400)
    assert scores[INPUT] < 0.65
    assert "mix" in scores
    assert scores["mix"] == 1.0
    assert not told.test.of_items


def test_nothing_to_ask_is_no_section(tmp_path):
    sides = {name: {"x": np.zeros((5, 2), np.float32)} for name in ("train", "test")}
    assert told_by(tmp_path, solver, sides) is None
    sides = {name: {"x": np.zeros((5, 2), np.float32), "target": np.zeros(5, np.int64)} for name in ("train", "test")}
    assert told_by(tmp_path / "constant", solver, sides) is None


def test_cost_is_bounded(tmp_path):
    told = told_by(tmp_path, solver, {"train": xor(800, 0), "test": xor(400, 1)}, layers=100, batch=30)
    assert (told.learned, told.asked) == (100, 100)
    assert len(np.unique(told.test.row)) == 100
    assert told.test.row.max() == 399  # from the whole split


def test_a_probe_is_ridge_regression_of_scikit_learn():
    from sklearn.datasets import load_digits

    digits = load_digits()
    known, asked = digits.data[:900].astype(np.float32), digits.data[900:].astype(np.float32)
    outcomes = answer(known, digits.target[:900], asked, digits.target[900:])
    assert outcomes["correct"].mean() > 0.88
    constant = np.zeros((900, 3), np.float32)
    assert answer(constant, digits.target[:900], constant[:50], digits.target[:50])["correct"].mean() < 0.3


# What is a layer


def named(network, *inputs):
    item = np.arange(len(inputs[0]))
    with torch.inference_mode(), Watch(network.eval()) as watch:
        watch.ask(Questions(item, item))
        network(*inputs)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    return {name: tuple(seen.features.shape) for name, seen in watch.take().items()}


def test_layers_of_the_networks_that_are_built_in():
    images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    common = {"outputs": 10, "mean": [0.1], "std": [0.3]}
    residual = ResidualNet(channels=1, stem=8, widths=[8, 16], depths=[1, 2], groups=4, **common)
    assert list(named(residual, images)) == [INPUT, "stem", "blocks.0", "blocks.1", "blocks.2"]
    alexnet = AlexNet(
        channels=1, size=28, widths=[4, 8, 8, 8, 4], dense=[16, 16], dropout=0.5, response_norm=True, **common
    )
    found = named(alexnet, images)
    assert list(found)[1:] == ["features.0", *(f"features.{at}" for at in (4, 8, 10, 12)), "dense.1", "dense.4"]
    assert found[INPUT] == (3, 22 * 22)
    assert found["features.12"] == (3, 4 * 4 * 4)
    belief = DeepBeliefNet(pixels=784, outputs=10, widths=[20, 30], dropout=0.1, cd_steps=1, mean=0.1)
    assert named(belief, images) == {INPUT: (3, 22 * 22), "machines.0": (3, 20), "machines.1": (3, 30)}
    gpt = GPT(vocabulary=50, context=16, channels=32, layers=3, heads=4, dropout=0.0)
    found = named(gpt, torch.zeros(2, 16, dtype=torch.long))
    assert list(found) == [INPUT, "embedding", "layers.0", "layers.1", "layers.2"]


def test_layers_of_networks_made_elsewhere():
    encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
    transformer = nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False)
    assert list(named(transformer, torch.randn(4, 7, 16))) == [INPUT, "layers.0"]  # the last is the answer
    wrapped = nn.Sequential(
        nn.ModuleDict({"body": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())})["body"],
        nn.Flatten(),
        nn.Linear(4 * 36, 2),
    )
    assert list(named(wrapped, torch.randn(4, 3, 8, 8))) == [INPUT, "0.0"]

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(5, 6, batch_first=True)
            self.head = nn.Linear(6, 2)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = Recurrent()

        def forward(self, x):
            return self.network(x)

    assert list(named(Inside(), torch.randn(4, 7, 5))) == [INPUT, "network.lstm"]


class ResidualLike(nn.Module):
    """A block is one layer, whatever chains it has inside."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())


def test_a_deep_network_is_probed_at_some_layers():
    layers = [f"l{number}" for number in range(50)]
    chosen = probes._chosen(layers)
    assert (len(chosen), chosen[0], chosen[-1]) == (probes.MOST_LAYERS, "l0", "l49")
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))
    assert [name for name, _ in parts_of(network)] == ["0", "1", "2"]
    blocks = nn.Sequential(*(nn.ModuleDict({"a": nn.Linear(2, 2)}) for _ in range(2)), ResidualLike())
    assert [name for name, _ in parts_of(blocks)] == ["0.a", "1.a", "2"]


def test_features_are_of_bounded_width_and_keep_places():
    assert features_of(torch.randn(2, 32, 14, 14)).shape == (2, 32 * 16)
    assert features_of(torch.randn(2, 50, 96)).shape == (2, 480)  # positions by channels
    assert features_of(torch.randn(2, 64, 64), of_input=True).shape == (2, 22 * 22)
    assert features_of(torch.randn(2, 5000)).shape == (2, WIDTH)
    assert features_of(torch.randn(2, 3000, 4, 4)).shape == (2, WIDTH)
    assert features_of(torch.randn(2)).shape == (2, 1)
    one, other, both = features_of(torch.tensor([[7, 7], [900, 900], [7, 900]]), of_input=True)
    torch.testing.assert_close(both, (one + other) / 2)
    assert torch.cosine_similarity(one, other, 0).abs() < 0.2  # names have codes that are nearly at right angles
    small = torch.randn(2, 3, 4, 4)
    assert torch.equal(features_of(small), small.flatten(1))


# The questions of use cases without a target


def test_the_next_token_is_sorted_by_its_kind():
    passages = [b"In the year 12 the king, and 345 men, went up. The king said unto the men: go."] * 40
    encoding = texts.fit(loaded(passages), TextEncoding(vocabulary=300, context=16))
    items = list(texts.encode(loaded(passages), encoding, "train"))
    batch = {name: torch.from_numpy(np.stack([item.arrays[name] for item in items])) for name in items[0].arrays}
    questions = next_tokens.ask(batch, encoding)
    assert set(questions.target) == {0, 1, 2, 3}
    pieces = next_tokens.token_pieces(encoding)
    tokens = batch["tokens"].numpy()
    for item, position, kind in zip(questions.item, questions.position, questions.target, strict=True):
        piece = pieces[tokens[item, position + 1]]
        bare = piece.lstrip("ĠĊ")
        expected = 2 if bare[:1].isdigit() else 3 if not bare[:1].isalpha() else 0 if bare != piece else 1
        assert kind == expected
    nothing = {**batch, "scored": torch.zeros_like(batch["scored"])}
    assert len(next_tokens.ask(nothing, encoding).item) == 0


PAIRS = [
    (f"In the year {n} the king loved the queen, and {n % 7} men sang.", f"En el año {n} el rey amaba a la reina.")
    for n in range(40)
]


def translating() -> tuple[dict, dict]:
    """An encoding of some pairs, and a batch of them; the second pair is shorter than the first."""
    pairs = [(one, other) if n != 1 else ("Go.", "Ve ya, 3.") for n, (one, other) in enumerate(PAIRS)]
    examples = loaded([f"{one}\x1f{other}".encode() for one, other in pairs])
    encoding = translation.fit(examples, PairEncoding(vocabulary=400, longest=60, entries=0))
    items = list(translation.encode(examples, encoding, "train"))[:5]
    return encoding, {
        name: torch.from_numpy(np.stack([item.arrays[name] for item in items])) for name in items[0].arrays
    }


def test_the_next_token_of_a_translation_is_sorted_by_its_kind():
    encoding, batch = translating()
    questions = next_written.ask(batch, encoding)
    assert set(questions.target) >= {0, 2, 3, 4}
    tokenizer = tokenizer_of(encoding)
    for item, position, kind in zip(questions.item, questions.position, questions.target, strict=True):
        following = int(batch["target"][item, position + 1])
        assert following != translation.PADDING
        piece = tokenizer.id_to_token(following)
        assert kind == (4 if following == translation.END else kind_of_piece(piece))
    lengths = (batch["target"] != 0).sum(1) - 1
    assert [questions.position[questions.item == item].max() for item in range(5)] == (lengths - 1).tolist()
    assert [kind_of_piece(piece) for piece in ("Ġking", "ing", "Ġ12", "7", "Ġ,", ".", "")] == [0, 1, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("kind", ["seq2seq", "t5"])
def test_layers_of_a_translator_are_asked_where_they_stand(kind):
    """Those that read at the source token that is as far along, those that write at the target token."""
    encoding, batch = translating()
    if kind == "t5":
        pytest.importorskip("transformers")
        shape = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
        params = HuggingFaceParams(config={"model_type": "t5", **shape})
    else:
        params = TransformerParams(channels=32, encoder_layers=1, decoder_layers=1, heads=2)
    torch.manual_seed(0)
    network = build_translator(params, encoding).eval()
    questions = next_written.ask(batch, encoding)
    noted = {}
    parts = dict(parts_of(network))
    read, write = (next(name for name in parts if each in name) for each in ("encoder.", "decoder."))

    def note(name, output):
        noted[name] = output if torch.is_tensor(output) else output[0]

    for name in (read, write):
        parts[name].register_forward_hook(lambda part, args, output, name=name: note(name, output))
    with torch.inference_mode(), Watch(network) as watch:
        watch.ask(questions)
        watch.finish(next_written.work(network, batch, watch.begin))
        seen = watch.take()
    assert INPUT in seen
    assert not any("head" in name for name in seen)
    item, position = questions.item, questions.position
    torch.testing.assert_close(seen[write].features, noted[write][item, position])
    sources, targets = (batch["source"] != 0).sum(1).numpy(), (batch["target"] != 0).sum(1).numpy() - 1
    along = np.round(position / np.maximum(1, targets - 1)[item] * (sources - 1)[item]).astype(int)
    assert along.max() == sources.max() - 1
    assert (along < sources[item]).all()
    torch.testing.assert_close(seen[read].features, noted[read][item, along])


def test_networks_that_order_a_batch_anew_are_asked_item_by_item(tmp_path):
    """Rows of unlike length, answered shortest first: by itself each item is where it was asked about."""

    class Sorting(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift = nn.Linear(1, 2)
            self.head = nn.Linear(2, 2)
            with torch.no_grad():
                self.lift.weight.copy_(torch.tensor([[1.0], [-1.0]]))
                self.lift.bias.zero_()

        def forward(self, rows):
            order = (rows != 0).sum(1).argsort()
            parts = [self.head(torch.relu(self.lift(row[row != 0][None, :, None])).mean(1)) for row in rows[order]]
            return torch.cat(parts)[order.argsort()]

    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, 400)
    rows = np.where(np.arange(9) < lengths[:, None], rng.uniform(0.2, 1, (400, 1)) * rng.choice([-1, 1], (400, 1)), 0)
    side = {"x": rows.astype(np.float32), "target": (rows[:, 0] > 0).astype(np.int64)}
    alone = Probe("its sign", probes.by_target, alone=True)
    told = told_by(tmp_path, Sorting, {"train": side, "test": side}, probe=alone)
    assert {each.layer: each.trained.value for each in told.depths} == {INPUT: 1.0, "lift": 1.0}
    assert told.test.features["lift"].shape == (400, WIDTH)
    together = told_by(tmp_path / "all", Sorting, {"train": side, "test": side}, probe=Probe("", probes.by_target))
    assert [each.layer for each in together.depths] == [INPUT]


def test_letters_that_are_said_are_asked():
    encoding = {"characters": [" ", "a", "b", "'", "c"]}
    batch = {"text": torch.tensor([[3, 4, 2, 3, 0], [6, 5, 0, 0, 0], [1, 2, 0, 0, 0]], dtype=torch.int16)}
    questions = letters.ask(batch, encoding)
    assert questions.item.tolist() == [0, 1, 2]
    assert questions.target.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert letters.ask(batch, {"characters": ["a", " "]}).target.tolist() == [1, 0, 1]


def test_the_next_item_is_sorted_by_popularity():
    encoding = {"counts": [40, 20, 20, 10, 10, 10, 10]}  # four parts of about 30
    following = torch.tensor([[1, 2, 7, 0], [3, 0, 0, 0]])
    questions = next_items.ask({"next": following}, encoding)
    assert questions.item.tolist() == [0, 0, 0, 1]
    assert questions.position.tolist() == [0, 1, 2, 0]
    assert questions.target.tolist() == [0, 1, 3, 2]


# Pictures


def test_the_figure_says_what_it_shows(tmp_path):
    told = told_by(tmp_path, solver, {"train": xor(800, 0), "test": xor(400, 1)})
    svg = figures.depth_figure(told)
    assert "Accuracy of the probe by layer. input: " in svg
    assert "random weights" in svg
    assert svg == figures.depth_figure(told)


def pixels_of(panel):
    (source,) = re.findall(r'src="data:image/png;base64,([^"]+)"', panel.html)
    return np.array(Image.open(io.BytesIO(base64.b64decode(source))))


def test_filters_are_pictures_of_the_first_weights():
    network = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5, 2))
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].weight[0, 0, 0, 0] = 2.0
        network[0].weight[1, 0, 2, 2] = -1.0
    panel = figures.filters_panel(network, (1, 8, 8))
    assert "The 5 filters of 3 x 3 pixels" in panel.caption
    sheet = pixels_of(panel)
    scale = round(44 / 3)
    assert sheet[0, 0].tolist() == [255, 255, 255]
    assert sheet[scale * 3 - 1, scale * 3 + 4 + scale * 3 - 1].tolist() == [0, 0, 0]
    assert sheet[scale, scale].tolist() == [127, 127, 127]
    dense = DeepBeliefNet(pixels=64, outputs=2, widths=[60], dropout=0.0, cd_steps=1, mean=0.5)
    assert "48 of the 60 units" in figures.filters_panel(dense, (1, 8, 8)).caption
    assert figures.filters_panel(dense, (64,)) is None
    colours = figures.filters_panel(nn.Sequential(nn.Conv2d(3, 4, 5)), (3, 8, 8))
    assert "Grey is no weight" not in colours.caption
    two = figures.filters_panel(nn.Sequential(nn.Conv2d(2, 4, 5)), (8, 8))
    assert "the first of 2 input channels" in two.caption


def test_favourites_are_the_items_that_excite_a_channel_most(tmp_path):
    sides = {"train": xor(200, 0), "test": xor(100, 1)}
    told = told_by(tmp_path, solver, sides)
    shown = []
    panel = figures.favourites_panel(told, lambda row: shown.append(row) or f"<b>{row}</b>")
    peaks = told.test.peaks["2"]
    for channel, items in figures._favourites(peaks):
        assert items[0] == peaks[:, channel].argmax()
        assert f"channel {channel}" in panel.html
        assert f"<b>{told.test.item_row[items[0]]}</b>" in panel.html
    assert len(shown) == len(set(shown))  # each thumbnail is made once
    dead = np.zeros((10, 3), np.float32)
    assert figures._favourites(dead) == []
