"""Settings of catalogs that are tars."""

from typing import Self

from pydantic import Field, model_validator

from manylabel.storage.settings import SettingsSection


class WebDatasetConfig(SettingsSection):
    """What is read of a sample in a tar; an extension is all that follows on a name's first dot."""

    picture: str | None = Field(
        None,
        min_length=1,
        description="Extension of the pictures, such as left.jpg; none: of a sample's files the "
        "first of jpg, jpeg, png, webp and others.",
    )
    labels: str | None = Field(
        None,
        min_length=1,
        description="Extension of the files with labels: text, with a label a line or divided by "
        "label_separator, or JSON where it ends in json; none: cls and labels or, with label_key, "
        "json.",
    )
    label_key: str | None = Field(
        None,
        description="Where the labels are in a JSON object: a key, or a JSON pointer, which begins "
        "with /; an empty text is the whole. There is a name or number, a list of these, or an "
        "object from label to confidence.",
    )

    @model_validator(mode="after")
    def _keys_are_of_json(self) -> Self:
        if self.label_key is not None and not (self.labels or "json").lower().endswith("json"):
            raise ValueError(
                f"catalog.webdataset.label_key is {self.label_key!r}, which is for JSON, but "
                f"catalog.webdataset.labels is {self.labels!r}: remove one of them"
            )
        return self
