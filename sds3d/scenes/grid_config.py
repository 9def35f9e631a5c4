"""The settings of the grid scene."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sds3d.errors import UserError

Span = tuple[float, float]  # a value at the start and at the end of a run, linear between


@dataclass(frozen=True)
class DenseConfig:
    """Nested voxel grids."""

    resolution: int = 64  # cells a side at the finest level
    levels: int = 4
    features: int = 0  # per voxel, decoded by the network; 0 stores density and colour themselves


@dataclass(frozen=True)
class HashConfig:
    """Multi-resolution hash grid."""

    levels: int = 12
    features: int = 2
    log2_size: int = 17  # entries per level
    coarsest: int = 16
    finest: int = 512


@dataclass(frozen=True)
class ShadingConfig:
    """A point light on a matt surface in training (DreamFusion, Poole et al. 2022, section 3.2). Other pictures, and
    what is exported, show the bare colours."""

    share: Span = (0.0, 0.0)  # of the views that are lit
    after: float = 0.1  # share of the run before which none is
    textureless: float = 0.5  # share of the lit views whose surface is white
    ambient: float = 0.1
    diffuse: float = 0.9
    perturb: float = 1.0  # standard deviation of the light's place around the camera's, before its distance is drawn
    distance: Span = (0.8, 1.5)  # of the light, over the camera's, drawn between


@dataclass(frozen=True)
class GridConfig:
    """The grid scene. Spans are (start, end) of the run."""

    encoding: Literal["auto", "dense", "hash"] = "auto"  # auto: dense on the CPU, hash on CUDA
    backend: str = "auto"  # of volume.available_backends()
    dense: DenseConfig = field(default_factory=DenseConfig)
    hash: HashConfig = field(default_factory=HashConfig)
    hidden: int = 32  # width of the decoding network
    activation: Literal["exp", "softplus"] = "exp"  # of the density
    blob_strength: float = 2.0  # raw density in the middle of the first blob
    blob_radius: float = 0.6  # where it has fallen to 0
    progressive: float = 0.0  # share of the run at which the finest level comes in; 0: all are there from the start
    first_levels: int = 2  # levels at the start, where they come in one after the other
    step: Span = (0.05, 0.03)  # length of a ray sample
    occupancy: int = 64  # cells a side
    occupancy_every: int = 16  # steps between updates
    occupancy_decay: float = 0.8
    occupancy_threshold: float = 0.3  # density below which a cell is empty
    normals: bool = False  # frames hold normals too: six more reads of the density per sample
    shading: ShadingConfig = field(default_factory=ShadingConfig)
    background: Literal["given", "learned"] = "given"  # learned: smooth colours of the sky around, in training only
    background_share: float = 0.5  # of the views that have the learned background; the others the given one
    lr: Span = (3e-2, 1e-2)  # encoding
    lr_network: Span = (1e-2, 3e-3)
    lr_background: Span = (1e-2, 3e-3)
    sparsity: Span = (1.0, 3.0)  # mean of sqrt(alpha^2 + 0.01): less matter
    opacity: Span = (0.0, 0.0)  # mean of alpha^2: less matter, most where there is much
    entropy: Span = (0.0, 5.0)  # mean binary entropy of alpha: no half transparent pixels
    spread: float = 0.0  # at the end: mean spread of the matter that a ray sees. Surfaces rather than fog
    spread_from: float = 0.6  # share of the run from which on it grows from 0: details have found their places
    variation: Span = (0.0, 0.0)  # mean |difference| of neighbouring voxels (dense encoding)
    orientation: Span = (0.0, 0.0)  # mean w max(n . d, 0)^2: no surface that faces away (Ref-NeRF, eq. 11)

    def __post_init__(self) -> None:
        shares = {
            "progressive": (self.progressive,),
            "background_share": (self.background_share,),
            "spread_from": (self.spread_from,),
            "shading.share": self.shading.share,
            "shading.after": (self.shading.after,),
            "shading.textureless": (self.shading.textureless,),
        }
        for name, values in shares.items():
            if not all(0 <= value <= 1 for value in values):
                raise UserError(f"grid.{name} is a share from 0 to 1, not {', '.join(map(str, values))}")
        if self.first_levels < 1:
            raise UserError(f"grid.first_levels must be at least 1, not {self.first_levels}")
        if not 0 < self.shading.distance[0] <= self.shading.distance[1]:
            raise UserError("grid.shading.distance needs two rising values above 0")
