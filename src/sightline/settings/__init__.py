"""The settings: one tree from file, `.env`, environment and command line, each value with its origin.

The only part of Sightline that reads the environment (besides `Client.from_env` and torchrun's variables).
"""

from sightline.settings.aliases import ALIASES, Alias
from sightline.settings.expand import expand
from sightline.settings.load import LoadedSettings, Row, load_settings
from sightline.settings.model import AppSettings

__all__ = ["ALIASES", "Alias", "AppSettings", "LoadedSettings", "Row", "expand", "load_settings"]
