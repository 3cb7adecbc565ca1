"""Settings of public label sets that are more than one file."""

from typing import Self

from pydantic import Field, model_validator

from manylabel.storage.settings import SettingsSection

IMAGE_ID = "{id}"
FIRST_OF_ID = "{id[0]}"


class OpenImagesConfig(SettingsSection):
    """What stands beside a file of Open Images' labels; paths are local ones or URIs."""

    more_labels: tuple[str, ...] = Field(
        (),
        description="Further files of labels, such as the machine-generated ones beside the "
        "human-verified ones; each row says itself which it is.",
    )
    class_descriptions: str | None = Field(
        None,
        description="CSV of classes and their names, which labels are then called by; a name that "
        "several classes have is followed by the class. None: labels are classes, /m/0jbk.",
    )
    hierarchy: str | None = Field(
        None,
        description="JSON of which classes are kinds of which: a class that is present makes those "
        "above it present, one verified to be absent those below it absent. None: as listed.",
    )
    image_list: str | None = Field(
        None, description="CSV of the images with their URLs, which http needs."
    )
    url_column: str = Field(
        "OriginalURL",
        min_length=1,
        description="Of image_list: OriginalURL or, of some 300,000 pixels, Thumbnail300KURL; an "
        "image without that has the first.",
    )
    image_name: str = Field(
        "{id}.jpg",
        description="Path of an image below image_root: {id} is its ImageID, {id[0]} that one's "
        "first digit, as in train_{id[0]}/{id}.jpg.",
    )

    @model_validator(mode="after")
    def _name_tells_images_apart(self) -> Self:
        rest = self.image_name.replace(IMAGE_ID, "").replace(FIRST_OF_ID, "")
        if IMAGE_ID not in self.image_name or "{" in rest or "}" in rest:
            raise ValueError(
                f"open_images.image_name is {self.image_name!r}: expected {IMAGE_ID} in it, "
                f"besides that {FIRST_OF_ID} at most"
            )
        return self

    def files(self) -> dict[str, str]:
        """Setting -> path, of all files that are given."""
        single = {
            name: path
            for name in ("class_descriptions", "hierarchy", "image_list")
            if (path := getattr(self, name)) is not None
        }
        more = {f"more_labels[{number}]": path for number, path in enumerate(self.more_labels)}
        return more | single


class MlImagesConfig(SettingsSection):
    """What stands beside a file of Tencent ML-Images."""

    dictionary: str | None = Field(
        None,
        description="Text that names the classes (dictionary_and_semantic_hierarchy.txt), which "
        "labels are then called by; a name that several classes have is followed by the class's "
        "WordNet number. None: labels are the numbers of the classes.",
    )

    def files(self) -> dict[str, str]:
        """Setting -> path, of all files that are given."""
        return {} if self.dictionary is None else {"dictionary": self.dictionary}
