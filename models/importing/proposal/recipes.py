"""Activations, eps and range: no weight holds them, but whole recipes go together."""

from __future__ import annotations

from typing import Any, Final

from models.importing.proposal.chain import Chain
from models.importing.proposal.unknowns import Candidate, Unknown

RELU: Final = Candidate("relu", "the usual one in generators", "relu")
LEAKY: Final = Candidate(
    "leaky_relu, slope 0.2",
    "usual beside eps 0.8 and in WGANs",
    {"type": "leaky_relu", "slope": 0.2},
)
TANH: Final = Candidate("tanh, [-1, 1]", "the usual end of a GAN", ("tanh", (-1.0, 1.0)))
SIGMOID: Final = Candidate("sigmoid, [0, 1]", "the usual end of a VAE", ("sigmoid", (0.0, 1.0)))
NOTHING: Final = Candidate("none, [-1, 1]", "some end without one", (None, (-1.0, 1.0)))
DEFAULT_EPS: Final = Candidate("1e-5", "torch's default", (1e-5, 1e-5))
WIDE_EPS: Final = Candidate(
    "0.8, but 1e-5 in the first", "an ACGAN script that many copied passes 0.8", (1e-5, 0.8)
)
ALL_WIDE_EPS: Final = Candidate("0.8 in all", "a GAN script that many copied", (0.8, 0.8))


def is_copied_script(chain: Chain) -> bool:
    """The shape of the scripts that pass 0.8 as eps: upsampled convolutions, or a wide MLP."""
    words = [step.word for step in chain.steps]
    norms = words.count("batch_norm")
    if "linear" in words and "conv" in words and "conv_transpose" not in words:
        return norms > 0
    return norms > 1 and set(words) <= {"linear", "batch_norm"}


def unknowns_of(chain: Chain, family: str) -> list[Unknown]:
    """Questions about activations, norms and the end of the network."""
    words = [step.word for step in chain.steps]
    copied = is_copied_script(chain)
    asked = [_output(family)]
    weighted = sum(word in ("linear", "conv", "conv_transpose") for word in words)
    if weighted > 1 and "prelu" not in words:
        usual = (LEAKY, RELU) if copied else (RELU, LEAKY)
        asked.append(Unknown("activation", "Which activation is between the layers?", usual))
    if copied:
        flat = "conv" not in words
        wide = (ALL_WIDE_EPS,) if flat else (WIDE_EPS, ALL_WIDE_EPS)
        candidates = (wide[0], DEFAULT_EPS, *wide[1:])
        asked.append(Unknown("eps", "Which eps have the batch norms?", candidates))
    if "norm" in words:
        asked.append(Unknown("norm", "Which norm has weights but no statistics?", _norms(words)))
    return asked


def _output(family: str) -> Unknown:
    order = (SIGMOID, TANH) if family == "vae" else (TANH, SIGMOID, NOTHING)
    return Unknown("output", "Which activation is the last, and what range has an image?", order)


def _norms(words: list[str]) -> tuple[Candidate, ...]:
    layer: Any = Candidate("layer_norm", "the usual one of linear layers", "layer_norm")
    if "conv" not in words and "conv_transpose" not in words:
        return (layer,)
    instance = {"type": "instance_norm", "affine": True}
    return (
        Candidate("instance_norm", "usual of convolutions", instance),
        Candidate(
            "group_norm, 32 groups", "usual of newer ones", {"type": "group_norm", "groups": 32}
        ),
        Candidate(
            "group_norm, 8 groups", "usual of small ones", {"type": "group_norm", "groups": 8}
        ),
    )
