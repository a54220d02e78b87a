"""The records of studies: a study refers to analyses, under names of its own."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine, and_, case, delete, func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from app.storage.records import holding, new_id, orphaned
from app.storage.schema import analyses
from app.storage.study_schema import Entry, NewEntry, Study, entries, studies

_BLOCK = 500

REMOVED = (
    "not_found",
    "Its result is no longer kept: removed for its age, for want of room or because somebody asked "
    "for it. Send the file again to have it analysed.",
)
"""What is said of a file whose analysis has gone, in place of a failure's code and detail."""

_removed = and_(entries.c.error_code.is_(None), analyses.c.status.is_(None))
_status = case(
    (entries.c.error_code.is_not(None), "failed"),
    (_removed, "removed"),
    else_=analyses.c.status,
)
_joined = entries.outerjoin(analyses, analyses.c.id == entries.c.analysis_id)
_entry = select(
    *(column for column in entries.c if not column.name.startswith("error_")),
    _status.label("status"),
    *(
        case((_removed, said), else_=func.coalesce(entries.c[name], analyses.c[name])).label(name)
        for name, said in zip(("error_code", "error_detail"), REMOVED, strict=True)
    ),
).select_from(_joined)


class StudyGoneError(Exception):
    """The study was removed while a file for it was on its way."""


class AnalysisGoneError(Exception):
    """The analysis was removed while a study was about to refer to it."""


class StudyRecords:
    """The tables of studies; safe to use from several threads.

    Parameters
    ----------
    engine : Engine
        Of the database that holds the analyses, too.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self,
        name: str,
        *,
        owner: str | None,
        body_mass_g: float | None,
        profile: str,
        figures: bool,
    ) -> Study:
        """Record a new study."""
        values = {
            "id": new_id(),
            "owner": owner,
            "created_at": datetime.now(UTC),
            "name": name,
            "body_mass_g": body_mass_g,
            "profile": profile,
            "figures": figures,
        }
        query = insert(studies).values(values).returning(*studies.c)
        with self._engine.begin() as connection:
            return Study(**connection.execute(query).mappings().one())

    def get(self, id: str) -> Study | None:
        """Find a study by its id."""
        with self._engine.connect() as connection:
            row = connection.execute(select(studies).where(studies.c.id == id)).mappings().first()
        return None if row is None else Study(**row)

    def page(self, limit: int, before: int | None, owner: str | None) -> Sequence[Study]:
        """List studies, newest first.

        Parameters
        ----------
        limit : int
            Most studies to give.
        before : int or None
            Only those that are older than the one with this number.
        owner : str or None
            Only those of this owner.
        """
        query = select(studies).order_by(studies.c.number.desc()).limit(limit)
        if owner is not None:
            query = query.where(studies.c.owner == owner)
        if before is not None:
            query = query.where(studies.c.number < before)
        with self._engine.connect() as connection:
            return [Study(**row) for row in connection.execute(query).mappings()]

    def remove(self, id: str) -> Collection[str] | None:
        """Remove a study and its entries.

        Returns
        -------
        collection of str or None
            Ids of the analyses that it referred to; None where there was no such study.
        """
        mine = delete(entries).where(entries.c.study_id == id).returning(entries.c.analysis_id)
        with self._engine.begin() as connection:
            # the study first: whoever puts a file into it just then is waited for, or finds it gone
            if not connection.execute(delete(studies).where(studies.c.id == id)).rowcount:
                return None
            return {id for id in connection.execute(mine).scalars() if id is not None}

    def put(self, study_id: str, entry: NewEntry) -> Entry:
        """Record a file under its name, in the place of what had the name before.

        Raises
        ------
        StudyGoneError
        AnalysisGoneError
        """
        try:
            return self._put(study_id, entry)
        except IntegrityError:  # another process has just put the same name
            return self._put(study_id, entry)

    def _put(self, study_id: str, entry: NewEntry) -> Entry:
        named = (entries.c.study_id == study_id, entries.c.file_name == entry.file_name)
        values = vars(entry) | {"added_at": datetime.now(UTC)}
        held = update(studies).where(studies.c.id == study_id).values(name=studies.c.name)
        with self._engine.begin() as connection:
            if not connection.execute(held).rowcount:
                raise StudyGoneError(study_id)
            if not connection.execute(update(entries).where(*named).values(values)).rowcount:
                first = {"id": new_id(), "study_id": study_id}
                connection.execute(insert(entries).values(values | first))
            analysis = entry.analysis_id
            if analysis is not None and not connection.execute(holding(analysis)).rowcount:
                raise AnalysisGoneError(analysis)
            return _read(connection.execute(_entry.where(*named)).mappings().one())

    def named(self, study_id: str, file_name: str) -> Entry | None:
        """Find what a study has under a name."""
        return self._first(entries.c.study_id == study_id, entries.c.file_name == file_name)

    def entry(self, study_id: str, id: str) -> Entry | None:
        """Find a file of a study by its id there."""
        return self._first(entries.c.study_id == study_id, entries.c.id == id)

    def remove_entry(self, id: str) -> tuple[bool, str | None]:
        """Remove a file from its study.

        Returns
        -------
        removed : bool
            Whether it was there.
        analysis_id : str or None
            What it referred to at the end.
        """
        query = delete(entries).where(entries.c.id == id).returning(entries.c.analysis_id)
        with self._engine.begin() as connection:
            row = connection.execute(query).first()
        return (False, None) if row is None else (True, row[0])

    def entries(
        self, study_id: str, limit: int, after: int = 0, statuses: Sequence[str] = ()
    ) -> Sequence[Entry]:
        """List files of a study in the order in which they came.

        Parameters
        ----------
        study_id : str
        limit : int
            Most files to give.
        after : int
            Only those that came after the one with this number.
        statuses : sequence of str, optional
            Only those in one of these states.
        """
        query = _entry.where(entries.c.study_id == study_id, entries.c.number > after)
        if statuses:
            query = query.where(_status.in_(statuses))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(entries.c.number).limit(limit)).mappings()
            return [_read(row) for row in rows]

    def all_entries(self, study_id: str) -> Iterator[Entry]:
        """Go through all files of a study, a block at a time."""
        after = 0
        while block := self.entries(study_id, _BLOCK, after):
            yield from block
            after = block[-1].number

    def counts(self, study_id: str) -> Mapping[str, int]:
        """Count the files of a study by their state; those that do not occur are absent."""
        query = (
            select(_status, func.count())
            .select_from(_joined)
            .where(entries.c.study_id == study_id)
            .group_by(_status)
        )
        with self._engine.connect() as connection:
            return {str(row[0]): int(row[1]) for row in connection.execute(query)}

    def orphans(self, created_before: datetime) -> Sequence[str]:
        """Give the ids of the older analyses that studies only asked for, none of which has them.

        Parameters
        ----------
        created_before : datetime
            A younger one may be about to be referred to.
        """
        query = select(analyses.c.id).where(orphaned, analyses.c.created_at < created_before)
        with self._engine.connect() as connection:
            return connection.execute(query).scalars().all()

    def _first(self, *conditions: object) -> Entry | None:
        with self._engine.connect() as connection:
            row = connection.execute(_entry.where(*conditions)).mappings().first()  # type: ignore[arg-type]
        return None if row is None else _read(row)


def _read(row: RowMapping) -> Entry:
    return Entry(**row)
