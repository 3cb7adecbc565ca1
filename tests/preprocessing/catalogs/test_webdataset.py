"""Samples in tars, as those who publish them write them."""

import subprocess
import tarfile

import pytest

from manylabel.preprocessing.catalog_config import (
    CatalogConfig,
    CatalogFormat,
    HeldoutCatalogConfig,
)
from manylabel.preprocessing.catalogs import (
    catalog_digest,
    catalog_pieces,
    count_rows,
    detect_format,
    image_root,
    read_piece,
)
from manylabel.preprocessing.catalogs import webdataset as module
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.pictures.fetch import fetch
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.preprocessing.webdataset_config import WebDatasetConfig


def config_of(path, *, catalog=None, **settings):
    return CatalogConfig(path=str(path), webdataset=WebDatasetConfig(**settings), **catalog or {})


@pytest.fixture
def pairs(rows_of):
    """Image, label and confidence of each row."""

    def read(path, *, catalog=None, **settings):
        settings = {"webdataset": WebDatasetConfig(**settings)}
        return [row[:3] for row in rows_of(path, **settings, **catalog or {})]

    return read


@pytest.fixture
def refusal(tmp_path, write_tar):
    """What is said of a tar of these members."""

    def read(*members, catalog=None, **settings):
        path = write_tar(tmp_path / "a.tar", *members)
        with pytest.raises(PreprocessingError) as error:
            count_rows(config_of(path, catalog=catalog, **settings))
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(f"{path}: ")
        return str(error.value)

    return read


class TestPublished:
    """Files as their makers write them; the labels by hand."""

    def test_imagenet_as_webdataset_s_own_converter_writes_it(self, tmp_path, pairs, write_tar):
        """Keys of digits, `.cls` of a number, in a pattern of tars."""
        for shard in range(3):
            write_tar(
                tmp_path / f"imagenet-train-{shard:06d}.tar",
                *((f"{shard:08d}.cls", str(900 + shard)), (f"{shard:08d}.jpg", b"1")),
                format_=tarfile.USTAR_FORMAT,
            )
        assert pairs(tmp_path / "imagenet-train-{000000..000001}.tar") == [
            ("imagenet-train-000000.tar/00000000.jpg", "900", 1.0),
            ("imagenet-train-000001.tar/00000001.jpg", "901", 1.0),
        ]

    def test_img2dataset_s_folder(self, tmp_path, pairs, write_tar):
        """Tars, and beside each a table and counts; labels were a column of its input."""
        for shard, tags in (("00000", ["sea", "sky"]), ("00001", ["sky"])):
            meta = {
                "caption": "a, b",
                "url": "http://x/a.jpg",
                "key": f"{shard}0000",
                "status": "success",
                "error_message": None,
                "width": 256,
                "height": 256,
                "exif": "{}",
                "tags": tags,
            }
            key = meta["key"]
            write_tar(
                tmp_path / f"{shard}.tar",
                *((f"{key}.jpg", b"1"), (f"{key}.txt", "a, b"), (f"{key}.json", meta)),
            )
            (tmp_path / f"{shard}_stats.json").write_text("{}")
            (tmp_path / f"{shard}.parquet").write_bytes(b"PAR1")
        assert detect_format(CatalogConfig(path=str(tmp_path))) is CatalogFormat.WEBDATASET
        assert pairs(tmp_path, label_key="tags") == [
            ("00000.tar/000000000.jpg", "sea", 1.0),
            ("00000.tar/000000000.jpg", "sky", 1.0),
            ("00001.tar/000010000.jpg", "sky", 1.0),
        ]

    def test_hugging_face_s_imagenet_with_names_in_json(self, tmp_path, pairs, write_tar):
        path = write_tar(
            tmp_path / "imagenet_w21-train-0000.tar",
            ("n02084071/n02084071_10.cls", "4"),
            ("n02084071/n02084071_10.jpg", b"1"),
            ("n02084071/n02084071_10.json", {"label": 4, "class_name": "n02084071"}),
        )
        image = "imagenet_w21-train-0000.tar/n02084071/n02084071_10.jpg"
        assert pairs(path) == [(image, "4", 1.0)]
        assert pairs(path, label_key="class_name") == [(image, "n02084071", 1.0)]
        assert pairs(path, label_key="label") == [(image, "4", 1.0)]

    def test_a_folder_that_tar_itself_packed(self, tmp_path, pairs):
        """`tar -C folder -cf x.tar .`: names begin with ./ and folders are members."""
        folder = tmp_path / "folder"
        (folder / "b").mkdir(parents=True)
        for name in ("a.jpg", "b/c.png"):
            (folder / name).write_bytes(b"1")
        (folder / "a.txt").write_text("sea\nsky\n")
        (folder / "b" / "c.txt").write_text("sky")
        (folder / "b" / "._c.png").write_bytes(b"macOS")
        options = ["--sort=name", "--format=gnu", "-C", folder, "-cf", tmp_path / "x.tar", "."]
        subprocess.run(["tar", *options], check=True)
        assert pairs(tmp_path / "x.tar", labels="txt") == [
            ("x.tar/a.jpg", "sea", 1.0),
            ("x.tar/a.jpg", "sky", 1.0),
            ("x.tar/b/c.png", "sky", 1.0),
        ]


