"""The same request again: joined, answered, run again, forced, named; never another caller's."""

import hashlib
import json
from pathlib import Path

import anyio
import httpx
import pytest
from sqlalchemy import select

from app.keys import add_key
from app.storage.schema import idempotency_keys
from tests.api.conftest import GOOD, Core, Serve, post_form, post_raw, until
from tests.api.test_refusals import assert_problem

pytestmark = pytest.mark.anyio

ASYNC = {"Prefer": "respond-async"}


def named(key: str, **more: str) -> dict[str, str]:
    return {"Idempotency-Key": key, **more}


async def test_what_runs_is_joined(client: httpx.AsyncClient, core: Core) -> None:
    core.open.clear()
    first = await post_raw(client, headers=ASYNC)
    again = await post_raw(client, headers=ASYNC)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    core.open.set()
    assert (await post_raw(client)).json()["id"] == first.json()["id"]
    assert len(core.analysed) == 1


async def test_what_was_cancelled_runs_again(client: httpx.AsyncClient, core: Core) -> None:
    core.open.clear()
    first = (await post_raw(client, headers=ASYNC)).json()
    await client.delete(first["links"]["self"])
    core.open.set()
    again = await post_raw(client)
    assert again.status_code == 201
    assert again.json()["id"] != first["id"]


@pytest.mark.parametrize("post", [post_raw, post_form])
async def test_force_analyses_anew(client: httpx.AsyncClient, core: Core, post) -> None:
    first = await post(client)
    forced = await post(client, force="true")
    assert (first.status_code, forced.status_code) == (201, 201)
    assert first.json()["id"] != forced.json()["id"]
    assert len(core.analysed) == 2
    assert (await client.get(first.json()["links"]["self"])).json()["status"] == "succeeded"
    again = await post(client)
    assert (again.status_code, again.json()["id"]) == (200, forced.json()["id"])


async def test_force_takes_nothing_from_what_runs(client: httpx.AsyncClient, core: Core) -> None:
    core.open.clear()
    first = (await post_raw(client, headers=ASYNC)).json()["id"]
    forced = (await post_raw(client, headers=ASYNC, force=True)).json()["id"]
    assert first != forced
    core.open.set()
    for id in (first, forced):
        await until(client, id, "succeeded")


async def test_a_named_request_is_done_once(client: httpx.AsyncClient, core: Core) -> None:
    first = await post_raw(client, headers=named("k1"), force=True)
    again = await post_raw(client, headers=named('"k1"'), force=True)
    other = await post_raw(client, headers=named("k2"), force=True)
    assert [r.status_code for r in (first, again, other)] == [201, 200, 201]
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    assert len(core.analysed) == 2


async def test_a_named_request_stands_for_what_was_there(client: httpx.AsyncClient) -> None:
    plain = await post_raw(client)
    first = await post_raw(client, headers=named("k"))
    assert (first.status_code, first.json()["id"]) == (200, plain.json()["id"])
    assert (await post_raw(client, headers=named("k"))).json()["id"] == plain.json()["id"]
    assert_problem(await post_raw(client, GOOD + b"2", named("k")), 409, "idempotency_conflict")


async def test_a_name_is_for_one_request(client: httpx.AsyncClient, core: Core, settings) -> None:
    first = await post_raw(client, headers=named("k"), body_mass_g=25)
    for other in (
        await post_raw(client, GOOD + b"2", named("k"), body_mass_g=25),
        await post_raw(client, headers=named("k"), body_mass_g=26),
        await post_raw(client, GOOD + b"2", named("k") | ASYNC),
        await post_raw(client, headers=named("k"), body_mass_g=25, profile="published"),
        await post_raw(client, headers=named("k"), body_mass_g=25, figures=False),
        await post_raw(client, headers=named("k"), body_mass_g=25, force=True),
    ):
        assert_problem(other, 409, "idempotency_conflict")
    assert len(core.analysed) == 1
    assert not list((settings.data_dir / "uploads").iterdir())
    await client.delete(first.json()["links"]["self"])
    assert (await post_raw(client, GOOD + b"2", named("k"))).status_code == 201, "its use is over"


