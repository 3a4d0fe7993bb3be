"""Networks of other people, written by hand as they wrote them, against our descriptions of them.

The hand-written module makes a random state dict; the description in docs/specs and the mapping
make a generator of it; both must give the same images to the bit.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as dump_tensors
from torch import Tensor, nn
from torch.nn import functional as F

from models import checkpoint
from models.declared.document import parse_options
from models.declared.folding import Found
from models.declared.import_spec import ImportSpec, TensorRules, read_import_spec
from models.declared.mapping import match_tensors
from models.declared.remap import remap
from models.declared.walk import trace
from models.generator import Generator, sample
from models.spec import Weights

SPECS = Path(__file__).parents[3] / "docs" / "specs"
DTYPES = {torch.float32: "F32", torch.int64: "I64"}


class ConvBlocks(nn.Module):
    """Two conditional generators: a label table, a linear layer, blocks with nearest upsampling."""

    def __init__(self, latent_size: int, label_first: bool, tail: list[nn.Module]) -> None:
        super().__init__()
        self.label_emb = nn.Embedding(10, 10)
        self.l1 = nn.Sequential(nn.Linear(latent_size + 10, 128 * 7**2))
        self.conv_blocks = nn.Sequential(
            nn.BatchNorm2d(128), nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 128, 3, stride=1, padding=1), *tail, nn.Tanh(),
        )  # fmt: skip
        self.label_first = label_first

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        parts = [self.label_emb(labels), z] if self.label_first else [z, self.label_emb(labels)]
        out = self.l1(torch.cat(parts, -1))
        return self.conv_blocks(out.view(out.shape[0], 128, 7, 7))


def maverick() -> nn.Module:
    tail = [nn.BatchNorm2d(128, 0.8), nn.LeakyReLU(0.2, inplace=True), nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 1, 3, stride=1, padding=1)]  # fmt: skip
    return ConvBlocks(100, True, tail)


def hayato() -> nn.Module:
    tail = [nn.BatchNorm2d(128, 0.8), nn.ReLU(), nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 64, 3, stride=1, padding=1), nn.BatchNorm2d(64, 0.8), nn.ReLU(),
            nn.Conv2d(64, 1, 3, stride=1, padding=1)]  # fmt: skip
    return ConvBlocks(10, False, tail)


class Dcgan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ConvTranspose2d(100, 128, 7, 1, 0, bias=False), nn.BatchNorm2d(128), nn.ReLU(True),
            nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
            nn.ConvTranspose2d(64, 1, 4, 2, 1, bias=False), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor, labels: None) -> Tensor:
        return self.net(z.view(len(z), -1, 1, 1))


class Block(nn.Module):
    def __init__(self, *sizes: int, stride: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ConvTranspose2d(*sizes, stride), nn.BatchNorm2d(sizes[1]), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class Akanametov(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            Block(64, 256, 3, stride=2), Block(256, 128, 4, stride=1), Block(128, 64, 3, stride=2),
            nn.ConvTranspose2d(64, 1, 4, 2), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor, labels: None) -> Tensor:
        return self.model(z[:, :, None, None])


class Ryhan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gen = nn.Sequential(
            *(Block(*sizes, stride=stride).block
              for *sizes, stride in [(64, 256, 3, 2), (256, 128, 4, 1), (128, 64, 3, 2)]),
            nn.Sequential(nn.ConvTranspose2d(64, 1, 4, 2), nn.Tanh()),
        )  # fmt: skip

    def forward(self, z: Tensor, labels: None) -> Tensor:
        return self.gen(z.view(-1, 64, 1, 1))


class Vae(nn.Module):
    """Encoder and decoder in one file; the decoder is the generator."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784 + classes, 400)
        self.fc21 = nn.Linear(400, 10)
        self.fc22 = nn.Linear(400, 10)
        self.fc3 = nn.Linear(10 + classes, 400)
        self.fc4 = nn.Linear(400, 784)
        self.classes = classes

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        if labels is not None:
            z = torch.cat([z, F.one_hot(labels, self.classes).float()], 1)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))).view(-1, 1, 28, 28)


STRANGERS: dict[str, Callable[[], nn.Module]] = {
    "maverick-cgan-mnist": maverick,
    "hayato-cwgangp-mnist": hayato,
    "aamirmalik-dcgan-mnist": Dcgan,
    "akanametov-wgangp-mnist": Akanametov,
    "ryhan-wgangp-mnist": Ryhan,
    "zeesky-cvae-vae-mnist-cvae_mnist": lambda: Vae(10),
    "zeesky-cvae-vae-mnist-mnist_vae": lambda: Vae(0),
}


