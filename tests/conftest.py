"""Fixtures that every kind of test shares."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder with real recordings (`real/`) and golden files (`published/`), kept elsewhere."""
    folder = os.environ.get("ECHO2PHENO_REFERENCE_DATA")
    if not folder:
        pytest.skip("ECHO2PHENO_REFERENCE_DATA is not set: no real recordings here")
    return Path(folder)
