"""Size and accuracy of animation.glb for recorded hands: of how many shapes they are blended, and how far off that is.

    python benchmarks/animation.py --motion FILE.npz [--frames 72,300,1000,5000]

The stand-in hand moves as in the first frames of a motion file (docs/real-motion.md). Beside it the size of a file with
one morph target per frame would be: its targets' positions and a weight for every pair of frames.
"""

import argparse
import time

import numpy as np
from h2onet.hand.arrays import load_arrays
from h2onet.hand.skinning import SkinnedHand
from h2onet.inference.animation import Animation
from h2onet.inference.predictor import HandResult

MB = 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motion", required=True, help="motion file, as h2o synthesize --motion takes it")
    parser.add_argument("--frames", default="72,300,1000,5000", help="lengths, in frames")
    options = parser.parse_args()
    with np.load(options.motion) as file:
        poses, shapes, places = (file[f"hand_{name}"] for name in ("pose", "shape", "translation"))
        recordings = file["sequence_index"]
    hand = SkinnedHand(load_arrays("standin", "left"))
    print("frames  recordings  shapes  largest error, mm  MB  MB of a target per frame  s of processor")
    for count in map(int, options.frames.split(",")):
        vertices, joints = hand.pose(poses[:count], shapes[:count])
        vertices, joints = vertices - joints[:, :1], joints - joints[:, :1]
        animation = Animation(30.0)
        for mesh, points, place in zip(vertices, joints, places[:count], strict=True):
            flat, box, hidden = np.zeros((21, 2)), np.zeros(4), np.zeros(6)
            result = HandResult(mesh, points, flat, hidden, place.astype(float), box, "given", "left", True)
            animation.add([(0, result, hand.faces)])
        start = time.process_time()
        data, facts = animation.finish()
        seconds = time.process_time() - start
        assert data is not None
        told, plain = facts["hands"]["left-0"], 4 * count * (vertices[0].size + count)
        print(
            f"{len(vertices)}  {len(np.unique(recordings[:count]))}  {told['shapes']}  "
            f"{told['largest_error_m'] * 1000:.3f}  {len(data) * MB:.1f}  {plain * MB:.1f}  {seconds:.1f}"
        )


if __name__ == "__main__":
    main()
