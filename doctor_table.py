"""`h2o doctor --dataset table`: a sample of a table's rows, held against photos, masks and themselves.

Metres, pixels, OpenCV axes. Nothing is written. A mistake is a finding `wrong` with its likely repair.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .data.frame import FRAME_FAULTS
from .data.photos import decode, photo_size
from .data.readers.table import FILE, Table, open_table
from .data.readers.table_frames import hand_of, intrinsics_of, read_hand_mask
from .data.readers.table_index import survey_table
from .data.readers.table_rows import Row, RowReader, numbers
from .doctor_report import Finding
from .errors import InputError, one_line
from .hand.basis import hand_basis
from .hand.camera import project
from .labeling.objects import MESH_FILES, ObjectLibrary
from .labeling.renderers import make_renderer
from .labeling.table_fit import POSITIONS, Fit, Verdict, judge, scaled, turned
from .untrusted import check_relative, fault

SAMPLE = 48
FARTHEST = 5.0
"""m from the camera; a hand in a photo of hands is nearer."""
WIDEST = 0.5
"""m across a hand, and more."""
FARTHEST_WRIST = 0.02
"""m between the wrist that a row gives and the one that its translation makes."""
LEAST_OVERLAP = 0.4
"""Of hands and masks that objects before the hand explain."""
LEAST_INSIDE = 0.3
"""Of a hand's vertices, the median over the sample: below it the photos are of something else."""
_REPAIRS = {
    "side": "the rows name the wrong side: swap right and left, or turn mirrored photos back",
    "pca": (
        "mano_pose holds PCA coefficients: say pca = 45 in {file}",
        "mano_pose holds axis-angles: leave pca away in {file}",
    ),
    "mean": (
        "the poses lack the hand's mean: say flat_hand_mean = false in {file}",
        "the poses hold the hand's mean already: say flat_hand_mean = true in {file}",
    ),
    "order": (
        'joints are in MANO\'s order: say joint_order = "mano" in {file}',
        'joints are thumb to little: say joint_order = "fingers" in {file}',
    ),
}


@dataclass(frozen=True, eq=False)
class _Sample:
    """A row that can be read: its number, photo size (width, height) and mask; what is said where that is `empty`."""

    number: int
    row: Row
    size: tuple[int, int]
    mask: np.ndarray | None
    empty: str


def examine_table(root: Path, mano: str | None) -> Iterator[Finding]:
    """Findings about a table: its files, a sample of its rows, how they fit photos and masks. Without MANO fewer."""
    try:
        table = open_table(root)
        survey = survey_table(root, SAMPLE)
    except InputError as error:
        yield Finding("missing", f"table {root}", str(error))
        return
    counts = ", ".join(f"{name} {rows}" for name, rows in survey.splits.items())
    yield Finding("ok", f"{table.rows}: {sum(survey.splits.values())} rows of {survey.sequences} sequences ({counts})")
    if mano is None:
        return
    samples: list[_Sample] = []
    faults: list[str] = []
    with RowReader(table.rows) as rows:
        for number, a, b in survey.places:
            try:
                row = rows.read((a, b))
                if row.unannotated is None:
                    samples.append(_sample(number, row, table, mano, faults))
            except FRAME_FAULTS as error:
                faults.append(f"row {number}: {fault(error)}")
    if faults:
        yield Finding(
            "wrong",
            f"{len(faults)} faults in {len(survey.places)} sampled rows, first: {faults[0]}",
            _advice(faults[0]),
        )
    masks = [each for each in samples if each.mask is not None]
    empty = [each.empty for each in masks if each.empty]
    if 2 * len(empty) > len(masks):  # a few hands may be hidden as a whole
        advice = f"say the hand's colour as [mask] right = ... and left = ... in {FILE}, or as mask_value of the rows"
        yield Finding("wrong", f"{len(empty)} of {len(masks)} masks hold no hand, first: {empty[0]}", advice)
    if samples:
        yield from _check(samples, table, mano)


def _sample(number: int, row: Row, table: Table, mano: str, faults: list[str]) -> _Sample:
    """A row, read as labelling reads it; an error says why it cannot be. Masks only add to `faults`."""
    photo = table.photos / check_relative(row.image, "image")
    if not photo.is_file():
        raise ValueError(f"the photo {one_line(photo, 200)} is missing")
    size = photo_size(photo.read_bytes())
    said = (row.width, row.height) if row.width and row.height else table.config.size or size
    if said != size:
        raise ValueError(f"the photo is {size[0]}x{size[1]} px, the table says {said[0]}x{said[1]}")
    intrinsics_of(row)
    hand_of(row, table, mano)
    mask, empty = None, ""
    if row.mask is not None:
        colours = table.config.mask
        colour = getattr(colours, row.side) if row.mask_value is None else row.mask_value
        path = table.masks / check_relative(row.mask, "mask")
        try:
            mask = read_hand_mask(path, colour, colours.tolerance, size)
            empty = (
                ""
                if mask.any()
                else f"row {number}: the hand colour {colour} is nowhere in it; it has {_colours(path)}"
            )
        except FRAME_FAULTS as error:
            faults.append(f"row {number}: the mask {one_line(path, 200)}: {fault(error)}")
    return _Sample(number, row, size, mask, empty)


