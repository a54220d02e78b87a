import pytest

from app.pipeline.networks import Networks, load_networks
from app.settings import Settings


@pytest.fixture(scope="session")
def networks() -> Networks:
    """The networks that the service ships."""
    return load_networks(Settings().models_dir, threads=1)
