"""Numba kernels that project Gaussians into every view and take screen gradients back (see projection.py).

Per Gaussian and view, `screen` holds u, v, conic xx, conic xy, conic yy, depth, radius x, radius y. A gradient buffer
holds, summed over pixels with h = alpha dL/dalpha and d = pixel - mean, h, h dx, h dy, h dx dx, h dx dy, h dy dy, then
the gradients of r, g, b and depth.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sds3d.render import projection
from sds3d.render.jit import inlined, kernel

SCREEN = 8
GRADS = 10
CULLED = np.int64(0x7FFFFFFF00000000)  # sorts behind every depth

# The kernels see these as float32 literals.
_NEAR = np.float32(projection.NEAR)
_MIN_ALPHA, _SLACK = np.float32(projection.MIN_ALPHA), np.float32(projection.FRUSTUM_SLACK)
_0, _HALF, _1, _2, _FAR = (np.float32(c) for c in (0.0, 0.5, 1.0, 2.0, 1e9))


@inlined
def _rotation(quats: Any, i: int) -> Any:
    """Unit quaternion (w, x, y, z), its rotation as nine numbers, and the length it had."""
    w, x, y, z = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
    length = max(math.sqrt(w * w + x * x + y * y + z * z), np.float32(1e-12))
    w, x, y, z = w / length, x / length, y / length, z / length
    rows = (
        _1 - _2 * (y * y + z * z), _2 * (x * y - w * z), _2 * (x * z + w * y),
        _2 * (x * y + w * z), _1 - _2 * (x * x + z * z), _2 * (y * z - w * x),
        _2 * (x * z - w * y), _2 * (y * z + w * x), _1 - _2 * (x * x + y * y),
    )  # fmt: skip
    return (w, x, y, z), rows, length


@inlined
def _camera_space(means: Any, view: Any, i: int, b: int) -> Any:
    """Mean i in the axes of camera b."""
    mx, my, mz = means[i, 0], means[i, 1], means[i, 2]
    x = view[b, 0, 0] * mx + view[b, 0, 1] * my + view[b, 0, 2] * mz + view[b, 0, 3]
    y = view[b, 1, 0] * mx + view[b, 1, 1] * my + view[b, 1, 2] * mz + view[b, 1, 3]
    z = view[b, 2, 0] * mx + view[b, 2, 1] * my + view[b, 2, 2] * mz + view[b, 2, 3]
    return x, y, z


@inlined
def _jacobian_axes(axes: Any, view: Any, b: int, u: Any, v: Any, slope: Any) -> Any:
    """Rows of J W A, A (9 numbers) the scaled axes: three columns of (right, down), and W A's three rows."""
    m0, m1, m2 = axes[0:3], axes[3:6], axes[6:9]
    c0 = (
        view[b, 0, 0] * m0[0] + view[b, 0, 1] * m1[0] + view[b, 0, 2] * m2[0],
        view[b, 0, 0] * m0[1] + view[b, 0, 1] * m1[1] + view[b, 0, 2] * m2[1],
        view[b, 0, 0] * m0[2] + view[b, 0, 1] * m1[2] + view[b, 0, 2] * m2[2],
    )
    c1 = (
        view[b, 1, 0] * m0[0] + view[b, 1, 1] * m1[0] + view[b, 1, 2] * m2[0],
        view[b, 1, 0] * m0[1] + view[b, 1, 1] * m1[1] + view[b, 1, 2] * m2[1],
        view[b, 1, 0] * m0[2] + view[b, 1, 1] * m1[2] + view[b, 1, 2] * m2[2],
    )
    c2 = (
        view[b, 2, 0] * m0[0] + view[b, 2, 1] * m1[0] + view[b, 2, 2] * m2[0],
        view[b, 2, 0] * m0[1] + view[b, 2, 1] * m1[1] + view[b, 2, 2] * m2[1],
        view[b, 2, 0] * m0[2] + view[b, 2, 1] * m1[2] + view[b, 2, 2] * m2[2],
    )
    right = (slope * (c0[0] - u * c2[0]), slope * (c0[1] - u * c2[1]), slope * (c0[2] - u * c2[2]))
    down = (slope * (c1[0] - v * c2[0]), slope * (c1[1] - v * c2[1]), slope * (c1[2] - v * c2[2]))
    return right, down, c2


