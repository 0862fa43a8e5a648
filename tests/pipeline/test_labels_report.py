"""h2o labels report: the page's numbers are those of the columns, what nobody knows says so, pictures are optional."""

import re
import shutil
import tarfile
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import clip_scene
import numpy as np
import pytest
import raw_trees as trees
from cli_trees import h2o
from h2onet.data.labels import LabelStore
from h2onet.data.readers.dexycb_splits import SERIALS, YCB_NAMES
from h2onet.data.stores.columns import LATER_COLUMNS
from h2onet.hand.parts import CAUSES, FINGERS, JOINT_NAMES, LABELS, PARTS
from h2onet.pipeline.labels import report
from h2onet.pipeline.labels.page import tables
from h2onet.pipeline.labels.page.cards import make_card, make_gallery
from h2onet.pipeline.labels.page.choice import MASK, RULES, choose_frames
from h2onet.pipeline.labels.page.pictures import LARGEST_URI, SIDE, frame_uri
from h2onet.pipeline.labels.page.rows import read_rows_of, repeated_frames, share_text
from h2onet.pipeline.labels.page.times import TENTHS, choose_courses, tenth_of, time_table
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels

PACKED = Path(__file__).parents[1] / "fixtures" / "state-0.1.0.tar.xz"
KEYS = tuple(f"{subject}/{clip_scene.KEY.split('/')[1]}/{serial}" for subject in ("20200709-subject-01",
             "20200813-subject-02") for serial in SERIALS[:2])  # fmt: skip


def write_store(path: Path, change=None, keys=KEYS, frames: int = 12, seed: int = 0, **facts) -> Path:
    """Labels without photos: every column random within its meaning, some rows and values unknown."""
    labels, rng = LabelStore.create(path, {"scene": "made up"}), np.random.default_rng(seed)
    scene = clip_scene.Scene()
    for number, key in enumerate(keys):
        rows = {name: values[[0] * frames] for name, values in _like(path.parent, scene).items()}
        seen = rng.random((frames, 6)).astype(np.float32)
        seen[rng.random((frames, 6)) < 0.2] = 1.0
        rest = rng.dirichlet([1, 1, 1, 0.3], (frames, 6)).astype(np.float32) * (1 - seen)[..., None]
        cause = np.where(seen == 1, 0, 1 + rest.argmax(axis=2)).astype(np.uint8)
        joints = rng.integers(0, 2, (frames, 21)).astype(np.uint8)
        rows |= {
            "frame": np.arange(frames, dtype=np.int32) * 3,
            "occluded": rng.integers(0, 2, (frames, 7)).astype(np.uint8),
            "visible_fraction": seen,
            "hidden_fraction": rest[..., :3],
            "other_hand_fraction": rest[..., 3],
            "cause": cause,
            "joint_visible": joints,
            "coco_visibility": np.where(rng.random((frames, 21)) < 0.1, 0, joints + 1).astype(np.uint8),
            "mask_iou": rng.uniform(0.6, 1, frames).astype(np.float32),
            "hand_visible_area": rng.random(frames).astype(np.float32),
            "hand_hidden_area": rng.random((frames, 3)).astype(np.float32),
            "object_visible_area": rng.random(frames).astype(np.float32),
            "object_id": rng.choice([-1, 0, 2, 14], frames).astype(np.int32),
            "is_left": np.full(frames, number % 2 == 1),
        }
        rows["occluded"][rng.random(frames) < 0.2] = 255
        rows["labelled"] = rows["occluded"][:, 0] != 255
        unknown = rng.random(frames) < 0.2
        for name, value in (("visible_fraction", np.nan), ("hidden_fraction", np.nan), ("other_hand_fraction", np.nan),
                            ("cause", 255), ("joint_visible", 255), ("coco_visibility", 0), ("mask_iou", np.nan),
                            ("hand_visible_area", np.nan), ("hand_hidden_area", np.nan)):  # fmt: skip
            rows[name][unknown] = value
        labels.commit(key, change(rows) if change else rows, {"failures": []})
    rules = {"h2onet": 1, "depth": 1}
    labels.finish(
        keys, {"dataset": "dexycb", "split": "train", "setup": "s0", "root": "/gone", "rules": rules, **facts}
    )
    labels.close()
    return path


