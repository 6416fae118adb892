from __future__ import annotations

import typing

import pytest

from tellsign.errors import UserError
from tellsign.networks.captioners import CAPTIONERS
from tellsign.networks.captioners.captioner import load_captioner
from tellsign.networks.grounders import GROUNDERS
from tellsign.networks.grounders.grounder import load_grounder
from tellsign.schema import annotation


@pytest.mark.parametrize("known, settings", [(CAPTIONERS, "CAPTIONER_SETTINGS"), (GROUNDERS, "GROUNDER_SETTINGS")])
def test_every_name_of_the_recipe_has_a_module_and_the_other_way_round(known, settings):
    kinds = getattr(annotation, settings)
    assert set(known) == set(kinds) - {"none"}
    for name, kind in kinds.items():
        assert name in typing.get_args(typing.get_type_hints(kind)["name"])
    assert all(callable(known.load(name)) for name in known)


def test_unknown_names_are_refused_with_the_near_miss():
    with pytest.raises(UserError, match="blip2"):
        load_captioner({"name": "blip3"}, 1)
    with pytest.raises(UserError, match="glip-l"):
        load_grounder({"name": "glip-xl"}, 1)
