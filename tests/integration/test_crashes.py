"""The process is killed at any moment: nothing that was accepted is lost, or there twice."""

import random
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import Process

HEADERS = {"Content-Type": "application/dicom", "Prefer": "respond-async"}
RECORDINGS = 24
KILLS = 4
LONGEST_LIFE_S = 1.5


def recordings(rng: random.Random) -> list[bytes]:
    return [b"number %d lasts %d ms" % (n, rng.randrange(150)) for n in range(RECORDINGS)]


def send(service: Process, unsent: list[bytes], accepted: set[str]) -> None:
    """Send recordings until the service dies; what it accepts is sent no more."""
    with service.client() as client:
        while unsent:
            try:
                answer = client.post("/v1/analyses", content=unsent[0], headers=HEADERS)
            except httpx.TransportError:
                return
            assert answer.status_code in (200, 202), answer.text
            accepted.add(answer.headers.get("location") or answer.json()["links"]["self"])
            del unsent[0]


def all_of(client: httpx.Client) -> list[dict]:
    return client.get("/v1/analyses", params={"limit": 100}).json()["items"]


def until_all_ended(client: httpx.Client) -> list[dict]:
    while True:
        items = all_of(client)
        if all(item["status"] not in ("queued", "running") for item in items):
            return items


def all_begun(client: httpx.Client) -> bool:
    return all(item["status"] != "queued" for item in all_of(client))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_batch_survives_being_killed(gated, gate: Path, tmp_path: Path, seed: int) -> None:
    gate.write_text("open")
    rng = random.Random(seed)
    unsent, accepted = recordings(rng), set[str]()
    for _ in range(KILLS):
        with gated(workers=2) as service:
            sender = threading.Thread(target=send, args=(service, unsent, accepted))
            sender.start()
            with pytest.raises(subprocess.TimeoutExpired):  # a random moment, however busy it is
                service.popen.wait(rng.uniform(0, LONGEST_LIFE_S))
            service.kill()
            sender.join()
    with gated(workers=2) as service, service.client() as client:
        send(service, unsent, accepted)
        items = until_all_ended(client)
        assert [item["error"] for item in items if item["status"] != "succeeded"] == []
        assert len(items) == RECORDINGS
        assert len({item["input"]["sha256"] for item in items}) == RECORDINGS, "each is there once"
        assert {item["links"]["self"] for item in items} == accepted
        for item in items:
            for link in (item["links"]["summary_csv"], *item["links"]["figures"].values()):
                assert client.get(link).status_code == 200
        assert service.terminate() == 0
    data = tmp_path / "data"
    assert {path.name for path in (data / "analyses").iterdir()} == {item["id"] for item in items}
    assert list((data / "uploads").iterdir()) == []
    assert list((data / "tmp").iterdir()) == []


def test_what_kills_the_service_is_given_up_and_takes_nothing_along(gated, gate: Path) -> None:
    gate.write_text("open")
    innocent = [b"number %d lasts 2000 ms" % n for n in range(3)]
    deaths, links = 0, dict[bytes, str]()
    while True:
        try:
            with gated(workers=4, max_attempts=3) as service, service.client() as client:
                for content in (*innocent, b"poison"):
                    if content not in links:
                        while content == b"poison" and not deaths and not all_begun(client):
                            pass  # all the others run when it kills for the first time
                        answer = client.post("/v1/analyses", content=content, headers=HEADERS)
                        links[content] = answer.headers["location"]
                items = until_all_ended(client)
                break
        except (httpx.TransportError, AssertionError):  # dead, maybe before it was ready
            deaths += 1
            assert deaths <= 4
    ended = {item["links"]["self"]: item for item in items}
    if b"poison" not in links:  # it died before it could answer
        (links[b"poison"],) = set(ended) - set(links.values())
    poison = ended.pop(links[b"poison"])
    assert (poison["status"], poison["error"]["code"]) == ("failed", "internal_error")
    assert "3 times" in poison["error"]["detail"]
    assert deaths == 3
    assert [item["status"] for item in ended.values()] == ["succeeded"] * 3
