"""Deep belief nets: the machines against exact enumeration, and pre-training as a part of the plan."""

import itertools
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from projects import ROOT
from sluiceway.config import Phase, Train, parse, read_yaml
from sluiceway.models.alexnet import AlexNet
from sluiceway.models.belief import BoltzmannMachine, DeepBeliefNet
from sluiceway.training.plan import plan
from sluiceway.usecases import find
from sluiceway.usecases.image import IMAGE, historic

V, U = 6, 4


def states(units: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)))


def machine(seed=0, scale=0.8) -> BoltzmannMachine:
    torch.manual_seed(seed)
    made = BoltzmannMachine(V, U, on=0.3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return made


def log_partition(rbm: BoltzmannMachine) -> torch.Tensor:
    return torch.logsumexp(-rbm.free_energy(states(V)), 0)


def log_likelihood(rbm: BoltzmannMachine, visible: torch.Tensor) -> torch.Tensor:
    """Mean over the examples, with the partition function summed up exactly."""
    return (-rbm.free_energy(visible)).mean() - log_partition(rbm)


def gradients(rbm: BoltzmannMachine, loss: torch.Tensor) -> torch.Tensor:
    rbm.zero_grad()
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in rbm.parameters()])


def patterns() -> torch.Tensor:
    """Bars: the first half is on, or the second."""
    bars = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    return bars.repeat(20, 1)


def test_free_energy_sums_over_all_hidden_states():
    rbm, visible, hidden = machine(), states(V), states(U)
    energy = -(
        (visible @ rbm.visible_bias)[:, None]
        + (hidden @ rbm.up.bias)[None, :]
        + torch.einsum("vi,hj,ji->vh", visible, hidden, rbm.up.weight)
    )
    torch.testing.assert_close(rbm.free_energy(visible), -torch.logsumexp(-energy, 1))


def test_conditionals_are_those_of_the_joint_distribution():
    rbm, visible, hidden = machine(), states(V), states(U)
    joint = torch.exp(
        (visible @ rbm.visible_bias)[:, None]
        + (hidden @ rbm.up.bias)[None, :]
        + torch.einsum("vi,hj,ji->vh", visible, hidden, rbm.up.weight)
    )
    torch.testing.assert_close(rbm(visible), joint @ hidden / joint.sum(1, keepdim=True))
    torch.testing.assert_close(rbm.down(hidden), joint.T @ visible / joint.sum(0)[:, None])


def test_the_contrast_has_the_gradient_of_contrastive_divergence():
    """Positive minus negative statistics (Hinton, 2002), written out."""
    rbm = machine()
    visible = patterns()
    torch.manual_seed(5)
    found = gradients(rbm, rbm(visible, 1)[:, 0].mean())
    torch.manual_seed(5)
    with torch.no_grad():
        chain = rbm.down(rbm(visible).bernoulli()).bernoulli()
        hidden, fantasy = rbm(visible), rbm(chain)
        weight = -(hidden.T @ visible - fantasy.T @ chain) / len(visible)
        up, down = -(hidden - fantasy).mean(0), -(visible - chain).mean(0)
    named = {"up.weight": weight, "up.bias": up, "visible_bias": down}
    expected = torch.cat([named[name].flatten() for name, _ in rbm.named_parameters()])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_long_chains_follow_the_exact_gradient_and_one_step_points_the_same_way():
    rbm, visible = machine(scale=0.7), patterns()
    exact = gradients(rbm, -log_likelihood(rbm, visible))

    def sampled(steps):
        torch.manual_seed(1)
        return gradients(rbm, rbm(visible.repeat(1000, 1), steps)[:, 0].mean())

    long, one = sampled(60), sampled(1)
    assert (long - exact).abs().max() < 0.01
    assert (one - exact).abs().max() > 3 * (long - exact).abs().max()  # biased, as is known
    assert torch.cosine_similarity(one, exact, 0) > 0.8


def test_learning_raises_the_exact_likelihood_and_lowers_the_reconstruction_error():
    torch.manual_seed(0)
    rbm, visible = BoltzmannMachine(V, U, on=0.6), patterns()
    optimizer = torch.optim.AdamW(rbm.parameters(), lr=0.02)
    before = log_likelihood(rbm, visible).item()
    errors = []
    for _ in range(500):
        contrast, error, _ = rbm(visible, 1).unbind(1)
        optimizer.zero_grad()
        contrast.mean().backward()
        optimizer.step()
        errors.append(error.mean().item())
    after = log_likelihood(rbm, visible).item()
    assert after > before + 1
    assert after <= -torch.tensor(3.0).log().item() + 1e-6  # three patterns, equally often: no model does better
    assert sum(errors[-50:]) < 0.3 * sum(errors[:50])


def net(**options) -> DeepBeliefNet:
    torch.manual_seed(0)
    return DeepBeliefNet(
        **{"pixels": 16, "outputs": 3, "widths": [8, 6], "dropout": 0.0, "cd_steps": 2, "mean": 0.2} | options
    )


