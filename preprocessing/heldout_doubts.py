"""Why less is held out than was asked for, and which setting changes that."""

from manylabel.preprocessing.config import HeldoutConfig
from manylabel.preprocessing.decisions.split import Stays
from manylabel.preprocessing.planning.dataset_plan import PlanTotals
from manylabel.storage.schema import SplitName

_SECTION = "preprocessing.heldout"


def heldout_doubt(config: HeldoutConfig, totals: PlanTotals) -> str | None:
    """A line for the report; None when what was asked for is held out."""
    heldout = totals.images[SplitName.HELDOUT]
    if config.catalog is not None or not config.size or heldout >= max(1, int(config.size)):
        return None
    if not heldout:
        begin = "nothing is held out, so nothing can be evaluated"
    else:
        begin = f"{heldout:,} images are held out of the {config.size:,} that {_SECTION}.size says"
    return f"{begin}: {_reason(config, totals)}"


def _reason(config: HeldoutConfig, totals: PlanTotals) -> str:
    images, stays = sum(totals.images.values()), totals.stays
    groups = sum(stays.values())
    if not groups:
        return f"choose another {_SECTION}.size (not more than there is), or lower minimum_labels"
    if images == 1:
        return "there is one image, which training needs"
    if groups == 1 and not totals.images[SplitName.HELDOUT]:
        return (
            f"all {images:,} images look alike or share a group, which is never parted; "
            f"{_SECTION}.duplicate_distance: null parts all but equal files"
        )
    large, few = stays.get(Stays.TOO_LARGE, 0), stays.get(Stays.FEW_LABELS, 0)
    unseen, spared = stays.get(Stays.UNSEEN_LABELS, 0), stays.get(Stays.NOT_CHOSEN, 0)
    if unseen and not spared:
        return (
            f"{_SECTION}.size {config.size} takes all of the {unseen:,} groups of images that "
            "qualify, so that training has not enough of their labels; choose a smaller one"
        )
    if spared and not unseen and config.size < 1:
        return (
            f"none of {groups:,} groups of images is in the share {config.size} that "
            f"{_SECTION}.size takes; choose a larger one, or a number of images such as "
            f"{max(1, images // 10):,}"
        )
    reasons = [
        f"{count:,} {reason}"
        for count, reason in (
            (few, f"have fewer labels than {_SECTION}.minimum_labels, {config.minimum_labels}"),
            (large, f"have more images than {_SECTION}.largest_group, {config.largest_group:,}"),
            (unseen, "have labels that no image has which stays in training"),
        )
        if count
    ]
    return f"of {groups:,} groups of images " + ", ".join(reasons)
