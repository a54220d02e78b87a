"""The rules by which a recording can be measured."""

from typing import Literal

ProfileName = Literal["robust", "published"]

AVAILABLE_PROFILES: tuple[ProfileName, ...] = ("robust",)
"""``published``, the measurement rule of the published scripts, is not available yet."""
