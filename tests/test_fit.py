import errno
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tellsign.errors import UserError
from tellsign.training import resume
from tellsign.training.early_stopping import EarlyStop
from tellsign.training.fit import fit, shuffled_batches, write_log
from tellsign.training.optimisers import OPTIMISERS
from tellsign.training.optimisers.adam_steps import Adam
from tellsign.training.optimisers.build import build_optimiser
from tellsign.training.optimisers.sgd_steps import Sgd
from tellsign.training.resume import Resume
from tellsign.training.schedules import SCHEDULES
from tellsign.training.schedules.step import step as step_rate
from tellsign.training.schedules.warm_up import scheduled_rate

pytestmark = pytest.mark.usefixtures("state_every_epoch")


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_follows_its_equations(decoupled):
    p = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    mine = Adam([p], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.01, decoupled=decoupled)
    x, m, v = p.detach().clone(), torch.zeros(2), torch.zeros(2)
    for t in range(1, 4):
        mine.zero_grad()
        (p**2).sum().backward()
        mine.step()
        g = 2 * x + (0 if decoupled else 0.01 * x)
        x = x * (1 - 0.1 * 0.01) if decoupled else x
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        x = x - 0.1 * (m / (1 - 0.9**t)) / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
    torch.testing.assert_close(p.detach(), x, rtol=1e-9, atol=1e-12)


def test_step_schedule_halves_every_epoch():
    assert [step_rate(1e-5, e, 3, every=1, factor=0.5) for e in range(3)] == [1e-5, 5e-6, 2.5e-6]


def test_batches_hold_every_row_once():
    parts = list(shuffled_batches(10, 4, torch.Generator().manual_seed(0)))
    assert [len(p) for p in parts] == [4, 4, 2]
    assert sorted(torch.cat(parts).tolist()) == list(range(10))


def train(epochs, folder, after=lambda done: None):
    model = nn.Linear(3, 1)
    nn.init.ones_(model.weight)
    nn.init.zeros_(model.bias)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.arange(24.0).view(8, 3) / 24

    rows = fit(
        model,
        lambda rows: (model(inputs[rows]) * torch.rand(len(rows), 1, generator=generator)).square().mean(),
        lambda: shuffled_batches(8, 3, generator),
        Adam(model.parameters(), lr=0.05),
        epochs=epochs,
        rate=lambda epoch: 0.05 / (epoch + 1),
        generator=generator,
        resume=Resume(folder),
        after_epoch=after,
    )
    return model.state_dict(), [row["loss"] for row in rows]


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 4])])
def test_damaged_state_is_refused_by_name(tmp_path, damage):
    train(2, tmp_path)
    state = tmp_path / "state-2" / "state.safetensors"
    state.write_bytes(damage(state.read_bytes()))
    with pytest.raises(UserError, match=r"state\.safetensors is damaged.*begins anew"):
        train(4, tmp_path)


@pytest.mark.parametrize("file", ["state.safetensors", "progress.json", "files.sha256"])
def test_a_state_with_any_file_damaged_or_missing_is_refused(tmp_path, file):
    train(2, tmp_path)
    path = tmp_path / "state-2" / file
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(UserError, match=r"state-2.* is damaged.*begins anew"):
            train(4, tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"state-2 is damaged.*begins anew"):
        train(4, tmp_path)


class KilledError(Exception):
    """The end of a process, so far as its files are concerned."""


MOMENTS = ("before the new state has its name", "before the old one is gone", "when half of it is gone")


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_a_state_is_replaced_a_whole_one_is_left(tmp_path, monkeypatch, moment):
    def half_gone(folder):
        (folder / "progress.json").unlink()
        raise KilledError

    def killed(*_):
        raise KilledError

    whole, losses = train(4, None)
    train(2, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        if moment == "before the new state has its name":
            patch.setattr(Path, "rename", killed)
        else:
            patch.setattr(resume, "shutil", SimpleNamespace(rmtree=half_gone if "half" in moment else killed))
        train(4, tmp_path)
    resumed, again = train(4, tmp_path)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole) and losses == again
    assert [path.name for path in tmp_path.iterdir()] == ["state-4"]


