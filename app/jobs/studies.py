"""What happens to a study: files come into it, alone or in an archive, and it goes again."""

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from app.jobs.archives import Archive, ArchiveError, Member
from app.jobs.intake import NEEDS_MASS, Intake, Options, Upload
from app.jobs.runner import Inspect
from app.output.study_tables import Recording
from app.pipeline.errors import RecordingError
from app.pipeline.results import Analysis
from app.samples import MAX_SHEET_BYTES, Sample, Sheet, SheetError, read_sheet
from app.storage.errors import volume_trouble_noticed
from app.storage.files import Files
from app.storage.records import Records
from app.storage.serial import LayoutError, load_analysis
from app.storage.studies import REMOVED, AnalysisGoneError, StudyGoneError, StudyRecords
from app.storage.study_schema import Entry, NewEntry, Study

logger = logging.getLogger(__name__)


class NameTakenError(Exception):
    """Another file has this name in the study."""


@dataclass(frozen=True)
class Added:
    """What became of the files that were sent.

    Attributes
    ----------
    entries : sequence of Entry
    known : int
        How many of them were there before.
    ignored : sequence of str
        Names of files in an archive that are no recordings and are not meant to be.
    """

    entries: Sequence[Entry]
    known: int = 0
    ignored: Sequence[str] = ()


