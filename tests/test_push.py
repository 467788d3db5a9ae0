"""A run that is published: what is there, what is refused, and a record's words that stay words."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import shlex
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from campaigns import write_pair
from hydra import compose, initialize_config_dir
from markdown_it import MarkdownIt
from omegaconf import OmegaConf
from safetensors.numpy import save_file

from bench import store
from bench.push import PushError, bundled
from bench.push import card as model_card
from bench.push.__main__ import main
from bench.push.bundle import _name as named
from bench.push.overrides import SECTIONS, command, words
from bench.reporting.cells import amount, interval, ratio
from bench.validate.__main__ import main as check

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
BAIT = "<img src=x onerror=evil()> `evil` [evil](javascript:evil) ![evil](//evil) $evil$ *evil* | #"


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change a stored record by hand, as nothing of ours does."""
    document = json.loads((folder / "record.json").read_text())
    change(document)
    (folder / "record.json").write_text(json.dumps(document))
    return folder


def with_weights(folder: Path, content: bytes | None = None) -> Path:
    """Give a made-up pair a model that is a real file of tensors, or any other content."""
    document = json.loads((folder / "record.json").read_text())
    digest = document["variant"]["artefact"]["digest"]
    weights = folder.parents[3] / ".artefacts" / digest[:16] / "model.safetensors"
    weights.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        save_file({"fc.weight": np.ones((2, 3), np.float32)}, weights)
    else:
        weights.write_bytes(content)
    found = weights.read_bytes()

    def told(record: dict[str, Any]) -> None:
        record["variant"]["artefact"]["bytes"] = len(found)
        record["variant"]["artefact"]["sha256"] = hashlib.sha256(found).hexdigest()

    return changed(folder, told)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A measured pair with its model."""
    return with_weights(write_pair(tmp_path / "results", weights=True))


def published(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# What is published


def test_a_dry_run_writes_the_card_the_weights_and_the_record_as_they_are(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "published"
    assert main([str(folder), "--dry-run", str(there)]) == 0
    found = published(there)
    place = "/".join(("results", *folder.parts[-4:]))
    kept = {f"{place}/{path.name}": path.read_bytes() for path in folder.iterdir()}
    record = store.read(folder / "record.json")
    weights = tmp_path / "results" / ".artefacts" / record.variant.artefact.digest[:16]
    kept["model.safetensors"] = (weights / "model.safetensors").read_bytes()
    assert found.pop("README.md").decode().startswith("---\ntags:\n- joulebench\n")
    assert found == kept
    assert len(kept) == 6  # weights, record, and its four tables
    told = capsys.readouterr().out
    assert f"Written to {there}, nothing uploaded" in told
    assert all(name in told for name in kept)


def test_what_was_published_stands_a_reviewers_check(folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "published"
    assert main([str(folder / "record.json"), "--dry-run", str(there), "-q"]) == 0
    assert check([str(there / "results"), "-q"]) == 0
    assert "python -m bench.validate results" in (there / "README.md").read_text()


def test_the_card_says_every_ratio_with_interval_and_grade_and_what_joules_leave_out(
    folder: Path,
) -> None:
    record, card = store.read(folder / "record.json"), bundled(str(folder)).card
    assert len(record.comparisons) == 4  # two grades of joules, two kinds of seconds
    for found in record.comparisons:
        assert f"| {ratio(found.ratio)} {interval(found.low, found.high, ratio)} |" in card
    assert "| joules of cpu\\:0+dram\\:0, grade B (counters) |" in card
    assert "| modelled joules of cpu+ram, grade C (codecarbon) |" in card
    assert "dram\\:0 (grade B) leave out GPUs, mainboard, disks, network, fans, " in card
    assert "cooling and the data centre's losses (PUE)" in card
    train = record.baseline.phases["train"]
    counted = sum(r.energy_j or 0.0 for r in train.readings if r.grade == "B")
    assert f"| {amount(counted, 'J')} |" in card
    quality = record.quality
    assert f"difference {quality.difference:+.4f} [{quality.low:+.4f}, " in card


def test_without_a_counter_no_joule_is_claimed(tmp_path: Path) -> None:
    modelled = write_pair(tmp_path / "a", grades=("C",), weights=True)
    assert "energy: no claim, no counter was read" in bundled(str(with_weights(modelled))).card
    none = write_pair(tmp_path / "b", grades=(), weights=True)
    card = bundled(str(with_weights(none))).card
    assert "No meter gave any joules" in card
    assert "joules (" not in card


def test_a_baseline_against_itself_is_called_that(tmp_path: Path) -> None:
    folder = with_weights(write_pair(tmp_path, technique="none", weights=True))
    assert "The baseline of resnet18\\_cifar10 (seed 0), measured against itself on" in (
        bundled(str(folder)).card
    )


# What a record says is text


def test_no_word_of_a_record_becomes_markup_code_or_a_link(folder: Path) -> None:
    record = store.read(folder / "record.json")
    session = dataclasses.replace(record.session, valid=False, reason=f"{BAIT}\n# evil\n```\nevil")
    hostile = dataclasses.replace(
        record,
        label=BAIT,
        session=session,
        environment={"source": {"commit": f"{BAIT}\n- evil"}},
        comparisons=tuple(
            dataclasses.replace(c, scope=BAIT, source=BAIT) for c in record.comparisons
        ),
        quality=dataclasses.replace(record.quality, metric=f"- {BAIT}"),
    )
    card = model_card.text(hostile, "results/a/b/c/0-0", None)
    tokens = MarkdownIt("commonmark").enable("table").parse(card.partition("\n---\n")[2])
    inline = [child for token in tokens for child in token.children or []]
    assert {token.type for token in inline} <= {
        *("text", "text_special", "strong_open", "strong_close", "code_inline", "softbreak"),
    }
    assert {child.content for child in inline if child.type == "code_inline"} == {
        "model.safetensors"
    }
    assert [token.content for token in tokens if token.type == "fence"] == [
        "python -m bench.validate results\n"
    ]
    blocks = {token.type for token in tokens} - {"inline", "fence"}
    assert not blocks & {"html_block", "code_block", "bullet_list_open", "ordered_list_open"}
    title = next(token for token in tokens if token.type == "inline")
    shown = "".join(child.content for child in title.children or [])
    assert shown == f"resnet18_cifar10: {BAIT}"


def test_signs_that_are_not_printable_are_dropped_and_long_words_cut() -> None:
    assert model_card.literal("a\u202eb\x1b[31m\nc") == "a b \\[31m c"
    assert model_card.literal("x" * 1000) == f"{'x' * 300}\\.\\.\\."


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r["files"].update({"../../secret.parquet": "0" * 64}), "names the file"),
        (lambda r: r["files"].update({"run.sh": "0" * 64}), "names the file 'run.sh'"),
        (lambda r: r.update(host=".."), r"'\.\.' is part of the record's id"),
        (lambda r: r.update(host="a b"), "'a b' is part of the record's id"),
        (lambda r: r.update(id="a/b/c/d"), "workload/technique/run is meant"),
        (lambda r: r.update(id="a/../c"), r"'\.\.' is part of the record's id"),
        (lambda r: r["variant"]["artefact"].update(digest="../../../../etc"), "no SHA-256"),
        (lambda r: r.update(rehearsal=True), "is a rehearsal"),
        (lambda r: r["files"].update({"windows.parquet": "0" * 64}), "is not the file that the"),
        (lambda r: r.update(schema=99), "is no record: schema is 99"),
    ],
)
def test_what_no_measurement_writes_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None], told: str
) -> None:
    with pytest.raises(PushError, match=told):
        bundled(str(changed(folder, change)))


def test_simulated_joules_are_refused(tmp_path: Path) -> None:
    folder = with_weights(write_pair(tmp_path, grades=("S",), weights=True))
    with pytest.raises(PushError, match=r"simulated joules \(grade S\)"):
        bundled(str(folder))


def test_weights_that_are_not_the_records_or_no_tensors_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    digest = store.read(folder / "record.json").variant.artefact.digest
    weights = tmp_path / "results" / ".artefacts" / digest[:16] / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(PushError, match="is not the file that the record speaks of"):
        bundled(str(folder))
    with_weights(folder, pickle.dumps({"fc.weight": 1}))
    with pytest.raises(PushError, match="is no safetensors file, and nothing else is uploaded"):
        bundled(str(folder))


def test_a_model_that_is_elsewhere_is_asked_for_and_found_where_it_is_said_to_be(
    folder: Path, tmp_path: Path
) -> None:
    moved = (tmp_path / "results" / ".artefacts").rename(tmp_path / "models")
    with pytest.raises(PushError, match="--artefacts DIR names the folder"):
        bundled(str(folder))
    assert bundled(str(folder), moved).files["model.safetensors"].is_relative_to(moved)


def test_a_folder_with_something_in_it_is_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "mine").write_text("kept")
    assert main([str(folder), "--dry-run", str(there)]) == 1
    assert published(there) == {"mine": b"kept"}


# The same again


def composed(overrides: list[str]) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", overrides)
    return {name: OmegaConf.to_container(config[name], resolve=True) for name in SECTIONS}


def contains(whole: Any, part: Any) -> bool:
    """Whether whatever a record says is so in a configuration that may say more."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and contains(whole[key], part[key]) for key in part)
    return bool(whole == part)


