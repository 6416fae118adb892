"""tellsign: four papers on detecting AI-generated images, reproduced by one command."""

__version__ = "0.1.0"
