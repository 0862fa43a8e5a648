"""`as_released`: gradients derived by hand in both modes, the released start, and what a run records of it.

Every error of the hand-made targets is +1, so that an L1 term of K rows sends 1 / (3 K N) to each coordinate of each of
its rows, N frames. With J = W V (W the regressor), turned meshes (V - w) R^T + w about w = J[0], and s = 1 / (3 K N):

    joints             dV = s (sums of W's columns), dW[j] = s (sum over frames and axes of V)
    turned about w     dR[a, b] = s sum of (v - w)[b]; where w is not detached, dw = 1 / (3 N), which W[0] hands to V
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from h2onet.data.loading.batches import collate
from h2onet.errors import InputError
from h2onet.hand.mano import HandModel
from h2onet.network.checkpoint import initialise, load_checkpoint, load_training_state, read_metadata
from h2onet.network.h2onet import H2ONet
from h2onet.network.prediction import FrameFeatures, Prediction
from h2onet.training import inputs
from h2onet.training.distributed import Processes
from h2onet.training.guard import Guard
from h2onet.training.loop import train
from h2onet.training.recipe import load_recipe
from h2onet.training.released import follow_released
from h2onet.training.stages import Counts, Targets, loss_terms
from h2onet.training.steps import Stepper
from torch import Tensor, nn

BATCH, V, J = 2, 778, 21
RELEASED = "as_released=true"


class Case:
    """Leaves of a forward pass (meshes, rotations, regressor), what the network makes of them, and its loss terms."""

    def __init__(self, network: H2ONet, released: bool) -> None:
        frames = network.config.frames
        torch.manual_seed(0)
        self.network, self.frames, self.count = network, frames, BATCH * frames
        self.faces, self.regressor = self.network.faces, self.network.joint_regressor
        leading = (BATCH,) if frames == 1 else (BATCH, frames)
        self.mesh = (0.1 * torch.randn(*leading, V, 3, dtype=torch.float64)).requires_grad_()
        self.rotation = torch.linalg.qr(torch.randn(*leading, 3, 3, dtype=torch.float64))[0].requires_grad_()
        prediction = self._predict(leading)
        self.correction = prediction.correction
        if self.correction is not None:
            self.correction.retain_grad()
        self.prediction = follow_released(prediction, self.regressor) if released else prediction
        self.terms = loss_terms(self.prediction, self._lower(), self.faces, 2, Counts(self.count, 6.0 * self.count))

    def _predict(self, leading: tuple[int, ...]) -> Prediction:
        c = self.network.config
        features = torch.zeros(*leading, V, c.level_channels[-1], dtype=torch.float64)
        seen = FrameFeatures(
            self.mesh, torch.rand(*leading, J, 2, dtype=torch.float64), features, rotation=self.rotation
        )
        if self.frames == 1:
            return self.network._predict_single(seen)
        logits = torch.randn(*leading, 2, 6, dtype=torch.float64)
        orientation = torch.randn(*leading, 8 * c.channels, dtype=torch.float64)
        with torch.no_grad():  # a correction that is no identity, in both modes
            self.network.correction_head.layers[-1].weight.normal_(0.0, 0.1)
        return self.network.predict_window(
            FrameFeatures(self.mesh, seen.joints_2d, features, logits, orientation, self.rotation)
        )

    def _lower(self) -> Targets:
        def lower(tensor: Tensor | None, rows: int, columns: int) -> Tensor:
            assert tensor is not None
            return tensor.detach().reshape(self.count, rows, columns) - 1

        p = self.prediction
        return Targets(
            lower(p.canonical_vertices, V, 3),
            lower(p.canonical_joints, J, 3),
            lower(p.oriented_vertices, V, 3),
            lower(p.oriented_joints, J, 3),
            lower(p.rotation, 3, 3),
            lower(p.joints_2d, J, 2),
            torch.zeros(self.count, 7, dtype=torch.uint8),
        )

    def gradients(self, term: str) -> dict[str, Tensor]:
        """Gradients of one unweighted term by leaf; exact zeros are left out."""
        self.network.zero_grad(set_to_none=True)
        self.mesh.grad = self.rotation.grad = None
        leaves = {"mesh": self.mesh, "rotation": self.rotation, "regressor": self.regressor}
        if self.correction is not None:
            self.correction.grad = None
            leaves["correction"] = self.correction
        if self.terms[term].requires_grad:
            self.terms[term].backward(retain_graph=True)
        return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None and bool(leaf.grad.any())}

    def pivot(self) -> tuple[Tensor, Tensor]:
        """Meshes (..., V, 3) and wrists (..., 1, 3) without graph."""
        mesh = self.mesh.detach()
        return mesh, (self.regressor.detach() @ mesh)[..., :1, :]

    def joints(self, released: bool) -> Tensor:
        """The joints that are turned: here regressed from what is turned, hence W (v - w) + w, there W v."""
        mesh, wrist = self.pivot()
        regressor = self.regressor.detach()
        return regressor @ mesh if released else regressor @ (mesh - wrist) + wrist


def _check(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.expand_as(found[name]), atol=1e-12, rtol=1e-9, msg=name)


def _of_wrist(case: Case) -> dict[str, Tensor]:
    """What a turned mesh, or turned joints, send to a wrist that is not detached: 1 / (3 N) on every axis."""
    share = 1 / (3 * case.count)
    regressor = torch.zeros_like(case.regressor)
    regressor[0] = share * case.mesh.detach().flatten(0, -3).sum((0, 2))
    return {"mesh": share * case.regressor.detach()[0][:, None], "regressor": regressor}


def _of_rotation(case: Case, turned: Tensor) -> Tensor:
    """The gradient of (..., K, 3) rows `turned` about the wrist to the rotation after them: the same in every row."""
    _, wrist = case.pivot()
    return ((turned - wrist).sum(-2) / (3 * turned.shape[-2] * case.count))[..., None, :].expand(
        *turned.shape[:-2], 3, 3
    )


def _through_correction(case: Case, turned: Tensor) -> dict[str, Tensor]:
    """The same where frame t is turned by the correction D too: D R instead of R."""
    total = _of_rotation(case, turned)
    assert case.correction is not None
    correction, rotation = case.correction.detach(), case.rotation.detach()
    mine = torch.cat([(correction.mT @ total[:, 0])[:, None], total[:, 1:]], 1)
    return {"rotation": mine, "correction": total[:, 0] @ rotation[:, 0].mT}


@pytest.fixture(scope="module")
def networks(hand: HandModel) -> dict[int, H2ONet]:
    """A narrow network of one and one of three frames, in float64, with a learned regressor."""
    found = {}
    for frames, name in ((1, "demo-single-stage2"), (3, "demo-multi-stage2")):
        network = inputs.fresh_network(load_recipe(name, ["width=0.125"]), hand, None).double().train()
        network.learn_joints()
        found[frames] = network
    return found


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("frames", [1, 3])
def test_canonical_terms(frames: int, released: bool, networks) -> None:
    case = Case(networks[frames], released)
    columns = case.regressor.detach().sum(0)
    to_mesh = {"mesh": (columns / (3 * J * case.count))[:, None]}
    sums = case.mesh.detach().flatten(0, -3).sum((0, 2)) / (3 * J * case.count)
    # The released multi-frame code regresses joints from a detached mesh: exactly nothing reaches it.
    _check(case.gradients("joints"), ({} if released and frames == 3 else to_mesh) | {"regressor": sums.expand(J, V)})
    _check(case.gradients("vertices"), {"mesh": torch.tensor(1 / (3 * V * case.count), dtype=torch.float64)})


def test_joints_double_what_the_mesh_gets(networks) -> None:
    """Regressed joints are means of vertices: in sum, both terms send the same where the errors agree in sign."""
    sent = {}
    for released in (False, True):
        case = Case(networks[3], released)
        found = [case.gradients(term).get("mesh", torch.zeros(1)).sum() for term in ("vertices", "joints")]
        sent[released] = torch.stack(found).sum() / found[0]
    assert float(sent[False]) == pytest.approx(2.0, abs=1e-5) and float(sent[True]) == 1.0


@pytest.mark.parametrize("released", [False, True])
def test_oriented_terms_of_one_frame(released: bool, networks) -> None:
    case = Case(networks[1], released)
    mesh, _ = case.pivot()
    joints = case.joints(released)
    wrists = _of_wrist(case) if released else {}
    _check(case.gradients("oriented_vertices"), {"rotation": _of_rotation(case, mesh)} | wrists)
    found = case.gradients("oriented_joints")
    if not released:  # joints are regressed from the turned mesh, by a regressor that is not learned then
        found.pop("regressor")
    _check(found, {"rotation": _of_rotation(case, joints)} | wrists)
    assert case.gradients("rotation").keys() == {"rotation"}


@pytest.mark.parametrize("released", [False, True])
def test_oriented_terms_of_a_window(released: bool, networks) -> None:
    case = Case(networks[3], released)
    mesh, _ = case.pivot()
    joints = case.joints(released)
    _check(case.gradients("oriented_vertices"), _through_correction(case, mesh))
    found = case.gradients("oriented_joints")
    if not released:
        found.pop("regressor")
    # The released joints are turned by R alone: the correction learns from the mesh only.
    _check(found, {"rotation": _of_rotation(case, joints)} if released else _through_correction(case, joints))
    assert case.gradients("oriented_edge").keys() <= {"rotation", "correction"}


@pytest.mark.parametrize("frames", [1, 3])
def test_numbers_stay_but_for_the_corrections_joints(frames: int, networks) -> None:
    plain = Case(networks[frames], False)
    released = follow_released(plain.prediction, plain.regressor)
    torch.testing.assert_close(released.oriented_vertices, plain.prediction.oriented_vertices, atol=0, rtol=0)
    torch.testing.assert_close(released.canonical_joints, plain.prediction.canonical_joints, atol=0, rtol=0)
    assert released.oriented_joints is not None and plain.prediction.oriented_joints is not None
    apart = (released.oriented_joints - plain.prediction.oriented_joints).detach().abs().amax((-1, -2))
    # Regressed after turning or before it: the same up to how exactly the regressor's rows sum to 1.
    if frames == 1:
        assert float(apart.max()) < 1e-6
    else:
        assert float(apart[:, 1:].max()) < 1e-6 and float(apart[:, 0].min()) > 1e-3


def _he(weight: Tensor) -> float:
    """The bound of He's uniform initialisation for a layer that a ReLU follows."""
    return float(np.sqrt(6 / weight[0].numel()))


