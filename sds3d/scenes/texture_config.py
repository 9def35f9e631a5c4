"""The settings of a scene that is an asset from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from sds3d.errors import UserError
from sds3d.scenes.mesh_color import ColorConfig, Span, VoxelConfig

LARGEST = 0.5  # of the unit ball: who wants more makes the object anew


@dataclass(frozen=True)
class TextureConfig:
    """An asset's colours, and its geometry within a distance. Spans are (start, end) of the run."""

    asset: str = ""  # file of a mesh or of Gaussians
    asset_digest: str = ""  # of its content, filled in
    up: str = ""  # the file's axis upwards, such as +z; empty: what is usual for its format
    front: str = ""  # the file's axis towards the viewer
    distance: float = 0.0  # how far geometry may move, as a share of the unit ball; 0: colours alone change
    detail: float = 1.0  # how much of a texture's detail below the colour field's resolution is kept
    opaque: bool = True  # leave out what would paint the surface like its background (of Gaussians: while they stay)
    light: Literal["none", "camera"] = "camera"  # of meshes in training: with the camera, colours come out unlit
    supersample: int = 2  # samples a side of a pixel, of meshes in training
    color: ColorConfig = field(default_factory=ColorConfig)  # of meshes
    move: VoxelConfig = field(default_factory=lambda: VoxelConfig(32, 3))  # field of shifts, of meshes
    edge: float = 0.05  # longer edges of meshes are cut where geometry moves
    faces: int = 100_000  # about as many are made at most
    bending: float = 0.05  # weight of the mean 1 - cosine that neighbouring faces turn against the start
    stretch: float = 50.0  # weight of the mean squared relative change of edges' lengths: thin parts stay as thick
    lr_move: Span = (2e-2, 5e-3)  # of the shift, in distances
    lr_colors: Span = (2e-2, 5e-3)  # of Gaussians' logits
    lr_shapes: Span = (5e-3, 1e-3)  # of Gaussians' log scales, rotations and opacities' logits, where geometry moves

    def __post_init__(self) -> None:
        if not 0 <= self.distance <= LARGEST:
            raise UserError(f"the distance is a share of the unit ball from 0 to {LARGEST}, not {self.distance}")
        if not 0 <= self.detail <= 1:
            raise UserError(f"texture.detail is a share from 0 to 1, not {self.detail}")
        if not 1 <= self.supersample <= 8:
            raise UserError(f"texture.supersample must lie between 1 and 8, not {self.supersample}")
        if self.edge < 0.005:
            raise UserError(f"texture.edge must be at least 0.005, not {self.edge}")

    def check(self) -> None:
        """UserError when no asset is named."""
        if not self.asset:
            raise UserError('the scene texture is an asset of yours: sds3d texture ASSET "words"')

    def refuse(self, names: Sequence[str], kind: str, held: str) -> None:
        """UserError when one of the settings `names`, which are for assets of `kind`, is set for one that is `held`."""
        usual = TextureConfig()
        for name in names:
            if getattr(self, name) != getattr(usual, name):
                raise UserError(f"texture.{name} is for {kind}, and {self.asset} holds {held}: leave it out")