def test_a_stopped_training_resumes_to_the_same_bytes(tmp_path):
    def killed(done):
        if done == 3:  # before the third epoch's state was kept
            raise KilledError

    whole, losses = train(4, None)
    with pytest.raises(KilledError):
        train(4, tmp_path, after=killed)
    resumed, again = train(4, tmp_path)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert losses == again


def test_a_state_is_a_copy_that_a_thread_writes_while_training_goes_on(tmp_path, monkeypatch):
    trained_on, found, save_file = threading.Event(), {}, resume.save_file

    def slow(tensors, path):
        found[path.parent.name.split(".")[1]] = trained_on.wait(60) and {k: v.clone() for k, v in tensors.items()}
        save_file(tensors, path)

    monkeypatch.setattr(resume, "save_file", slow)
    train(2, tmp_path, after=lambda done: trained_on.set() if done == 2 else None)
    train(1, tmp_path / "short")
    expected = load_file(tmp_path / "short" / "state-1" / "state.safetensors")
    assert {"model.weight", "first.0", "generator"} <= expected.keys() == found["state-1"].keys()
    assert all(torch.equal(found["state-1"][name], value) for name, value in expected.items())


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seconds", ["0", "3600"])
def test_a_training_that_is_told_to_end_writes_its_last_whole_epoch_first(tmp_path, monkeypatch, told, seconds):
    def ends(*_):
        raise KilledError if told == signal.SIGTERM else KeyboardInterrupt

    monkeypatch.setenv("TELLSIGN_STATE_SECONDS", seconds)
    whole, losses = train(4, None)
    # what ends this process elsewhere, and whatever tests of several processes left behind
    before = {one: signal.signal(one, ends) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises((KilledError, KeyboardInterrupt)):
            train(4, tmp_path, after=lambda done: signal.raise_signal(told) if done == 3 else None)
        assert signal.getsignal(signal.SIGTERM) is ends
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["state-2"]
    resumed, again = train(4, tmp_path)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole) and losses == again


