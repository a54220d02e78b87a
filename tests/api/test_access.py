"""Who may call, and whose analyses are whose."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.keys import add_key, remove_key, renew_key
from app.storage.records import new_id
from tests.api.conftest import GOOD, Core, Serve, files_below, post_form, post_raw, until
from tests.api.test_refusals import assert_problem

pytestmark = pytest.mark.anyio

ROLES = {"anna": "analyse", "bert": "analyse", "rita": "read-all", "admin": "admin"}


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def keys(keys_file: Path) -> dict[str, dict[str, str]]:
    """The header of each of them."""
    return {name: bearer(add_key(keys_file, name, role)) for name, role in ROLES.items()}


@pytest.fixture
async def client(serve: Serve, keys: Any, keys_file: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(keys_file=keys_file) as client:
        yield client


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def listed(client: httpx.AsyncClient, key: dict[str, str]) -> set[str]:
    answer = await client.get("/v1/analyses", headers=key)
    assert answer.status_code == 200
    return {item["id"] for item in answer.json()["items"]}


async def test_whoever_has_no_key_is_refused(client: httpx.AsyncClient) -> None:
    id = new_id()
    for method, path in (
        ("POST", "/v1/analyses"),
        ("GET", "/v1/analyses"),
        ("GET", "/v1/analyses?page=2"),
        ("GET", f"/v1/analyses/{id}"),
        ("DELETE", f"/v1/analyses/{id}"),
        ("GET", f"/v1/analyses/{id}/beats.csv"),
        ("GET", f"/v1/analyses/{id}/figures/function.png"),
        ("GET", "/v1/models"),
        ("GET", "/metrics"),
        ("HEAD", "/v1/analyses"),
        ("PUT", "/v1/analyses"),
        ("GET", "/nothing"),
        ("GET", "//v1/analyses"),
        ("GET", "/health/live/"),
        ("GET", "/docs/../v1/analyses"),
        ("GET", "/static-offline-docs/../v1/analyses"),
        ("GET", "/static-offline-docs"),
    ):
        response = await client.request(method, path)
        assert response.status_code == 401, path
        if method != "HEAD":
            assert_problem(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"] == 'Bearer realm="Echo2Pheno"'


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer x", "Basic {}", "{}", "Bearer {}x", "Bearer {} {}", "Bearer\t{}"],
)
async def test_what_is_no_key(client, keys, header: str) -> None:
    secret = keys["anna"]["Authorization"].split()[1]
    headers = {"Authorization": header.replace("{}", secret)}
    response = await client.get("/v1/analyses", headers=headers)
    assert_problem(response, 401, "unauthenticated")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert secret not in response.text


async def test_two_keys_at_once_are_none(client, keys) -> None:
    headers = [("Authorization", keys[name]["Authorization"]) for name in ("anna", "admin")]
    assert_problem(await client.get("/v1/analyses", headers=headers), 401, "unauthenticated")


async def test_the_schemes_name_is_read_in_any_case(client, keys) -> None:
    header = keys["anna"]["Authorization"].replace("Bearer", "bEARER")
    response = await client.get("/v1/analyses", headers={"Authorization": header})
    assert response.status_code == 200


@pytest.mark.parametrize("post", [post_raw, post_form])
async def test_nothing_is_read_before_the_key_is_known(
    client, keys, core: Core, settings, post
) -> None:
    for headers, status, code in (({}, 401, "unauthenticated"), (keys["rita"], 403, "forbidden")):
        client.headers = headers
        assert_problem(await post(client), status, code)
    client.headers = {}
    assert await listed(client, keys["admin"]) == set()
    left = {path.name for path in files_below(settings.data_dir)}
    assert {name for name in left if not name.startswith("echo2pheno.sqlite")} == {"lock"}
    assert core.analysed == []


async def test_each_key_sees_its_own(client, keys) -> None:
    posted = {
        name: (await post_raw(client, GOOD + name.encode(), keys[name])).json()
        for name in ("anna", "bert", "admin")
    }
    ids = {name: shown["id"] for name, shown in posted.items()}
    assert await listed(client, keys["anna"]) == {ids["anna"]}
    assert await listed(client, keys["bert"]) == {ids["bert"]}
    assert await listed(client, keys["rita"]) == set(ids.values())
    assert await listed(client, keys["admin"]) == set(ids.values())

    links = posted["anna"]["links"]
    for link in [*links["figures"].values(), *(v for v in links.values() if isinstance(v, str))]:
        for name, status in (("anna", 200), ("bert", 404), ("rita", 200), ("admin", 200)):
            answer = await client.get(link, headers=keys[name])
            assert answer.status_code == status, (link, name)


async def test_anothers_answer_is_that_of_none(client, keys) -> None:
    link = (await post_raw(client, headers=keys["anna"])).json()["links"]["self"]
    for suffix in ("", "/beats.csv", "/figures/function.png", "/figures/none.png"):
        theirs = await client.get(link + suffix, headers=keys["bert"])
        nobodys = await client.get(f"/v1/analyses/{new_id()}{suffix}", headers=keys["bert"])
        for answer in (theirs, nobodys):
            assert_problem(answer, 404, "not_found")
        assert {**theirs.json(), "request_id": ""} == {**nobodys.json(), "request_id": ""}


async def test_pages_hold_the_callers_own_only(client, keys) -> None:
    mine = []
    for n in range(3):
        for name in ("anna", "bert"):
            answer = await post_raw(client, GOOD + f"{name}{n}".encode(), keys[name], figures=False)
            if name == "anna":
                mine.append(answer.json()["id"])
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        answer = await client.get(
            "/v1/analyses", params={"limit": 1} | cursor, headers=keys["anna"]
        )
        page = answer.json()
        seen += [item["id"] for item in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert seen == mine[::-1]
    assert cursor == {"cursor": None}


async def test_the_same_bytes_from_another_key_are_another_analysis(client, keys, core) -> None:
    answers = [await post_raw(client, headers=keys[name]) for name in ("anna", "bert", "anna")]
    assert [answer.status_code for answer in answers] == [201, 201, 200]
    ids = [answer.json()["id"] for answer in answers]
    assert ids[0] == ids[2] != ids[1]
    assert len(core.analysed) == 2


async def test_only_whose_it_is_and_an_admin_remove(client, keys) -> None:
    for remover, allowed in (("bert", 404), ("rita", 403), ("anna", 204)):
        link = (await post_raw(client, headers=keys["anna"])).json()["links"]["self"]
        answer = await client.delete(link, headers=keys[remover])
        assert answer.status_code == allowed, remover
    link = (await post_raw(client, headers=keys["anna"])).json()["links"]["self"]
    assert (await client.delete(link, headers=keys["admin"])).status_code == 204
    assert (await client.get(link, headers=keys["anna"])).status_code == 404


async def test_nobody_cancels_anothers(client, keys, core: Core) -> None:
    core.open.clear()
    headers = keys["anna"] | {"Prefer": "respond-async"}
    link = (await post_raw(client, headers=headers)).json()["links"]["self"]
    assert (await client.delete(link, headers=keys["bert"])).status_code == 404
    assert (await client.delete(link, headers=keys["rita"])).status_code == 403
    core.open.set()
    client.headers = keys["anna"]
    assert (await until(client, link.rsplit("/", 1)[1], "succeeded"))["error"] is None


async def test_keys_change_without_a_restart(client, keys, keys_file: Path) -> None:
    assert (await client.get("/v1/models", headers=keys["anna"])).status_code == 200
    mine = (await post_raw(client, headers=keys["anna"])).json()["id"]
    renewed = bearer(renew_key(keys_file, "anna"))
    assert (await client.get("/v1/models", headers=keys["anna"])).status_code == 401
    assert await listed(client, renewed) == {mine}, "it is the same caller"
    remove_key(keys_file, "anna")
    assert (await client.get("/v1/models", headers=renewed)).status_code == 401
    again = bearer(add_key(keys_file, "anna", "analyse"))
    assert await listed(client, again) == set(), "a name used again inherits nothing"


async def test_a_broken_file_shuts_nobody_out_and_is_told(client, keys, keys_file: Path) -> None:
    good = keys_file.read_bytes()
    assert (await client.get("/health/ready")).json() == {"status": "ok"}
    keys_file.write_text("{")
    assert await listed(client, keys["anna"]) == set()
    shown = await client.get("/health/ready")
    assert shown.status_code == 200
    assert "keys of before" in shown.json()["warning"]
    assert str(keys_file) not in shown.text
    keys_file.write_bytes(good)
    assert (await client.get("/health/ready")).json() == {"status": "ok"}


async def test_what_came_without_a_key_is_nobodys(serve: Serve, keys, keys_file: Path) -> None:
    async with serve() as client:
        id = (await post_raw(client)).json()["id"]
    async with serve(keys_file=keys_file) as client:
        assert await listed(client, keys["anna"]) == set()
        assert await listed(client, keys["rita"]) == {id}
        assert (await post_raw(client, headers=keys["anna"])).status_code == 201


@pytest.mark.parametrize("use_keys", [False, True])
@pytest.mark.parametrize(
    ("setting", "paths"),
    [
        ("docs_access", ("/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css")),
        ("health_access", ("/health/live", "/health/ready")),
        ("metrics_access", ("/metrics",)),
    ],
)
async def test_what_can_be_opened_or_closed(
    serve: Serve, keys, keys_file: Path, setting: str, paths: tuple[str, ...], use_keys: bool
) -> None:
    changes: dict[str, Any] = {"keys_file": keys_file} if use_keys else {}
    wanted = {"open": (200, 200), "key": (401 if use_keys else 200, 200), "closed": (404, 404)}
    for access, statuses in wanted.items():
        async with serve(**changes, **{setting: access}) as client:
            for path in paths:
                without = await client.get(path)
                with_key = await client.get(path, headers=keys["rita"])
                assert (without.status_code, with_key.status_code) == statuses, (access, path)


async def test_access_behind_a_gateway(serve: Serve, keys, keys_file: Path) -> None:
    async with serve(keys_file=keys_file, root_path="/echo") as client:
        for prefix in ("", "/echo"):
            assert (await client.get(f"{prefix}/v1/models")).status_code == 401
            found = await client.get(f"{prefix}/v1/models", headers=keys["anna"])
            assert found.status_code == 200
            assert (await client.get(f"{prefix}/health/live")).status_code == 200
            assert (await client.get(f"{prefix}/metrics")).status_code == 401


async def test_logs_name_the_key_and_never_its_secret(client, keys, caplog) -> None:
    caplog.set_level("DEBUG")
    await client.get("/v1/models", headers=keys["anna"])
    await client.get("/v1/models", headers={"Authorization": keys["bert"]["Authorization"] + "x"})
    lines = [record for record in caplog.records if record.getMessage() == "request"]
    assert [line.key for line in lines] == ["anna", None]
    for name in ROLES:
        secret = keys[name]["Authorization"].split("_", 2)[2]
        assert not any(secret in str(vars(record)) for record in caplog.records)


async def test_the_description_says_where_a_key_is_needed(client) -> None:
    described = (await client.get("/openapi.json")).json()
    assert described["components"]["securitySchemes"] == {
        "key": {"type": "http", "scheme": "bearer"}
    }
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) is not path.startswith("/health/")
            assert "401" in operation["responses"]


async def test_the_description_leaves_out_what_is_closed(serve: Serve) -> None:
    async with serve(metrics_access="closed") as client:
        described = (await client.get("/openapi.json")).json()
    assert "securitySchemes" not in described["components"]
    assert "/metrics" not in described["paths"]
    assert "/health/live" in described["paths"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_sites_page_sends_nothing_here(serve: Serve, site: str) -> None:
    async with serve() as client:
        link = (await post_form(client)).json()["links"]["self"]
        client.headers = {"Sec-Fetch-Site": site}
        assert_problem(await post_form(client), 403, "forbidden")
        assert_problem(await client.delete(link), 403, "forbidden")
        client.headers = {"Sec-Fetch-Site": "same-origin"}  # as the page of the API does
        assert (await post_form(client, GOOD + b"2")).status_code == 201


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://elsewhere.example", "10.0.0.5:8000", 403),
        ("http://10.0.0.6:8000", "10.0.0.5:8000", 403),
        ("null", "10.0.0.5:8000", 403),
        ("http://[", "10.0.0.5:8000", 403),
        ("http://10.0.0.5:8000", "10.0.0.5:8000", 201),
        ("https://Lab.example:8443", "lab.example", 201),  # a gateway may leave the port out
        ("http://[fd00::5]:8000", "[fd00::5]:8000", 201),
    ],
)
async def test_an_origin_says_as_much_where_browsers_say_no_more(
    serve: Serve, origin: str, host: str, status: int
) -> None:
    async with serve(allow_anonymous=True) as client:
        client.headers = {"Origin": origin, "Host": host}
        assert (await post_form(client)).status_code == status


def test_ids_cannot_be_guessed() -> None:
    ids = [new_id() for _ in range(1000)]
    assert all(re.fullmatch(r"[0-9a-f]{32}", id) for id in ids)
    assert len(set(ids)) == 1000
    bits = [sum(int(id, 16) >> place & 1 for id in ids) for place in range(128)]
    assert 350 < min(bits) <= max(bits) < 650, "every bit varies"


async def test_ids_say_nothing_of_the_file(serve: Serve) -> None:
    ids = set()
    async with serve() as client:
        for _ in range(2):
            shown = (await post_raw(client)).json()
            ids.add(shown["id"])
            await client.delete(shown["links"]["self"])
    assert len(ids) == 2, "the same bytes do not make the same id"