def _like(folder: Path, scene: clip_scene.Scene) -> dict[str, np.ndarray]:
    """One row of every column."""
    if not (folder / "like" / "labels.zarr").exists():
        small = clip_scene.Scene(sequences={clip_scene.KEY: (0,)})
        clip_scene.write_scene(folder / "like", small)
    return LabelStore.open(folder / "like" / "labels.zarr").store.read(clip_scene.KEY)[0]


def all_unknown(rows):
    """No rule has an answer."""
    for name in ("occluded", "cause", "joint_visible"):
        rows[name][:] = 255
    for name in ("visible_fraction", "hidden_fraction", "other_hand_fraction", "mask_iou", "hand_visible_area",
                 "hand_hidden_area", "object_visible_area"):  # fmt: skip
        rows[name][:] = np.nan
    rows["labelled"][:], rows["coco_visibility"][:] = False, 0
    return rows


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return write_store(tmp_path_factory.mktemp("made") / "labels.zarr")


@pytest.fixture(scope="module")
def page(store, tmp_path_factory) -> "Page":
    out = tmp_path_factory.mktemp("page") / "page.html"
    done = h2o("labels", "report", store, "--out", out)
    assert done.code == 0 and done.out.startswith("48 frames of 1 store, 0 of 4"), done
    return Page(out)


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("state-0.1.0")
    with tarfile.open(PACKED) as bundle:
        bundle.extractall(folder, filter="data")
    return folder / "labels.zarr"


class Page(HTMLParser):
    """Tables of a page by id, first cell of a row -> its other cells; cards by their attributes; options of filters."""

    def __init__(self, path: Path):
        super().__init__()
        self.text = path.read_text("utf-8")
        self.tables, self.headers, self.cards, self.options = {}, {}, [], {}
        self._rows, self._cell, self._select = None, None, ""
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "table":
            self._rows = self.tables.setdefault(found.get("id"), [])
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = ""
        elif tag == "div" and "data-hidden" in found:
            self.cards.append(found)
        elif tag == "select":
            self._select = found["name"]
        elif tag == "option":
            self.options.setdefault(self._select, {})[found["value"]] = self._cell = ""
            self._value = found["value"]

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._rows:
            self._rows[-1].append(self._cell)
        elif tag == "option":
            self.options[self._select][self._value] = self._cell
        elif tag == "table":
            self._rows = None

    def rows(self, name: str) -> dict[str, list[str]]:
        return {line[0]: line[1:] for line in self.tables[name][1:]}


def as_texts(table: tables.Table) -> dict[str, list[str]]:
    return {str(line[0]): [str(cell) for cell in line[1:]] for line in table.rows}


def percent(few: int, whole: int) -> str:
    return f"{100 * few / whole:.1f} %" if whole else "unknown"


# -- numbers ------------------------------------------------------------------------------------------------------


def test_fingers_of_the_page_are_those_of_the_columns(store, page):
    labels = LabelStore.open(store)
    for i, label in enumerate(LABELS):
        column = labels["occluded"][:, i].tolist()
        hidden, known = column.count(1), len(column) - column.count(255)
        cells = page.rows("fingers")[label]
        assert cells[:3] == [str(hidden), str(known), percent(hidden, known)], label
        if label in PARTS:
            seen = [value for value in labels["visible_fraction"][:, i].tolist() if value == value]
            few = sum(value < 0.5 for value in seen)
            mean = f"{sum(seen) / len(seen):.3f}"
            assert cells[3:] == [str(few), str(len(seen)), percent(few, len(seen)), mean], label


