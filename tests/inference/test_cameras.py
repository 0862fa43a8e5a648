"""Where a picture's camera comes from, and that the wrist's spread holds it while the focal length is in its range."""

import math
from pathlib import Path

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.hand.camera import project
from h2onet.inference.cameras import EXIF, FOCAL_SHARE, FOV, INTRINSICS, assumed_intrinsics, check_fov, picture_camera
from h2onet.inference.exif import exif_focal, focal_of_tags
from h2onet.inference.placement import place_wrist
from h2onet.inference.sources import PictureFolder
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

FILM = Base.FocalLengthIn35mmFilm
SIZE = {Base.ExifImageWidth: 4000, Base.ExifImageHeight: 3000}
DIAGONAL = math.hypot(36, 24)


def photo(path: Path, tags: dict, orientation: int = 1, size: tuple[int, int] = (80, 60)) -> Path:
    """A picture file with these tags of the Exif directory; Pillow writes it."""
    if path.suffix == ".tif":  # of an Exif object Pillow writes no directory of tags here
        tiff = ImageFileDirectory_v2()
        tiff[Base.Orientation], tiff[IFD.Exif] = orientation, tags
        Image.new("RGB", size, (90, 120, 150)).save(path, tiffinfo=tiff)
        return path
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    exif.get_ifd(IFD.Exif).update(tags)
    Image.new("RGB", size, (90, 120, 150)).save(path, exif=exif)
    return path


def test_the_first_camera_that_is_known_counts() -> None:
    given = np.array([[500.0, 0, 310], [0, 505, 250], [0, 0, 1]])
    known = picture_camera(640, 480, given, 700.0, 60.0)
    assert known.source == INTRINSICS and np.array_equal(known.intrinsics, given) and known.focal_share == 0
    assert picture_camera(640, 480, None, 700.0, 60.0).source == EXIF
    assert picture_camera(640, 480, None, None, 60.0).source == FOV
    none = picture_camera(640, 480)
    assert none.source is None and np.array_equal(none.intrinsics, assumed_intrinsics(640, 480))
    np.testing.assert_array_equal(
        picture_camera(640, 480, None, 700.0).intrinsics, [[700, 0, 320], [0, 700, 240], [0, 0, 1]]
    )


@pytest.mark.parametrize("size", [(640, 480), (480, 640)])
def test_a_field_of_view_is_that_of_the_longer_side(size: tuple[int, int]) -> None:
    """A turned picture has the same focal length; the ends of the longer side are seen under the angle."""
    camera = picture_camera(*size, fov=70.0).intrinsics
    assert camera[0, 0] == camera[1, 1] == picture_camera(640, 480, fov=70.0).intrinsics[0, 0]
    longer = int(np.argmax(size))
    ends = np.linalg.solve(camera, np.array([[0.0, 0.0, 1.0], [*np.eye(2)[longer] * 640, 1.0]]).T)[longer]
    assert math.degrees(math.atan(ends[1]) - math.atan(ends[0])) == pytest.approx(70.0)


@pytest.mark.parametrize("fov", [0.0, 4.9, 151.0, 180.0, -60.0, math.nan, math.inf])
def test_fields_of_view_of_no_lens_are_refused(fov: float) -> None:
    with pytest.raises(InputError, match=r"--fov .*: expected degrees across the picture's longer side"):
        check_fov(fov)