def _colours(path: Path) -> str:
    """The commonest colours of a mask as dataset.toml would name them."""
    picture = decode(path.read_bytes())[..., ::-1].reshape(-1, 3)
    common = Counter(map(tuple, picture[:: max(1, len(picture) // 20_000)].tolist())).most_common(4)
    return ", ".join(str(each[0]) if len(set(each)) == 1 else str(list(each)) for each, _ in common)


def _advice(text: str) -> str:
    if "mano_pose has shape (" in text:
        found = int(text.partition("has shape (")[2].partition(",")[0])
        return f"PCA coefficients? say pca = {found - 3} in {FILE}" if 3 < found < 48 else "48 axis-angles, or 3 + pca"
    if "the photo is" in text and "px" in text:
        return "intrinsics and 2D joints are of photos of that size; give them for the photos that are there"
    if "photo" in text:
        return f"paths are relative to `photos` in {FILE}"
    return "h2o prepare-labels leaves such rows out and lists them in failures.jsonl; see docs/add-a-dataset.md"


def _check(samples: list[_Sample], table: Table, mano: str) -> Iterator[Finding]:
    """Scale and axes first; what they hide is looked at in repaired rows."""
    yield from _objects([each.row for each in samples], table)
    depth = _median([abs(_wrist(each.row, table, mano)[2]) for each in samples])
    unit = {1000.0: "millimetres", 100.0: "centimetres"}
    factor = 1.0 if depth < FARTHEST else 1000.0 if depth > 20 * FARTHEST else 100.0
    rows = [each.row for each in samples]
    if factor > 1:
        yield Finding(
            "wrong",
            f"hands are {depth:.0f} m from the camera: {unit[factor]}?",
            f"divide {', '.join(POSITIONS)} by {factor:.0f}",
        )
        rows = [scaled(row, 1 / factor) for row in rows]
    wide = _median([_width(row, table, mano) for row in rows])
    if wide > WIDEST:
        yield Finding("wrong", f"hands are {wide:.0f} m wide: millimetres?", "divide joints and vertices by 1000")
        return
    if _median([_wrist(row, table, mano)[2] for row in rows]) < 0:
        yield Finding(
            "wrong",
            "hands lie behind the camera, z is negative: OpenGL axes?",
            "negate y and z of all positions, turn the global rotation by pi about x (h2onet.hand.camera."
            "opencv_pose_from_opengl), and object poses likewise",
        )
        rows = [turned(row, table, mano) for row in rows]
    inside = _median([_inside(row, each.size, table, mano) for row, each in zip(rows, samples, strict=True)])
    if inside < LEAST_INSIDE:
        yield Finding(
            "wrong",
            f"{inside:.0%} of a hand's joints are in its photo (median of {len(rows)})",
            "positions of the world or of another camera? intrinsics of photos of another size?",
        )
    else:
        yield Finding("ok", f"{inside:.0%} of a hand's joints are in its photo (median of {len(rows)})")
    renderer = make_renderer("cpu")
    try:
        verdict = judge([(row, each.mask) for row, each in zip(rows, samples, strict=True)], table, mano, renderer)
    finally:
        renderer.close()
    if verdict is not None:
        yield from _judged(verdict, table)
        yield from _placed(rows, table, mano) if not verdict.changes else ()


def _placed(rows: list[Row], table: Table, mano: str) -> Iterator[Finding]:
    """Whether translations put the wrists where the rows say that they are."""
    both = [row for row in rows if row.translation is not None and (row.wrist is not None or row.joints is not None)]
    both = [row for row in both if row.mano_pose is not None]
    if not both:
        return
    moved = []
    for row in both:
        rest = hand_basis(mano, row.side).rest_wrist(numbers(row.mano_shape, (10,), "mano_shape"))
        moved.append((numbers(row.translation, (3,), "translation"), rest, _wrist(row, table, mano)))
    off = _median([float(np.linalg.norm(offset + rest - root)) for offset, rest, root in moved])
    if off < FARTHEST_WRIST:
        return
    same = _median([float(np.linalg.norm(offset - root)) for offset, _, root in moved])
    large = _median([float(np.linalg.norm(offset)) for offset, _, _ in moved])
    advice = "a translation is what is added to the mesh: wrist = translation + J0(shape)"
    if same < FARTHEST_WRIST:
        advice = "the translations are where the wrist is: name the column wrist"
    elif large > FARTHEST:
        advice = "translations in millimetres? divide them by 1000"
    yield Finding("wrong", f"translations put the wrist {off * 1000:.0f} mm from where joints or wrist are", advice)


def _judged(verdict: Verdict, table: Table) -> Iterator[Finding]:
    own, best = verdict.own, verdict.best
    if not np.isfinite([own.joints, own.pixels, own.overlap]).any():
        yield Finding(
            "note", "rows say nothing beside their poses: sides and poses cannot be checked", "give joints or masks"
        )
    elif verdict.fits:
        yield Finding("ok", f"poses fit the rest of their rows: {_said(own)}")
    elif verdict.changes:
        config = table.config
        now = {"pca": config.pca is not None, "mean": config.adds_mean, "order": config.joint_order == "mano"}
        for name in verdict.changes:
            repair = _REPAIRS[name]
            text = repair if isinstance(repair, str) else repair[now[name]]
            yield Finding(
                "wrong",
                f"poses do not fit the rest of their rows: {_said(own)}",
                f"{text.format(file=FILE)} ({_said(best)} then)",
            )
    else:
        only_masks = not np.isfinite([own.joints, own.pixels]).any()
        hidden = only_masks and own.overlap > LEAST_OVERLAP  # objects may lie before the hands
        yield Finding(
            "note" if hidden else "wrong",
            f"poses do not fit the rest of their rows: {_said(own)}",
            "other MANO files (--mano), joints or masks of other frames, another camera's intrinsics?",
        )


def _said(fit: Fit) -> str:
    told = [
        (fit.joints, "joints {:.1f} mm off", 1000.0),
        (fit.pixels, "2D joints off by {:.0f} % of the hand", 100.0),
        (fit.overlap, "masks overlap by {:.2f}", 1.0),
    ]
    return ", ".join(text.format(value * unit) for value, text, unit in told if np.isfinite(value))


def _objects(rows: list[Row], table: Table) -> Iterator[Finding]:
    found = [each for row in rows for each in row.objects or ()]
    if not found:
        yield Finding("note", "no objects in the sampled rows: the depth rule sees only hands")
        return
    try:
        library = ObjectLibrary(table.objects if table.objects.is_dir() else None)
        missing = library.missing({each.name for each in found})
        offsets = [numbers(each.pose, (3, 4), f"pose of object {each.name}")[:, 3] for each in found]
    except ValueError as error:
        yield Finding("wrong", "objects", str(error))
        return
    far = _median([float(np.linalg.norm(offset)) for offset in offsets])
    if far > FARTHEST:
        yield Finding(
            "wrong", f"objects are {far:.0f} m from the camera: millimetres?", "divide the poses' last column by 1000"
        )
    elif _median([float(offset[2]) for offset in offsets]) < 0:
        yield Finding(
            "wrong", "objects lie behind the camera, z is negative: OpenGL axes?", "negate rows y and z of their poses"
        )
    if missing:
        yield Finding(
            "note",
            f"{table.objects}: no mesh of {', '.join(missing[:8])}",
            f"NAME/{MESH_FILES[0]}; the depth rule needs it",
        )
    else:
        yield Finding("ok", f"{table.objects}: a mesh for each of {len({each.name for each in found})} objects")


# -- numbers of a row ----------------------------------------------------------------------------------------------


def _wrist(row: Row, table: Table, mano: str) -> np.ndarray:
    return hand_of(row, table, mano).root


def _points(row: Row, table: Table, mano: str) -> np.ndarray:
    """Joints or vertices of a row (N, 3) m, or its wrist alone."""
    hand = hand_of(row, table, mano)
    found = hand.joints if hand.joints is not None else hand.vertices
    return hand.root[None] if found is None else found


def _width(row: Row, table: Table, mano: str) -> float:
    return float(np.ptp(_points(row, table, mano), axis=0).max())


def _inside(row: Row, size: tuple[int, int], table: Table, mano: str) -> float:
    points = _points(row, table, mano)
    pixels = project(points, intrinsics_of(row))
    return float(np.mean(np.all((pixels >= 0) & (pixels < size), axis=1) & (points[:, 2] > 0)))


def _median(values: list[float]) -> float:
    return float(np.median(values))
