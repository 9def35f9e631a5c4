"""An honest judge of pictures: a small image-text model that shares nothing with the prior but the text encoder.

It is loaded by `sds3d probe` and `sds3d bench quality` only, never in training or generation.
"""

from sds3d.probe.judge import Probe, load_probe

__all__ = ["Probe", "load_probe"]
