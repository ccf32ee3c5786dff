"""The networks: shapes, causality, and a start that knows nothing."""

import functools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from sluiceway.models.gpt import GPT, rotary, rotate
from sluiceway.models.residual import ResidualNet

V, T = 50, 16


@functools.cache
def gpt(*, trained=True, dropout=0.0, seed=0):
    torch.manual_seed(seed)
    model = GPT(vocabulary=V, context=T, channels=32, layers=3, heads=4, dropout=dropout)
    if trained:  # layers begin as their shortcut: nothing would be mixed
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def residual(*, trained=True, channels=3, classes=7, groups=4):
    torch.manual_seed(0)
    model = ResidualNet(
        channels=channels,
        outputs=classes,
        stem=8,
        widths=[8, 12],
        depths=[2, 1],
        groups=groups,
        mean=[0.4] * channels,
        std=[0.3] * channels,
    )
    if trained:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def pixels(count, channels, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)


# GPT


@settings(max_examples=40)
@given(length=st.integers(2, T), changed=st.integers(1, T - 1), token=st.integers(1, V - 1), seed=st.integers(0, 99))
def test_a_later_token_changes_no_earlier_logits(length, changed, token, seed):
    changed = changed % (length - 1) + 1
    tokens = torch.randint(0, V, (2, length), generator=torch.Generator().manual_seed(seed))
    other = tokens.clone()
    other[:, changed] = (other[:, changed] + token) % V
    model = gpt()
    with torch.no_grad():
        before, after = model(tokens), model(other)
    torch.testing.assert_close(before[:, :changed], after[:, :changed], rtol=0, atol=1e-5)
    assert (before[:, changed:] - after[:, changed:]).abs().amax(-1).min() > 1e-4  # and it does change the later ones


def test_a_token_counts_with_its_place():
    tokens = torch.tensor([[3, 7, 9, 1]])
    swapped = torch.tensor([[7, 3, 9, 1]])
    with torch.no_grad():
        assert (gpt()(tokens)[0, -1] - gpt()(swapped)[0, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("length", [1, 5, T])
def test_gpt_shapes(length):
    with torch.no_grad():
        assert gpt()(torch.zeros(3, length, dtype=torch.long)).shape == (3, length, V)


def test_a_new_gpt_looks_at_nothing_but_the_last_token():
    model = gpt(trained=False)
    one, other = torch.tensor([[1, 2, 3]]), torch.tensor([[4, 5, 3]])
    with torch.no_grad():
        torch.testing.assert_close(model(one)[0, -1], model(other)[0, -1])


def test_gpt_attention_is_that_of_the_paper():
    """One attention layer against softmax(q k / sqrt(D)) v, written out."""
    model = gpt()
    attention = model.layers[0].attention
    hidden = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(1))
    cos, sin = model.cos[:6], model.sin[:6]
    with torch.no_grad():
        query, key, value = (
            part.view(2, 6, 4, 8).transpose(1, 2) for part in (hidden @ attention.qkv.weight.T).split(32, -1)
        )
        query = rotate(attention.query_norm(query), cos, sin)
        key = rotate(attention.key_norm(key), cos, sin)
        scores = query @ key.transpose(-1, -2) / math.sqrt(8)
        scores = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), -math.inf)
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(2, 6, 32)
        torch.testing.assert_close(attention(hidden, cos, sin), mixed @ attention.out.weight.T, rtol=1e-4, atol=1e-4)


def test_rotary_positions_keep_lengths_and_see_distances_only():
    cos, sin = rotary(40, 8)
    query, key = torch.randn(8), torch.randn(8)
    turned_query = rotate(query.expand(1, 1, 40, 8), cos, sin)[0, 0]
    turned_key = rotate(key.expand(1, 1, 40, 8), cos, sin)[0, 0]
    torch.testing.assert_close(turned_query.norm(dim=1), query.norm().expand(40))
    scores = turned_query @ turned_key.T
    for distance in (0, 1, 7):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-4)


def test_dropout_acts_in_training_only():
    model, tokens = gpt(dropout=0.5), torch.zeros(1, 8, dtype=torch.long)
    with torch.no_grad():
        assert torch.equal(model(tokens), model(tokens))
        model.train()
        assert not torch.equal(model(tokens), model(tokens))


def test_tables_of_positions_are_no_weights():
    assert not {"cos", "sin"} & set(gpt().state_dict())


# Residual network


@pytest.mark.parametrize("size", [4, 5, 7, 8, 28, 33])
@pytest.mark.parametrize("channels", [1, 3])
def test_residual_shapes(size, channels):
    with torch.no_grad():
        assert residual(channels=channels)(pixels(2, channels, size)).shape == (2, 7)


def test_bytes_and_floats_are_the_same_image():
    images = pixels(4, 3, 16)
    with torch.no_grad():
        torch.testing.assert_close(residual()(images), residual()(images.float() / 255))


def test_an_image_is_answered_alone_as_in_a_batch():
    images = pixels(5, 3, 16)
    with torch.no_grad():
        alone = torch.cat([residual().train()(image[None]) for image in images])
        torch.testing.assert_close(residual().train()(images), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_a_new_network_is_undecided(classes):
    model = residual(trained=False, classes=classes)
    with torch.no_grad():
        logits = model(pixels(6, 3, 12))
    assert cross_entropy(logits, torch.arange(6) % classes).item() == pytest.approx(math.log(classes), rel=1e-6)


def test_a_new_network_learns_at_once():
    """Zeros at the start must not be zeros for ever: every parameter moves within a few steps."""
    model = residual(trained=False).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        cross_entropy(model(pixels(8, 3, 12)), torch.arange(8) % 7).backward()
        optimizer.step()
    assert [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])] == []


def test_standardisation_is_part_of_the_model():
    assert {"mean", "std"} <= set(residual().state_dict())
    images = pixels(2, 3, 8)
    model = residual()
    with torch.no_grad():
        before = model(images)
        model.mean.add_(0.1)
        torch.testing.assert_close(model(images.float() / 255 + 0.1), before, rtol=1e-3, atol=1e-4)


def test_fewer_channels_than_groups_are_one_group_each():
    model = ResidualNet(channels=1, outputs=3, stem=4, widths=[6, 16], depths=[1, 1], groups=8, mean=[0.5], std=[0.2])
    assert [model.blocks[0].norm1.num_groups, model.blocks[0].norm2.num_groups, model.norm.num_groups] == [4, 6, 8]
    with torch.no_grad():
        assert model(pixels(1, 1, 8)).shape == (1, 3)
