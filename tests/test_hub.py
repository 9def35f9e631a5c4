"""Models of a hub: a real server on localhost, a tiny pipeline, and everything that goes wrong with hubs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_server import Hub, point_to, serving
from prior_helpers import SD_INDEX, SD_SCHEDULER, write_clip_tokenizer, write_json, write_sd_folder
from safetensors.torch import save_file
from typer.testing import CliRunner

from sds3d.cli.app import app
from sds3d.errors import UserError
from sds3d.priors import PRIORS, Source, hub, list_priors, load_prior
from sds3d.priors.folder import family_of
from sds3d.priors.hub_errors import explain
from sds3d.priors.hub_files import choose, weight_sets, whole
from sds3d.priors.hub_reference import Reference, parse

REPO = "someone/tiny"
TINY = Reference(REPO)
PARTS = ("unet", "vae", "text_encoder", "tokenizer")
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Stable Diffusion's layout with all that repositories have around it, none of which is wanted. Nothing to load."""
    folder = tmp_path / "pipeline"
    write_json(folder / "model_index.json", SD_INDEX)
    write_json(folder / "scheduler" / "scheduler_config.json", SD_SCHEDULER)
    for i, part in enumerate(("unet", "vae", "text_encoder")):  # no two alike: the cache keeps a content once
        write_json(folder / part / "config.json", {"_name_or_path": part})
        name = "model" if part == "text_encoder" else "diffusion_pytorch_model"
        save_file({"weight": torch.arange(500.0) + i}, folder / part / f"{name}.safetensors")
    write_clip_tokenizer(folder / "tokenizer")
    (folder / "v1-5-pruned.safetensors").write_bytes(b"a single file of everything")
    (folder / "README.md").write_text("a card")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"for training")
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"a safety checker")
    return folder


@pytest.fixture
def server(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(Hub({REPO: pipeline})) as started:
        point_to(started.url, tmp_path / "home", monkeypatch)
        yield started


def refusal(reference: Reference = TINY, variant: str | None = None) -> str:
    """The one line that a download ends with."""
    with pytest.raises(UserError) as caught:
        hub.fetch(str(reference), [reference], variant)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("owner/name", Reference("owner/name")),
        ("https://huggingface.co/owner/na.me-1_0", Reference("owner/na.me-1_0")),
        ("https://hf.co/owner/name/", Reference("owner/name")),
        ("https://huggingface.co/owner/name/tree/main", Reference("owner/name")),
        ("https://huggingface.co/owner/name/tree/v2", Reference("owner/name", revision="v2")),
        ("https://huggingface.co/o/n/blob/main/a/b.safetensors", Reference("o/n", "a/b.safetensors")),
        ("https://huggingface.co/o/n/resolve/v2/b.safetensors?download=true", Reference("o/n", "b.safetensors", "v2")),
        ("/models/tiny", None),
        ("./models", None),
        ("name", None),
        ("a/b/c", None),
    ],
)
def test_names_of_the_hub(name: str, expected: Reference | None) -> None:
    assert parse(name) == expected


