"""Whatever fails: each accepted analysis ends once, succeeded or failed with a reason."""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from tests.integration.scale.conftest import (
    Cluster,
    MakeCluster,
    Node,
    empty,
    look,
    send,
    status,
    statuses,
    submit,
    until,
    until_all_ended,
)
from tests.integration.scale.servers import Redis

Report = Callable[[str, object], None]


@pytest.fixture
def report(record_property: Report) -> Report:
    """Note a measured time with the test's result, and print it: nothing depends on it."""

    def note(name: str, seconds: object) -> None:
        record_property(name, seconds)
        print(f"{name}: {seconds:.1f} s")

    return note


def holder_of(cluster: Cluster, id: str) -> Node:
    """The worker that runs an analysis."""
    with (engine := create_engine(cluster.environment["ECHO2PHENO_DATABASE_URL"])).connect() as at:
        query = text("SELECT holder FROM analyses WHERE id = :id AND status = 'running'")
        holder = until(lambda: at.execute(query, {"id": id}).scalar() or at.rollback())
    engine.dispose()
    (found,) = [node for node in cluster.workers if f"-{node.popen.pid}-" in holder]
    return found


def spread(cluster: Cluster, name: str, n: int = 12) -> list[str]:
    """Queue analyses at all services, some of which run, and wait until some do."""
    a, b = cluster.services
    ids = [submit((a, b)[k % 2], f"{name} {k}") for k in range(n)]
    until(lambda: statuses(a, ids).count("running") == len(cluster.workers))
    return ids


def test_what_a_killed_worker_ran_runs_again(cluster: Cluster, report: Report) -> None:
    a, b = cluster.services
    ids = [submit(a, f"killed {n}") for n in range(2)]  # which leaves a worker free
    until(lambda: statuses(b, ids) == ["running"] * 2)
    holder_of(cluster, ids[0]).kill()
    killed = time.monotonic()
    until(lambda: holder_of_or_none(cluster, ids[0]))
    report("a killed worker's analysis ran again after", time.monotonic() - killed)
    cluster.gate()
    assert until_all_ended(b, ids) == ["succeeded"] * 2
    assert look(a, ids[0])["error"] is None


def holder_of_or_none(cluster: Cluster, id: str) -> bool:
    """Whether a worker that is alive runs an analysis."""
    engine = create_engine(cluster.environment["ECHO2PHENO_DATABASE_URL"])
    with engine.connect() as at:
        query = text("SELECT holder FROM analyses WHERE id = :id AND status = 'running'")
        holder = at.execute(query, {"id": id}).scalar() or ""
    engine.dispose()
    return any(f"-{node.popen.pid}-" in holder for node in cluster.workers)


def test_a_worker_that_slept_past_its_lease_changes_nothing(cluster: Cluster) -> None:
    a, _ = cluster.services
    id = submit(a, "slept")
    sleeper = holder_of(cluster, id)
    os.kill(sleeper.popen.pid, signal.SIGSTOP)
    try:
        until(lambda: holder_of_or_none(cluster, id) and holder_of(cluster, id) is not sleeper)
        cluster.gate()
        assert until_all_ended(a, [id]) == ["succeeded"]
        before = look(a, id)
    finally:
        os.kill(sleeper.popen.pid, signal.SIGCONT)
    later = submit(a, "after the sleep")
    assert until_all_ended(a, [later]) == ["succeeded"]
    until(lambda: "analysis lost to another worker" in sleeper.log.read_text())
    after = look(a, id)
    assert {**after, "timings_ms": None} == {**before, "timings_ms": None}
    with a.client() as client:
        assert client.get(after["links"]["beats_csv"]).status_code == 200


def test_a_file_that_kills_its_workers_is_given_up(cluster: Cluster) -> None:
    a, b = cluster.services
    with ThreadPoolExecutor(1) as pool:
        poison = submit(a, "poison")
        cluster.gate()
        for left in (2, 1):
            until(lambda left=left: len(cluster.workers) == left)
        harmless = pool.submit(send, b, "harmless")
        until(lambda: len(cluster.workers) == 0)
        until(lambda: status(b, poison) == "failed")
        error = look(b, poison)["error"]
        assert error["code"] == "internal_error"
        assert "3 times" in error["detail"]
        with a.client() as one, b.client() as other:
            pages = one.get("/metrics").text + other.get("/metrics").text
        assert "echo2pheno_dead_letters_total 1.0" in pages
        cluster.complete(2, 3)
        assert harmless.result().status_code == 201


def test_a_broker_that_is_restarted_loses_nothing(cluster: Cluster, report: Report) -> None:
    ids = spread(cluster, "broker")
    a, b = cluster.services
    cluster.broker.kill()
    with a.client() as client:
        until(lambda: client.get("/health/ready").status_code == 503)
        assert client.get("/health/ready").json()["code"] == "not_ready"
    ids += [submit(b, f"without broker {n}") for n in range(3)]
    cluster.gate()
    until(lambda: statuses(a, ids).count("succeeded") >= 3)
    cluster.broker.start()
    back = time.monotonic()
    assert until_all_ended(a, ids) == ["succeeded"] * len(ids)
    report("all done after the broker was back", time.monotonic() - back)
    assert send(b, "with the broker again").status_code == 201


