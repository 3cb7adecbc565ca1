"""Reviews what a schedule evaluated."""

from pathlib import Path

from manylabel.eval.statistics.differences import Verdict
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.promotions import newest_promotion


def review_against_champion(root: Path, candidate: EvaluationName, settings: str) -> Verdict | None:
    """Writes the review of an evaluation against the champion.

    It does not keep their checkpoints from retention, as a review that somebody asks for does:
    schedules review every checkpoint, and then none would ever be removed.

    Raises:
        EvaluationError, StorageError: there is a champion, and they cannot be compared.
    """
    promotion = newest_promotion(root)
    if promotion is None or promotion.candidate.name == candidate:
        return None
    from manylabel.eval.review.build import review_pair
    from manylabel.eval.review.pair import choose_pair
    from manylabel.eval.review.store import write_review
    from manylabel.pipeline.review import checkpoint_check

    places = [(root / each.run, each.step) for each in (candidate, promotion.candidate.name)]
    pair = choose_pair(places[0], places[1], settings)
    tables = review_pair(pair, facts=(checkpoint_check(pair.candidate),))
    write_review(root, tables)
    return tables.review.headline.verdict
