"""Clip stores and the dataset over them: items, fidelity, what is damaged, and that nothing is ever written."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import clip_scene
import cv2
import numpy as np
import pytest
import zarr
from h2onet.data import photos
from h2onet.data.clips import ClipDataset, ClipStore, Window, clip_info, contact_sheet, verify, window_of
from h2onet.data.labels import LabelStore
from h2onet.data.loading import sheet
from h2onet.data.loading.augment import Augmentation
from h2onet.data.loading.batches import loader
from h2onet.data.loading.crops import GIVEN, WHOLE_PHOTO, crop_from_photo, mirror_box
from h2onet.errors import InputError
from h2onet.pipeline.build_clips import build_clips

Scene, KEY, OTHER = clip_scene.Scene, clip_scene.KEY, clip_scene.OTHER

TRAIN = {"frames": window_of("dexycb", train=True), "augment": Augmentation()}


def build(folder, scene=None, **options):
    labels = clip_scene.write_scene(folder, scene or Scene())
    build_clips(labels, folder / "clips.zarr", workers=1, **options)
    return folder / "clips.zarr"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return build(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def copy(clips, tmp_path):
    return Path(shutil.copytree(clips, tmp_path / "clips.zarr"))


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)


def psnr(a, b):
    return 10 * np.log10(1 / max(float(np.mean((a - b) ** 2)), 1e-20))


# -- what an item is ----------------------------------------------------------------------------------------------


def test_an_item_has_the_agreed_fields(clips):
    shapes = {
        "images": ((3, 128, 128), np.float32),
        "joints": ((21, 3), np.float32),
        "joints_2d": ((21, 2), np.float32),
        "root": ((3,), np.float32),
        "mano_pose": ((48,), np.float32),
        "mano_shape": ((10,), np.float32),
        "intrinsics": ((3, 3), np.float32),
        "occluded": ((7,), np.uint8),
        "visible_fraction": ((6,), np.float32),
        "joint_visible": ((21,), np.uint8),
        "has_pose": ((), np.bool_),
        "has_joints": ((), np.bool_),
        "frame_index": ((), np.int64),
        "is_left": ((), np.bool_),
        "store": ((), np.int64),
    }
    single, window = ClipDataset(clips)[3], ClipDataset(clips, **TRAIN)[3]
    assert set(single) == set(window) == set(shapes)
    for name, (shape, dtype) in shapes.items():
        assert (single[name].shape, single[name].dtype) == (shape, dtype), name
        past = () if name in ("is_left", "store") else (3,)
        assert (window[name].shape, window[name].dtype) == ((*past, *shape), dtype), name
    assert window["images"].min() >= 0 and window["images"].max() <= 1


def test_plain_zarr_reads_the_store(clips):
    group = zarr.open_group(clips, mode="r")
    assert group.attrs["schema"] == "h2onet-clips" and group.attrs["schema_version"] == 1
    for name in ("dataset", "split", "setup", "labels", "labels_sha256", "rules", "margin", "codec", "mano", "root"):
        assert name in group.attrs, name
    offset, length = group["index/offset"][13], group["index/length"][13]
    sequence = group["index"].attrs["sequences"][group["index/sequence_id"][13]]
    jpeg = group["sequences"][sequence["key"].replace("/", "__")]["jpeg"]
    assert jpeg.chunks == jpeg.shape and not jpeg.compressors
    picture = cv2.imdecode(jpeg[offset : offset + length], cv2.IMREAD_COLOR)
    assert picture.shape[:2][::-1] == tuple(group["index/crop"][13][2:])
    np.testing.assert_array_equal(ClipStore.open(clips).pictures(np.array([13]))[0], picture)


def test_the_index_repeats_the_labels(clips):
    labels, store = LabelStore.open(clips.parent / "labels.zarr"), ClipStore.open(clips)
    for name in store.index:
        if name in labels.index and name != "box":
            np.testing.assert_array_equal(store.index[name], labels[name], err_msg=name)
    assert {"joints", "mano_pose", "occluded", "cause", "object_id", "sequence_id"} <= set(store.index)


@pytest.mark.parametrize("left", [False, True])
def test_joints_2d_are_the_projection_with_the_crops_intrinsics(tmp_path, left):
    dataset = ClipDataset(build(tmp_path, Scene(sequences={KEY: (0, 1, 2, 3)}, left=left)), augment=Augmentation())
    for index in range(4):
        for epoch in range(3):
            item = dataset[(epoch, index, 0)]
            points = (item["joints"] + item["root"]).astype(float) @ item["intrinsics"].astype(float).T
            error = np.abs(points[:, :2] / points[:, 2:] - item["joints_2d"] * 128)
            assert error.max() < 0.05  # px of the crop: exact up to float32, the whole (3, 3) matrix counts


def test_photo_augmentation_changes_pictures_only_and_follows_from_seed_epoch_and_index(clips):
    window = window_of("dexycb", train=True)
    plain, photo, again = (
        ClipDataset(clips, frames=window, augment=Augmentation(photo=photo)) for photo in (False, True, True)
    )
    for index in range(0, len(plain), 3):
        ours, theirs, same = (dataset[(1, index, 0)] for dataset in (plain, photo, again))
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            assert np.array_equal(values, theirs[name], equal_nan=True) == (name != "images"), name
        np.testing.assert_array_equal(theirs["images"], same["images"])
        assert not np.array_equal(theirs["images"], photo[(2, index, 0)]["images"])


def test_the_joints_lie_on_their_dots(clips):
    # The scene paints a white dot on every joint: the crop must be white where joints_2d says.
    dataset = ClipDataset(clips, augment=Augmentation(colour=0.0))
    hits = []
    for index in range(len(dataset)):
        item = dataset[index]
        at = np.rint(item["joints_2d"] * 128).astype(int)
        inside = ((at >= 1) & (at < 127)).all(axis=1)
        hits += [item["images"][:, y, x].min() for x, y in at[inside]]
    assert len(hits) > 300 and np.mean(np.array(hits) > 0.8) > 0.97


def test_a_mirrored_left_hand_equals_its_right_twin(tmp_path):
    right = build(tmp_path / "right", Scene(sequences={KEY: tuple(range(12))}))
    left = build(tmp_path / "left", Scene(sequences={KEY: tuple(range(12))}, left=True, mirrored=True))
    for options in ({}, TRAIN):
        a, b = ClipDataset(right, **options)[11], ClipDataset(left, **options)[11]
        assert not a["is_left"] and b["is_left"]
        for name in ("joints", "root", "mano_pose", "mano_shape"):
            np.testing.assert_allclose(a[name], b[name], atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(a["occluded"], b["occluded"])
    # The authors cut the left hand's box in the photo as it is, and their box is one pixel short on the right: after
    # mirroring it is short on the left. With equal boxes the twins are equal to the pixel:
    index = left / "index" / "box" / "c" / "0" / "0"
    edge = np.fromfile(index, np.float32).reshape(-1, 4)
    mirrored = mirror_box(ClipStore.open(right).index["box"], 640).astype(np.float32)
    np.testing.assert_allclose(edge[:, [0, 2]] - mirrored[:, [0, 2]], -1.0, atol=1e-3)
    mirrored.tofile(index)
    for options in ({}, TRAIN):
        a, b = ClipDataset(right, **options)[11], ClipDataset(left, **options)[11]
        for name in ("joints", "root", "mano_pose", "mano_shape", "joints_2d", "intrinsics"):
            np.testing.assert_allclose(a[name], b[name], atol=2e-5, rtol=1e-5, err_msg=name)
        assert psnr(a["images"], b["images"]) > 35  # what two JPEGs of mirrored pixels differ by


# -- fidelity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["420", "422", "444"])
@pytest.mark.parametrize(("codec", "least"), [(photos.LOSSLESS, 90), (photos.REENCODED, 40)])
def test_crops_equal_those_of_the_whole_photo(tmp_path, codec, least, sampling):
    if codec == photos.LOSSLESS and photos.turbojpeg() is None:
        pytest.skip("libturbojpeg or PyTurboJPEG is not installed")
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")
    place = (0.2, 0.1, 0.75)  # near the corner: crops leave the photo
    for name, scene in {
        "inside": Scene(sequences={KEY: (0, 1)}, subsampling=factor),
        "corner": Scene(sequences={KEY: (0, 1)}, subsampling=factor, place=place),
    }.items():
        path = build(tmp_path / name, scene, codec=codec)
        store, dataset = ClipStore.open(path), ClipDataset(path, augment=Augmentation(colour=0.0), seed=4)
        assert store.attrs["codec"] == codec
        for index in range(2):
            item = dataset[index]
            rng = np.random.Generator(np.random.Philox(key=[4, 0], counter=[0, 0, index, 0]))
            draw = Augmentation(colour=0.0).draw(rng)
            file = tmp_path / name / "root" / KEY / f"color_{index:06d}.jpg"
            whole = cv2.imread(str(file))[:, :, ::-1].astype(np.float32)
            affine = crop_from_photo(store.index["box"][index], draw.scale, draw.rotation)
            expected = cv2.warpAffine(whole, affine, (128, 128)).transpose(2, 0, 1) / 255
            assert psnr(item["images"], expected) > least


# -- windows, filters, mixtures -----------------------------------------------------------------------------------


def test_windows_stay_in_their_sequence_and_go_by_frame_number(tmp_path):
    frames = {KEY: (0, 1, 2, 3, 12, 13, 14, 20), OTHER: (0, 1, 7, 30)}
    path = build(tmp_path, Scene(sequences=frames))
    store = ClipStore.open(path)
    dataset = ClipDataset(path, frames=window_of("dexycb", train=False))
    found = []
    for index in range(len(dataset)):
        rows = dataset[index]["frame_index"]
        assert len(set(store.index["sequence_id"][rows])) == 1
        found.append(store.index["frame"][rows].tolist())
    assert found == [
        *([0, 0, 0], [1, 1, 0], [2, 1, 0], [3, 2, 0]),  # the start: half way back, and frame 0
        *([12, 3, 2], [13, 12, 3], [14, 12, 3], [20, 14, 12]),  # the nearest for 7 and 2, 8 and 3, 9 and 4, 15 and 10
        *([0, 0, 0], [1, 1, 0], [7, 1, 0], [30, 30, 30]),  # 4 lies between 1 and 7: the earlier; 25 and 20 are near 30
    ]


def test_one_draw_serves_the_whole_window(clips):
    item = ClipDataset(clips, frames=Window((5, 10), (0.0, 0.0)), augment=Augmentation(), seed=1)[2]
    # Frame 2's window is frames 2, 1, 0; the crop's intrinsics are turned by the same angle and the rows differ.
    assert item["frame_index"].tolist() == [2, 1, 0]
    plain = ClipDataset(clips, frames=Window((5, 10), (0.0, 0.0)))[2]
    pairs = zip(item["joints"], plain["joints"], strict=True)
    rotations = [np.linalg.lstsq(before, after, rcond=None)[0].T for after, before in pairs]
    turned = [np.arctan2(rotation[1, 0], rotation[0, 0]) for rotation in rotations]
    np.testing.assert_allclose(turned, turned[0], atol=1e-4)
    assert abs(turned[0]) > 0.01


def test_frames_without_labels_are_items_too(tmp_path):
    path = build(tmp_path, Scene(sequences={KEY: (0, 1)}, labelled=False))
    assert len(ClipDataset(path, require_pose=True)) == 2
    item = ClipDataset(path)[0]
    assert (item["occluded"] == 255).all() and np.isnan(item["visible_fraction"]).all() and item["has_pose"]


def test_evaluation_frames_of_ho3d_need_no_ground_truth(tmp_path):
    scene = Scene(dataset="ho3d-v2", split="test", posed=False, sequences={"SM1": (0, 1, 2)})
    path = build(tmp_path, scene)
    store = ClipStore.open(path)
    assert store.attrs["codec"] == photos.REENCODED and (store.index["box_rule"] == GIVEN).all()
    item = ClipDataset(path, frames=window_of("ho3d-v2", train=False))[2]
    assert not item["has_pose"].any() and not item["has_joints"].any()
    for name in ("joints", "joints_2d", "mano_pose", "mano_shape"):
        assert (item[name] == 0).all(), name
    assert np.isfinite(item["root"]).all() and (item["root"] != 0).any()
    with pytest.raises(InputError, match="no frame passes"):
        ClipDataset(path, require_pose=True)


def test_hands_outside_the_photo_are_for_testing_only(tmp_path):
    path = build(tmp_path, Scene(sequences={KEY: (0, 1)}, place=(1.2, 0.9, 0.75)))
    assert (ClipStore.open(path).index["box_rule"] == WHOLE_PHOTO).all()
    assert ClipDataset(path)[0]["images"].any()  # the whole photo, as the authors test
    with pytest.raises(InputError, match="no frame passes"):
        ClipDataset(path, augment=Augmentation())


def test_each_store_gets_its_own_window_and_its_place(clips, tmp_path):
    other = build(tmp_path, Scene(dataset="ho3d-v3", sequences={"ABF10": tuple(range(0, 64, 8))}))
    windows = {name: window_of(name, train=False) for name in ("dexycb", "ho3d-v3")}
    dataset = ClipDataset([clips, other], frames=windows)
    assert dataset.counts == (21, 8) and len(dataset) == 29
    assert (dataset[20]["store"], dataset[21]["store"]) == (0, 1)
    assert ClipStore.open(other).index["frame"][dataset[28]["frame_index"]].tolist() == [56, 24, 0]
    with pytest.raises(IndexError):
        dataset[29]
    with pytest.raises(InputError, match="no window given"):
        ClipDataset([clips, other], frames={"dexycb": windows["dexycb"]})


# -- determinism, pickling, nothing written -----------------------------------------------------------------------


def test_items_follow_from_seed_epoch_and_index_alone(clips):
    a, b = ClipDataset(clips, **TRAIN, seed=3), ClipDataset(clips, **TRAIN, seed=3)
    _ = [b[i] for i in range(21)]
    np.random.default_rng(0).random(5)
    assert same(a[17], b[17])
    assert same(a[(0, 17, 0)], b[17])
    b.set_epoch(1)
    assert not same(a[17], b[17]) and same(a[(1, 17, 0)], b[17])
    assert not same(a[(0, 17, 0)], a[(0, 17, 1)])
    assert not same(a[17], ClipDataset(clips, **TRAIN, seed=4)[17])
    assert same(ClipDataset(clips)[17], ClipDataset(clips, seed=9)[17])  # nothing random without augmentation


def test_the_dataset_pickles_small_and_opens_again(clips):
    dataset = ClipDataset(clips, **TRAIN)
    item = dataset[5]
    data = pickle.dumps(dataset)
    assert len(data) < 4000
    assert same(pickle.loads(data)[5], item)  # noqa: S301


def test_an_epoch_changes_neither_store_nor_index(tmp_path):
    path = build(tmp_path, Scene(left=True))
    before, store = digest(path), ClipStore.open(path)
    columns = {name: store.index[name].copy() for name in store.index}
    dataset = ClipDataset(path, **TRAIN)
    first = dataset[11]
    for _ in range(2):
        for batch in loader(dataset, 4, shuffle=True):
            for tensor in batch.values():
                tensor.zero_()  # batches are copies: writing into them reaches nothing
    for values in dataset[11].values():
        if values.ndim and values.flags.writeable:
            values[...] = 0
    assert same(dataset[11], first)  # the authors' flip and rotation accumulate (docs/clips.md)
    assert digest(path) == before
    assert all(np.array_equal(store.index[n], columns[n], equal_nan=True) for n in columns)
    with pytest.raises(ValueError, match="read-only"):
        store.index["joints"][0] = 0


def test_a_rebuilt_store_is_noticed(clips, copy, tmp_path):
    dataset = pickle.dumps(ClipDataset(copy))
    shutil.rmtree(copy)
    shutil.copytree(build(tmp_path / "new", Scene(seed=1)), copy)
    with pytest.raises(InputError, match="built anew"):
        pickle.loads(dataset)[0]  # noqa: S301


def test_augmentation_beyond_the_stored_margin_is_refused(clips):
    with pytest.raises(InputError, match=r"up to scale 1\.25"):
        ClipDataset(clips, augment=Augmentation(scale=0.5))


# -- damage -------------------------------------------------------------------------------------------------------


def test_a_whole_store_verifies(clips):
    assert verify(clips) == []


@pytest.mark.parametrize("array", ["jpeg", "rows"])
def test_a_flipped_bit_in_a_sequence_is_found(copy, array):
    file = copy / "sequences" / KEY.replace("/", "__") / array / "c" / "0"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    problems = verify(copy)
    assert KEY in problems[0] and "checksum" in problems[0]
    assert len(problems) == (2 if array == "rows" else 1)
    assert all("is not that of sequence" in problem for problem in problems[1:])


def test_a_flipped_bit_in_the_index_is_found(copy):
    file = copy / "index" / "joints" / "c" / "0" / "0" / "0"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    assert [p.split(":")[0] for p in verify(copy)] == ["index column joints"]
    file.write_bytes(data[:-4])
    with pytest.raises(InputError, match="index is damaged"):
        ClipDataset(copy)[0]


def test_a_frame_that_is_there_twice_is_named(copy):
    file, meta = copy / "index" / "frame" / "c" / "0", copy / "index" / "zarr.json"
    frames = np.fromfile(file, np.int32)
    frames[6] = frames[5]
    frames.tofile(file)
    group = json.loads(meta.read_text())  # a store that was written so: its checksums are right
    group["attributes"]["columns"]["frame"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    meta.write_text(json.dumps(group))
    assert clip_info(copy).duplicates == 1
    twice, other = verify(copy)
    assert twice == f"sequence {KEY}: frame 5 is there more than once"
    assert other.startswith(f"index column frame: is not that of sequence {KEY}")


def test_a_missing_sequence_is_named(copy):
    shutil.rmtree(copy / "sequences" / OTHER.replace("/", "__"))
    with pytest.raises(InputError, match=OTHER):
        ClipStore.open(copy)
    assert len(verify(copy)) == 1 and OTHER in verify(copy)[0]


def test_a_missing_or_foreign_picture_file_is_named(copy):
    dataset = ClipDataset(copy)
    file = copy / "sequences" / OTHER.replace("/", "__") / "jpeg" / "c" / "0"
    size = file.stat().st_size
    file.write_bytes(bytes(size))
    with pytest.raises(InputError, match=rf"{OTHER}.*frame 3"):
        dataset[15]
    file.unlink()
    with pytest.raises(InputError, match=OTHER):
        dataset[15]


def test_an_older_schema_version_is_refused_by_name(copy):
    meta = json.loads((copy / "zarr.json").read_text())
    meta["attributes"]["schema_version"] = 0
    (copy / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match="schema_version is 0, older"):
        ClipDataset(copy)


def test_an_interrupted_build_is_refused(copy):
    shutil.rmtree(copy / "index")
    with pytest.raises(InputError, match="interrupted"):
        ClipDataset(copy)
    with pytest.raises(InputError, match=r"does not exist"):
        ClipDataset(copy / "nothing.zarr")


# -- info and sheet -----------------------------------------------------------------------------------------------


def test_info_counts(tmp_path):
    path = build(tmp_path, Scene(sequences={KEY: (0, 1, 5, 6), OTHER: (3, 9)}, left=True))
    info, store = clip_info(path), ClipStore.open(path)
    assert (info.frames, info.sequences, info.labelled, info.with_pose, info.left) == (6, 2, 6, 6, 6)
    assert info.gaps == 3 + 5 and info.duplicates == 0 and info.failures == 0
    assert info.picture_bytes == store.index["length"].sum()
    assert info.occluded["thumb"] == (store.index["occluded"][:, 0] == 1).sum()
    assert info.files == sum(p.is_file() for p in path.rglob("*")) - (path / ".lock").exists()
    assert "thumb" in str(info) and "6 frames" not in str(info) and "6 in 2 camera sequences" in str(info)


def test_the_sheet_takes_hands_that_are_in_the_photo_first(tmp_path, monkeypatch):
    """Of 9 frames the last 3 have their hand beside the photo: 6 windows show the others, 8 two of these as well."""
    path = build(tmp_path, Scene(sequences={KEY: tuple(range(9))}))
    store, drawn = ClipStore.open(path), []
    points = store.index["joints_2d"].copy()
    points[6:] += 5000.0
    monkeypatch.setitem(store.index._open, "joints_2d", points)
    monkeypatch.setattr(sheet.ClipStore, "open", lambda _: store)
    row = sheet._row
    monkeypatch.setattr(
        sheet, "_row", lambda item, opened: drawn.append(int(item["frame_index"][0])) or row(item, opened)
    )
    for windows, beside in ((6, 0), (8, 2)):
        drawn.clear()
        contact_sheet(path, tmp_path / "sheet.png", seed=3, windows=windows)
        assert len(drawn) == windows and sum(frame >= 6 for frame in drawn) == beside


def test_the_sheet_shows_windows_with_labels(clips, tmp_path):
    picture = cv2.imread(str(contact_sheet(clips, tmp_path / "sheet.png", seed=1, windows=4)))
    assert picture.shape[1] == 3 * 256 and picture.shape[0] % 4 == 0
    red, green = (picture == (70, 70, 235)).all(-1).sum(), (picture == (90, 200, 90)).all(-1).sum()
    assert red > 1000 and green > 1000  # the strips of occluded and visible labels
    again = cv2.imread(str(contact_sheet(clips, tmp_path / "again.png", seed=1, windows=4)))
    np.testing.assert_array_equal(picture, again)
    with pytest.raises(InputError, match="png"):
        contact_sheet(clips, tmp_path / "sheet.txt")
