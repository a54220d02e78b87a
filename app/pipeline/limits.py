"""How much a recording may hold, so that no upload can take the machine's memory or time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much a recording may hold; beyond it is `errors.TooLarge`, before the work is done.

    What a decoder takes beyond its share is `errors.CorruptPixelData` instead.

    Attributes
    ----------
    max_frames : int
        Screens in one file.
    max_frame_pixels : int
        Rows × columns of one screen, which is decoded in one piece.
    max_decoded_pixels : int
        Rows × columns × frames of the whole screens, whatever the file's own size.
    max_strip_columns, max_strip_pixels : int
        Columns, and rows × columns, of the stitched strip.
    max_duration_s : float
        Of the stitched strip: what is measured of it grows with its time, not with its columns.
    decoder_memory_bytes : int
        Address space of the child process that decodes.
    decoder_time_limit_s : float
        How long it may take over one screen.
    """

    max_frames: int = 2_500
    max_frame_pixels: int = 50_000_000
    max_decoded_pixels: int = 4_000_000_000
    max_strip_columns: int = 2_000_000
    max_strip_pixels: int = 1_000_000_000
    max_duration_s: float = 1_200.0
    decoder_memory_bytes: int = 2**30
    decoder_time_limit_s: float = 20.0
