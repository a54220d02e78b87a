"""The networks that the settings name."""

from app.pipeline.networks import Networks, load_networks
from app.settings import Settings


def configured_networks(settings: Settings) -> Networks:
    """Load the networks as the settings say.

    Raises
    ------
    NetworksError
        They, or what they are to run on, are not as they should be.
    """
    return load_networks(
        settings.models_dir,
        settings.thread_count,
        side_by_side=max(1, settings.cores // settings.thread_count),
        providers=settings.onnx_provider_names,
    )