def test_joints_and_coco_flags_are_those_of_the_columns(store, page):
    labels = LabelStore.open(store)
    for j, joint in enumerate(JOINT_NAMES):
        seen, flags = labels["joint_visible"][:, j].tolist(), labels["coco_visibility"][:, j].tolist()
        known = len(seen) - seen.count(255)
        told = [flag for flag, value in zip(flags, seen, strict=True) if value != 255]
        expected = [
            seen.count(0),
            known,
            percent(seen.count(0), known),
            told.count(2),
            told.count(1),
            told.count(0),
            known,
        ]
        assert page.rows("joints")[joint] == [str(cell) for cell in expected], joint


def test_causes_are_those_of_the_columns(store, page):
    labels = LabelStore.open(store)
    for i, part in enumerate(PARTS):
        column = Counter(labels["cause"][:, i].tolist())
        known = 48 - column[255]
        counts = [str(column[code]) for code in range(len(CAUSES))]
        assert page.rows("causes")[part] == [*counts, str(known), str(known)], part
        shares = [labels["hidden_fraction"][:, i, k] for k in range(3)] + [labels["other_hand_fraction"][:, i]]
        means = [f"{np.nanmean(share.astype(np.float64)):.3f}" for share in shares]
        assert page.rows("cause-shares")[part][:4] == pytest.approx(means), part


@pytest.mark.parametrize("title", ["subject", "object", "camera", "hand-side"])
def test_groups_have_the_counts_of_their_frames(store, page, title):
    labels = LabelStore.open(store)
    keys = [labels.sequences[i] for i in labels["sequence_id"]]
    objects = {-1: "not annotated", 0: "without a name"} | {i + 1: name for i, name in enumerate(YCB_NAMES)}
    names = {
        "subject": [key.split("/")[0] for key in keys],
        "camera": [key.split("/")[2] for key in keys],
        "object": [objects[i] for i in labels["object_id"].tolist()],
        "hand-side": ["left" if left else "right" for left in labels["is_left"].tolist()],
    }[title]
    found = page.rows(f"by-{title}")
    assert set(found) == set(names)
    for name, cells in found.items():
        mine = np.array(names) == name
        occluded, seen = labels["occluded"][mine, :5], labels["visible_fraction"][mine, :5]
        cause, joints = labels["cause"][mine, :5], labels["joint_visible"][mine]
        area = labels["hand_visible_area"][mine].astype(np.float64)
        hidden, known = int((occluded == 1).sum()), int((occluded < 2).sum())
        few, whole = int((seen < 0.5).sum()), int(np.isfinite(seen).sum())
        joints_known = int((joints < 2).sum())
        expected = [int(mine.sum()), hidden, known, percent(hidden, known), few, whole, percent(few, whole)]
        expected += [int((cause == code).sum()) for code in range(1, 5)]
        expected += [percent(int((joints == 0).sum()), joints_known), joints_known]
        expected += [f"{np.nanmean(area):.3f}", int(np.isfinite(area).sum())]
        assert cells == [str(cell) for cell in expected], name


def test_the_two_rules_are_compared_where_both_have_an_answer(store, page):
    labels = LabelStore.open(store)
    for i, part in enumerate(PARTS):
        pairs = Counter(
            (a == 1, b < 0.5)
            for a, b in zip(labels["occluded"][:, i].tolist(), labels["visible_fraction"][:, i].tolist(), strict=True)
            if a != 255 and b == b
        )
        counts = [pairs[True, True], pairs[True, False], pairs[False, True], pairs[False, False]]
        cells = page.rows("agreement")[part]
        assert cells[:6] == [*map(str, counts), str(sum(counts)), percent(counts[0] + counts[3], sum(counts))]
        agreed = (counts[0] + counts[3]) / sum(counts)
        first, second = (counts[0] + counts[1]) / sum(counts), (counts[0] + counts[2]) / sum(counts)
        chance = first * second + (1 - first) * (1 - second)
        assert float(cells[6]) == pytest.approx((agreed - chance) / (1 - chance), abs=0.006), part


