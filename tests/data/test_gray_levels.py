"""Files are written byte by byte here, or by Pillow, and looked at as a viewer would."""

import struct
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms

from bimonn_jax.data.image_files import read_gray, read_resolution

# All that 4 bits can say, unlike itself when turned.
LEVELS = np.arange(48).reshape(6, 8) % 16
SHOWN = LEVELS * 17.0


def tiff(*pages, order="<"):
    """A TIFF file of pages (pixels as bytes, tags by number), uncompressed, of a byte order."""
    file, link = bytearray(struct.pack(f"{order}2sHI", {"<": b"II", ">": b"MM"}[order], 42, 0)), 4
    for data, tags in pages:
        tags = {259: 1, 273: len(file), 279: len(data)} | tags
        file += data + b"\0" * (len(data) % 2)
        entries = b""
        for tag, values in sorted(tags.items()):
            values = values if isinstance(values, tuple) else (values,)
            packed = struct.pack(f"{order}{len(values)}H", *values)
            if len(packed) > 4:
                place = struct.pack(f"{order}I", len(file))
                file += packed
            else:
                place = packed.ljust(4, b"\0")
            entries += struct.pack(f"{order}HHI", tag, 3, len(values)) + place
        file[link : link + 4] = struct.pack(f"{order}I", len(file))
        file += struct.pack(f"{order}H", len(entries) // 12) + entries
        link = len(file)
        file += b"\0\0\0\0"
    return bytes(file)


def in_bits(values, bits):
    """Rows of whole numbers of so many bits, the highest bit first, each row filled to bytes."""
    digits = values[..., None] >> np.arange(bits)[::-1] & 1
    return np.packbits(digits.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def page(values, bits, *, photometric=1, **tags):
    """A page of a TIFF; values (H, W) or (H, W, channels), other tags as t254=1."""
    height, width, channels = (*values.shape, 1)[:3]
    if values.dtype.kind == "f" or bits in (16, 32):
        data = values.astype(f"<{values.dtype.kind}{bits // 8}").tobytes()
    else:
        data = in_bits(values.reshape(height, -1), bits)
    described = {
        256: width, 257: height, 258: (bits,) * channels, 262: photometric, 277: channels,
        278: height,
    }  # fmt: skip
    return data, described | {int(name[1:]): value for name, value in tags.items()}


def png(values, bits, color_type, *chunks):
    """A PNG file of whole numbers (H, W, ...); chunks (type, data) stand before the pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    rows = np.frombuffer(in_bits(values.reshape(height, -1), bits), np.uint8).reshape(height, -1)
    pixels = zlib.compress(np.pad(rows, [(0, 0), (1, 0)]).tobytes())
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def read(data, tmp_path, name="a"):
    path = tmp_path / name
    path.write_bytes(data)
    return read_gray(path)


def scaled(bits):
    """`LEVELS` from 0 to all that so many bits can say; their shown levels."""
    full = 2**bits - 1
    values = LEVELS * full // 15
    return values, values * 255 / full


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_levels_of_every_depth_reach_from_black_to_white(bits, tmp_path):
    values, shown = scaled(bits)
    np.testing.assert_array_equal(read(tiff(page(values, bits)), tmp_path), np.float32(shown))
    if bits != 12:
        found = read(png(values, bits, 0), tmp_path)
        np.testing.assert_array_equal(found, np.float32(shown))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_white_may_be_zero_at_every_depth(bits, tmp_path):
    values, shown = scaled(bits)
    inverse = 2**bits - 1 - values
    found = read(tiff(page(inverse, bits, photometric=0)), tmp_path)
    np.testing.assert_array_equal(found, np.float32(shown))


def test_floating_point_is_taken_as_it_is_and_may_be_white_at_zero(tmp_path):
    values = SHOWN.astype(np.float32) / 3
    for photometric, expected in ((1, values), (0, 255 - values)):
        found = read(tiff(page(values, 32, photometric=photometric, t339=3)), tmp_path)
        np.testing.assert_array_equal(found, expected)


def test_whole_numbers_of_32_bits_and_signed_ones_are_taken_as_they_are(tmp_path):
    signed = {"t339": 2}
    for bits, tags in ((32, {}), (32, signed), (16, signed), (8, signed)):
        found = read(tiff(page(LEVELS, bits, **tags)), tmp_path)
        np.testing.assert_array_equal(found, LEVELS)
        beyond = LEVELS - 1 if tags else LEVELS + 250
        with pytest.raises(ValueError, match=r"its values reach .*: scale them to 0 to 255"):
            read(tiff(page(beyond, bits, **tags)), tmp_path)


def test_compressed_files_are_read_alike(tmp_path):
    path = tmp_path / "a.tif"
    deep = Image.fromarray((LEVELS * 4369).astype(np.uint16))
    for photometric, expected in ((1, SHOWN), (0, 255 - SHOWN)):
        deep.save(path, compression="tiff_lzw", tiffinfo={262: photometric})
        np.testing.assert_array_equal(read_gray(path), expected)


# Which side of the picture the first row and the first column of a file show (TIFF 6.0, tag 274).
SIDES = {
    1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
    5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
}  # fmt: skip


@pytest.mark.parametrize("orientation", SIDES)
def test_pictures_are_turned_as_their_tag_says_at_every_depth(orientation, tmp_path):
    row, column = SIDES[orientation]
    stored = LEVELS.T if row in ("left", "right") else LEVELS
    stored = stored[::-1] if row in ("right", "bottom") else stored
    stored = stored[:, ::-1] if column in ("right", "bottom") else stored
    for bits, scale in ((8, 17), (16, 4369)):
        data, tags = page(stored * scale, bits, t274=orientation)
        highest_first = np.frombuffer(data, f"<u{bits // 8}").byteswap().tobytes()
        for file in (tiff((data, tags)), tiff((highest_first, tags), order=">")):
            np.testing.assert_array_equal(read(file, tmp_path), SHOWN)
        exif = b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0" + struct.pack("<II", orientation, 0)
        found = read(png(stored * scale, bits, 0, (b"eXIf", exif)), tmp_path)
        np.testing.assert_array_equal(found, SHOWN)


def luminance(colors):
    return np.asarray(colors, float) @ [0.299, 0.587, 0.114]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_are_looked_up_and_may_be_transparent(bits, tmp_path):
    colors = np.random.default_rng(bits).integers(0, 256, (2**bits, 3))
    index = LEVELS % 2**bits
    palette = b"PLTE", colors.astype(np.uint8).tobytes()
    found = read(png(index, bits, 3, palette), tmp_path)
    np.testing.assert_allclose(found, luminance(colors[index]), atol=0.6)
    found = read(png(index, bits, 3, palette, (b"tRNS", b"\0\x80")), tmp_path)
    shown = luminance(colors)
    shown[:2] = 255, 255 - (255 - shown[1]) * 128 / 255
    np.testing.assert_allclose(found, shown[index], atol=1.1)
    # In a TIFF all reds come first, of 16 bits.
    table = tuple(int(part) for part in (colors * 257).T.ravel())
    found = read(tiff(page(index, bits, photometric=3, t320=table)), tmp_path)
    np.testing.assert_allclose(found, luminance(colors[index]), atol=0.6)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_one_level_of_gray_may_be_transparent(bits, tmp_path):
    values, shown = scaled(bits)
    key = int(values[0, 7])
    found = read(png(values, bits, 0, (b"tRNS", struct.pack(">H", key))), tmp_path)
    np.testing.assert_array_equal(found, np.where(values == key, 255, np.float32(shown)))


@pytest.mark.parametrize("bits", [8, 16])
def test_one_color_may_be_transparent(bits, tmp_path):
    values, shown = scaled(bits)
    colors = np.stack([values, 0 * values, values], axis=-1)
    key = struct.pack(">HHH", *colors[0, 3])
    found = read(png(colors, bits, 2, (b"tRNS", key)), tmp_path)
    expected = np.where(LEVELS == 3, 255, luminance(np.stack([shown, 0 * shown, shown], axis=-1)))
    np.testing.assert_allclose(found, expected, atol=0.6)


def test_pixels_may_be_transparent_in_part(tmp_path):
    alpha = LEVELS[::-1] * 17
    expected = 255 - (255 - SHOWN) * alpha / 255
    both = np.stack([LEVELS * 17, alpha], axis=-1)
    colors = np.stack([LEVELS * 17] * 3 + [alpha], axis=-1)
    for data in (
        png(both, 8, 4),
        png(both * 257, 16, 4),
        png(colors, 8, 6),
        png(colors * 257, 16, 6),
        tiff(page(both, 8, t338=2)),
        tiff(page(colors, 8, photometric=2, t338=2)),
    ):
        np.testing.assert_allclose(read(data, tmp_path), expected, atol=1.1)
    # Multiplied by their transparency already; in gray since Pillow 13.
    both[..., :1] = np.round(both[..., :1] * alpha[..., None] / 255)
    colors = both[..., [0, 0, 0, 1]]
    files = [tiff(page(colors, 8, photometric=2, t338=1)), tiff(page(both, 8, t338=1))]
    for data in files if int(PIL.__version__.split(".")[0]) >= 13 else files[:1]:
        np.testing.assert_allclose(read(data, tmp_path), expected, atol=2)


def test_inks_are_subtracted_from_white(tmp_path):
    cyan, black = LEVELS * 17, LEVELS[::-1] * 8
    inks = np.stack([cyan, 0 * cyan, 0 * cyan, black], axis=-1)
    shown = luminance(np.stack([255 - cyan, 0 * cyan + 255, 0 * cyan + 255], axis=-1))
    expected = shown * (255 - black) / 255
    found = read(tiff(page(inks, 8, photometric=5)), tmp_path)
    np.testing.assert_allclose(found, expected, atol=1.5)
    # Adobe's JPEG files, and so all others, hold the inverse.
    large = np.kron(inks, np.ones((8, 8, 1), int)).astype(np.uint8)
    jpeg = Image.frombytes("CMYK", large.shape[1::-1], large.tobytes())
    jpeg.save(tmp_path / "a.jpg", quality=100)
    found = read_gray(tmp_path / "a.jpg")[4::8, 4::8]
    np.testing.assert_allclose(found, expected, atol=4)


def test_lightness_is_converted(tmp_path):
    # L* as bytes; a* and b* are 0. Its luminance is a cube above 8, linear below.
    lightness = 100 * SHOWN / 255
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    lab = np.stack([LEVELS * 17, 0 * LEVELS, 0 * LEVELS], axis=-1)
    found = read(tiff(page(lab, 8, photometric=8)), tmp_path)
    np.testing.assert_allclose(found, encoded(light), atol=2)


def encoded(light):
    """Linear light in 0 to 1 as the levels of sRGB (IEC 61966-2-1)."""
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def linear_profile(space):
    """A color profile of linear light, gray or of sRGB's primaries (ICC.1, section 8)."""

    def numbers(*values):
        return struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))

    white = b"XYZ \0\0\0\0" + numbers(0.9642, 1, 0.8249)
    straight = b"curv\0\0\0\0\0\0\0\0"
    tags = {b"wtpt": white}
    if space == b"GRAY":
        tags[b"kTRC"] = straight
    else:
        primaries = {
            b"r": (0.4361, 0.2225, 0.0139), b"g": (0.3851, 0.7169, 0.0971),
            b"b": (0.1431, 0.0606, 0.7141),
        }  # fmt: skip
        for color, xyz in primaries.items():
            tags[color + b"XYZ"] = b"XYZ \0\0\0\0" + numbers(*xyz)
            tags[color + b"TRC"] = straight
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data
    header = struct.pack(
        ">I4sI4s4s4s12s4s28s12s48s", 128 + len(table) + len(body), b"", 0x02100000, b"mntr", space,
        b"XYZ ", b"\x07\xd0\0\1\0\1", b"acsp", b"", numbers(0.9642, 1, 0.8249), b"",
    )  # fmt: skip
    return header + table + body


