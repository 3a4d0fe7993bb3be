"""A real dataset that a job's samples are merged with: what a plan pins of it, and what fits. Pure.

It is pinned by content, as models are. The archives of such a job hold the real files as they were
uploaded, in their splits, and the samples beside them in `train`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from app.errors import NotMergeableError
from models.spec import ImageShape

Split = Literal["train", "validation", "test"]
TRAIN: Split = "train"
SYNTHETIC, REAL = "synthetic", "real"
"""What `origin` says of an image."""
_SHOWN = 50
_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class PlannedMerge:
    """A real dataset, by content; and what of it stands in the archives."""

    name: str
    sha256: str
    """Of the dataset's pixels, classes and splits."""
    licence: str
    attribution: str
    counts: dict[Split, dict[str, int]]
    """Split → class → images, training first; every class of the dataset is in each."""

    @property
    def images(self) -> int:
        """Real images, of all splits."""
        return sum(sum(counts.values()) for counts in self.counts.values())

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the real dataset, in its order."""
        return tuple(next(iter(self.counts.values())))

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits of the merged dataset: `train`, in which the samples are, comes first."""
        return (TRAIN, *(split for split in self.counts if split != TRAIN))

    def real(self, split: Split = TRAIN) -> dict[str, int]:
        """Class → real images of a split."""
        return self.counts.get(split, dict.fromkeys(self.classes, 0))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def merge_of(document: Mapping[str, Any] | None) -> PlannedMerge | None:
    """What a plan kept."""
    return PlannedMerge(**document) if document else None


def merged_classes(
    classes: Sequence[str], merge: PlannedMerge | None, labelled: bool
) -> tuple[str, ...]:
    """Classes of the dataset of a job, by label.

    Of a merged one, those of the real dataset come first and in its order, so that its labels stay
    what they are; then those that only the models have. A classifier that labels what is drawn
    numbers its own classes, so they come first there.
    """
    if merge is None:
        return tuple(classes)
    first, then = (classes, merge.classes) if labelled else (merge.classes, classes)
    return tuple(dict.fromkeys((*first, *then)))


def refuse_strangers(asked: Sequence[str], merge: PlannedMerge) -> None:
    """Raises NotMergeableError when the classes asked for and those of the real dataset have none
    in common, or two are the same but for upper and lower case."""
    known = {name.casefold(): name for name in merge.classes}
    for name in asked:
        twin = known.get(name.casefold(), name)
        if twin != name:
            raise _refusal(
                f"The class {name[:80]!a} of the samples is {twin[:80]!a} in the dataset "
                f'{merge.name}. Give the samples that name, with "class_map" of the model.',
                asked,
                merge,
            )
    if not set(asked) & set(merge.classes):
        raise _refusal(
            f"The samples have no class in common with the dataset {merge.name}. They are of: "
            f"{_listed(asked)}. It has: {_listed(merge.classes)}. Where these are the same things, "
            'rename those of the model with "class_map"; have what a model without classes draws '
            'labelled with "labelled_by".',
            asked,
            merge,
        )


def refuse_other_size(
    name: str, smallest: tuple[int, int], largest: tuple[int, int], channels: int, drawn: ImageShape
) -> None:
    """Raises NotMergeableError when the real images do not all have the size of the samples.

    smallest, largest: heights and widths of the real images. channels: of the richest one.
    """
    wanted = (drawn.height, drawn.width)
    if smallest == largest == wanted and channels == drawn.channels:
        return
    sizes = _shown(largest) if smallest == largest else f"{_shown(smallest)} to {_shown(largest)}"
    raise NotMergeableError(
        f"The images of {name} are {sizes} with {_channels(channels)}; the models draw "
        f"{_shown(wanted)} with {_channels(drawn.channels)}. Real files are never changed, so both "
        "must be alike: upload the dataset at that size and with those channels, or take a model "
        "that was trained on images like these."
    )


def _refusal(sentence: str, asked: Sequence[str], merge: PlannedMerge) -> NotMergeableError:
    return NotMergeableError(
        sentence, classes=list(asked)[:_KEPT], dataset_classes=list(merge.classes)[:_KEPT]
    )


def _listed(names: Sequence[str]) -> str:
    # ascii() keeps control characters of a hostile name out of logs and terminals.
    return ", ".join(ascii(name[:80]) for name in names[:_SHOWN])


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"
