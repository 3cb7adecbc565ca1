"""The image policy on images made here, and on real odd ones."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from manylabel.preprocessing.pictures.images import examine, store
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.storage.image_policy import ImageConfig

POLICY = ImageConfig(short_side_limit=32)


def encoded(image, format_, **options):
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def stored_pixels(data, policy=POLICY):
    stored = store(data, policy)
    image = Image.open(io.BytesIO(stored.encoded))
    assert image.format == "JPEG"
    assert (image.width, image.height) == (stored.width, stored.height)
    return np.asarray(image.convert("RGB")).astype(int)


def rejection(data, policy=POLICY):
    """The reason that both phases agree on."""
    with pytest.raises(ImageRejectedError) as first:
        examine(data, policy)
    with pytest.raises(ImageRejectedError) as second:
        store(data, policy)
    assert (first.value.reason, first.value.detail) == (second.value.reason, second.value.detail)
    return first.value.reason


def photo(width=48, height=40, mode="RGB"):
    """A smooth picture, so that JPEG changes it little."""
    y, x = np.mgrid[0:height, 0:width]
    channels = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)])
    return Image.fromarray(channels.transpose(1, 2, 0).astype(np.uint8)).convert(mode)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_each_format_is_read(format_):
    pixels = stored_pixels(encoded(photo(), format_), ImageConfig(short_side_limit=40))
    assert np.abs(pixels - np.asarray(photo())).mean() < 6


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_plain_jpeg_within_the_limit_keeps_its_bytes(mode):
    data = encoded(photo(mode=mode), "JPEG", quality=35)
    stored = store(data, ImageConfig(short_side_limit=40))
    assert stored.encoded == data
    assert (stored.width, stored.height) == (48, 40)


def turned(orientation, width=48, height=40):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(photo(width, height), "JPEG", exif=exif, quality=95)


@pytest.mark.parametrize(
    "data",
    [
        turned(3),
        encoded(photo(), "JPEG", progressive=True),
        encoded(photo(mode="CMYK"), "JPEG"),
        encoded(photo(80, 80), "JPEG"),
    ],
    ids=["turned", "progressive", "cmyk", "large"],
)
def test_a_jpeg_that_has_to_change_is_encoded_anew(data):
    assert store(data, ImageConfig(short_side_limit=40)).encoded != data


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda pixels: pixels),
        (2, lambda pixels: pixels[:, ::-1]),
        (3, lambda pixels: pixels[::-1, ::-1]),
        (4, lambda pixels: pixels[::-1]),
        (5, lambda pixels: pixels.transpose(1, 0, 2)),
        (6, lambda pixels: np.rot90(pixels, -1)),
        (7, lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda pixels: np.rot90(pixels, 1)),
        (9, lambda pixels: pixels),
    ],
)
def test_exif_orientation_is_applied(orientation, upright):
    pixels = stored_pixels(turned(orientation), ImageConfig(short_side_limit=40))
    expected = upright(np.asarray(photo()).astype(int))
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() < 4


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_turned_image_is_reduced_by_its_upright_sides(orientation):
    pixels = stored_pixels(turned(orientation, width=400, height=200))
    assert pixels.shape == ((32, 64, 3) if orientation == 1 else (64, 32, 3))


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
@pytest.mark.parametrize("exif", [b"not a TIFF header at all", b"MM\0*\0\0"])
def test_damaged_exif_does_not_cost_the_image(format_, exif):
    data = encoded(photo(), format_, exif=b"Exif\0\0" + exif)
    assert stored_pixels(data).shape == (32, 38, 3)


def translucent(mode):
    """A black square with alpha 0 outside and 255 inside."""
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 16, 32))
    return image.convert(mode)


@pytest.mark.parametrize(
    "data",
    [
        encoded(translucent("RGBA"), "PNG"),
        encoded(translucent("LA"), "PNG"),
        encoded(translucent("RGBA"), "WEBP", lossless=True, exact=True),
        encoded(translucent("RGBA").quantize(), "PNG"),
        encoded(Image.new("L", (32, 32), 0), "PNG", transparency=0),
    ],
    ids=["rgba", "grey+alpha", "webp", "palette", "transparent colour"],
)
def test_alpha_is_composited_on_white(data):
    pixels = stored_pixels(data)
    assert pixels[:, -8:].min() > 250


def test_opaque_pixels_keep_their_colour():
    pixels = stored_pixels(encoded(translucent("RGBA"), "PNG"))
    assert pixels[:, :8].max() < 5


def test_half_transparent_black_is_grey():
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 127))
    assert np.abs(stored_pixels(encoded(image, "PNG")) - 128).max() <= 1


def test_16_bit_grey_is_scaled():
    values = np.array([0, 1, 128, 257 * 100, 40000, 65535], dtype=np.uint16)
    image = Image.fromarray(np.repeat(np.repeat(values, 8)[None], 32, axis=0))
    pixels = stored_pixels(encoded(image, "PNG"), ImageConfig(jpeg_quality=95))
    assert np.abs(pixels[0, 3::8, 0] - [0, 0, 0, 100, 156, 255]).max() <= 4


def test_16_bit_grey_with_a_transparent_colour():
    image = Image.fromarray(np.full((32, 32), 1000, dtype=np.uint16))
    assert stored_pixels(with_transparent_grey(encoded(image, "PNG"), 1000)).min() == 255


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_with_a_transparent_colour(bits):
    """The colour is written as a sample of these bits, not as a grey of 255."""
    most = (1 << bits) - 1
    samples = np.repeat(np.repeat([[0, most - 1, most]], 32, axis=0), 16, axis=1)
    header = struct.pack(">IIBBBBB", samples.shape[1], 32, bits, 0, 0, 0, 0)
    digits = np.unpackbits(samples.astype(np.uint8)[..., np.newaxis], axis=2)[..., 8 - bits :]
    lines = np.packbits(digits.reshape(32, -1), axis=1)
    pixels = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    chunks = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", pixels), png_chunk(b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    shown = stored_pixels(with_transparent_grey(data, most - 1))[16, 8::16, 0]
    expected = [255 if bits == 1 else 0, 255, 255]
    assert np.abs(shown - expected).max() <= 6


def png_chunk(name, body):
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def with_transparent_grey(data, sample):
    at = data.index(b"IDAT") - 4
    return data[:at] + png_chunk(b"tRNS", struct.pack(">H", sample)) + data[at:]


@pytest.mark.parametrize("mode", ["1", "P", "L", "RGB"])
def test_other_modes_of_png(mode):
    assert stored_pixels(encoded(photo(mode=mode), "PNG")).shape == (32, 38, 3)


def test_cmyk_keeps_its_colours():
    image = Image.new("RGB", (32, 32), (200, 40, 90)).convert("CMYK")
    pixels = stored_pixels(encoded(image, "JPEG", quality=95))
    assert np.abs(pixels - [200, 40, 90]).max() <= 3


def test_the_first_frame_of_a_gif_is_taken():
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(stored_pixels(data) - [255, 0, 0]).max() <= 2


def test_the_short_side_is_limited_and_proportions_kept():
    assert stored_pixels(encoded(photo(200, 100), "PNG")).shape == (32, 64, 3)
    assert stored_pixels(encoded(photo(100, 150), "JPEG")).shape == (48, 32, 3)


def test_reducing_averages_instead_of_picking_pixels():
    y, x = np.mgrid[0:256, 0:256]
    checkerboard = Image.fromarray(((x + y) % 2 * 255).astype(np.uint8))
    pixels = stored_pixels(encoded(checkerboard, "PNG"))
    assert np.abs(pixels - 127.5).max() < 4


def test_nothing_is_enlarged():
    assert stored_pixels(encoded(photo(20, 16), "PNG")).shape == (16, 20, 3)


def test_reduced_decoding_looks_like_full_decoding():
    """A JPEG may be decoded at a fraction of its size; a PNG of the same pixels may not."""
    large = photo(1024, 768)
    data = encoded(large, "JPEG", quality=95)
    reduced = stored_pixels(data)
    full = stored_pixels(encoded(Image.open(io.BytesIO(data)), "PNG"))
    assert reduced.shape == full.shape == (32, 43, 3)
    assert np.abs(reduced - full).mean() < 2
    assert (
        np.unpackbits(np.frombuffer(examine(data, POLICY).perceptual_hash, np.uint8)) == 1
    ).sum() > 60


def test_quality_is_a_setting():
    data = encoded(photo(64, 64), "PNG")
    sizes = [len(store(data, ImageConfig(jpeg_quality=q)).encoded) for q in (20, 90)]
    assert sizes[0] < sizes[1]


def test_a_picture_that_was_not_fetched_says_so(lfs_pointer):
    with pytest.raises(ImageRejectedError, match="git lfs pull") as error:
        examine(lfs_pointer, POLICY)
    assert error.value.reason is RejectReason.NOT_AN_IMAGE


def cut(data):
    return data[: len(data) * 2 // 3]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello, I am text\n", RejectReason.NOT_AN_IMAGE),
        (encoded(photo(), "TIFF"), RejectReason.NOT_AN_IMAGE),
        (encoded(photo(), "JPEG")[:40], RejectReason.UNDECODABLE),
        (cut(encoded(photo(200, 200), "JPEG")), RejectReason.UNDECODABLE),
        (cut(encoded(photo(2000, 1500), "JPEG")), RejectReason.UNDECODABLE),
        (cut(encoded(photo(), "PNG")), RejectReason.UNDECODABLE),
        (cut(encoded(photo(), "BMP")), RejectReason.UNDECODABLE),
        (cut(encoded(photo(), "WEBP")), RejectReason.UNDECODABLE),
        (encoded(photo(60, 1024), "PNG"), RejectReason.TOO_LONG),
        (encoded(photo(7, 9), "PNG"), RejectReason.TOO_SMALL),
    ],
    ids=[
        "text",
        "tiff",
        "jpeg header",
        "jpeg",
        "large jpeg",
        "png",
        "bmp",
        "webp",
        "60x1024",
        "7x9",
    ],
)
def test_what_is_no_sound_image_is_rejected(data, reason):
    if reason is RejectReason.UNDECODABLE:
        # A short plain JPEG is stored without decoding: phase one is where damage is found.
        with pytest.raises(ImageRejectedError) as error:
            examine(data, POLICY)
        assert error.value.reason is reason
    else:
        assert rejection(data) is reason


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"max_pixels": 48 * 40 - 1}, RejectReason.TOO_MANY_PIXELS),
        ({"min_side": 41}, RejectReason.TOO_SMALL),
        ({"max_aspect_ratio": 1.19}, RejectReason.TOO_LONG),
    ],
)
def test_bounds_are_settings_and_closed(policy, reason):
    data = encoded(photo(48, 40), "PNG")
    assert rejection(data, ImageConfig(**policy)) is reason
    at_the_bound = {"max_pixels": 48 * 40, "min_side": 40, "max_aspect_ratio": 1.2}
    store(data, ImageConfig(**at_the_bound))


def png_of(width, height):
    """A PNG header with no pixels behind it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + b"\0\0\0\0"