def test_color_profiles_are_applied_where_they_fit(tmp_path):
    expected = encoded(SHOWN / 255)
    gray, color = linear_profile(b"GRAY"), linear_profile(b"RGB ")
    rgb = np.stack([LEVELS * 17] * 3, axis=-1)

    def profile(data):
        return b"iCCP", b"p\0\0" + zlib.compress(data)

    for data in (
        png(LEVELS * 17, 8, 0, profile(gray)),
        png(LEVELS * 4369, 16, 0, profile(gray)),
        png(rgb, 8, 2, profile(color)),
        png(LEVELS * 17, 8, 3, profile(color), (b"PLTE", bytes(i // 3 for i in range(768)))),
        png(np.stack([LEVELS * 17, 0 * LEVELS + 255], axis=-1), 8, 4, profile(gray)),
    ):
        np.testing.assert_allclose(read(data, tmp_path), expected, atol=1.5)
    # Levels of 16 bits stay apart.
    near = np.array([[30000, 30001]])
    low, high = read(png(near, 16, 0, profile(gray)), tmp_path)[0]
    assert low < high
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for data in (
        png(rgb, 8, 2, profile(srgb)),
        # Of another color space, or damaged.
        png(LEVELS * 17, 8, 0, profile(color)),
        png(rgb, 8, 2, profile(gray)),
        png(rgb, 8, 2, profile(color[:200])),
    ):
        np.testing.assert_array_equal(read(data, tmp_path), SHOWN)


def test_a_camera_picture_is_read_without_its_preview(tmp_path):
    path = tmp_path / "a.jpg"
    picture = np.kron(SHOWN, np.ones((8, 8))).astype(np.uint8)
    small = Image.fromarray(picture[::4, ::4])
    Image.fromarray(picture).save(path, "MPO", save_all=True, append_images=[small], quality=100)
    np.testing.assert_allclose(read_gray(path), picture, atol=4)


def test_reduced_pages_and_masks_of_a_tiff_are_passed_over(tmp_path):
    main = page(LEVELS * 17, 8)
    half = LEVELS[::2, ::2] * 17
    beside = [
        page(half, 8, t254=1),
        page(half, 8, t255=2),
        page(LEVELS % 2, 1, photometric=4, t254=4),
        # Pixels of a kind that Pillow does not read.
        page(np.stack([half] * 2, axis=-1), 8, photometric=0, t254=1),
    ]
    for other in beside:
        for pages in ((main, other), (other, main), (other, main, other)):
            # What Pillow does not read it does not open where it comes first.
            if pages[0] is main or other in beside[:2]:
                np.testing.assert_array_equal(read(tiff(*pages), tmp_path), SHOWN)
    for pages in ((main, main), (main, beside[0], main), (beside[0], beside[1])):
        with pytest.raises(ValueError, match="holds several pages"):
            read(tiff(*pages), tmp_path)
    # A picture that says it is a reduced one is still the only one there is.
    np.testing.assert_array_equal(read(tiff(beside[0]), tmp_path), half)


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "avif"])
def test_animations_are_refused(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    Image.init()
    if path.suffix not in Image.registered_extensions():
        pytest.skip(f"this Pillow writes no {ending}")
    frames = [Image.fromarray(np.full((16, 16), level, np.uint8)) for level in (0, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="it holds 2 images: give each its own file"):
        read_gray(path)


def test_layers_are_read_as_they_are_shown_together(tmp_path):
    """A PSD file of two layers, and of the picture that they make (Adobe's specification)."""
    pixels = (LEVELS * 17).astype(np.uint8).tobytes()
    height, width = LEVELS.shape
    layer = struct.pack(">4IHhI", 0, 0, height, width, 1, 0, 2 + len(pixels))
    layer += b"8BIMnorm\xff\0\0\0" + struct.pack(">I", 12) + b"\0" * 12
    layers = struct.pack(">h", 2) + 2 * layer + 2 * (b"\0\0" + b"\0" * len(pixels))
    section = struct.pack(">I", len(layers)) + layers + b"\0\0\0\0"
    header = b"8BPS\0\1" + b"\0" * 6 + struct.pack(">HIIHH", 1, height, width, 8, 1)
    data = header + b"\0" * 8 + struct.pack(">I", len(section)) + section + b"\0\0" + pixels
    np.testing.assert_array_equal(read(data, tmp_path), SHOWN)


def test_what_pillow_does_not_read_is_named(tmp_path):
    # Gray and transparency of 16 bits.
    unknown = tiff(page(np.stack([LEVELS] * 2, axis=-1), 16, t338=2))
    with pytest.raises(ValueError, match=r"a is not a readable image: Pillow does not know"):
        read(unknown, tmp_path)


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "jpg"])
def test_the_resolution_is_turned_with_the_picture(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    picture, exif = Image.fromarray((LEVELS * 17).astype(np.uint8)), Image.Exif()
    picture.save(path, dpi=(204, 98))
    np.testing.assert_allclose(read_resolution(path), (204, 98), atol=0.02)
    if ending != "bmp":
        exif[274] = 6
        picture.save(path, dpi=(204, 98), exif=exif)
        np.testing.assert_allclose(read_resolution(path), (98, 204), atol=0.02)


def test_a_picture_may_have_no_resolution(tmp_path):
    path = tmp_path / "a"
    pixels_per_unit = b"pHYs", struct.pack(">IIB", 3, 2, 0)
    for data in (
        tiff(page(LEVELS * 17, 8)),
        png(LEVELS, 4, 0),
        png(LEVELS, 4, 0, pixels_per_unit),
        png(LEVELS, 4, 0, (b"pHYs", struct.pack(">IIB", 2**31 - 1, 1, 1))),
    ):
        path.write_bytes(data)
        assert read_resolution(path) is None