@pytest.mark.parametrize(
    ("counts", "kappa"),
    [
        ((5, 0, 0, 5), "1.00"),
        ((25, 25, 25, 25), "0.00"),
        ((0, 5, 5, 0), "-1.00"),
        ((0, 0, 0, 9), "–"),
        ((0,) * 4, "unknown"),
    ],
)
def test_kappa(counts, kappa):
    assert tables.kappa_text(counts) == kappa


def test_silhouettes_and_masks_are_those_of_the_columns(store, page):
    labels = LabelStore.open(store)
    for column, name in enumerate(("hand_visible_area", "object_visible_area")):
        known = labels[name][np.isfinite(labels[name])]
        edges = {"0 to 0.25": (0, 0.25), "0.25 to 0.5": (0.25, 0.5), "0.5 to 0.75": (0.5, 0.75), "0.75 to 1": (0.75, 2)}
        for words, (low, high) in edges.items():
            count = int(((known >= low) & (known < high)).sum())
            assert page.rows("areas")[words][2 * column : 2 * column + 2] == [str(count), percent(count, len(known))]
        assert page.rows("areas")["mean"][2 * column + 1] == f"of {len(known)}"
    overlap = labels["mask_iou"][np.isfinite(labels["mask_iou"])]
    cells = page.rows("mask")["overlap"]
    assert (cells[0], cells[3], cells[-1]) == (f"{overlap.min():.3f}", f"{np.median(overlap):.3f}", str(len(overlap)))
    medians = [float(cells[0]) for cells in page.rows("mask-sequences").values()]
    assert len(medians) == 4 and medians == sorted(medians)


def test_time_is_counted_in_tenths_of_the_recording(store, page):
    labels = LabelStore.open(store)
    found = page.rows("time")
    totals = np.zeros((TENTHS, 3), int)
    for frame, row in zip(labels["frame"].tolist(), labels["occluded"][:, :5], strict=True):
        tenth = frame * TENTHS // 34  # every recording has frames 0, 3, .. 33
        totals[tenth] += [1, int((row == 1).sum()), int((row != 255).sum())]
    for tenth, (frames, hidden, known) in enumerate(totals.tolist()):
        cells = found[f"{10 * tenth} to {10 * tenth + 10} %"]
        assert cells[:4] == [str(frames), str(hidden), str(known), percent(hidden, known)], tenth
    assert totals[:, 0].sum() == 48 and len(found) == TENTHS


def test_tenths_without_a_frame_are_left_out(tmp_path):
    short = time_table(read_rows_of([write_store(tmp_path / "short.zarr", frames=4)]))
    assert [line[0] for line in short.rows] == ["0 to 10 %", "30 to 40 %", "60 to 70 %", "90 to 100 %"]
    assert sum(line[1] for line in short.rows) == 4 * len(KEYS)


def test_the_course_of_a_recording_adds_up_its_cameras(store):
    rows = read_rows_of([store])
    courses = choose_courses(rows, 6)
    assert sorted(course.name for course in courses) == sorted({key.rpartition("/")[0] for key in KEYS})
    for course in courses:
        mine = rows.recording.of == rows.recording.names.index(course.name)
        assert course.frames.tolist() == sorted({*rows["frame"][mine].tolist()})
        for place, frame in enumerate(course.frames.tolist()):
            here = rows["occluded"][mine & (rows["frame"] == frame), :5]
            assert course.hidden["h2onet"][place].tolist() == (here == 1).sum(axis=0).tolist()
            assert course.known["h2onet"][place].tolist() == (here != 255).sum(axis=0).tolist()


def test_the_recording_that_changes_is_shown_first(tmp_path):
    keys = tuple(f"20200709-subject-01/take_{letter}/{SERIALS[0]}" for letter in "abc")

    def steady(rows):
        rows["occluded"][:] = 0
        return rows

    path = write_store(tmp_path / "labels.zarr", steady, keys)
    rows = read_rows_of([path])
    rows["occluded"][12:18, :5] = 1  # half of the second take
    assert choose_courses(rows, 1)[0].name == "20200709-subject-01/take_b"


