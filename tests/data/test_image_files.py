import logging
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from skimage.filters import threshold_otsu

from bimonn_jax.data.image_files import (
    SUFFIXES,
    Reading,
    check_distinct,
    image_files,
    read_gray,
    read_resolution,
    write_image,
)

GRAY = np.arange(12 * 7, dtype=np.uint8).reshape(12, 7) * 3


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff", "pgm", "bmp"])
def test_gray_levels_survive_every_format(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GRAY).save(path)
    np.testing.assert_array_equal(read_gray(path), GRAY)
    assert read_gray(path).dtype == np.float32


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_that_is_taken_from_a_folder_is_read(suffix, tmp_path):
    Image.init()
    file_format = Image.registered_extensions().get(suffix)
    if file_format not in Image.SAVE or file_format == "PSD":
        pytest.skip(f"this Pillow writes no {suffix}")
    # Blocks, for formats that lose some.
    picture = np.kron(GRAY[:4, :4] > 30, np.full((16, 16), 255)).astype(np.uint8)
    image = Image.fromarray(picture)
    kind = {"QOI": "RGB", "AVIF": "RGB", "WEBP": "RGB"}.get(file_format, "L")
    if suffix in (".pbm", ".pfm"):
        kind = {".pbm": "1", ".pfm": "F"}[suffix]
    image.convert(kind).save(tmp_path / f"a{suffix}", format=file_format)
    ((stem, path),) = image_files(tmp_path).items()
    assert stem == "a"
    np.testing.assert_allclose(read_gray(path), picture, atol=8)


