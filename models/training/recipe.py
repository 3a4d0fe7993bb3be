"""How an architecture learns: options under the names of the field, each with its paper.

A recipe is data with limits, so that a request can change it by name. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from models.errors import TrainingError
from models.training.overrides import LOSS_ALIASES, listed, loss_options, renamed, unknown_option

Loss = Annotated[
    Literal["logistic", "hinge", "wasserstein", "elbo"], BeforeValidator(renamed(LOSS_ALIASES))
]
Norm = Literal["none", "spectral", "batch", "layer"]
Transform = Literal["translation", "cutout", "colour"]
Precision = Literal["float32", "bfloat16", "float16"]
Rate = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0, le=1000)]
Steps = Annotated[int, Field(ge=0, le=10_000_000)]

OF_GANS: Final = (
    "pretraining_steps", "critic_steps", "gradient_penalty", "discriminator_norm",
    "classification_weight", "augmentation",
)  # fmt: skip
OF_AUTOENCODERS: Final = ("pixel_variance", "kl_weight", "kl_warmup_steps")


@dataclass(
    frozen=True,
    kw_only=True,
    config=ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False),
)
class Recipe:
    """How an architecture learns. Options that another family has stand at their defaults."""

    loss: Loss
    """logistic, also called bce (the non-saturating cross entropy of Goodfellow et al. 2014,
    sec. 3), hinge (Lim & Ye 2017) or wasserstein (Arjovsky et al. 2017) of GANs; elbo (Kingma &
    Welling 2014) of vae and cvae."""

    generator_rate: Rate
    """Step size of Adam (Kingma & Ba 2015) for the generator."""

    partner_rate: Rate
    """Step size of Adam for the discriminator or the encoder; one of its own follows Heusel et
    al. 2017."""

    betas: Annotated[tuple[Decay, Decay], BeforeValidator(listed)]
    """Decay rates of Adam's first and second moment."""

    average_decay: Decay
    """Of the moving average (EMA) of the generator's weights, per step (Karras et al. 2018); 0
    keeps the weights of the last step."""

    batch_size: Annotated[int, Field(ge=4, le=4096, multiple_of=4)]
    """Images in a step; a multiple of 4, as a discriminator compares them in fours."""

    latent_size: Annotated[int, Field(ge=1, le=4096)]
    """Numbers in one latent vector."""

    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    """Passes over the data unless the run says otherwise."""

    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Beside the gradient, not in it (AdamW, Loshchilov & Hutter 2019); on weights of linear and
    convolutional layers."""

    clip_norm: Weight = 0.0
    """A network's gradient longer than this is scaled down to it (Pascanu et al. 2013); 0 for no
    clipping."""

    rate_decay: Literal["none", "linear", "cosine"] = "none"
    """How step sizes fall to 0 over the epochs of the run: linear, or cosine (Loshchilov & Hutter
    2017)."""

    initialisation: Literal["default", "normal", "he"] = "default"
    """First weights of linear and convolutional layers: default (of torch), normal (standard
    deviation 0.02, Radford et al. 2016) or he (He et al. 2015). The generator of stylegan2 keeps
    its own, which its equalised step sizes need."""

    dropout: Decay = 0.0
    """Share of activations dropped in the discriminator or encoder (Srivastava et al. 2014)."""

    sampling: Literal["shuffled", "balanced"] = "shuffled"
    """shuffled shows each image once an epoch; balanced draws with replacement, every class as
    often as any other, for data with rare classes."""

    precision: Precision = "float32"
    """Of matrix products (mixed precision, Micikevicius et al. 2018); weights and sums stay
    float32. float16 scales the loss and needs a GPU."""

    pixel_variance: Annotated[float, Field(gt=0, le=100)] | None = None
    """Of the normal about each pixel, in units of (0, 1): what a detail may cost in divergence.
    Of vae and cvae."""

    kl_weight: Weight = 1.0
    """Of the divergence beside the reconstruction: beta of Higgins et al. 2017. Of vae and
    cvae."""

    kl_warmup_steps: Steps = 0
    """Steps over which that weight rises from 0, linearly (Bowman et al. 2016). Of vae and
    cvae."""

    pretraining_steps: Steps = 0
    """Steps in which the discriminator learns alone, before the generator's first. Of GANs."""

    critic_steps: Annotated[int, Field(ge=1, le=100)] = 1
    """Updates of the discriminator for one of the generator, each on its own batch (Arjovsky et
    al. 2017, alg. 1). Of GANs."""

    gradient_penalty: Weight = 0.0
    """Weight of (|gradient of the logit| - 1)^2 between real and generated images (Gulrajani et
    al. 2017, eq. 3; 10 there); 0 for none. Of GANs."""

    discriminator_norm: Norm = "none"
    """spectral (Miyato et al. 2018), batch (Ioffe & Szegedy 2015) or layer (Ba et al. 2016). Of
    GANs."""

    classification_weight: Weight = 0.0
    """Of an auxiliary cross entropy: the discriminator also names the class of real images, and
    the generator is to make images that it names right (AC-GAN, Odena et al. 2017). Of GANs with
    classes."""

    augmentation: Annotated[tuple[Transform, ...], BeforeValidator(listed)] = ()
    """What real and generated images go through on their way to the discriminator, for small data
    (DiffAugment, Zhao et al. 2020): any of translation, cutout, colour. Of GANs."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        foreign = OF_GANS if self.variational else OF_AUTOENCODERS
        for name in foreign:
            if getattr(self, name) != DEFAULTS[name]:
                raise ValueError(f"{name} is no option of a recipe with the loss {self.loss}")
        if self.variational and self.pixel_variance is None:
            raise ValueError("elbo needs a pixel_variance")
        if self.loss == "wasserstein" and not self.gradient_penalty:
            raise ValueError("wasserstein needs a gradient_penalty above 0; 10 is usual")
        if self.gradient_penalty and self.discriminator_norm == "batch":
            raise ValueError("gradient_penalty is of single images: take another norm than batch")
        return self

    @property
    def variational(self) -> bool:
        """Whether this is of an autoencoder; else it is of a GAN."""
        return self.loss == "elbo"

    def with_overrides(self, overrides: Mapping[str, JsonValue]) -> Recipe:
        """This recipe with options replaced by name; numbers and lists may be text.

        Another loss brings its usual options along, unless they are named too. What is no
        option, beyond its limits or of the other family is a TrainingError that says so.
        """
        known = self.as_json()
        for name in overrides:
            if name not in known:
                raise TrainingError(unknown_option(name, sorted(known)))
        chosen = {**known, **loss_options(self.loss, overrides), **overrides}
        try:
            changed = Recipe(**cast(dict[str, Any], chosen))
        except ValidationError as error:
            first = error.errors()[0]
            where = f"{first['loc'][0]}: " if first["loc"] else ""
            raise TrainingError(f"{where}{first['msg'].removeprefix('Value error, ')}") from error
        if changed.variational != self.variational:
            wanted = "elbo" if self.variational else "logistic, hinge or wasserstein"
            raise TrainingError(f"loss: this architecture learns by {wanted}, not {changed.loss}")
        return changed

    def as_json(self) -> dict[str, JsonValue]:
        """Every option by name."""
        return {name: _plain(value) for name, value in asdict(cast(Any, self)).items()}

    def record(self) -> dict[str, JsonValue]:
        """What a checkpoint says of its recipe: options that matter, without what a run decides."""
        return {
            name: value
            for name, value in self.as_json().items()
            if name != "epochs" and (name not in DEFAULTS or value != _plain(DEFAULTS[name]))
        }


DEFAULTS: Final[Mapping[str, object]] = {
    field.name: field.default for field in fields(cast(Any, Recipe)) if field.default is not MISSING
}
"""Of the options that a recipe need not name."""


def _plain(value: Any) -> JsonValue:
    return list(value) if isinstance(value, tuple) else value
