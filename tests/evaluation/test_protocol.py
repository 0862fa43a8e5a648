"""Result folders: own ones are replaced, what somebody else put there by the same names is not."""

import json
import shutil
from pathlib import Path

import pytest
from h2onet.errors import InputError
from h2onet.evaluation.evaluate import evaluate_clips
from h2onet.evaluation.protocol import RESULTS, refuse_foreign


@pytest.fixture(scope="module")
def results(store: Path, make_checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    evaluate_clips(make_checkpoint(), store, out)
    return out


def test_own_results_are_replaced(results: Path, tmp_path: Path) -> None:
    refuse_foreign(results)
    refuse_foreign(tmp_path / "nowhere")
    for kept in (["report.html"], ["protocol.json"], ["protocol.json", "frames.npz"]):  # the run was stopped early
        out = tmp_path / "-".join(kept)
        out.mkdir()
        for name in kept:
            shutil.copy(results / name, out)
        refuse_foreign(out)


def test_the_page_of_0_1_0_is_known(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<head><style>\n:root { --ink: #1d2430; --soft: #5b6675; }</style></head>")
    refuse_foreign(tmp_path)


@pytest.mark.parametrize("name", ["report.html", *RESULTS])
def test_results_of_somebody_else_stay(name: str, store: Path, make_checkpoint, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps({"version": "mine"}))
    with pytest.raises(InputError, match=rf"{name} is not of h2o evaluate .*--out"):
        evaluate_clips(make_checkpoint(), store, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert json.loads((tmp_path / name).read_text()) == {"version": "mine"}


def test_a_page_of_somebody_else_stays_among_own_results(results: Path, tmp_path: Path) -> None:
    out = shutil.copytree(results, tmp_path / "out")
    (out / "report.html").write_text("<html>my notes</html>")
    with pytest.raises(InputError, match=r"report\.html is not of h2o evaluate"):
        refuse_foreign(out)
