"""Datasets are read as other people's libraries read them, in every format; what is odd is said."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from models.corpus import idx as idx_module
from models.corpus.corpus import Corpus
from models.corpus.preprocessing import Preprocessing
from models.corpus.read import open_source, read, read_splits
from models.corpus.survey import Surveyor
from models.errors import DatasetError
from tests import made_corpora as made
from tests.builders import image, plan_of
from tests.made_exports import make

Write = Callable[[made.Splits, Path], Path]
ONE, ALL = ("train",), ("train", "validation", "test")


def folder(files: dict[str, bytes], path: Path) -> Path:
    return made.to_folder(files, path / "data")


def packed(files: dict[str, bytes], path: Path, prefix: str = "") -> Path:
    return made.to_zip(files, path / "data.zip", prefix)


def file(content: bytes, path: Path) -> Path:
    (path / "data").write_bytes(content)
    return path / "data"


FORMATS: dict[str, Write] = {
    "class folders": lambda m, p: folder(made.class_folders(m), p),
    "class folders, zip": lambda m, p: packed(made.class_folders(m), p),
    "class folders, wrapped": lambda m, p: packed(made.class_folders(m), p, "pets/v1/"),
    "metadata.csv": lambda m, p: folder(made.imagefolder(m), p),
    "metadata.csv, zip": lambda m, p: packed(made.imagefolder(m), p, "pets/"),
    "metadata.jsonl": lambda m, p: packed(made.imagefolder(m, "jsonl"), p),
    "metadata.parquet": lambda m, p: packed(made.imagefolder(m, "parquet"), p),
    "npz": lambda m, p: file(made.npz(m), p),
    "npz, stored": lambda m, p: file(made.npz(m, np.savez), p),
    "idx": lambda m, p: folder(made.idx_files(m, packed=False), p),
    "idx.gz": lambda m, p: folder(made.idx_files(m, packed=True), p),
    "idx.gz, zip": lambda m, p: packed(made.idx_files(m, packed=True), p),
    "parquet": lambda m, p: folder(
        {f"data/{s}-00000-of-00001.parquet": made.hugging_face_parquet(r) for s, r in m.items()}, p
    ),
    "parquet, zip": lambda m, p: packed(
        {f"{s}/0.parquet": made.hugging_face_parquet(r) for s, r in m.items()}, p
    ),
    "webdataset": lambda m, p: folder(
        {f"{s}-000000.tar": made.webdataset(r) for s, r in m.items()}, p
    ),
    "webdataset, zip": lambda m, p: packed(
        {f"pets/{s}/000.tar": made.webdataset(r) for s, r in m.items()}, p
    ),
}


def content_of(corpus: Corpus) -> set[tuple[str, bytes]]:
    """Class and pixels of every image: the formats differ in the order of images and classes."""
    names = [corpus.classes[label] for label in corpus.labels]
    return {(name, image.tobytes()) for name, image in zip(names, corpus.images, strict=True)}


def wanted(rows: made.Rows) -> set[tuple[str, bytes]]:
    return {(made.CLASSES[label], pixels.tobytes()) for pixels, label in rows}


@pytest.mark.parametrize("names", [ONE, ALL], ids=["one", "splits"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_images(
    tmp_path: Path, name: str, channels: int, names: tuple[str, ...]
) -> None:
    splits = made.splits(channels, names)
    path = FORMATS[name](splits, tmp_path)
    found = read_splits(path)
    assert set(found) == set(names)
    for split, corpus in found.items():
        assert corpus.image.channels == channels
        assert content_of(corpus) == wanted(splits[split])
        assert len(corpus) == len(splits[split])
    assert read(path, split="train").sha256 == read(path).sha256 == found["train"].sha256


def test_content_has_one_hash_whatever_it_came_in(tmp_path: Path) -> None:
    """The class folders are sorted by class, so the others are written in that order too."""
    splits = {s: sorted(rows, key=lambda r: r[1]) for s, rows in made.splits(3, ALL).items()}
    hashes = set()
    for number, name in enumerate(("class folders, zip", "npz", "parquet", "idx.gz")):
        (tmp_path / str(number)).mkdir()
        with open_source(FORMATS[name](splits, tmp_path / str(number))) as source:
            hashes.add(Surveyor(source).survey().sha256)
    assert len(hashes) == 1


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".jpg", ".ppm"])
def test_torchvision_reads_the_same_from_class_folders(tmp_path: Path, suffix: str) -> None:
    """Its classes, their order, its files in their order, and its pixels in RGB."""
    stream = np.random.default_rng(4)
    for number in range(12):
        label = ("b", "10", "a b", "ünï")[number % 4]
        path = tmp_path / label / ("deeper" if number == 5 else "") / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(stream.integers(0, 256, (9, 7, 3), np.uint8)).save(path)
    theirs, ours = ImageFolder(tmp_path), read(tmp_path)
    assert ours.classes == tuple(theirs.classes)
    assert ours.labels.tolist() == theirs.targets
    assert np.array_equal(ours.images, np.stack([np.asarray(each) for each, _ in theirs]))


def test_groups_come_along(tmp_path: Path) -> None:
    corpus = read(folder(made.imagefolder(made.splits(1, ALL)), tmp_path))
    assert corpus.groups == ("north", "south")
    assert corpus.group is not None
    assert corpus.group.tolist() == [-1, *(number % 2 for number in range(1, 15))]
    kept, last = corpus.split(3)
    assert last.group is not None
    assert last.group.tolist() == corpus.group[-3:].tolist()
    assert kept.groups == corpus.groups


def test_the_files_of_a_dataset_come_as_they_are(tmp_path: Path) -> None:
    files = made.class_folders(made.splits(3, ALL))
    with open_source(packed(files, tmp_path)) as source:
        found = {item.name: item.content for item in source.items()}
        assert found == files
        labels = [item.label for item in source.items("test")]
        assert labels == source.labels["test"].tolist()


def test_archives_of_this_project_keep_the_names_of_their_classes(tmp_path: Path) -> None:
    """Folders are named so that they are safe everywhere; `dataset.json` has the names."""
    names = ("CON", "../x", "über", "A", "a b?")
    plan = replace(plan_of([3] * 5, 2, image=image(9, 7, 3)), classes=names)
    made_by_us = make(plan, tmp_path / "objects")
    out = tmp_path / "out.zip"
    out.write_bytes(made_by_us.folders())
    corpus = read(out)
    assert corpus.classes == names
    wanted = {(names[label], made_by_us.pixels[n].tobytes())
              for n, label in enumerate(made_by_us.labels)}  # fmt: skip
    assert content_of(corpus) == wanted


def test_fashion_mnist_is_known_by_its_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are called what those of every other relative of MNIST are called."""
    labels = np.arange(10, dtype=np.uint8)
    files = {
        "t10k-images-idx3-ubyte": made.idx(np.zeros((10, 2, 2))),
        "t10k-labels-idx1-ubyte": made.idx(labels),
    }
    path = folder(files, tmp_path)
    assert read(path).classes == tuple("0123456789")
    digest = idx_module._digest(labels.astype(np.int64))
    monkeypatch.setattr(idx_module, "FASHION_LABELS", (digest,))
    assert read(path).classes[9] == "ankle-boot"


