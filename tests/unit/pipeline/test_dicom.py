"""Reading DICOM files whose pixels and calibration are known."""

import gzip
import io
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from app.pipeline.dicom import Recording, open_recording
from app.pipeline.errors import (
    CorruptPixelData,
    NoCalibration,
    NoMModeRegion,
    NoPixelData,
    NotDicom,
    RecordingError,
    TooLarge,
    UnsupportedTransferSyntax,
)
from app.pipeline.frames import Inflated
from app.pipeline.limits import Limits
from models.simulation.scanner import Encoding, Layout, write_screens
from tests.strips import make_strip
from tests.wrappings import PIXELS

# Files of strangers make pydicom warn; outside of tests its warnings are off (see the last tests).
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

ROWS, WIDTH, STARTS = 64, 430, (0, 40, 75)
STRIP = make_strip(rows=ROWS, columns=WIDTH + STARTS[-1])
LAYOUT = Layout()
LIMITS = Limits()
Edit = Callable[[Dataset], None]


def write(
    folder: Path,
    encoding: Encoding = "raw",
    layout: Layout = LAYOUT,
    edit: Edit = lambda data_set: None,
) -> Path:
    path = folder / "recording.dcm"
    write_screens(
        STRIP,
        path,
        seconds_per_column=1 / 1200,
        mm_per_row=0.02,
        width=WIDTH,
        starts=STARTS,
        encoding=encoding,
        layout=layout,
        seed=1,
    )
    data_set = pydicom.dcmread(path)
    edit(data_set)
    data_set.save_as(path, enforce_file_format=True)
    return path


def m_mode(data_set: Dataset) -> Dataset:
    item: Dataset = data_set.SequenceOfUltrasoundRegions[LAYOUT.m_mode_index]
    return item


def read(path: Path) -> list[NDArray[np.uint8]]:
    return list(open_recording(path).screens())


def assert_screens(screens: list[NDArray[np.uint8]]) -> None:
    assert len(screens) == len(STARTS)
    for screen, start in zip(screens, STARTS, strict=True):
        assert screen.dtype == np.uint8
        np.testing.assert_array_equal(screen, STRIP[:, start : start + WIDTH])


# What the file says


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("encoding", ["raw", "rle"])
def test_the_m_mode_is_found_by_its_meaning(tmp_path: Path, encoding: Encoding, index: int) -> None:
    path = write(tmp_path, encoding, Layout(top=115, left=61, m_mode_index=index))

    recording = open_recording(path)

    region = recording.region
    assert (region.index, region.x0, region.y0) == (index, 61, 115)
    assert (region.x1, region.y1) == (61 + WIDTH, 115 + ROWS)
    assert region.seconds_per_column == pytest.approx(1 / 1200)
    assert region.mm_per_row == pytest.approx(0.02)
    assert recording.info.frames == 3
    assert recording.info.transfer_syntax_uid == (
        RLELossless if encoding == "rle" else "1.2.840.10008.1.2.1"
    )
    assert recording.warnings == ()
    assert_screens(list(recording.screens()))


def test_jpeg_screens_are_close(tmp_path: Path) -> None:
    for screen, start in zip(read(write(tmp_path, "jpeg")), STARTS, strict=True):
        difference = screen.astype(int) - STRIP[:, start : start + WIDTH]
        assert np.abs(difference).mean() < 4


def test_screens_can_be_read_again(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path))
    assert next(recording.screens()).shape == (ROWS, WIDTH)
    assert_screens(list(recording.screens()))


def test_an_inclusive_corner_costs_a_row_and_a_column(tmp_path: Path) -> None:
    (first, *_) = read(write(tmp_path, layout=Layout(inclusive_corners=True)))
    np.testing.assert_array_equal(first, STRIP[: ROWS - 1, : WIDTH - 1])


def test_a_corner_one_pixel_outside_is_clipped(tmp_path: Path) -> None:
    def edit(data_set: Dataset) -> None:
        m_mode(data_set).RegionLocationMaxX1 = data_set.Columns + 1
        m_mode(data_set).RegionLocationMaxY1 = data_set.Rows + 1

    region = open_recording(write(tmp_path, edit=edit)).region
    assert (region.x1, region.y1) == (LAYOUT.left + WIDTH + 28, LAYOUT.top + ROWS + 56)


