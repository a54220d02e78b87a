"""Fixtures that every kind of test shares."""

import os
from pathlib import Path

import pytest

from app.pipeline.networks import Networks, load_networks
from tests.stand_in import write_stand_ins


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder with real recordings (`real/`) and golden files (`published/`), kept elsewhere."""
    folder = os.environ.get("ECHO2PHENO_REFERENCE_DATA")
    if not folder:
        pytest.skip("ECHO2PHENO_REFERENCE_DATA is not set: no real recordings here")
    return Path(folder)


@pytest.fixture(scope="session")
def stand_in_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of networks as the importer writes it, with small stand-ins for the published."""
    return write_stand_ins(tmp_path_factory.mktemp("stand-ins"))


@pytest.fixture(scope="session")
def stand_ins(stand_in_folder: Path) -> Networks:
    """The stand-ins for the published networks."""
    return load_networks(stand_in_folder, threads=1)
