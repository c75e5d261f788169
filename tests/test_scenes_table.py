"""Real files from other projects' test suites: each is scanned, or refused in one line."""

import json

import pytest
from conftest import write_tiny_package
from scenes_table import markdown, scan_all


@pytest.mark.large
def test_each_file_is_scanned_or_refused_in_one_line(shared_data, tmp_path):
    folder = shared_data("scenes")
    models = [write_tiny_package(tmp_path / f"{gsd:g} m", gsd=gsd) for gsd in (3.4, 0.5, 100, 300)]
    rows = list(scan_all(folder, [model.path for model in models]))
    assert len(rows) >= 13
    for row in rows:
        assert "Traceback" not in row.stdout + row.stderr, row
        assert row.status in {0, 1, 2}, row
        if row.status == 2:
            assert row.stdout == "", row
            assert row.stderr.startswith("geoscan: "), row
            assert row.stderr.count("\n") == 1, row
            assert not row.written, row
        if row.status == 0:
            assert row.stderr == "", row
            assert row.written, row
            assert json.loads(row.stdout)["failed"] == 0, row
    assert sum(row.status == 0 for row in rows) >= 8
    assert len(list(markdown(iter(rows)))) == len(rows) + 2
