"""The app's configuration, which holds the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.apps import AppConfig, apps
from django.conf import settings

from milepost import Engine

if TYPE_CHECKING:
    from typing import Self


class ArticlesConfig(AppConfig):
    """Makes the engine. ``ready`` runs for every management command: nothing is opened or started by it."""

    name = "articles"
    engine: Engine

    def ready(self) -> None:
        """Make the engine, in each process that sets Django up."""
        self.engine = Engine(**settings.MILEPOST)

    @classmethod
    def installed(cls) -> Self:
        """Return the configuration of this process."""
        return cast("Self", apps.get_app_config(cls.name))