def test_scales_count_by_magnitude(tmp_path: Path) -> None:
    def edit(data_set: Dataset) -> None:
        item = m_mode(data_set)
        item.PhysicalDeltaX, item.PhysicalDeltaY = -item.PhysicalDeltaX, -item.PhysicalDeltaY

    region = open_recording(write(tmp_path, edit=edit)).region
    assert (region.seconds_per_column, region.mm_per_row) == pytest.approx((1 / 1200, 0.02))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PhysicalDeltaX", 0.0),
        ("PhysicalDeltaX", float("nan")),
        ("PhysicalDeltaX", float("inf")),
        ("PhysicalDeltaX", 3.0),
        ("PhysicalDeltaX", None),
        ("PhysicalDeltaY", 0.0),
        ("PhysicalDeltaY", float("-inf")),
        ("PhysicalDeltaY", 1e300),
        ("PhysicalUnitsXDirection", 3),
        ("PhysicalUnitsYDirection", 7),
        ("PhysicalUnitsYDirection", None),
        ("RegionLocationMaxX1", 2_000),
        ("RegionLocationMaxY1", LAYOUT.top + ROWS + 58),
        ("RegionLocationMaxX1", 3),
        ("RegionLocationMinX0", None),
    ],
)
def test_no_calibration(tmp_path: Path, keyword: str, value: Any) -> None:
    path = write(tmp_path, edit=lambda data_set: setattr(m_mode(data_set), keyword, value))
    with pytest.raises(NoCalibration):
        open_recording(path)


def test_the_largest_calibrated_m_mode_region_is_chosen(tmp_path: Path) -> None:
    def edit(data_set: Dataset) -> None:
        small, uncalibrated, m_mode_2 = data_set.SequenceOfUltrasoundRegions
        for item in (small, uncalibrated):
            for element in m_mode_2:
                if not element.keyword.startswith("RegionLocation"):
                    setattr(item, element.keyword, element.value)
        uncalibrated.RegionLocationMinX0, uncalibrated.RegionLocationMinY0 = 0, 0
        uncalibrated.RegionLocationMaxX1 = data_set.Columns
        uncalibrated.RegionLocationMaxY1 = data_set.Rows
        uncalibrated.PhysicalDeltaX = 0.0

    path = write(tmp_path, layout=Layout(m_mode_index=2), edit=edit)

    recording = open_recording(path)

    assert recording.region.index == 2
    (warning,) = recording.warnings
    assert warning.code == "several_m_mode_regions"
    assert_screens(list(recording.screens()))


def in_front(data_set: Dataset) -> tuple[Dataset, Dataset]:
    """Have the first region say what the third, the M-mode, does, over all of the screen."""
    first, _, third = data_set.SequenceOfUltrasoundRegions
    for element in third:
        setattr(first, element.keyword, element.value)
    first.RegionLocationMinX0, first.RegionLocationMinY0 = 0, 0
    first.RegionLocationMaxX1, first.RegionLocationMaxY1 = data_set.Columns, data_set.Rows
    return first, third


def a_trace(data_set: Dataset) -> None:
    first, _ = in_front(data_set)
    first.RegionDataType = 10  # an ECG that is marked as an M-mode


def a_low_band(data_set: Dataset) -> None:
    first, third = in_front(data_set)
    first.RegionLocationMaxY1 = 15
    third.RegionLocationMaxX1 = third.RegionLocationMinX0 + 40  # smaller than the band


@pytest.mark.parametrize("edit", [a_trace, a_low_band])
def test_what_is_no_m_mode_is_not_measured_however_large(
    tmp_path: Path, edit: Callable[[Dataset], None]
) -> None:
    path = write(tmp_path, layout=Layout(m_mode_index=2), edit=edit)
    assert open_recording(path).region.index == 2


def remove_regions(data_set: Dataset) -> None:
    del data_set.SequenceOfUltrasoundRegions


def empty_regions(data_set: Dataset) -> None:
    data_set.SequenceOfUltrasoundRegions = []


def only_two_d(data_set: Dataset) -> None:
    m_mode(data_set).RegionSpatialFormat = 1


def too_low(data_set: Dataset) -> None:
    m_mode(data_set).RegionLocationMaxY1 = LAYOUT.top + 5


def not_a_sequence(data_set: Dataset) -> None:
    data_set.add_new("SequenceOfUltrasoundRegions", "AT", 0x00080018)


def items_without_values(data_set: Dataset) -> None:
    data_set.SequenceOfUltrasoundRegions = [Dataset(), Dataset()]


@pytest.mark.parametrize(
    "edit",
    [
        remove_regions,
        empty_regions,
        only_two_d,
        too_low,
        not_a_sequence,
        items_without_values,
    ],
)
def test_no_m_mode_region(tmp_path: Path, edit: Edit) -> None:
    path = write(tmp_path, edit=edit)
    with pytest.raises(NoMModeRegion):
        open_recording(path)


# What is no recording at all


def test_no_pixel_data(tmp_path: Path) -> None:
    def edit(data_set: Dataset) -> None:
        del data_set.PixelData

    path = write(tmp_path, edit=edit)
    with pytest.raises(NoPixelData):
        open_recording(path)


def test_a_file_cut_off_before_its_image_may_be_just_that(tmp_path: Path) -> None:
    path = write(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\xe0\x7f\x10\0OB")])
    with pytest.raises(NoPixelData, match="cut off"):
        open_recording(path)


def png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(STRIP).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"time_s,lvid_mm\n0.0,2.7\n" * 500,
        bytes(5_000),
        png(),
        np.random.default_rng(1).bytes(100_000),
        np.random.default_rng(2).bytes(131),
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + np.random.default_rng(3).bytes(5_000),
        bytes(128) + b"DICM" + b"\2\0\0\0UL",
    ],
)
def test_not_dicom(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NotDicom):
        open_recording(path)


