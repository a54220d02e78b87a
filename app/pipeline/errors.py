"""What can be wrong with a recording, or stop its analysis, as typed exceptions.

Every exception carries a ``code`` that callers can act on and a ``detail`` in the words of the
person who recorded the echocardiogram. A detail never holds a path, a stack trace or anything that
the file says of its subject, so it can be shown to whoever sent the file.
"""


class RecordingError(Exception):
    """A file that cannot be measured; the base of all that is wrong with an input.

    Parameters
    ----------
    detail : str
        One or two sentences: what is wrong, and where possible what the user can do about it.
    """

    code = "recording_error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotDicom(RecordingError):
    """The bytes are not a DICOM file."""

    code = "not_dicom"


class TooLarge(RecordingError):
    """The recording decodes to more pixels, frames or columns than the limits allow."""

    code = "too_large"


class NoPixelData(RecordingError):
    """A DICOM file without an image in it."""

    code = "no_pixel_data"


class NoMModeRegion(RecordingError):
    """No region of the image is marked as M-mode."""

    code = "no_m_mode_region"


class NoCalibration(RecordingError):
    """The M-mode region does not say how long a column or how deep a row is."""

    code = "no_calibration"


class UnsupportedTransferSyntax(RecordingError):
    """The pixel data is encoded in a way that cannot be read here."""

    code = "unsupported_transfer_syntax"


class CorruptPixelData(RecordingError):
    """The pixel data is damaged, or shorter than the header says."""

    code = "corrupt_pixel_data"


class SweepNotOrdered(RecordingError):
    """A bar overwrites the screens from left to right, and their order in time is lost."""

    code = "sweep_not_ordered"


class TooShort(RecordingError):
    """Too little M-mode to hold a cardiac cycle."""

    code = "too_short"


class NetworksError(Exception):
    """A networks directory that does not hold together; stops the start of the service."""


class AnalysisCancelled(Exception):
    """The caller asked for the analysis to stop."""


class AnalysisTimedOut(Exception):
    """The analysis took longer than it may."""