@pytest.mark.parametrize(
    ("technique", "changes", "option"),
    [
        ("structured_pruning", {}, "structured_pruning"),
        ("structured_pruning", {"ratio": 0.35, "importance": "random"}, "structured_pruning"),
        ("structured_pruning", {"ratio": 0.3}, "structured_pruning_light"),  # the nearest one
        ("bf16", {}, "bf16"),
        ("distillation", {"student": "resnet8", "hints": {"layer3": "layer2"}}, "distillation"),
    ],
)
def test_the_command_composes_what_the_record_was_measured_with(
    tmp_path: Path, technique: str, changes: dict[str, Any], option: str
) -> None:
    written = write_pair(tmp_path, technique=technique, seed=3, protocol="smoke")
    record = store.read(written / "record.json")
    # What a chain of YAML files would give is composed; a made-up pair reads one of them.
    of_technique = composed([f"technique={technique}"])["technique"] | changes
    config = record.config | {"technique": of_technique, "data": {"root": "/data/images"}}
    measured = dataclasses.replace(record, config=config)
    line = command(measured)
    assert line is not None
    assert shlex.split(line)[:3] == ["python", "-m", "bench"]
    found = shlex.split(line)[3:]
    assert found == words(measured)
    chosen = {"workload=resnet18_cifar10", f"technique={option}", "protocol=smoke", "seed=3"}
    assert chosen <= set(found)
    assert found[-1] == "data.root=DIR"  # where it lay says nothing to others
    again = composed([word for word in found if word != "data.root=DIR"])
    config["workload"].pop("data_root")
    assert contains(again, {name: config[name] for name in SECTIONS})


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("technique", {"ratio": "${oc.env:HF_TOKEN}"}),
        ("technique", {"ratio": "0.5; rm -rf ~"}),
        ("technique", {"ratio": "$(evil)"}),
        ("technique", {"ratio": "'\n```\nevil"}),
        ("technique", {"_target_": "os.system"}),
        ("technique", {"ratio 0.5 evil": 1}),
        ("technique", {"name": "never_heard_of"}),
        ("workload", {"mean": [{"_target_": "os.system"}]}),
        ("training", {"epochs": {"_target_": "os.system"}}),
        ("protocol", None),
    ],
)
def test_a_configuration_that_is_no_plain_words_gives_no_command(
    folder: Path, section: str, change: dict[str, Any] | None
) -> None:
    record = store.read(folder / "record.json")
    assert command(record) is not None
    hostile = None if change is None else record.config[section] | change
    config = record.config | {section: hostile}
    assert command(dataclasses.replace(record, config=config)) is None
    card = model_card.text(dataclasses.replace(record, config=config), "results", None)
    assert "cannot be given as one command" in card
    assert "python -m bench workload" not in card


