//! Triangle meshes: Loop subdivision, which turns a scan of a few thousand triangles into a surface without visible
//! facets, smooth normals, and a measure of how deep each place lies in a crease.
//!
//! Subdividing here rather than when the scene is made keeps the file that travels to every worker small.

use crate::math::Vec3;

/// Points and the triangles between them, counter-clockwise when seen from outside.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    /// The points.
    pub positions: Vec<Vec3>,
    /// Three points each.
    pub triangles: Vec<[u32; 3]>,
    /// For each point how concave the surface is: positive in creases, negative on edges, around -1 to 1.
    pub cavity: Vec<f32>,
}

/// An edge between two points and the half-edges that run along it.
struct Edge {
    ends: [u32; 2],
    /// The points opposite to the edge in the first two triangles that share it.
    opposite: [u32; 2],
    triangles: u32,
}

impl Mesh {
    /// A mesh whose creases have been measured. Every index must be below the number of positions.
    #[must_use]
    pub fn new(positions: Vec<Vec3>, triangles: Vec<[u32; 3]>) -> Self {
        let mut mesh = Self {
            positions,
            triangles,
            cavity: Vec::new(),
        };
        mesh.cavity = mesh.measure_cavity();
        mesh
    }

    /// One step of Loop subdivision: four triangles for each, points moved towards the smooth surface.
    #[must_use]
    pub fn subdivided(&self) -> Self {
        let (edges, edge_of) = self.edges();
        let count = self.positions.len();

        // What surrounds each point: all neighbours, and those along the border if there is one.
        let mut around = vec![Stencil::default(); count];
        let mut border = vec![Stencil::default(); count];
        for edge in &edges {
            for (point, other) in [(edge.ends[0], edge.ends[1]), (edge.ends[1], edge.ends[0])] {
                around[point as usize].add(self, other);
                if edge.triangles != 2 {
                    border[point as usize].add(self, other);
                }
            }
        }

        let mut positions = Vec::with_capacity(count + edges.len());
        let mut cavity = Vec::with_capacity(count + edges.len());
        for point in 0..count {
            let (neighbours, own) = match (border[point].count, around[point].count) {
                (0, 0) => (&around[point], 1.0),
                (0, 3) => (&around[point], 1.0 - 9.0 / 16.0),
                (0, _) => (&around[point], 1.0 - 3.0 / 8.0),
                (2, _) => (&border[point], 3.0 / 4.0),
                // A corner, or a place where sheets meet: stays.
                _ => (&border[point], 1.0),
            };
            let share = (1.0 - own) / neighbours.count.max(1) as f32;
            positions.push(self.positions[point] * own + neighbours.position * share);
            cavity.push(self.cavity[point] * own + neighbours.cavity * share);
        }
        for edge in &edges {
            let [a, b] = edge.ends.map(|point| point as usize);
            let [c, d] = edge.opposite.map(|point| point as usize);
            let (ends, sides) = if edge.triangles == 2 {
                (3.0 / 8.0, 1.0 / 8.0)
            } else {
                (0.5, 0.0)
            };
            let weigh = |p: &[Vec3]| (p[a] + p[b]) * ends + (p[c] + p[d]) * sides;
            positions.push(weigh(&self.positions));
            cavity.push(
                (self.cavity[a] + self.cavity[b]) * ends
                    + (self.cavity[c] + self.cavity[d]) * sides,
            );
        }

        let triangles = self
            .triangles
            .iter()
            .zip(&edge_of)
            .flat_map(|(&[a, b, c], edges)| {
                let [ab, bc, ca] = edges.map(|edge| count as u32 + edge);
                [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
            })
            .collect();
        Self {
            positions,
            triangles,
            cavity,
        }
    }

    /// The normals at the points: those of the triangles around, weighed by area.
    #[must_use]
    pub fn normals(&self) -> Vec<Vec3> {
        let mut normals = vec![Vec3::ZERO; self.positions.len()];
        for &triangle in &self.triangles {
            let [a, b, c] = triangle.map(|point| self.positions[point as usize]);
            let area = (b - a).cross(c - a);
            for point in triangle {
                normals[point as usize] += area;
            }
        }
        normals.into_iter().map(Vec3::normalized).collect()
    }

    /// All edges in a fixed order, and for each triangle its edges ab, bc, ca.
    fn edges(&self) -> (Vec<Edge>, Vec<[u32; 3]>) {
        let mut halves: Vec<([u32; 2], u32, u8)> = Vec::with_capacity(self.triangles.len() * 3);
        for (index, &[a, b, c]) in (0u32..).zip(&self.triangles) {
            for (side, [from, to]) in (0u8..).zip([[a, b], [b, c], [c, a]]) {
                halves.push(([from.min(to), from.max(to)], index, side));
            }
        }
        halves.sort_unstable();

        let mut edges: Vec<Edge> = Vec::with_capacity(halves.len() / 2);
        let mut edge_of = vec![[0; 3]; self.triangles.len()];
        for (ends, triangle, side) in halves {
            let opposite = self.triangles[triangle as usize][(usize::from(side) + 2) % 3];
            match edges.last_mut() {
                Some(edge) if edge.ends == ends => {
                    edge.opposite[1] = opposite;
                    edge.triangles += 1;
                }
                _ => edges.push(Edge {
                    ends,
                    opposite: [opposite; 2],
                    triangles: 1,
                }),
            }
            edge_of[triangle as usize][usize::from(side)] = edges.len() as u32 - 1;
        }
        (edges, edge_of)
    }

    /// How far each point lies below the middle of its neighbours, in units of the edges' length, smoothed once.
    fn measure_cavity(&self) -> Vec<f32> {
        let normals = self.normals();
        let (edges, _) = self.edges();
        let mut depth = vec![(0.0f32, 0.0f32); self.positions.len()];
        for edge in &edges {
            let [a, b] = edge.ends.map(|point| point as usize);
            let along = self.positions[b] - self.positions[a];
            let length = along.length();
            depth[a] = (depth[a].0 + along.dot(normals[a]), depth[a].1 + length);
            depth[b] = (depth[b].0 - along.dot(normals[b]), depth[b].1 + length);
        }
        let sharp: Vec<f32> = depth
            .into_iter()
            .map(|(sum, length)| if length > 0.0 { sum / length } else { 0.0 })
            .collect();

        let mut smooth: Vec<(f32, f32)> = sharp.iter().map(|&own| (own, 1.0)).collect();
        for edge in &edges {
            let [a, b] = edge.ends.map(|point| point as usize);
            smooth[a] = (smooth[a].0 + sharp[b] * 0.5, smooth[a].1 + 0.5);
            smooth[b] = (smooth[b].0 + sharp[a] * 0.5, smooth[b].1 + 0.5);
        }
        smooth
            .into_iter()
            .map(|(sum, weight)| sum / weight)
            .collect()
    }
}

/// A sum over neighbouring points.
#[derive(Clone, Debug, Default)]
struct Stencil {
    position: Vec3,
    cavity: f32,
    count: u32,
}

impl Stencil {
    fn add(&mut self, mesh: &Mesh, point: u32) {
        self.position += mesh.positions[point as usize];
        self.cavity += mesh.cavity[point as usize];
        self.count += 1;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::math::vec3;

    /// A ball of radius 1, from an octahedron whose subdivided points are put back on the ball.
    pub(crate) fn ball(steps: u32) -> Mesh {
        let positions = [
            vec3(1.0, 0.0, 0.0),
            vec3(-1.0, 0.0, 0.0),
            vec3(0.0, 1.0, 0.0),
            vec3(0.0, -1.0, 0.0),
            vec3(0.0, 0.0, 1.0),
            vec3(0.0, 0.0, -1.0),
        ];
        let triangles = [
            [4, 0, 2],
            [0, 5, 2],
            [5, 1, 2],
            [1, 4, 2],
            [0, 4, 3],
            [5, 0, 3],
            [1, 5, 3],
            [4, 1, 3],
        ];
        let mut mesh = Mesh::new(positions.to_vec(), triangles.to_vec());
        for _ in 0..steps {
            mesh = mesh.subdivided();
            mesh.positions
                .iter_mut()
                .for_each(|position| *position = position.normalized());
        }
        mesh
    }

    #[test]
    fn subdivision_keeps_a_closed_surface_closed() {
        let mesh = ball(3);
        assert_eq!(mesh.triangles.len(), 8 * 64);
        assert_eq!(mesh.positions.len(), 8 * 64 / 2 + 2, "Euler's formula");
        assert!(mesh.edges().0.iter().all(|edge| edge.triangles == 2));
        for (position, normal) in mesh.positions.iter().zip(mesh.normals()) {
            assert!(position.dot(normal) > 0.99, "normals point outwards");
        }
    }

    #[test]
    fn subdivision_keeps_a_flat_sheet_flat_and_its_corners() {
        let square = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]].map(|[x, z]| vec3(x, 0.5, z));
        let mesh = Mesh::new(square.to_vec(), vec![[0, 2, 1], [0, 3, 2]])
            .subdivided()
            .subdivided();
        assert_eq!(mesh.triangles.len(), 32);
        assert!(
            mesh.positions
                .iter()
                .all(|position| (position.y - 0.5).abs() < 1e-6)
        );
        assert!(
            mesh.positions
                .iter()
                .all(|p| (-1e-6..=1.0 + 1e-6).contains(&p.x))
        );
        assert!(
            mesh.normals()
                .iter()
                .all(|normal| (*normal - vec3(0.0, 1.0, 0.0)).length() < 1e-5)
        );
    }

    #[test]
    fn creases_are_told_from_edges() {
        let ridge = |height| {
            let positions = [[-1.0, 0.0], [0.0, height], [1.0, 0.0]]
                .iter()
                .flat_map(|&[x, y]| [vec3(x, y, -1.0), vec3(x, y, 0.0), vec3(x, y, 1.0)])
                .collect();
            let triangles = (0..2)
                .flat_map(|column| (0..2).map(move |row| column * 3 + row))
                .flat_map(|corner| {
                    [
                        [corner, corner + 1, corner + 4],
                        [corner, corner + 4, corner + 3],
                    ]
                })
                .collect();
            Mesh::new(positions, triangles).cavity[4]
        };
        assert!(ridge(0.8) < -0.05 && ridge(-0.8) > 0.05);
    }
}
