"""Reading catalogs of each format, and what is said about broken ones."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.catalogs import CatalogRow, detect_format, image_root, read_catalog
from manylabel.preprocessing.config import CatalogConfig, CatalogFormat
from manylabel.preprocessing.errors import PreprocessingError

ODD_LABELS = ['a, "quoted" one', "🐢 żółw", "x" * 10_000, "two\nlines", "  spaced "]


def rows_of(path, **settings):
    return list(read_catalog(CatalogConfig(path=str(path), **settings)))


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


class TestCsv:
    def test_rows_in_order(self, tmp_path):
        path = write(
            tmp_path / "c.csv", "image_path,label,confidence\nb.jpg,cat,1.0\na.jpg,dog,0\n\n"
        )
        assert rows_of(path) == [
            CatalogRow("b.jpg", "cat", "1.0", None),
            CatalogRow("a.jpg", "dog", "0", None),
        ]

    def test_columns_are_settings(self, tmp_path):
        path = write(
            tmp_path / "c.csv", "who,what,sure,image_path,label,file\nann,cat,.5,x,y,a.jpg\n"
        )
        settings = {
            "image_column": "file",
            "label_column": "what",
            "confidence_column": "sure",
            "group_column": "who",
        }
        assert rows_of(path, **settings) == [CatalogRow("a.jpg", "cat", ".5", "ann")]

    def test_without_a_confidence_column_all_are_certain(self, tmp_path):
        path = write(tmp_path / "c.csv", "image_path,label\na.jpg,cat\n")
        assert rows_of(path, confidence_column=None) == [CatalogRow("a.jpg", "cat", 1.0, None)]

    def test_odd_labels_survive(self, tmp_path):
        lines = ['a.jpg,"' + label.replace('"', '""') + '",1' for label in ODD_LABELS]
        path = write(tmp_path / "c.csv", "\n".join(["image_path,label,confidence", *lines]))
        assert [row.label for row in rows_of(path)] == ODD_LABELS

    def test_a_byte_order_mark_is_no_part_of_the_first_column(self, tmp_path):
        path = write(tmp_path / "c.csv", "image_path,label,confidence\na.jpg,cat,1\n", "utf-8-sig")
        assert len(rows_of(path)) == 1

    def test_empty_cells_are_no_label_and_no_group(self, tmp_path):
        path = write(tmp_path / "c.csv", "image_path,label,confidence,group\na.jpg,,1,\n")
        assert rows_of(path, group_column="group") == [CatalogRow("a.jpg", None, "1", None)]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                b"image_path,label,confidence\na.jpg,caf\xe9,1\n",
                "expected UTF-8, received byte 0xe9",
            ),
            (b"image_path,label\na.jpg,cat\n", "expected a column 'confidence', received columns"),
            (b"image,label,confidence\n", "set preprocessing.catalog.image_column"),
            (b"", r"expected a column 'image_path', received columns \[\]"),
            (
                b"image_path,label,confidence\na.jpg,a, b,1\n",
                "line 2: expected 3 cells .* received 4",
            ),
            (b'image_path,label,confidence\na.jpg,"cat,1\n', "line 2: expected CSV"),
            (b"image_path,label,confidence\na.jpg," + b"x" * (1 << 21), "line 2: expected CSV"),
        ],
    )
    def test_broken_files(self, tmp_path, content, message):
        path = tmp_path / "c.csv"
        path.write_bytes(content)
        with pytest.raises(PreprocessingError, match=message) as error:
            rows_of(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


class TestParquet:
    def write(self, path, **columns):
        pq.write_table(pa.table(columns), path)
        return path

    def test_rows_in_order(self, tmp_path):
        path = self.write(
            tmp_path / "c.parquet",
            image_path=["b.jpg", "a.jpg", None],
            label=pa.array(["cat", None, "dog"]).dictionary_encode(),
            confidence=[0.5, 1.0, None],
            owner=["ann", None, ""],
        )
        assert rows_of(path, group_column="owner") == [
            CatalogRow("b.jpg", "cat", 0.5, "ann"),
            CatalogRow("a.jpg", None, 1.0, None),
            CatalogRow("", "dog", "", None),
        ]

    def test_odd_labels_and_no_confidence(self, tmp_path):
        path = self.write(tmp_path / "c.parquet", image_path=["a.jpg"] * 5, label=ODD_LABELS)
        rows = rows_of(path, confidence_column=None)
        assert [row.label for row in rows] == ODD_LABELS
        assert {row.confidence for row in rows} == {1.0}

    def test_a_missing_column(self, tmp_path):
        path = self.write(tmp_path / "c.parquet", image_path=["a.jpg"])
        with pytest.raises(PreprocessingError, match="expected a column 'label'"):
            rows_of(path)

    def test_a_column_of_another_type(self, tmp_path):
        path = self.write(tmp_path / "c.parquet", image_path=[1], label=["x"], confidence=[1.0])
        with pytest.raises(PreprocessingError, match="'image_path': expected text, received int64"):
            rows_of(path)

    def test_another_kind_of_file(self, tmp_path):
        with pytest.raises(PreprocessingError, match=r"c\.parquet: expected Parquet"):
            rows_of(write(tmp_path / "c.parquet", "image_path,label"))

    def test_a_damaged_file(self, tmp_path):
        """Its end, and so what is read first, is whole."""
        path = tmp_path / "c.parquet"
        names = [f"{number}.jpg" for number in range(5000)]
        pq.write_table(pa.table({"image_path": names, "label": names}), path)
        data = bytearray(path.read_bytes())
        data[4:3000] = bytes(2996)
        path.write_bytes(data)
        with pytest.raises(PreprocessingError, match=r"c\.parquet: expected Parquet") as error:
            rows_of(path, confidence_column=None)
        assert "\n" not in str(error.value)

    def test_text_that_is_not_utf8(self, tmp_path):
        label = pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9"]).buffers())
        path = self.write(tmp_path / "c.parquet", image_path=["a"], label=label, confidence=[1.0])
        with pytest.raises(PreprocessingError, match="expected UTF-8"):
            rows_of(path)


class TestFolder:
    def test_folders_are_nested_labels(self, tmp_path):
        for name in ("b/x.jpg", "b/c/y.png", "a/x.jpg", "top.jpg", ".hidden/z.jpg", "a/.DS_Store"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        assert [(row.image, row.label) for row in rows_of(tmp_path)] == [
            ("top.jpg", None),
            ("a/x.jpg", "a"),
            ("b/x.jpg", "b"),
            ("b/c/y.png", "b"),
            ("b/c/y.png", "c"),
        ]
        assert {row.confidence for row in rows_of(tmp_path)} == {1.0}

    def test_a_local_folder_may_be_spelled_as_a_url(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "x.jpg").touch()
        rows = list(read_catalog(CatalogConfig(path=f"file://{tmp_path}")))
        assert [(row.image, row.label) for row in rows] == [("a/x.jpg", "a")]

    def test_a_name_that_is_not_utf8_is_spelled_out(self, tmp_path):
        directory = tmp_path / "a"
        directory.mkdir()
        open(bytes(directory) + b"/caf\xe9.jpg", "w").close()
        assert [row.image for row in rows_of(tmp_path)] == ["a/caf\\xe9.jpg"]


class TestFormat:
    @pytest.mark.parametrize(
        ("name", "expected"), [("c.csv", CatalogFormat.CSV), ("c.PARQUET", CatalogFormat.PARQUET)]
    )
    def test_by_suffix(self, tmp_path, name, expected):
        assert detect_format(CatalogConfig(path=str(write(tmp_path / name, "")))) is expected

    def test_a_folder(self, tmp_path):
        assert detect_format(CatalogConfig(path=str(tmp_path))) is CatalogFormat.FOLDER

    def test_given_format_outweighs_the_suffix(self, tmp_path):
        path = write(tmp_path / "c.txt", "image_path,label,confidence\na.jpg,cat,1\n")
        assert len(rows_of(path, format="csv")) == 1

    @pytest.mark.parametrize(
        ("name", "settings", "message"),
        [
            ("missing.csv", {}, "no such catalog"),
            ("c.txt", {}, r"expected a file that ends in \.csv or \.parquet"),
            ("c.csv", {"format": "folder"}, "expected a catalog of format folder, received a file"),
            (".", {"format": "csv"}, "expected a catalog of format csv, received a folder"),
        ],
    )
    def test_what_does_not_fit(self, tmp_path, name, settings, message):
        write(tmp_path / "c.txt", "")
        write(tmp_path / "c.csv", "")
        with pytest.raises(PreprocessingError, match=message):
            rows_of(tmp_path / name, **settings)

    def test_image_root(self, tmp_path):
        (tmp_path / "pictures").mkdir()
        path = str(write(tmp_path / "c.csv", ""))
        given = CatalogConfig(path=path, image_root=str(tmp_path / "pictures"))
        assert image_root(CatalogConfig(path=path)) == tmp_path
        assert image_root(CatalogConfig(path=str(tmp_path))) == tmp_path
        assert image_root(given) == tmp_path / "pictures"
        with pytest.raises(PreprocessingError, match="nowhere: no such directory; set"):
            image_root(CatalogConfig(path=path, image_root=str(tmp_path / "nowhere")))
