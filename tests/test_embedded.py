"""The embedded prior's network and training, on a corpus of coloured discs and squares made here."""

import copy
from dataclasses import replace

import pytest
import torch
from prior_helpers import SMALL, write_corpus

from sds3d.bench.rival_report import prior_of
from sds3d.bench.rivals import Contest, Entrant, ShortRecipe, budget, costs, restored, trained
from sds3d.embedded.conditions import harmonics
from sds3d.embedded.data import backgrounds, draw_mirror, load_corpus, mirrored, over, principal_components, references
from sds3d.embedded.folder import dequantise, load_weights, quantise, save_folder
from sds3d.embedded.model import EigenDenoiser
from sds3d.embedded.recipe import RECIPES, learning_rate
from sds3d.embedded.rivals import PatchTransformer, PixelUNet
from sds3d.embedded.train import Sampler, Text, build, draw_batch, train, train_stage
from sds3d.errors import UserError
from sds3d.priors.base import Cond
from sds3d.streams import stream


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return load_corpus(write_corpus(tmp_path_factory.mktemp("data") / "corpus"))


@pytest.fixture(scope="module")
def text():
    generator = stream(0, "text")
    return Text(torch.randn(7, 4, 384, generator=generator).half(), torch.ones(7, 4, dtype=torch.bool))


@pytest.fixture(scope="module")
def components(corpus):
    return principal_components(corpus, 48, stream(0, "components"))


def fresh(components) -> EigenDenoiser:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(components, EigenDenoiser, **SMALL)


def test_basis_keeps_white_noise_white(components):
    net = fresh(components)
    noise = torch.randn(2000, 3, 64, 64, generator=stream(0, "white"))
    z = net.project(noise, torch.ones(2000), 0.0)
    assert z.std(0).sub(1).abs().max() < 0.1  # 2000 samples: standard error 0.016 over 48 axes
    assert (net.basis.T @ net.basis - torch.eye(48)).abs().max() < 1e-4


def test_projection_and_image_are_inverse_on_the_span(components):
    net = fresh(components)
    z = torch.randn(5, 48, generator=stream(0, "z"))
    grey = torch.linspace(0, 1, 5)
    image = torch.nn.functional.interpolate(net.image(z, grey), scale_factor=2, mode="nearest")
    assert torch.allclose(net.project(image, grey), z, atol=1e-3)


def test_untrained_network_is_the_wiener_filter(components):
    net = fresh(components)
    t = torch.tensor([990, 700])
    x = torch.randn(2, 3, 64, 64, generator=stream(0, "x"))
    (x0,) = net(x, t, torch.zeros(2, 4, 384))
    alpha, sigma = net.levels[t][:, :1], net.levels[t][:, 1:]
    gain = alpha * net.variance / (alpha**2 * net.variance + sigma**2)
    white = torch.ones(2)
    want = net.image(gain * net.project(x, white, alpha), white)
    assert torch.allclose(x0, torch.nn.functional.interpolate(want, scale_factor=2, mode="bilinear"), atol=1e-5)


def test_camera_features_wrap_and_forget():
    camera = torch.tensor([[10.0, 5.0, 40.0], [370.0, 5.0, 40.0], [float("nan")] * 3])
    features = harmonics(camera)
    assert torch.allclose(features[0], features[1], atol=1e-5)
    assert (features[2] == 0).all()


def test_an_empty_scene_is_the_known_background(components):
    net = fresh(components)
    covered = 1 - (net.backdrop / 2).view(3, 32, 32)  # the mean image adds nothing where objects never are
    grey = torch.tensor([0.0, 0.3, 1.0])
    corner = net.image(torch.zeros(3, 48), grey)[:, :, 0, 0]
    assert covered[:, 0, 0].max() < 1e-6 and torch.allclose(corner, (2 * grey - 1)[:, None].expand(3, 3), atol=1e-5)


