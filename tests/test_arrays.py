import numpy as np
import pytest

from geoscan.arrays import filled


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 9])
def test_filled_batches_have_one_shape_and_what_counts_is_what_came(n: int) -> None:
    items = np.arange(n * 6, dtype=np.uint8).reshape(n, 2, 3)
    batches = list(filled(items, 4))
    assert {batch.shape for batch, _ in batches} <= {(4, 2, 3)}
    assert all(batch.dtype == np.uint8 for batch, _ in batches)
    counting = [batch[:count] for batch, count in batches]
    np.testing.assert_array_equal(np.concatenate([items[:0], *counting]), items)