# -- what is not known --------------------------------------------------------------------------------------------


def test_what_nobody_knows_is_unknown_and_never_zero(tmp_path):
    out = tmp_path / "page.html"
    path = write_store(tmp_path / "labels.zarr", all_unknown)
    assert h2o("labels", "report", path, "--out", out).code == 0
    page = Page(out)
    assert "%" not in "".join(
        cell for name in ("fingers", "joints", "agreement") for line in page.tables[name] for cell in line
    )
    for name, places in (
        ("fingers", (2, 5, 6)),
        ("joints", (2, 3, 4, 5)),
        ("agreement", (5, 6)),
        ("areas", (0, 1, 2, 3)),
    ):
        for first, cells in page.rows(name).items():
            if first not in ("global", "mean"):
                assert {cells[place] for place in places} == {"unknown"}, (name, first)
    for cells in page.rows("by-camera").values():
        assert cells[3] == cells[6] == cells[11] == cells[13] == "unknown" and set(cells[7:11]) == {"unknown"}
    assert "<svg" not in page.text  # no empty plots
    assert page.cards == [] and "No frame has an overlap with a mask" in page.text


def test_a_store_of_0_1_0_has_its_later_columns_unknown(old, tmp_path):
    rows = read_rows_of([old])
    for cells in as_texts(tables.joint_table(rows)).values():
        assert cells[3:] == ["unknown"] * 3 + ["0"] and cells[1] == "9"
    for table in tables.cause_tables(rows):
        for cells in as_texts(table).values():
            assert cells[-3:] == ["unknown", "9", "0"], table.name
    areas, rest = tables.area_tables(rows)
    assert {cell for line in areas.rows[:-1] for cell in line[1:]} == {"unknown"}
    assert {line[1] for line in rest.rows} == {"unknown"}
    for cells in as_texts(tables.group_table(rows, "c", "", rows.groups["camera"])).values():
        assert cells[10] == "unknown" and cells[13:] == ["unknown", "0"] and "unknown" not in cells[7:10]
    out = tmp_path / "page.html"
    assert h2o("labels", "report", old, "--out", out).code == 0
    assert all(name in Page(out).text for name in LATER_COLUMNS) and "earlier version" in Page(out).text


def test_beside_a_newer_store_only_the_newer_one_s_frames_are_counted_as_known(old, store):
    both, new = read_rows_of([old, store]), read_rows_of([store])
    for make in (tables.area_tables, lambda rows: [tables.joint_table(rows)]):
        for mixed, alone in zip(make(both), make(new), strict=True):
            for line, other in zip(mixed.rows, alone.rows, strict=True):
                assert line[-1] == other[-1], mixed.name  # what the later column is known of
    for part, cells in as_texts(tables.cause_tables(both)[0]).items():
        alone = as_texts(tables.cause_tables(new)[0])[part]
        assert cells[4] == alone[4] and int(cells[5]) == int(alone[5]) + 9 and cells[6] == alone[6]


# -- several stores -----------------------------------------------------------------------------------------------


def test_several_stores_are_added_up_and_listed(store, tmp_path):
    other = write_store(tmp_path / "labels.zarr", frames=5, seed=1, keys=KEYS[:1], split="val")
    rows = read_rows_of([store, other])
    sums = [LabelStore.open(path)["occluded"] for path in (store, other)]
    for i, label in enumerate(LABELS):
        cells = as_texts(tables.finger_table(rows))[label]
        assert cells[:2] == [
            str(sum((c[:, i] == 1).sum() for c in sums)),
            str(sum((c[:, i] != 255).sum() for c in sums)),
        ]
    listed = as_texts(tables.store_table(rows))
    assert [cells[:2] for cells in listed.values()] == [["4", "48"], ["1", "5"]]
    assert [*listed] == [str(store), str(other)] and "store" in rows.groups
    assert repeated_frames(rows) == 5 and repeated_frames(read_rows_of([store])) == 0
    assert any("5 frames are in more than one store" in note for note in report._notes(rows))


