//! A bounding volume hierarchy over triangles, split where the surface area heuristic finds it cheapest.
//!
//! Boxes and triangles are kept in fours and tested four at a time, in loops that compilers turn into vector
//! instructions, sandboxed or not.

use crate::math::{F4, Fours, Vec3};

/// Boxes of a node, and triangles of a leaf.
const WIDTH: usize = 4;
/// Places along an axis where a split is considered.
const BINS: usize = 16;
/// No leaf lies deeper, so that the stack of a traversal has a fixed size. Halving reaches it with 2^31 triangles.
const MAX_DEPTH: u32 = 31;
/// Each level leaves at most three boxes waiting.
const STACK: usize = 3 * (MAX_DEPTH as usize + 1) + 1;

/// A ray from an origin along a direction of any length; distances are in units of that length.
#[derive(Clone, Copy, Debug)]
pub struct Ray {
    /// Where it starts.
    pub origin: Vec3,
    /// Where it goes.
    pub direction: Vec3,
}

/// Where a ray meets a triangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Distance along the ray.
    pub distance: f32,
    /// Index of the triangle in the list the hierarchy was built from.
    pub triangle: u32,
    /// Weight of the triangle's second corner.
    pub u: f32,
    /// Weight of its third corner.
    pub v: f32,
}

/// The hierarchy. The first node is the root.
#[derive(Debug)]
pub struct Bvh {
    nodes: Vec<Node>,
    leaves: Vec<Leaf>,
}

/// Four boxes, one axis after the other, and what is in them. A box that is not a number holds nothing and is never
/// entered.
#[derive(Clone, Copy, Debug)]
struct Node {
    min: Fours,
    max: Fours,
    children: [Child; WIDTH],
}

/// A node, or a leaf when the highest bit is set.
#[derive(Clone, Copy, Debug)]
struct Child(u32);

impl Child {
    const LEAF: u32 = 1 << 31;
}

/// Four triangles in the form the intersection test wants. Empty places have edges of no length.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    corner: Fours,
    edges: [Fours; 2],
    indices: [u32; WIDTH],
}

/// A ray as the tests want it.
struct Probe {
    origin: Fours,
    direction: Fours,
    inverse: Fours,
}

impl Bvh {
    /// Builds a hierarchy over triangles given by their corners.
    #[must_use]
    pub fn new(corners: &[[Vec3; 3]]) -> Self {
        let mut items: Vec<Item> = (0u32..)
            .zip(corners)
            .map(|(index, corners)| {
                let bounds = corners
                    .iter()
                    .fold(Bounds::EMPTY, |bounds, corner| bounds.with_point(*corner));
                Item {
                    bounds,
                    centre: ((bounds.min + bounds.max) * 0.5).to_array(),
                    index,
                }
            })
            .collect();
        let mut bvh = Self {
            nodes: Vec::new(),
            leaves: Vec::new(),
        };
        bvh.add_node(corners, Part::of(&mut items), 0);
        bvh
    }

    /// Adds a node over a part of the triangles, divided until there are four, and everything below it.
    fn add_node(&mut self, corners: &[[Vec3; 3]], part: Part<'_>, depth: u32) -> Child {
        let mut parts = vec![part];
        while parts.len() < WIDTH {
            // The largest box that can be divided is the one entered most often.
            let areas = parts.iter().map(|part| {
                if part.items.len() > WIDTH {
                    part.bounds.area()
                } else {
                    -1.0
                }
            });
            let widest = areas
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .filter(|(_, area)| *area >= 0.0);
            let Some((widest, _)) = widest else { break };
            let (left, right) = parts.swap_remove(widest).divide(depth);
            parts.extend([left, right]);
        }

        let at = self.nodes.len();
        self.nodes.push(Node::EMPTY);
        for (lane, part) in parts
            .into_iter()
            .enumerate()
            .filter(|(_, part)| !part.items.is_empty())
        {
            let bounds = part.bounds;
            let child = if part.items.len() <= WIDTH {
                self.leaves.push(Leaf::new(corners, part.items));
                Child(Child::LEAF | (self.leaves.len() as u32 - 1))
            } else {
                self.add_node(corners, part, depth + 1)
            };
            let node = &mut self.nodes[at];
            node.min.set(lane, bounds.min);
            node.max.set(lane, bounds.max);
            node.children[lane] = child;
        }
        Child(at as u32)
    }