def test_commands_are_found_for_several_at_once(folder: Path) -> None:
    """The dashboard finds them in threads; Hydra has one state for all of these."""
    record = store.read(folder / "record.json")
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(command, [record] * 4))
    assert found == {command(record)}
    assert None not in found


# The hub


class FakeHub:
    """Stands in for ``HfApi`` and notes what it is asked; nothing leaves this machine."""

    def __init__(self, **private: bool) -> None:
        self.private = private
        self.calls: list[tuple[str, Any]] = []
        self.content: dict[str, bytes] = {}
        self.refuses: Exception | None = None

    def whoami(self) -> dict[str, str]:
        return {"name": "someone"}

    def repo_exists(self, repository: str) -> bool:
        return repository.partition("/")[2] in self.private

    def model_info(self, repository: str) -> SimpleNamespace:
        return SimpleNamespace(private=self.private[repository.partition("/")[2]])

    def create_repo(self, repository: str, *, private: bool) -> None:
        self.calls.append(("create_repo", (repository, private)))

    def create_branch(self, repository: str, *, branch: str, exist_ok: bool) -> None:
        self.calls.append(("create_branch", (repository, branch, exist_ok)))

    def create_commit(
        self, repository: str, operations: list[Any], *, commit_message: str, revision: str
    ) -> SimpleNamespace:
        if self.refuses is not None:
            raise self.refuses
        self.calls.append(("create_commit", (repository, revision)))
        for operation in operations:
            with operation.as_file() as file:
                self.content[operation.path_in_repo] = file.read()
        return SimpleNamespace(commit_url=f"https://hub.test/{repository}/commit/1")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """A fake hub with one private and one public repository, and a token for it."""
    fake = FakeHub(mine=True, shown=False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "made up")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    return fake


