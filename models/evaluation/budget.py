"""From a budget in minutes to how much is learnt and compared: a function of the options alone.

So a run that is stopped and asked for again finds its parts, however fast the machine was.
"""

from __future__ import annotations

from typing import Final

from models.evaluation.options import EvaluationOptions

IMAGES_A_MINUTE: Final = 20_000
"""What the classifier learns from at least, of a budget. A core did three times as many of 28x28
pixels in half of the time."""
SAMPLES_A_MINUTE: Final = 1_000
LEAST_SAMPLES: Final = 500


def within(options: EvaluationOptions) -> EvaluationOptions:
    """The options with what the minutes allow; unchanged without a budget."""
    if options.minutes is None:
        return options
    images = max(1000, int(options.minutes * IMAGES_A_MINUTE))
    samples = max(LEAST_SAMPLES, int(options.minutes * SAMPLES_A_MINUTE))
    return options.model_copy(
        update={
            "sample_limit": min(options.sample_limit, samples),
            "most_classifier_images": min(options.most_classifier_images, images),
        }
    )
