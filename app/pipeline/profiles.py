"""The rules by which a recording can be measured."""

from typing import Literal, get_args

ProfileName = Literal["robust", "published"]
"""Ours, and that of the published scripts to the letter."""

PROFILES: tuple[ProfileName, ...] = get_args(ProfileName)