@pytest.mark.parametrize("side", [8_000, 12_000, 100_000])
def test_size_is_judged_before_anything_is_decoded(side):
    """There are no pixels, so decoding would say "undecodable"; 12,000² is in Pillow's warning
    range, 100,000² beyond its limit."""
    assert rejection(png_of(side, side)) is RejectReason.TOO_MANY_PIXELS


class TestDifferenceHash:
    def bits(self, data):
        return np.unpackbits(np.frombuffer(examine(data, POLICY).perceptual_hash, dtype=np.uint8))

    def test_bits_say_which_neighbour_is_brighter(self):
        rising = Image.fromarray(np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1)))
        assert self.bits(encoded(rising, "PNG")).tolist() == [1] * 64
        flipped = rising.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        assert self.bits(encoded(flipped, "PNG")).tolist() == [0] * 64
        values = np.zeros((8, 9), dtype=np.uint8)
        values[2, 5] = 200
        bits = self.bits(encoded(Image.fromarray(values), "PNG"))
        assert np.flatnonzero(bits).tolist() == [2 * 8 + 4]

    def test_scale_format_and_quality_change_little(self):
        rng = np.random.default_rng(0)
        coarse = Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8))
        picture = coarse.resize((180, 160), Image.Resampling.BICUBIC)
        original = self.bits(encoded(picture, "PNG"))
        for other in (
            encoded(picture.resize((90, 80), Image.Resampling.BICUBIC), "PNG"),
            encoded(picture, "JPEG", quality=60),
            encoded(picture.convert("L"), "WEBP"),
        ):
            assert (self.bits(other) != original).sum() <= 3

    def test_pictures_that_differ_only_in_transparency_differ(self):
        assert self.bits(encoded(translucent("RGBA"), "PNG")).any()


