"""Perturbations of decoded images: Frank et al.'s (used by MPFT and LoL) and TIDY's.

A perturbation takes one RGB image, uint8 (h, w, 3), and a numpy generator, and returns an image of the same
shape and type. Each image draws from a generator of its own, so the result does not depend on the order of
the images.

MPFT (Appendix D.1) and LoL (Appendix A.1) describe the four in the same words, "following Frank et al.".
The released code of Frank et al. does something else than these words, so there are two variants:

- noise. ``text``: variance ~ U[5, 20] on 0-255, so σ = √variance; rounded. ``frank_code``: σ ~ U[5, 20] (the
  "variance" multiplies a standard normal); the fraction is cut off.
- blur. Kernel size k from {3, 5, 7, 9}. ``text``: the σ that belongs to k. ``frank_code``: σ = 4 for every k.
- jpeg. ``text``: quality from 10 to 75, both included. ``frank_code``: always quality 95 (the drawn number is
  passed where an option's name belongs), with red and blue swapped while encoding.
- crop. The same in both: a share of 5-20 % is cut off, half of it on each side, and the rest enlarged again.
- combined. ``text``: all four in a row (noise, blur, jpeg, crop). ``frank_code``: one of the four an image.
- chain. Any of the four in a row, each with a probability of its own.

In the code's crop two faults are left out, as they cannot occur at the sizes it was used with (square, 128 px
and up): height and width change places in an image that is not square, and a cut of 0 px leaves nothing.
"""

from __future__ import annotations

from tellsign.registry import Record, Registry

PERTURBATIONS = Registry(
    "perturbation",
    {
        "none": Record("tellsign.data.perturbations.none", "none"),
        "noise": Record("tellsign.data.perturbations.noise", "noise"),
        "blur": Record("tellsign.data.perturbations.blur", "blur"),
        "jpeg": Record("tellsign.data.perturbations.jpeg", "jpeg"),
        "crop": Record("tellsign.data.perturbations.crop", "crop"),
        "combined": Record("tellsign.data.perturbations.combined", "combined"),
        "chain": Record("tellsign.data.perturbations.chain", "chain"),
        "tidy-noise": Record("tellsign.data.perturbations.tidy_noise", "tidy_noise"),
        "tidy-blur": Record("tellsign.data.perturbations.tidy_blur", "tidy_blur"),
        "tidy-jpeg": Record("tellsign.data.perturbations.tidy_jpeg", "tidy_jpeg"),
    },
)
"""``perturbation(image, generator, **options)`` by name."""
