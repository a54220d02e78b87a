"""What the service holds is told to whoever looks after it, and to nobody else."""

from pathlib import Path

import httpx
import pytest

from app.keys import add_key, remove_key
from tests.api.conftest import GOOD, Serve, post_raw, until
from tests.api.test_refusals import assert_problem

pytestmark = pytest.mark.anyio


def bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def test_it_counts_what_is_there(serve: Serve, settings, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    secrets = {
        name: {"Authorization": f"Bearer {add_key(keys, name, role)}"}
        for name, role in (("anna", "analyse"), ("otto", "analyse"), ("root", "admin"))
    }
    async with serve(keys_file=keys, keep_uploads=True) as client:
        for n in range(2):
            content = GOOD + bytes([n])
            assert (await post_raw(client, content, secrets["anna"], figures=False)).is_success
        bad = await post_raw(
            client, GOOD + b" pixels:too_short", secrets["otto"] | {"Prefer": "respond-async"}
        )
        link = bad.json()["links"]["self"]
        while (await client.get(link, headers=secrets["otto"])).json()["status"] != "failed":
            pass
        remove_key(keys, "otto")
        usage = (await client.get("/v1/usage", headers=secrets["root"])).json()
    data = settings.data_dir
    assert usage["analyses"] == {"succeeded": 2, "failed": 1}
    assert usage["disk"]["results_bytes"] == bytes_under(data / "analyses")
    assert usage["disk"]["uploads_bytes"] == bytes_under(data / "uploads")
    assert usage["disk"]["records_bytes"] > 0
    assert usage["disk"]["free_bytes"] > 0
    anna, otto = usage["callers"]
    assert (anna["key_name"], anna["analyses"]) == ("anna", 2)
    assert (otto["key_name"], otto["analyses"]) == (None, 1)
    assert otto["key_id"]
    assert anna["disk_bytes"] + otto["disk_bytes"] == (
        usage["disk"]["results_bytes"] + usage["disk"]["uploads_bytes"]
    )
    assert usage["retention"] == {
        "results_expire_after_h": None,
        "results_max_bytes": None,
        "keep_uploads": True,
    }


@pytest.mark.parametrize("role", ["analyse", "read-all"])
async def test_others_do_not_see_it(serve: Serve, tmp_path: Path, role) -> None:
    keys = tmp_path / "keys.json"
    key = {"Authorization": f"Bearer {add_key(keys, 'anna', role)}"}
    async with serve(keys_file=keys) as client:
        assert_problem(await client.get("/v1/usage", headers=key), 403, "forbidden")
        assert_problem(await client.get("/v1/usage"), 401, "unauthenticated")


async def test_without_keys_everybody_is_an_admin(client: httpx.AsyncClient) -> None:
    id = (await post_raw(client)).json()["id"]
    await until(client, id, "succeeded")
    (caller,) = (await client.get("/v1/usage")).json()["callers"]
    assert (caller["key_id"], caller["key_name"], caller["analyses"]) == (None, None, 1)
