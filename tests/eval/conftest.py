"""Two fake models (canned answers) in a run folder, and the real data where it is there."""

import pytest

from tests.eval.fake_inference import ROOT, make_model


@pytest.fixture(scope="session")
def shared():
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is absent")
    return folder


@pytest.fixture
def models(tmp_path):
    """(base model folder, run folder of the tuned model)."""
    base = make_model(tmp_path / "base", default="Sure! <script>alert(1)</script> 😊", log_prob=-2.0)
    make_model(tmp_path / "run" / "model", log_prob=-1.5)
    return base, tmp_path / "run"
