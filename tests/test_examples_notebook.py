"""The example notebook: it is kept without outputs, and runs as it is."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_valid_and_has_no_outputs(notebook):
    nbformat.validate(notebook)
    assert len(code_cells(notebook)) >= 5
    assert [cell.outputs for cell in code_cells(notebook) if cell.outputs] == []
    assert {cell.execution_count for cell in code_cells(notebook)} == {None}


@pytest.mark.large
def test_it_runs_and_draws_its_pictures_without_a_word_on_stderr(notebook):
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources=folder
    ).execute()  # raises what a cell raises
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert [output for output in outputs if output.output_type in ("error", "stream")] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert all(cell.outputs for cell in code_cells(notebook))
