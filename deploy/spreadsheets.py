"""Cells of CSV files, written so that a spreadsheet shows them and computes nothing."""

# What spreadsheets take for the begin of a formula (OWASP, "CSV Injection"), the full-width forms
# of some locales included.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001


def as_text(cell: str) -> str:
    """A cell that spreadsheets show and do not compute: OWASP's apostrophe before formulas."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def quoted(cell: str) -> str:
    """As RFC 4180. With lines that end in a line feed, Python's writer leaves a carriage return
    unquoted, which its reader then takes for an end."""
    if any(character in cell for character in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def line(*cells: str) -> str:
    """One row, with its end."""
    return ",".join(map(quoted, cells)) + "\n"
