"""A step of a generator against a discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.generator import Generator
from models.training.augment import augment
from models.training.descent import Descent
from models.training.discriminators import Verdict
from models.training.losses import LOSSES, gradient_penalty
from models.training.pair import Pair
from models.training.recipe import Recipe


class AdversarialPair(Pair):
    """Generator against discriminator: one update each, on the same generated images.

    The discriminator alone learns in the first `pretraining_steps` steps, and in all but every
    `critic_steps`-th after them.
    """

    def __init__(
        self, generator: Generator, partner: nn.Module, recipe: Recipe, steps: int
    ) -> None:
        super().__init__(generator, partner, recipe, steps)
        self.loss = LOSSES[recipe.loss]()

    def _descents(self, steps: int) -> dict[str, Descent]:
        device = self.generator.device
        return {
            name: Descent([optimizer], self.recipe, steps, device)
            for name, optimizer in self.optimizers.items()
        }

    def update(self, images: Tensor, labels: Tensor | None, step: int) -> dict[str, float]:
        both = self._turn_of_both(step)
        with torch.set_grad_enabled(both), self.autocast():
            made = self.generator(self.latents(len(images)), labels)
        losses, loss_g = self._update_discriminator(images, made.detach(), labels, step)
        if both:
            loss_g = self._update_generator(made, labels, step)
        return {**losses, "generator": loss_g}

    def _turn_of_both(self, step: int) -> bool:
        later = step - self.recipe.pretraining_steps
        return later >= 0 and (later + 1) % self.recipe.critic_steps == 0

    def _update_discriminator(
        self, images: Tensor, made: Tensor, labels: Tensor | None, step: int
    ) -> tuple[dict[str, float], float]:
        """Its losses by name, and the generator's before this update."""
        images = augment(images, self.recipe.augmentation)
        made = augment(made.to(images.dtype), self.recipe.augmentation)
        real_verdict, made_verdict = self._judge(images, made, labels)
        parts = {"discriminator": self.loss.discriminator(real_verdict[0], made_verdict[0])}
        total = parts["discriminator"]
        if self.recipe.gradient_penalty:
            parts["gradient_penalty"] = self._penalty(images, made, labels)
            total = total + self.recipe.gradient_penalty * parts["gradient_penalty"]
        if real_verdict.classes is not None and labels is not None:
            parts["classification"] = F.cross_entropy(real_verdict.classes, labels)
            total = total + self.recipe.classification_weight * parts["classification"]
        self.descents["partner"](total, step)
        losses = {name: float(part.detach()) for name, part in parts.items()}
        return losses, float(self.loss.generator(made_verdict.realness.detach()))

    def _judge(
        self, images: Tensor, made: Tensor, labels: Tensor | None
    ) -> tuple[Verdict, Verdict]:
        """Both in one pass; in two where the statistics of a batch are part of the verdict."""
        with self.autocast():
            if self.recipe.discriminator_norm == "batch":
                return self.partner(images, labels), self.partner(made, labels)
            twice = None if labels is None else torch.cat([labels, labels])
            verdict: Verdict = self.partner(torch.cat([images, made]), twice)
        return _halves(verdict)

    def _penalty(self, images: Tensor, made: Tensor, labels: Tensor | None) -> Tensor:
        """In float32: a gradient's gradient has no range to spare."""
        with torch.autocast(images.device.type, enabled=False):
            return gradient_penalty(lambda x: self.partner(x, labels).realness, images, made)

    def _update_generator(self, made: Tensor, labels: Tensor | None, step: int) -> float:
        self.partner.requires_grad_(False)  # the discriminator's own gradients are not needed
        with self.autocast():
            verdict: Verdict = self.partner(augment(made, self.recipe.augmentation), labels)
        loss = total = self.loss.generator(verdict.realness.float())
        if verdict.classes is not None and labels is not None:
            told = F.cross_entropy(verdict.classes, labels)
            total = loss + self.recipe.classification_weight * told
        self.descents["generator"](total, step)
        self.partner.requires_grad_(True)
        return float(loss.detach())


def _halves(verdict: Verdict) -> tuple[Verdict, Verdict]:
    real, made = verdict.realness.float().chunk(2)
    if verdict.classes is None:
        return Verdict(real, None), Verdict(made, None)
    real_classes, made_classes = verdict.classes.float().chunk(2)
    return Verdict(real, real_classes), Verdict(made, made_classes)
