"""Generators as people write them in PyTorch, of many habits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Forward = Callable[[Any, Tensor, Tensor], Tensor]


class Net(nn.Module):
    """Layers by name, and what to do with them."""

    def __init__(self, forward: Forward, **layers: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Images of latents [n, k] and labels [n]."""
        return self.run(self, z, labels)


def one_hot(labels: Tensor, count: int) -> Tensor:
    """float32 [n, count]: a one at each label."""
    return nn.functional.one_hot(labels, count).float()


def up(size_in: int, size_out: int, *shape: int, **options: Any) -> nn.ConvTranspose2d:
    """A transposed convolution."""
    return nn.ConvTranspose2d(size_in, size_out, *shape, **options)


def block(size_in: int, size_out: int, kernel: int, stride: int) -> nn.Sequential:
    """One of a network whose stages are modules."""
    layers = (up(size_in, size_out, kernel, stride), nn.BatchNorm2d(size_out), nn.ReLU())
    return nn.Sequential(*layers)


def dcgan(side: int, latent: int = 100, channels: int = 3) -> Net:
    """Transposed convolutions up to a side of 32, 64 or 128."""
    layers: list[nn.Module] = [up(latent, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    width = 32
    while (side := side // 2) > 4:
        layers += [
            up(width, width // 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(),
        ]
        width //= 2
    layers += [up(width, channels, 4, 2, 1, bias=False), nn.Tanh()]
    return Net(lambda net, z, _: net.main(z[:, :, None, None]), main=nn.Sequential(*layers))


def seven() -> Net:
    """A kernel of 7 first: 7, 14, 28."""
    layers = (
        up(100, 16, 7, 1, 0, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        up(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        up(8, 1, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    return Net(lambda net, z, _: net.net(z[:, :, None, None]), net=nn.Sequential(*layers))


def unpadded() -> Net:
    """No padding anywhere: sides 1, 3, 6, 13, 28."""
    layers = (block(64, 32, 3, 2), block(32, 16, 4, 1), block(16, 8, 3, 2),
              nn.Sequential(up(8, 1, 4, 2), nn.Tanh()))  # fmt: skip
    return Net(lambda net, z, _: net.gen(z[:, :, None, None]), gen=nn.Sequential(*layers))


def upsampled(label_first: bool, activation: Callable[[], nn.Module], convs: int) -> Net:
    """Linear, then convolutions behind upsamplings, eps 0.8 in all norms but the first."""
    latent, width = 100 if label_first else 10, 16
    layers: list[nn.Module] = [nn.BatchNorm2d(width)]
    for number in range(convs):
        if number < 2:
            layers.append(nn.Upsample(scale_factor=2))
        if number == convs - 1:
            layers += [nn.Conv2d(width, 1, 3, padding=1), nn.Tanh()]
        else:
            layers += [nn.Conv2d(width, 16, 3, padding=1), nn.BatchNorm2d(16, 0.8), activation()]

    def forward(net: Any, z: Tensor, labels: Tensor) -> Tensor:
        row = net.label_emb(labels)
        x = net.l1(torch.cat((row, z) if label_first else (z, row), 1))
        return net.conv_blocks(x.view(len(x), width, 7, 7))

    return Net(forward, label_emb=nn.Embedding(10, 10),
               l1=nn.Sequential(nn.Linear(latent + 10, width * 49)),
               conv_blocks=nn.Sequential(*layers))  # fmt: skip


def vae(classes: int) -> Net:
    """The decoder of a VAE, with its encoder; with classes a conditional one."""

    def forward(net: Any, z: Tensor, labels: Tensor) -> Tensor:
        x = torch.cat((z, one_hot(labels, classes)), 1) if classes else z
        return net.fc4(net.fc3(x).relu()).sigmoid()

    return Net(forward, fc1=nn.Linear(784 + classes, 40), fc21=nn.Linear(40, 10),
               fc22=nn.Linear(40, 10), fc3=nn.Linear(10 + classes, 40),
               fc4=nn.Linear(40, 784))  # fmt: skip


def conv_vae() -> Net:
    """The same of convolutions."""
    encoder = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1))
    decoder = nn.Sequential(up(16, 8, 4, 2, 1), nn.ReLU(), up(8, 1, 4, 2, 1), nn.Sigmoid())

    def forward(net: Any, z: Tensor, labels: Tensor) -> Tensor:
        return net.decoder(net.decoder_input(z).relu().view(len(z), 16, 8, 8))

    return Net(forward, encoder=encoder, fc_mu=nn.Linear(1024, 20), fc_var=nn.Linear(1024, 20),
               decoder_input=nn.Linear(20, 1024), decoder=decoder)  # fmt: skip


def wide_mlp() -> Net:
    """Linear layers that double, up to 32 x 32."""
    layers: list[nn.Module] = [nn.Linear(100, 16), nn.LeakyReLU(0.2)]
    for size in (16, 32):
        layers += [nn.Linear(size, 2 * size), nn.BatchNorm1d(2 * size, 0.8), nn.LeakyReLU(0.2)]
    layers += [nn.Linear(64, 1024), nn.Tanh()]
    return Net(lambda net, z, _: net.model(z), model=nn.Sequential(*layers))


def one_hot_gan() -> Net:
    """The label beside the latent, as a one among zeros."""
    model = nn.Sequential(nn.Linear(110, 32), nn.LeakyReLU(0.2), nn.Linear(32, 784), nn.Tanh())
    return Net(lambda net, z, y: net.model(torch.cat((z, one_hot(y, 10)), 1)), model=model)


def multiplied() -> Net:
    """The label's row times the latent."""
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 784), nn.Tanh())
    return Net(lambda net, z, y: net.model(net.label_embedding(y) * z),
               label_embedding=nn.Embedding(7, 20), model=model)  # fmt: skip


def shuffled() -> Net:
    """Pixel shuffles instead of transposed convolutions."""
    layers = (
        nn.Conv2d(8, 32, 3, padding=1), nn.PixelShuffle(2), nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2), nn.ReLU(),
        nn.Conv2d(3, 3, 3, padding=1), nn.Tanh(),
    )  # fmt: skip
    return Net(lambda net, z, _: net.body(net.head(z).relu().view(-1, 8, 8, 8)),
               head=nn.Linear(32, 512), body=nn.Sequential(*layers))  # fmt: skip


def norms_apart() -> Net:
    """All norms are registered behind all convolutions."""

    def forward(net: Any, z: Tensor, _: Tensor) -> Tensor:
        x = net.bn1(net.ct1(z[:, :, None, None])).relu()
        return net.ct3(net.bn2(net.ct2(x)).relu()).tanh()

    return Net(forward, ct1=up(64, 32, 8, 1, 0), ct2=up(32, 16, 4, 2, 1), ct3=up(16, 3, 4, 2, 1),
               bn1=nn.BatchNorm2d(32), bn2=nn.BatchNorm2d(16))  # fmt: skip


def with_discriminator() -> Net:
    """Both networks in one file."""
    critic = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.LeakyReLU(0.2))
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 784), nn.Tanh())
    return Net(lambda net, z, _: net.generator(z), discriminator=critic, generator=model)


