import pytest
import torch
from torch import nn

from tellsign.errors import UserError
from tellsign.fit import Adam, Resume, balanced_batches, fit, step_schedule


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
    assert [step_schedule(1e-5, e, every=1, factor=0.5) for e in range(3)] == [1e-5, 5e-6, 2.5e-6]


def test_batches_hold_every_row_once():
    parts = list(balanced_batches(torch.zeros(10, dtype=torch.int64), 4, torch.Generator().manual_seed(0)))
    assert [len(p) for p in parts] == [4, 4, 2]
    assert sorted(torch.cat(parts).tolist()) == list(range(10))


def train(epochs, folder, stop_after=None):
    model = nn.Linear(3, 1)
    nn.init.ones_(model.weight)
    nn.init.zeros_(model.bias)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.arange(24.0).view(8, 3) / 24

    def after(done):
        if done == stop_after:
            raise KeyboardInterrupt

    rows = fit(
        model,
        lambda rows: (model(inputs[rows]) * torch.rand(len(rows), 1, generator=generator)).square().mean(),
        lambda: balanced_batches(torch.zeros(8), 3, generator),
        Adam(model.parameters(), lr=0.05),
        epochs=epochs,
        rate=lambda epoch: 0.05 / (epoch + 1),
        generator=generator,
        resume=Resume(folder),
        after_epoch=after,
    )
    return model.state_dict(), [row["loss"] for row in rows]


def test_a_stopped_training_resumes_to_the_same_bytes(tmp_path):
    whole, losses = train(4, None)
    with pytest.raises(KeyboardInterrupt):
        train(4, tmp_path, stop_after=3)  # killed before the third epoch's state was kept
    resumed, again = train(4, tmp_path)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert losses == again


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
