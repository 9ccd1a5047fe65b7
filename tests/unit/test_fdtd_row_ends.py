from __future__ import annotations

import pytest
import torch

from elec.fdtd.row_ends import RowEnds


@pytest.mark.parametrize("cells", [9, 16, 23, 40])
@pytest.mark.parametrize(("low", "high"), [(0, 0), (3, 0), (0, 5), (4, 3), (8, 1)])
@pytest.mark.parametrize("lanes", [4, 8])
def test_layers_go_into_whole_vectors_and_come_back(cells: int, low: int, high: int, lanes: int) -> None:
    ends = RowEnds(cells=cells, low=low, high=high, lanes=lanes)
    begin, first, last, end = ends.bounds
    assert begin == 0 and all(place % lanes == 0 for place in ends.bounds)
    assert low <= first <= last <= end and end - lanes < cells <= end
    values = 1.0 + torch.rand(2, 3, low + high)
    filled = ends.filled(values)
    # The place in the sums of the cell k of a row, as the kernel counts it.
    place = [k if k < first else k - (last - first) for k in (*range(low), *range(cells - high, cells))]
    assert torch.equal(torch.from_numpy(filled[..., place]), values)
    assert filled.sum() == pytest.approx(float(values.sum()))
    back = torch.empty_like(values)
    ends.cut(filled, back)
    assert torch.equal(back, values)
