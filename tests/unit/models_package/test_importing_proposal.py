"""Networks as people write them, saved by torch: the proposal computes what they compute."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from models.declared.import_spec import ImportSpec
from models.importing.convert import run
from models.importing.evidence import open_declared, settle
from models.importing.proposal.chain import NoProposalError
from models.importing.proposal.propose import Proposal, propose
from models.importing.report import Report
from tests.hostile.building import saved

Forward = Callable[[Any, Tensor, Tensor], Tensor]


class Net(nn.Module):
    """Layers by name, and what to do with them."""

    def __init__(self, forward: Forward, **layers: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.run(self, z, labels)


def one_hot(labels: Tensor, count: int) -> Tensor:
    return nn.functional.one_hot(labels, count).float()


def up(size_in: int, size_out: int, *shape: int, **options: Any) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(size_in, size_out, *shape, **options)


def block(size_in: int, size_out: int, kernel: int, stride: int) -> nn.Sequential:
    layers = (up(size_in, size_out, kernel, stride), nn.BatchNorm2d(size_out), nn.ReLU())
    return nn.Sequential(*layers)


def dcgan(side: int, latent: int = 100, channels: int = 3) -> Net:
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
    def forward(net: Any, z: Tensor, labels: Tensor) -> Tensor:
        x = torch.cat((z, one_hot(labels, classes)), 1) if classes else z
        return net.fc4(net.fc3(x).relu()).sigmoid()

    return Net(forward, fc1=nn.Linear(784 + classes, 40), fc21=nn.Linear(40, 10),
               fc22=nn.Linear(40, 10), fc3=nn.Linear(10 + classes, 40),
               fc4=nn.Linear(40, 784))  # fmt: skip


def conv_vae() -> Net:
    encoder = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1))
    decoder = nn.Sequential(up(16, 8, 4, 2, 1), nn.ReLU(), up(8, 1, 4, 2, 1), nn.Sigmoid())

    def forward(net: Any, z: Tensor, labels: Tensor) -> Tensor:
        return net.decoder(net.decoder_input(z).relu().view(len(z), 16, 8, 8))

    return Net(forward, encoder=encoder, fc_mu=nn.Linear(1024, 20), fc_var=nn.Linear(1024, 20),
               decoder_input=nn.Linear(20, 1024), decoder=decoder)  # fmt: skip


def wide_mlp() -> Net:
    layers: list[nn.Module] = [nn.Linear(100, 16), nn.LeakyReLU(0.2)]
    for size in (16, 32):
        layers += [nn.Linear(size, 2 * size), nn.BatchNorm1d(2 * size, 0.8), nn.LeakyReLU(0.2)]
    layers += [nn.Linear(64, 1024), nn.Tanh()]
    return Net(lambda net, z, _: net.model(z), model=nn.Sequential(*layers))


def one_hot_gan() -> Net:
    model = nn.Sequential(nn.Linear(110, 32), nn.LeakyReLU(0.2), nn.Linear(32, 784), nn.Tanh())
    return Net(lambda net, z, y: net.model(torch.cat((z, one_hot(y, 10)), 1)), model=model)


def multiplied() -> Net:
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 784), nn.Tanh())
    return Net(lambda net, z, y: net.model(net.label_embedding(y) * z),
               label_embedding=nn.Embedding(7, 20), model=model)  # fmt: skip


def shuffled() -> Net:
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


def opened_sorted(state: dict[str, Tensor]) -> tuple[Report, bytes]:
    """The same through a file of safetensors, which sorts its tensors."""
    content, output = save({name: t.contiguous() for name, t in state.items()}), io.BytesIO()
    report = run(io.BytesIO(content), output, {"size": len(content), "limits": {}})
    return Report.model_validate(report), output.getvalue()


def opened(value: Any) -> tuple[Report, bytes]:
    content, output = saved(value), io.BytesIO()
    report = run(io.BytesIO(content), output, {"size": len(content), "limits": {}})
    return Report.model_validate(report), output.getvalue()


def agree(net: Net, spec: ImportSpec, content: bytes) -> bool:
    made = torch.Generator().manual_seed(3)
    z = torch.randn(4, spec.latent_size, generator=made)
    labels = torch.randint(0, max(1, len(spec.classes)), (4,), generator=made)
    with torch.no_grad():
        found = open_declared(spec, content)(z, labels if spec.classes else None)
        try:
            wanted = net(z, labels)
        except (RuntimeError, IndexError):  # a guess of another latent or more classes
            return False
    return found.numel() == wanted.numel() and torch.allclose(
        found.flatten(), wanted.flatten(), atol=1e-5
    )


@pytest.mark.parametrize("name", NETS)
@torch.no_grad()
def test_one_of_the_first_twelve_computes_the_same(name: str) -> None:
    torch.manual_seed(1)
    make, classes = NETS[name]
    net = trained(make())
    report, content = opened(net.state_dict())
    proposal = propose(report, "net")
    right = [one for one in proposal.tries() if agree(net, one.spec, content)]
    assert right, [unknown.candidates for unknown in proposal.unknowns]
    assert len(right[0].spec.classes) == classes
    assert all(len(unknown.candidates) <= 3 for unknown in proposal.unknowns)


@pytest.mark.parametrize("name", [n for n in NETS if n not in ("norms-apart", "styled")])
@torch.no_grad()
def test_the_order_of_a_file_that_is_sorted_is_found(name: str) -> None:
    torch.manual_seed(1)
    net = trained(NETS[name][0]())
    report, content = opened_sorted(net.state_dict())
    assert any(agree(net, one.spec, content) for one in propose(report, "net").tries())


@torch.no_grad()
def test_averaged_weights_in_one_dictionary_come_first() -> None:
    torch.manual_seed(1)
    old, net = trained(dcgan(32)), trained(dcgan(32))
    state = {f"G.{n}": t for n, t in old.state_dict().items()}
    state |= {f"G_ema.{n}": t for n, t in net.state_dict().items()}
    report, content = opened(state)
    assert agree(net, propose(report, "net").spec(), content)


def test_it_is_a_document_that_a_person_can_answer() -> None:
    document = proposal_of(vae(10).state_dict()).document()
    assert [q["name"] for q in document["questions"]] == ["inputs", "output", "activation"]
    assert ImportSpec.model_validate(document["spec"]).latent_size == 10


AT_FIRST = [name for name in NETS if name not in ("latent-first", "one-hot-gan")]


@pytest.mark.parametrize("name", AT_FIRST)
@torch.no_grad()
def test_the_usual_ones_are_right_at_once(name: str) -> None:
    torch.manual_seed(1)
    net = trained(NETS[name][0]())
    report, content = opened(net.state_dict())
    assert agree(net, propose(report, "net").spec(), content)


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


REMEMBERED = {
    "label first, leaky": (lambda: upsampled(True, lambda: nn.LeakyReLU(0.2), 3), 100, 10),
    "label first, relu": (lambda: upsampled(True, nn.ReLU, 3), 100, 10),
    "latent first, leaky": (lambda: upsampled(False, lambda: nn.LeakyReLU(0.2), 3), 10, 10),
    "latent first, relu": (lambda: upsampled(False, nn.ReLU, 3), 10, 10),
    "no padding": (unpadded, 64, 0),
    "kernel 7": (seven, 100, 0),
}


@pytest.mark.parametrize("name", REMEMBERED)
def test_the_statistics_of_the_norms_settle_what_shapes_leave_open(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    make, latent_size, classes = REMEMBERED[name]
    net = remembering(make(), latent_size, classes)
    report, content = opened(net.state_dict())
    (tmp_path / "w.safetensors").write_bytes(content)
    proposal = propose(report, "net")
    assert settle(proposal, tmp_path / "w.safetensors") < 0.1
    assert agree(net, proposal.spec(), content)
    assert {"inputs", "activation"} & {u.name for u in proposal.open} <= proposal.settled
    assert "output" not in proposal.settled


def test_without_norms_nothing_is_settled(tmp_path: Path) -> None:
    report, content = opened(vae(10).state_dict())
    (tmp_path / "w.safetensors").write_bytes(content)
    proposal = propose(report, "net")
    first = proposal.spec()
    assert settle(proposal, tmp_path / "w.safetensors") is None
    assert proposal.spec() == first
    assert not proposal.settled


def proposal_of(value: Any) -> Proposal:
    return propose(opened(value)[0], "net")


def test_names_do_not_matter_where_shapes_decide() -> None:
    state = dcgan(64).state_dict()
    layers = {name.rpartition(".")[0] for name in state}
    other = {layer: f"x{i:02}" for i, layer in enumerate(sorted(layers, key=lambda n: int(n[5:])))}
    renamed = {f"{other[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": t for n, t in state.items()}
    ours, theirs = proposal_of(state).spec(), proposal_of(renamed).spec()
    assert ours.options == theirs.options
    assert ours.image == theirs.image


def test_an_encoder_is_named_and_left_out() -> None:
    proposal = proposal_of(vae(0).state_dict())
    spec = proposal.spec()
    assert set(spec.tensors.ignore) == {"fc1.*", "fc21.*", "fc22.*"}
    assert (spec.family, spec.latent_size) == ("vae", 10)
    assert any("mean and log-variance" in fact for fact in proposal.facts)


def test_numbers_beside_the_tensors_are_believed() -> None:
    model = nn.Sequential(nn.Linear(72, 32), nn.ReLU(), nn.Linear(32, 784))
    spec = proposal_of({"state_dict": model.state_dict(), "nz": 62}).spec()
    assert (spec.latent_size, len(spec.classes)) == (62, 10)
    assert spec.tensors.state == ("state_dict",)


def test_tries_are_few_differ_and_begin_with_the_likeliest() -> None:
    proposal = proposal_of(upsampled(True, nn.ReLU, 3).state_dict())
    tries = list(proposal.tries())
    assert len(tries) == 12
    assert tries[0].spec == proposal.spec()
    assert len({one.spec.model_dump_json() for one in tries}) == 12
    assert set(tries[0].answers) == {unknown.name for unknown in proposal.open}


STRANGE: dict[str, Any] = {
    "a residual network": {
        "conv1.weight": torch.zeros(64, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(9, 8, 3, 3)},
    "a transformer": {"wte.weight": torch.zeros(50, 8), "h.attn.weight": torch.zeros(24, 8, 3)},
    "loose tensors": {"a": torch.zeros(3), "b": torch.zeros(4)},
    "two channels": {"l.weight": torch.zeros(64, 2, 4, 4)},
    "no square": {"l.weight": torch.zeros(77, 10)},
    "a norm alone": {"n.weight": torch.zeros(4), "n.bias": torch.zeros(4)},
    "nothing of size": {"l.weight": torch.zeros(0, 10)},
    "sides that do not fit": {"a.weight": torch.zeros(6, 4), "b.weight": torch.zeros(9, 7)},
    "numbers": {"steps": torch.zeros(())},
    "an empty kernel": {"l.weight": torch.zeros(64, 3, 0, 0)},
    "zero channels": {"a.weight": torch.zeros(4, 4), "b.weight": torch.zeros(0, 0, 4, 4)},
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_row_of_layers_is_said_so(name: str) -> None:
    with pytest.raises(NoProposalError):
        proposal_of(STRANGE[name])
