from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv1d, pad, relu

from offline_algos.arguments import training_parser
from offline_algos.encoders import (
    ENCODERS,
    Attention,
    Convolutions,
    GatedRecurrence,
    MLPEncoder,
    NatureEncoder,
    make_encoder,
)
from offline_algos.networks import Inputs

# The account state between the windows: nothing may rely on where a part stands.
LAYOUT = (
    ("market_data_1Minute", 0, 60, (12, 5)),
    ("account_state", 60, 66, (6,)),
    ("market_data_5Minute", 66, 71, (1, 5)),
    ("market_data_1Hour", 71, 106, (7, 5)),
)
IMAGE = (("image", 0, 4 * 84 * 84, (4, 84, 84)),)
OVER_WINDOWS = ("cnn", "gru", "transformer")


def make(encoder: str, layout=LAYOUT, sizes=(16, 24)) -> nn.Module:
    torch.manual_seed(0)
    return make_encoder(Inputs(layout, encoder, sizes))


def observations(rows: int, layout=LAYOUT) -> torch.Tensor:
    return torch.randn(rows, layout[-1][2], generator=torch.Generator().manual_seed(1))


def test_they_are_the_flag_s_values():
    parser = training_parser(None, lr=1.0)
    for encoder in ENCODERS:
        assert parser.parse_args(["--load-buffer-name", "x", "--encoder", encoder])
        assert make(encoder, IMAGE if encoder == "nature" else LAYOUT)
    assert ENCODERS[0] == "mlp" and set(OVER_WINDOWS) < set(ENCODERS)


@pytest.mark.parametrize("encoder", ("mlp", *OVER_WINDOWS))
def test_features_of_a_row_depend_on_that_row_alone(encoder: str):
    made, obs = make(encoder), observations(256)
    together = made(obs)
    assert together.shape == (256, made.width) == (256, 24)
    assert torch.equal(together, made(obs))
    assert torch.equal(together, made.eval()(obs))
    torch.testing.assert_close(made(obs[7:8]), together[7:8])


@pytest.mark.parametrize("encoder", ("mlp", *OVER_WINDOWS))
def test_every_column_is_read(encoder: str):
    made = make(encoder).double()
    obs = observations(64).double().requires_grad_()
    made(obs).sum().backward()
    assert bool((obs.grad.abs().amax(0) > 0.0).all())


@pytest.mark.parametrize("encoder", OVER_WINDOWS)
def test_each_window_has_its_own_encoder_beside_the_other_parts(encoder: str):
    made, obs = make(encoder), observations(5)
    first, last = obs[:, :60].reshape(5, 12, 5), obs[:, 71:106].reshape(5, 7, 5)
    frames = (made.frames[0](first), made.frames[1](obs[:, None, 66:71]), made.frames[2](last))
    joined = torch.cat((obs[:, 60:66], *frames), dim=1)
    torch.testing.assert_close(made(obs), made.hidden(joined))
    owners = [set(map(id, frame.parameters())) for frame in made.frames]
    assert not set.intersection(*owners) and len(owners) == 3


@pytest.mark.parametrize("window", [1, 2, 3, 8, 12, 24])
def test_convolutions_are_the_newest_output_of_dilated_causal_ones(window: int):
    torch.manual_seed(window)
    made = Convolutions(window, 5).double()
    bars = torch.randn(6, window, 5, dtype=torch.float64)
    seen = bars.transpose(1, 2)
    kernels = [layer for layer in made.layers if isinstance(layer, nn.Conv1d)]
    for level, layer in enumerate(kernels):
        padded = pad(seen, (2 * 2**level, 0))
        seen = relu(conv1d(padded, layer.weight, layer.bias, dilation=2**level))
        assert seen.shape[2] == window
    torch.testing.assert_close(made(bars), seen[:, :, -1])