    /// The nearest triangle before a distance.
    #[must_use]
    #[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
    pub fn nearest(&self, ray: &Ray, limit: f32) -> Option<Hit> {
        let mut nearest = None;
        let mut limit = limit;
        self.visit(ray, &mut limit, |limit, hit| {
            *limit = hit.distance;
            nearest = Some(hit);
            false
        });
        nearest
    }

    /// Whether any triangle lies before a distance.
    #[must_use]
    #[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
    pub fn is_blocked(&self, ray: &Ray, limit: f32) -> bool {
        let mut blocked = false;
        let mut limit = limit;
        self.visit(ray, &mut limit, |_, _| {
            blocked = true;
            true
        });
        blocked
    }

    /// Calls for each hit before `limit`, which the call may lower, nearer boxes first, until it returns true.
    #[inline(always)]
    fn visit(&self, ray: &Ray, limit: &mut f32, mut found: impl FnMut(&mut f32, Hit) -> bool) {
        let probe = Probe::new(ray);
        let mut stack = [(Child(0), 0.0f32); STACK];
        let mut waiting = 1;
        while waiting > 0 {
            waiting -= 1;
            let (child, enter) = stack[waiting];
            if enter > *limit {
                continue;
            }
            if child.0 & Child::LEAF != 0 {
                if self.leaves[(child.0 & !Child::LEAF) as usize].meet(&probe, limit, &mut found) {
                    return;
                }
                continue;
            }
            let node = &self.nodes[child.0 as usize];
            let (enters, first) = (node.enter(&probe, *limit).0, waiting);
            for (enter, child) in enters.into_iter().zip(node.children) {
                if enter == f32::INFINITY {
                    continue;
                }
                let mut at = waiting;
                while at > first && stack[at - 1].1 < enter {
                    stack[at] = stack[at - 1];
                    at -= 1;
                }
                stack[at] = (child, enter);
                waiting += 1;
            }
        }
    }
}

impl Probe {
    #[inline(always)]
    fn new(ray: &Ray) -> Self {
        let inverse = ray.direction.to_array().map(inverse);
        Self {
            origin: Fours::all(ray.origin),
            direction: Fours::all(ray.direction),
            inverse: Fours::all(inverse.into()),
        }
    }
}

impl Node {
    const EMPTY: Self = Self {
        min: Fours::NONE,
        max: Fours::NONE,
        children: [Child(0); WIDTH],
    };

    /// The distances at which a ray enters the boxes, or infinity where it misses or enters behind `limit`.
    #[inline(always)]
    fn enter(&self, probe: &Probe, limit: f32) -> F4 {
        let a = (self.min - probe.origin) * probe.inverse;
        let b = (self.max - probe.origin) * probe.inverse;
        let enter = a.x.least(b.x).most(a.y.least(b.y)).most(a.z.least(b.z));
        let leave = a.x.most(b.x).least(a.y.most(b.y)).least(a.z.most(b.z));
        F4(std::array::from_fn(|lane| {
            let (enter, leave) = (enter.0[lane], leave.0[lane]);
            // Bitwise, because all four are asked at once.
            let is_entered = (enter <= leave) & (leave >= 0.0) & (enter <= limit);
            if is_entered { enter } else { f32::INFINITY }
        }))
    }
}

impl Leaf {
    fn new(corners: &[[Vec3; 3]], items: &[Item]) -> Self {
        let none = Fours::all(Vec3::ZERO);
        let mut leaf = Self {
            corner: none,
            edges: [none; 2],
            indices: [0; WIDTH],
        };
        for (lane, item) in items.iter().enumerate() {
            let [a, b, c] = corners[item.index as usize];
            leaf.corner.set(lane, a);
            leaf.edges[0].set(lane, b - a);
            leaf.edges[1].set(lane, c - a);
            leaf.indices[lane] = item.index;
        }
        leaf
    }

    /// The test of Möller and Trumbore, from both sides. Returns whether the search is over.
    #[inline(always)]
    fn meet(
        &self,
        probe: &Probe,
        limit: &mut f32,
        found: &mut impl FnMut(&mut f32, Hit) -> bool,
    ) -> bool {
        let across = probe.direction.cross(self.edges[1]);
        // Infinite for a triangle that is seen edge on, or is none: nothing below holds for it then.
        let inverse = F4::all(1.0) / self.edges[0].dot(across);
        let offset = probe.origin - self.corner;
        let u = offset.dot(across) * inverse;
        let along = offset.cross(self.edges[0]);
        let v = probe.direction.dot(along) * inverse;
        let distance = self.edges[1].dot(along) * inverse;
        let inside: [bool; WIDTH] = std::array::from_fn(|lane| {
            let (u, v, distance) = (u.0[lane], v.0[lane], distance.0[lane]);
            (u >= 0.0) & (v >= 0.0) & (u + v <= 1.0) & (distance > 0.0) & (distance < *limit)
        });
        for (lane, is_inside) in inside.into_iter().enumerate() {
            if is_inside && distance.0[lane] < *limit {
                let (triangle, u, v) = (self.indices[lane], u.0[lane], v.0[lane]);
                if found(
                    limit,
                    Hit {
                        distance: distance.0[lane],
                        triangle,
                        u,
                        v,
                    },
                ) {
                    return true;
                }
            }
        }
        false
    }
}