async def test_a_name_that_an_earlier_version_kept_stands_for_the_same(
    client: httpx.AsyncClient,
) -> None:
    await post_raw(client, headers=named("k"), body_mass_g=25)
    records = client._transport.app.state.service.records
    with records.engine.connect() as connection:
        kept = connection.execute(select(idempotency_keys.c.request_sha256)).scalar_one()
    asked = {
        "sha256": hashlib.sha256(GOOD).hexdigest(),
        "options": {"body_mass_g": 25.0, "figures": True, "profile": "robust"},
    }
    assert kept == hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


async def test_a_name_for_a_forced_request_is_for_no_other(
    client: httpx.AsyncClient, core: Core
) -> None:
    forced = await post_raw(client, headers=named("k"), force=True)
    assert forced.status_code == 201
    assert_problem(await post_raw(client, headers=named("k")), 409, "idempotency_conflict")
    again = await post_raw(client, headers=named("k"), force=True)
    assert (again.status_code, again.json()["id"]) == (200, forced.json()["id"])
    assert len(core.analysed) == 1


async def test_a_named_request_that_failed_stays_so(client: httpx.AsyncClient, core: Core) -> None:
    bad = GOOD + b" pixels:too_short"
    first = (await post_raw(client, bad, named("k", **ASYNC))).json()
    await until(client, first["id"], "failed")
    again = await post_raw(client, bad, named("k", **ASYNC))
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (
        200,
        first["id"],
        "failed",
    )
    assert_problem(await post_raw(client, bad, named("k")), 422, "too_short")
    fresh = await post_raw(client, bad, ASYNC)
    assert (fresh.status_code, fresh.json()["id"] != first["id"]) == (202, True)


async def test_a_refused_file_leaves_its_name_free(client: httpx.AsyncClient) -> None:
    bad = GOOD + b" pixels:too_short"
    assert_problem(await post_raw(client, bad, named("k")), 422, "too_short")
    assert (await post_raw(client, headers=named("k"))).status_code == 201


async def test_a_named_request_that_comes_twice_at_once(client, core: Core) -> None:
    core.open.clear()
    answers: list[httpx.Response] = []

    async def post(content: bytes) -> None:
        answers.append(await post_raw(client, content, named("k", **ASYNC), force=True))

    async with anyio.create_task_group() as tasks:
        for content in (GOOD, GOOD, GOOD + b"2", GOOD + b"2"):
            tasks.start_soon(post, content)
    core.open.set()
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [202, 202, 409, 409]
    assert len({a.json()["id"] for a in answers if a.status_code == 202}) == 1
    assert len((await client.get("/v1/analyses")).json()["items"]) == 1


async def test_a_name_outlives_a_restart(serve: Serve) -> None:
    async with serve() as client:
        id = (await post_raw(client, headers=named("k"), force=True)).json()["id"]
    async with serve() as client:
        again = await post_raw(client, headers=named("k"), force=True)
        assert (again.status_code, again.json()["id"]) == (200, id)


@pytest.mark.parametrize("key", ["", '""', "x" * 256])
async def test_what_is_no_name(client: httpx.AsyncClient, key: str) -> None:
    assert_problem(await post_raw(client, headers=named(key)), 422, "invalid_option")


async def test_two_names(client: httpx.AsyncClient) -> None:
    headers = [("Content-Type", "application/dicom"), *([("Idempotency-Key", "k")] * 2)]
    response = await client.post("/v1/analyses", content=GOOD, headers=headers)
    assert_problem(response, 422, "invalid_option")


async def test_another_caller_never_meets_it(serve: Serve, tmp_path: Path, core: Core) -> None:
    keys = tmp_path / "keys.json"
    callers = [{"Authorization": f"Bearer {add_key(keys, name, 'analyse')}"} for name in "ab"]
    async with serve(keys_file=keys) as client:
        answers = [await post_raw(client, headers=named("k") | caller) for caller in callers]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert len({answer.json()["id"] for answer in answers}) == 2
        other = await post_raw(client, GOOD + b"2", named("k2") | callers[0])
        assert (await post_raw(client, GOOD + b"3", named("k2") | callers[1])).status_code == 201
        assert (
            await client.get(other.json()["links"]["self"], headers=callers[1])
        ).status_code == 404
    assert len(core.analysed) == 4
