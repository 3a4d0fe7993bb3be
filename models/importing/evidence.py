"""Which candidate is right, by the network's own memory: the running statistics of its norms.

A batch norm keeps mean and variance of what came into it while it was trained. A network put
together as it was trained gives each norm inputs of about those statistics; another activation,
order of inputs, stride or eps does not. What lies behind the last norm, such as the end of the
network, leaves no trace there and stays a question.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load
from torch import Tensor, nn

from models.declared.document import parse_options
from models.declared.import_spec import ImportSpec
from models.declared.mapping import match_tensors
from models.declared.network import DeclaredGenerator
from models.declared.remap import remap, tensors_of
from models.declared.walk import trace
from models.errors import ModelError
from models.importing.proposal.propose import Proposal
from models.importing.proposal.unknowns import Unknown

SAMPLES: Final = 64
SEED: Final = 20_240
PASSES: Final = 3
BETTER: Final = 0.85
"""A candidate takes the first one's place when its distance is at most so much of the other's."""


def settle(proposal: Proposal, weights: Path, samples: int = SAMPLES) -> float | None:
    """Put the candidates first that fit the norms best; gives their distance.

    Question by question, each with the best answers so far. A question is settled when every
    other answer fits clearly worse. None, and nothing changed, for a network without batch norms.
    """
    content = weights.read_bytes()
    answers = {unknown.name: 0 for unknown in proposal.unknowns}
    best = _distance_of(proposal, answers, content, samples)
    if best is None:
        return None
    traced = [unknown for unknown in proposal.open if unknown.name != "output"]
    for _ in range(PASSES):
        before, settled = dict(answers), []
        for unknown in traced:
            found = _compared(proposal, unknown, answers, best, content, samples)
            nearest = min(found, key=lambda number: found[number])
            if found[nearest] <= BETTER * best:
                answers[unknown.name], best = nearest, found[nearest]
            others = [each for number, each in found.items() if number != answers[unknown.name]]
            if best <= BETTER * min(others):
                settled.append(unknown.name)
        if answers == before:
            break  # every comparison was made beside the final answers
    proposal.prefer(answers, settled)
    return best


def _compared(
    proposal: Proposal, unknown: Unknown, answers: dict[str, int], best: float,
    content: bytes, samples: int,
) -> dict[int, float]:  # fmt: skip
    """Candidate → distance, beside the best answers so far; infinite where nothing fits."""
    found = {answers[unknown.name]: best}
    for number in range(len(unknown.candidates)):
        if number not in found:
            other = _distance_of(proposal, answers | {unknown.name: number}, content, samples)
            found[number] = float("inf") if other is None else other
    return found


def _distance_of(
    proposal: Proposal, answers: dict[str, int], content: bytes, samples: int
) -> float | None:
    """None where there is nothing to compare, or where the answers fit no network."""
    try:
        generator = open_declared(proposal.spec(answers), content)
    except ModelError:
        return None
    return distance(generator, samples)


def open_declared(spec: ImportSpec, content: bytes) -> DeclaredGenerator:
    """The network of a declared spec with the tensors of a converted file, in eval mode."""
    options, classes = parse_options(spec.options), len(spec.classes)
    file, size = io.BytesIO(content), len(content)
    wanted = trace(options, spec.image, spec.latent_size, classes).tensors
    sources = match_tensors(wanted, tensors_of(file, size), spec.tensors)
    with torch.device("meta"):
        generator = DeclaredGenerator(spec.image, spec.latent_size, classes, options)
    state = load(b"".join(remap(file, size, sources)))
    floats = {name: t.float() if t.is_floating_point() else t for name, t in state.items()}
    generator.load_state_dict(floats, assign=True)
    return generator.eval()


class _EnoughError(Exception):
    """The last norm was met; what follows leaves no trace."""


@torch.no_grad()
def distance(generator: DeclaredGenerator, samples: int = SAMPLES) -> float | None:
    """How far the norms' inputs are from their statistics; about 0.02 for a right network.

    Mean over norms and channels of |log ratio of deviations| + |difference of means| / deviation.
    """
    norms = [m for m in generator.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return None
    made = torch.Generator().manual_seed(SEED)
    z = torch.randn(samples, generator.latent_size, generator=made)
    labels = torch.randint(max(1, generator.class_count), (samples,), generator=made)
    with _statistics(norms) as found, suppress(_EnoughError):
        generator(z, labels if generator.class_count else None)
    return sum(found) / len(found)


@contextmanager
def _statistics(norms: Sequence[nn.Module]) -> Iterator[list[float]]:
    found: list[float] = []

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(_difference(norm, inputs[0]))
        if len(found) == len(norms):
            raise _EnoughError

    handles = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _difference(norm: nn.Module, x: Tensor) -> float:
    """x: [N, C] or [N, C, H, W]."""
    axes = [axis for axis in range(x.ndim) if axis != 1]
    variance, mean = torch.var_mean(x, dim=axes, unbiased=False)
    kept_mean, kept_variance = norm.running_mean, norm.running_var
    assert isinstance(kept_mean, Tensor)
    assert isinstance(kept_variance, Tensor)
    floor = 1e-3 * kept_variance.mean() + 1e-12  # channels that do nothing
    ratio = ((variance + floor) / (kept_variance + floor)).log().abs() / 2
    shift = (mean - kept_mean).abs() / (kept_variance + floor).sqrt()
    return float((ratio + shift).mean())
