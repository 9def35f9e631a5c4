"""sds3d: text-to-3D by score distillation, on any device."""

__version__ = "0.1.0"