@inlined
def _dot(a: Any, b: Any) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def _scaled_axes(rotation: Any, scales: Any, i: int) -> Any:
    a, b, c = scales[i, 0], scales[i, 1], scales[i, 2]
    r = rotation
    return (r[0] * a, r[1] * b, r[2] * c, r[3] * a, r[4] * b, r[5] * c, r[6] * a, r[7] * b, r[8] * c)


@kernel
def project(  # type: ignore[no-untyped-def]
    means, quats, scales, opacities, view, focal, size, dilation, screen, keys, first, last,
):  # fmt: skip
    """screen (B, N, 8) and sort keys (depth bits, index) of Gaussians first..last in every view."""
    half, full = np.float32(size) * _HALF, np.float32(size)
    for i in range(first, last):
        opacity = opacities[i]
        reach = math.sqrt(_2 * math.log(opacity / _MIN_ALPHA)) if opacity >= _MIN_ALPHA else _0
        _, rotation, _ = _rotation(quats, i)
        axes = _scaled_axes(rotation, scales, i)
        for b in range(len(view)):
            x, y, z = _camera_space(means, view, i, b)
            out = screen[b, i]
            out[:] = _0
            keys[b, i] = CULLED | i
            if not (z > _NEAR and opacity >= _MIN_ALPHA):
                continue
            f = focal[b]
            limit = _SLACK * half / f
            u, v = x / z, y / z
            right, down, _ = _jacobian_axes(
                axes, view, b, min(max(u, -limit), limit), min(max(v, -limit), limit), f / z
            )
            xx, xy, yy = _dot(right, right) + dilation, _dot(right, down), _dot(down, down) + dilation
            det = xx * yy - xy * xy
            px, py = u * f + half, v * f + half
            rx, ry = np.float32(math.ceil(reach * math.sqrt(xx))), np.float32(math.ceil(reach * math.sqrt(yy)))
            if not (det > _0 and abs(px) < _FAR and abs(py) < _FAR and rx < _FAR and ry < _FAR):
                continue
            if px + rx <= _0 or px - rx >= full or py + ry <= _0 or py - ry >= full:
                continue
            out[0], out[1], out[2], out[3], out[4] = px, py, yy / det, -xy / det, xx / det
            out[5], out[6], out[7] = z, rx, ry
            keys[b, i] = (np.int64(np.float32(z).view(np.int32)) << 32) | i


@inlined
def _axes_backward(quat, rotation, length, scales, d_axes, d_quats, d_scales, i):  # type: ignore[no-untyped-def]
    """From dL/d(R S) to the scales and, through the normalisation, the quaternion."""
    a, b, c = scales[i, 0], scales[i, 1], scales[i, 2]
    d, r = d_axes, rotation
    d_scales[i, 0] = d[0] * r[0] + d[3] * r[3] + d[6] * r[6]
    d_scales[i, 1] = d[1] * r[1] + d[4] * r[4] + d[7] * r[7]
    d_scales[i, 2] = d[2] * r[2] + d[5] * r[5] + d[8] * r[8]
    r00, r01, r02 = d[0] * a, d[1] * b, d[2] * c
    r10, r11, r12 = d[3] * a, d[4] * b, d[5] * c
    r20, r21, r22 = d[6] * a, d[7] * b, d[8] * c
    w, x, y, z = quat
    gw = _2 * (x * (r21 - r12) + y * (r02 - r20) + z * (r10 - r01))
    gx = _2 * (w * (r21 - r12) + y * (r01 + r10) + z * (r02 + r20) - _2 * x * (r11 + r22))
    gy = _2 * (w * (r02 - r20) + x * (r01 + r10) + z * (r12 + r21) - _2 * y * (r00 + r22))
    gz = _2 * (w * (r10 - r01) + x * (r02 + r20) + y * (r12 + r21) - _2 * z * (r00 + r11))
    along = gw * w + gx * x + gy * y + gz * z
    d_quats[i, 0] = (gw - along * w) / length
    d_quats[i, 1] = (gx - along * x) / length
    d_quats[i, 2] = (gy - along * y) / length
    d_quats[i, 3] = (gz - along * z) / length


