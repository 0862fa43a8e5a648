"""Clips as a LeRobotDataset v3.0: an episode per camera sequence, pictures as video, the rest in Parquet.

    meta/info.json                              features, counts, where what lies
    meta/stats.json                             `lerobot_stats` over all frames
    meta/tasks.parquet                          "right hand with 025_mug", by task_index
    meta/episodes/chunk-000/file-000.parquet    where every episode's rows and pictures lie, its own statistics
    data/chunk-000/file-000.parquet             a row per frame, a row group per episode
    videos/KEY/chunk-000/file-000.mp4           the pictures of many episodes, one after the other

`lerobot_features` says what the columns hold. The format has one distance in time between neighbouring frames, 1 / FPS,
while clips may leave frame numbers out: `timestamp` counts the frames that are there, `frame` has the dataset's number.
Written after the format's description, https://huggingface.co/docs/lerobot/lerobot-dataset-v3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...data.stores.clips import ClipStore
from . import lerobot_stats as stats
from .lerobot_features import FEATURES, PICTURE, SIDE, pictures, tasks
from .video import CODEC, PIXELS, VideoFile, require_encoder

VERSION = "v3.0"
FPS = 30
"""Of DexYCB's and HO3D's cameras, where no frame is left out."""
CHUNK = 1000  # files in a folder
DATA_MB, VIDEO_MB = 100, 200  # a file that has reached this is followed by the next one
_AT_ONCE = 64  # pictures decoded together
_EPISODES = 50  # rows of meta/episodes written together: their statistics are long
_PLACES = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64",
           "task_index": "int64"}  # fmt: skip
_PATHS = {
    "data": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    "video": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    "episodes": "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
}


@dataclass
class _Place:
    """Which file of a kind is being written."""

    number: int = 0

    def path(self, folder: Path, kind: str) -> Path:
        chunk, file = divmod(self.number, CHUNK)
        return folder / _PATHS[kind].format(video_key=PICTURE, chunk_index=chunk, file_index=file)

    def columns(self, name: str) -> dict[str, int]:
        chunk, file = divmod(self.number, CHUNK)
        return {f"{name}/chunk_index": chunk, f"{name}/file_index": file}


@dataclass(frozen=True)
class _Episode:
    number: int
    key: str
    start: int
    end: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.end)


@dataclass
class _Tasks:
    """Task texts by number, in the order in which they are met."""

    numbers: dict[str, int] = field(default_factory=dict)

    def of(self, texts: list[str]) -> np.ndarray:
        return np.array([self.numbers.setdefault(text, len(self.numbers)) for text in texts], np.int64)


def write_lerobot(clips: ClipStore, folder: Path) -> str:
    """Write the dataset into an empty folder; returns what was written, in words. Needs av and pyarrow."""
    require_encoder()
    episodes, known = _episodes(clips), _Tasks()
    counts = np.zeros((3, 256), np.int64)
    with tqdm(total=len(clips), desc="export", unit="frame") as bar:
        found = _write_videos(clips, folder, episodes, counts, bar)
        rows = _write_data(clips, folder, episodes, known)
        _write_episodes(folder, (video | data for video, data in zip(found, rows, strict=True)))
    _write_tasks(folder, known)
    whole = {PICTURE: stats.picture_stats(counts, len(clips))}
    for name, feature in FEATURES.items():
        whole[name] = stats.number_stats(feature.read(clips, slice(None)), feature.unknown)
    for name, values in _places(episodes, np.concatenate([known.of(tasks(clips, e.rows)) for e in episodes])).items():
        whole[name] = stats.number_stats(values[:, None])
    _write_json(folder / "meta" / "stats.json", whole)
    _write_json(folder / "meta" / "info.json", _info(clips, len(episodes), len(known.numbers)))
    return f"{len(clips)} frames in {len(episodes)} episodes"


def _episodes(clips: ClipStore) -> list[_Episode]:
    ends = np.cumsum([entry["frames"] for entry in clips.entries]).tolist()
    spans = [(entry["key"], end - entry["frames"], end) for entry, end in zip(clips.entries, ends, strict=True)]
    return [_Episode(k, *span) for k, span in enumerate(span for span in spans if span[2] > span[1])]


def _places(episodes: list[_Episode], task_index: np.ndarray) -> dict[str, np.ndarray]:
    """LeRobot's own columns for the rows of consecutive episodes."""
    inside = np.concatenate([np.arange(e.end - e.start) for e in episodes])
    columns = {
        "timestamp": inside / FPS,
        "frame_index": inside,
        "episode_index": np.repeat([e.number for e in episodes], [e.end - e.start for e in episodes]),
        "index": np.arange(episodes[0].start, episodes[-1].end),
        "task_index": task_index,
    }
    return {name: columns[name].astype(kind) for name, kind in _PLACES.items()}


# -- the files ------------------------------------------------------------------------------------------------------


