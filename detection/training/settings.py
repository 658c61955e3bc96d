"""The settings of a training run, each with the reason for its default."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from detection.errors import TrainingError

Autocast = Literal["auto", "bf16", "none"]
SettingsClass = TypeVar("SettingsClass")
# May differ when a run is resumed: they do not change the steps that are still to come, except
# `learning_rate`, which may be lowered after a divergence.
CHANGEABLE = (
    "learning_rate", "checkpoint_every", "keep_last", "read_every", "max_bad_steps", "time_limit_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How to train; what to train is the task's.

    Attributes:
        steps: the length of the run. None with `seconds`.
        seconds: the length of the run in seconds of training (without saving and judging), summed
            over resumes; the schedule then follows the time. For a machine lent for a fixed time;
            such a run can be resumed, but not repeated exactly.
        seed: of the initial weights, the data order and dropout.
        learning_rate: after the warm-up. 1e-3 suits small networks from nothing.
        warm_up: share of the run in which the rate rises linearly, because the first gradients of
            Adam are divided by poor estimates of their variance.
        final_rate: share of `learning_rate` at the end of the cosine. Not 0, so that the last
            steps still do something.
        betas: of AdamW. 0.98 forgets the variance of a divergence ten times sooner than 0.999.
        clip_norm: largest norm of all gradients together; 1 lets normal steps of a small network
            pass and cuts the rare large one.
        ema_decay: of the running mean of the weights, which is what is exported; 0 is without.
            0.998 averages over the last 500 steps, and over fewer at the start.
        autocast: "bf16", "none", or "auto": bf16 on a GPU, where it doubles the speed.
        checkpoint_every: steps between checkpoints; each is exported, proven and judged.
        keep_last: checkpoints to keep besides the best, so that one can be damaged.
        read_every: steps between reads of the losses from the device, each of which waits for it.
        max_bad_steps: steps in a row with a loss or a gradient that is not finite, after which the
            run stops: one is a bad image, five are a divergence.
        time_limit_s: seconds after which this process saves and ends, to be resumed; None is
            without. Leave room for one proof after it.
    """

    steps: int | None = 1000
    seconds: float | None = None
    seed: int = 0
    learning_rate: float = 1e-3
    warm_up: float = 0.05
    final_rate: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    autocast: Autocast = "auto"
    checkpoint_every: int = 500
    keep_last: int = 2
    read_every: int = 10
    max_bad_steps: int = 5
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise TrainingError("the length of the run: give either steps or seconds")
        limits = {
            "steps": (self.steps is None or self.steps >= 1, "at least 1"),
            "seconds": (self.seconds is None or self.seconds > 0, "more than 0"),
            "learning_rate": (self.learning_rate > 0, "more than 0"),
            "warm_up": (0 <= self.warm_up < 1, "from 0 to less than 1"),
            "final_rate": (0 <= self.final_rate <= 1, "from 0 to 1"),
            "clip_norm": (self.clip_norm > 0, "more than 0"),
            "ema_decay": (0 <= self.ema_decay < 1, "from 0 to less than 1"),
            "autocast": (self.autocast in {"auto", "bf16", "none"}, "auto, bf16 or none"),
            "checkpoint_every": (self.checkpoint_every >= 1, "at least 1"),
            "keep_last": (self.keep_last >= 1, "at least 1"),
            "read_every": (self.read_every >= 1, "at least 1"),
            "max_bad_steps": (self.max_bad_steps >= 1, "at least 1"),
            "time_limit_s": (self.time_limit_s is None or self.time_limit_s > 0, "more than 0"),
        }
        for name, (valid, range_text) in limits.items():
            if not valid:
                raise TrainingError(f"{name} is {getattr(self, name)}, but must be {range_text}")


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """Settings from "name=value" texts; the value may be empty, such as "words=".

    Raises:
        TrainingError: a text without a name or an equals sign.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise TrainingError(f"--set {text}: write it as name=value")
        found[name] = value
    return found


def duration_s(text: str | None) -> float | None:
    """Seconds of "90", "90s", "25m" or "1.5h".

    Raises:
        TrainingError: another text.
    """
    if text is None:
        return None
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise TrainingError(f"{text!r} is not a duration: write 90s, 25m or 1.5h")
    return seconds


def changed(settings: SettingsClass, texts: Mapping[str, str]) -> SettingsClass:
    """A settings dataclass with fields set from texts ("learning_rate": "1e-3").

    Raises:
        TrainingError: no such field, or a text that is not of the field's type.
    """
    current = dataclasses.asdict(settings)  # type: ignore[call-overload]
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in current:
            near = get_close_matches(name, current, 1)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(current)}"
            raise TrainingError(f"no setting is named {name!r}: {hint}")
        values[name] = _value(name, text, current[name])
    changed_settings: SettingsClass = dataclasses.replace(settings, **values)  # type: ignore[type-var]
    return changed_settings


def _value(name: str, text: str, current: Any) -> Any:  # noqa: ANN401  of the field's type
    """The text as the type of the current value; None stays open to a number."""
    if isinstance(current, str):
        return text
    if text == "none":
        return None
    try:
        return _parser(current)(text)
    except (ValueError, KeyError):
        kind = "a number" if current is None else f"of the type of {current!r}"
        raise TrainingError(f"{name}={text}: the value must be {kind}") from None


def _parser(current: Any) -> Callable[[str], Any]:  # noqa: ANN401
    if isinstance(current, bool):
        return lambda text: {"true": True, "false": False}[text.lower()]
    if isinstance(current, tuple):
        return lambda text: tuple(float(part) for part in text.split(","))
    if current is None:
        return lambda text: int(text) if text.isdecimal() else float(text)
    return type(current)