def test_mirror_swaps_sides_only():
    image = torch.zeros(1, 4, 8, 8)
    image[0, 0, :, 0] = image[0, 3, :, 0] = 1.0
    flipped = over(image, torch.ones(1), torch.tensor([True]))
    assert (flipped[0, 0, :, 7] == 1).all() and (flipped[0, 1, :, 7] == -1).all() and (flipped[0, :, :, 0] == 1).all()
    assert mirrored(torch.tensor([[90.0, 10.0, 40.0]]), torch.tensor([True])).tolist() == [[-90.0, 10.0, 40.0]]


def test_half_of_the_pictures_are_mirrored_but_no_handed_ones():
    handed = torch.arange(4000) % 4 == 0
    mirror = draw_mirror(handed, stream(0, "mirror"))
    assert not mirror[handed].any() and 0.46 < mirror[~handed].float().mean() < 0.54


def test_backgrounds_are_half_white():
    grey = backgrounds(4000, stream(0, "bg"))
    assert 0.45 < (grey == 1).float().mean() < 0.55 and grey.min() < 0.01


def test_quantised_weights_come_back_within_a_step(components, tmp_path):
    net = fresh(components)
    save_folder(net, tmp_path / "prior")
    again = load_weights(tmp_path / "prior" / "unet")
    for name, value in net.state_dict().items():
        step = value.abs().flatten(1).amax(1).max() / 127 if value.ndim > 1 else torch.tensor(1e-3)
        assert (again[name] - value).abs().max() <= step, name
    assert dequantise(quantise(again)).keys() == net.state_dict().keys()


def test_training_learns_and_generalises(corpus, text, components, tmp_path):
    recipe = replace(
        RECIPES["tiny"], eigen_images=256 * 120, eigen_batch=256, eigen_lr=3e-3, validate=40, checkpoint=1000
    )
    net = fresh(components)
    records = [r for r in train(corpus, text, recipe, net, tmp_path) if r["stage"] == "eigen"]
    assert records[-1]["heldout"] < 0.97 * records[0]["heldout"] < 0.97  # 1 is the linear denoiser


def test_resumed_training_follows_the_same_curve(corpus, text, components, tmp_path):
    recipe = RECIPES["tiny"]
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    whole.mkdir(), halves.mkdir()
    net = fresh(components)
    full = list(train_stage(net, copy.deepcopy(net), corpus, text, recipe, "eigen", whole))
    net2 = fresh(components)
    run = train_stage(net2, copy.deepcopy(net2), corpus, text, recipe, "eigen", halves)
    next(run)  # step 8, its checkpoint written
    run.close()
    net3 = fresh(components)
    rest = list(train_stage(net3, copy.deepcopy(net3), corpus, text, recipe, "eigen", halves))
    assert rest[-1]["heldout"] == full[-1]["heldout"]
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), net3.state_dict().values(), strict=True))


def test_learning_rate_rises_and_falls_to_zero():
    recipe = RECIPES["cpu"]
    rates = [learning_rate(s, 1000, recipe, 1.0) for s in range(1001)]
    assert rates[0] < 0.01 and max(rates) == 1.0 and rates[500] == 1.0 and rates[-1] == 0.0


def test_missing_corpus_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="sds3d prior corpus"):
        load_corpus(tmp_path)


def test_pieces_follow_the_curve_of_one_run(corpus, text, components, tmp_path):
    """A piece that is out of time takes one step, saves it and leaves; the pieces end where one run ends."""
    recipe = replace(RECIPES["tiny"], eigen_images=256 * 3)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    whole.mkdir(), pieces.mkdir()
    net = fresh(components)
    full = list(train_stage(net, copy.deepcopy(net), corpus, text, recipe, "eigen", whole))
    steps = []
    for _ in range(3):
        other = fresh(components)
        last = list(train_stage(other, copy.deepcopy(other), corpus, text, recipe, "eigen", pieces, until=0.0))
        steps.append(last[-1]["step"])
    assert steps == [1, 2, 3] and last[-1]["heldout"] == full[-1]["heldout"]


