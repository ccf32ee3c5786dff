"""Draws inside networks: they belong to examples, whoever computes them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from made import Made, frames, histories, made, pairs, transcripts, windows
from sluiceway.data.order import keys_at, positions_of
from sluiceway.models import chance
from sluiceway.models.belief import DeepBeliefNet
from sluiceway.models.conformer import Conformer
from sluiceway.models.gpt import GPT
from sluiceway.training.strategies import recompute

ITEMS = 12


def keys(step: int = 3, *, world: int = 1, rank: int = 0, micro: int = 0, of: int = 1) -> Tensor:
    return torch.from_numpy(keys_at(positions_of(step, ITEMS, rank=rank, world=world, micro=micro, of=of), 7))


def in_parts(compute: Callable[[Tensor], Tensor], inputs: Tensor, *, world: int, of: int) -> Tensor:
    """Compute what so many workers would, one micro-batch after the other."""
    found = []
    for rank in range(world):
        for micro in range(of):
            at = positions_of(0, ITEMS, rank=rank, world=world, micro=micro, of=of)
            with chance.drawn_by(keys(world=world, rank=rank, micro=micro, of=of)):
                found.append(compute(inputs[at]))
    return torch.cat(found)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 6), (2, 3, 7), (3, 2, 2, 5)])
def test_a_mask_is_the_same_however_the_batch_is_shared_out(shape: tuple[int, ...]) -> None:
    values = torch.ones(ITEMS, *shape)

    def twice(part: Tensor) -> Tensor:
        return chance.dropout(chance.dropout(part, 0.3, True), 0.3, True)

    whole = in_parts(twice, values, world=1, of=1)
    assert whole.shape == values.shape
    for world, of in [(2, 1), (1, 3), (2, 2), (12, 1)]:
        assert torch.equal(in_parts(twice, values, world=world, of=of), whole)


def test_each_seed_step_example_and_call_draws_its_own() -> None:
    values = torch.ones(ITEMS, 500)
    masks = {}
    for step, seed in [(0, 1), (1, 1), (0, 2)]:
        with chance.drawn_by(torch.from_numpy(keys_at(positions_of(step, ITEMS), seed))):
            for call in range(2):
                masks[step, seed, call] = chance.dropout(values, 0.5, True) > 0
    rows = torch.cat(list(masks.values())).float() - 0.5
    alike = (rows @ rows.T / (0.25 * rows.shape[1])).fill_diagonal_(0)
    assert (
        float(alike.abs().max()) < 0.25
    )  # 5.6 standard deviations of two rows that have nothing to do with each other


def test_longer_padding_changes_no_mask() -> None:
    short, long = torch.ones(ITEMS, 5, 8), torch.ones(ITEMS, 9, 8)
    with chance.drawn_by(keys()):
        of_short = chance.dropout(short, 0.4, True)
    with chance.drawn_by(keys()):
        of_long = chance.dropout(long, 0.4, True)
    assert torch.equal(of_long[:, :5], of_short)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_as_much_is_dropped_as_was_asked_everywhere(share: float) -> None:
    values = torch.ones(64, 40, 50)
    with chance.drawn_by(torch.from_numpy(keys_at(np.arange(64), 1))):
        left = chance.dropout(values, share, True)
    dropped = (left == 0).float()
    assert float(left.max()) == pytest.approx(1 / (1 - share), rel=1e-3)
    spread = (share * (1 - share)) ** 0.5
    for axes, count in [((0, 1, 2), 128_000), ((0, 1), 2560), ((1, 2), 2000), ((0, 2), 3200)]:
        means = dropped.mean(axes)
        assert float((means - share).abs().max()) < 5 * spread / count**0.5
    for axis in range(3):  # neighbours know nothing of each other
        one, other = dropped.narrow(axis, 0, dropped.shape[axis] - 1), dropped.narrow(axis, 1, dropped.shape[axis] - 1)
        assert float(((one - share) * (other - share)).mean()) / spread**2 == pytest.approx(0, abs=0.015)


def test_coins_fall_as_often_as_they_should() -> None:
    shares = torch.tensor([0.0, 0.02, 0.5, 0.98, 1.0]).repeat(4000, 1)
    with chance.drawn_by(torch.from_numpy(keys_at(np.arange(4000), 1))):
        fallen = chance.bernoulli(shares)
    assert set(fallen.unique().tolist()) == {0.0, 1.0}
    assert fallen.mean(0).tolist() == pytest.approx(shares[0].tolist(), abs=0.03)
    assert fallen[:, 0].sum() == 0
    assert fallen[:, 4].sum() == 4000


def test_gradients_flow_through_what_is_left() -> None:
    values = torch.ones(ITEMS, 30, requires_grad=True)
    with chance.drawn_by(keys()):
        left = chance.dropout(values, 0.25, True)
    left.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, left.detach())


def test_without_keys_pytorch_draws_and_evaluation_draws_nothing() -> None:
    values = torch.ones(8, 100)
    torch.manual_seed(1)
    expected = nn.functional.dropout(values, 0.5, True)
    torch.manual_seed(1)
    assert torch.equal(chance.dropout(values, 0.5, True), expected)
    with chance.drawn_by(keys()):
        assert torch.equal(chance.dropout(values, 0.5, False), values)
        assert torch.equal(chance.dropout(values, 0.0, True), values)
        assert float(chance.dropout(values, 1.0, True).sum()) == 0


def test_what_is_not_laid_out_by_examples_is_drawn_by_pytorch() -> None:
    values = torch.ones(ITEMS + 1, 50)
    with chance.drawn_by(keys()):
        torch.manual_seed(1)
        one = chance.dropout(values, 0.5, True)
        torch.manual_seed(2)
        assert not torch.equal(chance.dropout(values, 0.5, True), one)


class Borrowed(nn.Module):
    """Dropout of PyTorch's kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Dropout2d(0.4), nn.Flatten(), nn.Dropout(0.3))
        self.line = nn.Dropout1d(0.4)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 1, 6, 6] to [B, 96]."""
        found: Tensor = self.line(self.body(images)[:, :, None])[:, :, 0]
        return found


def test_dropout_of_borrowed_networks_is_adopted() -> None:
    torch.manual_seed(0)
    network, images = Borrowed(), torch.rand(ITEMS, 1, 6, 6) + 1
    names = list(network.state_dict())
    chance.adopt(network)
    assert list(network.state_dict()) == names
    with torch.no_grad():
        whole = in_parts(network, images, world=1, of=1)
        assert in_parts(network, images, world=3, of=2) == pytest.approx(whole, abs=1e-5)
    channels = whole.reshape(ITEMS, 6, 16)
    assert bool((channels == 0).all(2).any())  # whole channels
    assert bool((channels == 0).any(2).all(1).any())  # and single values
    assert torch.equal(network.eval()(images), network(images))


def gpt() -> GPT:
    torch.manual_seed(1)
    network = GPT(vocabulary=50, context=32, channels=32, layers=3, heads=4, dropout=0.2)
    for parameter in network.parameters():  # layers begin as shortcuts
        nn.init.normal_(parameter, std=0.1)
    return network


def test_what_is_computed_once_more_is_drawn_once_more() -> None:
    tokens = torch.randint(0, 50, (ITEMS, 20), generator=torch.Generator().manual_seed(2))
    plain, again = gpt(), gpt()
    recompute(again)
    gradients = []
    for network in (plain, again):
        with chance.drawn_by(keys()):
            loss = network(tokens).square().mean() + network(tokens).abs().mean()
        loss.backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)  # type: ignore[arg-type]


def test_compiled_networks_draw_the_same_and_are_compiled_once() -> None:
    tokens = torch.randint(0, 50, (ITEMS, 20), generator=torch.Generator().manual_seed(2))
    network = gpt()
    expected = []
    for step in range(4):
        with chance.drawn_by(keys(step)):
            expected.append(network(tokens).detach())
    torch._dynamo.reset()
    network.compile(backend="eager")
    for step in range(4):
        with chance.drawn_by(keys(step)), torch._dynamo.config.patch(error_on_recompile=step > 1):
            assert torch.equal(network(tokens), expected[step])
    assert len({float(each.sum()) for each in expected}) == 4


def test_sounds_that_are_answered_in_groups_draw_their_own() -> None:
    torch.manual_seed(0)
    network = Conformer(
        bands=8, frames=40, outputs=5, channels=16, layers=2, heads=2, kernel=3, dropout=0.3, mean=[0.5] * 8,
        std=[0.2] * 8, by_moment=True,
    )  # fmt: skip
    nn.init.normal_(network.head.weight)
    frames = torch.randint(8, 41, (ITEMS,), generator=torch.Generator().manual_seed(1))
    levels = torch.rand(ITEMS, 8, 40, generator=torch.Generator().manual_seed(1))

    def heard(at: Tensor, **part: int) -> Tensor:
        with chance.drawn_by(keys(**part)):
            answers = network(levels[at], frames[at])
        return torch.stack([each[:4].flatten() for each in answers])

    whole = heard(torch.arange(ITEMS))
    halves = [heard(torch.arange(6) + 6 * rank, world=2, rank=rank) for rank in range(2)]
    assert torch.cat(halves).detach() == pytest.approx(whole.detach(), abs=1e-5)


def test_contrastive_divergence_is_the_same_however_the_batch_is_shared_out() -> None:
    torch.manual_seed(0)
    net = DeepBeliefNet(pixels=16, outputs=3, widths=[8, 6], dropout=0.2, cd_steps=3, mean=0.2)
    images = torch.rand(ITEMS, 1, 4, 4)

    def figures(part: Tensor) -> Tensor:
        return torch.cat([net(part, 1), net(part)], 1).detach()

    whole = in_parts(figures, images, world=1, of=1)
    assert in_parts(figures, images, world=2, of=3) == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("make", [frames, histories, pairs, transcripts, windows], ids=lambda make: make.__name__)
def test_every_use_case_has_the_same_losses_however_the_batch_is_shared_out(make: Callable[[], Made]) -> None:
    case, batch = made(make, dropout=0.3)
    chance.adopt(case.model)
    objective, count = case.usecase.objective(), len(next(iter(batch.values())))

    def losses(rows: Tensor) -> Tensor:
        with torch.no_grad(), chance.drawn_by(keys()[:count][rows]):
            return case.usecase.losses(case.model, {name: each[rows] for name, each in batch.items()}, objective)[
                "loss"
            ]

    calm = losses(torch.arange(count))
    case.model.train()
    whole = losses(torch.arange(count))
    parts = torch.cat([losses(rows) for rows in torch.arange(count).split([1, count - 3, 2])])
    assert parts.numpy() == pytest.approx(whole.numpy(), rel=1e-5)
    assert not torch.allclose(whole, calm, rtol=1e-3)
