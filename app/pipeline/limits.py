"""How much a recording may hold, so that no upload can take the machine's memory or time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much a recording may hold; beyond it is `errors.TooLarge`, before the work is done.

    Attributes
    ----------
    max_frames : int
        Screens in one file.
    max_frame_pixels : int
        Rows × columns of one screen, which is decoded in one piece.
    max_decoded_pixels : int
        Rows × columns × frames of the whole screens, whatever the file's own size.
    max_strip_columns : int
        Columns of the stitched strip.
    """

    max_frames: int = 2_500
    max_frame_pixels: int = 50_000_000
    max_decoded_pixels: int = 4_000_000_000
    max_strip_columns: int = 2_000_000
