// What the viewer takes from three.js; THIRD_PARTY.md says how three.min.js is made from it.
export {
  BufferAttribute, CustomBlending, DataTexture, DataUtils, GLSL3, InstancedBufferAttribute, InstancedBufferGeometry,
  Group, Mesh, MeshBasicMaterial, MeshStandardMaterial, NoToneMapping, OneFactor, OneMinusSrcAlphaFactor, PerspectiveCamera,
  PMREMGenerator, RawShaderMaterial, RGBAIntegerFormat, Scene, ShaderMaterial, Spherical, UnsignedIntType, Vector2,
  Vector3, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
export { RoomEnvironment } from "three/addons/environments/RoomEnvironment.js";
export { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