@pytest.mark.parametrize("kind", ["ZIP", "gzip"])
def test_an_archive_is_told_from_other_files(tmp_path: Path, kind: str) -> None:
    recording, path = write(tmp_path), tmp_path / "archive"
    if kind == "ZIP":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(recording)
    else:
        path.write_bytes(gzip.compress(recording.read_bytes()))
    with pytest.raises(NotDicom, match=f"a {kind} archive"):
        open_recording(path)


def test_a_dicomdir_holds_no_image() -> None:
    path = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests" / "DICOMDIR"
    with pytest.raises(NoPixelData, match="DICOMDIR"):
        open_recording(path)


def test_a_file_without_a_preamble_is_read(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[132:])
    assert_screens(read(path))


@pytest.mark.parametrize("implicit", [False, True])
def test_a_bare_data_set_is_read(tmp_path: Path, implicit: bool) -> None:
    path = write(tmp_path)
    data_set = pydicom.dcmread(path)
    del data_set.file_meta
    data_set.save_as(path, implicit_vr=implicit, little_endian=True, overwrite=True)

    assert_screens(read(path))
    uid = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
    assert open_recording(path).info.transfer_syntax_uid == uid


# How pixels are stored


def with_colours(seed: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def set_pixels(data_set: Dataset, stored: NDArray[Any], **attributes: Any) -> None:
    bits = 8 * stored.dtype.itemsize
    plain = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
    for keyword, value in (plain | attributes).items():
        setattr(data_set, keyword, value)
    data_set.PixelData = stored.tobytes()
    data_set["PixelData"].VR = "OB" if bits == 8 else "OW"


def cut(images: NDArray[Any]) -> NDArray[Any]:
    top, left = LAYOUT.top, LAYOUT.left
    return images[:, top : top + ROWS, left : left + WIDTH]


def screen_shape(data_set: Dataset) -> tuple[int, int, int]:
    return data_set.NumberOfFrames, data_set.Rows, data_set.Columns


def expected_luma(rgb: NDArray[Any]) -> NDArray[Any]:
    return np.round(rgb @ np.array([0.299, 0.587, 0.114]))


@pytest.mark.parametrize(("planar", "compress"), [(0, False), (1, False), (0, True)])
def test_colours_become_luma(tmp_path: Path, planar: int, compress: bool) -> None:
    truth: list[NDArray[Any]] = []

    def edit(data_set: Dataset) -> None:
        rgb = with_colours(1, screen_shape(data_set))
        truth.append(expected_luma(cut(rgb)))
        stored = np.moveaxis(rgb, -1, 1) if planar else rgb
        set_pixels(data_set, np.ascontiguousarray(stored), PlanarConfiguration=planar)
        if compress:
            data_set.compress(RLELossless)

    difference = np.abs(np.array(read(write(tmp_path, edit=edit)), float) - truth[0])
    assert difference.max() <= 1  # where luma lies halfway, either is right
    assert (difference == 0).mean() > 0.999


@pytest.mark.parametrize(
    ("photometric", "compress"),
    [("YBR_FULL", False), ("YBR_FULL", True), ("YBR_FULL_422", False)],
)
def test_luma_is_taken_as_grey(tmp_path: Path, photometric: str, compress: bool) -> None:
    truth: list[NDArray[Any]] = []

    def edit(data_set: Dataset) -> None:
        ybr = with_colours(2, screen_shape(data_set))
        truth.append(cut(ybr[..., 0]))
        data_set.PhotometricInterpretation = photometric
        if photometric == "YBR_FULL_422":  # Y0 Y1 Cb Cr for every two pixels, PS3.3 C.7.6.3.1.2
            pairs = ybr.reshape(len(ybr), -1, 2, 3)
            ybr = np.concatenate([pairs[..., 0], pairs[:, :, 0, 1:]], axis=-1)
        set_pixels(data_set, ybr)
        if compress:
            data_set.compress(RLELossless)

    np.testing.assert_array_equal(np.array(read(write(tmp_path, edit=edit))), truth[0])


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("dtype", "stored_bits"), [("u1", 8), ("u2", 16), ("u2", 12)])
def test_one_sample_of_any_depth(
    tmp_path: Path, dtype: str, stored_bits: int, photometric: str, signed: int, compress: bool
) -> None:
    truth: list[NDArray[Any]] = []

    def edit(data_set: Dataset) -> None:
        shape = screen_shape(data_set)
        values = np.random.default_rng(3).integers(0, 1 << stored_bits, shape)
        light = cut(values) / ((1 << stored_bits) - 1)
        truth.append(255 * (1 - light if photometric == "MONOCHROME1" else light))
        stored = values - signed * (1 << (stored_bits - 1))
        set_pixels(
            data_set,
            stored.astype(f"<{dtype}"),
            SamplesPerPixel=1,
            PhotometricInterpretation=photometric,
            BitsStored=stored_bits,
            HighBit=stored_bits - 1,
            PixelRepresentation=signed,
        )
        del data_set.PlanarConfiguration
        if compress:
            data_set.compress(RLELossless)

    screens = np.array(read(write(tmp_path, edit=edit)), float)
    np.testing.assert_allclose(screens, truth[0], atol=1)


