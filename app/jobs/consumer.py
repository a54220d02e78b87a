"""Celery's consumer without what is not used here."""

from celery.worker.consumer import Consumer as CeleryConsumer


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Makes no queues for messages that are to be delivered later, of which there are none.

    Celery declares 28 of them in a broker with quorum queues.
    """

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc]
        """The steps of a consumer."""

        default_steps = tuple(
            step
            for step in CeleryConsumer.Blueprint.default_steps
            if "delayed_delivery" not in str(step)
        )
