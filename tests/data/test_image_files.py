from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import AppendingTiffWriter
from skimage.filters import threshold_otsu

from bimonn_jax.data.image_files import (
    SUFFIXES,
    Picture,
    Reading,
    read_gray,
    read_pages,
    read_resolution,
    write_image,
    writing_pages,
)
from bimonn_jax.data.image_folders import image_files

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
    with pytest.raises(ValueError, match=r"a\.tif holds several pages: `read_pages` reads them"):
        read_gray(tmp_path / "a.tif")
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=[Image.fromarray(255 - GRAY)])
    with pytest.raises(ValueError, match="it holds 2 images: give each its own file, or make th"):
        read_gray(tmp_path / "a.gif")
    Image.fromarray(np.full((3, 3), 300.0, np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(ValueError, match="scale them to 0 to 255"):
        read_gray(tmp_path / "b.tif")


def test_pictures_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(GRAY).save(path)
    for bound in (50, 25):  # Pillow warns of twice as many, and refuses more.
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", bound)
        with pytest.raises(ValueError, match=r"a\.png is not read.*exceeds limit.*max_megapixels"):
            read_gray(path)
        np.testing.assert_array_equal(read_gray(path, max_pixels=84), GRAY)
        with pytest.raises(ValueError, match="exceeds limit of 83 pixels"):
            read_gray(path, max_pixels=83)
        assert bound == Image.MAX_IMAGE_PIXELS
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


def save_pages(path, pages, **options):
    """Pages as another program writes them: each (Pillow image, its own options)."""
    with AppendingTiffWriter(path, new=True) as file:
        for image, own in pages:
            image.save(file, format="TIFF", **options, **own)
            file.newFrame()


def test_pages_are_read_one_by_one_with_what_each_tells(tmp_path):
    """Pages of several sizes and kinds, one of them white where it is 0, a preview between."""
    path, bits = tmp_path / "a.tif", Image.fromarray(GRAY > 99)
    colors = Image.fromarray(np.stack([GRAY] * 3, axis=-1))
    deep = Image.fromarray(GRAY.astype(np.uint16)[:5] * 257)
    save_pages(
        path,
        [
            (bits, {"compression": "group4", "dpi": (300, 300)}),
            (bits.resize((3, 3)), {"tiffinfo": {254: 1}}),
            (Image.fromarray(255 - GRAY), {"compression": "tiff_lzw", "tiffinfo": {262: 0}}),
            (colors, {"compression": "tiff_adobe_deflate", "dpi": (204, 98)}),
            (deep, {}),
        ],
    )
    pages = list(read_pages(path))
    assert [page.compression for page in pages] == [
        "group4", "tiff_lzw", "tiff_adobe_deflate", "raw"
    ]  # fmt: skip
    expected = np.where(GRAY > 99, 255, 0), 255 - GRAY, GRAY, GRAY[:5]
    for page, levels in zip(pages, expected, strict=True):
        np.testing.assert_allclose(page.pixels, levels, atol=1e-4)
    dots = [page.resolution for page in pages]
    assert dots[1] is dots[3] is None
    np.testing.assert_allclose([dots[0], dots[2]], [(300, 300), (204, 98)], atol=0.02)


def tags_of(path):
    """(size, bits, compression, dots per inch) of each page, as Pillow reads them."""
    with Image.open(path) as image:
        for page in range(image.n_frames):
            image.seek(page)
            tags = image.tag_v2
            yield image.size, tags.get(258, (1,)), image.info["compression"], tags.get(282)


KEPT = "group3", "group4", "tiff_ccitt", "tiff_lzw", "tiff_adobe_deflate", "packbits", "raw"


def test_pages_are_written_with_their_compression_and_resolution(tmp_path):
    path, rng = tmp_path / "a.tif", np.random.default_rng(0)
    pages = [
        Picture(rng.random((20 + n, 17)) < 0.5, (100.0 + n, 200.0), compression)
        for n, compression in enumerate([*KEPT, "jpeg", None])
    ]
    with writing_pages(path) as write:
        for page in pages:
            write(page)
        assert not path.exists()
    assert list(tags_of(path)) == [
        ((17, 20 + n), (1,), compression, 100 + n)
        for n, compression in enumerate([*KEPT, "group4", "group4"])
    ]
    for page, found in zip(pages, read_pages(path), strict=True):
        np.testing.assert_array_equal(found.pixels, np.where(page.pixels, 255, 0))
    write_image(tmp_path / "b.tif", GRAY > 99, compression="tiff_lzw")
    assert [tags[2] for tags in tags_of(tmp_path / "b.tif")] == ["tiff_lzw"]


def write_pages(path, *pages):
    with writing_pages(path) as write:
        for page in pages:
            write(page)


def test_what_is_not_written_to_its_end_is_not_there(tmp_path):
    page = Picture(GRAY > 99)
    with pytest.raises(ValueError, match=r"a\.png would hold several pages: only a TIFF can"):
        write_pages(tmp_path / "a.png", page, page)
    with pytest.raises(ValueError, match="image must be bool"):
        write_pages(tmp_path / "a.tif", page, Picture(GRAY))
    assert list(tmp_path.iterdir()) == []


def test_damaged_pages_are_named(tmp_path):
    path = tmp_path / "a.tif"
    pages = [(Image.fromarray(GRAY), {}), (Image.fromarray(np.full((3, 3), 300.0, np.float32)), {})]
    save_pages(path, pages)
    found = read_pages(path)
    np.testing.assert_array_equal(next(found).pixels, GRAY)
    with pytest.raises(ValueError, match=r"a\.tif, page 2 is not a readable image: its values"):
        next(found)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"a\.tif.* is not a readable image"):
        list(read_pages(path))