def test_detail_training_leaves_the_eigen_stage_alone(corpus, text, components, tmp_path):
    recipe = replace(RECIPES["tiny"], eigen_images=256, detail_images=32 * 60, validate=20)
    net = fresh(components)
    records = list(train(corpus, text, recipe, net, tmp_path))
    detail = [r["heldout"] for r in records if r["stage"] == "detail"]
    assert detail[-1] < 0.9 * detail[0]
    eigen = torch.load(tmp_path / "train_eigen.pt", weights_only=True)["ema"]
    assert all(torch.equal(v, eigen[k]) for k, v in net.state_dict().items() if not k.startswith("detail"))


def test_rows_are_drawn_by_weight(corpus):
    rows = torch.arange(4)
    weighed = replace(corpus, weight=torch.tensor([1.0, 0.0, 2.0, 1.0], dtype=torch.float64))
    drawn = Sampler(weighed, rows).draw(8000, stream(0, "weights")).bincount(minlength=4) / 8000
    assert drawn[1] == 0 and (drawn - torch.tensor([0.25, 0, 0.5, 0.25])).abs().max() < 0.03  # 5 standard errors


def test_references_show_the_same_object_from_the_front(corpus):
    rows = torch.arange(len(corpus)).repeat(8)
    found = references(corpus, rows, stream(0, "references"))
    assert torch.equal(corpus.caption[found, 0], corpus.caption[rows, 0])  # here every caption is an object
    off = ((corpus.camera[found, 0] + 180) % 360 - 180).abs()
    assert off.mean() < 60  # the least of three uniform draws in [0, 180] is 45 on average


def test_pictures_are_whitened_coefficients_and_hidden_ones_zero(corpus, text, components):
    net = fresh(components)
    white = torch.ones(1)
    mean = torch.nn.functional.interpolate(net.image(torch.zeros(1, 48), white), scale_factor=2)
    assert net.encode_image((mean + 1) / 2).abs().max() < 1e-4
    recipe = replace(RECIPES["tiny"], picture=0.5)
    batch = draw_batch(net, corpus, text, torch.arange(200), recipe, stream(0, "batch"))
    shown = batch.picture.flatten(1).any(1)
    assert 0.35 < shown.float().mean() < 0.65
    assert batch.picture[shown].std() == pytest.approx(1, abs=0.3)  # whitened


def test_a_picture_changes_the_answer_once_trained(components):
    net = fresh(components)
    for layer in (net.picture[-1], net.leave, *(block.down for block in net.blocks)):
        torch.nn.init.normal_(layer.weight, std=0.1)
    x, t = torch.randn(1, 3, 64, 64, generator=stream(0, "x")), torch.tensor([900])
    pictures = (None, torch.zeros(1, 1, 24), torch.ones(1, 1, 24))
    none, zeros, token = (net(x, t, torch.zeros(1, 4, 384), image=picture)[0] for picture in pictures)
    assert torch.equal(none, zeros) and (none - token).abs().max() > 1e-3


RIVALS = {
    PatchTransformer: {"width": 64, "depth": 1},
    PixelUNet: {"channels": 8, "scales": (1, 2), "down": (1, 1), "up": (1,)},
}
SHARED = {"cond_width": 32, "queries": 2, "image_width": 24}


