"""Where a resumed run goes on."""

import logging
from pathlib import Path

from trainer.checkpoint import finished_checkpoints, verify
from trainer.errors import CheckpointError

log = logging.getLogger(__name__)


def newest_intact_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint whose every byte can be read; damaged ones are passed over, loudly."""
    for path in reversed(finished_checkpoints(run)):
        try:
            verify(path)
        except CheckpointError as error:
            log.warning("passing over a damaged checkpoint: %s", error)
            continue
        return path
    return None
