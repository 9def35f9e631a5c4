"""A film of the scene on a turntable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sds3d.camera import orbit
from sds3d.files import replacing
from sds3d.scenes.base import Scene
from sds3d.view.pictures import Pixels, channel, frames


def turntable(
    scene: Scene, path: Path, count: int = 60, size: int = 256, elevation: float = 15.0, fps: int = 20
) -> Path:
    """One turn in `count` pictures, as .mp4; where there is no ffmpeg, as .gif beside it. Returns what was written."""
    seen = frames(scene, orbit(count, elevation), size)
    return write_film(path, np.concatenate([channel(frame, "rgb") for frame in seen]), fps)


def write_film(path: Path, pictures: Pixels, fps: int) -> Path:
    """(N, H, W, 3) as H.264 in yuv420p, which every player knows, or as a .gif if the path says so or ffmpeg is
    missing or broken. Atomic; returns the path actually written."""
    if path.suffix != ".gif" and _encoder_works():
        return _write_mp4(path, pictures, fps)
    return _write_gif(path.with_suffix(".gif"), pictures, fps)


def _encoder_works() -> bool:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError, OSError):
        return False
    return True


def _write_mp4(path: Path, pictures: Pixels, fps: int) -> Path:
    from imageio_ffmpeg import write_frames

    height, width = pictures.shape[1] // 2 * 2, pictures.shape[2] // 2 * 2  # 4:2:0 chroma wants even sides
    quality = ["-crf", "20", "-preset", "fast", "-movflags", "+faststart", "-fflags", "+bitexact"]
    with replacing(path) as temporary:
        film = write_frames(
            str(temporary), (width, height), fps=fps, codec="libx264", quality=None, macro_block_size=2,
            pix_fmt_out="yuv420p", output_params=quality, ffmpeg_log_level="error",
        )  # fmt: skip
        film.send(None)
        try:
            for picture in pictures[:, :height, :width]:
                film.send(np.ascontiguousarray(picture))
        finally:
            film.close()
    return path


def _write_gif(path: Path, pictures: Pixels, fps: int) -> Path:
    palette = Image.fromarray(pictures[:: max(1, len(pictures) // 6)].reshape(-1, *pictures.shape[2:])).quantize(255)
    reels = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    with replacing(path) as temporary:
        reels[0].save(temporary, save_all=True, append_images=reels[1:], duration=round(1000 / fps), loop=0)
    return path