def _write_videos(
    clips: ClipStore, folder: Path, episodes: list[_Episode], counts: np.ndarray, bar: tqdm
) -> Iterator[dict[str, Any]]:
    """Per episode where its pictures lie, and their statistics; adds up `counts`."""
    place, name = _Place(), f"videos/{PICTURE}"
    with ExitStack() as last:
        video = last.enter_context(VideoFile(place.path(folder, "video"), SIDE, FPS))
        for episode in episodes:
            if video.frames and video.nbytes >= VIDEO_MB * 2**20:
                last.close()
                place.number += 1
                video = last.enter_context(VideoFile(place.path(folder, "video"), SIDE, FPS))
            begun, own = video.seconds, np.zeros_like(counts)
            for start in range(episode.start, episode.end, _AT_ONCE):
                for picture in pictures(clips, np.arange(start, min(start + _AT_ONCE, episode.end))):
                    video.add(picture)
                    own += stats.count_values(picture)
                    bar.update()
            counts += own
            times = {f"{name}/from_timestamp": begun, f"{name}/to_timestamp": video.seconds}
            yield place.columns(name) | times | _flat(PICTURE, stats.picture_stats(own, episode.end - episode.start))


def _write_data(clips: ClipStore, folder: Path, episodes: list[_Episode], known: _Tasks) -> Iterator[dict[str, Any]]:
    """Per episode where its rows lie, what it is called, and the statistics of its numbers."""
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    place, written = _Place(), 0
    with ExitStack() as last:
        writer = None
        for episode in episodes:
            texts = tasks(clips, episode.rows)
            own = _places([episode], known.of(texts))
            read = {name: feature.read(clips, episode.rows) for name, feature in FEATURES.items()}
            columns = {name: _arrow(values) for name, values in (read | own).items()}
            table = pa.table(columns)
            if writer and written >= DATA_MB * 2**20:
                last.close()
                place.number, written, writer = place.number + 1, 0, None
            if writer is None:
                path = place.path(folder, "data")
                path.parent.mkdir(parents=True, exist_ok=True)
                writer = last.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table, row_group_size=len(texts))
            written += table.nbytes
            kept = [_flat(name, stats.number_stats(values, FEATURES[name].unknown)) for name, values in read.items()]
            kept += [_flat(name, stats.number_stats(values[:, None])) for name, values in own.items()]
            yield {
                "episode_index": episode.number,
                "tasks": list(dict.fromkeys(texts)),
                "length": len(texts),
                "sequence": episode.key,
                **place.columns("data"),
                "dataset_from_index": episode.start,
                "dataset_to_index": episode.end,
                **{name: value for each in kept for name, value in each.items()},
            }


def _write_episodes(folder: Path, rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    place = _Place()
    path = place.path(folder, "episodes")
    path.parent.mkdir(parents=True)
    waiting: list[dict[str, Any]] = []
    with ExitStack() as last:
        writer = None

        def write() -> None:
            nonlocal writer
            table = pa.Table.from_pylist(waiting, schema=writer.schema if writer else None)
            writer = writer or last.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)
            waiting.clear()

        for row in rows:
            waiting.append(row | place.columns("meta/episodes"))
            if len(waiting) == _EPISODES:
                write()
        if waiting:
            write()


def _write_tasks(folder: Path, known: _Tasks) -> None:
    """The texts are the index of a pandas table: LeRobot looks a task up by its row, and its text by the index."""
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    table = pa.table({"task_index": pa.array(known.numbers.values(), pa.int64()), "task": pa.array(known.numbers)})
    kinds = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
    described = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": stored, "metadata": None}
        for name, (kind, stored) in kinds.items()
    ]
    about = {"index_columns": ["task"], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(about)}), folder / "meta" / "tasks.parquet")


def _info(clips: ClipStore, episodes: int, known: int) -> dict[str, Any]:
    about = {"height": SIDE, "width": SIDE, "codec": CODEC, "pix_fmt": PIXELS, "is_depth_map": False, "fps": FPS}
    video = {f"video.{name}": value for name, value in (about | {"channels": 3}).items()} | {"has_audio": False}
    features: dict[str, Any] = {
        PICTURE: {"dtype": "video", "shape": [SIDE, SIDE, 3], "names": ["height", "width", "channels"], "info": video}
    }
    for name, feature in FEATURES.items():
        names = list(feature.names) if feature.names else None
        features[name] = {"dtype": feature.dtype, "shape": [feature.size], "names": names}
    features |= {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in _PLACES.items()}
    return {
        "codebase_version": VERSION,
        "robot_type": None,
        "total_episodes": episodes,
        "total_frames": len(clips),
        "total_tasks": known,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": DATA_MB,
        "video_files_size_in_mb": VIDEO_MB,
        "fps": FPS,
        "splits": {clips.attrs["split"]: f"0:{episodes}"},
        "data_path": _PATHS["data"],
        "video_path": _PATHS["video"],
        "features": features,
    }


def _arrow(values: np.ndarray) -> Any:
    """Rows (N,) or (N, 1) as numbers, (N, K) as lists of K numbers."""
    import pyarrow as pa  # pyright: ignore[reportMissingImports]

    flat = pa.array(np.ascontiguousarray(values).ravel())
    return (
        flat if values.ndim == 1 or values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    )


def _flat(name: str, found: stats.Stats) -> dict[str, Any]:
    return {f"stats/{name}/{kind}": values for kind, values in found.items()}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", "utf-8")
