"""Files and folders that machines leave beside those of people."""

MACHINE_NAMES = frozenset(
    {
        # Synology, QNAP
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "@tmp",
        "#recycle",
        "#snapshot",
        # Windows
        "$recycle.bin",
        "system volume information",
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        # macOS
        "__macosx",
        "icon\r",
        "network trash folder",
        "temporary items",
        # Linux, Python
        "lost+found",
        "__pycache__",
    }
)
"""Names, in lower case, that nobody chose as a label; what they hold is often thumbnails."""