def test_a_state_that_cannot_be_written_stops_the_training(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(resume, "save_file", full)
    with pytest.raises(OSError, match="full"):
        train(2, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_diverged_loss_is_an_error():
    model = nn.Linear(1, 1)
    with pytest.raises(UserError, match="learning rate"):
        fit(
            model,
            lambda rows: model(torch.ones(1, 1)).sum() * float("nan"),
            lambda: iter([torch.zeros(1, dtype=torch.int64)]),
            Adam(model.parameters(), lr=1.0),
            epochs=1,
            rate=lambda epoch: 1.0,
            generator=torch.Generator(),
            resume=Resume(None),
            after_epoch=lambda done: None,
        )


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_follows_its_equations(momentum, nesterov):
    p = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    mine = Sgd([p], lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=0.01)
    x, v = p.detach().clone(), torch.zeros(2)
    for lr in (0.1, 0.1, 0.02):
        mine.zero_grad()
        (p**2).sum().backward()
        mine.step(lr)
        g = 2 * x + 0.01 * x
        v = momentum * v + g
        x = x - lr * (g + momentum * v if nesterov else v)
    torch.testing.assert_close(p.detach(), x, rtol=1e-12, atol=1e-15)


FACTS = {"lr": 0.01, "weight_decay": 0.02}
SECTIONS = {
    "adam": FACTS | {"name": "adam", "betas": [0.9, 0.99]},
    "adamw": FACTS | {"name": "adamw", "betas": [0.9, 0.99]},
    "sgd": FACTS | {"name": "sgd", "momentum": 0.5, "nesterov": True, "dampening": 0.0},
}


def test_an_optimiser_is_built_from_its_section_and_goes_on_from_its_state():
    for name, kind in (("sgd", Sgd), ("adam", Adam), ("adamw", Adam)):
        a, b = (nn.Parameter(torch.ones(3)) for _ in range(2))
        first, second = (build_optimiser([p], SECTIONS[name]) for p in (a, b))
        assert isinstance(first, kind)
        for step in range(4):
            a.grad = a.detach() * (step + 1)
            first.step()
            if step == 2:
                second.load_state(first.state())
                b.data.copy_(a.data)
        b.grad = 4 * b.detach()
        second.step()
        assert torch.equal(a, b)
    with pytest.raises(UserError, match="momentum"):
        build_optimiser([], SECTIONS["sgd"] | {"momentum": 0.0})


TORCHS = {
    "adam": (torch.optim.Adam, {"betas": (0.9, 0.99)}),
    "adamw": (torch.optim.AdamW, {"betas": (0.9, 0.99)}),
    "sgd": (torch.optim.SGD, {"momentum": 0.5, "nesterov": True}),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimisers_bytes_are_those_of_torch_optim(name):
    draws = torch.Generator().manual_seed(7)
    shapes = [(300, 5), (5,), (3, 2, 3, 3)]
    ours, torchs = ([nn.Parameter(torch.full(shape, 0.3)) for shape in shapes] for _ in range(2))
    mine = build_optimiser(ours, SECTIONS[name])
    kind, options = TORCHS[name]
    theirs = kind(torchs, lr=0.01, weight_decay=0.02, fused=True, **options)
    for step in range(5):
        lr = 0.01 / (step + 1)
        theirs.param_groups[0]["lr"] = lr
        for p, q in zip(ours, torchs, strict=True):
            p.grad = torch.randn(p.shape, generator=draws)
            q.grad = p.grad.clone()
        ours[1].grad = torchs[1].grad = None if step == 2 else ours[1].grad  # one that takes no part in a step
        mine.step(lr)
        theirs.step()
    assert all(torch.equal(p, q) for p, q in zip(ours, torchs, strict=True))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_step_is_the_same_whatever_the_memory_layout(name):
    draws = torch.Generator().manual_seed(7)
    start, gradients = torch.randn(4, 3, 5, 5, generator=draws), torch.randn(3, 4, 3, 5, 5, generator=draws)
    rows = nn.Parameter(start.clone())
    channels_last = nn.Parameter(start.clone(memory_format=torch.channels_last))
    for p in (rows, channels_last):
        optimiser = build_optimiser([p], SECTIONS[name])
        for gradient in gradients:
            (p * gradient).sum().backward()
            optimiser.step()
            optimiser.zero_grad()
    assert torch.equal(rows, channels_last) and not torch.allclose(rows, start)


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPTIMISERS)
def test_on_cuda_a_step_is_fused_and_goes_on_from_a_cpus_state(name):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    here, there = nn.Parameter(torch.ones(9)), nn.Parameter(torch.ones(9, device="cuda"))
    on_cpu, on_cuda = build_optimiser([here], SECTIONS[name]), build_optimiser([there], SECTIONS[name])
    assert on_cuda.fused and not on_cpu.fused  # pyright: ignore
    for step in range(4):
        here.grad = torch.full_like(here, 0.1 * step)
        there.grad = here.grad.cuda()
        on_cpu.step()
        on_cuda.step()
        if step == 1:
            on_cuda.load_state(on_cpu.state())
    torch.testing.assert_close(there.detach().cpu(), here.detach(), rtol=1e-5, atol=1e-7)


def test_unknown_optimisers_and_schedules_are_named():
    with pytest.raises(UserError, match="Did you mean 'adam'"):
        build_optimiser([], {"name": "adams"})
    with pytest.raises(UserError, match="Did you mean 'cosine'"):
        scheduled_rate(0.1, 0, 1, SCHEDULE | {"kind": "cosin"})
    assert list(SCHEDULES) == ["step", "constant", "cosine_waves", "cosine"]


SCHEDULE = {"kind": "step", "every": 10, "factor": 0.9, "warmup": 0}
COSINE = {"kind": "cosine", "floor": 0.0, "warmup": 0}


def test_schedules_follow_their_closed_forms():
    def rates(epochs, section, **changes):
        return [scheduled_rate(0.2, e, epochs, section | changes) for e in range(epochs)]

    assert (
        rates(31, SCHEDULE)[::10] == pytest.approx([0.2, 0.18, 0.162, 0.1458]) and rates(31, SCHEDULE)[9] == 0.2
    )  # NPR's
    assert rates(3, {"kind": "constant", "warmup": 0}) == [0.2] * 3
    assert rates(4, COSINE, floor=0.1) == pytest.approx([0.2, 0.15 + 0.05 * 0.5**0.5, 0.15, 0.15 - 0.05 * 0.5**0.5])
    assert rates(4, COSINE, warmup=2) == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1 - 0.1 * 0.5**0.5])


