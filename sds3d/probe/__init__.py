"""An honest judge of pictures: a small image-text model that shares nothing with the prior but the text encoder.

It is loaded by `sds3d probe` and `sds3d bench quality`, never in training, and in generation only where guidance
`rewardsds` is asked for by name.
"""

from sds3d.probe.judge import Probe, load_probe

__all__ = ["Probe", "load_probe"]
