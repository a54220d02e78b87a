"""Figures and tables on their way out, while their analysis is removed."""

import shutil
from pathlib import Path

import httpx
import pytest

from app.api.stored import StoredFile
from tests.api.conftest import post_raw
from tests.api.test_refusals import assert_problem

pytestmark = pytest.mark.anyio


async def test_what_is_removed_while_it_is_sent_arrives_whole(tmp_path: Path) -> None:
    folder = tmp_path / "analysis"
    folder.mkdir()
    content = bytes(range(256)) * 4000
    (folder / "trace.csv").write_bytes(content)
    response = StoredFile(folder / "trace.csv", "text/csv", "trace.csv")
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        sent.append(message)

    scope = {"type": "http", "asgi": {"spec_version": "2.4"}, "method": "GET", "headers": []}
    await response(scope, receive, send)
    assert not folder.exists()
    headers = dict(sent[0]["headers"])
    assert headers[b"content-length"] == str(len(content)).encode()
    assert headers[b"content-disposition"] == b'attachment; filename="trace.csv"'
    assert b"".join(message["body"] for message in sent[1:]) == content


async def test_what_is_removed_just_before_is_not_found(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = client._transport.app.state.service
    draw = service.renderer.figure

    async def draw_and_lose(id: str, name: str) -> Path:
        path = await draw(id, name)
        assert path.exists()
        service.intake.remove(id)
        return path

    links = (await post_raw(client)).json()["links"]
    with monkeypatch.context() as patch:
        patch.setattr(service.renderer, "figure", draw_and_lose)
        figure = await client.get(links["figures"]["systole"])
    assert_problem(figure, 404, "not_found")

    shown = (await post_raw(client, figures="false")).json()
    shutil.rmtree(service.files.result(shown["id"]))
    table = await client.get(shown["links"]["beats_csv"])
    assert_problem(table, 404, "not_found")


@pytest.mark.parametrize("asked", ["bytes=0-3", "bytes=9999999-", "lines=1-2", "bytes=4-1"])
async def test_whoever_asks_for_a_part_gets_the_whole(
    client: httpx.AsyncClient, asked: str
) -> None:
    links = (await post_raw(client)).json()["links"]
    for link in (links["beats_csv"], links["figures"]["systole"]):
        whole = await client.get(link)
        part = await client.get(link, headers={"Range": asked})
        assert (whole.status_code, part.status_code) == (200, 200)
        assert part.content == whole.content
        assert "accept-ranges" not in part.headers
