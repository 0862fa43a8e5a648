"""The authors' outputs, reproduced: single- and multi-frame, visible and occluded hands, float32 and float64."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from h2onet.network.h2onet import H2ONet, Prediction

TOLERANCE = {  # float32: (m, 1, px of the crop / 128, 1)
    **dict.fromkeys(("vertices", "canonical_vertices", "joints"), 1e-5),
    **dict.fromkeys(("rotation", "occlusion_logits", "joints_2d"), 1e-4),
}


@pytest.fixture(scope="module", params=["single", "multi", "multi_occluded"])
def case(request: pytest.FixtureRequest, golden: Path, official_models: dict[str, H2ONet]):
    """(network of a dtype, stored arrays) of one golden file."""
    stored = dict(np.load(golden / f"{request.param}.npz"))
    shift = stored.pop("finger_bias_shift", [])

    def model_of(dtype: torch.dtype) -> H2ONet:
        model = copy.deepcopy(official_models[request.param.split("_")[0]]).to(dtype)
        with torch.no_grad():
            for finger, amount in enumerate(shift):
                model.get_parameter(f"occlusion.finger_heads.{finger}.2.bias")[1] += float(amount)
        return model

    return model_of, stored


def pictures(stored: dict[str, np.ndarray], dtype: torch.dtype) -> torch.Tensor:
    """The stored uint8 pictures as the network takes them."""
    return torch.from_numpy(np.moveaxis(stored["images"], -1, -3).copy()).to(dtype) / 255


def differences(prediction: Prediction, stored: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest absolute difference of each stored output."""
    names = [name for name in stored if name != "images"]
    assert set(names) >= {"vertices", "canonical_vertices", "joints", "rotation"}
    return {name: float(np.abs(getattr(prediction, name).double().numpy() - stored[name]).max()) for name in names}


@torch.inference_mode()
def test_float32_is_within_the_tolerances(case):
    model_of, stored = case
    for name, difference in differences(model_of(torch.float32)(pictures(stored, torch.float32)), stored).items():
        assert difference < TOLERANCE[name], name


@torch.inference_mode()
def test_float64_is_exact(case):
    model_of, stored = case
    prediction = model_of(torch.float64)(pictures(stored, torch.float64))
    for name, difference in differences(prediction, stored).items():
        # The stored regressed joints of the single-frame case were made with a float32 regressor product.
        assert difference < (1e-8 if name == "joints" else 1e-12), name


@torch.inference_mode()
def test_prepared_for_inference_stays_within_the_tolerances(case):
    model_of, stored = case
    prediction = model_of(torch.float32).for_inference()(pictures(stored, torch.float32))
    for name, difference in differences(prediction, stored).items():
        assert difference < TOLERANCE[name], name


@torch.inference_mode()
def test_the_occluded_case_uses_past_frames(golden: Path):
    """The golden file only shows what it should if hands are occluded in some current frames and seen in the past."""
    logits = np.load(golden / "multi_occluded.npz")["occlusion_logits"]
    occluded = (logits[:, :, 1, :5] > logits[:, :, 0, :5]).all(-1)
    assert (occluded[:, 0] & ~occluded[:, 1:].all(1)).any()
    assert (~occluded[:, 0]).any()


@torch.inference_mode()
@pytest.mark.parametrize("change", ["align_corners", "epsilon", "corrected joint order"])
def test_small_mistakes_would_show(change: str, golden: Path, official_models: dict[str, H2ONet], monkeypatch):
    """The golden comparison can fail: three small departures are each far outside the tolerances."""
    model = copy.deepcopy(official_models["multi"])
    stored = dict(np.load(golden / "multi.npz"))
    if change == "align_corners":
        sample = torch.nn.functional.grid_sample
        monkeypatch.setattr(
            torch.nn.functional, "grid_sample", lambda x, grid, align_corners: sample(x, grid, align_corners=False)
        )
    elif change == "epsilon":
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = 1e-3
    else:
        model.occlusion.fingers.copy_(torch.arange(1, 21))
    found = differences(model(pictures(stored, torch.float32)), stored)
    assert (
        found["vertices"] > 5 * TOLERANCE["vertices"] or found["occlusion_logits"] > 100 * TOLERANCE["occlusion_logits"]
    )
