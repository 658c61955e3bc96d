"""No test asserts a wall-clock time, hypothesis' deadline included."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