def indexed(data_set: Dataset, bits: int) -> tuple[NDArray[Any], list[tuple[str, Any]]]:
    """Let the pixels be indices; gives their grey, and the entries by the names of their tables."""
    palette = with_colours(4, (256,))
    indices = np.random.default_rng(5).integers(0, 256, screen_shape(data_set), dtype=np.uint8)
    set_pixels(data_set, indices, SamplesPerPixel=1, PhotometricInterpretation="PALETTE COLOR")
    tables = []
    for i, colour in enumerate(("Red", "Green", "Blue")):
        name = f"{colour}PaletteColorLookupTable"
        data_set.add_new(f"{name}Descriptor", "US", [256, 0, bits])
        tables.append((f"{name}Data", palette[:, i].copy()))
    return expected_luma(palette[cut(indices)]), tables


@pytest.mark.parametrize("scale", [257, 1])  # some writers fill only half of the 16 bits
@pytest.mark.parametrize("compress", [False, True])
def test_a_palette_is_looked_up(tmp_path: Path, compress: bool, scale: int) -> None:
    truth: list[NDArray[Any]] = []

    def edit(data_set: Dataset) -> None:
        grey, tables = indexed(data_set, 16)
        truth.append(grey)
        for name, entries in tables:
            setattr(data_set, name, (entries.astype("<u2") * scale).tobytes())
        if compress:
            data_set.compress(RLELossless)

    screens = np.array(read(write(tmp_path, edit=edit)), float)
    assert np.abs(screens - truth[0]).max() <= 1


@pytest.mark.parametrize("as_numbers", [False, True])  # of the VR that it had once
@pytest.mark.parametrize(("order", "bits"), [("<", 8), ("<", 16), (">", 8), (">", 16)])
def test_a_palette_is_looked_up_in_either_byte_order(
    tmp_path: Path, order: str, bits: int, as_numbers: bool
) -> None:
    truth: list[NDArray[Any]] = []

    def edit(data_set: Dataset) -> None:
        grey, tables = indexed(data_set, bits)
        truth.append(grey)
        for name, entries in tables:
            wide = entries.astype("<u2") * 256 + 9
            words = np.frombuffer(entries.tobytes(), "<u2") if bits == 8 else wide
            if as_numbers:
                data_set.add_new(name, "US", words.tolist())
            else:
                data_set.add_new(name, "OW", words.astype(f"{order}u2").tobytes())

    path = write(tmp_path, edit=edit)
    if order == ">":
        as_big_endian(path)
    screens = np.array(read(path), float)
    assert np.abs(screens - truth[0]).max() <= 1


def as_big_endian(path: Path) -> None:
    """Write a file anew whose words are in that order already."""
    data_set = pydicom.dcmread(path)
    data_set["PixelData"].VR = "OB"
    data_set.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    list(data_set.iterall())  # decodes what was read as little-endian
    pydicom.dcmwrite(path, data_set, enforce_file_format=True)


@pytest.mark.parametrize(("first", "signed"), [(0, 0), (20_000, 0), (-128, 1), (-20_000, 1)])
@pytest.mark.parametrize(("entries", "bits"), [(256, 16), (256, 8), (201, 16), (201, 8)])
def test_a_palette_begins_and_ends_anywhere(
    tmp_path: Path, entries: int, bits: int, first: int, signed: int
) -> None:
    truth: list[NDArray[Any]] = []
    palette = np.random.default_rng(4).permutation(256)[:entries]

    def edit(data_set: Dataset) -> None:
        indices = np.random.default_rng(5).integers(-9, entries + 9, screen_shape(data_set))
        truth.append(palette[np.clip(cut(indices), 0, entries - 1)])
        indices = np.maximum(indices + first, -(2**15) * signed)
        set_pixels(
            data_set,
            indices.astype("<i2"),
            SamplesPerPixel=1,
            PhotometricInterpretation="PALETTE COLOR",
            PixelRepresentation=signed,
        )
        stored = (palette * (257 if bits == 16 else 1)).astype(f"<u{bits // 8}").tobytes()
        stored += bytes(len(stored) % 2)  # padded, as every attribute is
        for colour in ("Red", "Green", "Blue"):
            name = f"{colour}PaletteColorLookupTable"
            data_set.add_new(f"{name}Descriptor", "SS" if signed else "US", [entries, first, bits])
            setattr(data_set, f"{name}Data", stored)

    np.testing.assert_array_equal(read(write(tmp_path, edit=edit)), truth[0])


