"""An exported model's first step against preprocessing itself, file by file."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from manylabel.deploy.stored import stored_jpeg
from manylabel.preprocessing.pictures.images import store
from manylabel.storage.image_policy import Resampling

pytestmark = pytest.mark.slow

LARGE = ["large.jpg", "large.png", "large on its side.jpg", "large translucent.png"]
RECODED = [
    "on its side.jpg",
    "translucent.png",
    "palette.png",
    "opaque 4 bits.png",
    "16 bits.png",
    "progressive.jpg",
    "cmyk.jpg",
]


@pytest.fixture(scope="module")
def traced(policy):
    return tf.function(
        lambda encoded: stored_jpeg(encoded, policy),
        input_signature=[tf.TensorSpec([], tf.string)],
    )


@pytest.fixture(scope="module")
def graph(traced):
    """graph(file): the JPEG of a file that is not refused."""

    def stored(data):
        encoded, fault = traced(data)
        assert fault.numpy() == b""
        return encoded.numpy()

    return stored


@pytest.fixture(scope="module")
def fault(traced):
    """fault(file): why it is refused."""

    def refused(data):
        encoded, fault = traced(data)
        assert encoded.numpy() == b""
        return fault.numpy().decode()

    return refused


def pixels_of(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"), np.float64)


def test_what_is_stored_as_it_is_stays_as_it_is(graph, originals, stored):
    kept = [name for name, data in originals.items() if data == stored[name]]
    assert len(kept) >= 15
    for name in kept:
        assert graph(originals[name]) == originals[name]


def test_what_is_stored_stays_as_it_is(graph, stored):
    for encoded in stored.values():
        assert graph(encoded) == encoded


@pytest.mark.parametrize("name", RECODED)
def test_what_only_changes_its_form_has_the_stored_pixels(graph, originals, stored, name):
    np.testing.assert_array_equal(pixels_of(graph(originals[name])), pixels_of(stored[name]))


@pytest.mark.parametrize("name", LARGE)
def test_what_is_reduced_has_nearly_the_stored_pixels(graph, policy, originals, stored, name):
    """Pillow decodes a large JPEG, and shrinks a large picture, in two steps."""
    ours, theirs = pixels_of(graph(originals[name])), pixels_of(stored[name])
    assert ours.shape == theirs.shape
    assert min(ours.shape[:2]) == policy.short_side_limit
    assert np.abs(ours - theirs).mean() < 1.5


@pytest.mark.parametrize("name", LARGE)
def test_the_exported_model_reduces_as_the_dataset_did(policy, originals, name):
    """The fine stripes of these pictures come out otherwise with another method."""
    policy = policy.model_copy(update={"resampling": Resampling.AREA})
    theirs = pixels_of(store(originals[name], policy).encoded)
    ours = pixels_of(stored_jpeg(tf.constant(originals[name]), policy)[0].numpy())
    assert ours.shape == theirs.shape
    lanczos = policy.model_copy(update={"resampling": Resampling.LANCZOS})
    others = pixels_of(store(originals[name], lanczos).encoded)
    assert np.abs(ours - theirs).mean() < 0.6 * np.abs(ours - others).mean()


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("after_jfif", [True, False])
def test_every_exif_orientation_is_turned_upright(graph, oriented, byte_order, after_jfif):
    for orientation in range(10):  # 0 and 9 mean nothing
        encoded = oriented(orientation, byte_order)
        assert encoded[3] == 0xE0
        assert (b"II*\0" if byte_order == "<" else b"MM\0*") in encoded
        if not after_jfif:  # as cameras write it
            encoded = encoded[:2] + encoded[4 + int.from_bytes(encoded[4:6], "big") :]
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded)))
        ours = pixels_of(graph(encoded))
        assert ours.shape == (upright.height, upright.width, 3)
        # The parts of the test picture differ by a hundred levels.
        assert np.abs(ours - np.asarray(upright, np.float64)).mean() < 4, orientation


def test_other_metadata_is_no_orientation(graph, originals):
    plain = originals["small0.jpg"]
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + b"\x01\x12" * 40
    for body in (xmp, b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b""):
        segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
        encoded = plain[:2] + segment + plain[2:]
        assert graph(encoded) == encoded


def png_header(width, height):
    """A PNG that ends after its header: decoding it is another error than the one expected."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + zlib.crc32(header).to_bytes(4, "big")


def jpeg_header(width, height):
    """A JPEG that ends where its pixels begin, of the size given."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    data = file.getvalue()
    size = data.index(b"\xff\xc0") + 5
    data = data[:size] + struct.pack(">HH", height, width) + data[size + 4 :]
    return data[: data.index(b"\xff\xda") + 14]


@pytest.mark.parametrize("header", [png_header, jpeg_header])
def test_too_many_pixels_are_refused_before_they_are_decoded(graph, fault, header):
    expected = "expected 1 to 400000 pixels, received height and width 1000 401"
    assert fault(header(401, 1000)) == expected
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?i)invalid"):
        graph(header(400, 1000))


@pytest.mark.parametrize("side", [65_501, 2**31, 2**32 - 1])
def test_sides_that_a_jpeg_cannot_have_are_refused(fault, side):
    """Their product overflows, too."""
    assert fault(png_header(side, side)) == (
        f"expected sides of at most 65500 pixels, received height and width {side} {side}"
    )


def test_too_many_bytes_are_refused(graph, fault, originals):
    padded = originals["small0.jpg"].ljust(400_001, b"\0")
    assert fault(padded) == "expected a file of at most 400000 bytes, received 400001"
    assert graph(padded[:-1]) == padded[:-1]


@pytest.mark.parametrize("format_", ["GIF", "BMP", "WEBP", "TIFF"])
def test_another_format_is_refused_by_name_of_the_accepted_ones(fault, format_):
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, format_)
    assert fault(file.getvalue()).startswith("expected the bytes of a JPEG or PNG file")


@pytest.mark.parametrize("data", [b"", b"\xff", b"<svg/>", "größer".encode()])
def test_what_is_no_image_is_refused_by_name_of_the_accepted_ones(fault, data):
    assert fault(data).startswith("expected the bytes of a JPEG or PNG file")


@pytest.mark.parametrize("name", ["large.jpg", "large.png"])
def test_damage_is_an_error(graph, originals, name):
    with pytest.raises(tf.errors.InvalidArgumentError, match="Invalid"):
        graph(originals[name][:2000])