/// One through a part of a direction. Zero counts as a very small number: a ray within the face of a box then meets it
/// instead of asking what 0 times infinity is.
#[inline(always)]
fn inverse(part: f32) -> f32 {
    const TINY: f32 = 1e-20;
    if part.abs() > TINY {
        1.0 / part
    } else {
        (1.0 / TINY).copysign(part)
    }
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    min: Vec3,
    max: Vec3,
}

impl Bounds {
    const EMPTY: Self = Self {
        min: Vec3 {
            x: f32::INFINITY,
            y: f32::INFINITY,
            z: f32::INFINITY,
        },
        max: Vec3 {
            x: f32::NEG_INFINITY,
            y: f32::NEG_INFINITY,
            z: f32::NEG_INFINITY,
        },
    };

    fn with_point(self, point: Vec3) -> Self {
        Self {
            min: self.min.min(point),
            max: self.max.max(point),
        }
    }

    fn with(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// Half of the surface; 0 for the empty box.
    fn area(self) -> f32 {
        let side = self.max - self.min;
        if side.x < 0.0 {
            0.0
        } else {
            side.x * side.y + side.y * side.z + side.z * side.x
        }
    }
}

/// A triangle while the hierarchy is built.
struct Item {
    bounds: Bounds,
    centre: [f32; 3],
    index: u32,
}

/// Triangles that share a box.
struct Part<'a> {
    items: &'a mut [Item],
    bounds: Bounds,
}

impl<'a> Part<'a> {
    fn of(items: &'a mut [Item]) -> Self {
        let bounds = items
            .iter()
            .fold(Bounds::EMPTY, |bounds, item| bounds.with(item.bounds));
        Self { items, bounds }
    }

    /// Two parts: where it is cheapest, or halves where that cannot be told or would lead too deep.
    fn divide(self, depth: u32) -> (Self, Self) {
        let halvings = self.items.len().ilog2();
        let at = if depth + halvings < MAX_DEPTH {
            split(self.items)
        } else {
            None
        };
        let at = at.unwrap_or(self.items.len() / 2);
        let (left, right) = self.items.split_at_mut(at);
        (Self::of(left), Self::of(right))
    }
}

/// Parts the triangles in two where that is cheapest and returns the size of the first part, or nothing when they all
/// have the same centre.
fn split(items: &mut [Item]) -> Option<usize> {
    let centres = items.iter().fold(Bounds::EMPTY, |bounds, item| {
        bounds.with_point(item.centre.into())
    });
    let (low, high) = (centres.min.to_array(), centres.max.to_array());
    let bin_of = |item: &Item, axis: usize| {
        let place = (item.centre[axis] - low[axis]) / (high[axis] - low[axis]);
        ((place * BINS as f32) as usize).min(BINS - 1)
    };

    let mut best: Option<(f32, usize, usize)> = None;
    for axis in 0..3 {
        if high[axis] <= low[axis] {
            continue;
        }
        let mut bins = [(Bounds::EMPTY, 0usize); BINS];
        for item in items.iter() {
            let (bin, count) = &mut bins[bin_of(item, axis)];
            *bin = bin.with(item.bounds);
            *count += 1;
        }
        // The cost of everything from a bin on, then of everything before it.
        let mut after = [0.0; BINS];
        let mut sum = (Bounds::EMPTY, 0);
        for at in (1..BINS).rev() {
            sum = (sum.0.with(bins[at].0), sum.1 + bins[at].1);
            after[at] = sum.0.area() * sum.1 as f32;
        }
        sum = (Bounds::EMPTY, 0);
        for at in 1..BINS {
            sum = (sum.0.with(bins[at - 1].0), sum.1 + bins[at - 1].1);
            let cost = sum.0.area() * sum.1 as f32 + after[at];
            if sum.1 > 0 && sum.1 < items.len() && best.is_none_or(|(least, ..)| cost < least) {
                best = Some((cost, axis, at));
            }
        }
    }

    let (_, axis, at) = best?;
    Some(partition(items, |item| bin_of(item, axis) < at))
}