@pytest.mark.parametrize("kind", RIVALS)
def test_rivals_take_the_seat_of_the_network(components, kind):
    net = build(components, kind, **SHARED, **RIVALS[kind])
    prior, seated = prior_of(net, "rival"), prior_of(fresh(components), "eigen")
    assert prior.capabilities == seated.capabilities and prior.size == seated.size
    x, t = torch.randn(2, 3, 64, 64, generator=stream(0, "x")), torch.tensor([990, 300])
    told = Cond(torch.zeros(2, 4, 384), torch.ones(2, 4, dtype=torch.bool), background=torch.tensor([1.0, 0.2]))
    with torch.no_grad():
        x0 = net(x, t, told.tokens, told.mask, background=told.background)[0]
        eps = prior.predict(x, t, told)
    alpha, sigma = (net.levels[t][:, i].view(-1, 1, 1, 1) for i in (0, 1))
    assert torch.allclose(alpha * x0 + sigma * eps, x, atol=1e-4)
    middle, spread = net.middle(told.background), net.variance.sum() / (3 * 64**2)
    wiener = middle + alpha * spread / (alpha**2 * spread + sigma**2) * (x - alpha * middle)
    assert torch.allclose(x0, wiener, atol=1e-4)  # untrained it is the best guess that is one for all pixels


@pytest.mark.parametrize("kind", RIVALS)
def test_rivals_are_told_everything_the_network_is(components, kind):
    net = build(components, kind, **SHARED, **RIVALS[kind])
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, t, tokens = torch.randn(1, 3, 64, 64, generator=stream(0, "x")), torch.tensor([900]), torch.zeros(1, 4, 384)
    plain = net(x, t, tokens)[0]
    telling = {
        "camera": torch.tensor([[90.0, 10.0, 40.0]]),
        "background": torch.tensor([0.5]),
        "image": torch.ones(1, 1, 24),
        "encoder_hidden_states": torch.randn(1, 4, 384, generator=stream(0, "tokens")),
    }
    for name, value in telling.items():
        told = {"encoder_hidden_states": tokens, name: value}
        assert (net(x, t, **told)[0] - plain).abs().max() > 1e-3, name


def test_rivals_train_within_their_minutes_and_resume(corpus, text, components, tmp_path):
    recipe = ShortRecipe(eigen_batch=32, detail_batch=8, pixel_batch=8, warmup=4)
    entrants = {
        "eigen": Entrant(EigenDenoiser, {"eigen": 0.8, "detail": 0.2}, recipe),
        "transformer": Entrant(PatchTransformer, {"pixel": 1.0}, recipe),
    }
    torch.save(components, tmp_path / "components.pt")
    sizes = {"eigen": SMALL, "transformer": {**SHARED, **RIVALS[PatchTransformer]}}
    contest = Contest(corpus, text, tmp_path, 0.01, entrants, sizes)
    cost = costs(contest)
    spent = {name: budget(contest, name, cost) for name in entrants}
    for name, stage, share in (("eigen", "eigen", 0.8), ("eigen", "detail", 0.2), ("transformer", "pixel", 1.0)):
        steps = getattr(spent[name], f"{stage}_images") // getattr(recipe, f"{stage}_batch")
        seconds = cost["step_seconds"][name][stage]
        assert abs(steps * seconds - 0.6 * share) <= max(seconds, 1e-9), stage  # to a step
    records = []
    net = trained(contest, "transformer", spent["transformer"], records.append)
    assert records[-1]["step"] == records[-1]["total"]
    again = trained(contest, "transformer", spent["transformer"], lambda record: pytest.fail("it was finished"))
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))
    assert costs(contest) == cost  # measured once
    with pytest.raises(UserError, match="--out"):
        costs(replace(contest, minutes=1.0))


def test_pixel_training_beats_the_gaussian(corpus, text, components, tmp_path):
    recipe = ShortRecipe(pixel_images=16 * 50, pixel_batch=16, pixel_lr=3e-3, warmup=4)
    net = build(components, PatchTransformer, **SHARED, **RIVALS[PatchTransformer])
    records = list(train_stage(net, copy.deepcopy(net), corpus, text, recipe, "pixel", tmp_path))
    assert records[-1]["heldout"] < 0.8  # 1 is about what the untrained network has


def test_less_noise_is_restored_better(corpus, text, components, tmp_path):
    found = restored(Contest(corpus, text, tmp_path, 1.0, {}, {}), fresh(components))
    assert found["100"] > found["500"] > found["900"] > 5