def test_a_machine_learns_from_what_those_below_make_of_images_and_changes_no_other():
    model = net()
    images = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    figures = historic.pretraining(model, {"image": images}, 1)
    assert {name: value.shape for name, value in figures.items()} == dict.fromkeys(
        ("loss", "reconstruction_error", "free_energy"), (5,)
    )
    figures["loss"].mean().backward()
    changed = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert changed == {"machines.1.up.weight", "machines.1.up.bias", "machines.1.visible_bias"}


def test_a_new_net_has_no_opinion_and_bytes_are_shares():
    model = net().eval()
    images = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(model(images), torch.zeros(5, 3))
        below = model.machines[0](images.flatten(1) / 255)
        torch.nn.init.normal_(model.head.weight)
        torch.testing.assert_close(model(images), model.head(model.machines[1](below)))
        torch.testing.assert_close(model(images), model(images / 255))
    on = net(mean=0.2).machines[0].visible_bias.sigmoid()
    torch.testing.assert_close(on, torch.full_like(on, 0.2))


@pytest.mark.parametrize("size", [4, 8, 28, 64, 128])
def test_alexnet_takes_images_of_any_size(size):
    model = AlexNet(
        channels=3,
        size=size,
        outputs=5,
        widths=[4, 6, 8, 8, 6],
        dense=[10, 9],
        dropout=0.5,
        response_norm=size == 28,
        mean=[0.4] * 3,
        std=[0.3] * 3,
    )
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(model.eval()(images), torch.zeros(2, 5))  # no opinion
        torch.nn.init.normal_(model.head.weight)
        torch.testing.assert_close(model(images), model(images / 255))
    assert model.train()(images).std() > 0
    first = model.features[0]
    assert (first.kernel_size[0], first.stride[0]) == {4: (5, 1), 8: (5, 1), 28: (5, 1), 64: (7, 2), 128: (11, 4)}[size]


def test_alexnet_at_224_pixels_has_the_papers_maps():
    model = AlexNet(
        channels=3,
        size=224,
        outputs=2,
        widths=[96, 256, 384, 384, 256],
        dense=[8],
        dropout=0.5,
        response_norm=True,
        mean=[0.4] * 3,
        std=[0.3] * 3,
    )
    shapes = []
    for layer in model.features:
        layer.register_forward_hook(
            lambda module, args, output: shapes.append((type(module).__name__, output.shape[1:]))
        )
    with torch.no_grad():
        model(torch.zeros(1, 3, 224, 224))
    convolutions = [tuple(shape) for name, shape in shapes if name == "Conv2d"]
    assert [shape[0] for shape in convolutions] == [96, 256, 384, 384, 256]
    assert [shape[1] for shape in convolutions] == [56, 28, 14, 14, 14]  # with padding: 55, 27 and 13 in the paper


# Pre-training in the plan


PHASES = st.lists(st.builds(Phase, st.just("p"), st.floats(0.01, 5), st.floats(1e-4, 1)), max_size=4)


@settings(max_examples=100)
@given(phases=PHASES, epochs=st.floats(0.1, 5), examples=st.integers(10, 500))
def test_phases_follow_each_other_and_the_training_comes_after(phases, epochs, examples):
    train = Train(epochs=epochs, global_batch=10, lr=0.3)
    found, bare = plan(train, examples, phases), plan(train, examples)
    ends = [0, *(phase.end for phase in found.phases)]
    assert [phase.start for phase in found.phases] == ends[:-1]
    assert found.pretraining == ends[-1]
    assert found.steps - found.pretraining == bare.steps
    assert [boundary - found.pretraining for boundary in found.boundaries] == list(bare.boundaries)
    for number, (phase, asked) in enumerate(zip(found.phases, phases, strict=True)):
        for step in range(phase.start, phase.end):
            assert found.phase_at(step) == number
            assert found.rate(step, train) == asked.lr
        assert found.begins_anew(phase.end)
    rates = [found.rate(step, train) for step in range(found.pretraining, found.steps)]
    assert rates == [bare.rate(step, train) for step in range(bare.steps)]
    assert found.phase_at(found.pretraining) is None
    assert not found.begins_anew(0)


def test_the_model_section_says_its_phases():
    params = historic.DeepBeliefParams(widths=[5, 4], pretrain_epochs=3.0, pretrain_lr=0.01)
    assert params.pretraining == (Phase("machines.0", 3.0, 0.01), Phase("machines.1", 3.0, 0.01))
    assert historic.AlexNetParams().pretraining == ()
    with pytest.raises(ValidationError):
        historic.AlexNetParams(widths=[1, 2])
    assert {kind.model_fields["name"].default for kind in IMAGE.models} >= {"residual", "alexnet", "deep_belief_net"}


@pytest.mark.parametrize("name", ["residual", "alexnet", "deep_belief_net"])
def test_one_option_of_dvc_names_another_network_for_the_digits(tmp_path: Path, name: str):
    """As ``dvc exp run -S pipelines/digits/params.yaml:model.name=...`` does it."""
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "pipelines" / "digits" / "params.yaml", path)
    apply_overrides(path, [f"model.name={name}"])
    document = read_yaml(path)
    usecase = find(document["usecase"], tmp_path, document["target"])
    params = parse(usecase.params, document, path)
    encoding = {"channels": 1, "size": 28, "classes": list("0123456789"), "mean": [0.13], "std": [0.3]}
    with torch.no_grad():
        assert usecase.build(params.model, encoding)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