def stopping(accuracies, **changes) -> tuple[EarlyStop, list[float]]:
    """Feed accuracies epoch by epoch; the rates of the epochs that were trained, from 1e-4."""
    given = iter(accuracies)
    rules = {"patience": 5, "factor": 0.1, "min_lr": 1e-6, "delta": 0.001} | changes
    stop, rates = EarlyStop(lambda: next(given), **rules), []
    for epoch in range(len(accuracies)):
        if stop.over(1e-4):
            break
        rates.append(stop.rate(1e-4))
        stop.update(epoch + 1)
    return stop, rates


def test_the_rate_falls_tenfold_after_five_epochs_without_progress_and_training_ends_below_the_least():
    stop, rates = stopping([0.5, 0.8] + [0.8005] * 40)
    assert rates == pytest.approx([1e-4] * 7 + [1e-5] * 5 + [1e-6] * 5)
    assert (stop.epoch, stop.best) == (2, 0.8)


def test_progress_starts_the_wait_anew():
    stop, rates = stopping([0.5] * 5 + [0.6] + [0.6] * 4 + [0.7])
    assert rates == [1e-4] * 11 and stop.epoch == 11


def test_a_negative_delta_takes_small_falls_as_progress():
    stop, rates = stopping([0.5, 0.4995, 0.4992] + [0.4] * 4, delta=-0.001)
    assert (stop.epoch, stop.best, stop.waited) == (3, 0.4992, 4) and rates == [1e-4] * 7


def test_early_stopping_goes_on_from_its_state():
    whole, _ = stopping([0.5, 0.4, 0.4, 0.6, 0.4])
    half, _ = stopping([0.5, 0.4, 0.4])
    rest = iter([0.6, 0.4])
    again = EarlyStop(lambda: next(rest), 5, 0.1, 1e-6, 0.001)
    again.load_state(half.state())
    for epoch in (4, 5):
        again.update(epoch)
    assert again.state() == whole.state()


def test_fit_ends_early_and_logs_the_accuracy(tmp_path):
    model = nn.Linear(1, 1)
    scores = iter([0.5, 0.9] + [0.1] * 9)
    stop, kept = EarlyStop(lambda: next(scores), 1, 0.1, 0.5e-2, 0.0), []
    rows = fit(
        model,
        lambda rows: model(torch.ones(1, 1)).square().sum(),
        lambda: iter([torch.zeros(1, dtype=torch.int64)]),
        Sgd(model.parameters(), lr=0.1),
        epochs=50,
        rate=lambda epoch: 0.1,
        generator=torch.Generator(),
        resume=Resume(None),
        after_epoch=lambda done: kept.append(done) if stop.epoch == done else None,
        stop=stop,
    )
    assert [row["lr"] for row in rows] == pytest.approx([0.1, 0.1, 0.1, 0.01])
    assert [row["accuracy"] for row in rows] == [0.5, 0.9, 0.1, 0.1] and kept == [1, 2]


def test_a_log_without_epochs_is_its_header(tmp_path):
    write_log(tmp_path / "log.csv", [])
    assert (tmp_path / "log.csv").read_text() == "epoch,rows,loss,lr,seconds\n"


def test_a_log_has_the_columns_of_all_its_rows(tmp_path):
    write_log(tmp_path / "log.csv", [{"phase": 1, "loss": 0.5}, {"phase": 2, "loss": 0.25, "accuracy": 1.0}])
    assert (tmp_path / "log.csv").read_text() == "phase,loss,accuracy\n1,0.5,\n2,0.25,1.0\n"


@pytest.mark.parametrize(("seconds", "states"), [("0", ["state-4"]), ("3600", [])])
def test_a_state_is_kept_once_enough_time_has_passed(tmp_path, monkeypatch, seconds, states):
    monkeypatch.setenv("TELLSIGN_STATE_SECONDS", seconds)
    assert torch.equal(train(4, tmp_path)[0]["weight"], train(4, None)[0]["weight"])
    assert [path.name for path in tmp_path.iterdir()] == states


@pytest.mark.parametrize("given", ["soon", "-1", "nan"])
def test_a_time_between_states_that_is_none_is_refused(monkeypatch, given):
    monkeypatch.setenv("TELLSIGN_STATE_SECONDS", given)
    with pytest.raises(UserError, match=rf"TELLSIGN_STATE_SECONDS is '{given}'.*such as 120"):
        Resume(None)
