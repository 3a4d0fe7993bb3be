"""Which architectures exist: an explicit table, and the one way from a spec to a generator."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import ValidationError

from models.errors import SpecError
from models.gan import ConvGan, ConvOptions, MlpGan, MlpGanOptions
from models.generator import Generator
from models.spec import Frozen, ModelSpec
from models.vae import ConvVae, MlpVae, MlpVaeOptions


class Architecture(NamedTuple):
    """A generator class, made from (image, latent_size, class_count, options)."""

    generator: Any
    options: type[Frozen]


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "mlp_gan": Architecture(MlpGan, MlpGanOptions),
        "cgan": Architecture(ConvGan, ConvOptions),
        "vae": Architecture(MlpVae, MlpVaeOptions),
        "cvae": Architecture(ConvVae, ConvOptions),
    }
)


def architecture_of(name: str) -> Architecture:
    """The table's row of that name; a name it does not know is refused."""
    if name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise SpecError(f"architecture {name!r} is not one of: {known}")
    return ARCHITECTURES[name]


def build(spec: ModelSpec) -> Generator:
    """The generator that `spec` describes, with fresh weights, on the default device."""
    architecture = architecture_of(spec.architecture)
    _check_agreement(spec, architecture.generator)
    try:
        options = architecture.options.model_validate(spec.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "options"
        raise SpecError(f"option {where} of {spec.architecture}: {first['msg']}") from error
    generator: Generator = architecture.generator(
        spec.image, spec.latent_size, len(spec.classes), options
    )
    return generator


def _check_agreement(spec: ModelSpec, generator: type[Generator]) -> None:
    """Family and value range are facts of the architecture; a spec may only repeat them."""
    if spec.family != generator.family:
        raise SpecError(
            f"{spec.architecture} is of family {generator.family!r}, not {spec.family!r}"
        )
    if tuple(spec.value_range) != generator.value_range:
        raise SpecError(
            f"images of {spec.architecture} span {generator.value_range}, not {spec.value_range}"
        )
