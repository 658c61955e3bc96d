"""The learning rate over a run: linear warm-up, then a cosine."""

from __future__ import annotations

import math

from detection.training.settings import TrainingSettings


def progress_at(settings: TrainingSettings, step: int, seconds: float) -> float:
    """The fraction of the run that is done before a step, in 0..1.

    Args:
        seconds: of training so far, over all resumes.
    """
    if settings.steps is not None:
        return min(1.0, step / settings.steps)
    if settings.seconds is None:
        return 1.0
    return min(1.0, seconds / settings.seconds)


def rate_at(settings: TrainingSettings, progress: float) -> float:
    """The learning rate when a fraction of the run is done.

    The first step of a run by steps has progress 0 and a rate of a hundredth, not of 0.
    """
    if progress < settings.warm_up:
        return settings.learning_rate * max(0.01, progress / settings.warm_up)
    after = (progress - settings.warm_up) / (1 - settings.warm_up)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, after)))
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * cosine)
