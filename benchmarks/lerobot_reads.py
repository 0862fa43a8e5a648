"""Whether lerobot itself opens what `h2o clips export --to lerobot` wrote: run with a Python that has lerobot.

    h2o clips export clips.zarr --to lerobot --out exported
    python3.12 -m venv lerobot && lerobot/bin/pip install 'lerobot[dataset]'     # 0.6; with Python 3.11: lerobot==0.4.4
    lerobot/bin/python benchmarks/lerobot_reads.py exported

Reads every frame with its picture, in lerobot's own decoder, through its windows in time and a DataLoader; compares
where frames and episodes stand, and statistics with those of what was read. Prints versions and what it found; anything
that does not fit ends it. Imports nothing of this project.
"""

import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # pyright: ignore[reportMissingImports]

PICTURE, STATE = "observation.images.hand", "observation.state"


def versions() -> str:
    found = []
    for name in ("lerobot", "torch", "torchcodec", "datasets", "av", "pyarrow"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def main(root: str) -> None:
    dataset = LeRobotDataset("local/exported", root=root)
    meta = dataset.meta
    print(versions())
    print(
        f"{len(dataset)} frames in {meta.total_episodes} episodes at {meta.fps} per s, tasks {list(meta.tasks.index)}"
    )
    print(f"{len(meta.features)} features, state of {meta.features[STATE]['shape'][0]} numbers")

    items = [dataset[row] for row in range(len(dataset))]
    states = torch.stack([item[STATE] for item in items]).double().numpy()
    pictures = torch.stack([item[PICTURE] for item in items])
    assert [int(item["index"]) for item in items] == list(range(len(dataset)))
    assert all(item["task"] in meta.tasks.index for item in items)
    for row, item in enumerate(items):
        episode = meta.episodes[int(item["episode_index"])]
        assert int(item["frame_index"]) == row - episode["dataset_from_index"]
    known = ~np.isnan(states)
    state_means = np.where(known, states, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    off = float(np.abs(state_means - meta.stats[STATE]["mean"]).max())
    means = pictures.double().mean(dim=(0, 2, 3)).numpy()
    shift = float(np.abs(means - np.ravel(meta.stats[PICTURE]["mean"])).max())
    print(f"pictures {tuple(pictures.shape)}, in [{pictures.min():.3f}, {pictures.max():.3f}]")
    print(f"known numbers of the state: {known.mean():.1%}")
    print(f"statistics: state off by {off:.1e}, mean colour of decoded pictures by {shift:.4f}")
    assert off < 1e-5 and shift < 0.02

    past = [-10 / meta.fps, -5 / meta.fps, 0.0]
    windows = LeRobotDataset("local/exported", root=root, delta_timestamps={STATE: past, PICTURE: past})
    batch = next(iter(torch.utils.data.DataLoader(windows, batch_size=4, shuffle=False)))
    assert batch[PICTURE].shape[:2] == (4, 3) and torch.equal(batch[PICTURE][:, -1], pictures[:4])
    padded = batch[f"{STATE}_is_pad"][0].tolist()
    print(f"windows of three frames in batches: {tuple(batch[PICTURE].shape)}, padded {padded}")

    last = meta.total_episodes - 1
    one = LeRobotDataset("local/exported", root=root, episodes=[last])
    assert len(one) == meta.episodes[last]["length"] and int(one[0]["episode_index"]) == last
    print(f"episode {last} alone: {len(one)} frames")


if __name__ == "__main__":
    main(sys.argv[1])