class TestLabels:
    def test_each_of_a_file_is_a_row_of_its_own(self, tmp_path, pairs, write_tar):
        path = write_tar(
            tmp_path / "a.tar",
            *(("1.jpg", b"1"), ("1.json", {"x": {"sea": 0.5, "sky": 1}})),
            *(("2.jpg", b"1"), ("2.json", {"x": None})),
        )
        assert pairs(path, label_key="x") == [
            ("a.tar/1.jpg", "sea", 0.5),
            ("a.tar/1.jpg", "sky", 1.0),
            ("a.tar/2.jpg", None, 1.0),
        ]

    def test_another_extension(self, tmp_path, pairs, write_tar):
        members = [("1.jpg", b"1"), ("1.tags.JSON", ["sea"]), ("1.cls", "0")]
        path = write_tar(tmp_path / "a.tar", *members)
        assert pairs(path, labels="tags.json") == [("a.tar/1.jpg", "sea", 1.0)]
        assert pairs(path, labels=".Tags.json") == [("a.tar/1.jpg", "sea", 1.0)]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"caf\xe9", "1.txt: expected UTF-8, received byte 0xe9 at 3"),
            (b"x" * (1 << 20) + b"y", "1.txt: expected labels, received a file of 1,048,577 bytes"),
        ],
    )
    def test_what_is_none_names_the_file(self, refusal, content, message):
        assert message in refusal(("1.jpg", b"1"), ("1.txt", content), labels="txt")