def styled() -> Net:
    """Two tables: 49 characters and 2 styles."""
    model = nn.Sequential(nn.Linear(44, 32), nn.ReLU(), nn.Linear(32, 784), nn.Tanh())

    def forward(net: Any, z: Tensor, labels: Tensor) -> Tensor:
        rows = (net.char_emb(labels // 2), net.style_emb(labels % 2))
        return net.model(torch.cat((*rows, z), 1))

    return Net(forward, char_emb=nn.Embedding(49, 10), style_emb=nn.Embedding(2, 2), model=model)


def parallel() -> Net:
    """Saved out of nn.DataParallel: every name begins with module."""
    return Net(lambda net, z, y: net.module(z, y), module=dcgan(32))


def normed_spectrally() -> Net:
    """A layer whose weight is divided by its largest singular value."""
    net = seven()
    net.net[3] = nn.utils.spectral_norm(net.net[3])
    return net


NETS: dict[str, tuple[Callable[[], Net], int]] = {
    "dcgan-64": (lambda: dcgan(64), 0),
    "dcgan-32": (lambda: dcgan(32), 0),
    "dcgan-128-rgba": (lambda: dcgan(128, channels=4), 0),
    "kernel-7": (seven, 0),
    "no-padding": (unpadded, 0),
    "label-first": (lambda: upsampled(True, lambda: nn.LeakyReLU(0.2), 2), 10),
    "latent-first": (lambda: upsampled(False, nn.ReLU, 3), 10),
    "vae": (lambda: vae(0), 0),
    "cvae": (lambda: vae(10), 10),
    "conv-vae": (conv_vae, 0),
    "wide-mlp": (wide_mlp, 0),
    "one-hot-gan": (one_hot_gan, 10),
    "multiplied": (multiplied, 7),
    "pixel-shuffle": (shuffled, 0),
    "norms-apart": (norms_apart, 0),
    "with-discriminator": (with_discriminator, 0),
    "two-conditions": (styled, 98),
    "data-parallel": (parallel, 0),
    "spectral-norm": (normed_spectrally, 0),
}


def trained(net: Net) -> Net:
    """Statistics that are not those of a fresh norm; gradients off."""
    made = torch.Generator().manual_seed(5)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(generator=made)
            module.running_var.uniform_(0.5, 2, generator=made)
    return net.eval().requires_grad_(False)


def remembering(net: Net, latent_size: int, classes: int) -> Net:
    """Norms with the statistics of what passes through them, as training leaves them."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    net.train()
    with torch.no_grad():
        for _ in range(8):
            net(torch.randn(256, latent_size), torch.randint(max(1, classes), (256,)))
    return net.eval().requires_grad_(False)
