"""The networks that the settings name."""

from app.pipeline.known_answer import check_known_answer, known_answer_of
from app.pipeline.networks import Networks, load_networks
from app.settings import Settings


def configured_networks(settings: Settings) -> Networks:
    """Load the networks as the settings say, and try them.

    Raises
    ------
    NetworksError
        They, or what they are to run on, are not as they should be.
    """
    networks = load_networks(
        settings.models_dir,
        settings.thread_count,
        side_by_side=max(1, settings.cores // settings.thread_count),
        providers=settings.onnx_provider_names,
    )
    # a network can load, and then fail with every recording; one whose answer is not known has to
    # give one all the same
    if networks.known_answer:
        check_known_answer(networks)
    else:
        known_answer_of(networks)
    return networks