/// Moves the items for which `first` holds before the others and returns how many there are.
fn partition(items: &mut [Item], first: impl Fn(&Item) -> bool) -> usize {
    let mut count = 0;
    for at in 0..items.len() {
        if first(&items[at]) {
            items.swap(at, count);
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::vec3;
    use crate::sampling::Sampler;

    fn random_vec(sampler: &mut Sampler) -> Vec3 {
        let ((x, y), z) = (sampler.pair(), sampler.one());
        vec3(x - 0.5, y - 0.5, z - 0.5) * 2.0
    }

    fn soup(count: u32, size: f32) -> Vec<[Vec3; 3]> {
        (0..count)
            .map(|index| {
                let mut sampler = Sampler::new(11, index);
                let centre = random_vec(&mut sampler);
                std::array::from_fn(|_| centre + random_vec(&mut sampler) * size)
            })
            .collect()
    }

    fn brute_force(corners: &[[Vec3; 3]], ray: &Ray, limit: f32) -> Option<Hit> {
        let probe = Probe::new(ray);
        let (mut nearest, mut limit) = (None, limit);
        for (index, corner) in (0u32..).zip(corners) {
            let item = Item {
                bounds: Bounds::EMPTY,
                centre: [0.0; 3],
                index: 0,
            };
            Leaf::new(&[*corner], &[item]).meet(&probe, &mut limit, &mut |limit, hit| {
                *limit = hit.distance;
                nearest = Some(Hit {
                    triangle: index,
                    ..hit
                });
                false
            });
        }
        nearest
    }

    #[test]
    fn agrees_with_brute_force() {
        for (count, size) in [(1, 1.0), (2, 0.5), (7, 0.5), (500, 0.1), (2000, 0.03)] {
            let corners = soup(count, size);
            let bvh = Bvh::new(&corners);
            let mut hits = 0;
            for index in 0..400 {
                let mut sampler = Sampler::new(5, index);
                let ray = Ray {
                    origin: random_vec(&mut sampler) * 2.0,
                    direction: random_vec(&mut sampler),
                };
                let limit = if index % 2 == 0 { f32::INFINITY } else { 1.5 };
                let expected = brute_force(&corners, &ray, limit);
                assert_eq!(
                    bvh.nearest(&ray, limit),
                    expected,
                    "{count} triangles, ray {index}"
                );
                assert_eq!(bvh.is_blocked(&ray, limit), expected.is_some());
                hits += u32::from(expected.is_some());
            }
            assert!(hits > 0 && hits < 400, "{hits} rays hit");
        }
    }

    #[test]
    fn rays_along_the_axes_agree_with_brute_force() {
        let corners: Vec<[Vec3; 3]> = (0..64u8)
            .flat_map(|cell| {
                let (x, y) = (f32::from(cell % 8), f32::from(cell / 8));
                let corner = |dx, dy| vec3(x + dx, y + dy, 0.0);
                [
                    [corner(0.0, 0.0), corner(1.0, 0.0), corner(1.0, 1.0)],
                    [corner(0.0, 0.0), corner(1.0, 1.0), corner(0.0, 1.0)],
                ]
            })
            .collect();
        let bvh = Bvh::new(&corners);
        for step in 0u8..80 {
            let origin = vec3(f32::from(step) * 0.1, 3.5, 2.0);
            let ray = Ray {
                origin,
                direction: vec3(0.0, 0.0, -1.0),
            };
            let expected = brute_force(&corners, &ray, f32::INFINITY).map(|hit| hit.distance);
            assert_eq!(
                bvh.nearest(&ray, f32::INFINITY).map(|hit| hit.distance),
                expected,
                "x = {}",
                origin.x
            );
        }
    }

    #[test]
    fn nothing_and_a_thousand_equal_triangles() {
        let ray = Ray {
            origin: vec3(0.2, 0.2, 1.0),
            direction: vec3(0.0, 0.0, -1.0),
        };
        assert_eq!(Bvh::new(&[]).nearest(&ray, f32::INFINITY), None);
        let triangle = [Vec3::ZERO, vec3(1.0, 0.0, 0.0), vec3(0.0, 1.0, 0.0)];
        let bvh = Bvh::new(&vec![triangle; 1000]);
        assert_eq!(
            bvh.nearest(&ray, f32::INFINITY).map(|hit| hit.distance),
            Some(1.0)
        );
    }
}