class TestSamples:
    def test_a_key_ends_at_the_first_dot_of_the_file_s_name(self, tmp_path, pairs, write_tar):
        """Folders may have dots."""
        path = write_tar(
            tmp_path / "a.tar",
            *(("v1.0/a.jpg", b"1"), ("v1.0/a.cls", "1")),
            *(("v1.0/b.left.jpg", b"1"), ("v1.0/b.cls", "2")),
        )
        assert pairs(path) == [("a.tar/v1.0/a.jpg", "1", 1.0), ("a.tar/v1.0/b", "2", 1.0)]
        assert pairs(path, picture="left.jpg")[0] == ("a.tar/v1.0/b.left.jpg", "2", 1.0)

    def test_files_may_stand_apart(self, tmp_path, pairs, write_tar):
        path = write_tar(
            tmp_path / "a.tar",
            *((f"{number}.jpg", b"1") for number in range(3)),
            *((f"{number}.txt", "a caption") for number in range(3)),
            *((f"{number}.cls", str(number)) for number in reversed(range(3))),
        )
        assert sorted(pairs(path)) == [(f"a.tar/{n}.jpg", str(n), 1.0) for n in range(3)]

    @pytest.mark.parametrize(
        ("limit", "value"), [("MAX_WAITING", 3), ("MAX_WAITING_BYTES", 3 * 100)]
    )
    def test_how_many_may_is_bounded(self, refusal, monkeypatch, limit, value):
        monkeypatch.setattr(module, limit, value)
        members = [(f"{number}.cls", "x" * 100) for number in range(4)]
        assert "tar --sort=name" in refusal(*members, ("0.jpg", b"1"))

    def test_of_several_pictures_the_known_form_counts(self, tmp_path, pairs, write_tar):
        """A mask beside a picture is listed without labels, so that it is rejected and counted."""
        path = write_tar(tmp_path / "a.tar", ("1.png", b"mask"), ("1.jpg", b"1"), ("1.cls", "7"))
        assert pairs(path) == [("a.tar/1.jpg", "7", 1.0), ("a.tar/1.png", None, 1.0)]
        assert pairs(path, picture="png") == [("a.tar/1.png", "7", 1.0)]

    def test_what_a_sample_lacks_is_listed_and_rejected(self, tmp_path, pairs, write_tar):
        path = write_tar(
            tmp_path / "a.tar",
            *(("whole.jpg", b"1"), ("whole.cls", "1")),
            ("no-labels.jpg", b"1"),
            ("no-picture.cls", "2"),
            ("neither.txt", "3"),
            *((".hidden.jpg", b"1"), ("no-dot", b"1")),
        )
        rows = pairs(path)
        assert rows == [
            ("a.tar/whole.jpg", "1", 1.0),
            ("a.tar/no-labels.jpg", None, 1.0),
            ("a.tar/no-picture", "2", 1.0),
            ("a.tar/neither", None, 1.0),
        ]
        for image, _, _ in rows[2:]:
            with pytest.raises(ImageRejectedError, match="no file of that name") as error:
                fetch(image_root(config_of(path)), image, 5)
            assert error.value.reason is RejectReason.MISSING_FILE

    def test_a_tar_without_members_is_empty(self, tmp_path, pairs, write_tar):
        write_tar(tmp_path / "a.tar")
        with pytest.raises(PreprocessingError, match="the catalog is empty"):
            count_rows(config_of(tmp_path))
        write_tar(tmp_path / "b.tar", ("0.jpg", b"1"), ("0.cls", "1"))
        assert pairs(tmp_path) == [("b.tar/0.jpg", "1", 1.0)]

    def test_the_same_key_in_several_tars_is_several_images(self, tmp_path, pairs, write_tar):
        for name, label in (("a", "sea"), ("b", "sky")):
            write_tar(tmp_path / f"{name}.tar", ("0.jpg", name.encode()), ("0.cls", label))
        rows = pairs(tmp_path)
        assert rows == [("a.tar/0.jpg", "sea", 1.0), ("b.tar/0.jpg", "sky", 1.0)]
        root = image_root(CatalogConfig(path=str(tmp_path)))
        assert [fetch(root, row[0], 5) for row in rows] == [b"a", b"b"]

    def test_the_same_name_twice_in_a_tar_is_the_last(self, tmp_path, pairs, write_tar):
        path = write_tar(
            tmp_path / "a.tar",
            *(
                ("0.jpg", b"old"),
                ("0.cls", "1"),
                ("1.jpg", b"1"),
                ("1.cls", "2"),
                ("0.jpg", b"new"),
            ),
        )
        assert {row[:2] for row in pairs(path) if row[1]} == {
            ("a.tar/0.jpg", "1"),
            ("a.tar/1.jpg", "2"),
        }
        assert fetch(image_root(config_of(path)), "a.tar/0.jpg", 5) == b"new"

    def test_names_that_would_lead_elsewhere_are_names(self, tmp_path, pairs, write_tar):
        path = write_tar(
            tmp_path / "a.tar",
            *(("../up.jpg", b"1"), ("../up.cls", "1")),
            *(("/etc/b.jpg", b"2"), ("/etc/b.cls", "2")),
        )
        (tmp_path.parent / "up.jpg").write_bytes(b"other")
        rows = pairs(path)
        assert [row[0] for row in rows] == ["a.tar/up.jpg", "a.tar/etc/b.jpg"]
        root = image_root(config_of(path))
        assert [fetch(root, row[0], 5) for row in rows] == [b"1", b"2"]

    def test_labels_may_be_links_in_the_tar(self, tmp_path, pairs, refusal, write_tar):
        link = tarfile.TarInfo()
        link.type, link.linkname = tarfile.LNKTYPE, "0.cls"
        out = tarfile.TarInfo()
        out.type, out.linkname = tarfile.SYMTYPE, "/etc/hostname"
        members = [("0.jpg", b"1"), ("0.cls", "7"), ("1.jpg", b"1"), ("1.cls", link)]
        assert pairs(write_tar(tmp_path / "a.tar", *members))[1] == ("a.tar/1.jpg", "7", 1.0)
        assert "1.cls: expected a file, received a link" in refusal(*members[:3], ("1.cls", out))


