"""Several services and workers are one service to whoever calls."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.integration.scale.conftest import (
    Cluster,
    MakeCluster,
    look,
    look_at_all,
    send,
    status,
    submit,
    until,
    until_all_ended,
)


def test_a_recording_is_analysed_by_a_worker_and_read_from_any_service(cluster: Cluster) -> None:
    a, b = cluster.services
    cluster.gate()
    answer = send(a, "any service")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["status"] == "succeeded"
    again = send(b, "any service")
    assert (again.status_code, again.json()["id"]) == (200, made["id"])
    with b.client() as client:
        assert client.get(made["links"]["beats_csv"]).text.startswith("diastole_s,")
        assert client.get(made["links"]["figures"]["diastole"]).content == b"diastole"
        newest = client.get("/v1/analyses").json()["items"][0]
        assert newest["id"] == made["id"]


def test_a_refusal_while_the_caller_waits_leaves_nothing_to_see(cluster: Cluster) -> None:
    a, b = cluster.services
    cluster.gate()
    for node in (a, b, a):
        refused = send(node, "bad")
        assert (refused.status_code, refused.json()["code"]) == (422, "corrupt_pixel_data")
    named = {"Idempotency-Key": "the same request"}
    assert [send(node, "bad", **named).status_code for node in (a, b)] == [422, 422]
    with b.client() as client:
        shown = client.get("/v1/analyses").json()["items"]
    assert "failed" not in {each["status"] for each in shown}


def test_progress_and_cancelling_work_through_any_service(cluster: Cluster) -> None:
    a, b = cluster.services
    ids = [submit(a, f"cancelled {n}") for n in range(3)]  # one for every slot
    id = ids[0]
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
    next_one = submit(a, "after one was cancelled")
    until(lambda: status(a, next_one) == "running")  # the slot is free again
    following.join(30)
    assert [json.loads(event)["status"] for event in events][-1] == "cancelled"
    cluster.gate()
    assert until_all_ended(b, [*ids[1:], next_one]) == ["succeeded"] * 3
    assert status(a, id) == "cancelled"


def test_who_waits_goes_ahead_of_a_hundred_who_do_not(cluster: Cluster) -> None:
    service, other = cluster.services
    with ThreadPoolExecutor(4) as pool:
        bulk = list(pool.map(lambda n: submit(service, f"bulk {n} lasts 100 ms"), range(100)))
    with ThreadPoolExecutor(1) as pool, service.client() as client:
        waiting = pool.submit(send, other, "now")
        until(lambda: 'line="interactive"} 1.0' in client.get("/metrics").text)
        cluster.gate()
        answer = waiting.result()
    assert answer.status_code == 201
    assert send(service, "and now").status_code == 201
    assert until_all_ended(service, bulk) == ["succeeded"] * 100
    began = [found["started_at"] for found in look_at_all(service, bulk)]
    earlier = sum(at < answer.json()["started_at"] for at in began)
    assert 3 <= earlier <= 6, "only those went ahead that had begun, or were about to"


def test_the_same_bytes_sent_to_several_services_at_once_are_one_analysis(
    cluster: Cluster,
) -> None:
    nodes = cluster.services
    cluster.gate()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: send(nodes[n % 2], f"same {n // 8}"), range(24)))
    assert {answer.status_code for answer in answers} <= {200, 201}, [a.text for a in answers]
    assert len({answer.json()["id"] for answer in answers}) == 3


def test_the_same_names_put_into_a_study_by_several_services_at_once(cluster: Cluster) -> None:
    nodes = cluster.services
    cluster.gate()
    with nodes[0].client() as client:
        study = client.post("/v1/studies", json={"name": "both"}).json()["id"]

    def add(n: int) -> int:
        with nodes[n % 2].client() as client:
            return client.post(
                f"/v1/studies/{study}/analyses",
                files={"file": (f"{n // 4}.dcm", f"study {n // 4}".encode())},
            ).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(add, range(24)))
    assert set(codes) <= {200, 201, 202}, codes
    with nodes[1].client() as client:
        until(lambda: client.get(f"/v1/studies/{study}").json()["counts"]["succeeded"] == 6)
        listed = client.get(f"/v1/studies/{study}/analyses").json()["items"]
    assert len(listed) == 6


def test_a_cluster_says_how_it_is(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    (service,) = cluster.start(1)
    with service.client() as client:
        ready = client.get("/health/ready")
        assert ready.status_code == 200
        assert "No worker" in ready.json()["warning"]
        id = submit(service, "one")
        metrics = client.get("/metrics").text
        assert 'echo2pheno_queue_length{line="bulk"} 1.0' in metrics
        assert "echo2pheno_workers 0.0" in metrics
        (worker,) = cluster.start(workers=1, shutdown_grace_s=0.2)
        until(lambda: "echo2pheno_worker_slots 1.0" in client.get("/metrics").text)
        assert client.get("/health/ready").json() == {"status": "ok"}
        until(lambda: status(service, id) == "running")
        assert worker.terminate() == 0
        assert status(service, id) == "queued", (
            "it was given back, and does not count as an attempt"
        )
        assert "echo2pheno_workers 0.0" in client.get("/metrics").text
        assert "No worker" in client.get("/health/ready").json()["warning"]
    assert service.terminate() == 0
