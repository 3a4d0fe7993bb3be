"""Feature extractors: what they give, and which weights they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from models.corpus.corpus import Corpus
from models.errors import CheckpointError, InputError
from models.evaluation.feature_torchvision import TorchvisionFeatures
from models.evaluation.features import FeatureExtractor, PixelFeatures
from models.evaluation.options import EvaluationOptions
from models.evaluation.real_classifier import real_classifier
from models.evaluation.sides import take_sides
from models.evaluation.workbench import Workbench
from models.spec import ImageShape

NETWORK = "shufflenet_v2_x0_5"
SIZE = 1024


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of a small network of torchvision for 7 classes, untrained."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(get_model(NETWORK, weights=None, num_classes=7).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def network(weights: Path) -> TorchvisionFeatures:
    return TorchvisionFeatures(NETWORK, weights)


def pixels(count: int, *shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(28, 28, 1), (20, 30, 3), (8, 8, 4)])
def test_a_network_gives_what_its_last_layer_is_given(
    network: TorchvisionFeatures, weights: Path, shape: tuple[int, ...]
) -> None:
    reference = get_model(NETWORK, weights=None, num_classes=7)
    reference.load_state_dict(torch.load(weights, weights_only=True))
    given: list[torch.Tensor] = []
    reference.fc.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    images = pixels(2, *shape)
    plane = torch.from_numpy(images).permute(0, 3, 1, 2)[:, :3].float() / 255
    plane = plane.expand(-1, 3, -1, -1)
    plane = torch.nn.functional.interpolate(plane, (224, 224), mode="bilinear", antialias=True)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        reference.eval()((plane - mean[:, None, None]) / deviation[:, None, None])
    found = network.features(images)
    assert found.shape == (2, SIZE)
    assert found == pytest.approx(given[0].numpy(), abs=1e-4)


def test_safetensors_are_the_same_network(
    network: TorchvisionFeatures, weights: Path, tmp_path: Path
) -> None:
    other = tmp_path / "small.safetensors"
    save_file(torch.load(weights, weights_only=True), other)
    again = TorchvisionFeatures(NETWORK, other)
    images = pixels(2, 8, 8, 1)
    assert np.array_equal(again.features(images), network.features(images))
    assert again.backbone.size == SIZE


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("resnet18", CheckpointError, "no tensor fc.weight|does not fit resnet18"),
        ("shufflenet_v2_x1_0", CheckpointError, "does not fit"),
        ("resnet_of_mine", InputError, "no classification network"),
    ],
)
def test_weights_of_something_else_are_refused(
    weights: Path, name: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        TorchvisionFeatures(name, weights)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.pth"
    path.write_text("<html>Not found</html>")
    with pytest.raises(CheckpointError, match="web page"):
        TorchvisionFeatures(NETWORK, path)


@pytest.mark.parametrize("path", [None, Path("nowhere.pth")])
def test_a_network_without_weights_says_what_to_do(
    digits: Corpus, path: Path | None, tmp_path: Path
) -> None:
    sides = take_sides(digits, digits, None, seed=0)
    options = EvaluationOptions(backbone="resnet18", weights=path)
    with pytest.raises(CheckpointError, match=r"state dict|cannot be read"):
        _ = Workbench(sides, options, tmp_path).extractor


@pytest.fixture(scope="module")
def classifier(digits: Corpus, tmp_path_factory: pytest.TempPathFactory) -> FeatureExtractor:
    return real_classifier(digits, 2000, 0, tmp_path_factory.mktemp("classifiers"))


@pytest.mark.parametrize("kind", ["classifier", "pixels", "network"])
def test_features_do_not_depend_on_the_other_images(
    kind: str, network: TorchvisionFeatures, classifier: FeatureExtractor, digits: Corpus
) -> None:
    known = {"classifier": classifier, "pixels": PixelFeatures(digits.image), "network": network}
    extractor, count = known[kind], 20 if kind == "network" else 300
    whole = extractor.features(digits.images[:count])
    assert whole.dtype == np.float32
    assert whole.shape == (count, extractor.backbone.size)
    assert np.array_equal(extractor.features(digits.images[5:8]), whole[5:8])


def test_a_kept_classifier_is_the_same(digits: Corpus, tmp_path: Path) -> None:
    first = real_classifier(digits, 500, 0, tmp_path)
    kept = real_classifier(digits, 500, 0, tmp_path)
    anew = real_classifier(digits, 500, 0, tmp_path / "anew")
    assert first.backbone == kept.backbone == anew.backbone
    assert np.array_equal(first.features(digits.images), anew.features(digits.images))
    assert real_classifier(digits, 500, 1, tmp_path).backbone.sha256 != first.backbone.sha256


def test_large_images_are_averaged_down() -> None:
    extractor = PixelFeatures(ImageShape(height=64, width=128, channels=1))
    assert extractor.backbone.name == "pixels 16x32"
    images = np.full((3, 64, 128, 1), 200, np.uint8)
    assert extractor.features(images) == pytest.approx(200 / 255)
    assert extractor.levels(images).tolist() == [[200] * 512] * 3
