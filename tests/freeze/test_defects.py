"""The planted defects can be planted; `python -m tests.freeze.defects` runs what must see them."""

from __future__ import annotations

import pytest
from tests.freeze.defects import ROOT, Defect, defects


@pytest.mark.parametrize("defect", defects(), ids=lambda defect: defect.name)
def test_a_defect_has_one_place_and_tests(defect: Defect) -> None:
    assert defect.source().count(defect.old) == 1 and defect.new != defect.old
    assert defect.tests and all((ROOT / test).exists() for test in defect.tests)
