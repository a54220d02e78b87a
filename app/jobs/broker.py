"""What the broker is told: that there is work. Nothing but the id of an analysis travels."""

from collections.abc import Mapping
from typing import Any

from amqp.exceptions import AMQPError, MessageNacked
from celery import Celery
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

TASK = "echo2pheno.analyse"
INTERACTIVE, BULK, DEAD = (f"echo2pheno.{name}" for name in ("interactive", "bulk", "dead"))
LINES = {"interactive": INTERACTIVE, "bulk": BULK}

CONNECT_LIMIT_S = 3.0
CONFIRM_LIMIT_S = 3.0
"""How long a broker may take to connect, and to say that it has a message."""

TROUBLE = (BrokerError, AMQPError, RedisError, MessageNacked, OSError)
"""What is raised where a broker does not answer, or not as it should."""

_QUORUM: Mapping[str, Any] = {"x-queue-type": "quorum"}

_ANSWER_LIMIT_S = 5.0
"""How long it may take over anything else: queues that it has to make take a while."""

_AMQP = {
    "confirm_publish": True,
    "read_timeout": _ANSWER_LIMIT_S,
    "write_timeout": _ANSWER_LIMIT_S,
}
_REDIS = {"socket_connect_timeout": CONNECT_LIMIT_S, "socket_timeout": 10.0}

_DELIVERIES = 20
"""How often a message may come back before the broker puts it aside; see `DEAD`."""


def make_celery(broker_url: str) -> Celery:
    """Describe the broker to Celery; nothing is connected yet.

    RabbitMQ gets quorum queues, which outlive any one of its nodes; of another broker only its
    plain queues are used. There is no result backend: results are in the records.

    Parameters
    ----------
    broker_url : str
        As Celery has it: ``amqp://…``, ``redis://…``.
    """
    app = Celery("echo2pheno", broker=broker_url, set_as_current=False)
    amqp = broker_url.startswith("amqp")
    app.conf.update(
        task_queues=_queues(amqp=amqp),
        task_default_queue=BULK,
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        # A message stays the broker's until its work is done, and comes back if a worker dies.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_consumer="app.jobs.consumer:Consumer",
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=CONNECT_LIMIT_S,
        broker_heartbeat=20,
        broker_transport_options=_AMQP if amqp else _REDIS,
    )
    return app


def _queues(*, amqp: bool) -> list[Queue]:
    exchange = Exchange("echo2pheno", type="direct")
    alive = {
        **_QUORUM,
        "x-delivery-limit": _DELIVERIES,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": DEAD,
    }
    return [
        Queue(name, exchange, routing_key=name, queue_arguments=alive if amqp else None)
        for name in (INTERACTIVE, BULK)
    ]


def declare(connection: Connection, app: Celery) -> None:
    """Make the queues that are missing, that of dead messages among them."""
    channel = connection.default_channel
    if connection.transport.driver_type == "amqp":
        channel.queue_declare(DEAD, durable=True, auto_delete=False, arguments=_QUORUM)
    for queue in app.conf.task_queues:
        queue(channel).declare()


def lengths(connection: Connection) -> Mapping[str, int]:
    """Count the messages that wait, by line; those that workers have are not among them."""
    return {line: _length(connection, name) for line, name in LINES.items()}


def _length(connection: Connection, name: str) -> int:
    channel = connection.channel()
    try:
        return int(channel.queue_declare(name, passive=True).message_count)
    except connection.channel_errors:  # there is no such queue yet
        return 0
    finally:
        channel.close()
