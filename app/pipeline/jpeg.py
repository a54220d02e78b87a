"""JPEG of eight bits, decoded in one piece or not at all.

libjpeg replaces what is missing by grey and says so in warnings that Pillow does not pass on. But
it takes no more code than it needs: handed the code in pieces, the last of them its very end, it
shows by what it asks for whether the code ends where the image does.
"""

import io

from PIL.JpegImagePlugin import JpegImageFile

# Ones are no Huffman code: as many as the decoder may read ahead of what it decodes.
_AHEAD = b"\xff\x00" * 8
_SPARE_BYTES = 2  # that an encoder may leave behind the last of the code


class WholeJpeg(JpegImageFile):
    """A JPEG image; loading it fails unless its code is complete.

    Parameters
    ----------
    encoded : bytes
    end : int or None
        Where the code of its scan ends; None for several scans or restarts, which are not checked.
    """

    def __init__(self, encoded: bytes, end: int | None) -> None:
        # Opened without Image.open, which would warn of large images: callers check their size.
        super().__init__(io.BytesIO(encoded))
        if end is None:
            self._pieces = [encoded]
            return
        self._pieces = [encoded[end - _SPARE_BYTES : end] + _AHEAD, encoded[: end - _SPARE_BYTES]]

    def load_read(self, read_bytes: int) -> bytes:  # noqa: ARG002 - Pillow's
        """Give the decoder its next piece, of whatever length."""
        if not self._pieces:
            raise ValueError("the code ends before the image")
        return self._pieces.pop()

    def load_end(self) -> None:
        """Check that the decoder has asked for all of it."""
        super().load_end()
        if self._pieces:
            raise ValueError("the code goes on behind the image")
