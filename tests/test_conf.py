"""Every YAML composes and builds what it describes; every knob that is wrong is refused."""

import pickle
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate

import bench.__main__  # registers the resolver of the host's name

CONF = Path(__file__).parents[1] / "conf"
GROUPS = ("workload", "technique", "training", "runtime", "protocol", "meter")


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def composed(*overrides: str):  # type: ignore[no-untyped-def]
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("config", list(overrides))


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in GROUPS for option in options(group)]
)
def test_every_choice_builds_what_it_names(group: str, option: str) -> None:
    config = composed(f"{group}={option}")
    built = instantiate(config[group], _convert_="all")
    pickle.loads(pickle.dumps(built))  # it is built here and used in a process of its own
    if group == "meter":
        meters = [part for name, part in built.items() if name != "required"]
        assert [m.name for m in meters] == [name for name in built if name != "required"]
        assert all(
            callable(getattr(m, method)) for m in meters for method in ("open", "read", "close")
        )
    elif group != "training":
        steps = getattr(built, "steps", None)  # a chain is named after its steps
        named = "+".join(steps) if steps else option
        if group == "technique" and not steps:
            # Another setting of a technique keeps its name: its knobs tell the rows apart.
            assert option == built.name or option.startswith(f"{built.name}_")
        elif group == "workload" and (task := getattr(built, "task", None)):
            assert built.name in (option, f"{option}_{task}")
        elif group == "workload" and (serve := getattr(built, "serve", None)):
            # Joules of prefill and of decode are never pooled.
            assert built.name == f"{option}_{serve}"
        else:
            assert built.name == named
            assert built.name.replace("+", "_") == option


def test_options_of_a_schedule_are_given_as_a_mapping() -> None:
    config = composed("training.schedule=polynomial", "training.schedule_options={power: 3}")
    recipe = instantiate(config.training, _convert_="all")
    assert (recipe.option("power"), recipe.schedule_options) == (3, {"power": 3})


@pytest.mark.parametrize("option", options("experiment"))
def test_an_experiment_is_a_sweep_whose_second_line_is_its_command(option: str) -> None:
    text = (CONF / "experiment" / f"{option}.yaml").read_text()
    assert f"python -m bench experiment={option}" in text.splitlines()[1]
    assert yaml.safe_load(text)["hydra"]["mode"] == "MULTIRUN"
    composed(f"experiment={option}")


def test_the_help_has_a_line_for_every_group() -> None:
    text = (CONF / "hydra" / "help" / "joulebench.yaml").read_text()
    described = {
        line.split()[0] for line in text.splitlines() if line.startswith("    ") and line.split()
    }
    assert {path.name for path in CONF.iterdir() if path.is_dir()} - {"hydra"} <= described


def test_rehearsals_take_the_rules_of_the_smoke_protocol_and_cap_training() -> None:
    config = composed("protocol=rehearsal")
    assert config.protocol.rehearsal is True
    assert config.protocol.jitter_s == composed("protocol=smoke").protocol.jitter_s
    assert config.training.max_steps == 2
    assert set(config) == set(composed("protocol=smoke"))


def test_a_knob_on_the_command_line_wins_over_the_workloads_recipe() -> None:
    assert composed("workload=resnet18_cifar10", "training.epochs=3").training.epochs == 3


def test_a_chain_takes_the_knobs_of_its_steps() -> None:
    config = composed(
        "technique=structured_pruning_bf16", "technique.steps.structured_pruning.ratio=0.3"
    )
    chain = instantiate(config.technique, _convert_="all")
    assert [stage.name for stage in chain.stages] == ["structured_pruning", "bf16"]
    assert chain.label == "structured_pruning 0.3 + bf16"


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("technique.ratio=50", "technique.ratio must be in (0, 1), got 50"),
        ("technique.importance=guess", "technique.importance is 'guess'"),
        ("protocol.window_s=0", "protocol.window_s is 0"),
        ("protocol.min_blocks=1", "protocol.min_blocks is 1"),
        ("protocol.latency_s=0", "protocol.latency_s is 0"),
        ("protocol.max_steal=5", "protocol.max_steal must be in (0, 1], got 5"),
        ("protocol.max_examples=10", "only a rehearsal may leave out"),
        ("runtime.mode=fast", "runtime.mode is 'fast'"),
        ("runtime.threads=0", "runtime.threads is 0"),
        ("training.epochs=-1", "training.epochs is -1"),
        ("training.label_smoothing=1", "training.label_smoothing must be in [0, 1), got 1"),
        ("training.optimizer=lion", "training.optimizer is 'lion'"),
        ("workload.margin=2", "workload.margin must be in (0, 1), got 2"),
        ("workload.batch_size=0", "workload.batch_size is 0"),
        ("workload.stem=none", "workload.stem is 'none'"),
    ],
)
def test_an_impossible_value_is_refused_with_its_key(override: str, named: str) -> None:
    config = composed("technique=structured_pruning", override)
    group = override.partition(".")[0]
    with pytest.raises(InstantiationException) as caught:
        instantiate(config[group], _convert_="all")
    assert named in str(caught.value.__cause__)


def test_a_knob_that_no_part_has_is_refused_when_the_part_is_built() -> None:
    config = composed("+technique.speed=9")
    with pytest.raises(InstantiationException, match="speed"):
        instantiate(config.technique)


def test_the_configuration_is_found_from_any_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bench.__main__.conf_folder() == CONF


@pytest.mark.parametrize("workload", options("workload"))
def test_accumulated_gradients_are_of_the_batch_of_the_baseline(workload: str) -> None:
    config = composed(f"workload={workload}", "technique=gradient_accumulation")
    own, changes = config.training, config.technique.changes
    assert changes.batch_size * changes.accumulation == own.batch_size * own.accumulation
    assert changes.batch_size == own.batch_size // 4