def test_a_run_goes_to_a_private_repository_of_its_own_in_one_commit(
    folder: Path, tmp_path: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder)]) == 0
    told = capsys.readouterr().out
    name = f"someone/joulebench-resnet18_cifar10-structured_pruning-{folder.name}"
    assert hub.calls == [("create_repo", (name, True)), ("create_commit", (name, "main"))]
    assert main([str(folder), "--dry-run", str(tmp_path / "dry"), "-q"]) == 0
    assert hub.content == published(tmp_path / "dry")
    assert f"Uploaded to https://hub.test/{name}/commit/1 (private" in told
    assert all(path in told for path in hub.content)
    assert capsys.readouterr().out == ""  # -q


def test_a_repository_of_several_runs_gets_a_revision_for_each(folder: Path, hub: FakeHub) -> None:
    assert main([str(folder), "--repo", "mine", "-q"]) == 0
    run = f"joulebench-resnet18_cifar10-structured_pruning-{folder.name}"
    assert hub.calls == [
        ("create_branch", ("someone/mine", run, True)),
        ("create_commit", ("someone/mine", run)),
    ]
    hub.calls.clear()
    assert main([str(folder), "--repo", "group/new", "--revision", "main", "--public", "-q"]) == 0
    assert hub.calls == [
        ("create_repo", ("group/new", False)),
        ("create_commit", ("group/new", "main")),
    ]


def test_nothing_goes_where_all_may_see_it_unless_that_was_said(
    folder: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--repo", "group/shown"]) == 1
    assert "group/shown is there already and all may see it: --public" in capsys.readouterr().err
    assert hub.calls == []
    assert main([str(folder), "--repo", "group/shown", "--public"]) == 0
    assert "(for all to see" in capsys.readouterr().out
    assert hub.calls[-1][0] == "create_commit"


def test_what_the_hub_answers_is_told_in_one_line(
    folder: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refuses = ConnectionError("403 Forbidden: no right to write\nRequest ID: 1")
    assert main([str(folder)]) == 1
    told = capsys.readouterr()
    assert told.err == (
        "joulebench: the hub did not take the run; no file was uploaded: "
        "403 Forbidden: no right to write\n"
    )
    assert told.out == ""


def test_without_a_token_the_hub_is_not_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def untouched() -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.setattr(huggingface_hub, "HfApi", untouched)
    assert main([str(folder)]) == 1
    told = capsys.readouterr().err
    assert "`hf auth login`" in told
    assert "HF_TOKEN" in told
    assert "--dry-run DIR" in told


def test_names_of_runs_are_such_as_the_hub_takes(tmp_path: Path) -> None:
    chained = write_pair(tmp_path, technique="structured_pruning+bf16", weights=True)
    name = bundled(str(with_weights(chained))).name
    assert name.endswith(f"structured_pruning-bf16-{chained.name}")
    record = store.read(chained / "record.json")
    longest = dataclasses.replace(record, id=f"{'w.-' * 40}w/{'t' * 90}/12-{'a' * 12}")
    for made in (record, longest):
        huggingface_hub.utils.validate_repo_id(f"someone/{named(made)}")
    assert named(longest).endswith(f"-12-{'a' * 12}")


def test_help_answers_without_torch_or_the_hubs_library() -> None:
    script = (
        "import sys\n"
        "from bench.push.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = ('torch', 'huggingface_hub', 'hydra', 'safetensors', 'pandas')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "--dry-run DIR" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