def test_recordings_of_several_datasets_are_told_apart(tmp_path):
    paths = [
        write_store(tmp_path / name / "labels.zarr", keys=("ABF10", "ABF11"), dataset=name, setup=None)
        for name in ("ho3d-v2", "ho3d-v3")
    ]
    rows = read_rows_of(paths)
    assert rows.recording.names == ("ho3d-v2 ABF1", "ho3d-v3 ABF1") and rows.recording.count().tolist() == [24, 24]
    assert rows.groups["camera"].names == ("ho3d-v2 0", "ho3d-v2 1", "ho3d-v3 0", "ho3d-v3 1")
    assert {name.partition(" ")[2] for name in rows.groups["subject"].names} == {"not named by the dataset"}
    assert repeated_frames(rows) == 0


def test_tenths_are_of_each_recording_s_own_length(tmp_path):
    def late(rows):
        rows["frame"] = rows["frame"] + 100
        return rows

    rows = read_rows_of([write_store(tmp_path / "labels.zarr", late)])
    assert sorted({*tenth_of(rows).tolist()}) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert sum(int(line[1]) for line in time_table(rows).rows) == len(rows)


# -- pictures -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    recordings = {
        ("20200709-subject-01", "20200709_141754"): "right",
        ("20200709-subject-01", "20200709_141931"): "left",
    }
    folder = tmp_path_factory.mktemp("tree")
    root = trees.write_dexycb(folder / "DEX_YCB", recordings, SERIALS[:1])
    prepare_labels(LabelSettings("dexycb", root, "train", "standin", folder / "labels.zarr", workers=1))
    return folder


def test_frames_are_drawn_from_the_dataset(tree):
    gallery = make_gallery(read_rows_of([tree / "labels.zarr"]))
    assert gallery.drawn == len(gallery.cards) == 6 and gallery.problems == []
    assert all(card.picture.startswith("data:image/jpeg;base64,") for card in gallery.cards)


def test_a_photo_that_is_missing_is_named_and_the_rest_is_there(tree, tmp_path, monkeypatch):
    moved = Path(shutil.copytree(tree, tmp_path / "tree"))
    lost = moved / "DEX_YCB" / trees.SUBJECT / trees.SEQUENCE / SERIALS[0] / "color_000002.jpg"
    lost.unlink()
    (tree / "DEX_YCB").rename(tree / "gone")  # the store's own root; the copy is named by the environment
    try:
        monkeypatch.setenv("DEX_YCB_DIR", str(moved / "DEX_YCB"))
        assert len(make_gallery(read_rows_of([moved / "labels.zarr"])).problems) == 1  # meshes are found beside it
        shutil.rmtree(moved / "DEX_YCB" / "models")
        gallery = make_gallery(read_rows_of([moved / "labels.zarr"]))
        assert gallery.drawn == 5 and sum(card.picture is None for card in gallery.cards) == 1
        named = [line for line in gallery.problems if "color_000002.jpg" in line]
        assert len(named) == 1 and "\n" not in named[0]
        assert any("object meshes are not there" in line for line in gallery.problems)
        monkeypatch.delenv("DEX_YCB_DIR")
        gallery = make_gallery(read_rows_of([moved / "labels.zarr"]))
        assert gallery.drawn == 0 and len(gallery.problems) == 1
        assert "is not on this machine" in gallery.problems[0] and "(6 frames)" in gallery.problems[0]
    finally:
        (tree / "gone").rename(tree / "DEX_YCB")


def test_another_hand_than_the_labels_is_not_drawn(tree, tmp_path):
    labels = LabelStore.open(tree / "labels.zarr")
    new = LabelStore.create(tmp_path / "labels.zarr", {})
    for key in labels.sequences:
        new.commit(key, labels.store.read(key)[0], {"failures": []})
    kept = {name: labels.attrs[name] for name in ("dataset", "split", "setup", "root", "image", "photo")}
    mano = {side: {"source": "MANO.pkl", "sha256": "0" * 64} for side in ("left", "right")}
    new.finish(labels.sequences, kept | {"mano": mano, "mano_path": str(tmp_path)})
    new.close()
    gallery = make_gallery(read_rows_of([tmp_path / "labels.zarr"]))
    assert gallery.drawn == 0 and "MANO_" in gallery.problems[0]


