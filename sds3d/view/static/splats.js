// 3D Gaussians in WebGL 2: one box each, projected and composited as sds3d.render.projection does, drawn back to front.
"use strict";

const SPLAT_VERTEX = `
precision highp float; precision highp int; precision highp usampler2D;
const float DILATION = 0.3, MIN_ALPHA = 1.0 / 255.0, NEAR = 0.01, SLACK = 1.3;
uniform mat4 modelViewMatrix;
uniform usampler2D table;  // two texels a Gaussian: x, y, z, rgba | quaternion (4 x 16 bits), scales (3 halves), normal
uniform usampler2D bands;  // harmonics: ceil(3 K / 16) texels a Gaussian, signed bytes of the reach
uniform int degree;
uniform float reach;
uniform vec3 eye;  // the camera's place in the world
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

uvec4 texel(usampler2D source, int at) {
  int width = textureSize(source, 0).x;
  return texelFetch(source, ivec2(at % width, at / width), 0);
}

// What the colour seen along d has beyond the constant, as Kerbl et al. 2023 order and sign the harmonics
vec3 harmonics(int splat, vec3 d) {
  int count = (degree + 1) * (degree + 1), texels = (3 * count + 15) / 16;
  uvec4 bytes[3];
  for (int i = 0; i < texels; i++) bytes[i] = texel(bands, splat * texels + i);
  float x = d.x, y = d.y, z = d.z, xx = x * x, yy = y * y, zz = z * z;
  float basis[16] = float[16](
    0.28209479, -0.48860251 * y, 0.48860251 * z, -0.48860251 * x,
    1.09254843 * x * y, -1.09254843 * y * z, 0.31539157 * (2.0 * zz - xx - yy), -1.09254843 * x * z, 0.54627422 * (xx - yy),
    -0.59004359 * y * (3.0 * xx - yy), 2.89061144 * x * y * z, -0.45704580 * y * (4.0 * zz - xx - yy),
    0.37317633 * z * (2.0 * zz - 3.0 * xx - 3.0 * yy), -0.45704580 * x * (4.0 * zz - xx - yy), 1.44530572 * z * (xx - yy),
    -0.59004359 * x * (xx - 3.0 * yy));
  vec3 sum = vec3(0.0);
  for (int k = 0; k < count; k++) {
    for (int c = 0; c < 3; c++) {
      int at = 3 * k + c;
      sum[c] += basis[k] * float(int(bytes[at / 16][at / 4 % 4] << uint(24 - 8 * (at % 4))) >> 24);
    }
  }
  return sum * reach / 127.0;
}

vec3 unfolded(uint bits) {  // a direction in an octahedron, two signed bytes
  vec2 p = vec2(int(bits << 24) >> 24, int(bits << 16) >> 24) / 127.0;
  float z = 1.0 - abs(p.x) - abs(p.y);
  if (z < 0.0) p = (1.0 - abs(p.yx)) * vec2(p.x < 0.0 ? -1.0 : 1.0, p.y < 0.0 ? -1.0 : 1.0);
  return normalize(vec3(p, z));
}

vec3 shade(vec3 colour, vec3 normal, vec3 seen) {
  if (look == 0) return colour;
  vec3 towards = mat3(modelViewMatrix) * normal;
  float side = dot(towards, seen) > 0.0 ? -1.0 : 1.0;
  if (look == 2) return side * normal * 0.5 + 0.5;
  return vec3(0.5 + 0.42 * max(dot(side * towards, normalize(vec3(0.4, 0.7, 0.9))), 0.0));
}

void main() {
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);  // outside: not drawn
  int splat = int(order);
  uvec4 a = texel(table, 2 * splat), b = texel(table, 2 * splat + 1);
  vec4 rgba = vec4(a.w & 255u, a.w >> 8 & 255u, a.w >> 16 & 255u, a.w >> 24) / 255.0;
  vec3 scales = vec3(unpackHalf2x16(b.z), unpackHalf2x16(b.w).x);
  vec3 place = uintBitsToFloat(a.xyz), centre = (modelViewMatrix * vec4(place, 1.0)).xyz;
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
  if (degree > 0) rgba.rgb = max(rgba.rgb + harmonics(splat, normalize(place - eye)), 0.0);
  tint = vec4(shade(rgba.rgb, unfolded(b.w >> 16), normalize(centre)), rgba.a);
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

// Bytes of sds3d.view.packing -> count, degree, reach, centres: Float32Array (N, 3), texels: Uint32Array (N, 8),
// bands: Uint32Array (N, 4 texels)
function unpackSplats(buffer) {
  const view = new DataView(buffer), count = view.getUint32(0, true), degree = view.getUint32(4, true);
  const number = (i) => view.getFloat32(8 + 4 * i, true);
  const column = (Kind, before, width) => new Kind(buffer, 44 + before * count, width * count);
  const places = column(Uint8Array, 0, 9), sizes = column(Uint8Array, 9, 3), turns = column(Int8Array, 12, 4), rgba = column(Uint8Array, 16, 4), facing = column(Uint8Array, 20, 2);
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
    texels[8 * i + 7] = (half[sizes[s + 2]] | facing[2 * i] << 16 | facing[2 * i + 1] << 24) >>> 0;
  }
  return { count, degree, reach: number(8), centres, texels, bands: unpackBands(buffer, count, degree) };
}

function unpackBands(buffer, count, degree) {
  if (!degree) return new Uint32Array(4);
  const width = 3 * (degree + 1) ** 2, stride = 16 * Math.ceil(width / 16);
  const from = new Uint8Array(buffer, 44 + 22 * count, width * count), bytes = new Uint8Array(stride * count);
  for (let i = 0; i < count; i++) bytes.set(from.subarray(i * width, (i + 1) * width), i * stride);
  return new Uint32Array(bytes.buffer);
}

function splatTable(texels, widest) {
  const width = Math.min(4096, widest), height = Math.max(1, Math.ceil(texels.length / 4 / width));
  const data = new Uint32Array(4 * width * height);
  data.set(texels);
  const table = new THREE.DataTexture(data, width, height, THREE.RGBAIntegerFormat, THREE.UnsignedIntType);
  table.internalFormat = "RGBA32UI";
  table.needsUpdate = true;
  return table;
}

class SplatCloud {
  constructor(buffer, widest) {
    const { count, degree, reach, centres, texels, bands } = unpackSplats(buffer);
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
        table: { value: splatTable(texels, widest) }, bands: { value: splatTable(bands, widest) },
        degree: { value: degree }, reach: { value: reach }, eye: { value: new THREE.Vector3() },
        viewport: { value: new THREE.Vector2() }, focal: { value: 1 }, look: { value: 0 }, rings: { value: false },
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
    uniforms.eye.value.copy(camera.position);
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