def test_focal_lengths_of_tags() -> None:
    """As on film over the diagonal, at any size and either way up; by the sensor's density without that."""
    assert focal_of_tags({FILM: 26}, 4000, 3000) == pytest.approx(26 * 5000 / DIAGONAL)
    assert focal_of_tags({FILM: 26} | SIZE, 400, 300) == pytest.approx(26 * 500 / DIAGONAL)
    assert focal_of_tags({FILM: 26} | SIZE, 300, 400) == pytest.approx(26 * 500 / DIAGONAL)
    plane = {Base.FocalLength: IFDRational(5, 1), Base.FocalPlaneXResolution: IFDRational(8000, 1)}
    inch, centimetre = plane | {Base.FocalPlaneResolutionUnit: 2}, plane | {Base.FocalPlaneResolutionUnit: 3}
    assert focal_of_tags(centimetre, 4000, 3000) == pytest.approx(5 * 800)
    assert focal_of_tags(inch, 4000, 3000) == focal_of_tags(plane, 4000, 3000) == pytest.approx(5 * 8000 / 25.4)
    assert focal_of_tags(centimetre | SIZE, 2000, 1500) == pytest.approx(5 * 800 / 2)
    assert focal_of_tags(centimetre | {FILM: 26} | SIZE, 4000, 3000) == pytest.approx(26 * 5000 / DIAGONAL)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {FILM: 0},
        {FILM: "x"},
        {FILM: (26, 27)},
        {FILM: 65535},
        {FILM: 3},
        {FILM: 26} | SIZE | {Base.ExifImageWidth: 3000},  # was cut: 3000 x 3000
        {Base.FocalLength: IFDRational(5, 1)},
        {Base.FocalLength: IFDRational(5, 0), Base.FocalPlaneXResolution: 8000},
        {Base.FocalLength: 5, Base.FocalPlaneXResolution: 8000, Base.FocalPlaneResolutionUnit: 9},
        {Base.FocalLength: 5, Base.FocalPlaneXResolution: IFDRational(1, 10**9)},
    ],
)
def test_tags_that_tell_nothing(tags: dict) -> None:
    assert focal_of_tags(tags, 4000, 3000) is None


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_photos_are_read_with_their_focal_length(tmp_path: Path, suffix: str, orientation: int) -> None:
    """Turned or not; the size as taken is that of the file, not of the turned picture."""
    tags = {FILM: 28, Base.ExifImageWidth: 80, Base.ExifImageHeight: 60}
    photo(tmp_path / f"a.{suffix}", tags, orientation)
    (frame,) = PictureFolder.open(tmp_path).read()
    assert frame.picture is not None
    assert frame.picture.shape[:2] == ((80, 60) if orientation == 6 else (60, 80))
    assert frame.exif_focal == pytest.approx(28 * 100 / DIAGONAL)


def test_broken_tags_never_fail_a_picture(tmp_path: Path) -> None:
    """Every byte of the tags changed in turn: the picture is read, the focal length is a sensible one or none."""
    data = photo(tmp_path / "a.jpg", {FILM: 28, Base.FocalLength: IFDRational(5, 1)}).read_bytes()
    start = data.index(b"Exif")
    for place in range(start, start + 120):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        focal = exif_focal(bytes(changed), 80, 60)
        assert focal is None or 0 < focal < 100 * 50
    (tmp_path / "a.jpg").write_bytes(data[: start + 6] + b"\xff" * 40 + data[start + 46 :])
    (frame,) = PictureFolder.open(tmp_path).read()
    assert frame.picture is not None and frame.exif_focal is None
    assert exif_focal(b"", 80, 60) is None and exif_focal(b"no picture", 80, 60) is None


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints (21, 3) m about the wrist, the wrist (3,) m, and the true camera of a 640 x 480 picture."""
    joints = np.concatenate([np.zeros((1, 3)), rng.normal(0, 0.05, (20, 3))])
    wrist = np.array([rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), rng.uniform(0.35, 1.2)])
    return joints, wrist, picture_camera(640, 480, fov=rng.uniform(45, 75)).intrinsics


@pytest.mark.parametrize("source", [EXIF, FOV])
def test_the_spread_holds_the_wrist_while_the_focal_length_is_in_its_range(source: str) -> None:
    """A hand of known place, seen through a camera whose focal length is told wrongly, by up to the source's share."""
    rng, share = np.random.default_rng(1), FOCAL_SHARE[source]
    for wrong in (*np.linspace(-0.99, 0.99, 12), -2.5, 2.5):
        joints, wrist, camera = scene(rng)
        told = camera.copy()
        told[[0, 1], [0, 1]] /= 1 + wrong * share
        found = place_wrist(joints, project(joints + wrist, camera), told, share)
        assert found is not None
        assert found.wrist[2] / wrist[2] == pytest.approx(told[0, 0] / camera[0, 0], rel=0.03)  # depth goes with it
        held = np.abs(found.wrist - wrist) <= found.spread + 1e-9
        assert held.all() if abs(wrong) < 1 else not held[2]
        assert 0.8 * share < found.spread[2] / found.wrist[2] < 2 * share


def test_with_intrinsics_the_spread_is_what_the_joints_disagree() -> None:
    rng = np.random.default_rng(2)
    spreads = []
    for noise in (0.0, 0.5, 1.0, 2.0):
        joints, wrist, camera = scene(np.random.default_rng(3))
        found = place_wrist(joints, project(joints + wrist, camera) + rng.normal(0, noise, (21, 2)), camera)
        assert found is not None and (np.abs(found.wrist - wrist) <= found.spread + 1e-9).all()
        spreads.append(float(found.spread[2]))
        assert found.misfit == pytest.approx(noise * 1.2, rel=0.6, abs=1e-6)
    assert spreads[0] < 1e-9 and spreads == sorted(spreads)