@pytest.mark.parametrize(("order", "bits"), [("<", 8), ("<", 16), (">", 16)])
def test_a_palette_of_segments_is_looked_up(tmp_path: Path, order: str, bits: int) -> None:
    truth: list[NDArray[Any]] = []
    top, step = (255, 1) if bits == 8 else (65_535, 257)
    palette = np.concatenate([[0, 3, 5], np.linspace(5, 255, 254)[1:]]).round().astype(int)

    def edit(data_set: Dataset) -> None:
        indices = np.random.default_rng(5).integers(0, 256, screen_shape(data_set), dtype=np.uint8)
        truth.append(palette[cut(indices)])
        set_pixels(data_set, indices, SamplesPerPixel=1, PhotometricInterpretation="PALETTE COLOR")
        segments = [0, 3, 0, 3 * step, 5 * step, 1, 253, top]
        for colour in ("Red", "Green", "Blue"):
            name = f"{colour}PaletteColorLookupTable"
            data_set.add_new(f"{name}Descriptor", "US", [256, 0, bits])
            stored = np.array(segments, f"{order}u{bits // 8}").tobytes()
            data_set.add_new(f"Segmented{name}Data", "OW", stored)

    path = write(tmp_path, edit=edit)
    if order == ">":
        as_big_endian(path)
    screens = np.array(read(path), int)
    assert np.abs(screens - truth[0]).max() <= 1


