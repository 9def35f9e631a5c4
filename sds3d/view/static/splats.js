// 3D Gaussians in WebGL 2: one box each, projected and composited as sds3d.render.projection does, drawn back to front.
"use strict";

const SPLAT_VERTEX = `
precision highp float; precision highp int; precision highp usampler2D;
const float DILATION = 0.3, MIN_ALPHA = 1.0 / 255.0, NEAR = 0.01, SLACK = 1.3;
uniform mat4 modelViewMatrix;
uniform usampler2D table;  // two texels a Gaussian: x, y, z, rgba | quaternion (4 x 16 bits), scales (3 halves)
uniform vec2 viewport;  // pixels
uniform float focal;  // pixels
uniform int look;  // 0 colour, 1 clay, 2 normals
in vec3 position;  // a corner of the box, +-1
in uint order;
flat out vec3 conic;
flat out vec4 tint;
out vec2 offset;  // pixels from the centre

mat3 rotation(vec4 q) {  // w x y z
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

vec3 thinnest(mat3 axes, vec3 scales) {
  if (scales.x <= scales.y && scales.x <= scales.z) return axes[0];
  return scales.y <= scales.z ? axes[1] : axes[2];
}

vec3 shade(vec3 colour, mat3 axes, vec3 scales, vec3 seen) {
  if (look == 0) return colour;
  vec3 normal = thinnest(axes, scales), towards = mat3(modelViewMatrix) * normal;
  float side = dot(towards, seen) > 0.0 ? -1.0 : 1.0;
  if (look == 2) return side * normal * 0.5 + 0.5;
  return vec3(0.42 + 0.4 * max(dot(side * towards, normalize(vec3(0.4, 0.7, 0.9))), 0.0));
}

void main() {
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);  // outside: not drawn
  int at = int(order) * 2, width = textureSize(table, 0).x;
  uvec4 a = texelFetch(table, ivec2(at % width, at / width), 0), b = texelFetch(table, ivec2(at % width + 1, at / width), 0);
  vec4 rgba = vec4(a.w & 255u, a.w >> 8 & 255u, a.w >> 16 & 255u, a.w >> 24) / 255.0;
  vec3 scales = vec3(unpackHalf2x16(b.z), unpackHalf2x16(b.w).x);
  vec3 centre = (modelViewMatrix * vec4(uintBitsToFloat(a.xyz), 1.0)).xyz;
  float depth = -centre.z;
  if (depth <= NEAR || rgba.a < MIN_ALPHA) return;
  mat3 axes = rotation(normalize(vec4(unpackSnorm2x16(b.x), unpackSnorm2x16(b.y))));
  mat3 spread = mat3(modelViewMatrix) * axes;
  for (int i = 0; i < 3; i++) spread[i] *= scales[i];
  vec2 slope = centre.xy / depth, limit = SLACK * 0.5 * viewport / focal, bent = clamp(slope, -limit, limit);
  mat3 rows = transpose(spread);
  vec3 right = focal / depth * (rows[0] + bent.x * rows[2]), up = focal / depth * (rows[1] + bent.y * rows[2]);
  float xx = dot(right, right) + DILATION, xy = dot(right, up), yy = dot(up, up) + DILATION, det = xx * yy - xy * xy;
  if (det <= 0.0) return;
  offset = position.xy * sqrt(2.0 * log(rgba.a / MIN_ALPHA) * vec2(xx, yy));
  conic = vec3(yy, -xy, xx) / det;
  tint = vec4(shade(rgba.rgb, axes, scales, normalize(centre)), rgba.a);
  gl_Position = vec4((slope * focal + offset) / (0.5 * viewport), 0.0, 1.0);
}`;

const SPLAT_FRAGMENT = `
precision highp float; precision highp int;
uniform bool rings;  // outlines at one standard deviation
flat in vec3 conic;
flat in vec4 tint;
in vec2 offset;
out vec4 colour;
void main() {
  float distance = conic.x * offset.x * offset.x + conic.z * offset.y * offset.y + 2.0 * conic.y * offset.x * offset.y;
  float alpha = min(0.999, tint.a * exp(-0.5 * distance));
  if (rings) alpha = max(alpha * 0.12, tint.a * (1.0 - smoothstep(0.6, 1.4, abs(sqrt(distance) - 1.0) / fwidth(sqrt(distance)))));
  if (alpha < 1.0 / 255.0) discard;
  colour = vec4(tint.rgb * alpha, alpha);
}`;