def test_without_photos_the_page_has_its_numbers_and_says_which_photos(page):
    count = len(page.cards)
    assert f"/gone: is not on this machine, so its photos cannot be read ({count} frames)" in page.text
    assert count > 40 and page.text.count("no picture</div>") == count and "<svg" in page.text


def test_pictures_are_bounded():
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, 2 * SIDE + 4, 3)).astype(np.uint8)
    assert len(frame_uri(noise)) <= LARGEST_URI


# -- the gallery and its filters ----------------------------------------------------------------------------------


def test_doubtful_frames_come_first_each_once_and_not_all_of_one_sequence(store):
    rows = read_rows_of([store])
    chosen = choose_frames(rows, 20)
    assert len(chosen) == 20
    reasons = Counter(chosen.values())
    assert reasons[RULES] >= 4
    most = max(Counter(rows.sequence[list(chosen)].tolist()).values())
    assert most <= 20 // len(KEYS) + 12 and len({*rows.sequence[list(chosen)].tolist()}) == len(KEYS)
    apart = [int(rows.disagreeing[row]) for row, reason in chosen.items() if reason == RULES]
    assert apart[0] == max(rows.disagreeing[rows["hidden_fraction"][:, :, 2].mean(axis=1) <= 0.5])
    low = [float(rows["mask_iou"][row]) for row, reason in chosen.items() if reason == MASK]
    assert all(overlap < 0.75 for overlap in low)
    assert len(choose_frames(rows, 1000)) <= len(rows)


def test_a_card_says_what_the_store_says(store):
    rows = read_rows_of([store])
    for row in range(len(rows)):
        card = make_card(rows, row, "why", None)
        assert card.name == f"{KEYS[row // 12]}/{3 * (row % 12)}"
        for i, bar in enumerate(card.bars):
            label, seen = rows["occluded"][row, i], rows["visible_fraction"][row, i]
            assert bar.label == (None if label == 255 else label)
            assert bar.seen is None if np.isnan(seen) else bar.seen == pytest.approx(seen)
            assert bar.seen is None or bar.seen + sum(share for _, share, _ in bar.rest) == pytest.approx(1, abs=1e-5)
            listed = {token.partition(":")[0] for token in card.hidden}
            assert (PARTS[i] in listed) == (label == 1 or seen < 0.75)


def test_every_option_of_a_filter_leaves_as_many_cards_as_it_says(page):
    counted = 0
    for name, options in page.options.items():
        for value, text in options.items():
            if not value:
                continue
            said = int(re.fullmatch(r".*\((\d+)\)", text)[1])
            left = [card for card in page.cards if fits(card, name, value)]
            assert len(left) == said > 0, (name, value)
            counted += 1
    assert set(page.options) == {"part", "cause", "object", "recording", "rules", "why"} and counted > 15


def fits(card: dict[str, str], name: str, value: str) -> bool:
    tokens = [token.split(":") for token in card["data-hidden"].split()]
    if name in ("part", "cause"):
        return any(token[name == "cause"] == value for token in tokens)
    if name == "rules":
        apart = card["data-rules"]
        return apart != "" and (apart == "0" if value == "0" else int(apart) >= int(value))
    return card[f"data-{name}"] == value


