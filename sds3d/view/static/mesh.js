// A glTF model that can be drawn in its colours (lit or not), in clay, by its normals, and with its edges.
"use strict";

const NORMAL_SHADER = {
  vertexShader: "varying vec3 turned; void main() { turned = normalize(mat3(modelMatrix) * normal); gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0); }",
  fragmentShader: "varying vec3 turned; void main() { gl_FragColor = vec4(normalize(turned) * (gl_FrontFacing ? 0.5 : -0.5) + 0.5, 1.0); }",
};
const OFFSET = { polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 };  // leaves room for the edges

async function loadModel(buffer) {
  const loader = new THREE.GLTFLoader();
  return new Model((await loader.parseAsync(buffer, "")).scene);
}

class Model {
  constructor(scene) {
    this.object = new THREE.Group().add(scene);
    this.meshes = [];
    this.edges = [];
    this.shaded = false;  // has it a material that only light brings out?
    scene.traverse((node) => { if (node.isMesh) this.meshes.push(node); });
    for (const mesh of this.meshes) this.dress(mesh);
  }

  dress(mesh) {
    if (!mesh.geometry.attributes.normal) mesh.geometry.computeVertexNormals();
    const lit = Object.assign(mesh.material, OFFSET);
    const coloured = lit.map || lit.vertexColors, maps = lit.normalMap || lit.metalnessMap || lit.roughnessMap || lit.emissiveMap;
    this.shaded ||= !lit.isMeshBasicMaterial && Boolean(maps || !coloured || lit.metalness > 0);
    const kept = { side: lit.side, transparent: lit.transparent, opacity: lit.opacity, alphaTest: lit.alphaTest, depthWrite: lit.depthWrite };
    mesh.looks = {
      lit,
      plain: new THREE.MeshBasicMaterial({ ...OFFSET, ...kept, map: lit.map, color: lit.color, vertexColors: lit.vertexColors }),
      clay: new THREE.MeshStandardMaterial({ ...OFFSET, side: lit.side, color: 0xc4c4c4, roughness: 0.85 }),
      normals: new THREE.ShaderMaterial({ ...OFFSET, ...NORMAL_SHADER, side: lit.side }),
    };
  }

  // Turned by so many degrees around +Y, the ball with this centre and radius becomes the unit ball
  bringHome([x, y, z, radius, turn]) {
    this.object.rotation.y = turn * Math.PI / 180;
    this.object.scale.setScalar(1 / radius);
    this.object.position.set(-x, -y, -z).divideScalar(radius);
  }

  // look: lit | plain | clay | normals
  show(look, edges, ink) {
    for (const mesh of this.meshes) mesh.material = mesh.looks[look];
    if (edges && !this.edges.length) this.edges = this.meshes.map(edgesOf);
    for (const mesh of this.edges) {
      mesh.visible = edges;
      mesh.material.color.set(ink);
    }
  }
}

function edgesOf(mesh) {
  const material = new THREE.MeshBasicMaterial({ wireframe: true, transparent: true, opacity: 0.45, depthWrite: false });
  const edges = new THREE.Mesh(mesh.geometry, material);
  mesh.add(edges);
  return edges;
}
