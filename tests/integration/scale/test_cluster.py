"""Several services and workers are one service to whoever calls."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.scale.conftest import (
    Cluster,
    look,
    send,
    status,
    statuses,
    submit,
    until,
    until_all_ended,
)
from tests.integration.scale.servers import RabbitMQ, Redis

BROKERS = pytest.mark.parametrize("broker", [RabbitMQ, Redis])


@BROKERS
def test_a_recording_is_analysed_by_a_worker_and_read_from_any_service(
    make_cluster: Callable[..., Cluster], broker: type
) -> None:
    cluster = make_cluster(broker)
    a, b, worker = cluster.all_kinds(2, 1)
    cluster.gate()
    answer = send(a, "one")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["status"] == "succeeded"
    again = send(b, "one")
    assert (again.status_code, again.json()["id"]) == (200, made["id"])
    with b.client() as client:
        assert client.get(made["links"]["beats_csv"]).text.startswith("diastole_s,")
        assert client.get(made["links"]["figures"]["diastole"]).content == b"diastole"
    refused = send(b, "bad")
    assert (refused.status_code, refused.json()["code"]) == (422, "corrupt_pixel_data")
    with a.client() as client:
        assert [each["id"] for each in client.get("/v1/analyses").json()["items"]] == [made["id"]]
        assert client.get("/health/ready").json() == {"status": "ok"}
    assert [node.terminate() for node in (a, b, worker)] == [0, 0, 0]


def test_progress_and_cancelling_work_through_any_service(cluster: Cluster) -> None:
    a, b, _ = cluster.all_kinds(2, 1)
    id = submit(a, "one")
    events: list[str] = []

    def follow() -> None:
        with b.client() as client, client.stream("GET", f"/v1/analyses/{id}/events") as stream:
            events.extend(line[6:] for line in stream.iter_lines() if line.startswith("data: "))

    following = threading.Thread(target=follow)
    following.start()
    running = until(lambda: look(b, id).get("progress") and look(b, id))
    assert running["progress"] == {"stage": "segment", "fraction": 0.4}
    until(lambda: any('"running"' in event for event in events))
    with b.client() as client:
        assert client.delete(f"/v1/analyses/{id}").status_code == 204
    assert status(a, id) == "cancelled"
    second = submit(a, "two")  # there is one slot: it is free again at once
    until(lambda: status(a, second) == "running")
    following.join(30)
    assert [json.loads(event)["status"] for event in events][-1] == "cancelled"
    cluster.gate()
    assert until_all_ended(b, [second]) == ["succeeded"]
    assert status(a, id) == "cancelled"


def test_who_waits_goes_ahead_of_a_hundred_who_do_not(cluster: Cluster) -> None:
    (service,) = cluster.services()
    with ThreadPoolExecutor(4) as pool:
        bulk = list(pool.map(lambda n: submit(service, f"bulk {n} lasts 50 ms"), range(100)))
    cluster.gate()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(send, service, "now")
        with service.client() as client:
            until(lambda: 'line="interactive"} 1.0' in client.get("/metrics").text)
        cluster.workers()
        assert waiting.result().status_code == 201
    done = statuses(service, bulk).count("succeeded")
    assert done < 50, "it did not wait for them"
    second = send(service, "and now")
    assert second.status_code == 201
    assert until_all_ended(service, bulk) == ["succeeded"] * 100


def test_the_same_bytes_sent_to_several_services_at_once_are_one_analysis(
    cluster: Cluster,
) -> None:
    nodes = cluster.all_kinds(2, 1)[:2]
    cluster.gate()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: send(nodes[n % 2], f"same {n // 8}"), range(24)))
    assert {answer.status_code for answer in answers} <= {200, 201}, [a.text for a in answers]
    assert len({answer.json()["id"] for answer in answers}) == 3


def test_a_cluster_says_how_it_is(cluster: Cluster) -> None:
    (service,) = cluster.services()
    with service.client() as client:
        ready = client.get("/health/ready")
        assert ready.status_code == 200
        assert "No worker" in ready.json()["warning"]
        submit(service, "one")
        metrics = client.get("/metrics").text
        assert 'echo2pheno_queue_length{line="bulk"} 1.0' in metrics
        assert "echo2pheno_workers 0.0" in metrics
        (worker,) = cluster.workers(workers=2)
        until(lambda: "echo2pheno_worker_slots 2.0" in client.get("/metrics").text)
        assert client.get("/health/ready").json() == {"status": "ok"}
        cluster.gate()
        assert worker.terminate() == 0
        assert "echo2pheno_workers 0.0" in client.get("/metrics").text


def test_a_worker_that_is_told_to_end_gives_back_what_it_cannot_finish(cluster: Cluster) -> None:
    (service,) = cluster.services()
    (first,) = cluster.workers(shutdown_grace_s=0.2)
    id = submit(service, "one")
    until(lambda: status(service, id) == "running")
    assert first.terminate() == 0
    assert status(service, id) == "queued"
    cluster.gate()
    began = time.monotonic()
    cluster.workers()
    assert until_all_ended(service, [id]) == ["succeeded"]
    print(f"ran again {time.monotonic() - began:.1f} s after the next worker was started")