def _linear(network: H2ONet, *names: str) -> list[nn.Linear | nn.Conv1d]:
    found = [layer for name in names for layer in network.get_submodule(name).modules()]
    return [layer for layer in found if isinstance(layer, nn.Linear | nn.Conv1d)]


def _is_he(layer: nn.Linear | nn.Conv1d) -> bool:
    bound, largest = _he(layer.weight), float(layer.weight.detach().abs().max())
    return 0.7 * bound < largest <= bound and layer.bias is not None and not bool(layer.bias.any())


def test_the_released_start(hand: HandModel) -> None:
    torch.manual_seed(0)
    released = inputs.fresh_network(load_recipe("demo-multi-stage2", ["width=0.125", RELEASED]), hand, None)
    parts = ("orientation_feature", "rotation_head", "correction_head", "occlusion", "fusion")
    layers = _linear(released, *parts)
    assert len(layers) == 4 + 4 + 4 + 2 + 2 + 5 * 3 + 3 + 4 and all(map(_is_he, layers))
    torch.manual_seed(0)
    plain = inputs.fresh_network(load_recipe("demo-multi-stage2", ["width=0.125"]), hand, None)
    ours, theirs = plain.state_dict(), released.state_dict()
    others = [name for name in ours if name.partition(".")[0] not in (*parts, "joint_regressor")]
    assert len(others) > 300 and all(torch.equal(ours[name], theirs[name]) for name in others)
    # He initialisation of the orientation branch is no departure; its last layers, classifier and fusion are.
    assert all(map(_is_he, _linear(plain, "orientation_feature")))
    for name in ("rotation_head", "correction_head"):
        *first, last = _linear(plain, name)
        assert all(map(_is_he, first)) and not _is_he(last)
    assert not any(map(_is_he, _linear(plain, "occlusion"))) and not plain.fusion.head.linear.weight.any()