class PreActivation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(128)
        self.conv = nn.Conv2d(128, 128, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(F.relu(self.norm(x)))


class Kana(nn.Module):
    """49 characters in 2 styles, 64 x 64 RGBA: the second example of docs/declared.md."""

    def __init__(self) -> None:
        super().__init__()
        self.character = nn.Embedding(49, 32)
        self.first = nn.ConvTranspose2d(162, 256, 4, bias=False)
        self.norm = nn.BatchNorm2d(256)
        self.second = nn.ConvTranspose2d(256, 128, 4, 4, bias=False)
        self.block = PreActivation()
        self.widen = nn.Conv2d(128, 64, 3, padding=1)
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.aux = nn.Linear(3, 49)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        character, style = labels // 2, F.one_hot(labels % 2, 2).float()
        x = torch.cat([z, self.character(character), style], 1)[:, :, None, None]
        x = self.second(F.relu(self.norm(self.first(x))))
        x = F.pixel_shuffle(self.widen(self.block(x)), 4)
        return torch.tanh(self.last(x))


def test_two_conditions_rgba_and_residuals(tmp_path):
    page = (SPECS.parent / "declared.md").read_text()
    examples = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (text,) = (example for example in examples if '"kana"' in example)
    spec = read_import_spec(text.encode())
    hand = randomised(Kana())
    generator = imported(spec, hand.state_dict(), spec.tensors, tmp_path / "weights.safetensors")
    z = torch.randn(98, 128, generator=torch.Generator().manual_seed(7))
    labels = torch.arange(98)
    assert spec.classes[2 * 13 + 1] == "13-pen"
    with torch.inference_mode():
        made, wanted = generator(z, labels), hand(z, labels)
    assert made.shape == (98, 4, 64, 64)
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-6)
    pixels = sample(generator, z[:4].numpy(), labels[:4].numpy()).pixels
    assert pixels.shape == (4, 64, 64, 4)


def randomised(hand: nn.Module) -> nn.Module:
    stream = torch.Generator().manual_seed(5)
    for name, tensor in hand.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=stream) + 0.5)
        elif tensor.is_floating_point() and ("running" in name or "norm" in name):
            tensor.copy_(torch.randn(tensor.shape, generator=stream))
    return hand.eval().to(memory_format=torch.channels_last)  # as a loaded generator is


def imported(
    spec: ImportSpec, state: dict[str, Tensor], rules: TensorRules, path: Path
) -> Generator:
    """All that an import does, but for reading the file."""
    found = {name: Found(DTYPES[t.dtype], tuple(t.shape)) for name, t in state.items()}
    content = dump_tensors({name: tensor.contiguous() for name, tensor in state.items()})
    wanted = trace(
        parse_options(spec.options), spec.image, spec.latent_size, len(spec.classes)
    ).tensors
    weights = b"".join(
        remap(io.BytesIO(content), len(content), match_tensors(wanted, found, rules))
    )
    path.write_bytes(weights)
    digest = hashlib.sha256(weights).hexdigest()
    return checkpoint.load(spec.model_spec(Weights(sha256=digest, bytes=len(weights))), path)


def draw(spec: ImportSpec) -> tuple[Tensor, Tensor | None]:
    z = torch.randn(20, spec.latent_size, generator=torch.Generator().manual_seed(6))
    return z, torch.arange(20) % len(spec.classes) if spec.classes else None


def test_every_spec_of_the_docs_is_held_against_its_network():
    assert {path.stem for path in SPECS.glob("*.json")} == set(STRANGERS)


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize("by", ["names", "order"])
def test_a_description_gives_the_images_of_the_network(tmp_path, name, by):
    spec = read_import_spec((SPECS / f"{name}.json").read_bytes())
    hand = randomised(STRANGERS[name]())
    rules = spec.tensors
    if by == "order":
        rules = TensorRules(ignore=rules.ignore)
    generator = imported(spec, hand.state_dict(), rules, tmp_path / "weights.safetensors")
    z, labels = draw(spec)
    with torch.inference_mode():
        made, wanted = generator(z, labels), hand(z, labels)
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-6)
    assert made.std() > 0.01
    assert (generator.family, generator.value_range) == (spec.family, spec.value_range)


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.json")), ids=lambda path: path.stem)
def test_a_spec_is_short(path):
    assert len(path.read_text().splitlines()) <= 40
    json.loads(path.read_text())
