"""Ways of storing one and the same recording in a DICOM file, by name.

A recording starts as uncompressed RGB, as `write_screens` makes it; each wrapping turns that file
into another in place. Those of `LOSSLESS` keep the grey of every pixel.
"""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

Wrap = Callable[[Path], None]


def grey_of(data_set: Dataset) -> NDArray[np.uint8]:
    """Return the grey of plain RGB, shape (frames, rows, columns)."""
    shape = (data_set.NumberOfFrames, data_set.Rows, data_set.Columns, 3)
    rgb = np.frombuffer(data_set.PixelData, np.uint8, count=int(np.prod(shape))).reshape(shape)
    return np.asarray(rgb[..., 1])


def store(data_set: Dataset, values: NDArray[Any], **attributes: Any) -> None:
    """Put uncompressed pixels into a data set, with what the standard asks to be said of them."""
    samples = 3 if attributes.get("PhotometricInterpretation", "")[:3] in ("RGB", "YBR") else 1
    bits = 8 * values.dtype.itemsize
    said = {
        "SamplesPerPixel": samples,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "PixelRepresentation": 0,
    } | attributes
    said.setdefault("HighBit", said["BitsStored"] - 1)
    if samples == 1:
        del data_set.PlanarConfiguration
    for keyword, value in said.items():
        setattr(data_set, keyword, value)
    data_set.PixelData = values.tobytes()
    data_set["PixelData"].VR = "OB" if bits == 8 else "OW"


# Kinds of pixels


def _rgb(data_set: Dataset) -> None:
    """Leave it as it is."""


def _planar(data_set: Dataset) -> None:
    rgb = np.repeat(grey_of(data_set)[:, None], 3, axis=1)
    store(data_set, rgb, PhotometricInterpretation="RGB", PlanarConfiguration=1)


def _ybr_full(data_set: Dataset, planar: int = 0) -> None:
    luma = grey_of(data_set)
    chroma = np.full_like(luma, 128)
    ybr = np.stack([luma, chroma, chroma], axis=1 if planar else -1)
    store(data_set, ybr, PhotometricInterpretation="YBR_FULL", PlanarConfiguration=planar)


def _ybr_422(data_set: Dataset) -> None:
    luma = grey_of(data_set)
    luma = np.pad(luma, ((0, 0), (0, 0), (0, luma.shape[2] % 2)))  # to whole pairs
    pairs = luma.reshape(*luma.shape[:2], -1, 2)
    chroma = np.full_like(pairs, 128)
    values = np.concatenate([pairs, chroma], axis=-1)
    store(data_set, values, PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0)


def _mono(
    data_set: Dataset,
    *,
    dtype: str = "u1",
    stored_bits: int = 8,
    factor: int = 1,
    inverted: bool = False,
    signed: bool = False,
) -> None:
    values = grey_of(data_set).astype(np.int64) * factor
    if inverted:
        values = (1 << stored_bits) - 1 - values
    if signed:
        values -= 1 << (stored_bits - 1)
    store(
        data_set,
        values.astype(f"<{dtype}"),
        PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2",
        BitsStored=stored_bits,
        PixelRepresentation=int(signed),
    )


def _palette(data_set: Dataset, dtype: str = "u1", entry_bits: int = 16) -> None:
    shuffled = np.random.default_rng(7).permutation(256)
    values = shuffled[grey_of(data_set)].astype(f"<{dtype}")
    store(data_set, values, PhotometricInterpretation="PALETTE COLOR", BitsStored=8)
    table = np.argsort(shuffled)
    if entry_bits == 16:
        table = table * 256 + 255 - table  # two bytes that must not be taken for each other
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        data_set.add_new(f"{name}Descriptor", "US", [256, 0, entry_bits])
        setattr(data_set, f"{name}Data", table.astype(f"<u{entry_bits // 8}").tobytes())


MONO_16 = partial(_mono, dtype="u2", stored_bits=16, factor=257)
MONO_12 = partial(_mono, dtype="u2", stored_bits=12, factor=16)
PIXELS: dict[str, Callable[[Dataset], None]] = {
    "RGB": _rgb,
    "RGB planar": _planar,
    "YBR_FULL": _ybr_full,
    "YBR_FULL planar": partial(_ybr_full, planar=1),
    "YBR_FULL_422": _ybr_422,
    "MONOCHROME2": _mono,
    "MONOCHROME1": partial(_mono, inverted=True),
    "16 bits": MONO_16,
    "16 bits shifted": partial(_mono, dtype="u2", stored_bits=16, factor=256),
    "16 bits MONOCHROME1": partial(_mono, dtype="u2", stored_bits=16, factor=257, inverted=True),
    "16 bits signed": partial(_mono, dtype="i2", stored_bits=16, factor=257, signed=True),
    "12 of 16 bits": MONO_12,
    "8 of 16 bits": partial(_mono, dtype="u2"),
    "palette": _palette,
    "palette of 16 bits": partial(_palette, dtype="u2"),
    "palette of bytes": partial(_palette, entry_bits=8),
}


# Transfer syntaxes


def _edit(path: Path, kind: str, transfer_syntax_uid: str | None = None) -> None:
    data_set = pydicom.dcmread(path)
    PIXELS[kind](data_set)
    if transfer_syntax_uid is not None:
        data_set.file_meta.TransferSyntaxUID = transfer_syntax_uid
    data_set.save_as(path, enforce_file_format=True)


def _big_endian(path: Path, kind: str) -> None:
    data_set = pydicom.dcmread(path)
    PIXELS[kind](data_set)
    stored = np.frombuffer(data_set.PixelData, "<u2")  # words, also where they hold two samples
    data_set.PixelData = stored.byteswap().tobytes()
    data_set["PixelData"].VR = "OW"
    for element in data_set:
        if element.keyword.endswith("PaletteColorLookupTableData"):
            element.value = np.frombuffer(element.value, "<u2").byteswap().tobytes()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    list(data_set.iterall())  # decodes what was read as little-endian
    pydicom.dcmwrite(path, data_set, enforce_file_format=True)