class TestHints:
    """One line that says what to set."""

    def test_no_labels(self, refusal):
        message = refusal(("1.jpg", b"1"), ("1.txt", "a"), ("1.json", {"tags": [], "url": ""}))
        assert "expected labels in files that end in cls, labels, received 1 samples" in message
        assert "on, in jpg, json, txt; set preprocessing.catalog.webdataset.labels" in message
        assert message.endswith("webdataset.label_key to a key of the JSON: tags, url")

    def test_no_such_key(self, refusal):
        message = refusal(("1.jpg", b"1"), ("1.json", {"tags": ["a"]}), label_key="tag")
        assert "end in json at 'tag'" in message
        assert message.endswith("a key of the JSON: tags")

    def test_no_pictures(self, refusal):
        message = refusal(("22.05.png", b"1"), ("22.05.json", {"tags": ["a"]}), labels="05.json")
        assert "set preprocessing.catalog.webdataset.label_key" in message
        message = refusal(("1.image", b"1"), ("1.cls", "1"))
        assert "expected pictures in files that end in jpg, jpeg" in message
        assert message.endswith(
            "in cls, image; set preprocessing.catalog.webdataset.picture to one of them"
        )

    def test_a_held_out_catalog_is_named(self, tmp_path, write_tar):
        path = write_tar(tmp_path / "a.tar", ("1.jpg", b"1"))
        with pytest.raises(PreprocessingError, match=r"set preprocessing\.heldout\.catalog\.webd"):
            count_rows(HeldoutCatalogConfig(path=str(path)))

    def test_a_damaged_tar(self, tmp_path, write_tar):
        path = write_tar(tmp_path / "a.tar", ("1.jpg", b"1" * 2000), ("1.cls", "1"))
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(PreprocessingError, match=r"a\.tar: expected a tar, .* at byte 1,000"):
            count_rows(config_of(path))

    def test_a_tar_without_its_suffix(self, tmp_path, pairs, write_tar):
        path = write_tar(tmp_path / "samples", ("1.jpg", b"1"), ("1.cls", "1"))
        with pytest.raises(PreprocessingError, match=r"set preprocessing\.catalog\.format to webd"):
            count_rows(config_of(path))
        assert pairs(path, catalog={"format": "webdataset"}) == [("samples/1.jpg", "1", 1.0)]

    @pytest.mark.parametrize("name", ["a.tar.gz", "a.TGZ", "a.tar.zst"])
    @pytest.mark.parametrize("in_folder", [False, True])
    def test_a_compressed_tar(self, tmp_path, name, in_folder):
        (tmp_path / name).write_bytes(b"\x1f\x8b")
        path = tmp_path if in_folder else tmp_path / name
        with pytest.raises(PreprocessingError, match=r"compressed, .*; unpack it with gunzip"):
            count_rows(config_of(path))


def test_tables_are_of_a_bounded_size(tmp_path, monkeypatch, write_tar):
    monkeypatch.setattr(module, "BATCH_ROWS", 3)
    members = [("1.jpg", b"1"), ("1.json", [f"label {number}" for number in range(10)])]
    config = config_of(write_tar(tmp_path / "a.tar", *members), labels="json")
    (piece,) = catalog_pieces(config)
    assert piece.tar == "a.tar"
    sizes = [table.num_rows for table in module.read_webdataset(config, "a.tar")]
    assert (sum(sizes), max(sizes)) == (10, 3)
    assert sum(table.num_rows for table in read_piece(piece, config)) == 10


def test_samples_with_pictures_of_one_name_are_refused(refusal):
    """Else the last picture would have the labels of both, and the first be lost."""
    both = [("0.jpg", b"1"), ("0.cls", "1"), ("1.jpg", b"1"), ("1.cls", "1")]
    said = refusal(*both, ("0.jpg", b"2"), ("0.cls", "2"))
    assert ": 0.jpg: expected one sample with a picture of this name" in said


def test_the_digest_covers_the_names_that_images_begin_with(tmp_path, write_tar):
    def digest(path):
        return catalog_digest(CatalogConfig(path=str(path))).sha256

    path = write_tar(tmp_path / "a.tar", ("0.jpg", b"1"), ("0.cls", "1"))
    (tmp_path / "b").mkdir()
    seen = {digest(path), digest(tmp_path / "*.tar")}
    assert len(seen) == 1  # The same images.
    path = path.rename(tmp_path / "z.tar")
    seen.add(digest(path))
    path = path.rename(tmp_path / "b" / "z.tar")
    seen.add(digest(tmp_path / "*" / "*.tar"))
    assert len(seen) == 3