@pytest.mark.parametrize("size", [65_533, 65_534])
@pytest.mark.parametrize("format_", ["GIF", "PNG"])
def test_comments_are_left_out(format_, size):
    options = {"comment": b"x" * size}
    if format_ == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("comment", "x" * size)
        options = {"pnginfo": text}
    data = encoded(photo(), format_, **options)
    assert len(store(data, POLICY).encoded) < 5000


def test_sides_that_a_jpeg_cannot_have_are_rejected():
    policy = ImageConfig(max_aspect_ratio=100_000, min_side=1)
    assert store(encoded(Image.new("L", (65_500, 1)), "PNG"), policy).width == 65_500
    too_long = encoded(Image.new("L", (65_501, 1)), "PNG")
    assert rejection(too_long, policy) is RejectReason.TOO_LONG


@pytest.mark.parametrize("limit", [20, 40])
def test_grey_of_16_bits_is_turned_too(limit):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = photo(mode="L")
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    pixels = stored_pixels(encoded(wide, "PNG", exif=exif), ImageConfig(short_side_limit=limit))
    size = (limit, round(48 * limit / 40))
    expected = np.asarray(grey.transpose(Image.Transpose.ROTATE_270).resize(size)).astype(int)
    assert np.abs(pixels - expected[..., None]).mean() < 6


