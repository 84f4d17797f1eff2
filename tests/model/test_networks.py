"""The networks: shapes, what they depend on, and how they are built."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srae_dist.core.errors import UserError
from srae_dist.model.autoencoder import AutoEncoder
from srae_dist.model.blocks import DoublingConv2d, ResidualBlock, norm, stage_widths
from srae_dist.model.build import build_autoencoder, build_discriminator, check_sizes
from srae_dist.recipe.schema import Model
from tests.objective.tiny import MODEL, SIZE, tiny_batch, tiny_objective


def tiny(seed: int = 0, *, checkpoint: bool = False) -> AutoEncoder:
    return build_autoencoder(MODEL, image_size=SIZE, seed=seed, checkpoint_activations=checkpoint)


def images(count: int = 3, size: int = SIZE, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(
    ("image_size", "code_size", "k", "j"),
    [(32, 8, 4, 3), (64, 8, 5, 1), (128, 16, 1, 7), (256, 4, 3, 2), (32, 2, 2, 2), (96, 12, 3, 5)],
)
def test_shapes(image_size: int, code_size: int, k: int, j: int) -> None:
    model = Model(
        code_size=code_size,
        content_channels=k,
        domain_channels=j,
        width=8,
        max_width=16,
        discriminator_width=8,
    )
    net = build_autoencoder(model, image_size=image_size, seed=0)
    with torch.no_grad():
        codes = net.encode(images(2, image_size))
        assert codes.content.mean.shape == codes.content.sigma.shape == (2, k, code_size, code_size)
        assert codes.domain.mean.shape == codes.domain.sigma.shape == (2, j)
        out = net.decode(codes.content.mean, codes.domain.mean)
        assert out.shape == (2, 3, image_size, image_size)
        for name, z in (("q_c", codes.content.mean), ("q_d", net.broadcast(codes.domain.mean))):
            q = build_discriminator(model, name, num_domains=5, seed=0)
            assert q(z).shape == (2, 5)


@pytest.mark.parametrize("blocks", [1, 3])
def test_blocks_per_resolution(blocks: int) -> None:
    model = MODEL.model_copy(update={"blocks": blocks})
    net = build_autoencoder(model, image_size=SIZE, seed=0)
    trunk, decoder = (
        sum(isinstance(m, ResidualBlock) for m in half.modules())
        for half in (net.trunk, net.decoder)
    )
    assert trunk == 2 * blocks  # 32 -> 16 -> 8
    assert decoder == 2 * blocks + 1  # one more where the codes meet


def test_channels_double_up_to_their_bound() -> None:
    assert stage_widths(8, 64, 5) == [8, 16, 32, 64, 64]
    assert stage_widths(8, 24, 3) == [8, 16, 24]


def test_a_residual_block_starts_near_the_identity() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = torch.randn(2, 16, 8, 8)
        change = (ResidualBlock(16)(x) - x).detach()
    assert 0 < float(change.std()) < 0.1


def test_the_domain_code_is_the_same_everywhere() -> None:
    code = torch.tensor([[1.0, -2.0, 3.0]])
    net = tiny()
    field = net.broadcast(code)
    assert field.shape == (1, 3, 8, 8)
    assert torch.equal(field, code[:, :, None, None] * torch.ones(1, 1, 8, 8))
    content = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net.decode(content, code), net.decode(content, field))


def test_forward_reconstructs_from_the_means() -> None:
    net, x = tiny(), images()
    codes = net.encode(x)
    assert torch.equal(net(x), net.decode(codes.content.mean, codes.domain.mean))


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_sigma_is_positive_whatever_comes(scale: float) -> None:
    codes = tiny().encode(images() * scale)
    for code in (codes.content, codes.domain):
        assert float(code.sigma.detach().min()) > 0
        assert torch.isfinite(code.sigma.log()).all()
        assert torch.isfinite(code.mean).all()


def test_sigma_cannot_collapse_to_nothing() -> None:
    """The paper has no prior; log(sigma) must stay finite all the same."""
    net = tiny()
    with torch.no_grad():
        for stream in (net.content, net.domain):
            stream.out.bias.fill_(-1e4)
    codes = net.encode(images())
    for code in (codes.content, codes.domain):
        assert 0 < float(code.sigma.detach().max()) < 1e-3
        assert torch.isfinite(code.sigma.log()).all()


def test_sigma_starts_small_so_that_codes_carry_the_image() -> None:
    codes = tiny().encode(images())
    for code in (codes.content, codes.domain):
        assert 0.05 < float(code.sigma.detach().mean()) < 0.3


def test_half_precision_codes_are_float32() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = tiny().encode(images())
    assert codes.content.sigma.dtype == codes.domain.mean.dtype == torch.float32


@pytest.mark.parametrize(("name", "channels"), [("q_c", 4), ("q_d", 3)])
def test_logits_are_float32(name: str, channels: int) -> None:
    q = build_discriminator(MODEL, name, num_domains=2, seed=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert q(torch.zeros(1, channels, 8, 8)).dtype == torch.float32


@pytest.mark.parametrize(("name", "channels", "blind"), [("q_c", 4, False), ("q_d", 3, True)])
def test_only_q_c_sees_how_places_lie_together(name: str, channels: int, blind: bool) -> None:
    """A domain code is one vector, with fresh noise at each place."""
    q = build_discriminator(MODEL, name, num_domains=2, seed=0)
    z = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(q(z), q(z.flip(3)), rtol=1e-4, atol=1e-6) is blind


@pytest.mark.parametrize("name", ["autoencoder", "q_c", "q_d"])
def test_no_state_changes_in_training_mode(name: str) -> None:
    net: nn.Module = tiny()
    x = images()
    if name != "autoencoder":
        net = build_discriminator(MODEL, name, num_domains=2, seed=0)
        x = torch.randn(3, 4 if name == "q_c" else 3, 8, 8)
    net.train()
    before = copy.deepcopy(net.state_dict())
    first = net(x)
    assert torch.equal(net(x), first)  # nothing random inside
    assert list(net.buffers()) == []
    after = net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_sample_s_codes_do_not_depend_on_its_neighbours() -> None:
    net, x = tiny().train(), images(4)
    alone = net.encode(x[:1])
    others = net.encode(torch.cat([x[:1], 100 * x[1:]]))
    for mine, theirs in ((alone.content, others.content), (alone.domain, others.domain)):
        torch.testing.assert_close(mine.mean, theirs.mean[:1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mine.sigma, theirs.sigma[:1], rtol=1e-4, atol=1e-5)
    q = build_discriminator(MODEL, "q_c", num_domains=2, seed=0)
    z = others.content.mean
    torch.testing.assert_close(q(z)[:1], q(z[:1]), rtol=1e-4, atol=1e-5)


def test_a_constant_domain_code_survives_the_norms() -> None:
    """At initialisation, far from the border, every number of it changes the image."""
    net = tiny()
    content = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = net.decode(content, torch.zeros(1, 3))
        for place in range(3):
            code = torch.zeros(1, 3)
            code[0, place] = 1.0
            inside = (slice(None), slice(None), slice(12, 20), slice(12, 20))
            change = (net.decode(content, code) - plain)[inside].abs().mean()
            assert float(change) > 0.01 * float(plain[inside].std())


def test_the_norm_keeps_a_constant_map() -> None:
    field = torch.arange(16.0).reshape(1, 16, 1, 1).expand(1, 16, 8, 8)
    assert float(norm(16)(field).detach().abs().mean()) > 0.5


def test_every_weight_learns() -> None:
    net = tiny()
    codes = net.encode(images())
    out = net.decode(
        codes.content.mean + codes.content.sigma, codes.domain.mean + codes.domain.sigma
    )
    out.square().mean().backward()
    silent = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().any()]
    assert silent == []


def test_weights_follow_the_seed() -> None:
    one, same, other = tiny(3), tiny(3), tiny(4)
    weights = [dict(net.named_parameters()) for net in (one, same, other)]
    assert all(torch.equal(p, weights[1][n]) for n, p in weights[0].items())
    assert not torch.equal(weights[0]["decoder.out.weight"], weights[2]["decoder.out.weight"])
    q = [build_discriminator(MODEL, "q_c", num_domains=2, seed=s) for s in (3, 3, 4)]
    assert torch.equal(q[0].out.weight, q[1].out.weight)
    assert not torch.equal(q[0].out.weight, q[2].out.weight)


def test_building_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    tiny()
    build_discriminator(MODEL, "q_d", num_domains=2, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_global_generator_does_not_matter() -> None:
    torch.manual_seed(1)
    one = tiny()
    torch.manual_seed(2)
    assert torch.equal(one.decoder.out.weight, tiny().decoder.out.weight)


def test_recomputed_activations_give_the_same_gradients() -> None:
    gradients = []
    for checkpoint in (False, True):
        net = tiny(checkpoint=checkpoint).train()
        net(images()).square().mean().backward()
        gradients.append({n: p.grad for n, p in net.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_recomputing_saves_activations() -> None:
    """Otherwise the option would be an empty promise: count what autograd keeps."""

    def kept(checkpoint: bool) -> int:
        net, total = tiny(checkpoint=checkpoint).train(), 0
        weights = {p.data_ptr() for p in net.parameters()}

        def pack(tensor: Tensor) -> Tensor:
            nonlocal total
            total += 0 if tensor.data_ptr() in weights else tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            net(images())
        return total

    assert kept(True) < kept(False) / 4


def test_convolutions_stay_channels_last() -> None:
    """A convolution in another memory format costs a copy each way.

    The codes themselves are excepted: they meet NCHW noise, and are small.
    """
    objective = tiny_objective().to(memory_format=torch.channels_last)
    seen: list[tuple[str, bool]] = []

    def watch(name: str, module: nn.Module) -> None:
        def look(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            watched = [t for t in (inputs[0], output) if t.shape[2] > MODEL.code_size]
            last = [t.is_contiguous(memory_format=torch.channels_last) for t in watched]
            seen.append((name, all(last)))

        module.register_forward_hook(look)

    for name, module in objective.named_modules():
        if isinstance(module, nn.Conv2d):
            watch(name, module)
    images, domains, slots = tiny_batch(4)
    objective(images, domains, slots, torch.ones(len(objective.term_names)))
    assert len(seen) > 20
    assert [name for name, last in seen if not last] == []


@pytest.mark.parametrize(("image", "code"), [(32, 8), (64, 8), (256, 16), (48, 12), (16, 8)])
def test_fitting_sizes(image: int, code: int) -> None:
    check_sizes(image, code)
    assert Model(code_size=code).fits(image)


@pytest.mark.parametrize(("image", "code"), [(8, 8), (4, 8), (24, 8), (100, 8), (64, 9), (33, 16)])
def test_unfit_sizes_are_refused(image: int, code: int) -> None:
    with pytest.raises(UserError, match=rf"{image} pixels.*model\.code_size = {code}"):
        check_sizes(image, code)
    assert not Model(code_size=code).fits(image)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_doubling_is_enlarging_and_then_convolving(layout: torch.memory_format) -> None:
    convolution = DoublingConv2d(5, 7).double().to(memory_format=layout)
    x = torch.randn(2, 5, 6, 4, dtype=torch.float64).contiguous(memory_format=layout)
    enlarged = F.interpolate(x, scale_factor=2, mode="nearest")
    expected = F.conv2d(enlarged, convolution.weight, convolution.bias, padding=1)
    found = convolution(x)
    assert found.is_contiguous(memory_format=layout)
    torch.testing.assert_close(found, expected)
    g = torch.randn_like(expected)
    parameters = tuple(convolution.parameters())
    wanted = torch.autograd.grad(expected, parameters, g)
    torch.testing.assert_close(torch.autograd.grad(found, parameters, g), wanted)


def test_norm_learns_behind_features_that_were_cut_off() -> None:
    layer = norm(16)
    x = torch.randn(2, 16, 4, 4).contiguous(memory_format=torch.channels_last)
    layer(x).square().sum().backward()  # crashes with torch 2.11's own
    assert layer.weight.grad is not None and layer.weight.grad.all()
    assert not x.requires_grad


@pytest.mark.parametrize("channels", [8, 16, 24, 40, 64, 256])
def test_norm_groups_divide_and_hold_more_than_one_channel(channels: int) -> None:
    layer = norm(channels)
    assert channels // layer.num_groups in (8, 16)