def picture(mode: str, size: tuple[int, int] = (4, 3)) -> Image.Image:
    """Something coloured in any mode of Pillow."""
    stream = np.random.default_rng(1)
    return Image.fromarray(stream.integers(0, 256, (*size[::-1], 3), np.uint8)).convert(mode)


MODES = {
    "L": ("png", 1), "1": ("png", 1), "P": ("png", 3), "RGB": ("png", 3), "RGBA": ("png", 4),
    "LA": ("png", 4), "CMYK": ("jpeg", 3), "YCbCr": ("jpeg", 3),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_grey_rgb_or_rgba(tmp_path: Path, mode: str) -> None:
    ending, channels = MODES[mode]
    path = tmp_path / "a" / f"x.{ending}"
    path.parent.mkdir()
    picture(mode).save(path, quality=90)
    with Image.open(path) as opened:
        theirs = np.asarray(opened.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
    assert np.array_equal(read(tmp_path).images[0].squeeze(), theirs)


def test_transparent_images_are_laid_on_white_where_no_alpha_is_wanted(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (255, 0, 0, 255)
    path = folder({"a/x.png": made.png(pixels)}, tmp_path)
    shape = Preprocessing(height=2, width=2, channels=3)
    found = read(path, preprocessing=shape).images[0]
    assert found[0, 0].tolist() == [255, 0, 0]
    assert found[1, 1].tolist() == [255, 255, 255]


def test_images_are_turned_as_their_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture("RGB").save(buffer, "JPEG", exif=exif)
    found = read(folder({"a/x.jpg": buffer.getvalue()}, tmp_path))
    assert found.images.shape == (1, 4, 3, 3)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_images_of_several_sizes_are_brought_to_one(tmp_path: Path, fit: str) -> None:
    files = {"a/1.png": made.png(np.full((8, 16, 3), 200, np.uint8)),
             "a/2.png": made.png(np.full((4, 4, 1), 90, np.uint8))}  # fmt: skip
    path = folder(files, tmp_path)
    with pytest.raises(DatasetError, match="differ in size"):
        read(path)
    shape = Preprocessing.model_validate({"height": 4, "width": 4, "channels": 3, "fit": fit})
    corpus = read(path, preprocessing=shape)
    assert corpus.images.shape == (2, 4, 4, 3)
    assert (corpus.images[1] == 90).all()
    bars = corpus.images[0][0] == 0
    assert bars.all() if fit == "pad" else not bars.any()


def test_preprocessing_survives_json_and_leaves_right_images_alone() -> None:
    shape = Preprocessing(height=6, width=5, channels=3, resample="box")
    assert Preprocessing.model_validate_json(shape.model_dump_json()) == shape
    [(pixels, _), *_] = made.splits(3)["train"]
    assert shape.apply_to(pixels) is pixels


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0.0, 1.0], [0.5, 0.25]], np.float32),
        np.array([[0, 255], [127, 64]], np.int64),
        np.array([[False, True], [True, True]]),
    ],
    ids=["floats", "integers", "truth"],
)
def test_arrays_of_other_types(tmp_path: Path, values: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", images=np.stack([values, values]), labels=np.array([0, 1]))
    found = read(tmp_path / "x.npz").images[0, ..., 0]
    most = int(values.max())
    assert found.tolist() == np.rint(values * (255 / most)).astype(int).tolist()


def test_the_content_of_a_corpus_is_its_hash() -> None:
    images, labels = np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 1, 0])
    corpus = Corpus(images, labels, ("a", "b"))
    others = [
        Corpus(images + np.uint8(1), labels, ("a", "b")),
        Corpus(images, labels[::-1].copy(), ("a", "c")),
        Corpus(images, np.array([1, 1, 0]), ("a", "b")),
        Corpus(images.reshape(3, 1, 4, 1), labels, ("a", "b")),
        Corpus(images, labels, ("a", "b"), ("g",), np.zeros(3, np.int64)),
    ]
    assert len({each.sha256 for each in (corpus, *others)}) == 6
    assert corpus.sha256 == Corpus(images.copy(), labels.copy(), ("a", "b")).sha256
