"""From folders of images to pixels."""