def test_a_broker_that_lost_all_messages_is_told_again(cluster: Cluster, report: Report) -> None:
    ids = spread(cluster, "purged", 8)
    empty(cluster.broker)
    cluster.gate()
    purged = time.monotonic()
    assert until_all_ended(cluster.services[0], ids) == ["succeeded"] * len(ids)
    report("all done after the broker lost its messages", time.monotonic() - purged)


def test_a_database_that_is_restarted_loses_nothing(cluster: Cluster, report: Report) -> None:
    ids = spread(cluster, "database")
    a, b = cluster.services
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(send, b, "waits meanwhile")
        with b.client() as client:
            until(lambda: 'line="interactive"} 1.0' in client.get("/metrics").text)
        cluster.database.stop()
        cluster.gate()  # results are ready while there is nobody to tell
        away = send(a, "while it is away")
        assert (away.status_code, away.json()["code"]) == (503, "not_ready")
        assert int(away.headers["Retry-After"]) > 0
        with a.client() as client:
            assert client.get("/health/live").status_code == 200
            assert client.get("/health/ready").status_code == 503
            assert client.get(f"/v1/analyses/{ids[0]}").status_code == 503
            assert client.get("/metrics").status_code == 200
        cluster.database.start()
        back = time.monotonic()
        assert until_all_ended(a, ids) == ["succeeded"] * len(ids)
        report("all done after the database was back", time.monotonic() - back)
        assert waits.result().status_code in (201, 503)
    assert send(a, "while it is away").status_code == 201
    assert (len(cluster.services), len(cluster.workers)) == (2, 3)


def test_a_service_that_is_killed_loses_nothing(cluster: Cluster) -> None:
    ids = spread(cluster, "service")
    a, b = cluster.services
    waiting = threading.Thread(target=lambda: _send_in_vain(a, "its caller waits"))
    waiting.start()
    with b.client() as client:
        until(lambda: 'line="interactive"} 1.0' in client.get("/metrics").text)
    a.kill()
    waiting.join()
    cluster.gate()
    assert until_all_ended(b, ids) == ["succeeded"] * len(ids)
    assert send(b, "its caller waits").status_code in (200, 201)


def _send_in_vain(node: Node, content: str) -> None:
    with pytest.raises(Exception, match=r"disconnected|reset"):
        send(node, content)


def test_a_volume_that_takes_no_writes_for_a_while_loses_nothing(
    cluster: Cluster, report: Report
) -> None:
    ids = spread(cluster, "volume")
    a, b = cluster.services
    folders = [cluster.data, *(path for path in cluster.data.rglob("*") if path.is_dir())]
    modes = {path: path.stat().st_mode for path in folders}
    for path in folders:
        path.chmod(0o500)
    try:
        refused = send(a, "not now")
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
        assert "Retry-After" in refused.headers
        with b.client() as client:
            until(lambda: client.get("/health/ready").status_code == 503)
        cluster.gate()  # results are ready, and cannot be written
        until(lambda: any("volume" in node.log.read_text() for node in cluster.workers))
        assert "failed" not in statuses(b, ids)
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    back = time.monotonic()
    assert until_all_ended(b, ids) == ["succeeded"] * len(ids)
    report("all done after the volume was back", time.monotonic() - back)
    assert send(a, "not now").status_code == 201


def test_a_recording_that_is_gone_from_the_volume_is_given_up(cluster: Cluster) -> None:
    a, b = cluster.services
    others = [submit(a, f"beside {n}") for n in range(3)]
    until(lambda: set(statuses(a, others)) == {"running"})
    id = submit(a, "gone")
    (upload,) = (cluster.data / "uploads").rglob(id)
    upload.unlink()
    cluster.gate()
    assert until_all_ended(b, [id]) == ["failed"]
    assert "volume" in look(b, id)["error"]["detail"]
    assert until_all_ended(b, others) == ["succeeded"] * 3


def test_messages_that_come_twice_change_nothing(cluster: Cluster) -> None:
    from app.jobs.broker import BULK, INTERACTIVE, TASK, make_celery

    ids = spread(cluster, "twice", 6)
    celery = make_celery(cluster.broker.url)
    with celery.producer_or_acquire() as producer:
        for id in [*ids, *ids, "nobody's"]:
            for queue in (BULK, INTERACTIVE):
                celery.send_task(TASK, (id,), queue=queue, producer=producer)
    celery.close()
    cluster.gate()
    a, _ = cluster.services
    assert until_all_ended(a, ids) == ["succeeded"] * len(ids)
    assert send(a, "after all of them").status_code == 201
    logs = "".join(node.log.read_text() for node in cluster.workers)
    for id in ids:
        ends = [line for line in logs.splitlines() if id in line and "analysis ended" in line]
        assert len(ends) == 1, ends


def test_redis_carries_messages_too(make_cluster: MakeCluster, report: Report) -> None:
    cluster = make_cluster(Redis)
    service, worker = cluster.start(1, 1)
    id, waits = submit(service, "one"), submit(service, "two")
    until(lambda: status(service, id) == "running")
    worker.kill()
    killed = time.monotonic()
    cluster.start(0, 1)
    until(lambda: holder_of_or_none(cluster, id) or holder_of_or_none(cluster, waits))
    cluster.gate()
    assert until_all_ended(service, [id, waits]) == ["succeeded"] * 2
    report("all done after a worker on Redis was killed", time.monotonic() - killed)
    assert send(service, "three").status_code == 201
    cluster.broker.restart()
    assert send(service, "four").status_code == 201
    assert [node.terminate() for node in (service, *cluster.workers)] == [0, 0]
