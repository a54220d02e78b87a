"""What is stored, and for whom: told to an admin, and to nobody else where keys are in use."""

from pathlib import Path

import httpx
import pytest

from app.keys import add_key, remove_key
from tests.api.conftest import GOOD, Serve, post_raw, until

pytestmark = pytest.mark.anyio

ASYNC = {"Prefer": "respond-async"}


async def test_it_counts_analyses_and_bytes(client: httpx.AsyncClient, settings) -> None:
    await post_raw(client)
    bad = GOOD + b" pixels:too_short"
    failed = (await post_raw(client, bad, ASYNC)).json()["id"]
    await until(client, failed, "failed")

    usage = (await client.get("/v1/usage")).json()
    assert usage["analyses"] == {
        "queued": 0, "running": 0, "succeeded": 1, "failed": 1, "cancelled": 0,
    }  # fmt: skip
    assert usage["callers"] == [{"name": None, "analyses": 2, "sent_bytes": len(GOOD + bad)}]
    results = (settings.data_dir / "analyses").rglob("*.*")
    assert usage["stored"]["results_bytes"] >= sum(p.stat().st_size for p in results) > 0
    assert usage["stored"]["uploads_bytes"] == 0, "deleted once they are analysed"
    assert usage["stored"]["records_bytes"] > 0
    assert usage["stored"]["free_bytes"] > 0
    assert usage["retention"] == {"results_expire_after_h": None, "max_stored_bytes": None}


async def test_only_an_admin_sees_it(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    secrets = {
        name: add_key(file, name, role)
        for name, role in {
            "anna": "analyse",
            "bert": "analyse",
            "rita": "read-all",
            "ada": "admin",
        }.items()
    }
    keys = {name: {"Authorization": f"Bearer {secret}"} for name, secret in secrets.items()}
    async with serve(keys_file=file, max_stored_bytes=10**9) as client:
        for name, content in (("anna", GOOD), ("anna", GOOD + b"2"), ("bert", GOOD)):
            await post_raw(client, content, keys[name])
        for name in ("anna", "rita"):
            refused = await client.get("/v1/usage", headers=keys[name])
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert (await client.get("/v1/usage")).status_code == 401
        remove_key(file, "bert")
        usage = (await client.get("/v1/usage", headers=keys["ada"])).json()
    assert usage["callers"] == [
        {"name": "anna", "analyses": 2, "sent_bytes": 2 * len(GOOD) + 1},
        {"name": None, "analyses": 1, "sent_bytes": len(GOOD)},
    ]
    assert usage["retention"]["max_stored_bytes"] == 10**9
