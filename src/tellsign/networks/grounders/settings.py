"""What the settings of a grounder say beside their fields."""

from __future__ import annotations

from tellsign.schema.settings import Settings


class GrounderSettings(Settings):
    """Settings of a grounder."""

    def beside(self) -> dict[str, tuple[str, str] | None]:
        """Networks and data that it needs beside its own weights: key of its settings → name and ``weights:``.

        None is written where a key is not used.
        """
        return {}
