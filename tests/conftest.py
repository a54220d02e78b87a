"""Fixtures that every kind of test shares."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from app.pipeline.networks import Networks, load_networks
from tests.stand_in import write_stand_ins


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder with real recordings (`real/`) and golden files (`published/`), kept elsewhere."""
    folder = os.environ.get("ECHO2PHENO_REFERENCE_DATA")
    if not folder:
        pytest.skip("ECHO2PHENO_REFERENCE_DATA is not set: no real recordings here")
    return Path(folder)


@pytest.fixture(scope="session")
def stand_in_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of networks as the importer writes it, with small stand-ins for the published."""
    return write_stand_ins(tmp_path_factory.mktemp("stand-ins"))


@pytest.fixture(scope="session")
def stand_ins(stand_in_folder: Path) -> Networks:
    """The stand-ins for the published networks."""
    return load_networks(stand_in_folder, threads=1)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """fsspec's object store in memory, which all of this process shares.

    A real one shows an object whole or not at all, to any number of readers. This one shows what
    has arrived of a file so far, and its readers move one position between them: here files come
    and go in one piece.
    """

    def put_file(self: MemoryFileSystem, lpath: str, rpath: str, **_: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def get_file(self: MemoryFileSystem, rpath: str, lpath: str, **_: Any) -> None:
        Path(lpath).write_bytes(self.cat_file(rpath))

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_file)
    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    there = fsspec.filesystem("memory")
    yield there
    there.store.clear()
    there.pseudo_dirs[:] = [""]
