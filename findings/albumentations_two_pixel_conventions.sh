#!/usr/bin/env bash
# FINDING: albumentations moves keypoints by two conventions: flips, turns and affine maps follow the picture exactly, resizes leave the keypoints up to half an output pixel or more beside it.
#
# Flips, rotations and Affine take a whole number for the centre of a pixel (x -> W - 1 - x). Resize, RandomScale and the
# crops that resize multiply keypoints by the factor s, as if a whole number were a pixel's edge, while the picture moves
# by s * x + (s - 1) / 2. The difference is (s - 1) / 2 output pixels: 0.5 at a factor 2, 1.5 at a factor 4. The same
# scaling by Affine has no such shift.
# It matters for hand-object data because crops of small hands are enlarged: the shift is a constant bias of all 21 joints
# that a network learns, it flips its side with every mirrored (left) hand, and no score on equally treated data shows it.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
    numpy==2.4.6 opencv-python-headless==5.0.0.93 albumentations==2.0.8
cd "$work"

NO_ALBUMENTATIONS_UPDATE=1 venv/bin/python - <<'PY'
from importlib.metadata import version

import albumentations as A
import numpy as np

WIDTH, HEIGHT, JOINT = 160, 120, (70.0, 55.0)


def blob(centre):
    """A smooth spot whose centre of mass can be measured to a hundredth of a pixel."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 18).astype(np.float32)


def centre_of(picture):
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.array([(picture * x).sum(), (picture * y).sum()]) / picture.sum()


def offset(operation):
    """Keypoint minus where the spot really is, in pixels of the result."""
    change = A.Compose([operation], keypoint_params=A.KeypointParams("xy", remove_invisible=False), seed=1)
    out = change(image=blob(JOINT), keypoints=np.array([JOINT]))
    return np.asarray(out["keypoints"][0]) - centre_of(out["image"])


exact = {
    "HorizontalFlip": A.HorizontalFlip(p=1),
    "Rotate by 30 degrees": A.Rotate((30, 30), p=1),
    "Affine, scale 2": A.Affine(scale=2.0, fit_output=True, p=1),
    "Crop": A.Crop(20, 10, 140, 110, p=1),
}
shifted = {
    "Resize to half": (A.Resize(HEIGHT // 2, WIDTH // 2, p=1), 0.5),
    "Resize to double": (A.Resize(HEIGHT * 2, WIDTH * 2, p=1), 2.0),
    "Resize to 4 times": (A.Resize(HEIGHT * 4, WIDTH * 4, p=1), 4.0),
}
print("albumentations", version("albumentations"), " (keypoint - picture, pixels of the result)")
for name, operation in exact.items():
    found = offset(operation)
    print(f"  {name:22s} {found[0]:+.2f} {found[1]:+.2f}")
    assert np.abs(found).max() < 0.05, name
for name, (operation, scale) in shifted.items():
    found = offset(operation)
    print(f"  {name:22s} {found[0]:+.2f} {found[1]:+.2f}   (1 - s) / 2 = {(1 - scale) / 2:+.2f}")
    assert np.abs(found - (1 - scale) / 2).max() < 0.05, f"{name}: the keypoints follow the picture differently now"
PY
