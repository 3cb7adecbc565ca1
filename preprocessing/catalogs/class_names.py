"""Labels for classes that a catalog knows by an identifier of its own."""

import unicodedata
from collections import Counter
from collections.abc import Mapping


def label_names(names: Mapping[str, str]) -> dict[str, str]:
    """A label for each identifier: its name or, where others have the same, `name (identifier)`.

    Names are the same as labels are, in Unicode NFC and without white space around them. A class
    without a name has its identifier for a label.
    """
    plain = {key: unicodedata.normalize("NFC", name).strip() for key, name in names.items()}
    shared = Counter(plain.values())
    return {
        key: (f"{name} ({key})" if shared[name] > 1 else name) if name else key
        for key, name in plain.items()
    }
