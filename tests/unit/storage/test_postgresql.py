"""PostgreSQL's tables are those of the code, also where several nodes start at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from app.storage.records import Records
from app.storage.schema import SentKey, metadata
from app.storage.studies import AnalysisGoneError, StudyRecords
from app.storage.study_schema import NewEntry
from app.storage.upgrade import upgrade
from tests.unit.storage.test_records import request
from tests.unit.storage.test_upgrade import VERSIONS

Open = Callable[[], Records]


@pytest.fixture
def database_url(new_postgresql: str) -> str:
    """Have the records that several nodes open lie in PostgreSQL."""
    return new_postgresql


def differences(url: str) -> list[object]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    return list(found)


@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_the_steps_lead_to_the_tables_of_the_code(new_postgresql: str, version: str | None) -> None:
    if version is not None:
        engine = create_engine(new_postgresql)
        upgrade(engine, version)
        engine.dispose()
    if version != VERSIONS[-1]:
        assert differences(new_postgresql), "else this would compare nothing"
    Records(new_postgresql).close()
    assert differences(new_postgresql) == []


def test_nodes_that_start_at_once_take_turns(new_postgresql: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        for store in list(pool.map(lambda _: Records(new_postgresql), range(6))):
            store.close()
    assert differences(new_postgresql) == []


def test_the_same_request_at_several_nodes_is_one_analysis(open_records: Open) -> None:
    stores = [open_records() for _ in range(4)]
    sent = [SentKey("", f"{n}" * 64, "0" * 64) for n in range(10)]

    def add(n: int) -> str:
        return stores[n % 4].add(f"a{n}", request(f"f{n // 8}"), sent=sent[n // 8]).id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(add, range(80)))
    assert len(set(ids)) == 10
    assert all(len(set(ids[k : k + 8])) == 1 for k in range(0, 80, 8))


def test_the_same_analysis_forced_at_several_nodes_is_each_time_a_new_one(
    open_records: Open,
) -> None:
    stores = [open_records() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        forced = pool.map(
            lambda n: stores[n % 4].add(f"a{n}", request("f"), force=True).id, range(16)
        )
    assert sorted(forced) == sorted(f"a{n}" for n in range(16))


def test_a_size_of_more_than_32_bits_fits(records: Records) -> None:
    assert records.add("a", replace(request("a"), size_bytes=2**33)).size_bytes == 2**33


def test_a_name_put_into_a_study_at_several_nodes_is_there_once(open_records: Open) -> None:
    stores = [open_records() for _ in range(4)]
    tables = [StudyRecords(store.engine) for store in stores]
    study = tables[0].create("s", owner=None, body_mass_g=None, profile="robust", figures=True)

    def put(n: int) -> str:
        entry = NewEntry(file_name=f"{n // 8}.dcm", size_bytes=n, sha256="0" * 64)
        return tables[n % 4].put(study.id, entry).id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(put, range(80)))
    assert len(set(ids)) == 10
    assert len(list(tables[0].all_entries(study.id))) == 10


def test_what_one_node_refers_to_is_not_removed_by_another(open_records: Open) -> None:
    stores = [open_records() for _ in range(3)]
    tables = [StudyRecords(store.engine) for store in stores]

    def study() -> str:
        made = tables[0].create("s", owner=None, body_mass_g=None, profile="robust", figures=True)
        return made.id

    def entry(id: str) -> NewEntry:
        return NewEntry(file_name="m.dcm", size_bytes=1, sha256="0" * 64, analysis_id=id)

    def refer(id: str, other: str) -> bool:
        try:
            return tables[1].put(other, entry(id)).analysis_id == id
        except AnalysisGoneError:
            return False

    def remove(id: str, own: str) -> bool:
        assert tables[2].remove(own) == {id}
        return stores[2].remove_orphan(id) is not None

    with ThreadPoolExecutor(2) as pool:
        for n in range(60):
            id, own, other = f"a{n}", study(), study()
            stores[0].add(id, replace(request(id), study_only=True))
            tables[0].put(own, entry(id))
            referred, removed = pool.submit(refer, id, other), pool.submit(remove, id, own)
            assert referred.result() is not removed.result()
            assert referred.result() is (stores[0].get(id) is not None)
