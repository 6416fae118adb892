"""Figures: from metrics, networks and images to PNG, SVG and the data behind them.

A kind of figure is one file in ``kinds``: what it needs, how its data are computed and how they are drawn. What several
kinds share stands here: pages and legends (``page``), curves, bar charts, the metrics (``measured``), the networks and
images (``networks``), the bytes (``files``).
"""