def test_the_recurrence_ends_in_the_last_hidden_state():
    torch.manual_seed(0)
    made = GatedRecurrence(9, 5).double()
    bars = torch.randn(6, 9, 5, dtype=torch.float64)
    weights = [values.detach().numpy() for values in made.cells.parameters()]
    inward, across, inward_bias, across_bias = weights
    hidden = np.zeros((6, 32))
    for bar in bars.numpy().transpose(1, 0, 2):
        reset_in, update_in, new_in = np.split(bar @ inward.T + inward_bias, 3, 1)
        reset_on, update_on, new_on = np.split(hidden @ across.T + across_bias, 3, 1)
        reset = 1.0 / (1.0 + np.exp(-reset_in - reset_on))
        update = 1.0 / (1.0 + np.exp(-update_in - update_on))
        hidden = (1.0 - update) * np.tanh(new_in + reset * new_on) + update * hidden
    np.testing.assert_allclose(made(bars).detach(), hidden, rtol=1e-10)


def test_attention_is_torch_s_own_encoder_read_at_the_newest_bar():
    torch.manual_seed(0)
    made = Attention(9, 5).double()
    bars = torch.randn(6, 9, 5, dtype=torch.float64)
    tokens = made.embedding(bars) + made.positions
    for block in made.blocks:
        other = nn.TransformerEncoderLayer(
            32, 2, 64, dropout=0.0, norm_first=True, batch_first=True, dtype=torch.float64
        )
        norm, inside, _, outside = block.feed_forward
        attention = other.self_attn
        with torch.no_grad():
            rows = (block.query.weight, block.key.weight, block.value.weight)
            attention.in_proj_weight.copy_(torch.cat(rows))
            shift = torch.cat((block.query.bias, torch.zeros(32), block.value.bias))
            attention.in_proj_bias.copy_(shift)
        attention.out_proj.load_state_dict(block.attended.state_dict())
        other.norm1.load_state_dict(block.before_attention.state_dict())
        other.norm2.load_state_dict(norm.state_dict())
        other.linear1.load_state_dict(inside.state_dict())
        other.linear2.load_state_dict(outside.state_dict())
        tokens = other(tokens)
    torch.testing.assert_close(made(bars), made.last(tokens[:, -1]))


@pytest.mark.parametrize("make_frame", [GatedRecurrence, Attention, Convolutions])
def test_the_order_of_the_bars_matters(make_frame):
    torch.manual_seed(0)
    made, bars = make_frame(8, 5), torch.randn(3, 8, 5)
    swapped = bars[:, [0, 1, 2, 3, 4, 6, 5, 7]]
    assert bool(((made(bars) - made(swapped)).abs() > 1e-3).any())


def test_without_hidden_layers_the_columns_are_the_features():
    obs = observations(3)
    assert MLPEncoder(106, ()).width == 106 and torch.equal(MLPEncoder(106, ())(obs), obs)
    made = make("cnn", sizes=())
    assert made.width == 3 * 32 + 6 and made(obs).shape == (3, 102)


def test_nature_s_network_has_the_published_sizes():
    made = make("nature", IMAGE)
    shapes = [tuple(values.shape) for name, values in made.named_parameters() if "weight" in name]
    assert shapes == [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136)]
    strides = [layer.stride for layer in made.layers if isinstance(layer, nn.Conv2d)]
    assert strides == [(4, 4), (2, 2), (1, 1)] and made.width == 512


@pytest.mark.parametrize("rows", [1, 3])
def test_an_image_may_come_flat(rows: int):
    made, flat = make("nature", IMAGE), observations(rows, IMAGE)
    image = flat.reshape(rows, 4, 84, 84)
    assert made(flat).shape == (rows, 512) and torch.equal(made(flat), made(image))
    expected = made.layers[:6](image).flatten(1)
    torch.testing.assert_close(made(flat), relu(made.layers[7](expected)))


@pytest.mark.parametrize("encoder", OVER_WINDOWS)
def test_without_a_window_it_is_said_what_there_is(encoder: str):
    layout = (("position", 0, 3, (3,)), ("market_data_mean", 3, 8, (5,)))
    with pytest.raises(ValueError, match=r"position \[3\], market_data_mean \[5\].*--encoder mlp"):
        make(encoder, layout)


@pytest.mark.parametrize("layout", [LAYOUT, (*IMAGE, *LAYOUT), (("image", 0, 300, (3, 10, 10)),)])
def test_nature_s_network_wants_an_image(layout):
    with pytest.raises(ValueError, match=r"--encoder nature.*(image|market_data_1Minute) \["):
        NatureEncoder(layout)


def test_an_unknown_encoder_is_refused():
    with pytest.raises(ValueError, match="--encoder lstm: expected one of mlp, cnn"):
        make("lstm")
