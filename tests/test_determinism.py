"""Who may change how torch computes: modules whose code enters fingerprints, and no others."""

from __future__ import annotations

import ast

import pytest

from tellsign.plan import fingerprint

SETTERS = ("set_", "use_deterministic_algorithms", "manual_seed", "seed", "fork_rng", "autocast", "no_grad")


def setters_of(source: str) -> list[str]:
    """Calls in a source that set torch's global state, and assignments to its backends."""
    calls: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.split(".")[0] in ("torch", "random", "np", "numpy") and name.rpartition(".")[2].startswith(SETTERS):
                calls.append(name)
        targets = node.targets if isinstance(node, ast.Assign) else []
        calls += [text for target in targets if (text := ast.unparse(target)).startswith("torch.")]
    return calls


def test_setters_are_seen():
    assert setters_of("import torch\ndef f():\n    torch.set_flush_denormal(True)") == ["torch.set_flush_denormal"]
    assert setters_of("torch.random.fork_rng(); np.random.seed(0)") == ["torch.random.fork_rng", "np.random.seed"]
    assert setters_of("torch.backends.cudnn.benchmark = True") == ["torch.backends.cudnn.benchmark"]
    assert not setters_of("x = torch.zeros(3)\nos.set_inheritable(1, True)")


@pytest.mark.parametrize("module", sorted(filter(fingerprint.is_neutral, fingerprint.import_graph().modules)))
def test_what_enters_no_fingerprint_does_not_change_how_torch_computes(module):
    assert not setters_of(fingerprint.source_of(module).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "stage", ["train", "train_head", "pretrain", "score", "score_head", "caption", "ground", "embed"]
)
def test_what_sets_it_is_in_the_fingerprint_of_every_stage_that_computes(stage):
    assert "tellsign.networks.determinism" in fingerprint.closure(f"tellsign.stages.{stage}")
