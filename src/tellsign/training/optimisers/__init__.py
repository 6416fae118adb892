"""Optimisers of the training loop.

They are ours, over torch's functional forms, because a job that makes one of ``torch.optim``'s classes first imports
torch._dynamo and sympy, 913 modules: 5.2 to 6.7 s of processor time in a fresh process until its first step is done
(torch 2.15, median 6.6 s of five), where the functional form takes 1 ms. A training of the demo takes less than that.
Their states are plain tensors, which safetensors keeps for resuming, without pickle. A step is one
kernel, and gives the bytes that ``torch.optim`` gives with ``fused=True``.
"""

from __future__ import annotations

from tellsign.registry import Record, Registry

OPTIMISERS = Registry(
    "optimiser",
    {
        "adam": Record("tellsign.training.optimisers.adam", "adam", settings="AdamSettings"),
        "adamw": Record("tellsign.training.optimisers.adamw", "adamw", settings="AdamWSettings"),
        "sgd": Record("tellsign.training.optimisers.sgd", "sgd", settings="SgdSettings"),
    },
)
"""``optimiser(params, **settings)`` by name, a `tellsign.training.optimisers.build.Optimiser`."""