def test_the_released_regressor_starts_with_its_own_middle_fingertip(hand: HandModel) -> None:
    rows = {}
    for released in (False, True):
        recipe = load_recipe("demo-single-stage1", ["width=0.125", f"as_released={str(released).lower()}"])
        rows[released] = inputs.fresh_network(recipe, hand, None).joint_regressor
    middle_tip = 12
    assert rows[False][middle_tip].nonzero().tolist() == [[444]] and rows[True][middle_tip].nonzero().tolist() == [
        [445]
    ]
    others = [row for row in range(J) if row != middle_tip]
    assert torch.equal(rows[False][others], rows[True][others])


MODULES = ("backbone.stem", "backbone.first", "backbone.second", "backbone.latent", "decoder")


def test_shape_modules_get_about_twice_the_gradient_by_default(clips, hand, tmp_path) -> None:
    norms: dict[bool, list[float]] = {}
    for released in (False, True):
        settings = ["width=0.125", "batch_size=4", "clip_norm=1e9", f"as_released={str(released).lower()}"]
        recipe = load_recipe("demo-multi-stage1", settings)
        torch.manual_seed(0)
        network = inputs.fresh_network(load_recipe(recipe.name, ["width=0.125"]), hand, None).train()
        if released:
            network.learn_joints()
        guard = Guard(network, tmp_path / "skipped.jsonl", 1)
        stepper = Stepper(
            network, hand, recipe, guard, dtype=None, device=torch.device("cpu"), processes=Processes(),
            name_frames=lambda batch: (),
        )  # fmt: skip
        samples = inputs.training_clips(recipe, clips)
        stepper.step(collate([samples[i] for i in range(4)]), 1, 0)
        for name in MODULES:
            found = [p.grad.norm() for p in network.get_submodule(name).parameters() if p.grad is not None]
            norms.setdefault(released, []).append(float(torch.stack(found).norm()))
    ratios = [plain / released for plain, released in zip(norms[False], norms[True], strict=True)]
    assert all(1.3 < ratio < 3.0 for ratio in ratios), dict(zip(MODULES, ratios, strict=True))