// Bytes of sds3d.view.packing -> { count, centres: Float32Array (N, 3), texels: Uint32Array (N, 8) }
function unpackSplats(buffer) {
  const view = new DataView(buffer), count = view.getUint32(0, true);
  const number = (i) => view.getFloat32(4 + 4 * i, true);
  const places = new Uint8Array(buffer, 36, 9 * count), sizes = new Uint8Array(buffer, 36 + 9 * count, 3 * count);
  const turns = new Int8Array(buffer, 36 + 12 * count, 4 * count), rgba = new Uint8Array(buffer, 36 + 16 * count, 4 * count);
  const centres = new Float32Array(3 * count), texels = new Uint32Array(8 * count), floats = new Float32Array(texels.buffer);
  const snorm = (a, b) => (Math.round(a / 127 * 32767) & 0xffff | Math.round(b / 127 * 32767) << 16) >>> 0;
  const half = Array.from({ length: 256 }, (_, i) => THREE.DataUtils.toHalfFloat(Math.exp(number(6) + number(7) * i / 255)));
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < 3; k++) {
      const p = 9 * i + 3 * k, share = (places[p] | places[p + 1] << 8 | places[p + 2] << 16) / 0xffffff;
      floats[8 * i + k] = centres[3 * i + k] = number(k) + number(3 + k) * share;
    }
    const q = 4 * i, s = 3 * i;
    texels[8 * i + 3] = (rgba[q] | rgba[q + 1] << 8 | rgba[q + 2] << 16 | rgba[q + 3] << 24) >>> 0;
    texels[8 * i + 4] = snorm(turns[q], turns[q + 1]);
    texels[8 * i + 5] = snorm(turns[q + 2], turns[q + 3]);
    texels[8 * i + 6] = (half[sizes[s]] | half[sizes[s + 1]] << 16) >>> 0;
    texels[8 * i + 7] = half[sizes[s + 2]];
  }
  return { count, centres, texels };
}

function splatTable(texels, widest) {
  const width = Math.min(2048, widest), height = Math.max(1, Math.ceil(texels.length / 4 / width));
  const data = new Uint32Array(4 * width * height);
  data.set(texels);
  const table = new THREE.DataTexture(data, width, height, THREE.RGBAIntegerFormat, THREE.UnsignedIntType);
  table.internalFormat = "RGBA32UI";
  table.needsUpdate = true;
  return table;
}

class SplatCloud {
  constructor(buffer, widest) {
    const { count, centres, texels } = unpackSplats(buffer);
    this.count = count;
    this.centres = centres;
    this.order = new THREE.InstancedBufferAttribute(new Uint32Array(count), 1);
    this.keys = new Uint16Array(count);
    this.depths = new Float32Array(count);
    this.starts = new Uint32Array(65537);
    this.sorted = new THREE.Vector3();  // the direction that the order belongs to
    const geometry = new THREE.InstancedBufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array([-1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 1, 0]), 3));
    geometry.setAttribute("order", this.order);
    geometry.setIndex([0, 1, 2, 0, 2, 3]);
    geometry.instanceCount = count;
    this.material = new THREE.RawShaderMaterial({
      glslVersion: THREE.GLSL3, vertexShader: SPLAT_VERTEX, fragmentShader: SPLAT_FRAGMENT,
      uniforms: {
        table: { value: splatTable(texels, widest) }, viewport: { value: new THREE.Vector2() },
        focal: { value: 1 }, look: { value: 0 }, rings: { value: false },
      },
      depthTest: false, depthWrite: false, transparent: true, premultipliedAlpha: true,
      blending: THREE.CustomBlending, blendSrc: THREE.OneFactor, blendDst: THREE.OneMinusSrcAlphaFactor,
    });
    this.object = new THREE.Mesh(geometry, this.material);
    this.object.frustumCulled = false;
  }

  // For a pane of width x height pixels
  prepare(camera, width, height) {
    const uniforms = this.material.uniforms;
    uniforms.viewport.value.set(width, height);
    uniforms.focal.value = camera.projectionMatrix.elements[5] * height / 2;
    const forward = camera.getWorldDirection(new THREE.Vector3());
    if (this.sorted.distanceToSquared(forward) > 1e-9) this.sort(this.sorted.copy(forward));
  }

  // Far to near along `forward`, in 65536 bins (a counting sort)
  sort(forward) {
    const { count, centres, keys, depths, starts } = this, order = this.order.array;
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < count; i++) {
      const depth = depths[i] = forward.x * centres[3 * i] + forward.y * centres[3 * i + 1] + forward.z * centres[3 * i + 2];
      if (depth < low) low = depth;
      if (depth > high) high = depth;
    }
    const scale = 65535 / (high - low || 1);
    starts.fill(0);
    for (let i = 0; i < count; i++) starts[(keys[i] = (high - depths[i]) * scale | 0) + 1]++;
    for (let i = 0; i < 65536; i++) starts[i + 1] += starts[i];
    for (let i = 0; i < count; i++) order[starts[keys[i]]++] = i;
    this.order.needsUpdate = true;
  }
}
