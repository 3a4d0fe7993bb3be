"""What a spec states of an ONNX generator beyond its file. Imports no torch and no onnx."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from models.spec import Frozen

TensorName = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Layout = Literal["chw", "hwc", "hw", "flat_chw", "flat_hwc"]
LabelForm = Literal["auto", "index", "column", "one_hot"]


class FixedInput(Frozen):
    """An input that is the same for every image: numbers, or normals drawn from a seed.

    value: a number for every element, or as many numbers as one image takes, in row order.
    seed: in place of a value, standard normals of this seed, 0 ... 2**63 - 1.
    """

    value: float | tuple[float, ...] | None = None
    seed: int | None = Field(None, ge=0, lt=1 << 63)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.value is None) == (self.seed is None):
            raise ValueError("a fixed input has either a value or a seed")
        return self


class OnnxOptions(Frozen):
    """Options of architecture `onnx`. What is left out is found from names and types.

    latents: float inputs that the latent vector fills, in this order, each in row order.
    label: the input that takes the class.
    label_form: `index` [N], `column` [N, 1], both of whole numbers, or `one_hot` [N, classes].
    output: the images; needed where the graph has several outputs that could be.
    layout: of one image in the output: `chw` and `hwc` are [N, C, H, W] and [N, H, W, C], `hw` is
        [N, H, W] of one channel, `flat_chw` and `flat_hwc` are [N, H*W*C] in those orders.
    batch: images a run takes; left out, any number. A graph exported for one image has 1.
    fixed: the other inputs.
    """

    latents: tuple[TensorName, ...] = ()
    label: TensorName | None = None
    label_form: LabelForm = "auto"
    output: TensorName | None = None
    layout: Layout = "chw"
    batch: int | None = Field(None, ge=1, le=4096)
    fixed: dict[TensorName, FixedInput] = {}