@dataclass(frozen=True)
class Studies:
    """Takes files in and out of studies; safe to call from several threads.

    Parameters
    ----------
    inspect : callable
        Raises what is wrong with a recording as far as its header shows.
    """

    table: StudyRecords
    intake: Intake
    records: Records
    files: Files
    inspect: Inspect
    _referring: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    """Held so that no analysis is removed between being found and being referred to."""

    def add(self, study: Study, upload: Upload, sample: Sample) -> tuple[Entry, bool]:
        """Take a file into a study and queue its analysis.

        A file that cannot be measured is taken in, too, with the reason. Under a name that is
        there already, the same bytes take the place of what was said of them before, and other
        bytes that of a file without a result.

        Parameters
        ----------
        study : Study
        upload : Upload
            Its name there is ``file_name``.
        sample : Sample

        Returns
        -------
        entry : Entry
        known : bool
            Whether the study had it before, with the same sample.

        Raises
        ------
        NameTakenError
            Another file has this name.
        StudyGoneError
        StorageFullError
        OSError
            The upload cannot be stored.
        """
        mass_g = study.body_mass_g if sample.body_mass_g is None else sample.body_mass_g
        entry = NewEntry(
            file_name=upload.file_name or "recording",
            size_bytes=upload.size_bytes,
            sha256=upload.sha256,
            **vars(replace(sample, body_mass_g=mass_g)),
        )
        refusal = self._refusal(study, upload, entry)
        if refusal is None:
            self.files.sync_part(upload.path)  # not under the lock: it takes its time
        with self._referring:
            self._require(study)
            before = self.table.named(study.id, entry.file_name)
            if before is not None and before.sha256 != entry.sha256 and not _is_lost(before):
                raise NameTakenError(entry.file_name)
            if before is not None and _same(before, entry) and not _is_lost(before):
                return before, True
            if refusal is not None:
                code, detail = refusal
                entry = replace(entry, error_code=code, error_detail=detail[:1000])
                added = self.table.put(study.id, entry)
            else:
                added = self._admit(study, upload, entry)
            if before is not None and before.analysis_id not in (None, added.analysis_id):
                self.intake.remove_orphan(before.analysis_id or "")
        return added, False

    def add_archive(
        self, study: Study, archive: Archive, sample: Sample, sheet: Sheet | None
    ) -> Added:
        """Take all files of an archive into a study; those that cannot be read are named, too.

        Parameters
        ----------
        study : Study
        archive : Archive
        sample : Sample
            What holds for every file of which a sheet does not say otherwise.
        sheet : Sheet, optional
            In the place of the one in the archive.

        Raises
        ------
        SheetError
            The sample sheet cannot be used.
        ArchiveError
            That in the archive cannot be read.
        StudyGoneError
        StorageFullError
            There is no room for a file. What was unpacked before stays in the study.
        """
        if sheet is None and archive.sheets:
            if len(archive.sheets) > 1:
                raise SheetError("The archive holds more than one sample sheet.")
            sheet = read_sheet(archive.read(archive.sheets[0], MAX_SHEET_BYTES))
        names = [member.name for member in archive.members]
        samples = {} if sheet is None else sheet.match(names)
        entries, known = [], 0
        for member in archive.members:
            own = samples.get(member.name, Sample()).or_else(sample)
            entry, was_known = self._add_member(study, archive, member, own)
            entries.append(entry)
            known += was_known
        return Added(entries, known, archive.ignored)

    def remove_entry(self, entry: Entry) -> bool:
        """Take a file out of its study; its analysis goes unless somebody else refers to it."""
        with self._referring:
            removed, analysis_id = self.table.remove_entry(entry.id)
            if analysis_id is not None:
                self.intake.remove_orphan(analysis_id)
        return removed

    def remove(self, study: Study) -> bool:
        """Remove a study with the analyses that nobody else refers to; whether it was there."""
        with self._referring:
            analyses = self.table.remove(study.id)
            for id in analyses or ():
                self.intake.remove_orphan(id)
        return analyses is not None

    def tidy(self, age_s: float = 0.0) -> int:
        """Remove what a process that died left without a study; how many analyses.

        The analysis of a file is recorded before the study refers to it, and goes after the study.

        Parameters
        ----------
        age_s : float
            How long ago they were recorded at least. 0 is for before anything is taken in.
        """
        moment = datetime.now(UTC) - timedelta(seconds=age_s)
        return sum(map(self.intake.remove_orphan, self.table.orphans(moment)))

    def recordings(self, study: Study) -> Iterator[Recording]:
        """Go through the files of a study with their results, one after the other."""
        for entry in self.table.all_entries(study.id):
            status, analysis = entry.status, None
            why = (entry.error_code, entry.error_detail)
            if status == "succeeded" and entry.analysis_id is not None:
                analysis = self._load(entry.analysis_id)
                if analysis is None:
                    status, why = "removed", REMOVED
            yield Recording(
                id=entry.analysis_id,
                file_name=entry.file_name,
                mouse_id=entry.mouse_id,
                sex=entry.sex,
                group=entry.group,
                body_mass_g=entry.body_mass_g,
                profile=study.profile,
                figures=study.figures,
                status=status,
                error_code=why[0],
                error_detail=why[1],
                analysis=analysis,
            )

    def _add_member(
        self, study: Study, archive: Archive, member: Member, sample: Sample
    ) -> tuple[Entry, bool]:
        name = member.name
        part = self.files.new_upload()
        try:
            with volume_trouble_noticed():
                sha256 = archive.extract(member, part)
            upload = Upload(part, member.size_bytes, sha256, name)
            return self.add(study, upload, sample)
        except ArchiveError as error:
            code, detail = error.code, error.detail
        except NameTakenError:
            code, detail = "name_taken", f"The study has another file of the name {name}."
        finally:
            part.unlink(missing_ok=True)
        mass_g = study.body_mass_g if sample.body_mass_g is None else sample.body_mass_g
        entry = NewEntry(
            file_name=name,
            size_bytes=member.size_bytes,
            sha256="",
            error_code=code,
            error_detail=detail,
            **vars(replace(sample, body_mass_g=mass_g)),
        )
        return self._put_beside(study, entry), False

    def _put_beside(self, study: Study, entry: NewEntry) -> Entry:
        """Record what could not be taken in, without touching a good file of the same name."""
        with self._referring:
            self._require(study)
            name, number = entry.file_name, 1
            while (there := self.table.named(study.id, name)) and not _is_lost(there):
                number += 1
                name = f"{entry.file_name[:240]} ({number})"
            added = self.table.put(study.id, replace(entry, file_name=name))
            if there is not None and there.analysis_id is not None:
                self.intake.remove_orphan(there.analysis_id)
            return added

    def _require(self, study: Study) -> None:
        if self.table.get(study.id) is None:
            raise StudyGoneError(study.id)

    def _refusal(self, study: Study, upload: Upload, entry: NewEntry) -> tuple[str, str] | None:
        try:
            self.inspect(upload.path)
        except RecordingError as error:
            return error.code, error.detail
        if study.profile == "published" and entry.body_mass_g is None:
            return "invalid_option", NEEDS_MASS
        return None

    def _admit(self, study: Study, upload: Upload, entry: NewEntry) -> Entry:
        """Queue the analysis of a file, or find it, and refer to it before it can go."""
        options = Options(entry.body_mass_g, study.profile, study.figures)
        found: list[Entry] = []

        def keep(id: str) -> bool:
            if self.intake.acknowledge(id) is None:  # it may be one that nobody was told of yet
                return False
            try:
                found.append(self.table.put(study.id, replace(entry, analysis_id=id)))
            except AnalysisGoneError:
                return False
            return True

        record, created = self.intake.admit(
            upload, options, acknowledged=True, owner=study.owner, study_only=True, keep=keep
        )
        if not created:
            return found[-1]
        try:
            return self.table.put(study.id, replace(entry, analysis_id=record.id))
        except AnalysisGoneError:  # somebody found it in the list, and removed it at once
            code, detail = REMOVED
            return self.table.put(study.id, replace(entry, error_code=code, error_detail=detail))
        except StudyGoneError:  # by another process: it found no reference to this analysis
            self.intake.remove_orphan(record.id)
            raise

    def _load(self, id: str) -> Analysis | None:
        try:
            return load_analysis(self.files.result(id))
        except FileNotFoundError:  # removed this very moment
            return None
        except LayoutError:
            logger.exception("a result cannot be read", extra={"analysis_id": id})
            return None


def _is_lost(entry: Entry) -> bool:
    """Whether a file is there in name only: nothing came of it."""
    return entry.status in ("failed", "cancelled", "removed")


def _same(before: Entry, entry: NewEntry) -> bool:
    names = ("sha256", "body_mass_g", "mouse_id", "sex", "group")
    return all(getattr(before, name) == getattr(entry, name) for name in names)
