"""The embedded world: made scenes, a camera, the web, small learned generators and tiny towers."""
