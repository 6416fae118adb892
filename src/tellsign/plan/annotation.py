"""The plan of TIDY's caches: captions, boxes and embeddings of a split's images, and the stores that keep them."""

from __future__ import annotations

import re
from typing import Any

from tellsign.errors import choose
from tellsign.networks.backbones import CLIPS
from tellsign.networks.captioners import CAPTIONERS
from tellsign.networks.grounders import GROUNDERS
from tellsign.plan.artifact import Artifact, Workshop, answered_once, digest, without_places
from tellsign.plan.configuration import Configuration
from tellsign.plan.fingerprint import code_digest
from tellsign.plan.networks import Networks
from tellsign.schema.annotation import Annotate, NoCaptioner, NoGrounder
from tellsign.schema.loading import plain


class AnnotationPlan:
    """Artifacts of annotation.

    Args:
        configuration: What it is the plan of.
        workshop: Makes the artifacts.
        networks: Finds weights.
    """

    def __init__(self, configuration: Configuration, workshop: Workshop, networks: Networks) -> None:
        self._papers, self._make, self._network = configuration.papers, workshop.make, networks.settings

    @answered_once
    def embed(self, paper: str, section: str, crops: Artifact) -> Artifact:
        """CLIP embeddings of images, captions and objects, as an ``annotate`` section of a paper says."""
        spec = choose(self._papers[paper].annotate, section, f"annotate section of {paper}")
        where = f"{paper}: annotate {section}"
        name = f"{crops.name}-{digest(spec)[:4]}"
        caption = self._caption(spec, crops, name, where)
        ground = self._ground(spec, crops, caption, name, where) if caption else None
        clip = self._network(spec.clip.name, spec.clip.weights, where)
        entry = CLIPS.find(spec.clip.name)
        made = made_from({"clip": clip}, crops, "tellsign.networks.embedding", entry.module)
        needs = {"crops": crops, "caption": caption, "ground": ground}
        store = store_of("embed", spec.clip.name, made)
        return self._make("embed", name, {"clip": clip, "made": made}, needs, entries=(entry,), store=store)

    def _caption(self, spec: Annotate, crops: Artifact, name: str, where: str) -> Artifact | None:
        if isinstance(spec.captioner, NoCaptioner):
            return None
        entry = CAPTIONERS.find(spec.captioner.name)
        captioner = plain(spec.captioner) | self._network(spec.captioner.name, spec.captioner.weights, where)
        made = made_from({"captioner": captioner}, crops, entry.module)
        store = store_of("caption", spec.captioner.name, made)
        settings = {"captioner": captioner, "made": made}
        return self._make("caption", name, settings, {"crops": crops}, entries=(entry,), store=store)

    def _ground(self, spec: Annotate, crops: Artifact, caption: Artifact, name: str, where: str) -> Artifact | None:
        if isinstance(spec.grounder, NoGrounder):
            return None
        entry = GROUNDERS.find(spec.grounder.name)
        grounder = plain(spec.grounder) | self._network(spec.grounder.name, spec.grounder.weights, where)
        for key, network in spec.grounder.beside().items():
            grounder[key] = None if network is None else self._network(*network, where)
        made = made_from({"grounder": grounder}, crops, entry.module)
        settings = {"grounder": grounder, "threshold": spec.threshold, "made": made}
        store = store_of("ground", spec.grounder.name, made)
        needs = {"crops": crops, "caption": caption}
        return self._make("ground", name, settings, needs, entries=(entry,), store=store)


def made_from(network: dict[str, Any], crops: Artifact, *modules: str) -> dict[str, Any]:
    """What rows of a store depend on but the image: the network, the code, and how pixels came about."""
    recipe = {part: crops.recipe[part] for part in ("code", "entries")}
    pixels = digest(recipe | {"settings": crops.settings})[:12]
    code = [code_digest(module) for module in ("tellsign.data.pixels", *modules)]
    return without_places(network) | {"code": code, "pixels": pixels}


def store_of(stage: str, name: str, made: dict[str, Any]) -> str:
    """The folder of a store."""
    return f"data/store/{stage}-{re.sub('[:/]', '-', name)}.{digest(made)[:12]}"