def say_palette(data_set: Dataset) -> Iterator[tuple[str, str]]:
    """Let the pixels be indices; gives the colours, and what their tables are named after."""
    indices = np.zeros(screen_shape(data_set), np.uint8)
    set_pixels(data_set, indices, SamplesPerPixel=1, PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        data_set.add_new(f"{name}Descriptor", "US", [256, 0, 16])
        yield colour, name


@pytest.mark.parametrize(
    "segments",
    [
        [],
        [1, 256, 65_535],  # a line from nowhere
        [0, 1, 0, 1, 254, 65_535],  # one entry too few
        [0, 1, 0, 1, 256, 65_535],  # one too many
        [0, 1, 0, *[1, 65_535, 65_535] * 20_000],  # far too many
        [0, 9, 1],  # cut off
        [0, 1, 0, 1, 0, 9],  # a line of no entries
        [0, 1, 0, 7, 1, 9],
        [0, 1, 0, 2, 1, 6, 0],  # stands for itself
        [0, 1, 0, 2, 60_000, 0, 0],  # stands for more than there are
    ],
)
def test_a_palette_of_damaged_segments_is_corrupt(tmp_path: Path, segments: list[int]) -> None:
    def edit(data_set: Dataset) -> None:
        for _, name in say_palette(data_set):
            data_set.add_new(f"Segmented{name}Data", "OW", np.array(segments, "<u2").tobytes())

    path = write(tmp_path, edit=edit)
    with pytest.raises(CorruptPixelData):
        open_recording(path)


def test_a_palette_that_is_missing_is_corrupt(tmp_path: Path) -> None:
    def edit(data_set: Dataset) -> None:
        indices = np.zeros(screen_shape(data_set), np.uint8)
        set_pixels(data_set, indices, SamplesPerPixel=1, PhotometricInterpretation="PALETTE COLOR")

    path = write(tmp_path, edit=edit)
    with pytest.raises(CorruptPixelData):
        open_recording(path)


def test_a_palette_that_gives_too_few_colours_is_corrupt(tmp_path: Path) -> None:
    def edit(data_set: Dataset) -> None:
        for colour, name in say_palette(data_set):
            setattr(data_set, f"{name}Data", b"" if colour == "Blue" else bytes(512))

    path = write(tmp_path, edit=edit)
    with pytest.raises(CorruptPixelData):
        open_recording(path)


def test_a_palette_whose_colours_differ_in_kind_is_corrupt(tmp_path: Path) -> None:
    def edit(data_set: Dataset) -> None:
        for colour, name in say_palette(data_set):
            setattr(data_set, f"{name}Data", bytes(512))
            if colour == "Blue":
                data_set[f"{name}Descriptor"].value = [256, 1, 16]

    path = write(tmp_path, edit=edit)
    with pytest.raises(CorruptPixelData):
        open_recording(path)


@pytest.mark.parametrize("uid", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_native_transfer_syntaxes(tmp_path: Path, uid: str) -> None:
    def edit(data_set: Dataset) -> None:
        data_set.file_meta.TransferSyntaxUID = uid

    path = write(tmp_path, edit=edit)
    assert open_recording(path).info.transfer_syntax_uid == uid
    assert_screens(read(path))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("left", [52, 53])
def test_big_endian(tmp_path: Path, bits: int, left: int) -> None:
    path = write(tmp_path, layout=Layout(left=left))
    data_set = pydicom.dcmread(path)
    grey = data_set.pixel_array[..., 0]
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    # Words of two bytes have their bytes swapped, also where they hold two samples (PS3.5 8.1.1).
    stored = grey.astype(">u2") * 257 if bits == 16 else np.frombuffer(grey.tobytes(), "<u2")
    set_pixels(data_set, stored if bits == 16 else stored.byteswap(), BitsAllocated=bits)
    data_set.BitsStored, data_set.HighBit = bits, bits - 1
    data_set["PixelData"].VR = "OW"
    data_set.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    list(data_set.iterall())  # decodes what was read as little-endian
    pydicom.dcmwrite(path, data_set, enforce_file_format=True)

    assert_screens(read(path))


def jpeg(image: NDArray[np.uint8], **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", **{"quality": 95, "subsampling": 0} | options)
    return out.getvalue()


# What libjpeg takes colours for where no marker says it: RGB by the first, luma and chroma else.
NAMES = (b"RGB", b"\1\2\3", b"\0\1\2", b"rgb")


def colours_in_jpeg(
    folder: Path, header: str, stored: str, names: bytes | None, subsampling: int = 0
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Write colours as RGB or YCbCr, marked unless components are named; read and true grey."""
    truth: list[NDArray[Any]] = []

    def edit(data_set: Dataset) -> None:
        rgb = np.zeros((*screen_shape(data_set), 3), np.uint8)
        rgb[:, :, :250], rgb[:, :, 250:] = (200, 40, 90), (20, 180, 10)
        truth.append(expected_luma(cut(rgb)))
        encoded = [jpeg(frame, keep_rgb=stored == "RGB", subsampling=subsampling) for frame in rgb]
        if names is not None:
            encoded = [without_marker(frame, names) for frame in encoded]
        data_set.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        data_set.PhotometricInterpretation = header
        data_set.PixelData = encapsulate(encoded)
        data_set["PixelData"].VR = "OB"

    return np.array(read(write(folder, edit=edit)), float), truth[0]


@pytest.mark.parametrize("header", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("stored", ["RGB", "YCbCr"])
def test_a_marker_says_what_the_colours_of_jpeg_are(
    tmp_path: Path, header: str, stored: str
) -> None:
    screens, truth = colours_in_jpeg(tmp_path, header, stored, None)
    assert np.median(np.abs(screens - truth)) <= 1


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize(
    ("header", "stored"), [("RGB", "RGB"), ("YBR_FULL", "YCbCr"), ("YBR_FULL_422", "YCbCr")]
)
def test_without_a_marker_the_header_does(
    tmp_path: Path, header: str, stored: str, names: bytes
) -> None:
    screens, truth = colours_in_jpeg(tmp_path, header, stored, names)
    assert np.median(np.abs(screens - truth)) <= 1


@pytest.mark.parametrize("names", NAMES[1:])
def test_coarser_chroma_is_chroma_whatever_the_header_says(tmp_path: Path, names: bytes) -> None:
    screens, truth = colours_in_jpeg(tmp_path, "RGB", "YCbCr", names, subsampling=1)
    assert np.median(np.abs(screens - truth)) <= 1


def without_marker(encoded: bytes, names: bytes) -> bytes:
    """Remove application markers and name the three components."""
    out, at = bytearray(encoded[:2]), 2
    while True:
        marker, length = encoded[at + 1], int.from_bytes(encoded[at + 2 : at + 4])
        segment = bytearray(encoded[at : at + 2 + length])
        if marker == 0xC0:
            segment[10:19:3] = names
        if marker == 0xDA:
            segment[5:11:2] = names
        if not 0xE0 <= marker <= 0xEF:
            out += segment
        at += 2 + length
        if marker == 0xDA:
            return bytes(out + encoded[at:])


@pytest.mark.parametrize("has_table", [True, False])
def test_screens_in_several_fragments(tmp_path: Path, has_table: bool) -> None:
    def edit(data_set: Dataset) -> None:
        frames = list(pydicom.encaps.generate_frames(data_set.PixelData, number_of_frames=3))
        data_set.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=has_table)

    whole = read(write(tmp_path, "jpeg"))
    np.testing.assert_array_equal(read(write(tmp_path, "jpeg", edit=edit)), whole)


def uncompressed(data_set: Dataset, kind: str) -> None:
    PIXELS[kind.removesuffix(" as 4:4:4")](data_set)
    if kind.endswith("4:4:4"):  # where the header says that chromas are shared, and none is
        data_set.PhotometricInterpretation = "YBR_FULL_422"


KINDS = ("RGB", "RGB planar", "MONOCHROME2", "16 bits", "YBR_FULL_422", "YBR_FULL as 4:4:4")


@pytest.mark.parametrize("uid", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_no_screen(tmp_path: Path, kind: str, uid: str) -> None:
    def edit(data_set: Dataset) -> None:
        data_set.file_meta.TransferSyntaxUID = uid
        uncompressed(data_set, kind)
        data_set.PixelData += bytes(data_set.Rows * data_set.Columns - 2)

    assert_screens(read(write(tmp_path, edit=edit)))


@pytest.mark.parametrize("uid", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("kind", "promised"),
    [
        (kind, promised)
        for kind in KINDS
        for promised in (None, 1, 2)
        # three screens that share chromas are as long as two that do not
        if (kind, promised) != ("YBR_FULL_422", 2)
    ],
)
def test_more_screens_than_promised_are_refused(
    tmp_path: Path, kind: str, promised: int | None, uid: str
) -> None:
    def edit(data_set: Dataset) -> None:
        data_set.file_meta.TransferSyntaxUID = uid
        uncompressed(data_set, kind)
        if promised is None:
            del data_set.NumberOfFrames
        else:
            data_set.NumberOfFrames = promised

    path = write(tmp_path, edit=edit)
    with pytest.raises(CorruptPixelData, match=f"promises {promised or 1} screens"):
        open_recording(path)


# What cannot be read


@pytest.mark.parametrize(
    ("uid", "name"), [(MPEG2MPML, "MPEG2"), ("1.2.3.4.5", "unknown transfer syntax")]
)
def test_unsupported_transfer_syntaxes_are_named(tmp_path: Path, uid: str, name: str) -> None:
    def edit(data_set: Dataset) -> None:
        data_set.file_meta.TransferSyntaxUID = uid

    path = write(tmp_path, "jpeg", edit=edit)
    with pytest.raises(UnsupportedTransferSyntax, match=name):
        open_recording(path)


@pytest.mark.parametrize(
    "attributes",
    [{"PhotometricInterpretation": "MOUSE^MICKEY"}, {"BitsAllocated": 32}],
)
def test_unsupported_pixels(tmp_path: Path, attributes: dict[str, Any]) -> None:
    path = write(tmp_path, edit=lambda data_set: data_set.update(attributes))
    with pytest.raises(UnsupportedTransferSyntax) as caught:
        open_recording(path)
    assert "MOUSE" not in caught.value.detail


@pytest.mark.parametrize(
    "attributes",
    [
        {"Rows": 0},
        {"Columns": None},
        {"NumberOfFrames": -3},
        {"NumberOfFrames": 4},
        {"SamplesPerPixel": 1},
        {"BitsStored": 12},
        {"HighBit": 11},
    ],
)
def test_headers_that_contradict_themselves(tmp_path: Path, attributes: dict[str, Any]) -> None:
    path = write(tmp_path, edit=lambda data_set: data_set.update(attributes))
    with pytest.raises(CorruptPixelData):
        open_recording(path)


@pytest.mark.parametrize("kept", [0.5, 0.9])
@pytest.mark.parametrize("encoding", ["raw", "rle", "jpeg"])
def test_a_file_cut_off_is_refused_when_it_is_opened(
    tmp_path: Path, encoding: Encoding, kept: float
) -> None:
    path = write(tmp_path, encoding)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CorruptPixelData, match="cut off"):
        open_recording(path)


@pytest.mark.parametrize("encoding", ["rle", "jpeg"])
def test_a_damaged_screen_is_named(tmp_path: Path, encoding: Encoding) -> None:
    def edit(data_set: Dataset) -> None:
        frames = list(pydicom.encaps.generate_frames(data_set.PixelData, number_of_frames=3))
        frames[1] = frames[1][:200] + bytes(100)
        data_set.PixelData = encapsulate(frames)

    screens = open_recording(write(tmp_path, encoding, edit=edit)).screens()
    next(screens)
    with pytest.raises(CorruptPixelData, match="Screen 2"):
        next(screens)


def test_a_deflated_file_cut_off_is_corrupt(tmp_path: Path) -> None:
    def edit(data_set: Dataset) -> None:
        data_set.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    path = write(tmp_path, edit=edit)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    recording = open_recording(path)
    with pytest.raises(CorruptPixelData):
        list(recording.screens())


@pytest.mark.parametrize("screens_of_zeros", [False, True])
def test_a_deflated_file_that_lacks_what_is_not_measured_is_corrupt(
    tmp_path: Path, screens_of_zeros: bool
) -> None:
    def edit(data_set: Dataset) -> None:
        data_set.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        if screens_of_zeros:
            data_set.PixelData = bytes(len(data_set.PixelData))

    path = write(tmp_path, edit=edit)
    list(open_recording(path).screens())
    path.write_bytes(path.read_bytes()[:-9])  # of the rows below the M-mode
    screens = open_recording(path).screens()
    with pytest.raises(CorruptPixelData):
        list(screens)


def test_what_a_deflated_file_ends_with_is_inflated_in_parts() -> None:
    deflate = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
    deflated = deflate.compress(bytes(5000)) + deflate.flush()

    for first in range(4000, 5000):  # among them such that all is read and not all given
        inflated = Inflated(io.BytesIO(deflated), 0)
        assert len(inflated.read(first)) == first
        assert len(inflated.read(5000)) == 5000 - first


@pytest.mark.parametrize(
    "limits",
    [Limits(max_frames=2), Limits(max_decoded_pixels=300_000), Limits(max_frame_pixels=100_000)],
)
def test_too_large(tmp_path: Path, limits: Limits) -> None:
    path = write(tmp_path, "jpeg")
    open_recording(path)
    with pytest.raises(TooLarge):
        open_recording(path, limits)


def test_a_promise_of_endless_screens_is_too_large(tmp_path: Path) -> None:
    path = write(tmp_path, "jpeg", edit=lambda data_set: setattr(data_set, "NumberOfFrames", 10**9))
    with pytest.raises(TooLarge):
        open_recording(path)


# Bounds


def test_a_gigabyte_is_opened_and_read_in_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path)
    data_set = pydicom.dcmread(path, stop_before_pixels=True)
    frame_bytes = data_set.Rows * data_set.Columns * 3
    data_set.NumberOfFrames = 2_500
    data_set.PixelData = bytes(frame_bytes)
    data_set["PixelData"].VR = "OB"
    data_set.save_as(path, enforce_file_format=True)
    total = 2_500 * frame_bytes
    with path.open("r+b") as file:  # the rest is a hole that takes no room on the disk
        header = file.seek(-frame_bytes - 4, io.SEEK_END)
        file.write(total.to_bytes(4, "little"))
        file.truncate(header + 4 + total)

    tracemalloc.start()
    recording = open_recording(path)
    assert next(recording.screens()).shape == (ROWS, WIDTH)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total > 900_000_000
    assert peak < 5_000_000


def nested(depth: int) -> bytes:
    """Sequences of undefined length within each other, after a preamble."""
    open_item = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return preamble() + open_item * depth


def endless_items(count: int) -> bytes:
    head = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"
    return preamble() + head + b"\xfe\xff\x00\xe0\0\0\0\0" * count


def preamble() -> bytes:
    uid = b"1.2.840.10008.1.2.1\0"
    return bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI" + len(uid).to_bytes(2, "little") + uid


@pytest.mark.parametrize("content", [nested(5_000), endless_items(400_000)])
def test_headers_built_to_exhaust_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NotDicom):
        open_recording(path)


LONG = b"OB\0\0\xf0\xff\xff\x7f"  # two gigabytes of it
REGIONS = b"\x18\x00\x11\x60SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"


@pytest.mark.parametrize(
    "content",
    [
        preamble() + b"\x09\x00\x01\x00" + LONG,
        preamble() + REGIONS + b"\x18\x00\x12\x60" + LONG,
        bytes(128) + b"DICM" + b"\x02\x00\x02\x01" + LONG,
        bytes(128) + b"DICM" + b"\x02\x00\x10\x00" + LONG,
    ],
    ids=["an element", "in a sequence", "before the data set", "the transfer syntax"],
)
def test_a_length_that_lies_allocates_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content + bytes(1000))

    tracemalloc.start()
    with pytest.raises(RecordingError):
        open_recording(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 2_000_000


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damage_anywhere_is_a_recording_error(tmp_path: Path, data: st.DataObject) -> None:
    encoding: Encoding = data.draw(st.sampled_from(["raw", "rle", "jpeg"]))
    content = bytearray(damaged_source(tmp_path, encoding))
    header_end = 2_000
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, header_end))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.dcm"
    path.write_bytes(content)

    outcome = read_or_refuse(path)

    if isinstance(outcome, RecordingError):
        assert "SIMULATED" not in outcome.detail
    else:
        region = outcome.region
        shape = (region.y1 - region.y0, region.x1 - region.x0)
        assert all(screen.shape == shape for screen in outcome.screens())


def read_or_refuse(path: Path) -> Recording | RecordingError:
    try:
        recording = open_recording(path)
        for _ in recording.screens():
            pass
    except RecordingError as error:
        return error
    return recording


_SOURCES: dict[str, bytes] = {}


def damaged_source(folder: Path, encoding: Encoding) -> bytes:
    if encoding not in _SOURCES:
        _SOURCES[encoding] = write(folder, encoding).read_bytes()
    return _SOURCES[encoding]


def test_nothing_is_printed_about_a_strange_file(tmp_path: Path) -> None:
    def edit(data_set: Dataset) -> None:
        data_set.SpecificCharacterSet = "MOUSE^MICKEY"
        data_set.StudyInstanceUID = "MOUSE^MICKEY"

    path = write(tmp_path, edit=edit)
    code = (
        "import logging, sys, pathlib; logging.basicConfig(level=logging.DEBUG);"
        "from app.pipeline.dicom import open_recording;"
        "print(open_recording(pathlib.Path(sys.argv[1])).info.frames)"
    )
    done = subprocess.run(  # the interpreter's own filters, not pytest's
        [sys.executable, "-W", "error", "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "3\n"
    assert "MOUSE" not in done.stderr
    assert "pydicom" not in done.stderr
