"""Labelled images to learn from: read from IDX or npz files, and served in seeded batches."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError
from models.spec import ImageShape

IDX_UINT8 = 0x08
FASHION_MNIST = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip
"""Class names of Fashion-MNIST by label (Xiao et al. 2017, table 2, in one word each)."""


@dataclass(frozen=True)
class Corpus:
    """images uint8 [N, H, W, C], labels int64 [N] below len(classes)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise TrainingError(f"images must be uint8 [N, H, W, C], not {self.images.shape}")
        if len(self.images) != len(self.labels) or not len(self.labels):
            raise TrainingError(f"{len(self.images)} images but {len(self.labels)} labels")
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            raise TrainingError(f"labels must lie in 0..{len(self.classes) - 1}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image(self) -> ImageShape:
        """Size of every image."""
        _, height, width, channels = self.images.shape
        return ImageShape.model_validate({"height": height, "width": width, "channels": channels})

    def split(self, last: int) -> tuple[Corpus, Corpus]:
        """All but the last so many images, and those."""
        if not 0 < last < len(self):
            raise TrainingError(f"cannot keep {last} of {len(self)} images out")
        cut = len(self) - last
        return (
            Corpus(self.images[:cut], self.labels[:cut], self.classes),
            Corpus(self.images[cut:], self.labels[cut:], self.classes),
        )


def read_corpus(path: Path, part: str = "train") -> Corpus:
    """A folder with `{part}-images-idx3-ubyte.gz` and its labels, or an npz with both arrays.

    An npz holds `images` uint8 [N, H, W] or [N, H, W, C], `labels` integers [N] and, if wanted,
    `classes`; it has one part only. An IDX folder is given the class names of Fashion-MNIST when
    `classes.txt`, one name a line, does not say otherwise.
    """
    if path.is_dir():
        images = read_idx(path / f"{part}-images-idx3-ubyte.gz")
        labels = read_idx(path / f"{part}-labels-idx1-ubyte.gz").astype(np.int64)
        names = path / "classes.txt"
        classes = tuple(names.read_text().split()) if names.exists() else FASHION_MNIST
    else:
        images, labels, classes = _read_npz(path)
    if images.ndim == 3:
        images = images[..., None]
    return Corpus(images, labels, classes)


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """An IDX file of bytes, gzipped: 0, 0, type, rank, a big-endian uint32 for each side."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise TrainingError(f"{path.name} cannot be read as gzipped IDX: {error}") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, IDX_UINT8]):
        raise TrainingError(f"{path.name} is no IDX file of unsigned bytes")
    rank = content[3]
    shape = tuple(np.frombuffer(content, ">u4", rank, offset=4).tolist())
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if values.size != np.prod(shape, dtype=np.int64):
        raise TrainingError(f"{path.name} holds {values.size} bytes where it says {shape}")
    return values.reshape(shape)


def _read_npz(
    path: Path,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
            known = arrays["classes"].tolist() if "classes" in arrays else None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path.name} is no npz with `images` and `labels`: {error}") from error
    classes = known or [str(label) for label in range(int(labels.max()) + 1)]
    return images, labels.astype(np.int64), tuple(str(name) for name in classes)


class Batches:
    """Shuffled batches: a pure function of (seed, step), so a run resumes where it stopped.

    Each epoch is a fresh permutation; its last incomplete batch is dropped. A batch is sorted by
    label, which `MinibatchSpread` uses and nothing else minds.
    """

    def __init__(self, corpus: Corpus, batch_size: int, seed: int) -> None:
        if len(corpus) < batch_size:
            raise TrainingError(f"{len(corpus)} images do not fill one batch of {batch_size}")
        self.corpus = corpus
        self.batch_size = batch_size
        self.seed = seed
        self.per_epoch = len(corpus) // batch_size
        self._epoch = -1
        self._order: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def at(self, step: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Images uint8 [B, H, W, C] and labels int64 [B] of one step."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.corpus))
            self._epoch, self._order = epoch, order
        chosen = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        chosen = chosen[np.argsort(self.corpus.labels[chosen], kind="stable")]
        return self.corpus.images[chosen], self.corpus.labels[chosen]
