"""Which architectures exist: explicit tables, and the one way from a spec to a generator."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import ValidationError

from models.declared.document import DeclaredOptions
from models.declared.network import DeclaredGenerator
from models.declared.problems import explain
from models.errors import SpecError
from models.gan import ConvGan, ConvOptions, MlpGan, MlpGanOptions
from models.generator import Generator
from models.onnx_options import OnnxOptions
from models.spec import Frozen, ModelSpec
from models.stylegan2 import StyleGan2, StyleGan2Options
from models.vae import ConvVae, MlpVae, MlpVaeOptions


class Architecture(NamedTuple):
    """A generator class, made from (image, latent_size, class_count, options).

    generator: None where the network is in the file and not built from options.
    """

    generator: Any
    options: type[Frozen]


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "mlp_gan": Architecture(MlpGan, MlpGanOptions),
        "cgan": Architecture(ConvGan, ConvOptions),
        "vae": Architecture(MlpVae, MlpVaeOptions),
        "cvae": Architecture(ConvVae, ConvOptions),
        "stylegan2": Architecture(StyleGan2, StyleGan2Options),
    }
)
"""Those that are trained here."""

IMPORTED: Mapping[str, Architecture] = MappingProxyType(
    {
        "declared": Architecture(DeclaredGenerator, DeclaredOptions),
        "onnx": Architecture(None, OnnxOptions),
    }
)
"""Those of files that others trained. Family and value range are what the spec says."""


def architecture_of(name: str) -> Architecture:
    """The row of that name in either table; a name they do not know is refused."""
    known = {**ARCHITECTURES, **IMPORTED}
    if name not in known:
        words = ", ".join([*sorted(ARCHITECTURES), *sorted(IMPORTED)])
        raise SpecError(f"architecture {name!r} is not one of: {words}")
    return known[name]


def build(spec: ModelSpec) -> Generator:
    """The generator that `spec` describes, with fresh weights, on the default device."""
    architecture = architecture_of(spec.architecture)
    if architecture.generator is None:
        raise SpecError(f"{spec.architecture} is not built from options; load it from its file")
    _check_agreement(spec, architecture.generator)
    try:
        options = architecture.options.model_validate(spec.options)
    except ValidationError as error:
        raise SpecError(f"{spec.architecture}: option {explain(error)}") from error
    generator: Generator = architecture.generator(
        spec.image, spec.latent_size, len(spec.classes), options
    )
    generator.family, generator.value_range = spec.family, spec.value_range
    return generator


def _check_agreement(spec: ModelSpec, generator: type[Generator]) -> None:
    """Where family and value range are facts of the architecture, a spec may only repeat them."""
    if not hasattr(generator, "family"):
        return
    if spec.family != generator.family:
        raise SpecError(
            f"{spec.architecture} is of family {generator.family!r}, not {spec.family!r}"
        )
    if tuple(spec.value_range) != generator.value_range:
        raise SpecError(
            f"images of {spec.architecture} span {generator.value_range}, not {spec.value_range}"
        )