@pytest.mark.parametrize("suffix", ["png", "tif", "pbm", "bmp"])
def test_bits_survive_every_format(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    write_image(path, GRAY > 99)
    np.testing.assert_array_equal(read_gray(path), np.where(GRAY > 99, 255, 0))


def test_colors_depth_and_transparency(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.stack([GRAY] * 3, axis=-1)).save(path)
    np.testing.assert_allclose(read_gray(path), GRAY, atol=1)
    Image.fromarray(GRAY.astype(np.uint16) * 257).save(path)
    np.testing.assert_allclose(read_gray(path), GRAY)
    # 16 bits in a PGM too, big-endian.
    deep = (GRAY.astype(">u2") * 257).tobytes()
    (tmp_path / "a.pgm").write_bytes(b"P5 7 12 65535\n" + deep)
    np.testing.assert_allclose(read_gray(tmp_path / "a.pgm"), GRAY)
    Image.fromarray(GRAY).save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_allclose(read_gray(tmp_path / "a.jpg"), GRAY, atol=4)
    # Black, but transparent: the paper shows.
    Image.fromarray(np.zeros((3, 3, 4), np.uint8)).save(path)
    np.testing.assert_array_equal(read_gray(path), np.full((3, 3), 255))
    Image.fromarray(np.full((3, 3), 0.5, np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_gray(tmp_path / "a.tif"), np.full((3, 3), 0.5))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_pictures_that_a_tag_turns_are_turned(suffix, tmp_path):
    upright, path = (
        np.kron(GRAY > 120, np.full((8, 8), 255)).astype(np.uint8),
        tmp_path / f"a.{suffix}",
    )
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned clockwise by a quarter to be looked at.
    # Pillow 13 garbles such TIFF files where they are not compressed.
    options = {"compression": "tiff_lzw"} if suffix == "tif" else {}
    Image.fromarray(np.rot90(upright)).save(path, exif=exif, **options)
    np.testing.assert_allclose(read_gray(path), upright, atol=8)


def test_what_is_no_image_is_named(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"a\.png is not a readable image"):
        read_gray(path)
    Image.fromarray(GRAY).save(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"a\.png is not a readable image"):
        read_gray(path)
    with pytest.raises(FileNotFoundError):
        read_gray(tmp_path / "none.png")
    pages = [Image.fromarray(GRAY)] * 2
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="it holds 2 images: give each its own file"):
        read_gray(tmp_path / "a.tif")
    Image.fromarray(np.full((3, 3), 300.0, np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(ValueError, match="scale them to 0 to 255"):
        read_gray(tmp_path / "b.tif")


def test_pictures_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(GRAY).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(ValueError, match=r"a\.png is not a readable image.*exceeds limit"):
        read_gray(path)
    # Text that unpacks to much more than the file.
    monkeypatch.undo()
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "x" * 10**7, zip=True)
    Image.fromarray(GRAY).save(path, pnginfo=info)
    with pytest.raises(ValueError, match=r"a\.png is not a readable image"):
        read_gray(path)


def test_writing_replaces_nothing_silently_and_leaves_no_parts(tmp_path):
    path = tmp_path / "a.png"
    write_image(path, GRAY > 99)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_image(path, GRAY > 9)
    np.testing.assert_array_equal(read_gray(path) > 0, GRAY > 99)
    write_image(path, GRAY > 9, overwrite=True)
    np.testing.assert_array_equal(read_gray(path) > 0, GRAY > 9)
    with pytest.raises(ValueError, match="image must be bool"):
        write_image(tmp_path / "b.png", GRAY)
    with pytest.raises(ValueError, match="unknown ending"):
        write_image(tmp_path / "b.what", GRAY > 9)
    with pytest.raises(ValueError, match="unknown ending"):
        write_image(tmp_path / "b.jpg", GRAY > 9)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_thresholds_and_foreground():
    gray = np.array([[0.0, 100.0, 200.0]])
    assert Reading(100).to_bits(gray).tolist() == [[True, True, False]]
    assert Reading(100, "light").to_bits(gray).tolist() == [[False, False, True]]
    two = np.where(np.arange(100).reshape(10, 10) % 7 == 0, 30.0, 180.0) + GRAY[:10, :1] / 9
    np.testing.assert_array_equal(Reading().to_bits(two), two <= threshold_otsu(two))
    # Bright on the left, dim on the right, with ink on both: only a local threshold sees it all.
    shade = np.linspace(250, 60, 200)[None].repeat(60, axis=0)
    ink = np.zeros_like(shade, bool)
    ink[20:40:5, 5:195:9] = True
    page = np.where(ink, shade - 40, shade)
    # At the edge the gradient itself is as large as the offset.
    np.testing.assert_array_equal(Reading("local").to_bits(page)[:, :195], ink[:, :195])
    assert (Reading("otsu").to_bits(page) != ink)[:, :195].any()


def test_a_blank_page_has_no_ink():
    for level in (0, 255):
        blank = np.full((9, 9), float(level))
        assert Reading("otsu").to_bits(blank).all() == (level == 0)
        assert Reading("local").to_bits(blank).all() == (level == 0)


def test_bits_are_taken_as_they_are():
    """A local threshold would see light inside of a large black area."""
    black = np.zeros((200, 200), bool)
    black[40:160, 40:160] = True
    for low, high in ((0, 255), (30, 40), (0, 1)):
        gray = np.where(black, float(low), float(high))
        for threshold in ("local", "otsu"):
            np.testing.assert_array_equal(Reading(threshold).to_bits(gray), black)


def test_pictures_are_the_inverse_of_bits():
    bits = GRAY > 99
    for foreground in ("dark", "light"):
        reading = Reading(127, foreground)
        picture = np.where(reading.to_picture(bits), 255.0, 0.0)
        np.testing.assert_array_equal(reading.to_bits(picture), bits)


def test_gray_input_counts_the_foreground_upwards():
    gray = GRAY.astype(np.float32)
    np.testing.assert_array_equal(Reading(gray=True).to_input(gray), 255 - gray)
    np.testing.assert_array_equal(Reading("otsu", "light", True).to_input(gray), gray)
    assert Reading().to_input(gray).dtype == bool


def test_a_reading_can_be_saved_and_nonsense_is_refused():
    reading = Reading(77.5, "light", True)
    assert Reading.from_json(reading.to_json()) == reading
    good = reading.to_json()
    for change in ({"gray": 1}, {"threshold": None}, {"threshold": "mean"}, {"foreground": "red"}):
        with pytest.raises(ValueError, match=r"threshold|foreground|ill-typed"):
            Reading.from_json(good | change)
    with pytest.raises(ValueError, match="were expected"):
        Reading.from_json([1])
    for wrong in (True, -1, 256.0, float("nan"), "mean"):
        with pytest.raises(ValueError, match="threshold must be a gray level of 0 to 255 or one"):
            Reading(wrong)


def test_images_are_found_by_stem(tmp_path):
    for name in ("b.png", "a.TIF", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert list(image_files(tmp_path)) == ["a", "b"]
    assert image_files(tmp_path / "b.png") == {"b": tmp_path / "b.png"}
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds a\.TIF and a\.png"):
        image_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder or image file"):
        image_files(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        image_files(tmp_path / "empty")


def test_what_is_left_out_of_a_folder_is_named(tmp_path, caplog):
    for name in ("a.webp", "b.JFIF", "notes.txt", "scan.heic", ".b.png", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "more.png").mkdir()
    with caplog.at_level(logging.WARNING):
        assert list(image_files(tmp_path)) == ["a", "b"]
    (record,) = caplog.records
    named = record.getMessage().removeprefix(f"left out of {tmp_path}: ")
    assert named == f".b.png, more.png{os.sep}, notes.txt, scan.heic"
    caplog.clear()
    for index in range(30):
        (tmp_path / f"{index}.txt").write_bytes(b"")
    image_files(tmp_path)
    assert caplog.text.rstrip().endswith("and 14 more")


def test_accents_may_be_encoded_in_two_ways(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD"))
    (tmp_path / f"{apart}.png").write_bytes(b"")
    if (tmp_path / f"{composed}.png").exists():
        pytest.skip("this file system takes both for one")
    found = image_files(tmp_path)
    assert list(found) == [composed]
    # The file is the one that is there.
    assert found[composed].exists()
    (tmp_path / f"{composed}.png").write_bytes(b"")
    with pytest.raises(ValueError, match="must be unique"):
        image_files(tmp_path)


@pytest.mark.parametrize(
    ("first", "second"),
    [("a.png", "A.tif"), ("Größe.png", "GRÖSSE.png"), ("\u00e9.png", "E\u0301.png")],
)
def test_results_that_would_be_one_file_on_some_system_are_refused(first, second):
    with pytest.raises(ValueError, match=f"{first} and {second} would be written to one file"):
        check_distinct([Path("b.png"), Path(first), Path(second)])
    check_distinct([Path(first), Path("b") / "ab.png"])


def test_the_home_folder_is_found_by_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_image("~/a.png", GRAY > 99, resolution=(300, 150))
    assert (tmp_path / "a.png").exists()
    np.testing.assert_array_equal(read_gray("~/a.png") > 0, GRAY > 99)
    np.testing.assert_allclose(read_resolution("~/a.png"), (300, 150), atol=0.02)
    assert image_files("~") == {"a": tmp_path / "a.png"} == image_files("~/a.png")
    assert not Path("~").exists()


@pytest.mark.parametrize(
    ("suffix", "kept"), [("png", True), ("tif", True), ("bmp", True), ("pbm", False)]
)
def test_the_resolution_is_kept_where_the_format_has_a_place_for_it(suffix, kept, tmp_path):
    path = tmp_path / f"a.{suffix}"
    write_image(path, GRAY > 99, resolution=(204.0, 98.0))
    found = read_resolution(path)
    if kept:
        np.testing.assert_allclose(found, (204, 98), atol=0.02)
    else:
        assert found is None
