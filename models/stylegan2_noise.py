"""Noise pictures of StyleGAN2 that belong to a sample, whatever batch it is drawn in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor

from models.latents import Floats, box_muller


def noise_of(z: Tensor, sides: Sequence[int]) -> list[Tensor]:
    """Latents float32 [N, latent_size] -> for each side s standard normals [N, 1, s, s].

    The stream of an image is Philox keyed by the SHA-256 of its latent's bytes, so equal latents
    have equal noise on every machine, alone and in any batch, and others have other noise.
    """
    counts = [side * side for side in sides]
    rows = np.ascontiguousarray(z.detach().cpu().numpy(), np.float32)
    drawn = np.empty((len(rows), sum(counts)), np.float32)
    for row, place in zip(rows, drawn, strict=True):
        place[:] = _stream(row.astype("<f4").tobytes(), len(place))
    noise = torch.from_numpy(drawn).to(z.device)
    ends = list(accumulate(counts, initial=0))
    return [
        noise[:, start:stop].reshape(-1, 1, side, side)
        for (start, stop), side in zip(pairwise(ends), sides, strict=True)
    ]


def _stream(key: bytes, count: int) -> Floats:
    digest = hashlib.sha256(key).digest()
    words = np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(
        count + count % 2
    )
    return box_muller(words)[:count]