@pytest.mark.parametrize(
    "address",
    ["https://example.com/owner/name", "https://huggingface.co/o/n/blob/main/a.ckpt", "ftp://huggingface.co/o/n"],
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(UserError, match="huggingface.co"):
        load_prior(address)


def test_every_alias_has_a_licence_and_repositories_of_the_hub() -> None:
    for name, source in PRIORS.items():
        assert source.folder or source.licence and source.repos, name
        assert all(parse(repo) == Reference(repo) for repo in source.repos)
    gone = ("runwayml/", "stabilityai/stable-diffusion-2")
    assert not [repo for source in PRIORS.values() for repo in source.repos if repo.startswith(gone)]
    shown = {entry.name: entry.summary for entry in list_priors()}
    assert "OpenRAIL" in shown["sd15"] and "accepted on the hub" in shown["flux-dev"]


# ---------------------------------------------------------------------------------------- which files


def test_one_set_of_weights_is_chosen(pipeline: Path) -> None:
    sizes = {str(p.relative_to(pipeline)): p.stat().st_size for p in pipeline.rglob("*") if p.is_file()}
    chosen = choose(REPO, PARTS, sizes)
    assert {path for path in chosen if path.endswith(".safetensors")} == {
        UNET,
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    }
    assert {"model_index.json", "scheduler/scheduler_config.json", "tokenizer/merges.txt", "unet/config.json"} <= set(
        chosen
    )
    assert all(sizes[path] == size for path, size in chosen.items())
    assert not [path for path in chosen if path.endswith((".bin", ".md")) or "safety" in path]


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_and_variants(variant: str | None) -> None:
    """Sana's and PixArt's mixture: shards in full precision, one file or other shards in half, indices beside them."""
    names = [
        "text_encoder/model-00001-of-00002.safetensors",
        "text_encoder/model-00002-of-00002.safetensors",
        "text_encoder/model.fp16-00001-of-00002.safetensors",
        "text_encoder/model.fp16-00002-of-00002.safetensors",
        "text_encoder/model.safetensors.index.json",
        "text_encoder/model.safetensors.index.fp16.json",
        "vae/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
        "unet/diffusion_pytorch_model-00002-of-00002.fp16.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
    ]
    chosen = {path for path in choose(REPO, PARTS, dict.fromkeys(names, 1), variant) if path.startswith("text")}
    assert chosen == set(names[2:4] + names[5:6] if variant else names[:2] + names[4:5])
    whole_choice = choose(REPO, PARTS, dict.fromkeys(names, 1), variant)
    assert "vae/diffusion_pytorch_model.safetensors" in whole_choice and set(names[7:]) <= set(whole_choice)


def test_a_variant_that_nobody_offers(pipeline: Path) -> None:
    with pytest.raises(UserError, match="no variant 'bf16' .*leave --variant out"):
        choose(REPO, PARTS, {UNET: 1, "vae/diffusion_pytorch_model.fp16.safetensors": 1}, "bf16")


def test_missing_shards_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    first, second = (tmp_path / "unet" / f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
    first.write_bytes(b"")
    assert not whole(tmp_path) and not weight_sets([first.name])
    second.write_bytes(b"")
    assert whole(tmp_path)


# ---------------------------------------------------------------------------------------- downloads


def test_a_model_is_fetched_once(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    folder = hub.fetch(REPO, [TINY], tell=told.append)
    assert told == [hub.Plan(TINY, {p: 0 for p in server.fetched()}, _bytes(folder), "openrail++").summary]
    assert UNET in server.fetched() and len(set(server.fetched())) == len(server.fetched())
    assert not {"README.md", "v1-5-pruned.safetensors"} & set(server.fetched())
    server.requests.clear()
    assert hub.fetch(REPO, [TINY]) == folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.fetch(REPO, [TINY]) == folder
    assert server.requests == []  # what is in the cache asks nothing


def test_a_fetched_model_loads_by_its_name(server: Hub, tmp_path: Path) -> None:
    server.repos["some/model"] = write_sd_folder(tmp_path / "model")
    prior = load_prior("some/model", dtype=torch.float32)
    assert prior.name == "some/model" and prior.text(["red"]).tokens.shape == (1, 77, 32)


def _bytes(folder: Path) -> int:
    """Of a snapshot, but for the two small files that are there when the rest is counted."""
    looked_at = {folder / "model_index.json", folder / "unet" / "config.json"}
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and p not in looked_at)


def test_a_model_with_code_beside_its_weights_comes_without_the_code(server: Hub, pipeline: Path) -> None:
    write_json(pipeline / "model_index.json", SD_INDEX | {"unet": ["mv_unet", "MultiViewUNetModel"]})
    write_json(pipeline / "unet" / "config.json", {"_class_name": "MultiViewUNetModel", "camera_dim": 16})
    (pipeline / "unet" / "mv_unet.py").write_text("raise SystemExit")
    folder = hub.fetch(REPO, [TINY])
    assert family_of(folder).name == "mvdream" and UNET in server.fetched()
    assert not [path for path in server.fetched() if path.endswith(".py")]
    write_json(pipeline / "unet" / "config.json", {"camera_dim": 16, "ip_dim": 16})
    server.repos["someone/other"] = pipeline
    assert "this is ImageDream" in refusal(Reference("someone/other"))


def test_a_mirror_takes_the_place_of_a_repository_that_is_gone(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRIORS, "sd15", Source("", repos=("gone/away", REPO), licence="x"))
    told: list[str] = []
    folder = hub.fetch("sd15", [Reference("gone/away"), TINY], tell=told.append)
    assert (folder / UNET).is_file() and "no model gone/away" in told[0] and told[1].startswith(REPO)
    assert {entry.name: entry.available for entry in list_priors()}["sd15"]


def test_no_mirror_left_tells_of_each(server: Hub) -> None:
    server.gated.add(REPO)
    with pytest.raises(
        UserError, match=r"any of its 2 repositories: there is no model gone/away .*; someone/tiny is gated"
    ):
        hub.fetch("sd15", [Reference("gone/away"), TINY])


def test_an_interrupted_download_goes_on(server: Hub) -> None:
    """The server fails for one file: what came before stays, and the second start fetches only what is missing."""
    server.failing[UNET] = 500
    assert "the hub answered 500" in refusal() and hub.cached(TINY) is None
    before = set(server.fetched()) - {UNET}
    server.failing.clear()
    server.requests.clear()
    assert hub.fetch(REPO, [TINY]) == hub.cached(TINY)
    assert UNET in server.fetched() and not before - {UNET} & set(server.fetched())


def test_a_broken_connection_is_taken_up_where_it_broke(
    server: Hub, pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)
    server.cut[UNET] = 1000
    folder = hub.fetch(REPO, [TINY])
    assert (folder / UNET).read_bytes() == (pipeline / UNET).read_bytes()
    ranges = [asked for method, path, asked in server.requests if method == "GET" and path.endswith(UNET)]
    assert ranges == ["", "bytes=1000-"]


def test_a_single_file_of_a_repository(server: Hub, pipeline: Path) -> None:
    file = Reference(REPO, "v1-5-pruned.safetensors")
    assert hub.fetch("x", [file]).read_bytes() == (pipeline / file.file).read_bytes()
    assert server.fetched() == [file.file] and hub.cached(file) is not None
    assert "has no file other.safetensors" in refusal(Reference(REPO, "other.safetensors"))


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("token", ["", "stranger"])
def test_a_gated_repository_says_where_to_accept_and_how_to_log_in(
    server: Hub, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gated.add(REPO)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    assert refusal() == f"{REPO} is gated: accept its licence at {server.url}/{REPO}, then run: hf auth login"
    monkeypatch.setenv("HF_TOKEN", "good")
    assert (hub.fetch(REPO, [TINY]) / UNET).is_file()


def test_a_missing_model(server: Hub) -> None:
    assert "there is no model no/body on the hub" in refusal(Reference("no/body"))
    assert "no revision 'v9'" in refusal(Reference(REPO, revision="v9"))


def test_offline_names_the_cache_and_the_way_out(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    line = refusal()
    assert "offline mode is on" in line and f"sds3d download {REPO}" in line and str(hub.cache_folder()) in line
    with pytest.raises(UserError, match="'sd21' is not in the local hub cache.*sds3d download sd21"):
        load_prior("sd21")
    assert server.requests == []


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://127.0.0.1:9", tmp_path, monkeypatch)  # nobody listens there
    assert "cannot reach http://127.0.0.1:9" in refusal()


@pytest.mark.filterwarnings("ignore:Not enough free disk space")  # huggingface_hub's own word
def test_a_full_disk_is_told_before_and_during_the_download(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        usage = shutil.disk_usage("/")
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
        assert "0.0 GB free" in refusal() and UNET not in server.fetched()
    error = explain(TINY, OSError(28, "No space left on device"))
    assert "the disk is full" in str(error) and "HF_HOME" in str(error)


@pytest.fixture
def variant_of(pipeline: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pipeline, tmp_path / "variant")


def test_pickles_only(server: Hub, variant_of: Path) -> None:
    (variant_of / UNET).unlink()
    server.repos["some/pickles"] = variant_of
    assert "has its unet only as pickled weights" in refusal(Reference("some/pickles"))
    assert not [path for path in server.fetched() if path.endswith(".safetensors")]


def test_a_wrong_family_is_told_before_anything_large_is_fetched(server: Hub, variant_of: Path) -> None:
    write_json(variant_of / "model_index.json", SD_INDEX | {"unet": ["diffusers", "UNetSpatioTemporalConditionModel"]})
    server.repos["some/video"] = variant_of
    line = refusal(Reference("some/video"))
    assert line.startswith("some/video (Stable") and "unet of class UNetSpatioTemporalConditionModel" in line
    write_json(variant_of / "model_index.json", SD_INDEX | {"vae": ["diffusers", "AutoencoderOobleck"]})
    server.repos["some/sound"] = variant_of
    assert "some/sound" in (line := refusal(Reference("some/sound"))) and "vae of class AutoencoderOobleck" in line
    assert set(server.fetched()) == {"model_index.json", "unet/config.json"}


def test_a_repository_without_a_pipeline_points_to_its_single_file(server: Hub, variant_of: Path) -> None:
    (variant_of / "model_index.json").unlink()
    server.repos["some/checkpoint"] = variant_of
    line = refusal(Reference("some/checkpoint"))
    assert "no model_index.json" in line and "some/checkpoint/blob/main/v1-5-pruned.safetensors" in line


def test_a_broken_index(server: Hub, variant_of: Path) -> None:
    for text, words in (("[]", "does not hold a JSON object"), ("{", "not readable JSON")):
        (variant_of / "model_index.json").write_text(text)
        server.repos[f"some/broken{len(text)}"] = variant_of
        assert words in refusal(Reference(f"some/broken{len(text)}"))


# ---------------------------------------------------------------------------------------- the command


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real command, whose only hub and only cache are those of the test."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", "sds3d", *arguments], capture_output=True, text=True, env=plain | environment
    )


def test_the_command_downloads_where_the_environment_says(server: Hub, tmp_path: Path) -> None:
    hub_of_the_test = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "elsewhere")}
    done = command("download", REPO, **hub_of_the_test)
    folder = Path(done.stdout.strip())
    assert done.returncode == 0 and folder.is_relative_to(tmp_path / "elsewhere") and (folder / UNET).is_file()
    assert f"{REPO}: " in done.stderr and "licence openrail++" in done.stderr
    server.requests.clear()
    again = command("download", REPO, "--offline", **hub_of_the_test)
    assert (again.stdout, again.stderr, server.requests) == (done.stdout, "", [])


@pytest.mark.parametrize("verb", [["download"], ["generate", "a chair", "--prior"], ["imagine", "a chair", "--prior"]])
def test_offline_is_one_line_of_every_command(verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://127.0.0.1:9", tmp_path, monkeypatch)
    result = CliRunner().invoke(app, [*verb, "sdxl", "--offline", *(["--out", str(tmp_path)] if len(verb) > 1 else [])])
    (line,) = result.stderr.strip().splitlines()
    assert result.exit_code == 2 and "offline mode is on: run sds3d download sdxl" in line


def test_download_knows_what_needs_none() -> None:
    assert "comes with sds3d" in CliRunner().invoke(app, ["download", "embedded"]).output
    result = CliRunner().invoke(app, ["download", "sd155"])
    assert result.exit_code == 2 and "did you mean 'sd15'" in result.stderr