def _rle(path: Path, kind: str) -> None:
    data_set = pydicom.dcmread(path)
    PIXELS[kind](data_set)
    data_set.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    data_set.save_as(path, enforce_file_format=True)


def _gdcm(path: Path, kind: str, transfer_syntax: int) -> None:
    """Encode by GDCM, the one encoder at hand for some of these."""
    _edit(path, kind)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(transfer_syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def _pillow(
    path: Path,
    kind: str,
    transfer_syntax_uid: str,
    photometric: str,
    mode: str,
    **options: Any,
) -> None:
    data_set = pydicom.dcmread(path)
    PIXELS[kind](data_set)
    frames = []
    for image in grey_of(pydicom.dcmread(path)):
        out = io.BytesIO()
        format = "JPEG" if "quality" in options else "JPEG2000"
        Image.fromarray(image).convert(mode).save(out, format, **options)
        frames.append(out.getvalue())
    data_set.PhotometricInterpretation = photometric
    data_set.file_meta.TransferSyntaxUID = transfer_syntax_uid
    data_set.PixelData = encapsulate(frames)
    data_set["PixelData"].VR = "OB"
    data_set.save_as(path, enforce_file_format=True)


_TS = gdcm.TransferSyntax
_GDCM = {
    "JPEG lossless": _TS.JPEGLosslessProcess14,
    "JPEG lossless SV1": _TS.JPEGLosslessProcess14_1,
    "JPEG-LS": _TS.JPEGLSLossless,
    "JPEG-LS near-lossless": _TS.JPEGLSNearLossless,  # by GDCM without a loss
    "JPEG 2000 lossless": _TS.JPEG2000Lossless,
}
# What the encoders do not encode as it is: subsampled or planar pixels, palettes for words.
_UNCOMPRESSED_ONLY = {"YBR_FULL_422", "RGB planar", "YBR_FULL planar", "palette of 16 bits"}

LOSSLESS: dict[str, Wrap] = {}
for _kind in PIXELS:
    LOSSLESS[f"explicit, {_kind}"] = partial(_edit, kind=_kind)
    LOSSLESS[f"implicit, {_kind}"] = partial(
        _edit, kind=_kind, transfer_syntax_uid=ImplicitVRLittleEndian
    )
    LOSSLESS[f"deflated, {_kind}"] = partial(
        _edit, kind=_kind, transfer_syntax_uid=DeflatedExplicitVRLittleEndian
    )
    LOSSLESS[f"big-endian, {_kind}"] = partial(_big_endian, kind=_kind)
    if _kind in _UNCOMPRESSED_ONLY:
        continue
    LOSSLESS[f"RLE, {_kind}"] = partial(_rle, kind=_kind)
    for _name, _syntax in _GDCM.items():
        if not (_kind.startswith("palette") and "near" in _name):  # indices must not change
            LOSSLESS[f"{_name}, {_kind}"] = partial(_gdcm, kind=_kind, transfer_syntax=_syntax)
# pydicom writes only the lower of the two bytes
LOSSLESS["RLE, 8 of 16 bits"] = partial(_gdcm, kind="8 of 16 bits", transfer_syntax=_TS.RLELossless)
for _photometric, _mode in (("YBR_RCT", "RGB"), ("RGB", "RGB"), ("MONOCHROME2", "L")):
    LOSSLESS[f"JPEG 2000 lossless by another encoder, {_photometric}"] = partial(
        _pillow,
        kind="MONOCHROME2" if _mode == "L" else "RGB",
        transfer_syntax_uid=JPEG2000Lossless,
        photometric=_photometric,
        mode=_mode,
        irreversible=False,
        no_jp2=True,
        mct=int(_photometric == "YBR_RCT"),
    )

LOSSY: dict[str, Wrap] = {}
for _uid, _name in ((JPEGBaseline8Bit, "JPEG baseline"), (JPEGExtended12Bit, "JPEG extended")):
    for _photometric, _kind, _mode, _options in (
        ("MONOCHROME2", "MONOCHROME2", "L", {}),
        ("YBR_FULL", "RGB", "RGB", {"subsampling": 0}),
        ("YBR_FULL_422", "RGB", "RGB", {"subsampling": "4:2:2"}),
        ("RGB", "RGB", "RGB", {"subsampling": 0, "keep_rgb": True}),
    ):
        LOSSY[f"{_name}, {_photometric}"] = partial(
            _pillow, kind=_kind, transfer_syntax_uid=_uid, photometric=_photometric, mode=_mode,
            quality=85, **_options,
        )  # fmt: skip
LOSSY["JPEG baseline, RGB by a writer that means YBR"] = partial(
    _gdcm, kind="RGB", transfer_syntax=_TS.JPEGBaselineProcess1
)
LOSSY["JPEG extended, 12 bits"] = partial(
    _gdcm, kind="12 of 16 bits", transfer_syntax=_TS.JPEGExtendedProcess2_4
)
for _photometric, _mode in (("YBR_ICT", "RGB"), ("MONOCHROME2", "L")):
    LOSSY[f"JPEG 2000, {_photometric}"] = partial(
        _pillow,
        kind="MONOCHROME2" if _mode == "L" else "RGB",
        transfer_syntax_uid=JPEG2000,
        photometric=_photometric,
        mode=_mode,
        irreversible=True,
        no_jp2=True,
        quality_mode="rates",
        quality_layers=[15],
        mct=int(_mode == "RGB"),
    )