@kernel
def project_backward(  # type: ignore[no-untyped-def]
    means, quats, scales, opacities, view, focal, size, dilation, buffers, per_view,
    d_means, d_quats, d_scales, d_opacities, d_colors, d_screen, first, last,
):  # fmt: skip
    """Sums the buffers of Gaussians first..last over pieces and views and takes them back to the parameters. d_colors
    (1 or B, N, 3) starts at 0."""
    own = len(d_colors) > 1  # colours per view
    half = np.float32(size) * _HALF
    g = np.empty(GRADS, np.float32)
    d_axes = np.empty(9, np.float32)
    for i in range(first, last):
        quat, rotation, length = _rotation(quats, i)
        axes = _scaled_axes(rotation, scales, i)
        d_axes[:] = _0
        d_means[i, :] = _0
        d_opacity = _0
        for b in range(len(view)):
            g[:] = _0
            for piece in range(b * per_view, (b + 1) * per_view):
                for c in range(GRADS):
                    g[c] += buffers[piece, i, c]
            d_screen[b, i, 0] = _0
            d_screen[b, i, 1] = _0
            x, y, z = _camera_space(means, view, i, b)
            touched = _0
            for c in range(GRADS):
                touched += abs(g[c])
            if touched == _0:
                continue
            d_opacity += g[0]
            c = b if own else 0
            d_colors[c, i, 0] += g[6]
            d_colors[c, i, 1] += g[7]
            d_colors[c, i, 2] += g[8]
            f = focal[b]
            limit = _SLACK * half / f
            u, v, slope = x / z, y / z, f / z
            cu, cv = min(max(u, -limit), limit), min(max(v, -limit), limit)
            right, down, forward = _jacobian_axes(axes, view, b, cu, cv, slope)
            xx, xy, yy = _dot(right, right) + dilation, _dot(right, down), _dot(down, down) + dilation
            det = xx * yy - xy * xy
            kxx, kxy, kyy = yy / det, -xy / det, xx / det
            # alpha falls with power = d^T K d / 2: dL/dmean = K sum(h d), dL/dK = -sum(h d d^T) / 2,
            # and with S = K^-1, dL/dS = -K (dL/dK) K
            gu, gv = kxx * g[1] + kxy * g[2], kxy * g[1] + kyy * g[2]
            d_screen[b, i, 0] = gu
            d_screen[b, i, 1] = gv
            a0, a1 = kxx * g[3] + kxy * g[4], kxx * g[4] + kxy * g[5]
            b0, b1 = kxy * g[3] + kyy * g[4], kxy * g[4] + kyy * g[5]
            sxx = _HALF * (a0 * kxx + a1 * kxy)
            sxy = _HALF * (a0 * kxy + a1 * kyy)
            syy = _HALF * (b0 * kxy + b1 * kyy)
            cu_grad, cv_grad, slope_grad = _0, _0, _0
            for j in range(3):
                gr = _2 * (sxx * right[j] + sxy * down[j])
                gd = _2 * (sxy * right[j] + syy * down[j])
                slope_grad += (gr * right[j] + gd * down[j]) / slope
                gr, gd = gr * slope, gd * slope
                cu_grad -= gr * forward[j]
                cv_grad -= gd * forward[j]
                gf = -(cu * gr + cv * gd)
                for r in range(3):
                    d_axes[3 * r + j] += view[b, 0, r] * gr + view[b, 1, r] * gd + view[b, 2, r] * gf
            u_grad = gu * f + (cu_grad if abs(u) < limit else _0)
            v_grad = gv * f + (cv_grad if abs(v) < limit else _0)
            px, py = u_grad / z, v_grad / z
            pz = g[9] - (u_grad * u + v_grad * v + slope_grad * slope) / z
            for r in range(3):
                d_means[i, r] += view[b, 0, r] * px + view[b, 1, r] * py + view[b, 2, r] * pz
        d_opacities[i, 0] = d_opacity / opacities[i] if d_opacity != _0 else _0
        _axes_backward(quat, rotation, length, scales, d_axes, d_quats, d_scales, i)
