import numpy as np

from manylabel.eval.ranking.baseline import frequency_predictions


def test_every_image_gets_the_most_frequent_classes_ties_by_class_id():
    counts = np.array([1, 5, 0, 5, 9])
    batches = list(frequency_predictions(["a", "b", "c"], counts, k=4, batch_size=2))
    assert [list(batch.image_ids) for batch in batches] == [["a", "b"], ["c"]]
    for batch in batches:
        for class_ids, scores in zip(batch.class_ids, batch.scores, strict=True):
            assert class_ids.tolist() == [4, 1, 3, 0]
            np.testing.assert_allclose(scores, [0.45, 0.25, 0.25, 0.05])


def test_fewer_classes_than_k_are_ranked_whole():
    (batch,) = frequency_predictions(["a"], np.array([2, 3]), k=100, batch_size=8)
    assert batch.class_ids.tolist() == [[1, 0]]