@pytest.mark.parametrize("preset", ["demo-single-stage1", "demo-multi-stage2"])
def test_a_run_learns_the_regressor_and_resumes_bit_for_bit(preset, clips, tiny, tmp_path) -> None:
    recipe = tiny(preset, RELEASED, "max_steps=3")
    train(recipe, clips, tmp_path / "straight", device="cpu")
    train(tiny(preset, RELEASED, "max_steps=1"), clips, tmp_path / "broken", device="cpu")
    train(recipe, clips, tmp_path / "broken", device="cpu", resume=True)
    straight, resumed = (load_checkpoint(tmp_path / name / "last").state_dict() for name in ("straight", "broken"))
    assert all(torch.equal(value, resumed[name]) for name, value in straight.items())
    fresh = inputs.fresh_network(recipe, hand_of(clips), None).joint_regressor
    assert not torch.equal(straight["joint_regressor"], fresh)
    first, second = (
        load_training_state(tmp_path / name / "last")["optimiser"]["state"] for name in ("straight", "broken")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(values["exp_avg"], second[key]["exp_avg"]) for key, values in first.items())


def hand_of(clips: Path) -> HandModel:
    """The hand that a store of the tests was made with."""
    from h2onet.data.clips import ClipStore
    from h2onet.evaluation.truth import load_truth_hand

    return load_truth_hand([ClipStore.open(clips)], None)


def test_a_run_records_it_and_is_not_resumed_without(clips, tiny, tmp_path) -> None:
    train(tiny("demo-single-stage1", RELEASED, "max_steps=1"), clips, tmp_path / "run", device="cpu")
    assert "as_released = true\n" in (tmp_path / "run/config.toml").read_text()
    assert read_metadata(tmp_path / "run/last")["recipe"]["as_released"] is True
    with pytest.raises(InputError, match="as_released: True -> False"):
        train(tiny("demo-single-stage1", "max_steps=2"), clips, tmp_path / "run", device="cpu", resume=True)


def test_by_default_the_regressor_is_no_parameter(clips, tiny, tmp_path) -> None:
    assert load_recipe("dexycb-multi-stage2").as_released is False
    train(tiny("demo-multi-stage2", "max_steps=2"), clips, tmp_path / "run", device="cpu")
    kept = load_checkpoint(tmp_path / "run/last")
    assert "joint_regressor" not in dict(kept.named_parameters())
    table = hand_of(clips).joint_regressor_21("manopth").astype(np.float32)
    assert np.array_equal(kept.joint_regressor.detach().numpy(), table)


def test_a_learned_regressor_goes_on_into_the_next_stage(clips, tiny, hand, tmp_path) -> None:
    train(tiny("demo-single-stage1", RELEASED, "max_steps=2"), clips, tmp_path / "one", device="cpu")
    learned = load_checkpoint(tmp_path / "one/last").joint_regressor
    recipe = tiny("demo-multi-stage2", RELEASED)
    network = inputs.fresh_network(recipe, hand, None)
    inputs.load_initial_weights(network, recipe, tmp_path / "one/last")
    assert torch.equal(network.joint_regressor, learned)
    plain = inputs.fresh_network(tiny("demo-multi-stage2"), hand, None)
    before = plain.joint_regressor.clone()
    initialise(plain, tmp_path / "one/last")
    assert torch.equal(plain.joint_regressor, before) and not torch.equal(before, learned)
