"""Recipes: presets say what the authors ran, overrides are typed, unknown keys are errors, TOML reads back."""

import dataclasses
import math

import pytest
import torch
from h2onet import cli
from h2onet.errors import InputError
from h2onet.training.chains import CHAINS
from h2onet.training.recipe import (
    PRESETS,
    Recipe,
    describe_keys,
    differences,
    learning_rate,
    load_recipe,
    override,
    preset_names,
    to_toml,
)

# The authors' configurations: epochs, batch, lr, milestones.
AUTHORS = {
    "dexycb-single-stage1": (38, 32, 1e-3, (30,)),
    "dexycb-single-stage2": (38, 32, 1e-4, (30,)),
    "dexycb-multi-stage1": (25, 32, 1e-4, (10, 20)),
    "dexycb-multi-stage2": (25, 32, 1e-4, (10, 20)),
    "ho3d-single-stage1": (90, 128, 1e-3, (30, 50, 70)),
    "ho3d-single-stage2": (90, 128, 1e-3, (30, 50, 70)),
    "ho3d-multi-stage1": (90, 32, 1e-3, (40, 70, 90)),
    "ho3d-multi-stage2": (90, 32, 1e-3, (40, 70, 90)),
}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_opens_with_what_a_reader_needs(name: str) -> None:
    recipe = load_recipe(name)
    assert (recipe.name == name and f"stage{recipe.stage}" in name) or "warmup" in name
    assert recipe.frames == (3 if "multi" in name else 1)
    head = [line[2:] for line in (PRESETS / f"{name}.toml").read_text().splitlines() if line.startswith("# ")]
    facts = {line.partition(":")[0]: line.partition(":")[2].strip() for line in head[1:] if not line.startswith(" ")}
    assert all(len(facts[key]) > 20 for key in ("Source", "Expected", "Cost"))
    assert facts["Command"].startswith(f"h2o train {name} ")


@pytest.mark.parametrize(("name", "expected"), AUTHORS.items())
def test_presets_are_the_authors_configurations(name: str, expected: tuple) -> None:
    recipe = load_recipe(name)
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.milestones) == expected
    assert recipe.clip_norm == 0.1 and recipe.gamma == 0.1 and recipe.width == 1.0 and not recipe.scale_lr


def test_chains_name_presets_and_start_with_the_single_frame_stage() -> None:
    for stages in CHAINS.values():
        assert {stage.preset for stage in stages} <= set(preset_names())
        assert stages[0].preset.endswith("single-stage1")


def test_overrides_take_the_fields_type() -> None:
    recipe = load_recipe(
        "demo-single-stage1",
        [
            "epochs=3",
            "lr=1e-4",
            "width=1",
            "amp=off",
            "milestones=[1, 2]",
            "scale_lr=true",
            "seed = 7",
            "num_workers=2",
        ],
    )
    assert (recipe.epochs, recipe.lr, recipe.width, recipe.amp) == (3, 1e-4, 1.0, "off")
    assert recipe.milestones == (1, 2) and recipe.scale_lr is True and recipe.seed == 7 and recipe.num_workers == 2
    assert isinstance(recipe.width, float)
    assert load_recipe("demo-single-stage1", ["lr=.5", "gamma=1.", "name=.5"]).lr == 0.5  # no numbers in TOML


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch=3", "unknown key 'epoch'"),
        ("epochs", "expected key=value"),
        ("epochs=2.5", "expected an integer"),
        ("epochs=0", "at least 1"),
        ("lr=fast", "expected a number"),
        ("amp=half", "one of auto, off, bf16, fp16"),
        ("deterministic=1", "expected true or false"),
        ("milestones=[1.5]", "a list of integers"),
        ("batch_size=1", "at least 2"),
    ],
)
def test_bad_overrides_are_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("[", r"\[")) as caught:
        load_recipe("demo-single-stage1", [text])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [field.name for field in dataclasses.fields(Recipe)])