class TestStoredBytes:
    def test_what_is_stored_as_it_is_is_known_exactly(self):
        data = encoded(photo(64, 30), "JPEG", quality=80)
        assert store(data, POLICY).encoded == data
        assert examine(data, POLICY).stored_bytes == len(data)

    def test_of_real_pictures_the_sum_is_right_within_a_factor_of_two(self, openclipart):
        """Shards have about the size that is asked for; clip art takes less than photographs."""
        policy = ImageConfig(short_side_limit=96)
        paths = sorted(openclipart.glob("images/*/*"))[::25]
        pictures = [path.read_bytes() for path in paths]
        estimated = sum(examine(data, policy).stored_bytes for data in pictures)
        stored = sum(len(store(data, policy).encoded) for data in pictures)
        assert len(pictures) > 200
        assert 0.5 < estimated / stored < 2

    def test_noise_takes_more_than_the_estimate_and_flat_colour_less(self):
        """What the estimate cannot know, so that nobody takes it for more than it is."""
        policy = ImageConfig(short_side_limit=320)
        noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
        for image, more in ((Image.fromarray(noise), True), (Image.new("RGB", (200, 200)), False)):
            data = encoded(image, "PNG")
            assert (len(store(data, policy).encoded) > examine(data, policy).stored_bytes) is more

    def test_the_reduced_size_counts(self):
        small, large = (encoded(photo(side, side), "PNG") for side in (32, 320))
        assert examine(small, POLICY).stored_bytes == examine(large, POLICY).stored_bytes