def test_the_page_loads_nothing(page):
    assert "default-src 'none'" in page.text and len(page.text) < 4e6
    links = re.findall(r'(?:src|href|action)="([^"]*)"', page.text)
    assert links and all(link.startswith(("#", "data:image/")) for link in links)
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest|import\(", page.text)


def test_names_out_of_a_store_are_text(tmp_path):
    evil = '<script>alert(1)</script>"$\\frac{$'
    path = write_store(tmp_path / "labels.zarr", frames=4, object_names=[evil] * 30, warnings=[evil], renderer=evil)
    out = tmp_path / "page.html"
    assert h2o("labels", "report", path, "--out", out).code == 0
    text = out.read_text()
    assert text.count("<script>") == 1 and "alert(1)&lt;/script&gt;" in text
    assert any(evil in row for row in Page(out).rows("by-object"))


def test_numbers_without_bounds_do_not_break_the_page(tmp_path):
    """An edited store may hold anything there."""

    def wild(rows):
        rows["frame"] = np.array([0, 1, 2, 3, 4, 2**31 - 1], np.int32)
        rows["object_id"] = np.array([-(2**31), 2**31 - 1, 22, 1, 0, -1], np.int32)
        return rows

    path, out = write_store(tmp_path / "labels.zarr", wild, frames=6), tmp_path / "page.html"
    assert h2o("labels", "report", path, "--out", out).code == 0
    assert len(Page(out).rows("by-object")) == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [("visible_fraction", value) for value in (np.inf, -0.5, 7.0, 3e38)]
    + [(name, 7.0) for name in ("hidden_fraction", "mask_iou", "object_visible_area")],
)
def test_a_share_that_is_none_is_refused(tmp_path, name, value):
    def spoil(rows):
        rows[name][3] = value
        return rows

    path = write_store(tmp_path / "labels.zarr", spoil, KEYS[:1])
    error = h2o("labels", "report", path, "--out", tmp_path / "page.html").error
    assert name in error and "row 3" in error and "expected 0 to 1" in error and str(path) in error


# -- the command --------------------------------------------------------------------------------------------------


def test_what_cannot_be_reported_is_refused_in_one_line(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").write_text("a file")
    empty = write_store(tmp_path / "empty.zarr", frames=0)
    clip_scene.write_scene(tmp_path / "scene", clip_scene.Scene(sequences={clip_scene.KEY: (0,)}))
    shutil.rmtree(tmp_path / "scene/labels.zarr/index/cause")
    for arguments, said in (
        ((store, "--out", "page.txt"), "expected a name ending in .html"),
        ((store, "--out", "folder.html"), "is a folder"),
        ((store, "--out", "file/page.html"), "is a file, expected a folder"),
        ((store, "--out", store / "page.html"), "lies inside the store"),
        ((store, store.parent / "." / store.name, "--out", "page.html"), "is named twice"),
        ((store, tmp_path / "none.zarr", "--out", "page.html"), "none.zarr"),
        ((empty, "--out", "page.html"), "no frame to report"),
        ((tmp_path / "scene/labels.zarr", "--out", "page.html"), "cause"),
    ):
        assert said in h2o("labels", "report", *arguments).error, arguments
    assert not (tmp_path / "page.html").exists()


def test_somebody_elses_page_is_not_replaced(store, tmp_path):
    out = tmp_path / "mine.html"
    out.write_text("<h1>precious</h1>")
    assert "is no page of h2o labels report and would be replaced" in h2o("labels", "report", store, "--out", out).error
    assert out.read_text() == "<h1>precious</h1>"


def test_a_page_is_replaced_as_a_whole_or_not_at_all(store, tmp_path, monkeypatch):
    out = tmp_path / "page.html"
    before = report.MARK + b"the page before"
    out.write_bytes(before)

    def broken(*_, **__):
        raise OSError("half way")

    monkeypatch.setattr(report, "make_parts", lambda rows: [])  # no plots: it is the writing that ends half-way
    with monkeypatch.context() as patch:
        patch.setattr(report, "fill_template", broken)
        with pytest.raises(OSError, match="half way"):
            report.report_labels([store], out)
    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OSError, match="half way"):
        report.report_labels([store], out)
    assert out.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_shares_of_nothing_are_unknown():
    assert share_text(0, 0) == "unknown" and share_text(0, 5) == "0.0 %" and share_text(1, 3) == "33.3 %"
    assert len(FINGERS) == 5