def test_no_number_is_taken_without_bounds(key: str) -> None:
    kind = type(getattr(load_recipe("demo-multi-stage2"), key))
    for value in {int: ["-2", "99999999999999999999"], float: ["nan", "-1.0"]}.get(kind, []):
        with pytest.raises(InputError, match=rf"{key} = .*expected") as caught:
            load_recipe("demo-multi-stage2", [f"{key}={value}"])
        assert "\n" not in str(caught.value)


def test_files_with_unknown_or_missing_keys_are_refused(tmp_path) -> None:
    good = to_toml(load_recipe("demo-multi-stage2"))
    path = tmp_path / "mine.toml"
    path.write_text(good + "colour = 3\n")
    with pytest.raises(InputError, match=r"mine.toml: unknown key 'colour'"):
        load_recipe(path)
    path.write_text("\n".join(line for line in good.splitlines() if not line.startswith("lr ")))
    with pytest.raises(InputError, match=r"mine.toml: missing lr"):
        load_recipe(path)
    path.write_text("lr = \n")
    with pytest.raises(InputError, match="not valid TOML"):
        load_recipe(path)
    with pytest.raises(InputError, match="no such preset or file; presets are demo-multi"):
        load_recipe("dexycb")


@pytest.mark.parametrize("name", preset_names())
def test_toml_reads_back_equal(name: str, tmp_path) -> None:
    recipe = override(load_recipe(name), ["lr=0.00031", 'starts_from=a "quoted" word'])
    (tmp_path / "config.toml").write_text(to_toml(recipe))
    assert load_recipe(tmp_path / "config.toml") == recipe


def test_files_from_before_a_key_was_renamed_still_load(tmp_path) -> None:
    path, recipe = tmp_path / "config.toml", load_recipe("demo-single-stage1")
    for word in ("nothing", "none"):
        path.write_text(to_toml(recipe).replace('starts_from = ""', f'init = "{word}"'))
        assert load_recipe(path) == recipe
    later = load_recipe("demo-single-stage2")
    path.write_text(to_toml(later).replace("starts_from = ", "init = "))
    assert differences(load_recipe(path), later) == []


def test_every_key_has_a_default_and_a_meaning() -> None:
    keys = describe_keys()
    assert [key for key, _, _ in keys] == [field.name for field in dataclasses.fields(Recipe)]
    assert all(len(meaning.split()) > 2 for _, _, meaning in keys)
    defaults = {key: default for key, default, _ in keys}
    assert (defaults["lr"], defaults["clip_norm"], defaults["amp"]) == ("required", "0.1", '"auto"')


def test_the_command_lists_every_key_without_other_arguments(capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["h2o", "train", "--keys"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["key", "default", "meaning"] and len(lines) == 1 + len(describe_keys())
    for line, (key, default, meaning) in zip(lines[1:], describe_keys(), strict=True):
        assert line.startswith(f"{key} ") and f" {default} " in line and line.endswith(f"  {meaning}")


def test_only_harmless_keys_may_change_on_resuming() -> None:
    old = load_recipe("demo-single-stage1")
    assert differences(old, override(old, ["epochs=99", "num_workers=3", "log_every=2"])) == []
    assert differences(old, override(old, ["lr=0.5"])) == [f"lr: {old.lr!r} -> 0.5"]


def test_learning_rate_is_torchs_multistep_and_scales_on_request() -> None:
    recipe: Recipe = load_recipe("ho3d-multi-stage2")
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(recipe.milestones), recipe.gamma)
    for epoch in range(recipe.epochs):
        assert math.isclose(learning_rate(recipe, epoch), schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    scaled = override(recipe, ["scale_lr=true", "batch_size=64"])
    assert math.isclose(learning_rate(scaled, 0, processes=4), recipe.lr * 8)


def test_presets_of_published_scores_name_the_released_training() -> None:
    for name in preset_names():
        text = (PRESETS / f"{name}.toml").read_text()
        assert ("--set as_released=true" in text) == (not name.startswith(("demo-", "synthetic-"))), name
        assert load_recipe(name).as_released is False and load_recipe(name, ["as_released=true"]).as_released is True
